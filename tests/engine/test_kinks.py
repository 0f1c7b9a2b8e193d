"""Curves with kinks: what is stated as their error holds, and smooth models pay nothing for it."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import OlmoConfig

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import Direction
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.kinks import has_kinks
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import jumps, piecewise_curves
from counterpoint.measures.curves import output_curves
from counterpoint.measures.piecewise_curves import Curve
from counterpoint.measures.slopes import values_and_slopes
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_model
from tests.measures.test_jumps import SETTINGS, traced

GRID = np.linspace(0, 1, 151)


@pytest.mark.parametrize(
    ("architecture", "kinked"),
    [("llama", False), ("gpt2", False), ("gemma2", False), ("llama_relu", True)],
)
def test_operations_with_kinks_are_seen(architecture: str, kinked: bool) -> None:
    assert has_kinks(make_tiny_model(architecture)) is kinked


@pytest.mark.parametrize(("seed", "direction"), [(1, "denoising"), (2, "noising")])
def test_errors_of_a_relu_model_hold(
    seed: int, direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last coefficients alone said up to fifteen times too little, for a third of these heads."""
    model = make_tiny_model("llama_relu")
    engine = SuffixEngine(model, cache_activations(model, random_pairs(seed)))
    units = every_unit(model, 1)[slice(5, 11)]
    kept: list[Curve] = []
    measured = jumps._measured
    monkeypatch.setattr(
        jumps, "_measured", lambda curves: (kept.extend(curves), measured(curves))[1]
    )
    found = output_curves(engine, direction, units)
    plain, slopes = values_and_slopes(
        engine, direction, "head", units, np.broadcast_to(GRID, (len(units), len(GRID)))
    )
    assert found.resolved.sum() >= 3
    for unit, curve in enumerate(kept):
        error = np.abs(piecewise_curves.value_at(curve, GRID) - plain[unit]).max()
        assert error <= found.quadrature_error[unit], unit
        # At a kink itself g is what it is on one side.
        off = np.abs(piecewise_curves.slope_at(curve, GRID) - slopes[unit])
        assert np.mean(off > found.gradient_error[unit]) < 0.02, unit
    resolved = found.resolved
    assert np.abs(found.ig_own - found.ap)[resolved].max() <= 1e-4


@pytest.mark.parametrize("seed", range(20))
def test_errors_of_made_kinks_hold(seed: int) -> None:
    random = np.random.default_rng(seed)
    places = random.uniform(0, 1, 6)
    turns = random.normal(size=6) * 10 ** random.uniform(-4, -1, 6)

    def value(alphas: np.ndarray) -> np.ndarray:
        return np.sin(alphas) + np.maximum(alphas[:, None] - places, 0) @ turns

    def slope(alphas: np.ndarray) -> np.ndarray:
        return np.cos(alphas) + (alphas[:, None] > places) @ turns

    settings = piecewise_curves.Settings(1e-4, SETTINGS.floor, SETTINGS.resolution, 500, kinks=True)
    curve = traced(value, slope, settings=settings)
    dense = np.linspace(0, 1, 4001)
    assert curve.resolved
    assert (
        np.abs(piecewise_curves.value_at(curve, dense) - value(dense)).max() <= curve.error <= 2e-4
    )
    assert not piecewise_curves.is_jump(curve).any()


def test_a_clamp_of_queries_and_keys_is_a_kink() -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from counterpoint.models.load import wrap

    config = OlmoConfig(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        clip_qkv=0.5,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    hf = AutoModelForCausalLM.from_config(config).eval()
    hf.config.architectures = [type(hf).__name__]
    assert has_kinks(wrap(hf, make_tiny_model("llama").tokenizer))
