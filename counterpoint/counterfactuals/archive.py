"""The archive: every pair found that no other pair found beats in all four objectives.

What is kept of a search, and how its progress is told: `hypervolume` over evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from counterpoint.counterfactuals.hypervolume import (
    MAXIMISE,
    OBJECTIVES,
    hypervolume,
    non_dominated,
)
from counterpoint.counterfactuals.pair_columns import PAIR_COLUMNS, pair_row
from counterpoint.counterfactuals.problem import Ledger, SearchResult, Target

if TYPE_CHECKING:
    from counterpoint.models.load import LanguageModel

COLUMNS = (
    "method",
    "seed",
    "layer",
    "head",
    *PAIR_COLUMNS,
    "evaluations",
    "non_dominated",
    "choice",
)
"""Columns of an archive; ``evaluations`` is the count at which the pair was found. Rows that are
not ``non_dominated`` are pairs that the method prefers for reasons beyond the four objectives;
``choice`` is the method's order of preference, from 1, by LD change where it has no other."""

TRACE_COLUMNS = ("evaluations", "seconds", "hypervolume", "best_ld_change")


@dataclass(frozen=True)
class ScoredPair:
    """A pair with its exact objectives; ``loss_*`` is the mean loss per predicted token, in
    nats."""

    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    correct: int
    incorrect: int
    ld_change: float
    evenness: float
    loss_clean: float
    loss_corrupted: float
    evaluations: int

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ScoredPair:
        """The pair whose fields, once written as JSON, read as ``values``."""
        both = {name: tuple(values[name]) for name in ("clean", "corrupted")}
        return cls(**{**values, **both})

    @property
    def changed_tokens(self) -> int:
        return sum(one != other for one, other in zip(self.clean, self.corrupted, strict=True))

    @property
    def log_perplexity(self) -> float:
        return max(self.loss_clean, self.loss_corrupted)

    @property
    def objectives(self) -> tuple[float, float, float, float]:
        """In the order of `OBJECTIVES`."""
        return (self.ld_change, self.evenness, float(self.changed_tokens), self.log_perplexity)


class Archive:
    """Non-dominated pairs and the trace of their hypervolume."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.pairs: list[ScoredPair] = []
        self.preferred: list[ScoredPair] = []
        """Pairs that the method prefers for reasons beyond the four objectives."""
        self._trace: list[tuple[float, ...]] = []

    def __len__(self) -> int:
        return len(self.pairs)

    def points(self) -> np.ndarray:
        return np.array([pair.objectives for pair in self.pairs]).reshape(-1, len(OBJECTIVES))

    def add(self, found: Iterable[ScoredPair]) -> int:
        """Take in what is new and non-dominated; say how many of ``found`` are in afterwards."""
        known = {(pair.clean, pair.corrupted) for pair in self.pairs}
        new = []
        for pair in found:
            if (pair.clean, pair.corrupted) not in known:
                known.add((pair.clean, pair.corrupted))
                new.append(pair)
        if not new:
            return 0
        everything = self.pairs + new
        stays = non_dominated(np.array([pair.objectives for pair in everything]))
        self.pairs = [pair for pair, stay in zip(everything, stays, strict=True) if stay]
        return int(stays[len(everything) - len(new) :].sum())

    def would_enter(self, points: np.ndarray) -> np.ndarray:
        """Which of ``points`` [pair, objective] no pair of the archive dominates, each by
        itself."""
        mine = self.points()
        if len(mine) == 0:
            return np.ones(len(points), dtype=bool)
        sign = np.where(MAXIMISE, 1.0, -1.0)
        better = (mine * sign)[None] >= (points * sign)[:, None]
        return np.logical_not(better.all(-1).any(-1))

    def note(self) -> None:
        """Put the present state into the trace."""
        best = max((pair.ld_change for pair in self.pairs), default=math.nan)
        self._trace.append(
            (self.ledger.evaluations, self.ledger.seconds, hypervolume(self.points()), best)
        )

    def state(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "pairs": [asdict(pair) for pair in self.pairs],
            "preferred": [asdict(pair) for pair in self.preferred],
            "trace": [list(row) for row in self._trace],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be what `state` gave."""
        self.pairs = [ScoredPair.of(pair) for pair in state["pairs"]]
        self.preferred = [ScoredPair.of(pair) for pair in state["preferred"]]
        self._trace = [tuple(row) for row in state["trace"]]

    def result(self, model: LanguageModel, method: str, target: Target, seed: int) -> SearchResult:
        """The archive, with what the method prefers besides, and the trace as tables."""
        best = {(pair.clean, pair.corrupted) for pair in self.pairs}
        besides = [pair for pair in self.preferred if (pair.clean, pair.corrupted) not in best]
        pairs = sorted(
            self.pairs + besides, key=lambda pair: (-pair.ld_change, pair.clean, pair.corrupted)
        )
        ordered = dict.fromkeys((pair.clean, pair.corrupted) for pair in [*self.preferred, *pairs])
        choice = {key: number for number, key in enumerate(ordered, start=1)}
        rows = [
            {
                "method": method,
                "seed": seed,
                "layer": target.layer,
                "head": target.head,
                **pair_row(
                    model,
                    pair.clean,
                    pair.corrupted,
                    (pair.correct, pair.incorrect),
                    (pair.loss_clean, pair.loss_corrupted),
                    ld_change=pair.ld_change,
                    evenness=pair.evenness,
                ),
                "evaluations": pair.evaluations,
                "non_dominated": (pair.clean, pair.corrupted) in best,
                "choice": choice[pair.clean, pair.corrupted],
            }
            for pair in pairs
        ]
        archive = typed(pd.DataFrame(rows, columns=list(COLUMNS)))
        if not rows:
            archive.attrs["reason"] = self.ledger.reason()
        trace = pd.DataFrame(self._trace, columns=list(TRACE_COLUMNS)).astype(
            {
                "evaluations": "int64",
                "seconds": float,
                "hypervolume": float,
                "best_ld_change": float,
            }
        )
        return SearchResult(archive, trace)


_TYPES = {
    **dict.fromkeys(
        ("seed", "layer", "head", "correct_token", "incorrect_token", "changed_tokens"), "int64"
    ),
    **dict.fromkeys(
        ("ld_change", "evenness", "perplexity_clean", "perplexity_corrupted", "perplexity"),
        "float64",
    ),
    **dict.fromkeys(("evaluations", "choice"), "int64"),
    "non_dominated": "bool",
    **dict.fromkeys(("method", "clean", "corrupted", "correct", "incorrect"), "str"),
}


def typed(archive: pd.DataFrame) -> pd.DataFrame:
    """The archive with the types of its columns, which an empty table would otherwise lack."""
    return archive.astype(_TYPES)


def merge(archives: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Archives of several searches as one table; ``non_dominated`` is said again of all of it.

    When all are empty, the reasons are joined in ``attrs["reason"]``.
    """
    parts = list(archives)
    filled = [part for part in parts if len(part)]
    if not filled:
        merged = parts[0].copy()
        reasons = dict.fromkeys(str(part.attrs.get("reason", "")) for part in parts)
        merged.attrs["reason"] = "; ".join(reasons)
        return merged
    merged = pd.concat(filled, ignore_index=True)
    points = merged.assign(log_perplexity=np.log(merged["perplexity"]))[list(OBJECTIVES)]
    merged["non_dominated"] = non_dominated(points.to_numpy(float))
    return merged.sort_values(
        ["ld_change", "clean", "corrupted"], ascending=[False, True, True], ignore_index=True
    )
