"""Output curves f(α), their gradients g(α) = df/dα, and what is measured on them.

f(α) is the metric of the background run with the component's output at
``r_bg + α (r_other − r_bg)``, at every position, with everything downstream computed anew; α = 0
leaves the background run as it is and α = 1 is the activation patch.

Two ways of taking the curve:

- ``adaptive`` evaluates f and, by reverse-mode differentiation, g at nested Clenshaw-Curtis nodes.
Both
  together fix a Hermite interpolant of twice the degree, so that three nodes resolve most heads. A
  curve is refined until the last coefficients of f and of g are within tolerance, *and* the
  integral of g alone equals f(1) − f(0) within tolerance: two checks that fail in different ways.
- ``gauss-legendre-50`` evaluates both at the 50 Gauss-Legendre nodes of the original notebook.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint import quadrature
from counterpoint.activations import (
    Component,
    Direction,
    Units,
    background_prompt,
    differences,
    layers_with,
)
from counterpoint.errors import UserError
from counterpoint.suffix import Rows, SuffixEngine

Array = np.ndarray
Advance = Callable[[int], object]

GRID_SIZE = 50
"""Gauss-Legendre nodes on which curves are reported, as in the original notebook."""

FIRST_LEVEL = 3
HERMITE_UP_TO = 9
"""The most nodes for which g is read from the Hermite interpolant.

Its derivative multiplies the rounding of f by at most 7, 23 and 87 at 3, 5 and 9 nodes, but by more
than 300 at 17; from there on g is interpolated from its own exact values."""

TAIL_FACTOR = 3.0
"""Error of an interpolant over the size of its last two coefficients, at most: on SmolLM2 the
largest ratio seen among 270 heads was 2.9."""

ROUNDING_FACTOR = 8.0
"""Rounding of f over the dtype's epsilon times the size of the answers' logits.

