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

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from counterpoint.glossary import label
from counterpoint.statistics import coefficients, resampling
from counterpoint.statistics.false_discovery import false_discovery_rate
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
    MINIMUM_HEADS,
    ResampledCoefficients,
    Resamples,
    resampled_coefficients,
)
from counterpoint.statistics.resampling import Settings

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
    parts = [
        _direction(
            panel(heads, direction, [*measures, *scores, MOVEMENT, ROUNDING], settings.floor),
            list(measures),
            list(scores),
            methods,
            settings,
        )
        for direction in directions(heads)
    ]
    table = pd.concat(parts, ignore_index=True)
    order = table["scope"].map({"study": 0, "pair_mean": 1, "pair": 2})
    table = table.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)
    table["pair"] = table["pair"].astype("Int64")
    table["p_adjusted"] = table.groupby("scope")["p_permutation"].transform(false_discovery_rate)
    return table[list(COLUMNS)]


def _direction(
    data: Panel,
    measures: list[str],
    scores: list[str],
    methods: Iterable[str],
    settings: Settings,
) -> pd.DataFrame:
    x, y = data.array(measures), data.array(scores)
    keep = np.ones_like(data.at_floor) if settings.include_floor else ~data.at_floor
    resamples = Resamples.of(data, settings)
    n_pairs = len(data.pairs)
    mean_x, mean_y = resampling.mean_over_pairs(x), resampling.mean_over_pairs(y)
    movement = resampling.mean_over_pairs(data.columns[MOVEMENT])
    floor = floors(resampling.mean_over_pairs(data.columns[ROUNDING]), settings.floor)
    mean_keep = np.ones_like(keep[0]) if settings.include_floor else ~(movement < floor)
    counts = np.array([_counts(x[p], y[p], keep[p]) for p in range(n_pairs)])
    notes = np.array([_notes(x[p], y[p], keep[p], measures, scores) for p in range(n_pairs)])
    rows = _Rows(data.direction, measures, scores)
    for method in methods:
        estimates, partials = [], []
        sums, partial_sums = resampling.RunningMean(), resampling.RunningMean()
        null = np.zeros((settings.permutations, len(measures), len(scores)))
        for p in range(n_pairs):
            sample = resampled_coefficients(method, x[p], y[p], keep[p], data.layers, resamples)
            rows.add_sample(
                "pair",
                data.pairs[p],
                method,
                sample,
                settings,
                counts[p],
                (~keep[p]).sum(),
                notes[p],
            )
            estimates.append(sample.estimate)
            partials.append(sample.partial)
            sums.add(sample.draws, sample.estimate)
            partial_sums.add(sample.partial_draws, sample.partial)
            null += np.where(np.isnan(sample.estimate), 0.0, sample.null)
        estimate, part = (
            resampling.study_interval(
                np.array(values),
                mean.value(),
                resamples.pairs,
                settings.confidence,
                (-1, 1),
                resamples.clusters,
            )
            for values, mean in ((estimates, sums), (partials, partial_sums))
        )
        defined = ~np.isnan(estimates)
        count = np.maximum(defined.sum(axis=0), 1)
        rows.add(
            "study",
            None,
            method,
            estimate,
            part,
            resampling.permutation_p(estimate.estimate, null / count),
            (counts * defined).sum(axis=0),
            defined.sum(axis=0),
            (~keep).sum(),
            _study_notes(notes, defined),
        )
        sample = resampled_coefficients(method, mean_x, mean_y, mean_keep, data.layers, resamples)
        rows.add_sample(
            "pair_mean",
            None,
            method,
            sample,
            settings,
            _counts(mean_x, mean_y, mean_keep),
            (~mean_keep).sum(),
            _notes(mean_x, mean_y, mean_keep, measures, scores),
            pairs=n_pairs,
        )
    return rows.table()


def _counts(
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    keep: Bool[np.ndarray, " head"],
) -> Int[np.ndarray, "measure score"]:
    return (np.isfinite(x) & keep).astype(int) @ np.isfinite(y).astype(int).T


def _notes(
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    keep: Bool[np.ndarray, " head"],
    measures: list[str],
    scores: list[str],
) -> np.ndarray:
    """Why a coefficient cannot be computed, empty where it can; an array [measure, score]."""
    notes = np.full((len(measures), len(scores)), "", dtype=object)
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


def _study_notes(notes: np.ndarray, defined: Bool[np.ndarray, "pair measure score"]) -> np.ndarray:
    count = defined.sum(axis=0)
    result = np.full(count.shape, "", dtype=object)
    for place in np.ndindex(count.shape):
        reasons = [note for note in notes[(slice(None), *place)] if note]
        if count[place] < len(notes):
            reason = reasons[0] if reasons else "undefined"
            if count[place] == 0 and len(set(reasons)) == 1:
                result[place] = reason
                continue
            result[place] = (
                f"left out in {len(notes) - count[place]} of {len(notes)} pairs: {reason}"
            )
        elif len(notes) == 1:
            result[place] = "one pair: the interval is over heads alone"
    return result


class _Rows:
    """Collects the rows of one direction, as arrays: many pairs have very many rows."""

    def __init__(self, direction: str, measures: list[str], scores: list[str]) -> None:
        self.direction, self.measures, self.scores = direction, measures, scores
        self.numbers: list[dict[str, np.ndarray]] = []
        self.labels: list[dict[str, object]] = []

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
