"""`fluent`: discrete search in which fluency and the small edit are built in, not penalised.

y is x but for one token, every token that is written is one that the model itself finds likely at
its place, and a pair is only followed while each prompt's mean loss per token stays below a cap
(the start prompts' mean and `VariantSettings.surprise` more) and no token from the edit on is a
great surprise. What is sought is not the LD change alone but a pair on which the target comes
first: its margin over the strongest other head counts as much (`estimates.quality`).

Sentences are the start prompts and the model's own samples. A step takes a batch of variants
(`variants`), either of a fresh sentence, edited where the target's gradient is large, or of one of
the best pairs found: other edits, other shared tokens, another tail, another place. Half the tokens
are the best by the gradient of the target's LD change, half drawn by likelihood. The batch is
measured in stages (`estimates`): the prompts' own runs; first-order effects of all heads on all
pairs; exact AP of target and rivals on the few pairs that promise most; the target's path on those
that are kept. The end of the budget goes to a polish of the best pair, place by place.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from counterpoint.counterfactuals.archive import Archive, Scored
from counterpoint.counterfactuals.estimates import (
    LEAST_ESTIMATE,
    Candidate,
    Estimator,
    Niche,
    for_head,
)
from counterpoint.counterfactuals.evaluation import Evaluator
from counterpoint.counterfactuals.every_head import exact_effects
from counterpoint.counterfactuals.objectives import ALPHAS, evenness
from counterpoint.counterfactuals.problem import Settings, Starts, State
from counterpoint.counterfactuals.proposals import Proposals
from counterpoint.counterfactuals.quality import quality
from counterpoint.counterfactuals.variants import Moves, Prompt, Variants, VariantSettings

SWEEPS = (0.3, 0.84)
"""Shares of the budget after which all heads are patched on the best pair, as far as the budget
is large enough."""

BUDGET_PER_SWEEP = 3.5
"""Evaluations per head of the model that a budget has for each such sweep."""

RIVALS_LEARNED = 4
"""Strongest heads of such a pair, which then take part in every check."""

WORTH_KEEPING = 0.5
"""Share of the best pair's quality that a pair must promise."""


@dataclass(frozen=True)
class FluentSettings(VariantSettings):
    """Smaller batches than the atlas', since one head is served; ``polish`` is the last share of
    the budget, in which only the best pair is worked on."""

    variants: int = 16
    suffix: int = 12
    patched: int = 12
    readings: int = 4
    checks: int = 2
    rivals: int = 6
    elites: int = 8
    samples: int = 24
    explore: float = 0.35
    polish: float = 0.15


