"""Output curves by position: f(α) and g(α) with one position of a component on its way.

At α = 1 stands AP at the position (`positions`). The path is that of `curves`, but for the other
positions, which keep the background's value; everything downstream is computed anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from counterpoint.engine.activations import Component, Direction
from counterpoint.engine.head_outputs import Units
from counterpoint.engine.position_views import position_views
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.curve_measures import OutputCurves
from counterpoint.measures.curves import output_curves
from counterpoint.measures.positions import patched_units
from counterpoint.measures.slopes import Advance


def position_curves(
    engine: SuffixEngine,
    direction: Direction,
    component: Component,
    *,
    heads: Collection[tuple[int, int]] | None = None,
    nodes: str = "adaptive",
    tolerance: float = 1e-4,
    max_nodes: int = 65,
    advance: Advance | None = None,
) -> Iterator[tuple[int, Units, OutputCurves]]:
    """Each position from the first difference on, with the units and their curves there.

    Units are those of `position_patching`, in its order; the arguments that follow ``heads`` those
    of `output_curves`. Raises UserError as both do.
    """
    units = patched_units(engine, component, heads)
    views = position_views(engine, direction)
    for position in views.positions:
        at_position, place = views.at(position, component)
        curves = output_curves(
            at_position,
            direction,
            units.at(place),
            component=component,
            nodes=nodes,
            tolerance=tolerance,
            max_nodes=max_nodes,
            advance=advance,
        )
        yield position, units, curves
