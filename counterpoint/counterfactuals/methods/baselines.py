"""Baselines: what a search must beat at an equal number of model evaluations.

All begin at the start prompts, change tokens one at a time, read the last position alone and
measure the whole path of the few best candidates of each batch, as the other methods do.

* ``random_swaps``: one position of a start, its token replaced by any other.
* ``likely_swaps``: the same, replaced by one of the model's 40 likeliest at that place.
* ``gradient_swaps``: greedy coordinate gradient (Zou et al. 2023): the tokens that the gradient of
  the LD change favours most, over all positions of both prompts; the best candidate of a batch is
  where the next begins. Nothing holds the text together.
* ``template_swaps``: the start pairs themselves, each in both directions.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.counterfactuals.archive import Archive
from counterpoint.counterfactuals.evaluation.evaluated_pairs import MeasuredPairs, best_few
from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.language.sampling import LIKELIEST
from counterpoint.counterfactuals.methods.continuous_pairs import Relaxation
from counterpoint.counterfactuals.methods.method import Setup
from counterpoint.counterfactuals.methods.proposals import Proposals, without
from counterpoint.counterfactuals.problem import State
from counterpoint.engine.linear import product

CANDIDATES = 16
"""Candidates of a batch."""

FAVOURED = 256
"""Tokens per position that the gradient may propose."""

CURVES_PER_BATCH = 2


class _Swaps:
    """Tokens of one position of a start, drawn evenly from what may stand there."""

    likely = False

    def __init__(self, setup: Setup) -> None:
        self.evaluator, self.archive = setup.evaluator, setup.archive
        self.generator = setup.generator
        self.propose = Proposals(self.evaluator, self.generator)
        device = self.evaluator.model.device
        self.prompts = [torch.tensor([clean], device=device) for clean, _ in setup.starts]
        self.scores = [self._scores(prompt) for prompt in self.prompts]

    def _scores(self, prompt: Int[Tensor, "1 length"]) -> Float[Tensor, "length token"]:
        if self.likely:
            return self.propose.log_probabilities(prompt)[0]
        n_tokens = self.evaluator.model.d_vocab
        return self.propose.writable(torch.zeros(prompt.shape[1], n_tokens, device=prompt.device))

    def step(self) -> bool:
        """Measure a batch that differs from its start at one position."""
        which = self.propose.number(len(self.prompts))
        prompt = self.prompts[which]
        position = 1 + self.propose.number(prompt.shape[1] - 1)
        choices = without(self.scores[which][position - 1], prompt[0, position])
        if self.likely:
            kept = choices.topk(min(LIKELIEST, len(choices)))
            choices = torch.full_like(choices, -torch.inf)
            choices[kept.indices[kept.values.isfinite()]] = 0
        count = min(CANDIDATES, int(choices.isfinite().sum()))
        noise = torch.rand(len(choices), generator=self.generator).to(choices)
        tokens = (noise + choices).topk(count).indices
        y = prompt.repeat(count, 1)
        y[:, position] = tokens
        _measure(self.evaluator, self.archive, prompt.repeat(count, 1), y, prompt)
        return True

    def state(self) -> State:
        """As `method.SearchRun` has it: nothing, since no step depends on another."""
        return {}

    def restore(self, state: State) -> None:
        """As `method.SearchRun` has it."""


class RandomSwaps(_Swaps):
    """Any other token (`method.SearchRun`)."""


class LikelySwaps(_Swaps):
    """One of the likeliest tokens (`method.SearchRun`)."""

    likely = True


class GradientSwaps:
    """Greedy coordinate gradient (`method.SearchRun`); each start in turn is followed until it
    stands still."""

    def __init__(self, setup: Setup) -> None:
        self.evaluator, self.archive, self.starts = setup.evaluator, setup.archive, setup.starts
        self.relaxed = Relaxation(self.evaluator)
        self.propose = Proposals(self.evaluator, setup.generator)
        self.turn = -1
        self._begin()

    def _begin(self) -> None:
        """Of the next start."""
        self.turn += 1
        self.pair, self.best = self._origin(), -math.inf

    def _origin(self) -> Int[Tensor, "2 length"]:
        start = self.starts[self.turn % len(self.starts)]
        return torch.tensor(start, device=self.evaluator.model.device)

    def step(self) -> bool:
        """Measure a batch of what the gradient favours at the pair; go where it is best."""
        allowed = self.evaluator.vocabulary.allowed
        gradient = self.relaxed.slopes(self.pair[None])[0]
        slopes = product(gradient, self.relaxed.table).masked_fill_(~allowed, -torch.inf)
        favoured = slopes[:, 1:].topk(min(FAVOURED, int(allowed.sum())), -1).indices
        candidates = self.pair.repeat(CANDIDATES, 1, 1)
        for candidate in candidates:
            side, position = self.propose.number(2), self.propose.number(favoured.shape[1])
            token = favoured[side, position, self.propose.number(favoured.shape[2])]
            candidate[side, position + 1] = token
        measured = _measure(
            self.evaluator, self.archive, candidates[:, 0], candidates[:, 1], self._origin()
        )
        found = torch.cat([one.ld_change for one in measured]).nan_to_num(-torch.inf)
        if float(found.max()) > self.best:
            self.best, self.pair = float(found.max()), candidates[int(found.argmax())]
        else:
            self._begin()
        return True

    def state(self) -> State:
        """As `method.SearchRun` has it."""
        return {"turn": self.turn, "best": self.best, "pair": self.pair.tolist()}

    def restore(self, state: State) -> None:
        """As `method.SearchRun` has it."""
        self.turn, self.best = state["turn"], state["best"]
        self.pair = torch.tensor(state["pair"], device=self.evaluator.model.device)


class TemplateSwaps:
    """The start pairs (`method.SearchRun`); ends when all are measured."""

    def __init__(self, setup: Setup) -> None:
        self.evaluator, self.archive = setup.evaluator, setup.archive
        self.left = [[clean, corrupted] for clean, corrupted in setup.starts if clean != corrupted]

    def step(self) -> bool:
        """Measure a pair in both directions."""
        if self.left:
            pair = torch.tensor(self.left.pop(0), device=self.evaluator.model.device)
            _measure(self.evaluator, self.archive, pair, pair.flip(0), pair)
        return bool(self.left)

    def state(self) -> State:
        """As `method.SearchRun` has it."""
        return {"left": self.left}

    def restore(self, state: State) -> None:
        """As `method.SearchRun` has it."""
        self.left = list(state["left"])


def _measure(
    evaluator: Evaluator, archive: Archive, clean: Tensor, corrupted: Tensor, origin: Tensor
) -> list[MeasuredPairs]:
    def few(measured: MeasuredPairs) -> Bool[Tensor, " pair"]:
        return best_few(measured, CURVES_PER_BATCH)

    batches = evaluator.measure(clean, corrupted, origin=origin, worth_curve=few)
    for measured in batches:
        archive.add(evaluator.complete(measured))
    archive.note()
    return batches