class Fluent:
    """One search (`steps.Steps`)."""

    def __init__(
        self,
        evaluator: Evaluator,
        archive: Archive,
        starts: Starts,
        settings: Settings,
        generator: torch.Generator,
    ) -> None:
        own = settings.method if isinstance(settings.method, FluentSettings) else FluentSettings()
        self.evaluator, self.archive, self.own = evaluator, archive, own
        self.model, self.ledger = evaluator.model, evaluator.ledger
        self.target = evaluator.path.target
        self.n_heads = self.model.n_layers * self.model.n_heads
        self.number = self.target.layer * self.model.n_heads + self.target.head
        self.starts: list[Prompt] = [tuple(clean) for clean, _ in starts]
        self.pairs = [(tuple(x), tuple(y)) for x, y in starts if x != y]
        self.propose = Proposals(evaluator, generator)
        self.moves = Moves(evaluator, self.propose, own)
        prompts = dict.fromkeys(tuple(one) for pair in starts for one in pair)
        losses = [evaluator.surprise(self.moves.tensor(one)) for one in prompts]
        cap = sum(losses) / len(losses) + own.surprise
        self.estimator = Estimator(evaluator, generator, own, cap)
        self.niche = Niche(own.elites, self.moves.first + 2)
        self.scored: dict[tuple[Prompt, Prompt], Scored] = {}
        self.always = [self.number]
        """Heads that are part of every check: the target, and rivals that estimates overlooked."""
        self.confirmed: set[tuple[Prompt, Prompt]] = set()
        self.sentences: list[Prompt] = []
        # Estimates overlook heads whose attention is saturated; patching all heads does not.
        total = self.ledger.budget.evaluations
        self.sweeps = list(SWEEPS[: int(total / (BUDGET_PER_SWEEP * self.n_heads))])
        self.polished = 0

    def step(self) -> bool:
        """Measure a start pair, a batch of variants, or all heads on the best pair."""
        if self.pairs:
            both = self.moves.tensor(list(self.pairs.pop(0)))
            self._measure(Variants(both, both[:, None].expand(-1, 2, -1)))
        elif self.sweeps and self.ledger.spent >= self.sweeps[0] and self.niche.elites:
            self.sweeps.pop(0)
            self._confirm()
        elif self.ledger.spent >= 1 - self.own.polish and self.niche.elites:
            self._measure(self._polish())
        else:
            self._measure(self._variants())
        self.archive.also = [self.scored[one.clean, one.corrupted] for one in self.niche.elites]
        return True

    def state(self) -> State:
        """As `steps.Steps` has it."""
        return {
            "niche": self.niche.state(),
            "scored": [asdict(one) for one in self.scored.values()],
            "checked": sorted(self.estimator.checked),
            "confirmed": sorted(self.confirmed),
            "always": self.always,
            "pairs": self.pairs,
            "sentences": self.sentences,
            "sweeps": self.sweeps,
            "polished": self.polished,
        }

    def restore(self, state: State) -> None:
        """As `steps.Steps` has it."""
        self.niche.restore(state["niche"])
        scored = map(Scored.of, state["scored"])
        self.scored = {(one.clean, one.corrupted): one for one in scored}
        self.estimator.checked = set(state["checked"])
        self.confirmed = {(tuple(x), tuple(y)) for x, y in state["confirmed"]}
        self.always = list(state["always"])
        self.pairs = [(tuple(x), tuple(y)) for x, y in state["pairs"]]
        self.sentences = [tuple(one) for one in state["sentences"]]
        self.sweeps = list(state["sweeps"])
        self.polished = state["polished"]

    def _confirm(self) -> None:
        """Patch all heads on the best pair of which that was not done; learn its rivals."""
        left = [
            one for one in self.niche.elites if (one.clean, one.corrupted) not in self.confirmed
        ]
        if not left:
            return
        best = left[0]
        effects = exact_effects(self.model, [best.pair])[0][:, 0]
        self.ledger.evaluations += 2 + len(effects)
        self.confirmed.add((best.clean, best.corrupted))
        strongest = np.argsort(-np.abs(effects), kind="stable")[:RIVALS_LEARNED].tolist()
        self.always = list(dict.fromkeys([*self.always, *strongest]))
        everything = dict(enumerate(effects.tolist()))
        self.niche.replace(best, for_head(best, everything, self.number))

    # -- variants --------------------------------------------------------------------------------

    def _variants(self) -> Variants | None:
        moves, elites = self.moves, self.niche.elites
        if self.propose.chance() < self.own.explore or not elites:
            if not self.sentences:
                self.sentences = self._leaning()
            sentence = self.sentences.pop(0)
            place = moves.place_by_gradient(sentence, self.target)
            return moves.edits(sentence, place, (sentence,), self.target)
        rank = -torch.arange(len(elites), dtype=torch.float32)[None] / 2
        parent = elites[int(self.propose.draw(rank)[0])]
        operators = (moves.other_edits, moves.other_shared, moves.other_tail, moves.moved)
        return operators[self.propose.number(len(operators))](parent, self.target)

    def _leaning(self) -> list[Prompt]:
        """The third of some sentences that leans on the target most, cut to where it does."""
        length = max(map(len, self.starts))
        drawn = self.moves.samples(self.starts, self.own.samples, length)
        drawn += [one for one in self.starts if len(one) == length][:2]
        leaning = self.evaluator.screen(self.moves.tensor(drawn))
        # Shorter ends have nothing to edit but the very first words.
        leaning[:, : min(3, leaning.shape[1] - 1)] = -torch.inf
        best = leaning.max(1)
        order = best.values.argsort(descending=True)[: max(1, len(drawn) // 3)].tolist()
        return [drawn[one][: int(best.indices[one]) + 2] for one in order]

    def _polish(self) -> Variants | None:
        """The best pair's edit and its shared tokens, in turns."""
        best = self.niche.elites[0]
        operators = (self.moves.other_shared, self.moves.other_edits)
        operator = operators[self.polished % 2]
        self.polished += 1
        return operator(best, self.target)

    # -- measuring -------------------------------------------------------------------------------

    def _measure(self, variants: Variants | None) -> None:
        found = None if variants is None else self.estimator.estimate(variants, self.number)
        if found is not None:
            change, margin = found.effects[:, self.number], found.margin[:, self.number]
            elites = self.niche.elites
            floor = WORTH_KEEPING * self.niche.best
            if len(elites) == self.own.elites:
                floor = max(floor, elites[-1].quality)
            promise = np.where(change >= LEAST_ESTIMATE / 2, quality(change, margin) - floor, 0)
            for pair, effects in self.estimator.check(found, promise, always=self.always):
                self._keep(for_head(pair, effects, self.number))
        self.archive.note()

    def _keep(self, pair: Candidate) -> None:
        """Put a checked pair into niche and archive, its path measured where it enters either."""
        if pair.ld_change < self.evaluator.settings.smallest_change:
            self.ledger.refused["the LD change is too small"] += 1
            return
        surprise = max(pair.loss_clean, pair.loss_corrupted)
        at_best = np.array([[pair.ld_change, 1.0, 1.0, surprise]])
        taken = self.niche.take_in(pair) or pair in self.niche.elites
        if not taken and not self.archive.would_enter(at_best)[0]:
            self.ledger.refused["a pair in the archive is better in everything"] += 1
            return
        (falls,) = exact_effects(self.model, [pair.pair], [np.array([self.number])], ALPHAS[1:-1])
        self.ledger.evaluations += 2 + len(ALPHAS[1:-1])
        outputs = torch.tensor([0.0, *(-falls[0]).tolist(), -pair.ld_change], dtype=torch.float64)
        scored = Scored(
            clean=pair.clean,
            corrupted=pair.corrupted,
            correct=pair.correct,
            incorrect=pair.incorrect,
            ld_change=pair.ld_change,
            evenness=float(evenness(outputs)),
            loss_clean=pair.loss_clean,
            loss_corrupted=pair.loss_corrupted,
            evaluations=self.ledger.evaluations,
        )
        self.scored[pair.clean, pair.corrupted] = scored
        self.archive.add([scored])