On SmolLM2 in float32 (logits near 20, epsilon 1.2e-7) engine and plain reference differ by at most
1.9e-5. No tolerance below this floor can be reached, and none is asked of a curve."""

SLOPE_TOLERANCE = 1e-3
"""Tolerance of g, absolute and relative to its largest value."""

LEAST_SQUARES_DEGREE = 32
"""Degree of the series fitted to 50 fixed nodes; higher coefficients are rounding."""

SATURATION_SHARE = 0.05
"""|g| below this share of its maximum counts as saturated."""

_DENSE = quadrature.clenshaw_curtis(1025)
_CELLS = (np.arange(2000) + 0.5) / 2000


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
    """Integrated gradients on the own path: the quadrature of g alone. Equals ``ap``."""
    output_range: Float[Array, " unit"]
    """max f − min f over the 50 nodes."""
    output_range_closed: Float[Array, " unit"]
    """max f − min f over [0, 1]."""
    gradient_range: Float[Array, " unit"]
    """max g − min g over the 50 nodes."""
    gradient_range_closed: Float[Array, " unit"]
    total_variation: Float[Array, " unit"]
    """∫ |g| dα."""
    monotonicity: Float[Array, " unit"]
    """|AP| / total variation, in [0, 1]; 1 for a constant curve."""
    excess_range: Float[Array, " unit"]
    """Output range on [0, 1] − |AP|."""
    saturation: Float[Array, " unit"]
    """Share of [0, 1], to 1/2000, where |g| is below 5 % of its maximum; 1 for a constant curve."""
    quadrature_error: Float[Array, " unit"]
    """Estimated largest error of f: of the interpolant between the nodes, and of rounding."""
    gradient_error: Float[Array, " unit"]
    """Estimated largest error of g, likewise."""
    nodes: Float[Array, " unit"]
    """Points of the path at which f and g were evaluated."""

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
        "nodes",
    )

    def measures(self) -> dict[str, Float[Array, " unit"]]:
        """Everything but the curves themselves, by column name."""
        return {name: getattr(self, name) for name in self.MEASURES}


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
    per_unit = alphas.shape[1]
    flat = torch.tensor(alphas.reshape(-1), device=engine.model.device, dtype=engine.model.dtype)

    def both(chosen: slice) -> Tensor:
        row_units, delta, shift = _shifts(engine, direction, units, flat, per_unit, chosen)
        with torch.enable_grad():
            shift.requires_grad_()
            rows = Rows(row_units.pair, tuple(row_units.layer.tolist()), shift)
            output = engine.evaluate(rows, direction, component)
            (gradient,) = torch.autograd.grad(output.sum(), shift)
        slope = (gradient * delta).sum((1, 2))
        return torch.stack([output.detach(), slope], dim=1)

    found = engine.in_batches(len(flat), both, differentiate=True, advance=advance)
    output, slope = found.double().cpu().numpy().T
    return output.reshape(alphas.shape), slope.reshape(alphas.shape)


@torch.no_grad()
def values(
    engine: SuffixEngine,
    direction: Direction,
    component: Component,
    units: Units,
    alphas: Float[Array, "unit alpha"],
    *,
    advance: Advance | None = None,
) -> Float[Array, "unit alpha"]:
    """f of each unit at its own ``alphas``."""
    per_unit = alphas.shape[1]
    flat = torch.tensor(alphas.reshape(-1), device=engine.model.device, dtype=engine.model.dtype)

    def one(chosen: slice) -> Tensor:
        row_units, _, shift = _shifts(engine, direction, units, flat, per_unit, chosen)
        rows = Rows(row_units.pair, tuple(row_units.layer.tolist()), shift)
        return engine.evaluate(rows, direction, component)

    found = engine.in_batches(len(flat), one, advance=advance)
    return found.double().cpu().numpy().reshape(alphas.shape)


def _shifts(
    engine: SuffixEngine,
    direction: Direction,
    units: Units,
    flat: Tensor,
    per_unit: int,
    chosen: slice,
) -> tuple[Units, Tensor, Tensor]:
    """Units, Δ and α Δ of the rows ``chosen``, where each unit has ``per_unit`` rows in a run."""
    first, last = chosen.start // per_unit, (chosen.stop - 1) // per_unit
    few = units[slice(first, last + 1)]
    of_row = torch.arange(chosen.start, chosen.stop, device=flat.device) // per_unit - first
    delta = differences(engine.model, engine.activations, direction, few)[of_row]
    return few[of_row], delta, flat[chosen].view(-1, 1, 1) * delta


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
    gradients = background_gradients(engine, direction, component)
    found = []
    for start in range(0, len(units), _UNITS_AT_ONCE):
        few = units[slice(start, start + _UNITS_AT_ONCE)]
        delta = differences(engine.model, engine.activations, direction, few)
        found.append((gradients[few.layer, few.pair] * delta).sum((1, 2)))
    return torch.cat(found).double().cpu().numpy()


_UNITS_AT_ONCE = 512


def output_curves(
    engine: SuffixEngine,
    direction: Direction,
    units: Units,
    *,
    component: Component = "head",
    nodes: str = "adaptive",
    tolerance: float = 1e-4,
    max_nodes: int = 65,
    advance: Advance | None = None,
) -> OutputCurves:
    """Output curves of ``units`` with every measure.

    ``nodes`` is `adaptive` or `gauss-legendre-50`; ``tolerance`` is the error of f allowed, in
    metric units. ``advance`` is told of evaluations as they are made. Raises UserError for other
    settings.
    """
    if nodes == "adaptive":
        check_max_nodes(max_nodes)
        return _adaptive(engine, direction, units, component, tolerance, max_nodes, advance)
    if nodes == f"gauss-legendre-{GRID_SIZE}":
        return _fixed(engine, direction, units, component, advance)
    raise UserError(
        f"curves: nodes: {nodes!r} is unknown; expected adaptive or gauss-legendre-{GRID_SIZE}."
    )


def check_max_nodes(max_nodes: int) -> None:
    """Raise UserError unless ``max_nodes`` is one of the nested levels 3, 5, 9, 17, …"""
    if max_nodes < FIRST_LEVEL or (max_nodes - 1) & (max_nodes - 2):
        raise UserError(
            f"curves: max_nodes: {max_nodes} is no nested level; expected 3, 5, 9, 17, 33 or 65."
        )


def _adaptive(
    engine: SuffixEngine,
    direction: Direction,
    units: Units,
    component: Component,
    tolerance: float,
    max_nodes: int,
    advance: Advance | None,
) -> OutputCurves:
    start = engine.unpatched(background_prompt(direction)).double().cpu().numpy()
    rounding = rounding_floor(engine, direction)
    pair = units.pair.cpu().numpy()
    count = FIRST_LEVEL
    inner = np.broadcast_to(quadrature.clenshaw_curtis(count)[1:], (len(units), count - 1))
    output, slope = values_and_slopes(engine, direction, component, units, inner, advance=advance)
    output = np.concatenate([start[pair][:, None], output], axis=1)
    atp = attribution_patching(engine, direction, component, units)
    slope = np.concatenate([atp[:, None], slope], axis=1)

    collected = _Collected(len(units))
    active = np.arange(len(units))
    while True:
        level = quadrature.clenshaw_curtis(count)
        resolved = _resolve(level, output, slope, rounding)
        done = resolved.within(tolerance) | (2 * count - 1 > max_nodes)
        collected.add(active[done], resolved.curves(done))
        if done.all():
            return collected.whole()
        active, output, slope = active[~done], output[~done], slope[~done]
        count = 2 * count - 1
        added = np.broadcast_to(
            quadrature.clenshaw_curtis(count)[1::2], (len(active), (count - 1) // 2)
        )
        chosen = units[torch.as_tensor(active, device=units.pair.device)]
        new = values_and_slopes(engine, direction, component, chosen, added, advance=advance)
        output, slope = _interleave(output, new[0]), _interleave(slope, new[1])


@torch.no_grad()
def rounding_floor(engine: SuffixEngine, direction: Direction) -> float:
    """How far rounding alone may move f, in metric units; see `ROUNDING_FACTOR`."""
    final = engine.activations.run(background_prompt(direction)).final
    logits = engine.logits(final, engine.metric.vocabulary)
    return ROUNDING_FACTOR * torch.finfo(logits.dtype).eps * float(logits.abs().max())


def _interleave(old: Array, new: Array) -> Array:
    both = np.empty((len(old), old.shape[1] + new.shape[1]))
    both[:, ::2], both[:, 1::2] = old, new
    return both


def _fixed(
    engine: SuffixEngine,
    direction: Direction,
    units: Units,
    component: Component,
    advance: Advance | None,
) -> OutputCurves:
    grid, weights = quadrature.gauss_legendre(GRID_SIZE)
    alphas = np.broadcast_to(np.append(grid, 1.0), (len(units), GRID_SIZE + 1))
    output, slope = values_and_slopes(engine, direction, component, units, alphas, advance=advance)
    start = engine.unpatched(background_prompt(direction)).double().cpu().numpy()
    atp = attribution_patching(engine, direction, component, units)
    ends = np.concatenate([[0.0], grid, [1.0]])
    output = np.concatenate([start[units.pair.cpu().numpy()][:, None], output], axis=1)
    slope = np.concatenate([atp[:, None], slope], axis=1)
    resolved = _Resolved(
        ends,
        output,
        slope,
        quadrature.least_squares(ends, output, LEAST_SQUARES_DEGREE),
        quadrature.least_squares(ends, slope, LEAST_SQUARES_DEGREE),
        own=slope[:, 1:-1] @ weights,
        rounding=rounding_floor(engine, direction),
    )
    every = np.ones(len(units), dtype=bool)
    curves = resolved.curves(every)
    exact = {"output": output[:, 1:-1], "gradient": slope[:, 1:-1]}
    exact |= {
        "output_range": np.ptp(exact["output"], axis=1),
        "gradient_range": np.ptp(exact["gradient"], axis=1),
    }
    return OutputCurves(
        **{
            field.name: exact.get(field.name, getattr(curves, field.name))
            for field in fields(curves)
        }
    )


@dataclass(frozen=True, eq=False)
class _Resolved:
    """Curves at one level of nodes, as Chebyshev series of f and of g."""

    level: Float[Array, " node"]
    output: Float[Array, "unit node"]
    slope: Float[Array, "unit node"]
    f: Float[Array, "unit coefficient"]
    g: Float[Array, "unit coefficient_"]
    own: Float[Array, " unit"]
    rounding: float

    @property
    def ap(self) -> Float[Array, " unit"]:
        return self.output[:, -1] - self.output[:, 0]

    def output_error(self) -> Float[Array, " unit"]:
        return TAIL_FACTOR * quadrature.tail(self.f) + self.rounding

    def slope_error(self) -> Float[Array, " unit"]:
        return TAIL_FACTOR * quadrature.tail(self.g) + self.rounding

    def within(self, tolerance: float) -> Array:
        """Which curves are resolved; see the module's docstring for the two checks."""
        # A curve at the floor needs no refinement: more nodes would only resolve rounding.
        tolerance = max(tolerance, 2 * self.rounding)
        allowed = max(SLOPE_TOLERANCE, 2 * self.rounding) * (1 + np.abs(self.slope).max(1))
        return (
            (self.output_error() <= tolerance)
            & (self.slope_error() <= allowed)
            & (np.abs(self.own - self.ap) <= tolerance / 2)
        )

    def curves(self, chosen: Array) -> OutputCurves:
        f, g, ap = self.f[chosen], self.g[chosen], self.ap[chosen]
        grid, _ = quadrature.gauss_legendre(GRID_SIZE)
        output, gradient = quadrature.evaluate(f, grid), quadrature.evaluate(g, grid)
        dense = quadrature.evaluate(f, _DENSE)
        dense[:, [0, -1]] = self.output[chosen][:, [0, -1]]
        # A sum of many steps rounds; neither may fall below the way from end to end.
        total_variation = np.maximum(np.abs(np.diff(dense, axis=1)).sum(1), np.abs(ap))
        closed = np.maximum(_range(dense), np.abs(ap))
        cells = np.abs(quadrature.evaluate(g, _CELLS))
        constant = total_variation == 0
        return OutputCurves(
            output=output,
            gradient=gradient,
            ap=ap,
            atp=self.slope[chosen][:, 0],
            ig_own=self.own[chosen],
            output_range=np.ptp(output, axis=1),
            output_range_closed=closed,
            gradient_range=np.ptp(gradient, axis=1),
            gradient_range_closed=_range(quadrature.evaluate(g, _DENSE)),
            total_variation=total_variation,
            monotonicity=np.where(
                constant, 1.0, np.abs(ap) / np.where(constant, 1.0, total_variation)
            ),
            excess_range=closed - np.abs(ap),
            saturation=np.where(
                constant,
                1.0,
                (cells < SATURATION_SHARE * cells.max(1, keepdims=True)).mean(1),
            ),
            quadrature_error=self.output_error()[chosen],
            gradient_error=self.slope_error()[chosen],
            nodes=np.full(len(ap), len(self.level)),
        )


