"""Pearson's and Spearman's coefficients in every pair, as they are: all pairs at once.

What a study of any size needs of each of its pairs is the coefficient itself; what draws and
shuffles heads (`statistics.resampled_coefficients`) is for a sample of the pairs. Heads that are
left out of a pair lie behind all others in its order, and count nothing in its sums, so that the
pairs are rows of one array whichever heads each of them leaves out. A pair in which a column has
gaps of its own is computed by itself.

Kendall's coefficient needs all two heads of every pair and is computed for the sample alone.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from counterpoint.statistics import coefficients
from counterpoint.statistics.resampled_coefficients import MINIMUM_HEADS, same_heads

AT_ONCE = 64
"""Pairs computed at once: 64 x 13 x 270 doubles, 2 MB for each working array."""

METHODS = ("pearson", "spearman")


def pair_coefficients(
    method: str,
    x: Float[np.ndarray, "pair measure head"],
    y: Float[np.ndarray, "pair score head"],
    keep: Bool[np.ndarray, "pair head"],
    layers: Int[np.ndarray, " head"],
) -> tuple[Float[np.ndarray, "pair measure score"], Float[np.ndarray, "pair measure score"]]:
    """The coefficients of every pair over its kept heads, and those given the layer.

    NaN where a coefficient does not exist, or fewer than `MINIMUM_HEADS` heads are left.
    """
    shape = (len(x), x.shape[1], y.shape[1])
    plain, within = np.full(shape, np.nan), np.full(shape, np.nan)
    both = np.concatenate([x, y], axis=1)
    whole = (np.isfinite(both) | ~keep[:, None]).all(axis=(1, 2))
    enough = keep.sum(axis=1) >= MINIMUM_HEADS
    places = np.flatnonzero(whole & enough)
    codes = np.unique(layers, return_inverse=True)[1]
    for start in range(0, len(places), AT_ONCE):
        some = places[start : start + AT_ONCE]
        kept = keep[some]
        columns = (
            centred_ranks(both[some], kept) if method == "spearman" else scaled(both[some], kept)
        )
        plain[some] = product_moment(columns, kept, np.zeros_like(codes), x.shape[1])
        within[some] = product_moment(columns, kept, codes, x.shape[1])
    for pair in np.flatnonzero(enough & ~whole):
        for measures, scores, kept in same_heads(x[pair], y[pair], keep[pair]):
            if kept.sum() < MINIMUM_HEADS:
                continue
            block = np.ix_([pair], measures, scores)
            part = x[pair][np.ix_(measures, kept)], y[pair][np.ix_(scores, kept)]
            once = np.ones((1, int(kept.sum())))
            plain[block] = coefficients.coefficients(method, *part, once)
            within[block] = coefficients.coefficients(method, *part, once, layers[kept])
    return plain, within


def masked_ranks(
    columns: Float[np.ndarray, "pair column head"], keep: Bool[np.ndarray, "pair head"]
) -> Float[np.ndarray, "pair column head"]:
    """Ranks from 1 among the kept heads, ties sharing theirs; 0 for the others."""
    kept = keep[:, None, :]
    # What is left out is larger than all that is kept, which therefore ranks as by itself.
    return np.where(kept, stats.rankdata(np.where(kept, columns, np.inf), axis=-1), 0.0)


def centred_ranks(
    columns: Float[np.ndarray, "pair column head"], keep: Bool[np.ndarray, "pair head"]
) -> Float[np.ndarray, "pair column head"]:
    """Twice the rank less twice the mean rank, as in `statistics.coefficients`."""
    ranks = masked_ranks(columns, keep)
    count = keep.sum(axis=1)[:, None, None]
    return np.where(keep[:, None, :], 2 * ranks - (count + 1), 0.0)


def scaled(
    columns: Float[np.ndarray, "pair column head"], keep: Bool[np.ndarray, "pair head"]
) -> Float[np.ndarray, "pair column head"]:
    """The values over the largest of them: a scale does not matter, and must not overflow."""
    values = np.where(keep[:, None, :], columns, 0.0)
    scale = np.abs(values).max(axis=-1, keepdims=True, initial=0.0)
    return values / np.where(scale > 0, scale, 1.0)


def product_moment(
    columns: Float[np.ndarray, "pair column head"],
    keep: Bool[np.ndarray, "pair head"],
    codes: Int[np.ndarray, " head"],
    n_x: int,
) -> Float[np.ndarray, "pair measure score"]:
    """Correlations of the deviations from the means of the groups `codes`."""
    members = np.eye(codes.max(initial=-1) + 1)[codes]
    sizes = keep.astype(float) @ members
    means = (columns @ members) / np.where(sizes > 0, sizes, 1.0)[:, None, :]
    centred = np.where(keep[:, None, :], columns - means[:, :, codes], 0.0)
    variance = (centred * centred).sum(axis=-1)
    size = (columns * columns).sum(axis=-1)
    variance = np.where(variance > coefficients.CONSTANT**2 * size, variance, 0.0)
    covariance = centred[:, :n_x] @ np.swapaxes(centred[:, n_x:], 1, 2)
    return coefficients.from_covariances(
        covariance, variance[:, :n_x, None], variance[:, None, n_x:]
    )
