"""What all heads do on the pairs that a batch of variants holds, to first order; then exactly.

24 variants hold 552 ordered pairs, at every end. Their own runs say which are fluent and which
answers they have. A few *readings* (x, the end, the incorrect answer) are differentiated; the
gradient times the difference of a head's values then estimates the effect of every head on every
pair that shares the reading. Pairs that promise something are checked by exact AP of the heads that
the estimate ranks first, the *rivals*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.counterfactuals.evaluation.all_heads import (
    estimated_effects,
    exact_effects,
    kept_values,
    value_gradients,
)
from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.evaluation.head_path import TargetRun
from counterpoint.counterfactuals.head_ranks import margins
from counterpoint.counterfactuals.language.perplexity import token_losses
from counterpoint.counterfactuals.language.sampling import perturbed
from counterpoint.counterfactuals.methods.candidate_niches import LEAST_ESTIMATE, Candidate
from counterpoint.counterfactuals.methods.method_settings import VariantSettings
from counterpoint.counterfactuals.methods.variants import Variants
from counterpoint.counterfactuals.pair_quality import GOOD_MARGIN, quality
from counterpoint.counterfactuals.problem import Target
from counterpoint.engine.activation_caching import reuses_prefix
from counterpoint.engine.prefix_cache import PrefixKeysValues

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Answers:
    """Of a pair (x, y) at an end the correct answer is that of x's row, the incorrect one that of
    y's (`Evaluator.answers`)."""

    correct: Int[Tensor, "prompt end"]
    incorrect: Int[Tensor, "prompt end"]


@dataclass(frozen=True, eq=False)
class Estimates:
    """Pairs of variants at ends, and the LD change of every head on them to first order."""

    variants: Variants
    stops: list[int]
    rows: list[tuple[int, int, int]]
    """Of each pair: the numbers of x and y among the variants, and of the end."""
    place: list[int]
    """Where its prompts differ first."""
    answers: Answers
    losses: Float[Tensor, "prompt end"]
    effects: Float[Array, "pair head"]

    @property
    def margin(self) -> Float[Array, "pair head"]:
        """Each effect over the largest of another head's."""
        return margins(self.effects)

    def candidate(self, row: int) -> Candidate:
        """The pair, with nothing known of any head."""
        x, y, end = self.rows[row]
        stop = self.stops[end]
        return Candidate(
            clean=tuple(self.variants.prompts[x, :stop].tolist()),
            corrupted=tuple(self.variants.prompts[y, :stop].tolist()),
            origin=tuple(tuple(one) for one in self.variants.origin[:, x, :stop].tolist()),
            correct=int(self.answers.correct[x, end]),
            incorrect=int(self.answers.incorrect[y, end]),
            ld_change=float("nan"),
            margin=float("nan"),
            loss_clean=float(self.losses[x, end]),
            loss_corrupted=float(self.losses[y, end]),
        )


