"""Heads patched together, and the partners of a head, against plain whole passes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Direction, background_prompt, other_prompt
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import quadrature
from counterpoint.measures.faithfulness import (
    patch_heads_together,
    recovered,
)
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.interaction import partners
from counterpoint.measures.joint_slopes import (
    integral_where_steep,
    joint_slopes,
    unsaturated_integrated_gradients,
)
from counterpoint.measures.patching import activation_patching
from counterpoint.models.load import LanguageModel
from tests.engine.test_suffix import engine_for, reference_for
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_model


def _take_heads(
    value: torch.Tensor, hook: Any, other: torch.Tensor, heads: list[int]
) -> torch.Tensor:
    value = value.clone()
    value[:, :, heads] = other[:, :, heads]
    return value


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_heads_patched_together_equal_the_reference(
    tiny_model: LanguageModel, direction: Direction
) -> None:
    pairs = random_pairs(21, n_pairs=2)
    engine = engine_for(tiny_model, pairs)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.rand(6, tiny_model.n_layers, tiny_model.n_heads, generator=generator) < 0.4
    pair = torch.tensor([0, 1, 0, 1, 0, 1])
    found = patch_heads_together(engine, direction, pair, chosen)
    for row in range(6):
        reference = reference_for(tiny_model, pairs, int(pair[row]))
        background = reference.tokens[background_prompt(direction)]
        other = reference.cache[other_prompt(direction)]
        hooks = []
        for layer in range(tiny_model.n_layers):
            name = f"blocks.{layer}.attn.hook_result"
            heads = chosen[row, layer].nonzero().flatten().tolist()

            hooks.append((name, partial(_take_heads, other=other[name], heads=heads)))
        logits = reference.bridge.run_with_hooks(background, fwd_hooks=hooks)
        assert float(found[row]) == pytest.approx(reference.metric(logits[0, -1]).item(), abs=1e-5)


def test_one_head_alone_recovers_its_normalised_ap(tiny_llama: LanguageModel) -> None:
    engine = engine_for(tiny_llama, random_pairs(22, n_pairs=2))
    ap = activation_patching(engine, "noising").reshape(3, 2, 4)
    change = (engine.unpatched("corrupted") - engine.unpatched("clean")).double().numpy()
    share = recovered(engine, "noising", {"ap": ap}, first_heads=(1, 12))
    first = np.abs(ap).transpose(1, 0, 2).reshape(2, -1).argmax(1)
    expected = ap.transpose(1, 0, 2).reshape(2, -1)[[0, 1], first] / change
    assert share[0, :, 0] == pytest.approx(expected, abs=1e-5)
    assert share.shape == (1, 2, 2)


def test_joint_slopes_integrate_to_joint_ig(tiny_model: LanguageModel) -> None:
    engine = engine_for(tiny_model, random_pairs(23, n_pairs=2))
    nodes, weights = quadrature.gauss_legendre(48)
    for direction in DIRECTIONS:
        slopes = joint_slopes(engine, direction, nodes)
        expected = integrated_gradients(engine, direction).score.reshape(-1, tiny_model.n_heads)
        assert slopes @ weights == pytest.approx(expected, abs=1e-4)
        some = np.array([1, 4])
        assert joint_slopes(engine, direction, nodes, some) == pytest.approx(slopes[some], abs=1e-5)


def test_without_saturation_nothing_is_left_out(tiny_model: LanguageModel) -> None:
    engine = engine_for(tiny_model, random_pairs(24))
    nodes, _ = quadrature.gauss_legendre(48)
    slopes = joint_slopes(engine, "noising", nodes).reshape(
        tiny_model.n_layers, 1, tiny_model.n_heads, -1
    )
    layer_slope = np.abs(slopes.sum(2))
    steady = layer_slope.min(-1) > 0.2 * layer_slope.max(-1)
    assert steady.any()
    found = integrated_gradients(engine, "noising").unsaturated
    joint = integrated_gradients(engine, "noising").score
    assert found[steady] == pytest.approx(joint[steady], abs=1e-3)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_captum_asks_for_gives_the_unsaturated_part(
    tiny_model: LanguageModel, direction: Direction
) -> None:
    """From the gradients on Captum's way as from slopes taken apart, at the same steps."""
    engine = engine_for(tiny_model, random_pairs(26, n_pairs=3))
    for steps in (4, 32):
        found = integrated_gradients(engine, direction, first_steps=steps, max_steps=steps)
        nodes, _ = quadrature.gauss_legendre(steps)
        slopes = joint_slopes(engine, direction, nodes)
        expected = integral_where_steep(quadrature.interpolate_all(nodes, slopes))
        assert found.unsaturated.reshape(expected.shape) == pytest.approx(expected, abs=1e-5)
    apart = unsaturated_integrated_gradients(engine, direction, tolerance=1e-5)
    assert found.unsaturated.reshape(apart.shape) == pytest.approx(
        apart, abs=0.02 * np.abs(apart).max()
    )


def test_steps_are_doubled_where_no_layer_is_done_at_first(tiny_model: LanguageModel) -> None:
    """A tolerance that nothing meets ends at the most steps, and changes little."""
    engine = engine_for(tiny_model, random_pairs(25))
    strict = unsaturated_integrated_gradients(engine, "noising", tolerance=0.0, max_steps=32)
    usual = unsaturated_integrated_gradients(engine, "noising", tolerance=1e-3)
    assert strict.shape == usual.shape
    assert strict == pytest.approx(usual, abs=0.05 * np.abs(usual).max())


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_partners_equal_the_reference(tiny_model: LanguageModel, direction: Direction) -> None:
    pairs = random_pairs(25)
    engine, reference = engine_for(tiny_model, pairs), reference_for(tiny_model, pairs)
    targets = [(0, 0, 1), (0, 2, 3)]
    found = partners(engine, direction, targets)
    start = float(reference.unpatched(background_prompt(direction)))

    def effect(layer: int, heads: list[int]) -> float:
        return float(reference.heads(layer, heads, 1.0, direction)) - start

    for place, (_, layer, head) in enumerate(targets):
        assert found.own[place] == pytest.approx(effect(layer, [head]), abs=1e-4)
        assert found.interaction[place, head] == 0
        for partner in range(tiny_model.n_heads):
            if partner == head:
                continue
            back = partners(engine, direction, [(0, layer, partner)])
            both = found.interaction[place, partner] + back.interaction[0, head]
            expected = effect(layer, [head, partner]) - effect(layer, [head])
            assert both == pytest.approx(expected - effect(layer, [partner]), abs=3e-4)


def test_two_heads_alone_in_a_layer_leave_no_remainder() -> None:
    """Where the layer has one partner only, its interaction is the whole disagreement."""
    model = make_tiny_model("llama_two_heads")
    engine = SuffixEngine(model, cache_activations(model, random_pairs(26)))
    ap = activation_patching(engine, "noising").reshape(model.n_layers, 2)
    joint = integrated_gradients(engine, "noising").score[:, 0]
    targets = [(0, layer, head) for layer in range(model.n_layers) for head in range(2)]
    found = partners(engine, "noising", targets)
    assert len(every_unit(model, 1)) == len(targets)
    disagreement = (joint - ap).reshape(-1)
    assert found.interaction.sum(1) == pytest.approx(disagreement, abs=3e-4)
