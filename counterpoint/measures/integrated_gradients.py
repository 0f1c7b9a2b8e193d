"""Integrated gradients of the heads, all heads of a layer moving together, with Captum.

IG of an input is ``(x − x') ∫ ∂m/∂x (x' + α (x − x')) dα`` (Sundararajan, Taly & Yan 2017). Here
the input is the values z of a whole layer, x' those of the background and x those of the other
prompt; a head's score is the sum over its positions and dimensions. The attention's output is
linear in z, so that this equals the score taken on the heads' outputs. By completeness a layer's
scores sum to the effect of patching the layer; what is missing from that is the *convergence
delta*, which is taken from the layer's own patch. Of the gradients that Captum asks for on the way,
*IG of the unsaturated part* is made, too (`joint_slopes`).

In a mixture of experts the metric jumps on the way, wherever a router chooses otherwise, and no
gradient sees a jump. There the joint path is integrated in pieces between the jumps
(`measures.jumps`), and the convergence delta is their sum with the other sign: the part of
the layer's effect that belongs to no head. What Captum leaves unfinished in a dense model (kinks of
a ReLU, thousands of them in a large one) is said, in ``resolved``, and not taken apart.

The run from the layer on is the engine's, and every layer and pair of a bucket is one example of
the same call to Captum, so that they share batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.expert_routing import choices_per_block
from counterpoint.engine.head_outputs import packed
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import jumps, quadrature
from counterpoint.measures.interpolation_errors import integral_misses
from counterpoint.measures.joint_slopes import (
    examples_with_heads,
    integral_where_steep,
    unsaturated_integrated_gradients,
)
from counterpoint.measures.patching import layer_patching
from counterpoint.measures.slopes import rounding_floor

Array = np.ndarray

FIRST_STEPS = 4
"""Gauss-Legendre steps taken first, which integrate a polynomial of degree 7 exactly."""

ERRORS_APART = 4.0
"""How many times their estimated errors two scores must lie apart for their order to be settled."""


@dataclass(frozen=True, eq=False)
class IntegratedGradientScores:
    """IG joint of every head, in metric units."""

    score: Float[Array, "layer pair head"]
    """Not a number in layers without heads."""
    unsaturated: Float[Array, "layer pair head"]
    """The same, integrated only where the layer's slope is steep."""
    convergence_delta: Float[Array, "layer pair"]
    """Sum over heads of the score, less the effect of patching the layer."""
    steps: Int[Array, "layer pair"]
    """Gauss-Legendre steps used, or points of a path in pieces."""
    jump_total: Float[Array, "layer pair"]
    """The sum of the jumps on the joint path: the convergence delta with the other sign."""
    resolved: Bool[Array, "layer pair"]
    """Whether delta and jumps cancel within tolerance, or the floor of rounding if higher."""


