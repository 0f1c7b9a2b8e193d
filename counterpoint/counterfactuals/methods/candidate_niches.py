"""Pairs as far as they were checked (candidates), and the niche that keeps the best of a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from counterpoint.counterfactuals.evaluation.all_heads import Pair
from counterpoint.counterfactuals.head_ranks import rank_and_margin
from counterpoint.counterfactuals.methods.variants import Parent
from counterpoint.counterfactuals.pair_quality import FIRST, WELL_AHEAD, closeness_to_first, quality

LEAST_ESTIMATE = 0.2
"""LD change below which a pair is not worth a check, nor a place in a niche."""


@dataclass(frozen=True)
class Candidate(Parent):
    """A pair for one head, as far as it was checked; losses are means per token in nats.

    ``ld_change`` is −AP in noising (`objectives`), ``margin`` the LD change over the largest effect
    among the other heads checked, ``transfer_share`` the share of fresh contexts in which it stays
    among the first, where tried.
    """

    correct: int
    incorrect: int
    ld_change: float
    margin: float
    loss_clean: float
    loss_corrupted: float
    transfer_share: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Candidate:
        """The candidate whose fields, once written as JSON, read as ``values``."""
        both = {name: tuple(values[name]) for name in ("clean", "corrupted")}
        return cls(**{**values, **both, "origin": tuple(map(tuple, values["origin"]))})

    @property
    def quality(self) -> float:
        """One level more than `pair_quality.quality` has for a pair on which the head is well ahead
        and whose edit works in half of the contexts."""
        own = float(quality(np.array(self.ld_change), np.array(self.margin)))
        return own + FIRST * (own >= WELL_AHEAD and self.edit_transfers)

    @property
    def edit_transfers(self) -> bool:
        """Whether the edit is known to work in half of the contexts it was tried in."""
        return self.transfer_share >= 0.5

    @property
    def closeness(self) -> float:
        return float(closeness_to_first(np.array(self.ld_change), np.array(self.margin)))

    @property
    def turned(self) -> Candidate:
        """The same prompts the other way round, with nothing known of any head: as fluent, and as
        far from short cuts, but every head may do something else there."""
        return replace(
            self,
            clean=self.corrupted,
            corrupted=self.clean,
            correct=self.incorrect,
            incorrect=self.correct,
            ld_change=float("nan"),
            margin=float("nan"),
            loss_clean=self.loss_corrupted,
            loss_corrupted=self.loss_clean,
            transfer_share=0.0,
        )

    @property
    def pair(self) -> Pair:
        return Pair(self.clean, self.corrupted, self.correct, self.incorrect)


def for_head(pair: Candidate, effects: dict[int, float], head: int) -> Candidate:
    """The candidate with what ``head`` does on it."""
    changes = np.array(list(effects.values()))
    place = list(effects).index(head)
    _, margin, _ = rank_and_margin(changes, place)
    return replace(pair, ld_change=effects[head], margin=margin)


class Niche:
    """The best few candidates of one head, one per beginning of a sentence."""

    def __init__(self, size: int, nest: int) -> None:
        self.size, self.nest = size, nest
        self.elites: list[Candidate] = []

    @property
    def best(self) -> float:
        """Quality of the best candidate, 0 without one."""
        return self.elites[0].quality if self.elites else 0.0

    def state(self) -> list[dict[str, Any]]:
        """Its candidates as plain values."""
        return [asdict(one) for one in self.elites]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Hold what `state` gave."""
        self.elites = [Candidate.of(one) for one in state]

    def take_in(self, new: Candidate) -> bool:
        """Put ``new`` in if it is good enough; whether it is now the best."""
        nest = new.clean[: self.nest]
        rivals = [one for one in self.elites if one.clean[: self.nest] == nest]
        if any(one.quality >= new.quality for one in rivals):
            return False
        self._order([*(one for one in self.elites if one not in rivals), new])
        return self.elites[0] is new

    def replace(self, old: Candidate, new: Candidate) -> None:
        """Put ``new``, the same pair better known, in the place of ``old``."""
        self._order([new if one is old else one for one in self.elites])

    def _order(self, elites: list[Candidate]) -> None:
        elites.sort(key=lambda one: (-one.quality, one.clean, one.corrupted))
        self.elites = elites[: self.size]
