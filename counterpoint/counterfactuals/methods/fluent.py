"""`fluent`: discrete search in which fluency and the small edit are built in, not penalised.

y is x but for one token or two, every token that is written is one that the model itself finds
likely at its place, and a pair is only followed while each prompt's mean loss per token stays below
a cap (the start prompts' mean and `VariantSettings.surprise` more) and no token from the edit on is
a great surprise. What is sought is not the LD change alone but a pair on which the target comes
first: its margin over the strongest other head counts as much (`pair_quality.quality`).

Sentences are the start prompts and the model's own samples. A step takes a batch of variants
(`variants`), either of a fresh sentence, edited at a place that promises much (`start_choice`), or
of one of the best pairs found: other edits, other shared tokens, another tail, another place. Half
the tokens are the best by the gradient of the target's LD change, half drawn by likelihood. The
batch is measured in stages (`first_order_estimates`): the prompts' own runs; first-order effects of
all heads on all pairs; exact AP of target and rivals on the few pairs that promise most; the
target's path on those that are kept. Once the target comes first on a pair, the end of the budget
goes to a polish of the best one, place by place, and to others as good where its edit does not work
in other contexts (`edit_transfer`).
"""

from __future__ import annotations

from dataclasses import asdict, astuple, replace

import numpy as np
import torch

from counterpoint.counterfactuals.archive import ScoredPair
from counterpoint.counterfactuals.evaluation.all_heads import (
    exact_effects,
    first_order,
    interleaved,
)
from counterpoint.counterfactuals.evaluation.evaluated_pairs import best_few
from counterpoint.counterfactuals.methods.candidate_niches import (
    LEAST_ESTIMATE,
    Candidate,
    Niche,
    for_head,
)
from counterpoint.counterfactuals.methods.edit_transfer_trial import TransferTrial
from counterpoint.counterfactuals.methods.first_order_estimates import Estimator
from counterpoint.counterfactuals.methods.method import Setup
from counterpoint.counterfactuals.methods.method_settings import FluentSettings
from counterpoint.counterfactuals.methods.proposals import Proposals
from counterpoint.counterfactuals.methods.start_choice import EditPlace, promising_places
from counterpoint.counterfactuals.methods.variants import (
    Moves,
    Parent,
    Prompt,
    Variants,
)
from counterpoint.counterfactuals.objectives import ALPHAS, evenness, outputs_from
from counterpoint.counterfactuals.pair_quality import FIRST, WELL_AHEAD, quality
from counterpoint.counterfactuals.problem import Starts, State

STARTS_TRIED = 32
"""Starts whose loss is known and on which, where they are pairs, the target is patched."""

STARTS_READ = 2
"""Start prompts that are read, gone on with, with the first of the fresh sentences."""

PLACES_KEPT = 24
"""The most promising places that wait to be worked on."""

STARTS_WORKED_ON = 2
"""Of the start pairs those, by what the target does, that the search works on."""

CONFIRMATIONS = (0.25, 0.5, 0.75, 0.95)
"""Shares of the budget after which the best pair is confirmed, if it seems to come first."""

RIVALS_TRIED = 20
"""Heads that are patched to confirm a pair. On 119 pairs of 72 searches on SmolLM2 (`fluent` and
`proposal_only`, 12 heads) the strongest rival was among the first 6 in 86 of 100, among 16 in 99,
among 20 always; 18 was the farthest place."""

RIVALS_LEARNED = 4
"""Strongest heads of a confirmed pair, which then take part in every check."""

OTHERS_CONFIRMED = 2
"""Pairs besides the best that are confirmed in the end, where the best one's edit does not work in
other contexts and theirs may."""

WORTH_KEEPING = 0.5
"""Share of the best pair's `pair_quality.closeness_to_first` that a pair must promise. Not of its
quality: once the best has reached a level no other is near it, and it would be worked on alone."""


