"""Correlations and claims as they were first written: one pair after another, one table, no sums.

The reference that the statistics of many pairs are held against. Slow, and without a sample.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoint.statistics import coefficients, disagreement, resampling
from counterpoint.statistics.pair_correlations import kept_heads
from counterpoint.statistics.panel import (
    MEASURES,
    MOVEMENT,
    ROUNDING,
    SCORES,
    directions,
    floors,
    panel,
)
from counterpoint.statistics.resampled_coefficients import MINIMUM_HEADS, Resamples
from counterpoint.statistics.resampling import Settings

NUMBERS = (
    "estimate",
    "ci_low",
    "ci_high",
    "p_permutation",
    "partial_given_layer",
    "partial_ci_low",
    "partial_ci_high",
)


def plain_null(method, x, y, shuffles):
    """Every shuffle by itself; Kendall's as Spearman's with tau's own spread."""
    ranked = method != "pearson"
    fixed, moved = (coefficients.standardised(columns, ranked) for columns in (x, y))
    null = np.array([fixed @ moved[:, shuffle].T for shuffle in shuffles])
    if method == "kendall":
        null = null * np.sqrt(x.shape[1] - 1) * coefficients.kendall_spread(x, y)
    return null


def plain_resampled(method, x, y, keep, layers, resamples):
    """Estimate, draws, partial, partial draws and null of each measure with each score alone."""
    shape = (len(x), len(y))
    n, n_null = len(resamples.heads) + 1, len(resamples.shuffles)
    plain, within = np.full((n, *shape), np.nan), np.full((n, *shape), np.nan)
    null = np.full((n_null, *shape), np.nan)
    for i, j in np.ndindex(shape):
        kept = keep & np.isfinite(x[i]) & np.isfinite(y[j])
        if kept.sum() < MINIMUM_HEADS:
            continue
        part = x[i : i + 1, kept], y[j : j + 1, kept]
        weights = np.concatenate([np.ones((1, kept.sum())), resamples.heads[:, kept]])
        plain[:, i, j] = coefficients.coefficients(method, *part, weights)[:, 0, 0]
        within[:, i, j] = coefficients.coefficients(method, *part, weights, layers[kept])[:, 0, 0]
        shuffles = resampling.restricted(resamples.shuffles, kept)
        null[:, i, j] = plain_null(method, *part, shuffles)[:, 0, 0]
    return plain[0], plain[1:], within[0], within[1:], null


def plain_correlations(heads: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """`NUMBERS` by scope, pair, direction, measure, score and method."""
    rows = []
    for direction in directions(heads):
        data = panel(heads, direction, [*MEASURES, *SCORES, MOVEMENT, ROUNDING], settings.floor)
        x, y, keep = data.array(MEASURES), data.array(SCORES), kept_heads(data, settings)
        resamples = Resamples.of(data, settings)
        mean_x, mean_y = resampling.mean_over_pairs(x), resampling.mean_over_pairs(y)
        movement, rounding = (
            resampling.mean_over_pairs(data.columns[name]) for name in (MOVEMENT, ROUNDING)
        )
        mean_keep = np.ones_like(keep[0])
        if not settings.include_floor:
            mean_keep = ~(movement < floors(rounding, settings.floor))

        def add(scope, pair, method, direction, intervals, p):
            for i, j in np.ndindex(p.shape):
                numbers = [(one.estimate[i, j], one.low[i, j], one.high[i, j]) for one in intervals]
                values = (*numbers[0], p[i, j], *numbers[1])
                key = (scope, pair, direction, MEASURES[i], SCORES[j], method)
                rows.append((*key, *values))

        def over_heads(scope, pair, method, direction, found):
            intervals = [
                resampling.Interval(value, *resampling.percentiles(drawn, settings.confidence))
                for value, drawn in ((found[0], found[1]), (found[2], found[3]))
            ]
            p = resampling.permutation_p(found[0], found[4])
            add(scope, pair, method, direction, intervals, p)

        for method in coefficients.METHODS:
            each = [
                plain_resampled(method, x[p], y[p], keep[p], data.layers, resamples)
                for p in range(len(data.pairs))
            ]
            for pair, found in zip(data.pairs, each, strict=True):
                over_heads("pair", pair, method, direction, found)
            intervals = []
            for place in (0, 2):
                estimates = np.array([found[place] for found in each])
                mean = resampling.RunningMean()
                for found in each:
                    mean.add(found[place + 1], found[place])
                intervals.append(
                    resampling.study_interval(
                        estimates,
                        mean.value(),
                        resamples.pairs,
                        settings.confidence,
                        (-1, 1),
                        resamples.clusters,
                    )
                )
            estimates = np.array([found[0] for found in each])
            count = np.maximum(np.isfinite(estimates).sum(axis=0), 1)
            null = sum(np.where(np.isnan(found[0]), 0.0, found[4]) for found in each) / count
            p = resampling.permutation_p(intervals[0].estimate, null)
            add("study", pd.NA, method, direction, intervals, p)
            means = plain_resampled(method, mean_x, mean_y, mean_keep, data.layers, resamples)
            over_heads("pair_mean", pd.NA, method, direction, means)
    keys = ["scope", "pair", "direction", "measure", "score", "method"]
    return pd.DataFrame(rows, columns=[*keys, *NUMBERS])


def plain_claims(heads: pd.DataFrame, direction: str, settings: Settings) -> pd.DataFrame:
    """Estimate, interval, p, n and pairs of every number that needs the table of heads alone."""
    names = (*disagreement.USED, *disagreement.IDENTITIES)
    data = panel(heads, direction, names, settings.floor)
    keep = kept_heads(data, settings)
    keep = keep & np.all([np.isfinite(data.columns[name]) for name in disagreement.USED], axis=0)
    resamples = Resamples.of(data, settings)
    found: dict[str, list] = {}
    for pair, kept in enumerate(keep):
        if kept.sum() < MINIMUM_HEADS:
            continue
        values = {name: data.columns[name][pair, kept] for name in disagreement.USED}
        weights = np.concatenate([np.ones((1, kept.sum())), resamples.heads[:, kept]])
        nulls = disagreement._null_in_pair(values, resampling.restricted(resamples.shuffles, kept))
        for name, number in disagreement._in_pair(values, weights).items():
            if not np.isnan(number[0]):
                found.setdefault(name, []).append((pair, number, nulls.get(name), kept.sum()))
    rows = {}
    for name, entries in found.items():
        pairs = [pair for pair, *_ in entries]
        numbers = np.array([number for _, number, *_ in entries])
        mean = resampling.RunningMean()
        for number in numbers:
            mean.add(number[1:], number[0])
        clusters = resamples.clusters[pairs]
        random = resampling.generator(settings.seed, direction, "pairs")
        drawn = resampling.draws(random, settings.bootstrap_samples, len(pairs), clusters)
        interval = resampling.study_interval(
            numbers[:, 0],
            mean.value(),
            drawn,
            settings.confidence,
            disagreement.bounds(name),
            clusters,
        )
        p = np.nan
        if entries[0][2] is not None:
            chance = 0.5 if name.startswith("auc_") else 0.0
            null = np.mean([one for _, _, one, _ in entries], axis=0)
            p = float(resampling.permutation_p(interval.estimate - chance, null))
        rows[name] = {
            "estimate": float(interval.estimate),
            "ci_low": float(interval.low),
            "ci_high": float(interval.high),
            "p_value": p,
            "n": sum(count for *_, count in entries),
            "pairs": len(pairs),
        }
    return pd.DataFrame(rows).T
