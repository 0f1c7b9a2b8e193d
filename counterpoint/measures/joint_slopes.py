"""g of the heads along a layer's joint path, at chosen α, by plain automatic differentiation.

On the joint path all heads of a layer move together. `integrated_gradients` has Captum integrate
there; here are the slopes themselves, and of them *IG of the unsaturated part*, which leaves out
where the layer's slope is flat (`saturation`).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import Units, differences
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import quadrature
from counterpoint.measures.interpolation_errors import TAIL_FACTOR
from counterpoint.measures.patching import layer_patching
from counterpoint.measures.saturation import JOINT_CELLS, saturated

Array = np.ndarray

STEEP_TOLERANCE = 1e-3
"""Error allowed in IG of the unsaturated part, in metric units."""

FEWEST_STEPS, MOST_STEPS = 8, 64
"""Gauss-Legendre steps that IG of the unsaturated part begins and ends with, taken apart."""


def examples_with_heads(engine: SuffixEngine) -> Int[Array, " example"]:
    """The examples, layer × pairs + pair, whose layers have heads; lowest layer first."""
    n_pairs = len(engine.activations.pairs)
    first = np.array(engine.model.head_layers, dtype=np.int64) * n_pairs
    return (first[:, None] + np.arange(n_pairs)).reshape(-1)


def joint_slopes(
    engine: SuffixEngine,
    direction: Direction,
    alphas: Float[Array, " alpha"],
    examples: Int[Array, " example"] | None = None,
) -> Float[Array, "example head alpha"]:
    """g of each head along the joint path: ⟨∂m/∂(attention output), Δ of the head⟩ at each α.

    An example is a layer of a pair, numbered layer × pairs + pair; all that have heads by default.
    The integral of a head's slope over [0, 1] is its IG joint.
    """
    model, activations = engine.model, engine.activations
    n_pairs, n_alphas = len(activations.pairs), len(alphas)
    if examples is None:
        examples = examples_with_heads(engine)
    other = activations.run(other_prompt(direction)).attention
    background = activations.run(background_prompt(direction)).attention
    place = torch.as_tensor(examples, device=model.device).repeat_interleave(n_alphas)
    layer, pair = place // n_pairs, place % n_pairs
    at = torch.tensor(alphas, device=model.device, dtype=model.dtype).repeat(len(examples))
    heads = torch.arange(model.n_heads, device=model.device)

    def slopes(rows: slice) -> Tensor:
        where = layer[rows], pair[rows]
        with torch.enable_grad():
            whole = other[where] - background[where]
            shift = (at[rows].view(-1, 1, 1) * whole).requires_grad_()
            joined = Rows(pair[rows], tuple(layer[rows].tolist()), shift)
            output = engine.evaluate(joined, direction)
            (gradient,) = torch.autograd.grad(output.sum(), shift)
        count = rows.stop - rows.start
        units = Units(
            pair[rows].repeat_interleave(model.n_heads),
            layer[rows].repeat_interleave(model.n_heads),
            heads.repeat(count),
        )
        delta = differences(model, activations, direction, units)
        return (delta.unflatten(0, (count, model.n_heads)) * gradient.unsqueeze(1)).sum((2, 3))

    found = engine.in_batches(len(place), slopes, differentiate=True)
    shape = (len(examples), n_alphas, model.n_heads)
    return found.double().cpu().numpy().reshape(shape).swapaxes(1, 2)


def unsaturated_integrated_gradients(
    engine: SuffixEngine,
    direction: Direction,
    examples: Int[Array, " example"] | None = None,
    *,
    tolerance: float = STEEP_TOLERANCE,
    max_steps: int = MOST_STEPS,
) -> Float[Array, "example head"]:
    """IG joint, integrated only where the layer's joint path is not saturated (`saturation`).

    An example is one of `examples_with_heads`, all by default. Gauss-Legendre steps are doubled, up
    to ``max_steps``, for the layers whose slope does not integrate to the effect of patching the
    layer within ``tolerance``.
    """
    if examples is None:
        examples = examples_with_heads(engine)
    effect = layer_patching(engine, direction).reshape(-1)
    score = np.full((len(effect), engine.model.n_heads), np.nan)
    active, steps = examples, FEWEST_STEPS
    while len(active):
        nodes, weights = quadrature.gauss_legendre(steps)
        slopes = joint_slopes(engine, direction, nodes, active)
        done = np.abs(slopes.sum(1) @ weights - effect[active]) <= tolerance
        if 2 * steps > max_steps:
            done[:] = True
        score[active[done]] = integral_where_steep(quadrature.interpolate_all(nodes, slopes[done]))
        active, steps = active[~done], 2 * steps
    return score[examples]


def integral_where_steep(
    series: Float[Array, "example head coefficient"],
) -> Float[Array, "example head"]:
    """The integral of each head's slope over the part of the path where the heads' sum is steep.

    ``series`` are the Chebyshev coefficients of the slopes.
    """
    dense, flat = _cells(series)
    return np.where(flat, 0.0, dense).mean(-1)


def misses_where_steep(
    series: Float[Array, "example head coefficient"],
) -> Float[Array, " example"]:
    """Error of `integral_where_steep` by what the series leave out; 0 where no part is flat.

    It is the integral over the whole path, which is known better than the slopes on the way
    (`interpolation_errors.integral_misses`), less that over the flat part, which is not. By how
    much the place is off at which the path turns flat is not reckoned with: there the slope is
    small.
    """
    _, flat = _cells(series)
    last = TAIL_FACTOR * np.abs(series[..., -2:]).sum(-1).max(1)
    return last * flat.mean((1, 2))


def _cells(
    series: Float[Array, "example head coefficient"],
) -> tuple[Float[Array, "example head cell"], Bool[Array, "example 1 cell"]]:
    """Every head's slope in the cells of the joint path, and which are flat for the layer."""
    flattened = series.reshape(-1, series.shape[-1])
    shape = *series.shape[:2], len(JOINT_CELLS)
    dense = quadrature.evaluate(flattened, JOINT_CELLS).reshape(shape)
    return dense, saturated(np.abs(dense.sum(1, keepdims=True)))
