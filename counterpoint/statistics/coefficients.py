"""Pearson, Spearman and Kendall coefficients of many columns under many weightings at once.

A bootstrap resample of n heads is a vector of weights: how often each head was drawn. So all
resamples are one array [sample, head], and columns are sorted once for all of them:

- Pearson is the weighted product-moment correlation;
- Spearman is Pearson on ranks, and the rank of head i less the mean rank is
  1/2 sum_j w_j sign(x_i - x_j), ties sharing their ranks: sums of weights in ascending order;
- Kendall's tau-b is sum_ij w_i w_j sign(x_i - x_j) sign(y_i - y_j), divided by the root of the same
  sums for (x, x) and (y, y).

(The three are one family: Daniels 1944, Biometrika 33, 129.) With all weights 1 they equal
`scipy.stats.pearsonr`, `spearmanr` and `kendalltau`, which take neither weights nor batches; with
whole-number weights they equal them on the data with each head repeated so often.

Given `groups` (layers), what the groups explain is taken out: Pearson and Spearman of the
deviations from each group's mean (of values, of ranks), which is `pingouin.partial_corr` with one
indicator per group; for Kendall only heads of one group are compared with each other.

A coefficient of a constant column does not exist and is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from counterpoint.errors import InvalidValue

METHODS = ("pearson", "spearman", "kendall")

CHUNK = 32
"""Resamples handled at once: the working arrays (32 x 13 x 270 doubles, 0.9 MB) stay in the cache.
Measured: with 256 it takes twice as long."""

CONSTANT = 1e-13
"""A column whose spread is below this share of its size is constant but for rounding."""


def coefficients(
    method: str,
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    weights: Float[np.ndarray, "sample head"],
    groups: Int[np.ndarray, " head"] | None = None,
) -> Float[np.ndarray, "sample measure score"]:
    """The coefficient `method` of every row of `x` with every row of `y` under every weighting.

    Weights are not negative. Raises ValueError for an unknown method.
    """
    if method not in METHODS:
        raise InvalidValue(f"method must be one of {METHODS}, not {method!r}")
    codes = (
        np.zeros(x.shape[1], int) if groups is None else np.unique(groups, return_inverse=True)[1]
    )
    if method == "kendall":
        return _kendall(x, y, weights, codes)
    ranked = method == "spearman"
    both = np.concatenate([x, y])
    # Products of values as large as 1e200 must not overflow, and a scale does not matter.
    scale = np.abs(both).max(axis=1, keepdims=True, initial=0.0)
    orders = [_Order.of(column) for column in both] if ranked else None
    both = both / np.where(scale > 0, scale, 1.0)
    parts = []
    for start in range(0, len(weights), CHUNK):
        chunk = weights[start : start + CHUNK].astype(float)
        columns = (
            both[None]
            if orders is None
            else np.stack([order.centred_ranks(chunk) for order in orders], axis=1)
        )
        parts.append(_product_moment(columns, chunk, codes, len(x)))
    return np.concatenate(parts) if parts else np.empty((0, len(x), len(y)))


def from_covariances(
    covariance: Float[np.ndarray, " ..."],
    x_variance: Float[np.ndarray, " ..."],
    y_variance: Float[np.ndarray, " ..."],
) -> Float[np.ndarray, " ..."]:
    """Covariance over the root of the variances, NaN where a variance is zero, within [-1, 1]."""
    scale = np.sqrt(x_variance) * np.sqrt(y_variance)
    defined = scale > 0
    ratio = np.divide(covariance, scale, out=np.full_like(scale, np.nan), where=defined)
    return np.clip(ratio, -1.0, 1.0)


def partial(
    xy: Float[np.ndarray, " ..."], xz: Float[np.ndarray, " ..."], yz: Float[np.ndarray, " ..."]
) -> Float[np.ndarray, " ..."]:
    """The correlation of x and y given one covariate z, from the three plain correlations.

    Equals `pingouin.partial_corr`. NaN where z explains x or y wholly.
    """
    return from_covariances(xy - xz * yz, np.maximum(1 - xz**2, 0), np.maximum(1 - yz**2, 0))


def kendall_spread(
    x: Float[np.ndarray, "measure head"], y: Float[np.ndarray, "score head"]
) -> Float[np.ndarray, "measure score"]:
    """The exact standard deviation of tau-b when the heads of `y` are shuffled, ties allowed for.

    Kendall and Gibbons (1990), Rank Correlation Methods, chapter 4; what `scipy.stats.kendalltau`
    divides by. NaN for constant columns.
    """
    n = x.shape[1]
    total = n * (n - 1) / 2

    def ties(column: Float[np.ndarray, " head"]) -> tuple[float, float, float]:
        counts = np.unique(column, return_counts=True)[1].astype(float)
        pairs = counts * (counts - 1)
        return pairs.sum() / 2, (pairs * (counts - 2)).sum(), (pairs * (2 * counts + 5)).sum()

    x1, x2, x3 = np.array([ties(column) for column in x]).T[:, :, None]
    y1, y2, y3 = np.array([ties(column) for column in y]).T[:, None, :]
    variance = (n * (n - 1) * (2 * n + 5) - x3 - y3) / 18 + x1 * y1 / total
    if n > 2:
        variance = variance + x2 * y2 / (9 * n * (n - 1) * (n - 2))
    span = (total - x1) * (total - y1)
    return np.sqrt(np.divide(variance, span, out=np.full_like(span, np.nan), where=span > 0))


def standardised(
    columns: Float[np.ndarray, "column head"], ranked: bool
) -> Float[np.ndarray, "column head"]:
    """Each column (or its ranks) with mean 0 and length 1, so that products are correlations.

    Constant columns become NaN.
    """
    values = stats.rankdata(columns, axis=1) if ranked else columns
    centred = values - values.mean(axis=1, keepdims=True)
    size = np.abs(values).max(axis=1, keepdims=True, initial=0.0)
    flat = np.abs(centred).max(axis=1, keepdims=True, initial=0.0) <= CONSTANT * size
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flat, np.nan, centred / np.linalg.norm(centred, axis=1, keepdims=True))


def _signs(columns: Float[np.ndarray, "column head"]) -> Float[np.ndarray, "column head head"]:
    """sign(x_i - x_j); single precision holds these sums of small whole numbers exactly."""
    return np.sign(columns[:, :, None] - columns[:, None, :]).astype(np.float32)


@dataclass(frozen=True)
class _Order:
    """A column's heads in ascending order, and how many have less than, and at most, each one's
    value."""

    ascending: Int[np.ndarray, " head"]
    below: Int[np.ndarray, " head"]
    up_to: Int[np.ndarray, " head"]

    @classmethod
    def of(cls, column: Float[np.ndarray, " head"]) -> _Order:
        ascending = np.argsort(column, kind="stable")
        ordered = column[ascending]
        ends = (np.searchsorted(ordered, column, side=side) for side in ("left", "right"))
        return cls(ascending, *ends)

    def centred_ranks(
        self, weights: Float[np.ndarray, "sample head"]
    ) -> Float[np.ndarray, "sample head"]:
        """Twice the rank of each head in each weighted sample, less twice the mean rank: the weight
        of the heads below it less that of those above."""
        reached = np.zeros((len(weights), len(self.ascending) + 1))
        np.cumsum(weights[:, self.ascending], axis=1, out=reached[:, 1:])
        return reached[:, self.below] + reached[:, self.up_to] - reached[:, -1:]


def _product_moment(
    columns: Float[np.ndarray, "sample column head"],
    weights: Float[np.ndarray, "sample head"],
    codes: Int[np.ndarray, " head"],
    n_x: int,
) -> Float[np.ndarray, "sample x y"]:
    """Weighted correlation of the deviations from the means of the groups `codes`."""
    members = np.eye(codes.max(initial=-1) + 1)[codes]
    sizes = weights @ members
    weighted = columns * weights[:, None, :]
    means = (weighted @ members) / np.where(sizes > 0, sizes, 1.0)[:, None, :]
    centred = columns - means[:, :, codes]
    weighted = centred * weights[:, None, :]
    variance = (weighted * centred).sum(axis=-1)
    size = (weights[:, None, :] * columns**2).sum(axis=-1)
    variance = np.where(variance > CONSTANT**2 * size, variance, 0.0)
    covariance = weighted[:, :n_x] @ np.swapaxes(centred[:, n_x:], 1, 2)
    return from_covariances(covariance, variance[:, :n_x, None], variance[:, None, n_x:])


def _kendall(
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    weights: Float[np.ndarray, "sample head"],
    codes: Int[np.ndarray, " head"],
) -> Float[np.ndarray, "sample measure score"]:
    light = weights.astype(np.float32)
    concordance = np.zeros((len(weights), len(x), len(y)))
    x_span = np.zeros((len(weights), len(x)))
    y_span = np.zeros((len(weights), len(y)))
    for group in range(codes.max(initial=-1) + 1):
        inside = np.flatnonzero(codes == group)
        drawn = light[:, inside]
        x_signs, y_signs = _signs(x[:, inside]), _signs(y[:, inside])
        for i, signs in enumerate(x_signs):
            x_span[:, i] += _quadratic(drawn, signs * signs)
            for j, others in enumerate(y_signs):
                concordance[:, i, j] += _quadratic(drawn, signs * others)
        for j, others in enumerate(y_signs):
            y_span[:, j] += _quadratic(drawn, others * others)
    return from_covariances(concordance, x_span[:, :, None], y_span[:, None, :])


def _quadratic(
    weights: Float[np.ndarray, "sample head"], matrix: Float[np.ndarray, "head head"]
) -> Float[np.ndarray, " sample"]:
    """w' A w of each row of weights."""
    return np.einsum("sh,sh->s", weights @ matrix, weights)
