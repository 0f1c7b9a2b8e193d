"""Output curves and joint paths that may jump: those of mixtures of experts, and any other.

`curve_tracing` takes a curve apart; here the engine answers what it asks for, and what is
measured on a curve is taken from its pieces and jumps. Own path: the integral of g over the pieces
plus the sum of the jumps equals AP. Joint path of a layer: the heads' scores plus the sum of the
jumps equal the effect of patching the layer, so that what is known as the convergence delta of IG
is, where it does not vanish, the sum of the jumps with the other sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine import expert_routing
from counterpoint.engine.activations import Component, Direction, background_prompt, other_prompt
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import Units, differences
from counterpoint.engine.kinks import has_kinks
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import quadrature
from counterpoint.measures.curve_measures import (
    GRID_SIZE,
    OutputCurves,
    collected,
    monotonicity,
    peaks,
)
from counterpoint.measures.curve_tracing import Evaluate, trace
from counterpoint.measures.piecewise_curves import (
    Curve,
    Points,
    Settings,
    is_jump,
    slope_at,
    value_at,
)
from counterpoint.measures.saturation import CELLS, saturation
from counterpoint.measures.slopes import (
    Advance,
    evaluated,
    product,
    rounding_floor,
    values,
    values_slopes_and_scales,
)

Array = np.ndarray

FINEST = 2.0**-20
"""A jump is a place when it is known this well."""

BUDGET = 8
"""A curve may have this many times ``max_nodes`` points."""

MEMORY = 256 * 2**20
"""Bytes of choices and margins that are kept at once."""

_DENSE = quadrature.clenshaw_curtis(129)


def own_paths(
    engine: SuffixEngine,
    direction: Direction,
    units: Units,
    component: Component,
    tolerance: float,
    max_nodes: int,
    advance: Advance | None = None,
) -> OutputCurves:
    """Output curves of ``units``, in pieces, with every measure."""
    settings = settings_for(engine, direction, tolerance, max_nodes)
    pair = units.pair.cpu().numpy()

    def evaluate_of(first: int) -> Evaluate:
        def evaluate(curve: Array, alphas: Array, sloped: bool) -> Points:
            order = np.argsort(curve, kind="stable")
            where = torch.as_tensor(first + curve[order], device=units.pair.device)
            given = engine, direction, component, units[where], alphas[order, None]
            keep = _Kept(engine)
            if sloped:
                f, g, scale = values_slopes_and_scales(
                    *given, advance=advance, chosen_by=keep.asked
                )
            else:
                f = values(*given, advance=advance, chosen_by=keep.asked)
                g, scale = np.full_like(f, np.nan), np.zeros_like(f)
            found = Points(f[:, 0], g, scale[:, 0], *keep.both(len(order)))
            return found[np.argsort(order, kind="stable")]

        return evaluate

    parts = []
    for first, count in _in_chunks(engine, len(units), settings[0].budget):
        own = [settings[place] for place in pair[first : first + count]]
        curves = trace(count, evaluate_of(first), own)
        parts.append((np.arange(first, first + count), _measured(curves)))
    return collected(len(units), parts)


def joint_paths(
    engine: SuffixEngine,
    direction: Direction,
    examples: Int[Array, " example"],
    tolerance: float,
    max_nodes: int,
) -> list[Curve]:
    """The joint path of each example (layer × pairs + pair): its channels are the heads."""
    settings = settings_for(engine, direction, tolerance, max_nodes)
    n_pairs, n_heads = len(engine.activations.pairs), engine.model.n_heads

    def evaluate_of(first: int) -> Evaluate:
        def evaluate(curve: Array, alphas: Array, sloped: bool) -> Points:
            example = examples[first + curve]
            order = np.lexsort((curve, example // n_pairs))
            keep = _Kept(engine)
            f, g, scale = _joint(engine, direction, example[order], alphas[order], sloped, keep)
            if not sloped:
                g = np.full((len(f), n_heads), np.nan)
            found = Points(f, g, scale, *keep.both(len(order)))
            return found[np.argsort(order, kind="stable")]

        return evaluate

    curves: list[Curve] = []
    for first, count in _in_chunks(engine, len(examples), settings[0].budget):
        own = [settings[place] for place in examples[first : first + count] % n_pairs]
        curves += trace(count, evaluate_of(first), own)
    return curves


def settings_for(
    engine: SuffixEngine, direction: Direction, tolerance: float, max_nodes: int
) -> list[Settings]:
    """How well pieces and places of each pair are to be known, by the computed format."""
    floor = rounding_floor(engine, direction)
    return [
        Settings(
            tolerance=tolerance,
            floor=replace(floor, output=float(output)),
            resolution=max(FINEST, 4 * floor.eps),
            budget=BUDGET * max_nodes,
            kinks=has_kinks(engine.model),
        )
        for output in np.asarray(floor.output)
    ]


class _Kept:
    """What the rows of one request chose, batch after batch; nothing for a dense model."""

    def __init__(self, engine: SuffixEngine) -> None:
        self._batches: list[expert_routing.Choices] = []
        routed = expert_routing.choices_per_block(engine.model) > 0
        self.asked = self._batches.append if routed else None

    def both(self, count: int) -> tuple[Int[Array, "row place"], Float[Array, "row place"]]:
        if not self._batches:
            return np.zeros((count, 0), dtype=np.int64), np.zeros((count, 0), dtype=np.float32)
        chosen, margin = (
            torch.cat([getattr(batch, name) for batch in self._batches]).cpu().numpy()
            for name in ("chosen", "margin")
        )
        return chosen, margin


def _in_chunks(engine: SuffixEngine, count: int, budget: int) -> Iterator[tuple[int, int]]:
    """So many curves at once that what they chose can be kept."""
    model = engine.model
    places = model.n_layers * expert_routing.choices_per_block(model) * engine.suffix_length
    at_once = max(64, MEMORY // max(1, 12 * places * budget))
    for first in range(0, count, at_once):
        yield first, min(at_once, count - first)


def _joint(
    engine: SuffixEngine,
    direction: Direction,
    examples: Int[Array, " row"],
    alphas: Float[Array, " row"],
    sloped: bool,
    keep: _Kept,
) -> tuple[Float[Array, " row"], Float[Array, "row head"], Float[Array, " row"]]:
    """f, g of each head, and the scale of their sum, where all heads of a layer are at α."""
    model, activations = engine.model, engine.activations
    n_pairs, n_heads = len(activations.pairs), model.n_heads
    other = activations.run(other_prompt(direction)).attention
    background = activations.run(background_prompt(direction)).attention
    place = torch.as_tensor(examples, device=model.device)
    layer, pair = place // n_pairs, place % n_pairs
    dtype = torch.promote_types(model.dtype, torch.float32)
    at = torch.tensor(alphas, device=model.device, dtype=dtype)

    def measured(rows: slice) -> Tensor:
        where = layer[rows], pair[rows]
        whole = other[where] - background[where]
        with torch.set_grad_enabled(sloped):
            shift = (at[rows].view(-1, 1, 1) * whole).to(whole.dtype)
            shift.requires_grad_(sloped)
            joined = Rows(pair[rows], tuple(layer[rows].tolist()), shift)
            output = evaluated(engine, joined, direction, "head", keep.asked)
            if not sloped:
                return output.to(dtype)[:, None]
            (gradient,) = torch.autograd.grad(output.sum(), shift)
        count = rows.stop - rows.start
        heads = torch.arange(n_heads, device=model.device).repeat(count)
        units = Units(
            pair[rows].repeat_interleave(n_heads), layer[rows].repeat_interleave(n_heads), heads
        )
        delta = differences(model, activations, direction, units)
        slopes, scales = product(gradient.repeat_interleave(n_heads, 0), delta)
        columns = [output.detach().to(dtype)[:, None], slopes.view(count, n_heads)]
        return torch.cat([*columns, scales.view(count, n_heads).sum(1, keepdim=True)], dim=1)

    found = engine.in_batches(len(place), measured, differentiate=sloped)
    table = found.double().cpu().numpy()
    if not sloped:
        return table[:, 0], table[:, :0], np.zeros(len(table))
    return table[:, 0], table[:, 1:-1], table[:, -1]


def _measured(curves: list[Curve]) -> OutputCurves:
    """Every measure of curves in pieces."""
    grid, _ = quadrature.gauss_legendre(GRID_SIZE)
    output = np.array([value_at(curve, grid) for curve in curves])
    gradient = np.array([slope_at(curve, grid) for curve in curves])
    cells = np.abs([slope_at(curve, CELLS) for curve in curves])
    ends = np.array([value_at(curve, np.array([0.0, 1.0])) for curve in curves])
    extent = np.array([_extent(curve) for curve in curves])
    ap = ends[:, 1] - ends[:, 0]
    total_variation = np.maximum(extent[:, 0], np.abs(ap))
    closed = np.maximum(extent[:, 1], np.abs(ap))
    return OutputCurves(
        output=output,
        gradient=gradient,
        ap=ap,
        atp=np.array([slope_at(curve, np.zeros(1))[0] for curve in curves]),
        ig_own=np.array([curve.own.sum() for curve in curves]),
        output_range=np.ptp(output, axis=1),
        output_range_closed=closed,
        gradient_range=np.ptp(gradient, axis=1),
        gradient_range_closed=extent[:, 2],
        total_variation=total_variation,
        monotonicity=monotonicity(ap, total_variation),
        excess_range=closed - np.abs(ap),
        saturation=saturation(cells, total_variation),
        quadrature_error=np.array([curve.error for curve in curves]),
        gradient_error=np.array([curve.slope_error for curve in curves]),
        rounding=np.array([curve.rounding for curve in curves]),
        nodes=np.array([curve.evaluations for curve in curves]),
        resolved=np.array([curve.resolved for curve in curves]),
        jumps=np.array([is_jump(curve).sum() for curve in curves], dtype=float),
        jump_total=np.array([curve.jumps.sum() for curve in curves]),
    )


def _extent(curve: Curve) -> tuple[float, float, float]:
    """Total variation, range of f and range of g of one curve, both sides of its jumps included."""
    f = np.array([quadrature.evaluate(piece.f[None], _DENSE)[0] for piece in curve.pieces])
    g = np.array([quadrature.evaluate(piece.g[None], _DENSE)[0] for piece in curve.pieces])
    variation = np.abs(np.diff(f, axis=1)).sum() + np.abs(f[1:, 0] - f[:-1, -1]).sum()
    return float(variation), _range(f), _range(g)


def _range(dense: Float[Array, "piece point"]) -> float:
    """max − min over pieces, each extremum at the vertex of a parabola."""
    return float(peaks(dense).max() + peaks(-dense).max())