class Estimator:
    """Measures variants on the ledger of ``evaluator``; ``cap`` is the most mean loss per token."""

    def __init__(
        self, evaluator: Evaluator, generator: torch.Generator, own: VariantSettings, cap: float
    ) -> None:
        self.evaluator, self.generator, self.own, self.cap = evaluator, generator, own, cap
        self.model, self.device = evaluator.model, evaluator.model.device
        self.checked: set[int] = set()
        """Pairs that were checked before, by their hash."""

    # -- first order -----------------------------------------------------------------------------

    @torch.no_grad()
    def estimate(
        self, variants: Variants, head: int | None = None, floor: float = 0.0
    ) -> Estimates | None:
        """Run the variants; None where no two of them are a pair that may be kept.

        With ``head`` pairs on which that head's values differ much are taken more often; with
        `VariantSettings.patched` some of them are patched, at all ends in one run, so that the
        readings are those on which the head does most and its effects there are exact. Of those
        pairs only such count as would, with a good margin, have a quality above ``floor``.
        """
        prompts, ledger = variants.prompts, self.evaluator.ledger
        start = int((prompts == prompts[0]).all(0).int().cumprod(0).sum())
        if start == prompts.shape[1]:
            return None
        first_end = max(start + 1, 3)
        if not reuses_prefix(self.model, prompts.shape[1]):
            start = 0
        prefix, prefix_loss, ahead = self.evaluator.prefix(prompts[0, :start])
        if head is not None:
            self.evaluator.aim(Target(*divmod(head, self.model.n_heads)))
        with kept_values(self.model) as z:
            run = self.evaluator.path.own_run(prefix, input_ids=prompts[:, start:])
        ledger.evaluations += len(prompts)
        stops = torch.arange(first_end, prompts.shape[1] + 1, device=self.device)
        if not len(stops):
            return None
        last = stops - 1 - start
        losses, largest = self._losses(prompts, start, stops, run.logits, prefix_loss, ahead)
        answers = Answers(*self.evaluator.answers(run.logits[:, last]))
        eligible = self._eligible(variants, stops, losses, largest, answers)
        if not bool(eligible.any()):
            return None
        strength = _swing(run.logits[:, last], answers).clamp_min(1e-3).log()
        exact: dict[tuple[int, int, int], float] = {}
        if head is not None:
            strength = strength + self._moves_of(head, z, last)
            if self.own.patched:
                exact = self._patched(
                    run, prefix, prompts.shape[1], last, answers, eligible, strength
                )
        if exact:
            readings = self._best_readings(exact, answers.incorrect, floor)
        else:
            readings = self._readings(eligible, strength, answers.incorrect)
        if not readings:
            return None
        rows = [
            (number, x, y, end)
            for number, (x, end, answer) in enumerate(readings)
            for y in _numbers(eligible[x, :, end] & (answers.incorrect[:, end] == answer))
        ]
        of_x, end, incorrect = (self._tensor(list(part)) for part in zip(*readings, strict=True))
        _, gradients = value_gradients(
            self.model,
            prompts[of_x, start:],
            last[end],
            answers.correct[of_x, end],
            incorrect,
            prefix,
        )
        ledger.evaluations += 2 * len(readings)
        number, x, y, _ = (self._tensor(list(part)) for part in zip(*rows, strict=True))
        effects = (
            estimated_effects(
                self.model.n_heads,
                [one[number] for one in gradients],
                [one[y] - one[x] for one in z],
            )
            .double()
            .cpu()
            .numpy()
        )
        for place, row in enumerate(rows):
            if row[1:] in exact:
                effects[place, head] = exact[row[1:]]
        return Estimates(
            variants=variants,
            stops=stops.tolist(),
            rows=[row[1:] for row in rows],
            place=(prompts[x] != prompts[y]).int().argmax(1).tolist(),
            answers=answers,
            losses=losses,
            effects=effects,
        )

    def _patched(
        self,
        run: TargetRun,
        prefix: PrefixKeysValues | None,
        length: int,
        last: Int[Tensor, " end"],
        answers: Answers,
        eligible: Bool[Tensor, "x y end"],
        strength: Float[Tensor, "x y end"],
    ) -> dict[tuple[int, int, int], float]:
        """Exact LD changes of the head aimed at, by (x, y, end), on a few pairs at all ends."""
        best = strength.masked_fill(~eligible, -torch.inf).amax(-1)
        best = perturbed(best, self.generator)
        chosen = best.flatten().topk(min(self.own.patched, int(best.isfinite().sum()))).indices
        x, y = chosen // best.shape[1], chosen % best.shape[1]
        correct, incorrect = answers.correct[x], answers.incorrect[y]
        path = self.evaluator.path
        delta = path.difference(run.z[x], run.z[y])
        final = path.patched(run.residual[x], run.attention[x] + delta, prefix, length)[:, last]
        moved = self.evaluator.difference(final, correct, incorrect)
        at = run.logits[:, last][x]
        own = at.gather(-1, torch.stack([correct, incorrect], -1))
        change = own[..., 0] - own[..., 1] - moved
        self.evaluator.ledger.evaluations += len(chosen)
        return {
            (int(x[pair]), int(y[pair]), end): float(change[pair, end])
            for pair, end in eligible[x, y].nonzero().tolist()
        }

    def _best_readings(
        self,
        exact: dict[tuple[int, int, int], float],
        incorrect: Int[Tensor, "prompt end"],
        floor: float,
    ) -> list[tuple[int, int, int]]:
        """The (x, end, incorrect answer) of the pairs on which the head does most."""
        chosen: dict[tuple[int, int, int], None] = {}
        for (x, y, end), change in sorted(exact.items(), key=lambda one: -one[1]):
            at_best = float(quality(np.array(change), np.array(GOOD_MARGIN)))
            enough = change >= LEAST_ESTIMATE / 2 and at_best > floor
            if not enough or len(chosen) == self.own.readings:
                break
            chosen.setdefault((x, end, int(incorrect[y, end])))
        return list(chosen)

    def _losses(
        self,
        prompts: Int[Tensor, "prompt length"],
        start: int,
        stops: Int[Tensor, " end"],
        logits: Float[Tensor, "prompt suffix vocabulary"],
        prefix_loss: Tensor,
        ahead: Tensor | None,
    ) -> tuple[Float[Tensor, "prompt end"], Float[Tensor, "prompt end"]]:
        """Mean loss per predicted token of each prompt cut to each end, and the largest loss of a
        token among those that differ or follow."""
        first = (
            token_losses(ahead.expand(len(prompts), 1, -1), prompts[:, start : start + 1])
            if ahead is not None
            else torch.zeros_like(logits[:, :1, 0])
        )
        each = torch.cat([first, token_losses(logits[:, :-1], prompts[:, start + 1 :])], 1)
        summed, last = prefix_loss + each.cumsum(1), stops - 1 - start
        return summed[:, last] / (stops - 1), each.cummax(1).values[:, last]

    def _eligible(
        self,
        variants: Variants,
        stops: Int[Tensor, " end"],
        losses: Float[Tensor, "prompt end"],
        largest: Float[Tensor, "prompt end"],
        answers: Answers,
    ) -> Bool[Tensor, "x y end"]:
        """Which ordered pairs, at which end, differ in few tokens, are fluent and have two plain
        answers that are not written into either by the search (or as the setting says)."""
        words, prompts = self.evaluator.vocabulary, variants.prompts
        rule, refused = self.evaluator.settings.answer_in_prompt, self.evaluator.ledger.refused
        changed = (prompts[:, None] != prompts[None]).cumsum(-1)[..., stops - 1]
        differ = (changed > 0) & (changed <= self.own.changes)
        fluent = (losses <= self.cap) & (largest <= self.own.largest)
        refused["a prompt is not fluent"] += int((~fluent).sum())
        plain = words.plain
        correct, incorrect = words.word[answers.correct], words.word[answers.incorrect]
        same = correct[:, None] == incorrect[None]
        refused["both prompts have the same answer"] += int((differ & same).sum())
        of_x, of_y = fluent & plain[answers.correct], fluent & plain[answers.incorrect]
        eligible = differ & of_x[:, None] & of_y[None] & ~same
        if rule == "allow":
            return eligible
        # Where a prompt is not what its sentence was, the search wrote.
        written = (prompts != variants.origin).all(0)
        if rule == "forbid":
            written = torch.ones_like(written)
        for place in written.any(0).nonzero()[:, 0].tolist():
            word = torch.where(written[:, place], words.word[prompts[:, place]], -1)
            inside = stops > place
            taken = (
                (word[:, None] == correct)[:, None]
                | (word[:, None] == incorrect)[None]
                | (word[:, None, None] == incorrect[None])
                | (word[:, None, None] == correct[None]).transpose(0, 1)
            ) & inside
            refused["an answer is a word of a prompt"] += int((eligible & taken).sum())
            eligible &= ~taken
        return eligible

    def _moves_of(
        self, head: int, values: list[Tensor], last: Int[Tensor, " end"]
    ) -> Float[Tensor, "x y end"]:
        """The logarithm of how far the head's values differ between two prompts up to an end."""
        layer, number = divmod(head, self.model.n_heads)
        z = values[layer].unflatten(-1, (self.model.n_heads, -1))[:, :, number]
        squares = (z[:, None] - z[None]).square().sum(-1).cumsum(-1)[..., last]
        return 0.5 * squares.clamp_min(1e-12).log()

    def _readings(
        self,
        eligible: Bool[Tensor, "x y end"],
        strength: Float[Tensor, "x y end"],
        incorrect: Int[Tensor, "prompt end"],
    ) -> list[tuple[int, int, int]]:
        """A few (x, end, incorrect answer), those of strong pairs more often."""
        places, strength = eligible.nonzero(), strength[eligible]
        order = perturbed(strength, self.generator).argsort(descending=True)
        chosen: dict[tuple[int, int, int], None] = {}
        for x, y, end in places[order].tolist():
            chosen.setdefault((x, end, int(incorrect[y, end])))
            if len(chosen) == self.own.readings:
                break
        return list(chosen)

    # -- exactly -------------------------------------------------------------------------------

    def check(
        self,
        found: Estimates,
        promise: Float[Array, " pair"],
        always: Sequence[int] = (),
    ) -> list[tuple[Candidate, dict[int, float]]]:
        """Exact LD changes of the heads ``always`` and the rivals on the most promising pairs.

        Pairs are checked together where they end and first differ at the same places. What was
        checked before, or does not tokenise back, is passed over.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for row in np.argsort(-promise, kind="stable").tolist():
            if promise[row] > 0:
                groups.setdefault((found.rows[row][2], found.place[row]), []).append(row)
        if not groups:
            return []
        order = max(groups.values(), key=lambda rows: promise[rows[: self.own.checks]].sum())
        wanted: list[tuple[Candidate, Int[Array, " head"]]] = []
        for row in order:
            if len(wanted) == self.own.checks:
                break
            pair = found.candidate(row)
            if self.is_new(pair):
                rivals = np.argsort(-np.abs(found.effects[row]), kind="stable")
                heads = dict.fromkeys([*always, *rivals[: self.own.rivals].tolist()])
                wanted.append((pair, np.array(list(heads))))
        if not wanted:
            return []
        pairs = [one.pair for one, _ in wanted]
        effects = exact_effects(self.model, pairs, [heads for _, heads in wanted])
        self.evaluator.ledger.evaluations += sum(2 + len(heads) for _, heads in wanted)
        return [
            (pair, dict(zip(heads.tolist(), one[:, 0].tolist(), strict=True)))
            for (pair, heads), one in zip(wanted, effects, strict=True)
        ]

    def is_new(self, pair: Candidate) -> bool:
        """Whether a pair was not asked about before, and tokenises back."""
        key = hash((pair.clean, pair.corrupted))
        if key in self.checked:
            return False
        self.checked.add(key)
        if all(map(self.evaluator.vocabulary.round_trips, (pair.clean, pair.corrupted))):
            return True
        self.evaluator.ledger.refused["the text does not tokenise back"] += 1
        return False

    def _tensor(self, ids: list[int]) -> Tensor:
        return torch.tensor(ids, device=self.device)


def _numbers(chosen: Bool[Tensor, " place"]) -> list[int]:
    return list(chosen.nonzero()[:, 0].tolist())


def _swing(
    logits: Float[Tensor, "prompt end vocabulary"], answers: Answers
) -> Float[Tensor, "x y end"]:
    """How far LD falls from x's run to y's."""

    def at(tokens: Int[Tensor, "prompt end"]) -> Float[Tensor, "prompt other end"]:
        """Each prompt's logits of every other one's answer."""
        return logits.gather(-1, tokens.T[None].expand(len(tokens), -1, -1)).permute(0, 2, 1)

    of_correct, of_incorrect = at(answers.correct), at(answers.incorrect)
    own = [one.diagonal(dim1=0, dim2=1).T for one in (of_correct, of_incorrect)]
    return own[0][:, None] - of_incorrect - of_correct.transpose(0, 1) + own[1][None]
