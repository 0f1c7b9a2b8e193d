"""Nodes on [0, 1], and polynomials through what was measured at them.

Clenshaw-Curtis nodes are nested: the 2N − 1 of the next level contain the N of this one, so that a
refinement keeps every evaluation. A curve is kept as a Chebyshev series, whose last coefficients
say how well it is resolved (Trefethen, Approximation Theory and Approximation Practice, 2013, ch.
8).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float
from numpy.polynomial import chebyshev, legendre

Array = np.ndarray


@cache
def gauss_legendre(count: int) -> tuple[Float[Array, " node"], Float[Array, " node"]]:
    """Nodes and weights on [0, 1] that integrate polynomials up to degree 2·count − 1 exactly."""
    nodes, weights = legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


@cache
def clenshaw_curtis(count: int) -> Float[Array, " node"]:
    """The ``count`` extrema of a Chebyshev polynomial on [0, 1], end points included, ascending."""
    return (1 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2


def evaluate(
    series: Float[Array, "curve coefficient"], alphas: Float[Array, " alpha"]
) -> Float[Array, "curve alpha"]:
    """Each Chebyshev series at each α in [0, 1]."""
    return chebyshev.chebval(2 * alphas - 1, series.T)


def derivative(series: Float[Array, "curve coefficient"]) -> Float[Array, "curve coefficient_"]:
    """The series of d/dα (the interval has length 1, the Chebyshev one 2)."""
    return 2 * chebyshev.chebder(series, axis=1)


def integral(series: Float[Array, "curve coefficient"]) -> Float[Array, " curve"]:
    """∫ over [0, 1]."""
    whole = chebyshev.chebint(series, axis=1) / 2
    ends = chebyshev.chebval(np.array([-1.0, 1.0]), whole.T)
    return ends[:, 1] - ends[:, 0]


def tail(series: Float[Array, "curve coefficient"]) -> Float[Array, " curve"]:
    """The size of the last two coefficients: two, since an even or odd curve has every other
    zero."""
    return np.abs(series[:, -2:]).sum(1)


def interpolate(
    nodes: Float[Array, " node"], values: Float[Array, "curve node"]
) -> Float[Array, "curve node"]:
    """The series of degree len(nodes) − 1 through ``values``."""
    return np.linalg.solve(chebyshev.chebvander(2 * nodes - 1, len(nodes) - 1), values.T).T


def interpolate_all(
    nodes: Float[Array, " node"], values: Float[Array, "*lead node"]
) -> Float[Array, "*lead node"]:
    """`interpolate` for curves in several dimensions."""
    return interpolate(nodes, values.reshape(-1, len(nodes))).reshape(values.shape)


def interpolate_with_slopes(
    nodes: Float[Array, " node"],
    values: Float[Array, "curve node"],
    slopes: Float[Array, "curve slope_node"],
    slope_nodes: Float[Array, " slope_node"] | None = None,
) -> Float[Array, "curve coefficient"]:
    """The Hermite interpolant: the series of least degree through ``values`` at ``nodes`` and
    ``slopes`` at ``slope_nodes``, by default at ``nodes`` too."""
    slope_nodes = nodes if slope_nodes is None else slope_nodes
    degree = len(nodes) + len(slope_nodes) - 1
    of_values = chebyshev.chebvander(2 * nodes - 1, degree)
    of_slopes = evaluate(derivative(np.eye(degree + 1)), slope_nodes).T
    return np.linalg.solve(
        np.concatenate([of_values, of_slopes]), np.concatenate([values, slopes], axis=1).T
    ).T


def least_squares(
    nodes: Float[Array, " node"], values: Float[Array, "curve node"], degree: int
) -> Float[Array, "curve coefficient"]:
    """The series of ``degree`` nearest to ``values``, for nodes that are too many to
    interpolate."""
    return np.linalg.lstsq(chebyshev.chebvander(2 * nodes - 1, degree), values.T, rcond=None)[0].T
