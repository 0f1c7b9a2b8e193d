"""Curves in few bytes: each on its own scale of whole steps, with a stated error.

A curve's values are rounded to `LEVELS` equal steps between its own least and greatest value, so
the error is at most half a step: (greatest − least) / (2 `LEVELS`), see `largest_error`. What is
kept of the whole numbers is their second differences along the curve, which are small for a smooth
curve and compress well. Curves here are drawn, not computed with; scores are kept exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int16

LEVELS = 1023
"""Steps of a curve: second differences are then within ±4 × 1023, which fits 16 bits."""


@dataclass(frozen=True, eq=False)
class QuantisedCurves:
    """Curves as whole numbers of steps.

    Attributes:
        ends: least and greatest value of each curve; NaN for a curve that is missing.
        steps: second differences along the nodes of the whole numbers; the first number as it is,
            the second as a first difference.
    """

    ends: Float32[np.ndarray, "curve 2"]
    steps: Int16[np.ndarray, "curve node"]


def quantise(curves: Float[np.ndarray, "curve node"]) -> QuantisedCurves:
    """Return the curves in steps. A curve with any value that is not finite counts as missing."""
    values = np.asarray(curves, dtype=np.float64)
    known: np.ndarray = np.all(np.isfinite(values), axis=1)
    filled = np.where(known[:, None], values, 0.0)
    ends = np.stack([filled.min(axis=1), filled.max(axis=1)], axis=1).astype(np.float32)
    low, span = ends[:, :1].astype(np.float64), np.diff(ends.astype(np.float64), axis=1)
    scaled = np.divide(filled - low, span, out=np.zeros_like(filled), where=span > 0)
    whole = np.clip(np.rint(scaled * LEVELS), 0, LEVELS).astype(np.int64)
    first = np.diff(whole, axis=1, prepend=0)
    first[:, :1] = 0
    steps = np.diff(first, axis=1, prepend=0)
    steps[:, :1] = whole[:, :1]
    ends[~known] = np.nan
    return QuantisedCurves(ends, steps.astype(np.int16))


def restore(curves: QuantisedCurves) -> Float[np.ndarray, "curve node"]:
    """Return the curves' values, each within `largest_error`; NaN for a missing curve."""
    steps = curves.steps.astype(np.int64)
    first = np.cumsum(np.concatenate([np.zeros_like(steps[:, :1]), steps[:, 1:]], axis=1), axis=1)
    whole = steps[:, :1] + np.cumsum(first, axis=1)
    low, high = curves.ends.astype(np.float64).T[:, :, None]
    return low + whole / LEVELS * (high - low)


def largest_error(curves: QuantisedCurves) -> Float[np.ndarray, " curve"]:
    """Return how far a restored value may be from the true one: half a step, and the rounding of
    the ends to float32; NaN for a missing curve."""
    low, high = curves.ends.astype(np.float64).T
    rounding = np.finfo(np.float32).eps * np.maximum(np.abs(low), np.abs(high))
    return (high - low) / (2 * LEVELS) + rounding
