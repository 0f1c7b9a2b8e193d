"""Where a change of choice, or a kink, is to be looked for, by the points measured so far."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from counterpoint.measures import quadrature
from counterpoint.measures.interpolation_errors import SLOPE_TOLERANCE
from counterpoint.measures.piecewise_curves import Array, Points, Stretch

_BETWEEN = (np.arange(32) + 0.5) / 32
"""Where margins are looked at between the points of a piece."""

DOUBT = 0.5
"""A margin below this share of what the last refinement changed in it might be zero."""

SLACK = 1e-4
"""So might one whose least value is below this share of its changes: what rounding leaves of it."""

ASKED = 3
"""So many of the most doubtful places are looked at."""


def doubtful_places(stretch: Stretch) -> Float[Array, " alpha"]:
    """Where a margin might have passed through zero, between points that chose alike."""
    margin = stretch.points.margin
    margin = margin[:, np.isfinite(margin).all(0)]
    if not margin.size:
        return np.empty(0)
    level = quadrature.clenshaw_curtis(len(margin))
    fine = quadrature.evaluate(quadrature.interpolate(level, margin.T), _BETWEEN)
    coarse = quadrature.evaluate(quadrature.interpolate(level[::2], margin[::2].T), _BETWEEN)
    row, unsure = np.arange(len(fine)), DOUBT * np.abs(fine - coarse)
    place = (fine - unsure).argmin(1)
    # A visit may be much shorter than the steps here: look at the vertex of a parabola.
    inner = (place > 0) & (place < len(_BETWEEN) - 1)
    middle = np.clip(place, 1, len(_BETWEEN) - 2)
    before, top, after = (fine[row, middle + step] for step in (-1, 0, 1))
    bend = before - 2 * top + after
    inner &= bend > 0
    bend = np.where(inner, bend, 1.0)
    aside = np.where(inner, (before - after) / (2 * bend), 0.0)
    least = fine[row, place] - np.where(inner, (before - after) ** 2 / (8 * bend), 0.0)
    least -= unsure[row, place] + np.where(inner, SLACK * np.ptp(margin, axis=0), 0.0)
    worst = np.argsort(least)[:ASKED]
    worst = worst[least[worst] < 0]
    at = np.clip(_BETWEEN[place[worst]] + aside[worst] / len(_BETWEEN), 0, 1)
    return stretch.alphas[0] + stretch.width * np.unique(at)


def predict_change(
    ends: Float[Array, " two"], points: Points, resolution: float
) -> Float[Array, " two"] | None:
    """Two points on either side of where the margins say that the first change is.

    Among the places that chose otherwise the lowest in the model are asked: what they choose from
    does not jump, so that their margin goes to zero along a line. None where that says nothing.
    """
    changed = np.flatnonzero(points.chosen[0] != points.chosen[1])
    margin = points.margin[:, changed[:1]].astype(float)
    total = margin.sum(0)
    if not (np.isfinite(total).all() and total[0] > 0):
        return None
    width = float(ends[1] - ends[0])
    place = ends[0] + width * float(margin[0, 0] / total[0])
    aside = max(0.45 * resolution, width * min(0.1, width))
    asked = np.array([place - aside, place + aside])
    inside = (asked > ends[0]) & (asked < ends[1])
    return asked[inside] if inside.all() else None


def turns(two: Points) -> bool:
    """Whether the slopes of two points differ by more than is left of a kink."""
    slope = two.slope.sum(1)
    return bool(abs(slope[1] - slope[0]) > SLOPE_TOLERANCE / 4 * (1 + np.abs(slope).max()))


def unexplained(alphas: Array, points: Points) -> Float[Array, " step"]:
    """|change of f less what the slopes at both ends account for| of each step."""
    slope = points.slope.sum(1)
    steps = np.diff(alphas) * (slope[1:] + slope[:-1]) / 2
    found = np.abs(np.diff(points.value) - steps)
    return np.where(np.isnan(found), 0.0, found)
