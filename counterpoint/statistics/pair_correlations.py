"""What the correlations of a study need of each pair: its coefficients, counts and reasons.

Small whatever the number of heads, and made pair by pair, so that a study's pairs may be worked on
in any parts (`joined` puts them together). Beside it `HeadSums` has what is asked over heads: the
sums over pairs of each head's values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoint.glossary import label
from counterpoint.statistics import coefficients
from counterpoint.statistics.means_over_pairs import DrawnPairs, MeansOverPairs
from counterpoint.statistics.pair_coefficients import METHODS, pair_coefficients
from counterpoint.statistics.panel import Panel
from counterpoint.statistics.resampled_coefficients import MINIMUM_HEADS
from counterpoint.statistics.resampling import Settings

Place = tuple[int, int]
"""A measure and a score, by their numbers."""


@dataclass(frozen=True)
class PairCorrelations:
    """Coefficients of the pairs of one direction, ordered by pair, with why some are missing."""

    pairs: Int[np.ndarray, " pair"]
    coefficients: dict[str, Float[np.ndarray, "pair two measure score"]]
    """By method: plain, and given the layer."""
    counts: Int[np.ndarray, "pair measure score"]
    """Heads that take part."""
    excluded: Int[np.ndarray, " pair"]
    """Heads at the floor that are left out."""
    notes: dict[int, dict[Place, str]]
    """By pair: why a coefficient is not defined, where it is not."""

    @classmethod
    def of(
        cls,
        data: Panel,
        measures: Sequence[str],
        scores: Sequence[str],
        methods: Sequence[str],
        settings: Settings,
    ) -> PairCorrelations:
        """Those of the pairs of ``data``; of Kendall's there are none."""
        x, y = data.array(measures), data.array(scores)
        keep = kept_heads(data, settings)
        counts = (np.isfinite(x) & keep[:, None]).astype(int) @ np.isfinite(y).astype(int).swapaxes(
            1, 2
        )
        found = {
            method: np.stack(pair_coefficients(method, x, y, keep, data.layers), axis=1)
            for method in methods
            if method in METHODS
        }
        doubtful = _doubtful(x, y, keep)
        notes = {
            int(data.pairs[pair]): reasons(x[pair], y[pair], keep[pair], measures, scores)
            for pair in np.flatnonzero(doubtful)
        }
        return cls(
            data.pairs,
            found,
            counts,
            (~keep).sum(axis=1),
            {pair: own for pair, own in notes.items() if own},
        )


@dataclass(frozen=True)
class CorrelationSums:
    """What is asked of the coefficients of any number of pairs; sums of parts are added."""

    means: dict[str, MeansOverPairs]
    """By method: plain, and given the layer."""
    heads: dict[str, Int[np.ndarray, "measure score"]]
    """By method: heads that take part, over the pairs in which the coefficient exists."""
    pairs: int
    excluded: int
    said: dict[Place, dict[str, int]]
    """The different reasons why coefficients are not defined, each with the first pair of it."""

    @classmethod
    def of(cls, found: PairCorrelations, drawn: DrawnPairs, settings: Settings) -> CorrelationSums:
        """Those of some of the pairs that are drawn."""
        said: dict[Place, dict[str, int]] = {}
        for pair in sorted(found.notes):
            for place, reason in found.notes[pair].items():
                said.setdefault(place, {}).setdefault(reason, pair)
        return cls(
            {
                method: drawn.sums(found.pairs, values, settings)
                for method, values in found.coefficients.items()
            },
            {
                method: (found.counts * np.isfinite(values[:, 0])).sum(axis=0)
                for method, values in found.coefficients.items()
            },
            len(found.pairs),
            int(found.excluded.sum()),
            said,
        )

    def plus(self, other: CorrelationSums) -> CorrelationSums:
        """The sums over the pairs of both."""
        said = {place: dict(reasons) for place, reasons in self.said.items()}
        for place, reasons in other.said.items():
            own = said.setdefault(place, {})
            for reason, pair in reasons.items():
                own[reason] = min(pair, own.get(reason, pair))
        return CorrelationSums(
            {name: one.plus(other.means[name]) for name, one in self.means.items()},
            {name: one + other.heads[name] for name, one in self.heads.items()},
            self.pairs + other.pairs,
            self.excluded + other.excluded,
            said,
        )


