"""Faithfulness of scores over pairs: what the first k heads by a score recover of the change.

`measures.faithfulness` patches the heads. Its table (`tables.faithfulness_table`) has the columns
pair, direction, score, k, recovered: the share of the metric's whole change (0 none, 1 all of it)
when the first k heads by the score are patched together. Heads may overshoot, which is no more
faithful than to fall short by as much: *closeness* is 1 − |1 − recovered|, and a score's
faithfulness on a pair is the mean height of closeness over k (one less the area between the curve
and 1, as circuits are scored by Mueller and others 2025, MIB).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from counterpoint.statistics import coefficients, resampling
from counterpoint.statistics.disagreement import Estimate
from counterpoint.statistics.means_over_pairs import MeansOverPairs
from counterpoint.statistics.resampled_coefficients import MINIMUM_HEADS, null_coefficients
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.sampled_pairs import ranked
from counterpoint.statistics.templates import drawn_whole, labels

PLAIN, UNSATURATED, PATCHED = "ig_joint", "ig_unsaturated", "ap"
"""Names of scores in the faithfulness table."""

PREFIX = "faithfulness_"
"""Begins the name of every number that needs the table."""


def area(k: np.ndarray | pd.Series, height: np.ndarray | pd.Series) -> float:
    """The mean height of the curve `height` over k: trapezoids, divided by the span of k."""
    order = np.argsort(np.asarray(k))
    across, up = np.asarray(k, float)[order], np.asarray(height, float)[order]
    if len(order) == 1:
        return float(up[0])
    return float(np.trapezoid(up, across) / (across[-1] - across[0]))


def closeness(recovered: pd.Series) -> pd.Series:
    """1 where all of the change is recovered, less by what is missing or too much."""
    return 1 - (1 - recovered).abs()


def areas(faithfulness: pd.DataFrame) -> pd.DataFrame:
    """Columns pair, direction, score, area: the mean height of closeness over k."""
    keys = ["pair", "direction", "score"]
    curves = _curves(faithfulness)
    if curves is not None:
        table, k, recovered = curves
        height = 1 - np.abs(1 - recovered)
        if len(k) == 1:
            return table.assign(area=height[:, 0])
        return table.assign(area=np.trapezoid(height, k, axis=1) / (k[-1] - k[0]))
    return pd.DataFrame(
        [
            {
                **dict(zip(keys, key, strict=True)),
                "area": area(rows["k"], closeness(rows["recovered"])),
            }
            for key, rows in faithfulness.groupby(keys, sort=True)
        ],
        columns=[*keys, "area"],
    )


def areas_of_pairs(faithfulness: pd.DataFrame) -> pd.DataFrame:
    """The areas of one direction by pair, a column for each score."""
    return areas(faithfulness).pivot_table(index="pair", columns="score", values="area")


def _curves(faithfulness: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray] | None:
    """Pair, direction and score of every curve, the numbers k, and the shares recovered [curve, k];
    None where curves have other k."""
    keys = ["pair", "direction", "score"]
    rows = faithfulness.sort_values([*keys, "k"], ignore_index=True)
    begins = (rows[keys] != rows[keys].shift()).any(axis=1).to_numpy()
    starts = np.flatnonzero(begins)
    if not len(starts) or len(rows) % len(starts):
        return None
    size = len(rows) // len(starts)
    k = rows["k"].to_numpy(float).reshape(-1, size)
    if not np.array_equal(starts, np.arange(len(starts)) * size) or (k != k[0]).any():
        return None
    recovered = rows["recovered"].to_numpy(float).reshape(-1, size)
    return rows.loc[starts, keys].reset_index(drop=True), k[0], recovered


def check(faithfulness: pd.DataFrame) -> None:
    """Raise KeyError for a missing column, ValueError for a repeated row or unequal lists of k."""
    needed = ["pair", "direction", "score", "k", "recovered"]
    missing = [name for name in needed if name not in faithfulness.columns]
    if missing:
        raise KeyError(f"the faithfulness table lacks {missing}; it has {list(faithfulness)}")
    if faithfulness.duplicated(needed[:4]).any():
        raise ValueError("the faithfulness table has two rows for one pair, direction, score and k")
    if len(faithfulness) and _curves(faithfulness) is None:
        raise ValueError("the faithfulness table has different k for different pairs or scores")


def numbers_over_pairs(
    table: pd.DataFrame,
    unsaturated: pd.Series,
    templates: pd.Series | None,
    direction: str,
    settings: Settings,
) -> dict[str, Estimate]:
    """The numbers about one direction: mean heights, differences, their tie to saturation.

    ``table`` is that of `areas_of_pairs`, ``unsaturated`` by pair 1 − the mean
    saturation over the heads above the floor, and ``templates`` those of the pairs.
    """
    # What is drawn whole, by pair.
    drawn = labels(drawn_whole(templates, settings), table.index.to_numpy())
    together = pd.Series(drawn, index=table.index)
    found = {
        f"{PREFIX}{score}": _over_pairs(table[score], direction, together, settings, test=False)
        for score in table
    }
    if {PLAIN, UNSATURATED} <= set(table):
        found[f"{PREFIX}gain_of_unsaturated"] = _over_pairs(
            table[UNSATURATED] - table[PLAIN], direction, together, settings
        )
    if {PLAIN, PATCHED} <= set(table):
        found[f"{PREFIX}loss_of_ig"] = _over_pairs(
            table[PATCHED] - table[PLAIN], direction, together, settings
        )
    if PLAIN in table:
        both = pd.concat([unsaturated, table[PLAIN]], axis=1, join="inner").dropna()
        if len(both) > settings.ranked_pairs:
            both = both.loc[ranked(both.index, settings)]
        found[f"{PREFIX}without_saturation"] = _spearman_over_pairs(
            both, direction, together, settings
        )
    return found


def _over_pairs(
    values: pd.Series, direction: str, together: pd.Series, settings: Settings, test: bool = True
) -> Estimate:
    """The mean over pairs; the p-value flips the sign of each pair's difference."""
    values = values.dropna()
    numbers, drawn_whole_here = values.to_numpy(float), together[values.index].to_numpy()
    pairs = len(numbers)
    if pairs == 0:
        return Estimate(np.nan)
    means = MeansOverPairs.of_labels(numbers, drawn_whole_here, settings)
    random = resampling.generator(settings.seed, direction, "pairs")
    interval = means.interval(
        None, means.draws(random, settings.bootstrap_samples), settings.confidence
    )
    p = np.nan
    if test and pairs > settings.ranked_pairs:
        # The sum of so many flipped numbers is normal.
        p = float(2 * stats.norm.sf(abs(numbers.sum()) / np.sqrt((numbers**2).sum())))
    elif test and pairs > 1:
        p = float(
            stats.permutation_test(
                (numbers,),
                np.mean,
                permutation_type="samples",
                vectorized=True,
                n_resamples=settings.permutations,
                rng=resampling.generator(settings.seed, direction, "signs"),
            ).pvalue
        )
    return Estimate.of(interval, p, pairs, pairs)


def _spearman_over_pairs(
    both: pd.DataFrame, direction: str, together: pd.Series, settings: Settings
) -> Estimate:
    """Spearman's coefficient of two columns over pairs, drawing and shuffling pairs."""
    pairs = len(both)
    if pairs < MINIMUM_HEADS:
        return Estimate(np.nan, n=pairs, pairs=pairs)
    values = both.to_numpy(float).T
    x, y = values[:1], values[1:]
    drawn = resampling.draws(
        resampling.generator(settings.seed, direction, "pairs"),
        settings.bootstrap_samples,
        pairs,
        together[both.index].to_numpy(),
    )
    weights = np.concatenate([np.ones((1, pairs)), drawn])
    rho = coefficients.coefficients("spearman", x, y, weights)[:, 0, 0]
    low, high = resampling.percentiles(rho[1:], settings.confidence)
    shuffles = resampling.permutations(
        resampling.generator(settings.seed, direction, "shuffles"), settings.permutations, pairs
    )
    null = null_coefficients("spearman", x, y, shuffles)[:, 0, 0]
    p = float(resampling.permutation_p(rho[0], null))
    return Estimate(float(rho[0]), float(low), float(high), p, pairs, pairs)
