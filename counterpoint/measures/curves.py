"""Output curves f(α), their gradients g(α) = df/dα, and what is measured on them.

f(α) is the metric of the background run with the component's output at
``r_bg + α (r_other − r_bg)``, at every position, with everything downstream computed anew; α = 0
leaves the background run as it is and α = 1 is the activation patch.

Two ways of taking the curve:

- ``adaptive`` evaluates f and, by reverse-mode differentiation, g at nested Clenshaw-Curtis nodes.
  Both together fix a Hermite interpolant of twice the degree, so that the two ends resolve most
  heads and f alone at α = ½ most others. A curve is refined until the last coefficients of f and of
  g are within tolerance, *and* the integral of g alone equals f(1) − f(0) within tolerance: two
  checks that fail in different ways. Of the quartic through f(½) the former is made of a value that
  no slope foretold, and there is no latter.
- ``gauss-legendre-50`` evaluates both at the 50 Gauss-Legendre nodes of the original notebook.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from counterpoint.engine.activations import Component, Direction, background_prompt
from counterpoint.engine.expert_routing import choices_per_block
from counterpoint.engine.head_outputs import Units
from counterpoint.engine.kinks import has_kinks
from counterpoint.engine.rounding import Floor
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures import jumps, quadrature
from counterpoint.measures.curve_measures import (
    GRID_SIZE,
    OutputCurves,
    collected,
    monotonicity,
    range_of,
)
from counterpoint.measures.curve_tracing import LAST_LEVEL
from counterpoint.measures.interpolation_errors import (
    HERMITE_AMPLIFIES,
    HERMITE_UP_TO,
    SLOPE_TOLERANCE,
    last_terms,
    slow_decay,
)
from counterpoint.measures.saturation import CELLS, saturation
from counterpoint.measures.slopes import (
    Advance,
    rounding_floor,
    slopes_at_start,
    values,
    values_slopes_and_scales,
)

Array = np.ndarray

ENDS = 2
"""Nodes at which every curve is taken first: α = 0, which all heads of a layer share, and 1."""

FEWEST_NODES = 3
"""The least that `max_nodes` may be, one refinement beyond the ends."""

LEAST_SQUARES_DEGREE = 32
"""Degree of the series fitted to 50 fixed nodes; higher coefficients are rounding."""

_DENSE = quadrature.clenshaw_curtis(1025)


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
    check_max_nodes(max_nodes)
    if nodes == "adaptive":
        if choices_per_block(engine.model) or has_kinks(engine.model):
            return jumps.own_paths(
                engine, direction, units, component, tolerance, max_nodes, advance
            )
        return _adaptive(engine, direction, units, component, tolerance, max_nodes, advance)
    if nodes == f"gauss-legendre-{GRID_SIZE}":
        return _fixed(engine, direction, units, component, tolerance, max_nodes, advance)
    raise UserError(
        f"curves: nodes: {nodes!r} is unknown; expected adaptive or gauss-legendre-{GRID_SIZE}."
    )


def check_max_nodes(max_nodes: int) -> None:
    """Raise UserError unless ``max_nodes`` is one of the nested levels 3, 5, 9, 17, …"""
    if max_nodes < FEWEST_NODES or (max_nodes - 1) & (max_nodes - 2):
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
    ends = quadrature.clenshaw_curtis(ENDS)
    start = engine.unpatched(background_prompt(direction)).double().cpu().numpy()
    pair = units.pair.cpu().numpy()

    def asked(taken: _Taken) -> Units:
        return units[torch.as_tensor(taken.unit, device=units.pair.device)]

    def both(taken: _Taken, alphas: Array) -> tuple[Array, Array, Array]:
        wanted = np.broadcast_to(alphas, (len(taken.unit), len(alphas)))
        return values_slopes_and_scales(
            engine, direction, component, asked(taken), wanted, advance=advance
        )

    parts: list[tuple[Array, OutputCurves]] = []

    def unresolved(taken: _Taken, slope_nodes: Array | None = None) -> _Taken:
        """Note which curves are within tolerance, and give those that are not."""
        resolved = taken.resolve(slope_nodes)
        within = resolved.within(tolerance)
        parts.append((taken.unit[within], resolved.curves(within, tolerance)))
        return taken.only(~within)

    atp, at_start = slopes_at_start(engine, direction, component, units)
    floor = rounding_floor(engine, direction)[pair]
    taken = _Taken(np.arange(len(units)), start[pair][:, None], atp[:, None], floor, at_start)
    taken = unresolved(taken.appended(*both(taken, ends[1:])))
    if len(taken.unit):
        half = np.full((len(taken.unit), 1), 0.5)
        middle = values(engine, direction, component, asked(taken), half, advance=advance)
        between = replace(taken, output=_interleave(taken.output, middle))
        left = unresolved(between, ends)
        taken = taken.only(np.isin(taken.unit, left.unit))
    count = 2 * ENDS - 1
    while len(taken.unit):
        taken = unresolved(taken.interleaved(*both(taken, quadrature.clenshaw_curtis(count)[1::2])))
        count = 2 * count - 1
        if count > max_nodes:
            break
    if len(taken.unit):
        # What no number of nodes resolves has a jump or a kink: take it apart.
        if max_nodes > LAST_LEVEL:
            found = jumps.own_paths(
                engine, direction, asked(taken), component, tolerance, max_nodes, advance
            )
            found = replace(found, nodes=found.nodes + taken.output.shape[1])
        else:
            found = taken.resolve().curves(np.ones(len(taken.unit), dtype=bool), tolerance)
        parts.append((taken.unit, found))
    return collected(len(units), parts)


def _interleave(old: Array, new: Array) -> Array:
    both = np.empty((len(old), old.shape[1] + new.shape[1]))
    both[:, ::2], both[:, 1::2] = old, new
    return both


def _fixed(
    engine: SuffixEngine,
    direction: Direction,
    units: Units,
    component: Component,
    tolerance: float,
    max_nodes: int,
    advance: Advance | None,
) -> OutputCurves:
    grid, weights = quadrature.gauss_legendre(GRID_SIZE)
    alphas = np.broadcast_to(np.append(grid, 1.0), (len(units), GRID_SIZE + 1))
    output, slope, scales = values_slopes_and_scales(
        engine, direction, component, units, alphas, advance=advance
    )
    if choices_per_block(engine.model):
        curves = jumps.own_paths(engine, direction, units, component, tolerance, max_nodes, advance)
        curves = replace(curves, nodes=curves.nodes + GRID_SIZE)
    else:
        start = engine.unpatched(background_prompt(direction)).double().cpu().numpy()
        atp, at_start = slopes_at_start(engine, direction, component, units)
        ends = np.concatenate([[0.0], grid, [1.0]])
        f = np.concatenate([start[units.pair.cpu().numpy()][:, None], output], axis=1)
        g = np.concatenate([atp[:, None], slope], axis=1)
        resolved = _Resolved(
            ends,
            f,
            g,
            quadrature.least_squares(ends, f, LEAST_SQUARES_DEGREE),
            quadrature.least_squares(ends, g, LEAST_SQUARES_DEGREE),
            own=g[:, 1:-1] @ weights,
            floor=rounding_floor(engine, direction)[units.pair.cpu().numpy()],
            scale=np.maximum(scales.max(1), at_start),
        )
        curves = resolved.curves(np.ones(len(units), dtype=bool), tolerance)
    output, slope = output[:, :-1], slope[:, :-1]
    return replace(
        curves,
        output=output,
        gradient=slope,
        output_range=np.ptp(output, axis=1),
        gradient_range=np.ptp(slope, axis=1),
    )


@dataclass(frozen=True, eq=False)
class _Taken:
    """What has been taken of some of the units: f and g at the nodes of a level."""

    unit: Int[Array, " taken"]
    """Their places among all units."""
    output: Float[Array, "taken node"]
    slope: Float[Array, "taken node"]
    floor: Floor
    scale: Float[Array, " taken"]
    """The largest scale of g seen on each path."""

    def only(self, chosen: Bool[Array, " taken"]) -> _Taken:
        return _Taken(
            self.unit[chosen],
            self.output[chosen],
            self.slope[chosen],
            self.floor[chosen],
            self.scale[chosen],
        )

    def appended(self, output: Array, slope: Array, scales: Array) -> _Taken:
        """The same with nodes after those there are."""
        return replace(
            self,
            output=np.concatenate([self.output, output], axis=1),
            slope=np.concatenate([self.slope, slope], axis=1),
            scale=np.maximum(self.scale, scales.max(1)),
        )

    def interleaved(self, output: Array, slope: Array, scales: Array) -> _Taken:
        """The same with a node between each two: the next level."""
        return replace(
            self,
            output=_interleave(self.output, output),
            slope=_interleave(self.slope, slope),
            scale=np.maximum(self.scale, scales.max(1)),
        )

    def resolve(self, slope_nodes: Float[Array, " slope_node"] | None = None) -> _Resolved:
        """Polynomials through f at the nodes of the level and g there, or at ``slope_nodes``."""
        level = quadrature.clenshaw_curtis(self.output.shape[1])
        output, slope = self.output, self.slope
        f = quadrature.interpolate_with_slopes(level, output, slope, slope_nodes)
        g = quadrature.derivative(f)
        if slope_nodes is not None:
            own = quadrature.integral(g)
        else:
            own = quadrature.integral(quadrature.interpolate(level, slope))
            if len(level) > HERMITE_UP_TO:
                f, g = quadrature.interpolate(level, output), quadrature.interpolate(level, slope)
        return _Resolved(level, output, slope, f, g, own, self.floor, self.scale)


@dataclass(frozen=True, eq=False)
class _Resolved:
    """Curves at one level of nodes, as Chebyshev series of f and of g."""

    level: Float[Array, " node"]
    output: Float[Array, "unit node"]
    slope: Float[Array, "unit slope_node"]
    f: Float[Array, "unit coefficient"]
    g: Float[Array, "unit coefficient_"]
    own: Float[Array, " unit"]
    floor: Floor
    scale: Float[Array, " unit"]
    """The largest scale of g seen on each path."""

    @property
    def ap(self) -> Float[Array, " unit"]:
        return self.output[:, -1] - self.output[:, 0]

    @property
    def aliased(self) -> float:
        """From values alone an interpolant is off by up to twice what its series leaves out
        (Trefethen 2013, theorem 8.2)."""
        return 1.0 if len(self.level) <= HERMITE_UP_TO else 2.0

    def output_tail(self) -> Float[Array, " unit"]:
        """Error of f without rounding: of the series, and of a fit that does not go through f."""
        missed = np.abs(quadrature.evaluate(self.f, self.level) - self.output).max(1)
        return last_terms(self.f) + missed

    def slope_tail(self) -> Float[Array, " unit"]:
        return last_terms(self.g)

    def within(self, tolerance: float) -> Bool[Array, " unit"]:
        """Which curves are resolved; see the module's docstring for the two checks."""
        # A curve at the floor needs no refinement: more nodes would only resolve rounding.
        settled = self.floor.settled
        asked = np.maximum(tolerance, 2 * np.maximum(settled, self.floor.of_output(self.scale)))
        allowed = max(SLOPE_TOLERANCE, 2 * settled) * (1 + np.abs(self.slope).max(1))
        return (
            (self.output_tail() + settled <= asked)
            & (self.slope_tail() + settled <= allowed)
            & (np.abs(self.own - self.ap) <= asked / 2)
        )

    def slope_error(self) -> Float[Array, " unit"]:
        """Of g: its own rounding and the tail or, of a derivative, the amplified rounding of f.

        Not the sum of the two: a tail below that is made of the same rounding, by chance more or
        less of it in another batch.
        """
        amplified = HERMITE_AMPLIFIES.get(len(self.level), 0.0)
        rounding = amplified * self.floor.of_output(self.scale)
        # Nor is the decay of coefficients that are rounding one.
        beyond = np.maximum(self.slope_tail() - rounding / 2, 0.0)
        left_out = beyond * slow_decay(self.g) * self.aliased + rounding / 2
        return np.maximum(left_out, rounding) + self.floor.of_slope(self.scale)

    def curves(self, chosen: Bool[Array, " unit"], tolerance: float) -> OutputCurves:
        f, g, ap = self.f[chosen], self.g[chosen], self.ap[chosen]
        grid, _ = quadrature.gauss_legendre(GRID_SIZE)
        output, gradient = quadrature.evaluate(f, grid), quadrature.evaluate(g, grid)
        dense = quadrature.evaluate(f, _DENSE)
        dense[:, [0, -1]] = self.output[chosen][:, [0, -1]]
        # A sum of many steps rounds; neither may fall below the way from end to end.
        total_variation = np.maximum(np.abs(np.diff(dense, axis=1)).sum(1), np.abs(ap))
        closed = np.maximum(range_of(dense), np.abs(ap))
        cells = np.abs(quadrature.evaluate(g, CELLS))
        rounding = self.floor.of_output(self.scale)[chosen]
        within = self.within(tolerance)[chosen]
        return OutputCurves(
            output=output,
            gradient=gradient,
            ap=ap,
            atp=self.slope[chosen][:, 0],
            ig_own=self.own[chosen],
            output_range=np.ptp(output, axis=1),
            output_range_closed=closed,
            gradient_range=np.ptp(gradient, axis=1),
            gradient_range_closed=range_of(quadrature.evaluate(g, _DENSE)),
            total_variation=total_variation,
            monotonicity=monotonicity(ap, total_variation),
            excess_range=closed - np.abs(ap),
            saturation=saturation(cells, total_variation),
            # What the slopes miss of AP, the curve may be off by: coefficients can be small by
            # chance, and the two say so independently.
            quadrature_error=(self.output_tail() * slow_decay(self.f) * self.aliased)[chosen]
            + rounding
            + np.abs(self.own - self.ap)[chosen],
            gradient_error=self.slope_error()[chosen],
            rounding=rounding,
            nodes=np.full(len(ap), len(self.level)),
            resolved=within,
            jumps=np.zeros(len(ap)),
            jump_total=np.zeros(len(ap)),
        )
