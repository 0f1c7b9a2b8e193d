"""Curves that jump: made ones with known jumps, and mixtures of experts against whole grids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from counterpoint.engine import expert_routing
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.rounding import Floor
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import curve_tracing, jumps, piecewise_curves
from counterpoint.measures.curves import output_curves
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.joint_slopes import joint_slopes
from counterpoint.measures.patching import layer_patching
from counterpoint.measures.piecewise_curves import Curve, Points
from counterpoint.measures.slopes import values, values_and_slopes
from tests.helpers.tiny_models import MIXTURES, VOCABULARY, make_tiny_model

EXACT = Floor(eps=1e-16, settled=1e-13, output=1e-13, per_scale=0.0, slope_per_scale=0.0)
SETTINGS = piecewise_curves.Settings(tolerance=1e-6, floor=EXACT, resolution=2**-20, budget=500)

Function = Callable[[np.ndarray], np.ndarray]


def traced(
    value: Function,
    slope: Function,
    margins: Callable[[np.ndarray], np.ndarray] | None = None,
    settings: piecewise_curves.Settings = SETTINGS,
) -> Curve:
    """The curve of a function whose choices are the signs of its margins [point, place]."""

    def evaluate(curve: np.ndarray, alphas: np.ndarray, sloped: bool) -> Points:
        margin = np.zeros((len(alphas), 0)) if margins is None else margins(alphas)
        return Points(
            value(alphas),
            slope(alphas)[:, None] if sloped else np.full((len(alphas), 1), np.nan),
            np.ones(len(alphas)),
            (margin > 0).astype(np.int64),
            np.abs(margin).astype(np.float32),
        )

    (curve,) = curve_tracing.trace(1, evaluate, [settings])
    return curve


def step(alphas: np.ndarray, *places: float) -> np.ndarray:
    """How many of the places lie to the left."""
    return np.sum([alphas > place for place in places], axis=0).astype(float)


def smooth(alphas: np.ndarray) -> np.ndarray:
    return np.sin(3 * alphas)


def its_slope(alphas: np.ndarray) -> np.ndarray:
    return 3 * np.cos(3 * alphas)


DENSE = np.linspace(0, 1, 4001)


@pytest.mark.parametrize("known", [True, False], ids=["choices", "curve alone"])
def test_jumps_are_found_and_located(known: bool) -> None:
    places, sizes = (0.2113, 0.5004, 0.83), (0.7, -1.2, 0.05)

    def value(alphas: np.ndarray) -> np.ndarray:
        steps = [size * (alphas > place) for place, size in zip(places, sizes, strict=True)]
        return smooth(alphas) + np.sum(steps, axis=0)

    def margins(alphas: np.ndarray) -> np.ndarray:
        return np.stack([np.tanh(alphas - place) for place in places], axis=1)

    curve = traced(value, its_slope, margins if known else None)
    assert curve.resolved
    assert curve.places == pytest.approx(places, abs=1e-6)
    assert curve.jumps == pytest.approx(sizes, abs=1e-5)
    far = np.abs(DENSE[:, None] - places).min(1) > 2e-6
    error = np.abs(piecewise_curves.value_at(curve, DENSE) - value(DENSE))[far].max()
    assert error <= curve.error
    assert curve.own.sum() + curve.jumps.sum() == pytest.approx(np.sin(3) - 0.45, abs=1e-6)
    # What the margins say is asked for a few times; halving asks some 20 times for each place.
    assert curve.evaluations < (70 if known else 150)


def test_a_visit_between_the_points_is_found_by_its_margin() -> None:
    """Up at 0.3 and down again 2e-4 later: no grid of hundreds of points has to see it."""

    def value(alphas: np.ndarray) -> np.ndarray:
        return smooth(alphas) + ((alphas > 0.3) & (alphas < 0.3002))

    def margins(alphas: np.ndarray) -> np.ndarray:
        return (alphas - 0.3)[:, None] * (alphas - 0.3002)[:, None]

    curve = traced(value, its_slope, margins)
    jumps = piecewise_curves.is_jump(curve)
    assert curve.places[jumps] == pytest.approx([0.3, 0.3002], abs=1e-6)
    assert curve.jumps[jumps] == pytest.approx([1, -1], abs=1e-5)
    blind = traced(value, its_slope, lambda alphas: np.sign(margins(alphas)))
    assert not piecewise_curves.is_jump(blind).any(), "the visit is seen without its margin"


def test_changes_of_choice_that_change_nothing_are_no_jumps() -> None:
    curve = traced(smooth, its_slope, lambda alphas: (alphas - 0.4)[:, None])
    assert curve.resolved
    assert not piecewise_curves.is_jump(curve).any()
    assert curve.own.sum() == pytest.approx(np.sin(3), abs=1e-6)


def test_rounding_of_a_choice_is_no_row_of_jumps() -> None:
    """Where two scores are equal up to rounding, the choice changes to and fro with it."""
    places = 0.3 + np.array([0.0, 1.3e-6, 2.6e-6])

    def value(alphas: np.ndarray) -> np.ndarray:
        return smooth(alphas) + step(alphas, *places) % 2

    curve = traced(
        value, its_slope, lambda alphas: np.prod(alphas[:, None] - places, axis=1)[:, None]
    )
    assert curve.jumps[piecewise_curves.is_jump(curve)] == pytest.approx([1], abs=1e-4)
    assert curve.resolved


def test_a_kink_is_no_jump() -> None:
    curve = traced(lambda a: np.abs(a - 0.3), lambda a: np.where(a < 0.3, -1.0, 1.0))
    assert curve.resolved
    assert not piecewise_curves.is_jump(curve).any()
    error = np.abs(piecewise_curves.value_at(curve, DENSE) - np.abs(DENSE - 0.3)).max()
    assert error <= curve.error
    assert error < 1e-5


def test_too_few_points_are_admitted() -> None:
    places = np.linspace(0.013, 0.987, 40)

    def value(alphas: np.ndarray) -> np.ndarray:
        return smooth(alphas) + 0.5 * (step(alphas, *places) % 2)

    curve = traced(
        value,
        its_slope,
        lambda alphas: alphas[:, None] - places,
        replace(SETTINGS, budget=60),
    )
    assert not curve.resolved
    error = np.abs(piecewise_curves.value_at(curve, DENSE) - value(DENSE)).max()
    assert error <= curve.error
    assert curve.evaluations < 200


# ------------------------------------------------------------------------------ mixtures of experts


ASIDE = 5e-5


def moving_pairs(n_pairs: int = 1) -> TokenPairs:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(5, VOCABULARY, (n_pairs, 10), generator=generator)
    corrupted = clean.clone()
    corrupted[:, 5] = (clean[:, 5] + 7) % 50 + 5
    corrupted[:, 8] = (clean[:, 8] + 3) % 50 + 5
    return TokenPairs(
        clean, corrupted, ((40,),) * n_pairs, ((41,),) * n_pairs, tuple(range(n_pairs))
    )


@pytest.fixture(scope="module", params=sorted(MIXTURES))
def engine(request: pytest.FixtureRequest) -> SuffixEngine:
    model = make_tiny_model(request.param)
    return SuffixEngine(model, cache_activations(model, moving_pairs()))


def test_curves_of_a_mixture_equal_a_whole_grid(
    engine: SuffixEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = every_unit(engine.model, 1)
    traced_curves: list[Curve] = []
    measured = jumps._measured

    def kept(curves: list[Curve]) -> object:
        traced_curves.extend(curves)
        return measured(curves)

    monkeypatch.setattr(jumps, "_measured", kept)
    found = output_curves(engine, "noising", units)
    assert found.jumps.sum() > 0, "no curve jumps: the test is no test"
    assert found.resolved.mean() > 0.9
    grid = np.linspace(0, 1, 401)
    plain = values(engine, "noising", "head", units, np.broadcast_to(grid, (len(units), 401)))
    for unit, curve in enumerate(traced_curves):
        error = np.abs(piecewise_curves.value_at(curve, grid) - plain[unit])
        near = np.abs(grid[:, None] - curve.places).min(1, initial=1.0) < ASIDE
        assert error[~near].max() <= found.quadrature_error[unit], unit
    few = grid[3::8]
    _, slopes = values_and_slopes(
        engine, "noising", "head", units, np.broadcast_to(few, (len(units), len(few)))
    )
    for unit, curve in enumerate(traced_curves):
        error = np.abs(piecewise_curves.slope_at(curve, few) - slopes[unit])
        near = np.abs(few[:, None] - curve.places).min(1, initial=1.0) < ASIDE
        assert error[~near].max() <= found.gradient_error[unit], unit
    # The jumps are there: f on both sides of each place, by plain evaluation.
    places = np.array([place for curve in traced_curves for place in curve.places])
    owner = np.repeat(np.arange(len(units)), [len(curve.places) for curve in traced_curves])
    sizes = np.concatenate([curve.jumps for curve in traced_curves])
    # Where scores cross slowly, rounding moves the place; so these are further off than 1e-6.
    sides = np.stack([places - ASIDE, places + ASIDE], axis=1)
    both = values(engine, "noising", "head", units[torch.as_tensor(owner)], sides)
    close = np.zeros(len(places), dtype=bool)
    close[1:] = (np.diff(places) < 3 * ASIDE) & (np.diff(owner) == 0)
    alone = ~(close | np.roll(close, -1))
    assert np.diff(both, axis=1)[alone, 0] == pytest.approx(sizes[alone], abs=5e-3)
    # Identity and measures with the jumps counted in.
    assert np.abs(found.ig_own + found.jump_total - found.ap).max() <= 1e-4
    assert (found.monotonicity <= 1).all()
    assert (found.output_range_closed >= np.ptp(plain, axis=1) - 1e-4).all()
    for unit in range(len(units)):
        own = owner == unit
        at = np.argsort(np.concatenate([grid, *sides[own]]), kind="stable")
        f = np.concatenate([plain[unit], *both[own]])[at]
        variation = np.abs(np.diff(f)).sum()
        assert found.total_variation[unit] == pytest.approx(variation, rel=2e-3, abs=1e-3)


def test_layers_of_a_mixture_sum_to_their_effect_with_their_jumps() -> None:
    model = make_tiny_model("mixtral")
    engine = SuffixEngine(model, cache_activations(model, moving_pairs()))
    found = integrated_gradients(engine, "denoising")
    effect = layer_patching(engine, "denoising")
    whole = found.score.sum(2) + found.jump_total
    assert found.resolved.all()
    assert whole == pytest.approx(effect, abs=1e-4)
    assert found.convergence_delta == pytest.approx(-found.jump_total, abs=1e-4)
    count = 200
    plain = joint_slopes(engine, "denoising", (np.arange(count) + 0.5) / count).mean(2)
    assert found.score == pytest.approx(plain.reshape(found.score.shape), abs=4e-2)


def test_fifty_nodes_of_a_mixture_are_left_as_they_are() -> None:
    model = make_tiny_model("mixtral")
    engine = SuffixEngine(model, cache_activations(model, moving_pairs()))
    units = every_unit(model, 1)[slice(6, 8)]
    fixed = output_curves(engine, "noising", units, nodes="gauss-legendre-50")
    adaptive = output_curves(engine, "noising", units)
    grid = (np.polynomial.legendre.leggauss(50)[0] + 1) / 2
    plain = values(engine, "noising", "head", units, np.broadcast_to(grid, (2, 50)))
    assert fixed.output == pytest.approx(plain, abs=1e-6)
    assert fixed.jump_total == pytest.approx(adaptive.jump_total, abs=1e-9)


def test_what_rows_choose_does_not_depend_on_their_batch() -> None:
    model = make_tiny_model("deepseek_v3")
    engine = SuffixEngine(model, cache_activations(model, moving_pairs(2)))
    units = every_unit(model, 2)
    alphas = np.full((len(units), 1), 0.37)

    def chosen() -> tuple[np.ndarray, np.ndarray]:
        kept: list[expert_routing.Choices] = []
        values(engine, "noising", "head", units, alphas, chosen_by=kept.append)
        return (
            torch.cat([one.chosen for one in kept]).numpy(),
            torch.cat([one.margin for one in kept]).numpy(),
        )

    whole = chosen()
    engine._rows_that_fit[False] = 3
    parts = chosen()
    assert (whole[0] == parts[0]).all()
    assert whole[1] == pytest.approx(parts[1], abs=1e-5)


def test_every_choice_of_the_last_block_is_seen() -> None:
    """There the scores within a group look like rows and positions, and take no other's place."""
    model = make_tiny_model("deepseek_one_group")
    engine = SuffixEngine(model, cache_activations(model, moving_pairs()))
    units = every_unit(model, 1)[slice(0, 4)]
    kept: list[expert_routing.Choices] = []
    values(engine, "noising", "head", units, np.full((4, 1), 0.37), chosen_by=kept.append)
    calls = expert_routing.choices_per_block(model)
    chosen = kept[0].chosen.view(4, model.n_layers, calls, engine.suffix_length)
    # Of groups, and of experts, which are the last to be chosen.
    assert (chosen[:, 1:, -2:, -1] != 0).all()
    assert len(chosen[:, -1, -1, -1].unique()) > 1 or len(chosen[:, 1, -1].unique()) > 1


def test_mlps_behind_the_last_router_choose_nothing() -> None:
    model = make_tiny_model("mixtral")
    engine = SuffixEngine(model, cache_activations(model, moving_pairs()))
    units = every_unit(model, 1, "mlp")[slice(model.n_layers - 1, model.n_layers)]
    found = output_curves(engine, "noising", units, component="mlp")
    assert found.resolved.all()
    assert (found.jumps == 0).all()
    assert found.ig_own == pytest.approx(found.ap, abs=1e-4)


def test_a_dense_model_chooses_nothing(tiny_gpt2) -> None:
    assert expert_routing.choices_per_block(tiny_gpt2) == 0
    engine = SuffixEngine(tiny_gpt2, cache_activations(tiny_gpt2, moving_pairs()))
    units = every_unit(tiny_gpt2, 1)
    found = output_curves(engine, "noising", units)
    assert (found.jumps == 0).all()
    assert (found.jump_total == 0).all()
    pieced = jumps.own_paths(engine, "noising", units, "head", 1e-4, 65)
    for name in ("ap", "output_range_closed", "total_variation", "ig_own", "atp"):
        expected = pytest.approx(getattr(found, name), abs=2e-4)
        assert getattr(pieced, name) == expected, name
