"""Output curves, their measures, and integrated gradients: identities and plain references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Direction, background_prompt, other_prompt
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.rounding import Floor
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures import curves as curve_taking
from counterpoint.measures import quadrature
from counterpoint.measures.curve_measures import GRID_SIZE, OutputCurves
from counterpoint.measures.curves import output_curves
from counterpoint.measures.integrated_gradients import FIRST_STEPS, integrated_gradients
from counterpoint.measures.interpolation_errors import (
    integral_misses,
    nested_integral_misses,
    steps_needed,
)
from counterpoint.measures.patching import activation_patching, layer_patching
from counterpoint.measures.slopes import attribution_patching, values, values_and_slopes
from counterpoint.models.load import LanguageModel
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_model

GRID, WEIGHTS = quadrature.gauss_legendre(GRID_SIZE)


def engine_for(model: LanguageModel, seed: int, n_pairs: int = 1) -> SuffixEngine:
    return SuffixEngine(model, cache_activations(model, random_pairs(seed, n_pairs=n_pairs)))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_adaptive_curves_equal_the_plain_nodes(
    tiny_model: LanguageModel, direction: Direction
) -> None:
    engine = engine_for(tiny_model, 1, n_pairs=2)
    units = every_unit(tiny_model, 2)
    curves = output_curves(engine, direction, units)
    grid = np.broadcast_to(GRID, (len(units), GRID_SIZE))
    output, slope = values_and_slopes(engine, direction, "head", units, grid)
    assert curves.output == pytest.approx(output, abs=1e-4)
    assert np.abs(curves.gradient - slope).max() <= 1e-3 + 1e-3 * np.abs(slope).max()
    # What is reported as error holds, up to the rounding of float32.
    assert (np.abs(curves.output - output).max(1) <= curves.quadrature_error + 2e-5).all()


def test_the_plain_nodes_are_left_as_they_are(tiny_llama: LanguageModel) -> None:
    engine = engine_for(tiny_llama, 2)
    units = every_unit(tiny_llama, 1)
    curves = output_curves(engine, "noising", units, nodes="gauss-legendre-50")
    grid = np.broadcast_to(GRID, (len(units), GRID_SIZE))
    output, slope = values_and_slopes(engine, "noising", "head", units, grid)
    assert curves.output == pytest.approx(output, abs=1e-6)
    assert curves.gradient == pytest.approx(slope, abs=1e-6)
    assert curves.output_range == pytest.approx(np.ptp(output, axis=1), abs=1e-6)
    adaptive = output_curves(engine, "noising", units)
    for name, plain in curves.measures().items():
        if name not in ("nodes", "quadrature_error", "gradient_error", "saturation", "resolved"):
            assert adaptive.measures()[name] == pytest.approx(plain, abs=1e-3), name


def test_end_points(tiny_model: LanguageModel) -> None:
    """f(0) is the unpatched metric, f(1) − f(0) is AP, g(0) is AtP."""
    engine = engine_for(tiny_model, 3)
    units = every_unit(tiny_model, 1)
    ends = np.broadcast_to([0.0, 1.0], (len(units), 2))
    for direction in DIRECTIONS:
        output, slope = values_and_slopes(engine, direction, "head", units, ends)
        start = float(engine.unpatched(background_prompt(direction))[0])
        assert output[:, 0] == pytest.approx(np.full(len(units), start), abs=2e-6)
        curves = output_curves(engine, direction, units)
        assert curves.ap == pytest.approx(output[:, 1] - output[:, 0], abs=4e-6)
        assert curves.ap == pytest.approx(activation_patching(engine, direction), abs=4e-6)
        assert curves.atp == pytest.approx(slope[:, 0], abs=4e-6)
        assert curves.atp == pytest.approx(
            attribution_patching(engine, direction, "head", units), abs=1e-6
        )


def test_measures_keep_their_order(tiny_model: LanguageModel) -> None:
    engine = engine_for(tiny_model, 4, n_pairs=2)
    curves = output_curves(engine, "denoising", every_unit(tiny_model, 2))
    assert np.abs(curves.ig_own - curves.ap).max() <= 1e-4
    assert (curves.output_range_closed >= np.abs(curves.ap)).all()
    assert (curves.output_range_closed >= curves.output_range - 1e-6).all()
    assert (curves.total_variation >= curves.output_range_closed - 1e-6).all()
    assert ((curves.monotonicity >= 0) & (curves.monotonicity <= 1)).all()
    assert (curves.excess_range >= 0).all()
    assert ((curves.saturation >= 0) & (curves.saturation <= 1)).all()


def test_own_path_ig_by_captum_equals_ap(tiny_llama: LanguageModel) -> None:
    """Completeness, with Captum moving one head alone through the engine."""

    from counterpoint.engine.evaluation_rows import Rows
    from counterpoint.engine.head_outputs import differences

    engine = engine_for(tiny_llama, 5)
    units = every_unit(tiny_llama, 1)
    delta = differences(tiny_llama, engine.activations, "noising", units)
    patched = activation_patching(engine, "noising")
    for unit in range(len(units)):
        layer = int(units.layer[unit])

        def metric(shift: torch.Tensor, layer: int = layer) -> torch.Tensor:
            rows = Rows(torch.zeros(len(shift), dtype=torch.long), (layer,) * len(shift), shift)
            return engine.evaluate(rows, "noising")

        score = IntegratedGradients(metric).attribute(
            delta[unit : unit + 1], n_steps=20, method="gausslegendre"
        )
        assert float(score.sum()) == pytest.approx(patched[unit], abs=1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_joint_ig_equals_captum_on_whole_forward_passes(
    tiny_model: LanguageModel, direction: Direction
) -> None:
    pairs = random_pairs(6, n_pairs=2)
    engine = SuffixEngine(tiny_model, cache_activations(tiny_model, pairs))
    found = integrated_gradients(engine, direction)
    sides = {"clean": pairs.clean, "corrupted": pairs.corrupted}
    for pair in range(2):
        (correct,), (incorrect,) = pairs.correct[pair], pairs.incorrect[pair]
        background = sides[background_prompt(direction)][pair : pair + 1]
        other = sides[other_prompt(direction)][pair : pair + 1]
        for layer, projection in enumerate(tiny_model.output_projections):
            ends = [_input_of(tiny_model, projection, tokens) for tokens in (other, background)]
            expected = _plain_joint_ig(tiny_model, projection, background, ends, correct, incorrect)
            by_head = expected.unflatten(-1, (tiny_model.n_heads, -1)).sum((0, 1, 3))
            assert found.score[layer, pair] == pytest.approx(by_head.tolist(), abs=1e-4)


def _input_of(model: LanguageModel, module: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    kept: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda m, args: kept.append(args[0]))
    model.hf(tokens)
    handle.remove()
    return kept[0]


def _plain_joint_ig(
    model: LanguageModel,
    projection: torch.nn.Module,
    tokens: torch.Tensor,
    ends: list[torch.Tensor],
    correct: int,
    incorrect: int,
) -> torch.Tensor:
    """Captum's IG with the module's input replaced in whole forward passes."""

    other, background = ends

    def metric(z: torch.Tensor) -> torch.Tensor:
        handle = projection.register_forward_pre_hook(lambda m, args: (z,))
        logits = model.hf(tokens.expand(len(z), -1)).logits[:, -1]
        handle.remove()
        return logits[:, correct] - logits[:, incorrect]

    return IntegratedGradients(metric).attribute(
        other, baselines=background, n_steps=40, method="gausslegendre"
    )


def test_joint_ig_sums_to_the_effect_of_patching_the_layer(tiny_model: LanguageModel) -> None:
    engine = engine_for(tiny_model, 7, n_pairs=2)
    for direction in DIRECTIONS:
        found = integrated_gradients(engine, direction)
        effect = layer_patching(engine, direction)
        assert found.score.sum(-1) == pytest.approx(effect, abs=1e-4)
        assert found.convergence_delta == pytest.approx(found.score.sum(-1) - effect, abs=1e-5)


def test_more_steps_are_taken_where_the_sum_misses(tiny_llama: LanguageModel) -> None:
    engine = engine_for(tiny_llama, 8)
    coarse = integrated_gradients(engine, "noising", tolerance=100.0)
    assert (coarse.steps == FIRST_STEPS).all()
    fine = integrated_gradients(engine, "noising", tolerance=1e-9, max_steps=32)
    assert fine.steps.max() == 32


@settings(deadline=None)
@given(st.floats(0.05, 3.0), st.booleans(), st.sampled_from([5, 9, 17]))
def test_what_nested_nodes_miss_of_an_integral_is_stated(
    distance: float, above: bool, count: int
) -> None:
    """Of 1 / (x − z) with its pole z beyond an end, whose coefficients shrink evenly."""
    pole = 1 + distance if above else -distance
    nodes = quadrature.clenshaw_curtis(count)
    series = quadrature.interpolate(nodes, (1 / (nodes - pole))[None])
    exact = np.log(abs(1 - pole)) - np.log(abs(pole))
    error = abs(quadrature.integral(series)[0] - exact)
    assert error <= nested_integral_misses(series)[0] + 1e-12


@settings(deadline=None)
@given(st.floats(0.02, 0.8), st.integers(4, 8), st.floats(1e-6, 1e-2))
def test_as_many_steps_as_the_decay_asks_for(ratio: float, count: int, tolerance: float) -> None:
    """Of a series whose pairs of coefficients shrink by a ratio, so many steps meet half of the
    tolerance, and one step less does not, within twice what there are."""
    decay = np.sqrt(ratio) ** np.arange(32)
    steps = int(steps_needed(decay[:count], tolerance))
    assert count < steps <= 2 * count
    if steps < 2 * count:
        assert integral_misses(decay[:steps]) <= 0.5001 * tolerance
    if steps > count + 1:
        assert integral_misses(decay[: steps - 1]) > 0.4999 * tolerance


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_each_head_is_within_tolerance_and_not_their_sum_alone(
    tiny_model: LanguageModel, direction: Direction
) -> None:
    """Errors of heads that cancel in a layer's sum were accepted once: 2 of 1,000 of such heads."""
    for seed in range(4):
        engine = engine_for(tiny_model, seed, n_pairs=2)
        found = integrated_gradients(engine, direction)
        exact = integrated_gradients(engine, direction, first_steps=64, tolerance=1e-6)
        settled = found.resolved & exact.resolved
        assert found.score[settled] == pytest.approx(exact.score[settled], abs=1e-4)


