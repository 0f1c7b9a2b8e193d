"""f(α) and g(α) of components at given α, through the engine: the raw material of curves.

g is taken by reverse-mode differentiation through the same batch as f. ``scale`` is Σ |∂m/∂r · Δ|
over positions and dimensions: what g is the sum of, without cancellation, and so the size that the
rounding of g, and of f on the way to g, is relative to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.engine import expert_routing
from counterpoint.engine.activations import Component, Direction, background_prompt
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import Units, differences, layers_with
from counterpoint.engine.rounding import Floor, computed_format
from counterpoint.engine.suffix import SuffixEngine

Array = np.ndarray
Advance = Callable[[int], object]
ChosenBy = Callable[[expert_routing.Choices], object]


def values_and_slopes(
    engine: SuffixEngine,
    direction: Direction,
    component: Component,
    units: Units,
    alphas: Float[Array, "unit alpha"],
    *,
    advance: Advance | None = None,
) -> tuple[Float[Array, "unit alpha"], Float[Array, "unit alpha"]]:
    """f and g of each unit at its own ``alphas``, g by reverse-mode differentiation (exact)."""
    output, slope, _ = values_slopes_and_scales(
        engine, direction, component, units, alphas, advance=advance
    )
    return output, slope


def values_slopes_and_scales(
    engine: SuffixEngine,
    direction: Direction,
    component: Component,
    units: Units,
    alphas: Float[Array, "unit alpha"],
    *,
    advance: Advance | None = None,
    chosen_by: ChosenBy | None = None,
) -> tuple[Float[Array, "unit alpha"], Float[Array, "unit alpha"], Float[Array, "unit alpha"]]:
    """f, g and the scale of g (see the module) of each unit at its own ``alphas``.

    ``chosen_by`` is handed what the rows of each batch chose, in their order, where it is asked
    for (`counterpoint.engine.expert_routing`).
    """
    per_unit = alphas.shape[1]
    flat = _on(engine, alphas)

    def both(chosen: slice) -> Tensor:
        row_units, delta, shift = _shifts(
            engine, direction, component, units, flat, per_unit, chosen
        )
        with torch.enable_grad():
            shift.requires_grad_()
            rows = Rows(row_units.pair, tuple(row_units.layer.tolist()), shift)
            output = evaluated(engine, rows, direction, component, chosen_by)
            (gradient,) = torch.autograd.grad(output.sum(), shift)
        return torch.stack([output.detach().to(flat.dtype), *product(gradient, delta)], dim=1)

    found = engine.in_batches(len(flat), both, differentiate=True, advance=advance)
    output, slope, scale = found.double().cpu().numpy().T
    return output.reshape(alphas.shape), slope.reshape(alphas.shape), scale.reshape(alphas.shape)


@torch.no_grad()
def values(
    engine: SuffixEngine,
    direction: Direction,
    component: Component,
    units: Units,
    alphas: Float[Array, "unit alpha"],
    *,
    advance: Advance | None = None,
    chosen_by: ChosenBy | None = None,
) -> Float[Array, "unit alpha"]:
    """f of each unit at its own ``alphas``."""
    per_unit = alphas.shape[1]
    flat = _on(engine, alphas)

    def one(chosen: slice) -> Tensor:
        row_units, _, shift = _shifts(engine, direction, component, units, flat, per_unit, chosen)
        rows = Rows(row_units.pair, tuple(row_units.layer.tolist()), shift)
        return evaluated(engine, rows, direction, component, chosen_by)

    found = engine.in_batches(len(flat), one, advance=advance)
    return found.double().cpu().numpy().reshape(alphas.shape)


def evaluated(
    engine: SuffixEngine,
    rows: Rows,
    direction: Direction,
    component: Component,
    chosen_by: ChosenBy | None,
) -> Float[Tensor, " row"]:
    """The metric of each row; ``chosen_by`` is handed what the rows chose, where it is asked for.

    It is handed them after the batch: one that runs out of memory leaves nothing behind.
    """
    if chosen_by is None:
        return engine.evaluate(rows, direction, component)
    output, choices = engine.evaluate_with_choices(rows, direction, component)
    chosen_by(choices)
    return output


def _on(engine: SuffixEngine, alphas: Array) -> Tensor:
    """α on the model's device, in float32 at least: bfloat16 would move most nodes by 0.2 %."""
    dtype = torch.promote_types(engine.model.dtype, torch.float32)
    return torch.tensor(alphas.reshape(-1), device=engine.model.device, dtype=dtype)


