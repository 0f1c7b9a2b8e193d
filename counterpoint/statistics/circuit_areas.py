"""Faithfulness of circuits over pairs, and the areas CPR and CMD of the Mechanistic
Interpretability Benchmark (MIB: Mueller et al. 2025, arXiv 2504.13151).

    f = (mean m(C) − mean m(empty)) / (mean m(full) − mean m(empty)),

means over pairs, so that pairs on which the two runs hardly differ weigh little. Circuits hold the
first nodes of a ranking, at the benchmark's shares of all candidates (`SHARES`; the number is
rounded down, and is 0 at small shares of a small model). *CPR* (the circuit performance ratio) is
the area under f over the share, *CMD* (the circuit-model distance) the area under |1 − f|, both by
trapezoids from the first share to 1, as in the benchmark's own code: more of CPR is better, less of
CMD. The benchmark reports CPR of nodes ranked by a score's value, and CMD by its size.

Intervals draw pairs with replacement, for both means at once, and are widened for few pairs as in
`resampling`; with one pair there are none. They do not cover that a circuit was chosen on the same
pairs.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from counterpoint.statistics import resampling
from counterpoint.statistics.resampling import Interval, Settings

Array = np.ndarray

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The shares of nodes at which circuits are evaluated."""


def sizes(n_candidates: int) -> Int[Array, " share"]:
    """How many nodes each share is; rounded down."""
    # In this order of operations, so that 0.1 of 30 is what the benchmark's code makes of it.
    return np.array([int(share * n_candidates) for share in SHARES])


def faithfulness(
    metric: Float[Array, "... pair"],
    full: Float[Array, " pair"],
    empty: Float[Array, " pair"],
    settings: Settings | None = None,
) -> Interval:
    """f of each circuit, with its interval over pairs."""
    estimate, drawn = _ratios(metric, full, empty, settings)
    return _interval(estimate, drawn, len(full), settings)


def circuit_performance_ratio(heights: Float[Array, "... share"]) -> Float[Array, " ..."]:
    """CPR: the area under f at `SHARES`."""
    return np.trapezoid(heights, SHARES, axis=-1)


def circuit_model_distance(heights: Float[Array, "... share"]) -> Float[Array, " ..."]:
    """CMD: the area under |1 − f|."""
    return np.trapezoid(np.abs(1 - heights), SHARES, axis=-1)


AREAS = {"cpr": circuit_performance_ratio, "cmd": circuit_model_distance}
"""The areas by their names in tables."""


def areas(
    metric: Float[Array, "share pair"],
    full: Float[Array, " pair"],
    empty: Float[Array, " pair"],
    settings: Settings | None = None,
) -> dict[str, Interval]:
    """CPR and CMD of a ranking, with intervals, from the circuits at `SHARES`."""
    estimate, drawn = _ratios(metric, full, empty, settings)
    return {
        name: _interval(area(estimate), area(drawn), len(full), settings)
        for name, area in AREAS.items()
    }


def _ratios(
    metric: Float[Array, "... pair"],
    full: Float[Array, " pair"],
    empty: Float[Array, " pair"],
    settings: Settings | None,
) -> tuple[Float[Array, " ..."], Float[Array, "sample ..."]]:
    """f over all pairs, and under each resample of them."""
    settings = resampling.checked(settings)
    random = resampling.generator(settings.seed, "circuit")
    weights = resampling.draws(random, settings.bootstrap_samples, len(full))
    gone, whole = metric - empty, full - empty

    def ratio(part: Array, total: Array) -> Array:
        return np.divide(part, total, out=np.full(part.shape, np.nan), where=total != 0)

    estimate = ratio(gone.mean(-1), np.broadcast_to(whole.mean(), gone.shape[:-1]))
    total = (weights @ whole).reshape(-1, *[1] * (gone.ndim - 1))
    parts = np.tensordot(weights, gone, axes=([1], [gone.ndim - 1]))
    return estimate, ratio(parts, np.broadcast_to(total, parts.shape))


def _interval(estimate: Array, drawn: Array, n_pairs: int, settings: Settings | None) -> Interval:
    confidence = resampling.checked(settings).confidence
    if n_pairs < 2:
        missing = np.full(np.shape(estimate), np.nan)
        return Interval(estimate, missing, missing)
    widened = estimate + resampling.widening(n_pairs, confidence) * (drawn - estimate)
    return Interval(estimate, *resampling.percentiles(widened, confidence))
