"""How the measures of the output curve relate to the attribution scores: `correlations.csv`.

Each row is one coefficient between a measure and a score, over heads, in one direction. Its scope:

`pair`       over the heads of one pair. The interval draws heads.
`study`      over all pairs: the mean of the pairs' own coefficients, which is the pooled
             coefficient once each pair's values (or ranks) are standardised within the pair. A pair
             on which the model is surer has larger scores and larger measures all over; raw pooling
             would take that for a relation between heads. The interval draws pairs, whole, and
             heads (see `counterpoint.statistics.resampling`).
`pair_mean`  over heads, each represented by its means over the pairs. The interval draws heads;
             it is about these pairs.

`p_permutation` is two-sided; its null says that which head has which score has nothing to do with
its measure (for Kendall see `statistics.resampled_coefficients`). `p_adjusted` holds the false
discovery rate (Benjamini and Hochberg) among all rows of the same scope.

Partial coefficients are those within layers (see `statistics.coefficients`): deep layers have
larger effects and larger movements, so depth alone makes measures and scores go together.

Two cautions. A small p-value is no discovery where the relation is arithmetic: the output range on
[0, 1] is never below |AP|. And the null of the p-value is that measure and score have nothing to do
with each other, which is more than a coefficient of zero: a signed score whose size, but not its
sign, goes with the measure can have a small p beside an interval that holds zero. Look at the
estimate and its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from counterpoint.errors import InvalidValue
from counterpoint.statistics import coefficients, resampling
from counterpoint.statistics.false_discovery import false_discovery_rate
from counterpoint.statistics.means_over_pairs import DrawnPairs, HeadDraws, MeansOverPairs
from counterpoint.statistics.pair_correlations import (
    CorrelationSums,
    HeadSums,
    PairCorrelations,
    counts_of,
    kept_heads,
    reasons,
    study_note,
)
from counterpoint.statistics.panel import (
    MEASURES,
    MOVEMENT,
    ROUNDING,
    SCORES,
    Panel,
    directions,
    floors,
    panel,
)
from counterpoint.statistics.resampled_coefficients import (
    ResampledCoefficients,
    Resamples,
    resampled_coefficients,
)
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.sampled_pairs import sampled
from counterpoint.statistics.templates import clusters_of

COLUMNS = (
    "scope",
    "pair",
    "direction",
    "measure",
    "score",
    "method",
    "estimate",
    "ci_low",
    "ci_high",
    "p_permutation",
    "p_adjusted",
    "partial_given_layer",
    "partial_ci_low",
    "partial_ci_high",
    "n",
    "pairs",
    "floor_excluded",
    "note",
)


class Chosen(NamedTuple):
    """What is correlated with what, and how."""

    measures: tuple[str, ...] = MEASURES
    scores: tuple[str, ...] = SCORES
    methods: tuple[str, ...] = coefficients.METHODS

    @property
    def columns(self) -> tuple[str, ...]:
        """What is needed of the table of heads."""
        return (*self.measures, *self.scores, MOVEMENT, ROUNDING)


def correlations(
    heads: pd.DataFrame,
    *,
    measures: Sequence[str] = MEASURES,
    scores: Sequence[str] = SCORES,
    methods: Sequence[str] = coefficients.METHODS,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """All coefficients of `measures` with `scores`, columns as in `COLUMNS`.

    `n` counts rows (pair and head) used, `pairs` the pairs they come from, `floor_excluded` the
    rows left out because they are at the floor of rounding. Where a number cannot be given it is
    NaN and `note` says why. Raises KeyError for a column that `heads` lacks, ValueError for an
    unknown method or a row that appears twice.
    """
    settings = resampling.checked(settings)
    measures = [measures] if isinstance(measures, str) else list(measures)
    scores = [scores] if isinstance(scores, str) else list(scores)
    methods = [methods] if isinstance(methods, str) else list(methods)
    unknown = [method for method in methods if method not in coefficients.METHODS]
    if unknown:
        raise InvalidValue(f"method must be one of {coefficients.METHODS}, not {unknown[0]!r}")
    chosen = Chosen(tuple(measures), tuple(scores), tuple(methods))
    parts = []
    for direction in directions(heads):
        data = panel(heads, direction, chosen.columns, settings.floor)
        sums = DirectionSums.of(
            data,
            data.of_pairs(sampled(data.pairs, settings)),
            DrawnPairs.of(data.pairs, clusters_of(data, settings)),
            chosen,
            settings,
        )
        parts.append(direction_table(sums, chosen, settings))
    return finished(parts)


def finished(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The table of the study from those of its directions."""
    table = pd.concat(parts, ignore_index=True)
    order = table["scope"].map({"study": 0, "pair_mean": 1, "pair": 2})
    table = table.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)
    table["pair"] = table["pair"].astype("Int64")
    table["p_adjusted"] = table.groupby("scope")["p_permutation"].transform(false_discovery_rate)
    return table[list(COLUMNS)]