def product(
    gradient: Float[Tensor, "row suffix d_model"], delta: Float[Tensor, "row suffix d_model"]
) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"]]:
    """⟨gradient, Δ⟩ and the sum of its terms' sizes, summed in float32 at least."""
    dtype = torch.promote_types(gradient.dtype, torch.float32)
    terms = gradient.to(dtype) * delta.to(dtype)
    return terms.sum((1, 2)), terms.abs().sum((1, 2))


def _shifts(
    engine: SuffixEngine,
    direction: Direction,
    component: Component,
    units: Units,
    flat: Tensor,
    per_unit: int,
    chosen: slice,
) -> tuple[Units, Tensor, Tensor]:
    """Units, Δ and α Δ of the rows ``chosen``, where each unit has ``per_unit`` rows in a run."""
    first, last = chosen.start // per_unit, (chosen.stop - 1) // per_unit
    few = units[slice(first, last + 1)]
    of_row = torch.arange(chosen.start, chosen.stop, device=flat.device) // per_unit - first
    delta = differences(engine.model, engine.activations, direction, few, component)[of_row]
    shift = (flat[chosen].view(-1, 1, 1) * delta).to(delta.dtype)
    return few[of_row], delta, shift


def background_gradients(
    engine: SuffixEngine, direction: Direction, component: Component
) -> Float[Tensor, "layer pair suffix d_model"]:
    """∂m/∂(component's output) in the background run, for every layer and pair.

    All heads of a layer share it, so that one row per layer and pair gives g(0) of every head. Not
    a number in layers without the component.
    """
    model, n_pairs = engine.model, len(engine.activations.pairs)
    layers = torch.tensor(layers_with(model, component), device=model.device)
    layer = layers.repeat_interleave(n_pairs)
    pair = torch.arange(n_pairs, device=model.device).repeat(len(layers))
    zero = engine.activations.clean.attention[model.head_layers[0]]

    def slopes(chosen: slice) -> Tensor:
        with torch.enable_grad():
            shift = torch.zeros_like(zero[pair[chosen]]).requires_grad_()
            rows = Rows(pair[chosen], tuple(layer[chosen].tolist()), shift)
            output = engine.evaluate(rows, direction, component)
            return torch.autograd.grad(output.sum(), shift)[0]

    found = engine.in_batches(len(layer), slopes, differentiate=True)
    whole = zero.new_full((model.n_layers, n_pairs, *zero.shape[1:]), torch.nan)
    whole[layers] = found.view(len(layers), n_pairs, *zero.shape[1:])
    return whole


def attribution_patching(
    engine: SuffixEngine, direction: Direction, component: Component, units: Units
) -> Float[Array, " unit"]:
    """AtP: g(0) of each unit, the first-order estimate of its patch effect."""
    return slopes_at_start(engine, direction, component, units)[0]


def slopes_at_start(
    engine: SuffixEngine, direction: Direction, component: Component, units: Units
) -> tuple[Float[Array, " unit"], Float[Array, " unit"]]:
    """g(0) of each unit and its scale."""
    gradients = background_gradients(engine, direction, component)
    found = []
    for start in range(0, len(units), _UNITS_AT_ONCE):
        few = units[slice(start, start + _UNITS_AT_ONCE)]
        delta = differences(engine.model, engine.activations, direction, few, component)
        found.append(torch.stack(product(gradients[few.layer, few.pair], delta)))
    slope, scale = torch.cat(found, dim=1).double().cpu().numpy()
    return slope, scale


_UNITS_AT_ONCE = 512


@torch.no_grad()
def rounding_floor(engine: SuffixEngine, direction: Direction) -> Floor:
    """How far rounding alone may move f and g, by the format that is really computed in.

    Kept on the engine.
    """
    kept = cast("dict[str, Floor]", engine.__dict__.setdefault("_floors", {}))
    if direction not in kept:
        kept[direction] = _rounding_floor(engine, direction)
    return kept[direction]


def _rounding_floor(engine: SuffixEngine, direction: Direction) -> Floor:
    # What each part may be off by, all may be off by together.
    floors = [_floor_of_one(part, direction) for part, _ in engine.parts]
    return sum(floors[1:], start=floors[0])


def _floor_of_one(engine: SuffixEngine, direction: Direction) -> Floor:
    final = engine.activations.run(background_prompt(direction)).final
    answers = engine.logits(final, engine.metric.vocabulary)
    every = engine.logits(final)
    if engine.metric.vocabulary is None:
        # Made of log-probabilities, which are not small where all logits are.
        answers = every = torch.cat([every, every.log_softmax(-1)], dim=1)
    largest = every.abs().amax(1).double().cpu().numpy()
    return Floor.of(computed_format(engine.model), float(answers.abs().max()), largest)
