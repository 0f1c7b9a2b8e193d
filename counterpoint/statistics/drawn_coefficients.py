"""The coefficients of `statistics.coefficients` under many resamples, by few large products.

`coefficients` weighs, centres and sums one array [sample, column, head] after another. Here the
sums are products of the resamples with what does not hang on them:

- Pearson: sums of w, w x and w x y, with columns about their unweighted means;
- Spearman: the rank of a head less the mean rank is 1/2 sum_j w_j sign(x_i - x_j), a product with
  the signs. Ranks of whole numbers of heads are whole numbers, so that the products and their sums
  are exact, in single precision too as long as they stay below 2^24;
- Kendall: sum over i < j of w_i w_j sign(x_i - x_j) sign(y_i - y_j): the products w_i w_j are the
  same for all columns and pairs, so that pairs are computed several at a time.

Given the layer, what the layers' sums explain is subtracted. Where a resample leaves so little of a
column that such a difference has few digits, that resample is computed by `coefficients`. Weights
are whole numbers, as those of resamples are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoint.errors import InvalidValue
from counterpoint.statistics import coefficients

CANCELLED = 1e-4
"""Below this share of the sum of squares a variance is computed anew: it then has lost more than
four of its sixteen digits."""

FLAT = 1e-8
"""The same, of the squares of the values about 0."""

EXACT_IN_SINGLE = 350
"""Sums of so many weights times squared ranks, n^3 / 3, are whole numbers below 2^24."""

CHUNK = 128
"""Resamples whose ranks are held at once: 128 x 13 x 270 numbers of single precision, 1.8 MB."""

PRODUCTS = 4096
"""Products of two heads' weights held at once, for every resample."""

Draws = tuple[Float[np.ndarray, "sample measure score"], Float[np.ndarray, "sample measure score"]]
"""Plain, and given the layer."""


def drawn(
    method: str,
    x: Float[np.ndarray, "measure head"],
    y: Float[np.ndarray, "score head"],
    weights: Float[np.ndarray, "sample head"],
    layers: Int[np.ndarray, " head"],
) -> Draws:
    """Pearson's or Spearman's coefficients under every weighting, plain and given the layer.

    Equals `coefficients` to rounding. Raises ValueError for another method.
    """
    if method not in ("pearson", "spearman"):
        raise InvalidValue(f"method must be pearson or spearman, not {method!r}")
    # Sums over layers take the heads of each beside each other.
    order = np.argsort(layers, kind="stable")
    codes = np.unique(layers[order], return_inverse=True)[1]
    both = np.concatenate([x, y])[:, order]
    if method == "pearson":
        # Not of what is ranked: two neighbouring numbers may become one.
        scale = np.abs(both).max(axis=1, keepdims=True, initial=0.0)
        both = both / np.where(scale > 0, scale, 1.0)
    ordered = weights[:, order]
    found = (_pearson if method == "pearson" else _spearman)(both, len(x), ordered, codes)
    for place, (values, doubtful) in enumerate(found):
        if doubtful.any():
            groups = codes if place else None
            values[doubtful] = coefficients.coefficients(
                method, both[: len(x)], both[len(x) :], ordered[doubtful], groups
            )
    return found[0][0], found[1][0]


_Found = tuple[Float[np.ndarray, "sample measure score"], Bool[np.ndarray, " sample"]]


def _products(
    columns: Float[np.ndarray, "column head"], n_x: int
) -> Float[np.ndarray, "product head"]:
    """Each x times each y, then each column squared."""
    of_both = (columns[:n_x, None] * columns[None, n_x:]).reshape(-1, columns.shape[1])
    return np.concatenate([of_both, columns * columns])


def _finished(
    covariance: Float[np.ndarray, "sample x y"],
    variance: Float[np.ndarray, "sample column"],
    squares: Float[np.ndarray, "sample column"],
    size: Float[np.ndarray, "sample column"],
) -> _Found:
    n_x = covariance.shape[1]
    doubtful = ((variance < CANCELLED * squares) | (variance <= FLAT * size)).any(axis=1)
    variance = np.maximum(variance, 0.0)
    values = coefficients.from_covariances(
        covariance, variance[:, :n_x, None], variance[:, None, n_x:]
    )
    return values, np.asarray(doubtful)


