"""Means over pairs and their intervals, from sums that grow with what is drawn whole and no more.

A bootstrap over pairs needs of a mean only the sum of the deviations of each *cluster*: of a pair,
or of a template with all its pairs (`statistics.templates`). So a study's pairs may come in any
number of parts, whose sums are added. Of more than `ranked_pairs` clusters nothing is drawn: the
mean of so many is normal with the variance that the draws would have had (for a skewness of 2 the
ends of a 95 % interval over 2,000 pairs lie 2 % of its half-width off, less than 2,000 draws do),
and it takes the sums of squares alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from counterpoint.statistics import resampling
from counterpoint.statistics.resampling import Interval, Settings


@dataclass(frozen=True)
class DrawnPairs:
    """The pairs of a study's direction, ascending, and of which cluster each is."""

    pairs: Int[np.ndarray, " pair"]
    clusters: Int[np.ndarray, " pair"]
    """From 0 on, without gaps."""

    @classmethod
    def of(cls, pairs: Int[np.ndarray, " pair"], labels: Int[np.ndarray, " pair"]) -> DrawnPairs:
        """Pairs of one label are drawn together."""
        return cls(np.asarray(pairs), np.unique(labels, return_inverse=True)[1])

    @property
    def n_clusters(self) -> int:
        return int(self.clusters.max(initial=-1)) + 1

    def some(self, pairs: Int[np.ndarray, " some"]) -> DrawnPairs:
        """Some of the pairs as if there were no others."""
        return DrawnPairs.of(pairs, self.clusters[np.searchsorted(self.pairs, pairs)])

    def sums(
        self,
        pairs: Int[np.ndarray, " some"],
        values: Float[np.ndarray, "some ..."],
        settings: Settings,
    ) -> MeansOverPairs:
        """The sums of the ``values`` of some of the pairs."""
        clusters = self.clusters[np.searchsorted(self.pairs, pairs)]
        are_pairs = self.n_clusters == len(self.pairs)
        return MeansOverPairs.of(values, clusters, self.n_clusters, are_pairs, settings)


@dataclass(frozen=True)
class HeadDraws:
    """A mean over the sampled pairs: as it is, and under each resample of heads."""

    estimate: Float[np.ndarray, " ..."]
    draws: Float[np.ndarray, "sample ..."]


@dataclass(frozen=True)
class MeansOverPairs:
    """Sums over the pairs of each cluster; pairs without a value are left out.

    Where there are too many to be drawn, all pairs are in one row, beside the sum of squares.
    """

    total: Float[np.ndarray, "cluster ..."]
    count: Int[np.ndarray, "cluster ..."]
    squares: Float[np.ndarray, " ..."] | None

    @classmethod
    def of(
        cls,
        values: Float[np.ndarray, "pair ..."],
        clusters: Int[np.ndarray, " pair"],
        n_clusters: int,
        are_pairs: bool,
        settings: Settings,
    ) -> MeansOverPairs:
        """The sums of ``values``, whose pairs are of ``clusters``, the numbers below
        ``n_clusters``; ``are_pairs`` says that each cluster is one pair."""
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        if are_pairs and n_clusters > settings.ranked_pairs:
            return cls(
                filled.sum(axis=0)[None], known.sum(axis=0)[None], (filled * filled).sum(axis=0)
            )
        total = np.zeros((n_clusters, *values.shape[1:]))
        count = np.zeros(total.shape, dtype=int)
        np.add.at(total, clusters, filled)
        np.add.at(count, clusters, known)
        return cls(total, count, None)

    @classmethod
    def of_labels(
        cls,
        values: Float[np.ndarray, "pair ..."],
        labels: Int[np.ndarray, " pair"],
        settings: Settings,
    ) -> MeansOverPairs:
        """The sums of values that are all at hand; pairs of one label are drawn together."""
        units, place = np.unique(labels, return_inverse=True)
        return cls.of(values, place, len(units), len(units) == len(place), settings)

    def plus(self, other: MeansOverPairs) -> MeansOverPairs:
        """The sums over the pairs of both."""
        squares = (
            None if self.squares is None or other.squares is None else self.squares + other.squares
        )
        return MeansOverPairs(self.total + other.total, self.count + other.count, squares)

    @property
    def pairs(self) -> Int[np.ndarray, " ..."]:
        """How many pairs have a value."""
        return np.asarray(self.count.sum(axis=0))

    @property
    def mean(self) -> Float[np.ndarray, " ..."]:
        """The mean over the pairs that have a value; NaN without any."""
        total, count = self.total.sum(axis=0), self.pairs
        return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)

    def at(self, place: int) -> MeansOverPairs:
        """One of the numbers, of the clusters that have a value of it."""
        total, count = self.total[:, place], self.count[:, place]
        if self.squares is not None:
            return MeansOverPairs(total, count, np.asarray(self.squares[place]))
        return MeansOverPairs(total[count > 0], count[count > 0], None)

    def draws(self, random: np.random.Generator, samples: int) -> Float[np.ndarray, "sample unit"]:
        """Resamples of the clusters; or standard normal ones, where they are too many."""
        if self.squares is not None:
            return random.standard_normal((samples, 1))
        return resampling.draws(random, samples, len(self.total))

    def interval(
        self,
        heads: HeadDraws | None,
        drawn: Float[np.ndarray, "sample unit"],
        confidence: float,
        bounds: tuple[float, float] = (-np.inf, np.inf),
    ) -> Interval:
        """The mean and its interval over pairs and, where ``heads`` were drawn, over heads.

        As `resampling.study_interval`. Heads may have been drawn on a sample of the pairs: what
        the draws deviate by is then added to the mean over all.
        """
        mean, pairs = self.mean, self.pairs
        if self.squares is None:
            deviations = np.where(self.count > 0, self.total - self.count * mean, 0.0)
            units = (self.count > 0).sum(axis=0)
        else:
            spread = np.maximum(self.squares - pairs * mean**2, 0.0)
            deviations, units = np.sqrt(spread)[None], pairs
        sizes, place = np.unique(units, return_inverse=True)
        widen = np.array([resampling.widening(int(one), confidence) for one in sizes])
        away = np.tensordot(drawn, deviations, axes=1) / np.maximum(pairs, 1)
        centre = mean[None] if heads is None else heads.draws + (mean - heads.estimate)
        low, high = resampling.percentiles(
            centre + widen[place.reshape(units.shape)] * away, confidence
        )
        if heads is None:
            low, high = (np.where(units > 1, end, np.nan) for end in (low, high))
        return Interval(mean, np.clip(low, *bounds), np.clip(high, *bounds))
