"""AP by position equals whole passes with one value put in place, and what follows from that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.engine import position_views as views_of
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Component, Direction, Prompt
from counterpoint.engine.position_views import PositionViews, position_views
from counterpoint.engine.rounding import computed_eps
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures import quadrature
from counterpoint.measures.curves import output_curves
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.position_curves import position_curves
from counterpoint.measures.positions import COMPONENTS, position_patching
from counterpoint.models.load import LanguageModel
from tests.engine.test_architecture_kinds import WHOLE_PROMPT, make, tolerance
from tests.helpers.default_model import default_model, first_pair
from tests.helpers.pair_factory import random_pairs
from tests.helpers.position_passes import effects_by_position
from tests.helpers.tiny_models import ARCHITECTURES, make_tiny_model

__all__ = ["default_model"]


def engine_for(model: LanguageModel, **shape: Any) -> SuffixEngine:
    return SuffixEngine(model, cache_activations(model, random_pairs(3, n_pairs=2, **shape)))


def close(model: LanguageModel) -> float:
    """1e-9 where the model computes in float64; norms in float32 inside round by 1e-6."""
    return 1e-9 if computed_eps(model) < 1e-10 else 1e-5


def assert_equals_whole_passes(
    engine: SuffixEngine, direction: Direction, component: Component, within: float
) -> None:
    pairs = engine.activations.pairs
    expected = effects_by_position(engine.model, pairs, direction, component)
    units, found, _ = position_patching(engine, direction, component)
    head = torch.zeros_like(units.layer) if units.head is None else units.head
    places = list(zip(units.pair.tolist(), units.layer.tolist(), head.tolist(), strict=True))
    first = pairs.first_difference
    wanted = [[expected[*p, at] for at in range(first, pairs.length)] for p in places]
    assert found == pytest.approx(np.array(wanted), abs=within)
    assert np.abs(found).max() > 0.01
    # Before the first difference there is nothing to put in place.
    before = [expected[*place, at] for place in places for at in range(first)]
    assert np.abs(before or [0.0]).max() <= within


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("first", [0, 3])
def test_every_position_equals_whole_passes(architecture: str, first: int) -> None:
    model = make_tiny_model(architecture, "float64")
    engine = engine_for(model, length=7, first_difference=first)
    for direction in DIRECTIONS:
        assert position_views(engine, direction).keys_values is not None
        for component in COMPONENTS:
            assert_equals_whole_passes(engine, direction, component, close(model))


@pytest.mark.parametrize(
    "name", ["opt", "falcon", "falcon, alibi", "bloom", "gpt_oss", "lfm2", "gemma4", "dynamic"]
)
def test_every_kind_of_architecture_equals_whole_passes(name: str) -> None:
    model = make(name)
    engine = engine_for(model, length=7, first_difference=3)
    assert (position_views(engine, "noising").keys_values is None) == (name in WHOLE_PROMPT)
    for component in COMPONENTS:
        assert_equals_whole_passes(engine, "noising", component, tolerance(name))


@pytest.mark.parametrize("name", ["gemma3n", "hy_v4"])
def test_several_residual_streams_are_refused_for_the_residual_stream_alone(name: str) -> None:
    engine = engine_for(make(name), length=7, first_difference=3)
    with pytest.raises(UserError, match="several residual streams"):
        position_patching(engine, "noising", "residual")
    for component in ("attention", "mlp", "head"):
        assert_equals_whole_passes(engine, "noising", component, tolerance(name))


@pytest.mark.parametrize("first", [0, 4])
def test_views_give_what_the_whole_suffix_gives(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_for(make_tiny_model("llama"), first_difference=first)
    with_views = {each: position_patching(engine, "denoising", each)[1] for each in COMPONENTS}
    monkeypatch.setattr(
        "counterpoint.measures.positions.position_views",
        lambda engine, direction: PositionViews(engine, direction, None),
    )
    for component, found in with_views.items():
        plain = position_patching(engine, "denoising", component)[1]
        assert found == pytest.approx(plain, abs=1e-5)


def test_views_that_are_not_exact_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_tiny_model("gpt2")
    engine = engine_for(model, length=8, first_difference=2)
    model.__dict__.pop("_views", None)

    def of_another_prompt(model: LanguageModel, tokens: torch.Tensor) -> Any:
        return original(model, tokens.flip(1))

    original = views_of.run_prefix
    monkeypatch.setattr(views_of, "run_prefix", of_another_prompt)
    assert position_views(engine, "noising").keys_values is None
    monkeypatch.undo()
    # Found once for the shape.
    assert position_views(engine, "noising").keys_values is None
    model.__dict__.pop("_views", None)
    assert position_views(engine, "noising").keys_values is not None


def test_joint_patching_is_that_of_all_positions_at_once() -> None:
    model = make_tiny_model("llama", "float64")
    engine = engine_for(model)
    for component in ("head", "mlp"):
        _, by_position, joint = position_patching(engine, "noising", component)
        expected = activation_patching(engine, "noising", component=component)
        assert joint == pytest.approx(expected, abs=1e-12)
        assert np.abs(by_position.sum(1) - joint).max() > 1e-3


def test_the_residual_stream_as_a_whole_is_the_other_run() -> None:
    """Replaced at all positions at once, whatever the layer, it makes the run the other one."""
    for architecture in sorted(ARCHITECTURES):
        engine = engine_for(make_tiny_model(architecture))
        for direction, sides in (("noising", (0, 1)), ("denoising", (1, 0))):
            ends = [engine.unpatched(side).double().numpy() for side in ("clean", "corrupted")]
            units, _, joint = position_patching(engine, direction, "residual")
            change = (ends[sides[1]] - ends[sides[0]])[units.pair.numpy()]
            assert joint == pytest.approx(change, abs=1e-5)


def test_before_the_last_block_attention_reads_nothing_more_of_earlier_positions() -> None:
    """Only the last position's MLP of the last layer is read by the logits."""
    engine = engine_for(make_tiny_model("gpt2"))
    units, by_position, joint = position_patching(engine, "noising", "mlp")
    last = (units.layer == engine.model.n_layers - 1).numpy()
    assert np.abs(by_position[last, :-1]).max() <= 1e-6
    assert by_position[last, -1] == pytest.approx(joint[last], abs=1e-6)