def kept_heads(data: Panel, settings: Settings) -> Bool[np.ndarray, "pair head"]:
    """The heads that take part in each pair: those above the floor, unless it is not asked."""
    return np.ones_like(data.at_floor) if settings.include_floor else ~data.at_floor


def counts_of(
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    keep: Bool[np.ndarray, " head"],
) -> Int[np.ndarray, "measure score"]:
    """How many heads have both a measure and a score."""
    return np.asarray((np.isfinite(x) & keep).astype(int) @ np.isfinite(y).astype(int).T)


def _doubtful(
    x: Float[np.ndarray, "pair measure head"],
    y: Float[np.ndarray, "pair score head"],
    keep: Bool[np.ndarray, "pair head"],
) -> Bool[np.ndarray, " pair"]:
    """Pairs in which a coefficient may be undefined: few heads, gaps, or a column all alike."""
    both = np.concatenate([x, y], axis=1)
    kept = keep[:, None]
    few = keep.sum(axis=1) < MINIMUM_HEADS
    gaps = (~np.isfinite(both) & kept).any(axis=(1, 2))
    values = np.where(kept & np.isfinite(both), both, np.nan)
    values[few | gaps] = 0.0
    low, high = np.nanmin(values, axis=2), np.nanmax(values, axis=2)
    size = np.maximum(np.abs(low), np.abs(high))
    # A little wider than the rule of `coefficients.standardised`, which is asked then.
    flat = high - low <= 4 * coefficients.CONSTANT * size
    return np.asarray(few | gaps | flat.any(axis=1))


def reasons(
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    keep: Bool[np.ndarray, " head"],
    measures: Sequence[str],
    scores: Sequence[str],
) -> dict[Place, str]:
    """Why a coefficient cannot be computed, of those that cannot."""
    notes: dict[Place, str] = {}
    for i, measure in enumerate(measures):
        for j, score in enumerate(scores):
            both = keep & np.isfinite(x[i]) & np.isfinite(y[j])
            if both.sum() < MINIMUM_HEADS:
                notes[i, j] = (
                    f"not defined: {both.sum()} head{'' if both.sum() == 1 else 's'} above the "
                    f"floor, fewer than {MINIMUM_HEADS}"
                )
                continue
            flat = [
                label(name)
                for name, column in ((measure, x[i]), (score, y[j]))
                if np.isnan(coefficients.standardised(column[None, both], False)).any()
            ]
            if flat:
                verb = "is" if len(flat) == 1 else "are"
                notes[i, j] = f"not defined: {' and '.join(flat)} {verb} constant over the heads"
    return notes


@dataclass(frozen=True)
class HeadSums:
    """Of every head the sums of its columns over pairs, and how many pairs have a value."""

    names: tuple[str, ...]
    total: Float[np.ndarray, "column head"]
    count: Int[np.ndarray, "column head"]

    @classmethod
    def of(cls, data: Panel, names: Sequence[str]) -> HeadSums:
        """Those of the pairs of ``data``."""
        known = [np.isfinite(data.columns[name]) for name in names]
        total = [
            np.where(one, data.columns[name], 0.0).sum(axis=0)
            for name, one in zip(names, known, strict=True)
        ]
        return cls(tuple(names), np.array(total), np.array([one.sum(axis=0) for one in known]))

    def plus(self, other: HeadSums) -> HeadSums:
        """The sums over the pairs of both, which are of the same heads and columns."""
        return HeadSums(self.names, self.total + other.total, self.count + other.count)

    def means(self, names: Sequence[str]) -> Float[np.ndarray, "column head"]:
        """The heads' means over the pairs that have a value; NaN without any."""
        places = [self.names.index(name) for name in names]
        total, count = self.total[places], self.count[places]
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def study_note(said: Sequence[str], defined: int, n_pairs: int) -> str:
    """What is said of a coefficient that ``defined`` of ``n_pairs`` pairs have; ``said`` are the
    different reasons of the others, in the order of the pairs."""
    if defined < n_pairs:
        reason = said[0] if said else "undefined"
        if defined == 0 and len(said) == 1:
            return reason
        return f"left out in {n_pairs - defined} of {n_pairs} pairs: {reason}"
    return "one pair: the interval is over heads alone" if n_pairs == 1 else ""