@dataclass(frozen=True)
class DirectionSums:
    """What the correlations of one direction are made of, whatever the number of pairs."""

    numbers: CorrelationSums
    heads: HeadSums
    sample: Panel
    """The pairs on which heads are drawn and shuffled (`statistics.sampled_pairs`)."""
    drawn: DrawnPairs
    """All pairs."""

    @classmethod
    def of(
        cls,
        data: Panel,
        sample: Panel,
        drawn: DrawnPairs,
        chosen: Chosen,
        settings: Settings,
    ) -> DirectionSums:
        """Those of a panel that holds some of the pairs; ``sample`` holds the sampled ones."""
        found = PairCorrelations.of(data, *chosen, settings)
        return cls(
            CorrelationSums.of(found, drawn, settings),
            HeadSums.of(data, [*chosen.measures, *chosen.scores, MOVEMENT, ROUNDING]),
            sample,
            drawn,
        )

    def plus(self, other: DirectionSums) -> DirectionSums:
        """Those of the pairs of both, which have the same sample."""
        return replace(
            self, numbers=self.numbers.plus(other.numbers), heads=self.heads.plus(other.heads)
        )


def direction_table(given: DirectionSums, chosen: Chosen, settings: Settings) -> pd.DataFrame:
    """The rows of one direction: `pair` of the sampled pairs, `study`, and `pair_mean`."""
    measures, scores, methods = chosen
    data = given.sample
    x, y, keep = data.array(measures), data.array(scores), kept_heads(data, settings)
    resamples = Resamples.of(data, settings)
    own = PairCorrelations.of(data, measures, scores, (), settings)
    # The rows of each method stand together.
    rows = {method: _Rows(data.direction, measures, scores) for method in methods}
    means = {method: _SampleMeans() for method in methods}
    for p, found in enumerate(resampled_coefficients(methods, x, y, keep, data.layers, resamples)):
        pair = int(data.pairs[p])
        for method, one in found.items():
            means[method].add(one)
            rows[method].add_sample(
                "pair",
                pair,
                method,
                one,
                settings,
                own.counts[p],
                int(own.excluded[p]),
                rows[method].filled(own.notes.get(pair, {})),
            )
    mean_x, mean_y = given.heads.means(measures), given.heads.means(scores)
    movement, rounding = given.heads.means([MOVEMENT, ROUNDING])
    is_small = movement < floors(rounding, settings.floor)
    mean_keep = np.ones_like(is_small) if settings.include_floor else ~is_small
    over_means = next(
        resampled_coefficients(
            methods, mean_x[None], mean_y[None], mean_keep[None], data.layers, resamples
        )
    )
    for method in methods:
        numbers = given.numbers
        if method not in numbers.means:
            # Kendall's are those of the sample.
            sampled_here = replace(own, coefficients={method: means[method].estimates()})
            numbers = CorrelationSums.of(sampled_here, given.drawn.some(data.pairs), settings)
        estimate, part = _over_study(numbers.means[method], means[method], data.direction, settings)
        defined = numbers.means[method].pairs[0]
        rows[method].add(
            "study",
            None,
            method,
            estimate,
            part,
            means[method].p_values(),
            numbers.heads[method],
            defined,
            numbers.excluded,
            _study_notes(numbers, defined),
        )
        rows[method].add_sample(
            "pair_mean",
            None,
            method,
            over_means[method],
            settings,
            counts_of(mean_x, mean_y, mean_keep),
            int((~mean_keep).sum()),
            rows[method].filled(reasons(mean_x, mean_y, mean_keep, measures, scores)),
            pairs=given.numbers.pairs,
        )
    return pd.concat([rows[method].table() for method in methods])


class _SampleMeans:
    """One method's coefficients over the sampled pairs, drawn and shuffled."""

    def __init__(self) -> None:
        self.plain, self.within = resampling.RunningMean(), resampling.RunningMean()
        self.both: list[Float[np.ndarray, "two measure score"]] = []
        self.null: Float[np.ndarray, "permutation measure score"] | float = 0.0

    def add(self, found: ResampledCoefficients) -> None:
        self.both.append(np.stack([found.estimate, found.partial]))
        self.plain.add(found.draws, found.estimate)
        self.within.add(found.partial_draws, found.partial)
        self.null = self.null + np.where(np.isnan(found.estimate), 0.0, found.null)

    def estimates(self) -> Float[np.ndarray, "pair two measure score"]:
        return np.array(self.both)

    def draws(self) -> HeadDraws:
        mean = resampling.mean_over_pairs(self.estimates())
        return HeadDraws(mean, np.stack([self.plain.value(), self.within.value()], axis=1))

    def p_values(self) -> Float[np.ndarray, "measure score"]:
        estimates = self.estimates()[:, 0]
        count = np.maximum(np.isfinite(estimates).sum(axis=0), 1)
        return resampling.permutation_p(
            resampling.mean_over_pairs(estimates), np.asarray(self.null) / count
        )