class Fluent:
    """One search (`method.SearchRun`)."""

    def __init__(self, setup: Setup) -> None:
        evaluator, starts = setup.evaluator, setup.starts
        self.evaluator, self.archive = evaluator, setup.archive
        self.own = own = setup.own(FluentSettings)
        self.model, self.ledger = evaluator.model, evaluator.ledger
        self.target = evaluator.path.target
        self.number = self.target.layer * self.model.n_heads + self.target.head
        self.starts: list[Prompt] = [tuple(clean) for clean, _ in starts]
        self.propose = Proposals(evaluator, setup.generator)
        self.moves = Moves(evaluator, self.propose, own)
        losses, self.pairs, given = self._try_starts(starts[:STARTS_TRIED])
        cap = sum(losses) / len(losses) + own.surprise
        self.archive.add(one for one in given if one.log_perplexity <= cap)
        self.given = {(one.clean, one.corrupted) for one in given}
        self.estimator = Estimator(evaluator, setup.generator, own, cap)
        self.niche = Niche(own.elites, self.moves.first + 2)
        self.scored: dict[tuple[Prompt, Prompt], ScoredPair] = {}
        self.always = [self.number]
        """Heads that are part of every check: the target, and rivals that estimates overlooked."""
        self.confirmed: set[tuple[Prompt, Prompt]] = set()
        self.places: list[EditPlace] = []
        self.worked = 0
        """Places that were worked on."""
        self.confirmations = list(CONFIRMATIONS)
        self.others_confirmed = 0
        self.trial = TransferTrial(evaluator, self.propose, own.contexts)
        self.polished = 0
        self.surpassing = 0

    def _try_starts(
        self, starts: Starts
    ) -> tuple[list[float], list[tuple[Prompt, Prompt]], list[ScoredPair]]:
        """The losses of the start prompts, those start pairs on which the target does most, and
        each pair in the direction in which LD changes most."""
        losses: dict[Prompt, float] = {}
        does: dict[tuple[Prompt, Prompt], float] = {}
        given: list[ScoredPair] = []
        for x, y in ((tuple(x), tuple(y)) for x, y in starts):
            if x == y:
                losses[x] = self.evaluator.surprise(self.moves.tensor(x))
                continue
            both = self.moves.tensor([x, y])
            measured = self.evaluator.measure(
                both,
                both.flip(0),
                origin=both,
                worth_curve=lambda measured: best_few(measured, 1),
                every_loss=True,
            )
            losses[x], losses[y] = torch.cat([one.loss_clean for one in measured]).tolist()
            change = torch.cat([one.ld_change for one in measured])
            does[x, y] = float(change.nan_to_num(0).max())
            given += [scored for one in measured for scored in self.evaluator.complete(one)]
        best = sorted(does, key=lambda pair: -does[pair])[:STARTS_WORKED_ON]
        return list(losses.values()), [pair for pair in best if does[pair] > 0], given

    def step(self) -> bool:
        """Measure a start pair, a batch of variants, or the likeliest rivals on the best pair."""
        if self.pairs:
            both = self.moves.tensor(list(self.pairs.pop(0)))
            self._measure(Variants(both, both[:, None].expand(-1, 2, -1)))
        elif (pair := self._to_confirm()) is not None:
            self._confirm(pair)
        elif (given := self._to_surpass()) is not None:
            self._surpass(given)
        elif self.ledger.spent >= 1 - self.own.polish and self.niche.best >= FIRST:
            self._measure(self._polish())
        else:
            self._measure(self._variants())
        self.archive.preferred = [
            self.scored[one.clean, one.corrupted] for one in self._preferred()
        ]
        return True

    def _preferred(self) -> list[Candidate]:
        """The pairs of the niche, those that are confirmed and still led by the target before those
        that only seem to be better: of many that were checked on few heads the best is often one
        whose rival was overlooked."""

        def sure(one: Candidate) -> bool:
            return (one.clean, one.corrupted) in self.confirmed and one.quality >= FIRST

        return sorted(self.niche.elites, key=sure, reverse=True)

    def state(self) -> State:
        """As `method.SearchRun` has it."""
        return {
            "niche": self.niche.state(),
            "scored": [asdict(one) for one in self.scored.values()],
            "checked": sorted(self.estimator.checked),
            "confirmed": sorted(self.confirmed),
            "always": self.always,
            "pairs": self.pairs,
            "places": [astuple(one) for one in self.places],
            "worked": self.worked,
            "gradients": self.moves.state(),
            "confirmations": self.confirmations,
            "others_confirmed": self.others_confirmed,
            "beginnings_seed": self.trial.seed,
            "polished": self.polished,
            "surpassing": self.surpassing,
        }

    def restore(self, state: State) -> None:
        """As `method.SearchRun` has it."""
        self.niche.restore(state["niche"])
        scored = map(ScoredPair.of, state["scored"])
        self.scored = {(one.clean, one.corrupted): one for one in scored}
        self.estimator.checked = set(state["checked"])
        self.confirmed = {(tuple(x), tuple(y)) for x, y in state["confirmed"]}
        self.always = list(state["always"])
        self.pairs = [(tuple(x), tuple(y)) for x, y in state["pairs"]]
        self.places = [EditPlace(tuple(sentence), *where) for sentence, *where in state["places"]]
        self.worked = state["worked"]
        self.moves.restore(state["gradients"])
        self.confirmations = list(state["confirmations"])
        self.others_confirmed = state["others_confirmed"]
        self.trial.restore(state["beginnings_seed"])
        self.polished = state["polished"]
        self.surpassing = state["surpassing"]

    def _to_confirm(self) -> Candidate | None:
        """The best pair, if it is time to, seems to come first and is not confirmed yet. In the
        polish another on which the target seems well ahead, while the edit of the best one does not
        work elsewhere."""
        spent, elites = self.ledger.spent, self.niche.elites
        if not elites or spent < self.confirmations[0]:
            return None
        while len(self.confirmations) > 1 and spent >= self.confirmations[0]:
            self.confirmations.pop(0)
        best = elites[0]
        if (best.clean, best.corrupted) not in self.confirmed:
            return best if best.quality >= FIRST else None
        polish = spent >= 1 - self.own.polish
        if polish and not best.edit_transfers and self.others_confirmed < OTHERS_CONFIRMED:
            for other in elites[1:]:
                if other.quality < WELL_AHEAD:
                    break
                if (other.clean, other.corrupted) not in self.confirmed:
                    self.others_confirmed += 1
                    return other
        return None

    def _confirm(self, best: Candidate) -> None:
        """Patch the heads that are likeliest to be rivals of the target on a pair, and on the same
        pair turned round where that was not checked yet. Learn the strongest of them. Where the
        target is well ahead, see whether the edit works in other contexts."""
        sure, known = self._against_rivals(best)
        self.niche.replace(best, sure)
        # Declared answers stay as they are: turned round, such a pair goes the wrong way.
        if self.evaluator.declared is None and self.estimator.is_new(best.turned):
            turned, known_turned = self._against_rivals(best.turned)
            if turned.quality > sure.quality:
                self._keep(turned)
                sure, known = turned, known_turned
        strongest = sorted(known, key=lambda head: -abs(known[head]))[:RIVALS_LEARNED]
        self.always = list(dict.fromkeys([*self.always, *strongest]))
        if sure.quality >= WELL_AHEAD:
            share = self.trial.share(self.number, sure)
            self.niche.replace(sure, replace(sure, transfer_share=share))

    def _against_rivals(self, pair: Candidate) -> tuple[Candidate, dict[int, float]]:
        """The pair with what the target does on it beside its likeliest rivals; exact effects."""
        rankings = np.argsort(-np.abs(first_order(self.model, pair.pair)), axis=1, kind="stable")
        heads = interleaved(*rankings.tolist())[:RIVALS_TRIED]
        heads = list(dict.fromkeys([*self.always, *heads]))
        (effects,) = exact_effects(self.model, [pair.pair], [np.array(heads)])
        self.ledger.evaluations += 5 + 2 + len(heads)
        self.confirmed.add((pair.clean, pair.corrupted))
        known = dict(zip(heads, effects[:, 0].tolist(), strict=True))
        return for_head(pair, known, self.number), known

    # -- variants --------------------------------------------------------------------------------

    def _variants(self) -> Variants | None:
        moves, elites = self.moves, self.niche.elites
        if self.propose.chance() < self.own.explore or not elites:
            if not self.places or self.worked % self.own.places == 0:
                found = [*self.places, *self._promising()]
                self.places = sorted(found, key=lambda place: -place.promise)[:PLACES_KEPT]
            if not self.places:
                return None
            self.worked += 1
            place = self.places.pop(0)
            return moves.edits(
                place.sentence, place.position, (place.sentence,), self.target, place.token
            )
        rank = -torch.arange(len(elites), dtype=torch.float32)[None] / 2
        parent = elites[int(self.propose.draw(rank)[0])]
        operators = (moves.other_edits, moves.other_shared, moves.other_tail, moves.moved_edit)
        return operators[self.propose.number(len(operators))](parent, self.target)

    def _promising(self) -> list[EditPlace]:
        """The most promising places of some sentences, at first of start prompts, gone on with,
        too."""
        longest, length = max(map(len, self.starts)), self.moves.length(self.starts)
        drawn, run = self.moves.samples_with_runs(self.starts, self.own.samples, length)
        if not self.worked:
            given = [one for one in self.starts if len(one) == longest][:STARTS_READ]
            further, own = self.propose.write(self.moves.tensor(given), length - longest)
            drawn, run = torch.cat([drawn, further]), run.with_rows(own)
        return promising_places(
            self.moves,
            drawn,
            run,
            cap=self.estimator.cap,
            tries=self.own.tries,
            count=2 * self.own.places,
        )

    def _polish(self) -> Variants | None:
        """The best pair's edit and its shared tokens, in turns."""
        best = self.niche.elites[0]
        operators = (self.moves.other_shared, self.moves.other_edits)
        operator = operators[self.polished % 2]
        self.polished += 1
        return operator(best, self.target)

    # -- what was given --------------------------------------------------------------------------

    def _to_surpass(self) -> ScoredPair | None:
        """The pair with the largest LD change where that is one that was given, and the time has
        come to work on it: in the polish, and every other step once the target is well ahead on
        some pair, since only the LD change is left to gain."""
        largest = max(self.archive.pairs, key=lambda pair: pair.ld_change, default=None)
        if (
            largest is None
            or largest.changed_tokens != 1
            or (largest.clean, largest.corrupted) not in self.given
        ):
            return None
        polish = self.ledger.spent >= 1 - self.own.polish
        ahead = self.niche.best >= WELL_AHEAD and self.propose.chance() < 0.5
        return largest if polish or ahead else None

    def _surpass(self, given: ScoredPair) -> None:
        """Its tail, its shared tokens and its edit, in turns: a search has to find more than it was
        given."""
        both = (given.clean, given.corrupted)
        operators = (self.moves.other_tail, self.moves.other_shared, self.moves.other_edits)
        operator = operators[self.surpassing % len(operators)]
        self.surpassing += 1
        variants = operator(Parent(*both, origin=both), self.target)
        self._measure(variants, beyond=given.ld_change)

    # -- measuring -------------------------------------------------------------------------------

    def _measure(self, variants: Variants | None, beyond: float | None = None) -> None:
        """Estimate and check variants by their quality, or, where it is given, by how far their LD
        change goes ``beyond``; keep what is good."""
        elites = self.niche.elites
        floor = WORTH_KEEPING * elites[0].closeness if elites else 0.0
        if len(elites) == self.own.elites:
            floor = max(floor, elites[-1].quality)
        if beyond is not None:
            floor = 0.0
        found = None
        if variants is not None:
            found = self.estimator.estimate(variants, self.number, floor)
        if found is not None:
            change, margin = found.effects[:, self.number], found.margin[:, self.number]
            promise = quality(change, margin) - floor if beyond is None else change - beyond
            promise[change < LEAST_ESTIMATE / 2] = 0
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
        (changes,) = exact_effects(self.model, [pair.pair], [np.array([self.number])], ALPHAS[1:-1])
        self.ledger.evaluations += 2 + len(ALPHAS[1:-1])
        outputs = outputs_from([*changes[0].tolist(), pair.ld_change])
        scored = ScoredPair(
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