# ---------------------------------------------------------------------- measures on known curves


def _measure(curve: np.polynomial.Polynomial, nodes: int = 17) -> OutputCurves:
    """The measures that a unit with this output curve gets."""
    level = quadrature.clenshaw_curtis(nodes)
    taken = _taken(curve(level), curve.deriv()(level))
    return taken.resolve().curves(np.array([True]), 1e-4)


def _taken(output: np.ndarray, slope: np.ndarray) -> curve_taking._Taken:
    floor = Floor(eps=0.0, settled=0.0, output=0.0, per_scale=0.0, slope_per_scale=0.0)
    return curve_taking._Taken(np.arange(1), output[None], slope[None], floor, np.zeros(1))


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=5, max_size=5))
def test_a_quartic_is_fixed_by_f_at_three_nodes_and_g_at_the_ends(
    coefficients: list[float],
) -> None:
    curve = np.polynomial.Polynomial(coefficients)
    ends = np.array([0.0, 1.0])
    taken = _taken(curve(np.array([0.0, 0.5, 1.0])), curve.deriv()(ends))
    found = taken.resolve(ends).curves(np.array([True]), 1e-4)
    assert found.output[0] == pytest.approx(curve(GRID), abs=1e-9)
    assert found.gradient[0] == pytest.approx(curve.deriv()(GRID), abs=1e-8)