def _over_study(
    means: MeansOverPairs, sample: _SampleMeans, direction: str, settings: Settings
) -> tuple[resampling.Interval, resampling.Interval]:
    """The mean over pairs with its interval, plain and given the layer."""
    random = resampling.generator(settings.seed, direction, "pairs")
    drawn = means.draws(random, settings.bootstrap_samples)
    found = means.interval(sample.draws(), drawn, settings.confidence, (-1, 1))
    plain, within = (
        resampling.Interval(found.estimate[i], found.low[i], found.high[i]) for i in (0, 1)
    )
    return plain, within


def _study_notes(numbers: CorrelationSums, defined: Int[np.ndarray, "measure score"]) -> np.ndarray:
    result = np.full(defined.shape, "", dtype=object)
    for place in np.ndindex(defined.shape):
        first = numbers.said.get((place[0], place[1]), {})
        said = sorted(first, key=first.__getitem__)
        result[place] = study_note(said, int(defined[place]), numbers.pairs)
    return result


class _Rows:
    """Collects the rows of one direction, as arrays: many pairs have very many rows."""

    def __init__(self, direction: str, measures: Sequence[str], scores: Sequence[str]) -> None:
        self.direction, self.measures, self.scores = direction, measures, scores
        self.numbers: list[dict[str, np.ndarray]] = []
        self.labels: list[dict[str, object]] = []

    def filled(self, notes: Mapping[tuple[int, int], str]) -> np.ndarray:
        """Notes as an array [measure, score], empty where there is none."""
        result = np.full((len(self.measures), len(self.scores)), "", dtype=object)
        for place, note in notes.items():
            result[place] = note
        return result

    def add_sample(
        self,
        scope: str,
        pair: int | None,
        method: str,
        sample: ResampledCoefficients,
        settings: Settings,
        n: Int[np.ndarray, "measure score"],
        excluded: int,
        notes: np.ndarray,
        pairs: int = 1,
    ) -> None:
        """Rows over one set of heads, whose intervals draw heads alone."""
        whole, within = (
            resampling.Interval(value, *resampling.percentiles(drawn, settings.confidence))
            for value, drawn in (
                (sample.estimate, sample.draws),
                (sample.partial, sample.partial_draws),
            )
        )
        self.add(
            scope,
            pair,
            method,
            whole,
            within,
            resampling.permutation_p(sample.estimate, sample.null),
            n,
            np.full(n.shape, pairs),
            excluded,
            notes,
        )

    def add(
        self,
        scope: str,
        pair: int | None,
        method: str,
        whole: resampling.Interval,
        within: resampling.Interval,
        p: Float[np.ndarray, "measure score"],
        n: Int[np.ndarray, "measure score"],
        pairs: Int[np.ndarray, "measure score"],
        excluded: int,
        notes: np.ndarray,
    ) -> None:
        given = (notes == "") & np.isnan(whole.low)
        notes = np.where(given, "no interval: constant in too many resamples", notes)
        numbers = {
            "estimate": whole.estimate,
            "ci_low": whole.low,
            "ci_high": whole.high,
            "p_permutation": p,
            "partial_given_layer": within.estimate,
            "partial_ci_low": within.low,
            "partial_ci_high": within.high,
            "n": n,
            "pairs": pairs,
            "note": notes,
        }
        self.numbers.append({name: value.ravel() for name, value in numbers.items()})
        self.labels.append(
            {"scope": scope, "pair": pair, "method": method, "floor_excluded": int(excluded)}
        )

    def table(self) -> pd.DataFrame:
        """One row for each measure and score of every set of heads that was added."""
        each = len(self.measures) * len(self.scores)
        labels = pd.DataFrame(self.labels)
        return labels.loc[np.repeat(labels.index, each)].assign(
            direction=self.direction,
            measure=np.tile(np.repeat(self.measures, len(self.scores)), len(labels)),
            score=np.tile(self.scores, len(labels) * len(self.measures)),
            **{
                name: np.concatenate([part[name] for part in self.numbers])
                for name in self.numbers[0]
            },
        )