def _pearson(
    both: Float[np.ndarray, "column head"],
    n_x: int,
    weights: Float[np.ndarray, "sample head"],
    codes: Int[np.ndarray, " head"],
) -> tuple[_Found, _Found]:
    n_y = len(both) - n_x
    members = np.eye(codes.max(initial=-1) + 1)[codes]
    size = weights @ (both * both).T
    plain = both - both.mean(axis=1, keepdims=True)
    within = both - ((both @ members) / members.sum(axis=0))[:, codes]
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    ends = np.append(starts[1:], len(codes))
    found = []
    for columns, groups in ((plain, [(0, len(codes))]), (within, zip(starts, ends, strict=True))):
        sums = weights @ _products(columns, n_x).T
        covariance = sums[:, : n_x * n_y].reshape(-1, n_x, n_y)
        squares = sums[:, n_x * n_y :]
        variance = squares.copy()
        for start, end in groups:
            part = weights[:, start:end]
            total = part.sum(axis=1)
            mean = part @ columns[:, start:end].T
            over = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)[:, None]
            covariance -= (mean[:, :n_x] * over)[:, :, None] * mean[:, None, n_x:]
            variance -= mean * mean * over
        found.append(_finished(covariance, variance, squares, size))
    return found[0], found[1]


def _ranks(
    columns: Float[np.ndarray, "column head"], weights: Float[np.ndarray, "sample head"]
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Of some samples at a time: which, their weights, and twice the rank of every head less twice
    the mean rank, [sample, column, head]."""
    n_columns, n_heads = columns.shape
    heaviest = weights.sum(axis=1).max(initial=0.0)
    kind = np.float32 if heaviest <= EXACT_IN_SINGLE else np.float64
    # [other head, column and head]
    signs = np.sign(columns[:, None, :] - columns[:, :, None]).transpose(1, 0, 2)
    signs = np.ascontiguousarray(signs.reshape(n_heads, -1), dtype=kind)
    light = weights.astype(kind)
    for start in range(0, len(weights), CHUNK):
        chunk = light[start : start + CHUNK]
        ranks = (chunk @ signs).reshape(len(chunk), n_columns, n_heads)
        yield slice(start, start + CHUNK), chunk, ranks


def spearman_matrix(
    columns: Float[np.ndarray, "column head"], weights: Float[np.ndarray, "sample head"]
) -> Float[np.ndarray, "sample column column"]:
    """Spearman's coefficient of every two columns under every weighting."""
    products = np.empty((len(weights), len(columns), len(columns)))
    for some, chunk, ranks in _ranks(columns, weights):
        products[some] = (ranks * chunk[:, None, :]) @ ranks.swapaxes(1, 2)
    variance = np.diagonal(products, axis1=1, axis2=2)
    return coefficients.from_covariances(products, variance[:, :, None], variance[:, None, :])


def _spearman(
    both: Float[np.ndarray, "column head"],
    n_x: int,
    weights: Float[np.ndarray, "sample head"],
    codes: Int[np.ndarray, " head"],
) -> tuple[_Found, _Found]:
    n_columns = len(both)
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    shape = (len(weights), n_x, n_columns - n_x)
    covariance, explained = np.empty(shape), np.empty(shape)
    variance = np.empty((len(weights), n_columns))
    explained_variance = np.empty_like(variance)
    for some, chunk, ranks in _ranks(both, weights):
        weighted = ranks * chunk[:, None, :]
        covariance[some] = weighted[:, :n_x] @ ranks[:, n_x:].swapaxes(1, 2)
        variance[some] = np.einsum("sch,sch->sc", weighted, ranks)
        sums = np.add.reduceat(weighted, starts, axis=2).astype(float)
        totals = np.add.reduceat(chunk, starts, axis=1).astype(float)
        over = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)
        means = sums * over[:, None, :]
        explained[some] = means[:, :n_x] @ sums[:, n_x:].swapaxes(1, 2)
        explained_variance[some] = (means * sums).sum(axis=2)
    # The weighted mean of the centred ranks is 0, so that nothing is to be subtracted.
    plain = _finished(covariance, variance, variance, np.full_like(variance, -1.0))
    within = _finished(covariance - explained, variance - explained_variance, variance, variance)
    return plain, within


