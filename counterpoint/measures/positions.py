"""Activation patching by position: where in the prompt a component acts.

AP at a position is f(1) − f(0) with the component's output replaced by the other prompt's value at
that one position, and kept at all others; everything downstream is computed anew. Components are
heads, whole attention layers, MLPs, and the residual stream before each block (before block 0: the
embeddings), the layer × position plot that many studies begin with (Meng et al. 2022,
arXiv:2202.05262; Wang et al. 2022, arXiv:2211.00593). Before the first position at which the
prompts differ nothing differs, so that every AP there is 0 and none is measured.

AP with all positions replaced at once is the *joint* AP. It is not the sum over positions: what the
sum leaves is the *interaction over positions*, and is reported beside them.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Float

from counterpoint.engine.activations import Component, Direction
from counterpoint.engine.head_outputs import Units, every_unit, named_units
from counterpoint.engine.position_views import position_views
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.slopes import Advance

Array = np.ndarray

COMPONENTS: tuple[Component, ...] = ("residual", "attention", "mlp", "head")
"""What is patched by position, in the order in which a report shows it."""


def position_patching(
    engine: SuffixEngine,
    direction: Direction,
    component: Component,
    *,
    heads: Collection[tuple[int, int]] | None = None,
    layers: Collection[int] | None = None,
    advance: Advance | None = None,
) -> tuple[Units, Float[Array, "unit position"], Float[Array, " unit"]]:
    """Units, their AP at each position from the first difference on, and their joint AP.

    The units are every one of ``component`` of every pair, or of the ``heads`` that are named as
    (layer, head), or in ``layers``. ``advance`` is told of evaluations as they are made. Raises
    UserError for a head that the model has not, and where the component is not one value (several
    residual streams).
    """
    units = patched_units(engine, component, heads)
    if layers is not None:
        own = torch.tensor([layer in layers for layer in units.layer.tolist()])
        units = units[own.nonzero()[:, 0].to(units.layer.device)]
    views = position_views(engine, direction)
    columns = []
    for position in views.positions:
        at_position, place = views.at(position, component)
        columns.append(
            activation_patching(
                at_position,
                direction,
                units=units.at(place),
                component=component,
                advance=advance,
            )
        )
    joint = activation_patching(
        engine, direction, units=units, component=component, advance=advance
    )
    return units, np.stack(columns, axis=1), joint


def patched_units(
    engine: SuffixEngine, component: Component, heads: Collection[tuple[int, int]] | None
) -> Units:
    """The units of ``component`` of every pair, or those of ``heads`` as (layer, head).

    Raises UserError for a head that the model has not.
    """
    units = named_units(every_unit(engine.model, len(engine.activations.pairs), component), heads)
    if heads is not None and component == "head":
        _check_all_there(units, heads)
    return units


def _check_all_there(units: Units, heads: Collection[tuple[int, int]]) -> None:
    assert units.head is not None
    found = set(zip(units.layer.tolist(), units.head.tolist(), strict=True))
    missing = [f"{layer}.{head}" for layer, head in heads if (layer, head) not in found]
    if missing:
        raise UserError(f"positions: heads: the model has no head {', '.join(missing)}.")