def test_a_turn_at_the_middle_is_seen_by_its_value_alone() -> None:
    """f and g of 16 α² (1 − α)² are 0 at both ends; f at ½ is 1."""
    ends = np.array([0.0, 1.0])
    at_ends = _taken(np.zeros(2), np.zeros(2))
    assert at_ends.resolve().within(1e-4).all()
    with_middle = _taken(np.array([0.0, 1.0, 0.0]), np.zeros(2))
    assert not with_middle.resolve(ends).within(1e-4).any()


def test_few_evaluations_resolve_most_heads_and_none_is_wrong(tiny_model: LanguageModel) -> None:
    """Curves that stop at f and g at the ends, or f at ½ besides, are as 33 nodes have them."""
    for seed in range(3):
        engine = engine_for(tiny_model, seed, n_pairs=2)
        units = every_unit(tiny_model, 2)
        found = output_curves(engine, "noising", units)
        grid = np.broadcast_to(GRID, (len(units), GRID_SIZE))
        exact = values(engine, "noising", "head", units, grid)
        few = found.nodes <= 3
        assert np.abs(found.output - exact)[few].max(initial=0.0) <= 1e-4


@settings(deadline=None)
@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=7),
    st.sampled_from([9, 17]),
)
def test_measures_of_a_polynomial(coefficients: list[float], nodes: int) -> None:
    curve = np.polynomial.Polynomial(coefficients)
    found = _measure(curve, nodes)
    dense = np.linspace(0, 1, 20_001)
    scale = 1 + np.abs(coefficients).sum()
    assert found.output[0] == pytest.approx(curve(GRID), abs=1e-9 * scale)
    assert found.gradient[0] == pytest.approx(curve.deriv()(GRID), abs=1e-7 * scale)
    assert found.ap[0] == pytest.approx(curve(1) - curve(0), abs=1e-9 * scale)
    assert found.ig_own[0] == pytest.approx(found.ap[0], abs=1e-9 * scale)
    assert found.output_range_closed[0] == pytest.approx(np.ptp(curve(dense)), abs=1e-6 * scale)
    variation = integrate.trapezoid(np.abs(curve.deriv()(dense)), dense)
    assert found.total_variation[0] == pytest.approx(variation, abs=1e-5 * scale)
    assert found.gradient_range_closed[0] == pytest.approx(
        np.ptp(curve.deriv()(dense)), abs=1e-5 * scale
    )