class KendallWeights:
    """What Kendall's coefficients of every pair need of the resamples of heads."""

    def __init__(
        self, weights: Float[np.ndarray, "sample head"], layers: Int[np.ndarray, " head"]
    ) -> None:
        self.weights = np.ascontiguousarray(weights.T, dtype=np.float32)
        self.first, self.second = np.triu_indices(len(layers), 1)
        inside = layers[self.first] == layers[self.second]
        # Two heads of one layer stand in front, where their part of the sums is read off.
        order = np.argsort(~inside, kind="stable")
        self.first, self.second = self.first[order], self.second[order]
        self.within = int(inside.sum())

    def of_pairs(
        self,
        x: Float[np.ndarray, "pair measure head"],
        y: Float[np.ndarray, "pair score head"],
        keep: Bool[np.ndarray, "pair head"],
    ) -> tuple[
        Float[np.ndarray, "pair sample measure score"],
        Float[np.ndarray, "pair sample measure score"],
    ]:
        """The coefficients, plain and given the layer, of pairs without gaps in kept heads."""
        n_x, n_y = x.shape[1], y.shape[1]
        total = within = np.zeros(0, dtype=np.float32)
        ends = sorted({*range(0, len(self.first), PRODUCTS), self.within, len(self.first)})
        both = np.where(keep[:, None], np.concatenate([x, y], axis=1), 0.0)
        # Where no two kept heads tie, a column's own sum is that of all kept heads.
        tied = [
            [len(np.unique(column[kept])) < kept.sum() for column in columns]
            for columns, kept in zip(both, keep, strict=True)
        ]
        own = np.argwhere(tied)
        for start, end in itertools.pairwise(ends):
            a, b = self.first[start:end], self.second[start:end]
            signs = np.sign(both[:, :, a] - both[:, :, b]).astype(np.float32)
            signs *= (keep[:, a] & keep[:, b])[:, None]
            products = signs[:, :n_x, None] * signs[:, None, n_x:]
            terms = np.concatenate(
                [
                    products.reshape(len(x) * n_x * n_y, -1),
                    (keep[:, a] & keep[:, b]).astype(np.float32),
                    np.abs(signs[own[:, 0], own[:, 1]]),
                ]
            )
            sums = terms @ (self.weights[a] * self.weights[b])
            total = sums if start == 0 else total + sums
            if end == self.within:
                within = total
        if not self.within:
            within = np.zeros_like(total)
        return (
            self._coefficients(total, own, len(x), n_x, n_y),
            self._coefficients(within, own, len(x), n_x, n_y),
        )

    @staticmethod
    def _coefficients(
        sums: Float[np.ndarray, "term sample"],
        own: Int[np.ndarray, "tied two"],
        n_pairs: int,
        n_x: int,
        n_y: int,
    ) -> Float[np.ndarray, "pair sample measure score"]:
        """From the sums of products, of all kept heads, and of the columns that have ties."""
        samples = sums.shape[1]
        end = n_pairs * n_x * n_y
        products = sums[:end].reshape(n_pairs, n_x, n_y, samples).transpose(0, 3, 1, 2)
        spans = np.repeat(sums[end : end + n_pairs, None], n_x + n_y, axis=1).astype(float)
        spans[own[:, 0], own[:, 1]] = sums[end + n_pairs :]
        spans = spans.transpose(0, 2, 1)
        return coefficients.from_covariances(
            products.astype(float), spans[..., :n_x, None], spans[..., None, n_x:]
        )
