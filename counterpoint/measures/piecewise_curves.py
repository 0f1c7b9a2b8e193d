"""Curves in pieces: what a curve that jumps is between its jumps, and what was measured of it.

A mixture of experts runs other experts from some α on, and the output curve jumps there. Between
two such places it is analytic. A curve on [0, 1] is *pieces*, on each of which f and g are
polynomials, and *gaps* between them, each so narrow that it is a place. `curve_tracing` finds them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoint.engine.rounding import Floor
from counterpoint.measures import quadrature

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Points:
    """What was measured at some α of one curve."""

    value: Float[Array, " point"]
    slope: Float[Array, "point channel"]
    """g, as the sum of its channels: one for a head, one per head for a path of many."""
    scale: Float[Array, " point"]
    """What rounding of g is relative to (`measures.slopes`); 0 where no slope was asked for."""
    chosen: Int[Array, "point place"]
    margin: Float[Array, "point place"]

    def __getitem__(self, which: Int[Array, " some"] | slice) -> Points:
        return Points(*(getattr(self, name)[which] for name in _OF_POINTS))


_OF_POINTS = tuple(field.name for field in fields(Points))


@dataclass(frozen=True)
class Settings:
    """When a curve is resolved, and how much may be asked of it."""

    tolerance: float
    """Error of f allowed on a piece."""
    floor: Floor
    resolution: float
    """A gap of this width is a place."""
    budget: int
    """Points that one curve may have; the piece that is being looked at is still ended."""
    kinks: bool = False
    """Whether g may jump where nothing is chosen (`counterpoint.engine.kinks`)."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch [start, stop] of a curve without a jump, as series in (α − start) / width."""

    start: float
    stop: float
    f: Float[Array, " coefficient"]
    g: Float[Array, " coefficient_"]
    """dα derivative, already divided by the width."""
    own: Float[Array, " channel"]
    """∫ of each channel of g over the piece, from g alone."""
    error: float
    slope_error: float


@dataclass(frozen=True, eq=False)
class Curve:
    """A whole curve: pieces in order, and the gap after each but the last."""

    pieces: list[Piece]
    jumps: Float[Array, " gap"]
    """f on the right of each gap less f on its left, less what the slopes account for."""
    between: Float[Array, "gap channel"]
    """∫ of each channel of g over each gap."""
    bent: Float[Array, " gap"]
    """What a change of slope within each gap may do to its jump: all that a kink shows of one."""
    evaluations: int
    resolved: bool
    error: float
    slope_error: float
    rounding: float

    @property
    def places(self) -> Float[Array, " gap"]:
        """Where the gaps are."""
        left = [piece.stop for piece in self.pieces[:-1]]
        right = [piece.start for piece in self.pieces[1:]]
        return (np.array(left) + np.array(right)) / 2

    @property
    def own(self) -> Float[Array, " channel"]:
        """∫ of each channel of g over [0, 1], from g alone."""
        return np.sum([piece.own for piece in self.pieces], axis=0) + self.between.sum(0)


@dataclass(eq=False)
class Stretch:
    """A stretch with points, ends included; ``nested`` where they are nodes of one level."""

    alphas: Float[Array, " point"]
    points: Points
    nested: bool = True

    @property
    def width(self) -> float:
        return float(self.alphas[-1] - self.alphas[0])


def interleave(old: Points, new: Points) -> Points:
    """Points of one level with those between them that the next one adds."""
    order = np.argsort(np.concatenate([np.arange(len(old.value)), np.arange(len(new.value)) + 0.5]))
    return join(old, new)[order]


def join(*parts: Points) -> Points:
    """Points of all parts, in their order."""
    return Points(*(np.concatenate([getattr(part, name) for part in parts]) for name in _OF_POINTS))


def value_at(curve: Curve, alphas: Float[Array, " alpha"]) -> Float[Array, " alpha"]:
    """f at each α; in a gap the nearer end of a piece."""
    return _at(curve, alphas, "f")


def slope_at(curve: Curve, alphas: Float[Array, " alpha"]) -> Float[Array, " alpha"]:
    """g at each α; in a gap the nearer end of a piece."""
    return _at(curve, alphas, "g")


def _at(curve: Curve, alphas: Array, name: str) -> Array:
    owner = np.searchsorted(curve.places, alphas)
    found = np.empty(len(alphas))
    for number in np.unique(owner):
        piece, here = curve.pieces[number], owner == number
        inside = (alphas[here] - piece.start) / (piece.stop - piece.start)
        series = getattr(piece, name)[None]
        found[here] = quadrature.evaluate(series, np.clip(inside, 0, 1))[0]
    return found


def is_jump(curve: Curve) -> Bool[Array, " gap"]:
    """Which gaps are jumps: those that rounding and a kink do not account for."""
    return np.abs(curve.jumps) > 2 * curve.rounding + curve.bent