def test_a_curve_that_returns() -> None:
    """f = 4 α (1 − α): nothing at the end, a peak of 1 on the way."""
    found = _measure(np.polynomial.Polynomial([0, 4, -4]))
    assert found.ap[0] == pytest.approx(0, abs=1e-12)
    assert found.output_range_closed[0] == pytest.approx(1)
    assert found.excess_range[0] == pytest.approx(1)
    assert found.total_variation[0] == pytest.approx(2, abs=1e-5)
    assert found.monotonicity[0] == pytest.approx(0, abs=1e-9)
    # |g| = 4 |1 − 2α| is below 5 % of its maximum 4 for |α − ½| < 0.025.
    assert found.saturation[0] == pytest.approx(0.05, abs=1e-3)


def test_a_constant_curve() -> None:
    found = _measure(np.polynomial.Polynomial([2.0, 0.0]))
    assert found.total_variation[0] == 0
    assert found.monotonicity[0] == 1
    assert found.saturation[0] == 1


def test_refinement_reaches_a_steep_curve() -> None:
    """A model with very large weights bends its curves; the estimate must see it."""
    model = make_tiny_model("gpt2", "float64")
    engine = engine_for(model, 9)
    units = every_unit(model, 1)
    curves = output_curves(engine, "noising", units, tolerance=1e-9)
    grid = np.broadcast_to(GRID, (len(units), GRID_SIZE))
    exact = values(engine, "noising", "head", units, grid)
    assert np.abs(curves.output - exact).max() <= 1e-9
    assert curves.nodes.max() > 3
    few = output_curves(engine, "noising", units, tolerance=1e-9, max_nodes=3)
    assert (few.nodes == 3).all()
    assert few.quadrature_error.max() > 1e-9


def test_coarse_numbers_are_not_refined_without_end() -> None:
    """In bfloat16 rounding is far above the tolerance: the floor is stated, not fought."""
    exact = make_tiny_model("llama", "float32")
    coarse = make_tiny_model("llama", "bfloat16")
    pairs = random_pairs(9)
    found, expected = (
        output_curves(
            SuffixEngine(model, cache_activations(model, pairs)), "noising", every_unit(model, 1)
        )
        for model in (coarse, exact)
    )
    assert np.isfinite(found.output).all()
    assert (np.abs(found.ap - expected.ap) <= found.quadrature_error).mean() > 0.9
    assert found.quadrature_error.min() > 100 * expected.quadrature_error.min()
    assert found.nodes.mean() < 9


def test_settings_that_cannot_be() -> None:
    model = make_tiny_model("gpt2")
    engine = engine_for(model, 10)
    units = every_unit(model, 1)
    with pytest.raises(UserError, match="nodes: 'many' is unknown; expected adaptive"):
        output_curves(engine, "noising", units, nodes="many")
    with pytest.raises(UserError, match="max_nodes: 10 is no nested level"):
        output_curves(engine, "noising", units, max_nodes=10)


# ---------------------------------------------------------------------------------- quadrature


def test_nested_levels_contain_one_another() -> None:
    for count in (3, 5, 9, 17, 33):
        finer = quadrature.clenshaw_curtis(2 * count - 1)
        assert finer[::2] == pytest.approx(quadrature.clenshaw_curtis(count), abs=1e-15)


def test_gauss_legendre_is_exact_to_its_degree() -> None:
    nodes, weights = quadrature.gauss_legendre(5)
    for power in range(10):
        assert nodes**power @ weights == pytest.approx(1 / (power + 1))


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=5))
def test_hermite_interpolant_has_the_values_and_slopes(coefficients: list[float]) -> None:
    nodes = quadrature.clenshaw_curtis(5)
    curve = np.polynomial.Polynomial(coefficients)
    series = quadrature.interpolate_with_slopes(
        nodes, curve(nodes)[None], curve.deriv()(nodes)[None]
    )
    at = np.linspace(0, 1, 23)
    assert quadrature.evaluate(series, at)[0] == pytest.approx(curve(at), abs=1e-10)
    assert quadrature.integral(series)[0] == pytest.approx(
        curve.integ()(1) - curve.integ()(0), abs=1e-10
    )
    assert quadrature.evaluate(quadrature.derivative(series), at)[0] == pytest.approx(
        curve.deriv()(at), abs=1e-9
    )
