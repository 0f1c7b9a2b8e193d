"""g of the heads along a layer's joint path, at chosen α, by plain automatic differentiation.

On the joint path all heads of a layer move together. `integrated_gradients` has Captum integrate
there; here are the slopes themselves, and of them *IG of the unsaturated part*, which leaves out
where the layer's slope is flat (`saturation`).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import Units, differences
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import quadrature
from counterpoint.measures.patching import layer_patching
from counterpoint.measures.saturation import JOINT_CELLS, saturated

Array = np.ndarray

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
    tolerance: float = 1e-3,
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
        score[active[done]] = integral_where_steep(nodes, slopes[done])
        active, steps = active[~done], 2 * steps
    return score[examples]


def integral_where_steep(
    nodes: Float[Array, " node"], slopes: Float[Array, "example head node"]
) -> Float[Array, "example head"]:
    """The integral of each head's slope over the part of the path where the heads' sum is steep."""
    series = quadrature.interpolate_all(nodes, slopes).reshape(-1, len(nodes))
    dense = quadrature.evaluate(series, JOINT_CELLS).reshape(*slopes.shape[:2], len(JOINT_CELLS))
    whole = np.abs(dense.sum(1, keepdims=True))
    return np.where(saturated(whole), 0.0, dense).mean(-1)
