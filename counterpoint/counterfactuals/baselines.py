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

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from counterpoint.counterfactuals.archive import Archive
from counterpoint.counterfactuals.evaluation import Evaluator, Measured, best_few
from counterpoint.counterfactuals.problem import Settings
from counterpoint.counterfactuals.proposals import Proposals, without
from counterpoint.counterfactuals.relaxation import Relaxation
from counterpoint.counterfactuals.sampling import LIKELIEST

CANDIDATES = 16
"""Candidates of a batch."""

FAVOURED = 256
"""Tokens per position that the gradient may propose."""

CURVES_PER_BATCH = 2

Starts = Sequence[tuple[list[int], list[int]]]


def random_swaps(
    evaluator: Evaluator,
    archive: Archive,
    starts: Starts,
    settings: Settings,
    generator: torch.Generator,
) -> None:
    """Search until the budget is spent."""
    _swaps(evaluator, archive, starts, generator, likely=False)


def likely_swaps(
    evaluator: Evaluator,
    archive: Archive,
    starts: Starts,
    settings: Settings,
    generator: torch.Generator,
) -> None:
    """Search until the budget is spent."""
    _swaps(evaluator, archive, starts, generator, likely=True)


def _swaps(
    evaluator: Evaluator,
    archive: Archive,
    starts: Starts,
    generator: torch.Generator,
    *,
    likely: bool,
) -> None:
    propose = Proposals(evaluator, generator)
    device = evaluator.model.device
    prompts = [torch.tensor([clean], device=device) for clean, _ in starts]
    scores = [
        propose.log_probabilities(prompt)[0]
        if likely
        else propose.writable(torch.zeros(prompt.shape[1], evaluator.model.d_vocab, device=device))
        for prompt in prompts
    ]
    while not evaluator.ledger.exhausted:
        which = propose.number(len(prompts))
        prompt = prompts[which]
        position = 1 + propose.number(prompt.shape[1] - 1)
        choices = without(scores[which][position - 1], prompt[0, position])
        if likely:
            kept = choices.topk(min(LIKELIEST, len(choices)))
            choices = torch.full_like(choices, -torch.inf)
            choices[kept.indices[kept.values.isfinite()]] = 0
        count = min(CANDIDATES, int(choices.isfinite().sum()))
        noise = torch.rand(len(choices), generator=generator).to(choices)
        tokens = (noise + choices).topk(count).indices
        y = prompt.repeat(count, 1)
        y[:, position] = tokens
        _measure(evaluator, archive, prompt.repeat(count, 1), y, prompt)


def gradient_swaps(
    evaluator: Evaluator,
    archive: Archive,
    starts: Starts,
    settings: Settings,
    generator: torch.Generator,
) -> None:
    """Search until the budget is spent; each start in turn is followed until it stands still."""
    relaxed = Relaxation(evaluator)
    propose = Proposals(evaluator, generator)
    allowed = evaluator.vocabulary.allowed
    turn = 0
    while not evaluator.ledger.exhausted:
        origin = torch.tensor(starts[turn % len(starts)], device=evaluator.model.device)
        turn += 1
        pair, best = origin, -torch.inf
        while not evaluator.ledger.exhausted:
            embeddings = relaxed.embed(pair).requires_grad_()
            run = relaxed.run(embeddings, alphas=(1.0,))
            (gradient,) = torch.autograd.grad(run.outputs[0] - run.outputs[1], embeddings)
            evaluator.ledger.evaluations += 3
            slopes = (gradient @ relaxed.table.T).masked_fill(~allowed, -torch.inf)
            favoured = slopes[:, 1:].topk(min(FAVOURED, int(allowed.sum())), -1).indices
            candidates = pair.repeat(CANDIDATES, 1, 1)
            for candidate in candidates:
                side, position = propose.number(2), propose.number(favoured.shape[1])
                token = favoured[side, position, propose.number(favoured.shape[2])]
                candidate[side, position + 1] = token
            measured = _measure(evaluator, archive, candidates[:, 0], candidates[:, 1], origin)
            found = torch.cat([one.ld_change for one in measured]).nan_to_num(-torch.inf)
            if not float(found.max()) > best:
                break
            best, pair = float(found.max()), candidates[int(found.argmax())]


def template_swaps(
    evaluator: Evaluator,
    archive: Archive,
    starts: Starts,
    settings: Settings,
    generator: torch.Generator,
) -> None:
    """Measure every start pair in both directions; ends when all are measured."""
    for clean, corrupted in starts:
        pair = torch.tensor([clean, corrupted], device=evaluator.model.device)
        if clean != corrupted and not evaluator.ledger.exhausted:
            _measure(evaluator, archive, pair, pair.flip(0), pair)


def _measure(
    evaluator: Evaluator, archive: Archive, clean: Tensor, corrupted: Tensor, origin: Tensor
) -> list[Measured]:
    def few(measured: Measured) -> Bool[Tensor, " pair"]:
        return best_few(measured, CURVES_PER_BATCH)

    batches = evaluator.measure(clean, corrupted, origin=origin, worth_curve=few)
    for measured in batches:
        archive.add(evaluator.complete(measured))
    archive.note()
    return batches
