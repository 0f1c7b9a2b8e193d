"""Coefficients between measures and scores over one set of heads: as they are, resampled, shuffled.

What every pair of a direction is resampled with is drawn once, so that heads are drawn alike in all
pairs. For Kendall the null draws are Spearman's, brought to tau's own exact spread (ties allowed
for): under shuffling the two coefficients correlate at (n + 1)/sqrt(n (n + 5/2)), 0.999 for 270
heads (Daniels 1944), and shuffling tau itself would cost a minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoint.statistics import coefficients, resampling
from counterpoint.statistics.drawn_coefficients import KendallWeights, drawn
from counterpoint.statistics.panel import Panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.templates import clusters_of

MINIMUM_HEADS = 4
"""A coefficient over fewer heads is not computed: with 3 it is 1 or -1 half of the time."""

AT_ONCE = 8
"""Pairs whose Kendall coefficients are computed at once."""

SHUFFLES = 256
"""Shuffled scores held at once."""


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
    """One method's coefficients over one set of heads: as they are, resampled and shuffled; NaN
    where they are not defined."""

    estimate: Float[np.ndarray, "measure score"]
    draws: Float[np.ndarray, "sample measure score"]
    partial: Float[np.ndarray, "measure score"]
    partial_draws: Float[np.ndarray, "sample measure score"]
    null: Float[np.ndarray, "permutation measure score"]


def resampled_coefficients(
    methods: Sequence[str],
    x: Float[np.ndarray, "pair measure head"],
    y: Float[np.ndarray, "pair score head"],
    keep: Bool[np.ndarray, "pair head"],
    layers: Int[np.ndarray, " head"],
    resamples: Resamples,
) -> Iterator[dict[str, ResampledCoefficients]]:
    """Of one pair after another every method's coefficients over the kept heads."""
    kendall = (
        KendallWeights(with_estimate(resamples.heads), layers) if "kendall" in methods else None
    )
    for start in range(0, len(x), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        found = [
            _of_pair([name for name in methods if name != "kendall"], *one, layers, resamples)
            for one in zip(x[some], y[some], keep[some], strict=True)
        ]
        if kendall is not None:
            _add_kendall(found, x[some], y[some], keep[some], layers, resamples, kendall)
        yield from ({name: one[name] for name in methods} for one in found)


def with_estimate(drawn: Float[np.ndarray, "sample head"]) -> Float[np.ndarray, "sample head"]:
    """The heads as they are, and then as they were drawn."""
    return np.concatenate([np.ones((1, drawn.shape[1])), drawn])


def _empty(x: np.ndarray, y: np.ndarray, resamples: Resamples) -> ResampledCoefficients:
    shape = (len(x), len(y))
    draws = np.full((len(resamples.heads), *shape), np.nan)
    null = np.full((len(resamples.shuffles), *shape), np.nan)
    one = np.full(shape, np.nan)
    return ResampledCoefficients(one, draws, one.copy(), draws.copy(), null)


def _of_pair(
    methods: Sequence[str],
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    keep: Bool[np.ndarray, " head"],
    layers: Int[np.ndarray, " head"],
    resamples: Resamples,
) -> dict[str, ResampledCoefficients]:
    """Pearson's and Spearman's coefficients of one pair."""
    found = {method: _empty(x, y, resamples) for method in methods}
    for measures, scores, kept in same_heads(x, y, keep):
        if kept.sum() < MINIMUM_HEADS:
            continue
        part = x[np.ix_(measures, kept)], y[np.ix_(scores, kept)]
        weights = with_estimate(resamples.heads[:, kept])
        shuffles = resampling.restricted(resamples.shuffles, kept)
        block = (measures[:, None], scores)
        for method, own in found.items():
            plain, within = drawn(method, *part, weights, layers[kept])
            _put(own, block, plain, within, null_coefficients(method, *part, shuffles))
    return found


def _put(
    own: ResampledCoefficients,
    block: tuple[np.ndarray, np.ndarray],
    plain: Float[np.ndarray, "sample measure score"],
    within: Float[np.ndarray, "sample measure score"],
    null: Float[np.ndarray, "permutation measure score"],
) -> None:
    own.estimate[block], own.draws[(slice(None), *block)] = plain[0], plain[1:]
    own.partial[block], own.partial_draws[(slice(None), *block)] = within[0], within[1:]
    own.null[(slice(None), *block)] = null


def _add_kendall(
    found: list[dict[str, ResampledCoefficients]],
    x: Float[np.ndarray, "pair measure head"],
    y: Float[np.ndarray, "pair score head"],
    keep: Bool[np.ndarray, "pair head"],
    layers: Int[np.ndarray, " head"],
    resamples: Resamples,
    kendall: KendallWeights,
) -> None:
    """Kendall's coefficients of several pairs: at once where all columns have the same heads."""
    both = np.concatenate([x, y], axis=1)
    whole = (np.isfinite(both) | ~keep[:, None]).all(axis=(1, 2))
    whole &= keep.sum(axis=1) >= MINIMUM_HEADS
    places = np.flatnonzero(whole)
    together = kendall.of_pairs(x[places], y[places], keep[places]) if len(places) else ()
    at_once = dict(zip(places.tolist(), zip(*together, strict=True), strict=True))
    for pair, own in enumerate(found):
        own["kendall"] = _empty(x[pair], y[pair], resamples)
        for measures, scores, kept in same_heads(x[pair], y[pair], keep[pair]):
            if kept.sum() < MINIMUM_HEADS:
                continue
            part = x[pair][np.ix_(measures, kept)], y[pair][np.ix_(scores, kept)]
            block = (measures[:, None], scores)
            if pair in at_once:
                plain, within = (one[(slice(None), *block)] for one in at_once[pair])
            else:
                weights = with_estimate(resamples.heads[:, kept])
                plain = coefficients.coefficients("kendall", *part, weights)
                within = coefficients.coefficients("kendall", *part, weights, layers[kept])
            if "spearman" in own:
                null = as_kendall(own["spearman"].null[(slice(None), *block)], *part)
            else:
                shuffles = resampling.restricted(resamples.shuffles, kept)
                null = null_coefficients("kendall", *part, shuffles)
            _put(own["kendall"], block, plain, within, null)


def same_heads(
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
    moved = np.ascontiguousarray(coefficients.standardised(y, ranked).T)
    null = np.empty((len(shuffles), len(x), len(y)))
    for start in range(0, len(shuffles), SHUFFLES):
        some = shuffles[start : start + SHUFFLES]
        # All scores of a head lie together, and one product serves all shuffles.
        drawn_heads = moved[some.T].reshape(x.shape[1], -1)
        product = (fixed @ drawn_heads).reshape(len(x), len(some), len(y))
        null[start : start + SHUFFLES] = product.transpose(1, 0, 2)
    return as_kendall(null, x, y) if method == "kendall" else null


def as_kendall(
    null: Float[np.ndarray, "permutation measure score"],
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
) -> Float[np.ndarray, "permutation measure score"]:
    """Spearman's coefficients of shuffled heads with the spread that Kendall's have."""
    return np.asarray(null * np.sqrt(x.shape[1] - 1) * coefficients.kendall_spread(x, y))
