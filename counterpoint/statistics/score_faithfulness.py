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
from counterpoint.statistics.panel import at_floor
from counterpoint.statistics.resampled_coefficients import MINIMUM_HEADS, null_coefficients
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.templates import clusters

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


def check(faithfulness: pd.DataFrame) -> None:
    """Raise KeyError for a missing column, ValueError for a repeated row or unequal lists of k."""
    needed = ["pair", "direction", "score", "k", "recovered"]
    missing = [name for name in needed if name not in faithfulness.columns]
    if missing:
        raise KeyError(f"the faithfulness table lacks {missing}; it has {list(faithfulness)}")
    if faithfulness.duplicated(needed[:4]).any():
        raise ValueError("the faithfulness table has two rows for one pair, direction, score and k")
    lists = {tuple(sorted(k)) for _, k in faithfulness.groupby(needed[:3])["k"]}
    if len(lists) > 1:
        raise ValueError("the faithfulness table has different k for different pairs or scores")


def numbers_over_pairs(
    heads: pd.DataFrame, faithfulness: pd.DataFrame, direction: str, settings: Settings
) -> dict[str, Estimate]:
    """The numbers about one direction: mean heights, differences, their tie to saturation."""
    table = areas(faithfulness).pivot_table(index="pair", columns="score", values="area")
    # What is drawn whole, by pair.
    together = pd.Series(clusters(heads, table.index.to_numpy(), settings), index=table.index)
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
        rows = heads[(heads["direction"] == direction) & ~at_floor(heads, settings.floor)]
        unsaturated = 1 - rows.groupby("pair")["saturation"].mean()
        both = pd.concat([unsaturated, table[PLAIN]], axis=1, join="inner").dropna()
        found[f"{PREFIX}without_saturation"] = _spearman_over_pairs(
            both, direction, together, settings
        )
    return found


def _over_pairs(
    values: pd.Series, direction: str, together: pd.Series, settings: Settings, test: bool = True
) -> Estimate:
    """The mean over pairs; the p-value flips the sign of each pair's difference."""
    values = values.dropna()
    numbers, drawn_whole = values.to_numpy(float), together[values.index].to_numpy()
    pairs = len(numbers)
    if pairs == 0:
        return Estimate(np.nan)
    random = resampling.generator(settings.seed, direction, "pairs")
    drawn = resampling.draws(random, settings.bootstrap_samples, pairs, drawn_whole)
    interval = resampling.study_interval(
        numbers, None, drawn, settings.confidence, clusters=drawn_whole
    )
    p = np.nan
    if test and pairs > 1:
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