def _resolve(level: Array, output: Array, slope: Array, rounding: float) -> _Resolved:
    own = quadrature.integral(quadrature.interpolate(level, slope))
    f = quadrature.interpolate_with_slopes(level, output, slope)
    if len(level) <= HERMITE_UP_TO:
        g = quadrature.derivative(f)
    else:
        f, g = quadrature.interpolate(level, output), quadrature.interpolate(level, slope)
    return _Resolved(level, output, slope, f, g, own, rounding)


def _range(dense: Float[Array, "unit point"]) -> Float[Array, " unit"]:
    """max − min of smooth curves sampled at `_DENSE`, each extremum at the vertex of a parabola.

    The samples are equally spaced in the angle, where the parabola is fitted; the error is of third
    order in the spacing.
    """
    return _peak(dense) + _peak(-dense)


def _peak(dense: Float[Array, "unit point"]) -> Float[Array, " unit"]:
    row = np.arange(len(dense))
    place = dense.argmax(1)
    # Reflect at the ends: in the angle, the curve goes on symmetrically.
    last = dense.shape[1] - 1
    left, right = np.abs(place - 1), last - np.abs(last - place - 1)
    before, top, after = dense[row, left], dense[row, place], dense[row, right]
    bend = before - 2 * top + after
    flat = bend == 0
    return top - np.where(flat, 0.0, (after - before) ** 2 / (8 * np.where(flat, 1.0, bend)))


class _Collected:
    """Curves that were finished level by level, put back in the order of the units."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._arrays: dict[str, Array] = {}

    def add(self, places: Array, curves: OutputCurves) -> None:
        for field in fields(curves):
            part = getattr(curves, field.name)
            whole = self._arrays.setdefault(
                field.name, np.empty((self._count, *part.shape[1:]), dtype=part.dtype)
            )
            whole[places] = part

    def whole(self) -> OutputCurves:
        return OutputCurves(**self._arrays)
