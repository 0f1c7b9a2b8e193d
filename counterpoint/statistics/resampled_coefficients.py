"""Coefficients between measures and scores over one set of heads: as they are, resampled, shuffled.

What every pair of a direction is resampled with is drawn once, so that heads are drawn alike in all
pairs. For Kendall the null draws are Spearman's, brought to tau's own exact spread (ties allowed
for): under shuffling the two coefficients correlate at (n + 1)/sqrt(n (n + 5/2)), 0.999 for 270
heads (Daniels 1944), and shuffling tau itself would cost a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoint.statistics import coefficients, resampling
from counterpoint.statistics.panel import Panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.templates import clusters_of

MINIMUM_HEADS = 4
"""A coefficient over fewer heads is not computed: with 3 it is 1 or -1 half of the time."""


@dataclass(frozen=True)
class Resamples:
    """What every pair of a direction is resampled with, so that heads are drawn alike in all."""

    heads: Float[np.ndarray, "sample head"]
    pairs: Float[np.ndarray, "sample pair"]
    shuffles: Int[np.ndarray, "permutation head"]
    clusters: Int[np.ndarray, " pair"]
    """What was drawn whole (`statistics.templates`)."""

    @classmethod
    def of(cls, data: Panel, settings: Settings) -> Resamples:
        """The resamples for one direction: they depend on the seed and the sizes alone."""
        n_pairs, n_heads = data.at_floor.shape
        random = [
            resampling.generator(settings.seed, data.direction, what)
            for what in ("heads", "pairs", "shuffles")
        ]
        clusters = clusters_of(data, settings)
        return cls(
            resampling.draws(random[0], settings.bootstrap_samples, n_heads),
            resampling.draws(random[1], settings.bootstrap_samples, n_pairs, clusters),
            resampling.permutations(random[2], settings.permutations, n_heads),
            clusters,
        )


@dataclass(frozen=True)
class ResampledCoefficients:
    """One method's coefficients over one set of heads: as they are, resampled and shuffled."""

    estimate: Float[np.ndarray, "measure score"]
    draws: Float[np.ndarray, "sample measure score"]
    partial: Float[np.ndarray, "measure score"]
    partial_draws: Float[np.ndarray, "sample measure score"]
    null: Float[np.ndarray, "permutation measure score"]


def resampled_coefficients(
    method: str,
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    keep: Bool[np.ndarray, " head"],
    layers: Int[np.ndarray, " head"],
    resamples: Resamples,
) -> ResampledCoefficients:
    """Coefficients over the kept heads, resampled and shuffled."""
    samples, n_null = len(resamples.heads), len(resamples.shuffles)
    shape = (len(x), len(y))
    plain = np.full((samples + 1, *shape), np.nan)
    within = np.full((samples + 1, *shape), np.nan)
    null = np.full((n_null, *shape), np.nan)
    for measures, scores, kept in _blocks(x, y, keep):
        if kept.sum() < MINIMUM_HEADS:
            continue
        part = x[np.ix_(measures, kept)], y[np.ix_(scores, kept)]
        weights = np.concatenate([np.ones((1, kept.sum())), resamples.heads[:, kept]])
        block = (slice(None), measures[:, None], scores)
        plain[block] = coefficients.coefficients(method, *part, weights)
        within[block] = coefficients.coefficients(method, *part, weights, layers[kept])
        shuffles = resampling.restricted(resamples.shuffles, kept)
        null[block] = null_coefficients(method, *part, shuffles)
    # Copies: a view that is kept would keep the draws of its pair.
    return ResampledCoefficients(plain[0].copy(), plain[1:], within[0].copy(), within[1:], null)


def _blocks(
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    keep: Bool[np.ndarray, " head"],
) -> Iterator[tuple[np.ndarray, np.ndarray, Bool[np.ndarray, " head"]]]:
    """Measures and scores that are defined for the same heads, with those heads.

    Nearly always there is one block. A column with gaps must not cost the others their heads.
    """
    for measures, present in _same_gaps(x):
        for scores, also in _same_gaps(y):
            yield measures, scores, keep & present & also


def _same_gaps(
    columns: Float[np.ndarray, "column head"],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    patterns, code = np.unique(np.isfinite(columns), axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        yield np.flatnonzero(code == number), pattern


def null_coefficients(
    method: str,
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    shuffles: Int[np.ndarray, "permutation head"],
) -> Float[np.ndarray, "permutation measure score"]:
    """The coefficients after each shuffle of the heads of `y` (for Kendall see the module)."""
    ranked = method != "pearson"
    fixed = coefficients.standardised(x, ranked)
    moved = coefficients.standardised(y, ranked)
    null = np.stack([fixed @ column[shuffles].T for column in moved]).transpose(2, 1, 0)
    if method == "kendall":
        null = null * np.sqrt(x.shape[1] - 1) * coefficients.kendall_spread(x, y)
    return null