def test_one_difference_at_the_last_token_leaves_one_position() -> None:
    engine = engine_for(make_tiny_model("llama"), length=6, first_difference=5)
    for component in COMPONENTS:
        _, by_position, joint = position_patching(engine, "noising", component)
        assert by_position.shape[1] == 1
        assert by_position[:, 0] == pytest.approx(joint, abs=1e-6)


def test_named_heads_are_the_only_ones() -> None:
    engine = engine_for(make_tiny_model("llama"))
    every, found, _ = position_patching(engine, "noising", "head")
    units, few, _ = position_patching(engine, "noising", "head", heads=[(2, 1), (0, 3)])
    assert units.head is not None and every.head is not None
    assert units.layer.tolist() == [0, 0, 2, 2]
    assert units.head.tolist() == [3, 3, 1, 1]
    chosen = [
        place
        for place, head in enumerate(zip(every.layer.tolist(), every.head.tolist(), strict=True))
        if head in [(2, 1), (0, 3)]
    ]
    assert few == pytest.approx(found[chosen], abs=1e-6)


def test_curves_at_one_position_end_in_its_patch() -> None:
    engine = engine_for(make_tiny_model("llama"))
    views = position_views(engine, "noising")
    for component in COMPONENTS:
        units, by_position, _ = position_patching(engine, "noising", component)
        for place, position in enumerate(views.positions):
            at_position, within = views.at(position, component)
            curves = output_curves(
                at_position, "noising", units.at(within), component=component, max_nodes=65
            )
            assert curves.ap == pytest.approx(by_position[:, place], abs=1e-5)
            assert curves.ig_own == pytest.approx(curves.ap, abs=2e-4)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("first", [0, 3])
def test_curves_at_every_position_equal_whole_passes(architecture: str, first: int) -> None:
    model = make_tiny_model(architecture, "float64")
    engine = engine_for(model, length=6, first_difference=first)
    pairs, nodes = engine.activations.pairs, quadrature.gauss_legendre(50)[0]
    component: Component = "mlp" if first else "head"
    for direction in DIRECTIONS:
        side: Prompt = "clean" if direction == "noising" else "corrupted"
        start = engine.unpatched(side).double().numpy()
        expected = {
            at: effects_by_position(model, pairs, direction, component, alpha=float(alpha))
            for node in (3, 40)
            for at, alpha in (((node, way), nodes[node] + way * STEP) for way in (-1, 0, 1))
        }
        seen = []
        for position, units, curves in position_curves(
            engine, direction, component, nodes="gauss-legendre-50"
        ):
            seen.append(position)
            heads = torch.zeros_like(units.layer) if units.head is None else units.head
            pair = units.pair.tolist()
            keys = list(zip(pair, units.layer.tolist(), heads.tolist(), strict=True))
            for node in (3, 40):
                before, here, after = (
                    np.array([expected[node, way][*key, position] for key in keys])
                    for way in (-1, 0, 1)
                )
                shift = curves.output[:, node] - start[pair]
                assert shift == pytest.approx(here, abs=close(model))
                slope = (after - before) / (2 * STEP)
                assert curves.gradient[:, node] == pytest.approx(slope, abs=close(model) / STEP)
                assert np.abs(shift).max() > 1e-4
        assert seen == list(range(pairs.first_difference, pairs.length))


STEP = 1e-4
"""Of a difference quotient, whose own error is about its square: far below what is allowed."""


def test_mixtures_of_experts_equal_whole_passes() -> None:
    model = make_tiny_model("mixtral")
    engine = engine_for(model, length=7, first_difference=3)
    for component in COMPONENTS:
        assert_equals_whole_passes(engine, "denoising", component, 1e-4)


@pytest.mark.slow
def test_the_default_model_equals_whole_passes(default_model: Path) -> None:
    engine = first_pair(default_model)
    model, pairs = engine.model, engine.activations.pairs
    chosen = {"head": [(0, 3), (23, 3)]}
    whole = [(0, 0), (22, 0)]
    # Each component in one direction: the tiny models have both.
    directions: list[Direction] = ["noising", "denoising"] * 2
    # One before the first difference, the difference and the last.
    first, last = pairs.first_difference, pairs.length - 1
    positions = [first - 1, first, last]
    for direction, component in zip(directions, COMPONENTS, strict=True):
        places = chosen.get(component, whole)
        expected = effects_by_position(
            model, pairs, direction, component, units=places, positions=positions
        )
        heads = places if component == "head" else None
        layers = [layer for layer, _ in places]
        units, found, _ = position_patching(
            engine, direction, component, heads=heads, layers=layers
        )
        assert set(units.layer.tolist()) == set(layers)
        head = torch.zeros_like(units.layer) if units.head is None else units.head
        row = {
            unit: place
            for place, unit in enumerate(zip(units.layer.tolist(), head.tolist(), strict=True))
        }
        for place in places:
            assert abs(expected[0, *place, first - 1]) <= 1e-4
            for at in positions[1:]:
                ours = found[row[place], at - first]
                assert ours == pytest.approx(expected[0, *place, at], abs=1e-4)
