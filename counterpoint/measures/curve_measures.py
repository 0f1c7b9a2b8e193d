"""What is measured on an output curve: every measure, how a range is taken, and monotonicity.

`OutputCurves` holds the curves of some units with their measures, under the names that they have as
columns of the tables; `curves` and `jumps` compute them. *Saturation* is defined in `saturation`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

Array = np.ndarray

GRID_SIZE = 50
"""Gauss-Legendre nodes on which curves are reported, as in the original notebook."""


@dataclass(frozen=True, eq=False)
class OutputCurves:
    """Curves and measures of some units, in their order. Metric units unless said otherwise."""

    output: Float[Array, "unit node"]
    """f on the 50 Gauss-Legendre nodes."""
    gradient: Float[Array, "unit node"]
    """g on the same nodes."""
    ap: Float[Array, " unit"]
    """Activation patching, f(1) − f(0)."""
    atp: Float[Array, " unit"]
    """Attribution patching, g(0)."""
    ig_own: Float[Array, " unit"]
    """Integrated gradients on the own path: the quadrature of g alone. Equals ``ap`` where the
    curve does not jump."""
    output_range: Float[Array, " unit"]
    """max f − min f over the 50 nodes."""
    output_range_closed: Float[Array, " unit"]
    """max f − min f over [0, 1]."""
    gradient_range: Float[Array, " unit"]
    """max g − min g over the 50 nodes."""
    gradient_range_closed: Float[Array, " unit"]
    total_variation: Float[Array, " unit"]
    """∫ |g| dα, and the sizes of the jumps."""
    monotonicity: Float[Array, " unit"]
    """|AP| / total variation, in [0, 1]; 1 for a constant curve."""
    excess_range: Float[Array, " unit"]
    """Output range on [0, 1] − |AP|."""
    saturation: Float[Array, " unit"]
    """Share of [0, 1] where |g| is below 5 % of its maximum (`saturation`), to 1/2000."""
    quadrature_error: Float[Array, " unit"]
    """Estimated largest error of f: of the interpolant between the nodes, and of rounding. Where
    the curve jumps: but at the jumps themselves, whose places are known to a millionth or so."""
    gradient_error: Float[Array, " unit"]
    """Estimated largest error of g, likewise."""
    rounding: Float[Array, " unit"]
    """How far rounding alone may move f, in the format that is really computed in."""
    nodes: Float[Array, " unit"]
    """Points of the path at which f was evaluated."""
    resolved: Bool[Array, " unit"]
    """Whether the curve came within tolerance, or the floor of rounding where that is higher."""
    jumps: Float[Array, " unit"]
    """How often f jumps on the way, by more than rounding: 0 for every curve of a dense model."""
    jump_total: Float[Array, " unit"]
    """The sum of all jumps, with their signs. ``ig_own`` + ``jump_total`` equals ``ap``."""

    MEASURES: ClassVar[tuple[str, ...]] = (
        "ap",
        "atp",
        "ig_own",
        "output_range",
        "output_range_closed",
        "gradient_range",
        "gradient_range_closed",
        "total_variation",
        "monotonicity",
        "excess_range",
        "saturation",
        "quadrature_error",
        "gradient_error",
        "rounding",
        "nodes",
        "resolved",
        "jumps",
        "jump_total",
    )

    def measures(self) -> dict[str, Float[Array, " unit"]]:
        """Everything but the curves themselves, by column name."""
        return {name: getattr(self, name) for name in self.MEASURES}


def monotonicity(
    ap: Float[Array, " unit"], total_variation: Float[Array, " unit"]
) -> Float[Array, " unit"]:
    """|AP| / total variation; 1 for a constant curve."""
    constant = total_variation == 0
    return np.where(constant, 1.0, np.abs(ap) / np.where(constant, 1.0, total_variation))


def range_of(dense: Float[Array, "unit point"]) -> Float[Array, " unit"]:
    """max − min of smooth curves at Clenshaw-Curtis nodes, extrema at the vertices of parabolas.

    The samples are equally spaced in the angle, where the parabola is fitted; the error is of third
    order in the spacing.
    """
    return peaks(dense) + peaks(-dense)


def peaks(dense: Float[Array, "unit point"]) -> Float[Array, " unit"]:
    row = np.arange(len(dense))
    place = dense.argmax(1)
    # Reflect at the ends: in the angle, the curve goes on symmetrically.
    last = dense.shape[1] - 1
    left, right = np.abs(place - 1), last - np.abs(last - place - 1)
    before, top, after = dense[row, left], dense[row, place], dense[row, right]
    bend = before - 2 * top + after
    flat = bend == 0
    return top - np.where(flat, 0.0, (after - before) ** 2 / (8 * np.where(flat, 1.0, bend)))


def collected(
    count: int, parts: Iterable[tuple[Int[Array, " place"], OutputCurves]]
) -> OutputCurves:
    """Curves that were finished in parts, put back in the order of the ``count`` units."""
    arrays: dict[str, Array] = {}
    for places, curves in parts:
        for field in fields(curves):
            part = getattr(curves, field.name)
            whole = arrays.setdefault(
                field.name, np.empty((count, *part.shape[1:]), dtype=part.dtype)
            )
            whole[places] = part
    return OutputCurves(**arrays)