def integrated_gradients(
    engine: SuffixEngine,
    direction: Direction,
    *,
    tolerance: float = 1e-4,
    first_steps: int = FIRST_STEPS,
    max_steps: int = 128,
    ranked: tuple[int, int] | None = None,
    layers: Collection[int] | None = None,
    advance: Callable[[int], object] | None = None,
) -> IntegratedGradientScores:
    """IG joint of every head of every pair.

    Steps are doubled, from ``first_steps`` to at most ``max_steps``, for the layers whose
    convergence delta exceeds ``tolerance``, one of whose heads may be off by more than it by the
    decay of its slope's coefficients, or whose scores still moved by more. No tolerance below the
    floor of rounding is asked for. ``advance`` is told of examples as they are finished.

    ``ranked``, (layer, head), says that only this head's score and its place among all by size are
    asked for: the steps of another layer are doubled no longer once none of its heads can change
    places with it (`_may_change_places`), whose scores may then be off by more. Of ``layers``,
    where they are given, alone is anything said; elsewhere a score is not a number.
    """
    floor = rounding_floor(engine, direction)
    tolerance = max(tolerance, 2 * floor.settled)
    n_layers, n_pairs = engine.model.n_layers, len(engine.activations.pairs)
    n_heads = engine.model.n_heads
    effect = layer_patching(engine, direction).reshape(-1)
    score = np.full((n_layers * n_pairs, n_heads), np.nan)
    steep = score.copy()
    delta = np.full(n_layers * n_pairs, np.nan)
    taken = np.zeros(n_layers * n_pairs, dtype=int)
    error = np.full((n_layers * n_pairs, n_heads), np.inf)
    jump_total = np.zeros(n_layers * n_pairs)
    resolved = np.ones(n_layers * n_pairs, dtype=bool)
    routed = choices_per_block(engine.model) > 0
    every = examples_with_heads(engine)
    if layers is not None:
        every = every[np.isin(every // n_pairs, list(layers))]
    active, left = (every[:0], every) if routed else (every, every[:0])
    steps = min(first_steps, max_steps)
    while len(active):
        before = score[active]
        score[active], slopes = _captum(engine, direction, active, steps)
        delta[active] = score[active].sum(1) - effect[active]
        moved = np.abs(score[active] - before)
        first = taken[active] == 0
        taken[active] = steps
        nodes, _ = quadrature.gauss_legendre(steps)
        missed = integral_misses(quadrature.interpolate_all(nodes, slopes))
        unfinished = (
            (np.abs(delta[active]) > tolerance)
            | (missed.max(1) > tolerance)
            | (~first & (moved.max(1) > tolerance))
        )
        if ranked is not None:
            error[active] = _errors(missed, delta[active]) + np.where(first[:, None], 0.0, moved)
            unfinished &= _may_change_places(score, error, active, n_pairs, ranked)
        if 2 * steps > max_steps:
            left = active[unfinished]
            unfinished[:] = False
        steep[active[~unfinished]] = integral_where_steep(nodes, slopes[~unfinished])
        if advance is not None:
            advance(int((~unfinished).sum()))
        active, steps = active[unfinished], 2 * steps
    if not routed:
        resolved[left] = False
        left = left[:0]
    if len(left):
        steep[left] = unsaturated_integrated_gradients(engine, direction, left)
        curves = jumps.joint_paths(engine, direction, left, tolerance, max_steps // 2)
        for example, curve in zip(left, curves, strict=True):
            score[example], jump_total[example] = curve.own, curve.jumps.sum()
            delta[example] = curve.own.sum() - effect[example]
            taken[example] += curve.evaluations
            missed = abs(delta[example] + jump_total[example])
            resolved[example] = curve.resolved and missed <= max(tolerance, 2 * curve.rounding)
        if advance is not None and routed:
            advance(len(left))
    shape = (n_layers, n_pairs)
    return IntegratedGradientScores(
        score.reshape(*shape, n_heads),
        steep.reshape(*shape, n_heads),
        delta.reshape(shape),
        taken.reshape(shape),
        jump_total.reshape(shape),
        resolved.reshape(shape),
    )


def _errors(
    missed: Float[Array, "example head"], delta: Float[Array, " example"]
) -> Float[Array, "example head"]:
    """What each head's score may be off by: its own estimate, and of what is missing from the
    layer's sum the share that this estimate has among those of the layer."""
    total = missed.sum(1, keepdims=True)
    share = np.divide(missed, total, out=np.full_like(missed, 1.0), where=total > 0)
    return missed + share * np.abs(delta)[:, None]


def _may_change_places(
    score: Float[Array, "every head"],
    error: Float[Array, "every head"],
    active: Int[Array, " example"],
    n_pairs: int,
    ranked: tuple[int, int],
) -> Bool[Array, " example"]:
    """Whether a head of each of the ``active`` examples may change places with the ``ranked`` head
    of its pair, by `ERRORS_APART` times what both may be off by. In that head's layer always."""
    layer, head = ranked
    own = layer * n_pairs + active % n_pairs
    apart = np.abs(np.abs(score[active]) - np.abs(score[own, head])[:, None])
    near = apart <= ERRORS_APART * (error[active] + error[own, head][:, None])
    return near.any(1) | (active == own)


def _captum(
    engine: SuffixEngine, direction: Direction, examples: Array, steps: int
) -> tuple[Float[Array, "example head"], Float[Array, "example head step"]]:
    """Scores of the examples (layer × pairs + pair), in batches, and what they are made of."""
    model, activations = engine.model, engine.activations
    n_pairs = len(activations.pairs)
    background, other = (
        activations.run(side(direction)) for side in (background_prompt, other_prompt)
    )
    at_once = engine.rows_per_batch(differentiate=True)
    scores, slopes = [], []
    for start in range(0, len(examples), at_once):
        example = torch.as_tensor(examples[start : start + at_once], device=model.device)
        layer, pair = example // n_pairs, example % n_pairs

        def metric(z: Tensor, layer: Tensor, pair: Tensor) -> Tensor:
            order = torch.argsort(layer, stable=True)
            output = engine.evaluate(
                Rows(
                    pair[order],
                    tuple(layer[order].tolist()),
                    _attention_shift(engine, z[order], layer[order], pair[order], direction),
                ),
                direction,
            )
            return output[torch.argsort(order)]

        end, begin = other.z[layer, pair], background.z[layer, pair]
        explainer = IntegratedGradients(metric, multiply_by_inputs=True)
        explainer.gradient_func, seen = _keeping(
            explainer.gradient_func, end - begin, model.n_heads
        )
        with warnings.catch_warnings():
            # Captum warns when a batch cannot hold one step of every example; ours always does.
            warnings.filterwarnings("ignore", message="Internal batch size")
            attributions = explainer.attribute(
                end,
                baselines=begin,
                additional_forward_args=(layer, pair),
                n_steps=steps,
                method="gausslegendre",
                internal_batch_size=at_once,
            )
        by_head = attributions.unflatten(-1, (model.n_heads, -1)).sum((1, 3))
        scores.append(by_head.detach().double().cpu().numpy())
        slopes.append(torch.cat(seen).permute(1, 2, 0).double().cpu().numpy())
    return np.concatenate(scores), np.concatenate(slopes)


def _keeping(
    gradients_of: Callable[..., tuple[Tensor, ...]],
    apart: Float[Tensor, "example suffix z"],
    n_heads: int,
) -> tuple[Callable[..., tuple[Tensor, ...]], list[Float[Tensor, "step example head"]]]:
    """Captum's function of gradients, and what it keeps: each head's slope at the steps asked for.

    Captum asks for some steps of all examples at a time, the examples of each step together.
    """
    seen: list[Tensor] = []

    def kept(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        gradients = gradients_of(*args, **kwargs)
        terms = gradients[0].unflatten(0, (-1, len(apart))) * apart
        seen.append(terms.unflatten(-1, (n_heads, -1)).sum((2, 4)))
        return gradients

    return kept, seen


def _attention_shift(
    engine: SuffixEngine, z: Tensor, layer: Tensor, pair: Tensor, direction: Direction
) -> Float[Tensor, "row suffix d_model"]:
    """How far the attention's output at ``z`` is from the background's; rows are in layer order."""
    run = engine.activations.run(background_prompt(direction))
    counts = torch.bincount(layer, minlength=engine.model.n_layers).tolist()
    parts = [
        engine.model.output_projection(number)(packed(engine.model, number, part))
        for number, part in enumerate(torch.split(z, counts))
        if len(part)
    ]
    return torch.cat(parts) - run.attention[layer, pair]
