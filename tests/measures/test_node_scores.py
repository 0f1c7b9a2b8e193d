"""Scores of nodes equal plain autograd on whole passes, AP, and what they must sum to."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Direction, TokenPairs
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures import quadrature
from counterpoint.measures.circuit_evaluation import nodes_of
from counterpoint.measures.circuit_nodes import NODE_KINDS
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.node_scores import RANKINGS, node_scores
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.slopes import values_and_slopes
from counterpoint.models.load import LanguageModel
from tests.helpers.float64_throughout import float64_throughout
from tests.helpers.pair_factory import random_pairs
from tests.helpers.plain_circuits import differences
from tests.helpers.whole_passes import changed, logits, values_of


def plain_eap_ig_inputs(
    model: LanguageModel, pairs: TokenPairs, direction: Direction, steps: int
) -> np.ndarray:
    """[pair, node]: whole passes of the Hugging Face model, embeddings in steps, plain autograd."""
    sides = ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")
    background, other = (getattr(pairs, side) for side in sides)
    embed = model.hf.get_input_embeddings()
    modules: list[tuple[Any, Any]] = []
    for layer in range(model.n_layers):
        modules += [(model.output_projection(layer), "head"), (model.mlp(layer), "mlp")]
    runs = [values_of(model, modules, tokens) for tokens in (background, other)]
    alphas, weights = quadrature.gauss_legendre(steps)
    total = np.zeros((len(pairs), 1 + model.n_layers * (model.n_heads + 1)))
    for alpha, weight in zip(alphas, weights, strict=True):
        kept: list[Tensor] = []

        def keep(value: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(value)
            return value

        with torch.enable_grad(), ExitStack() as hooks:
            ends = [embed(tokens).detach() for tokens in (background, other)]
            start = (ends[0] + alpha * (ends[1] - ends[0])).requires_grad_()
            hooks.callback(embed.register_forward_hook(lambda m, a, o, start=start: start).remove)
            for module, kind in modules:
                hooks.enter_context(changed(module, kind, keep))
            end = differences(logits(model, background), pairs).sum()
            gradients = torch.autograd.grad(end, [start, *kept])
        parts = [((ends[1] - ends[0]) * gradients[0]).sum((1, 2)).unsqueeze(1)]
        for place, (_, kind) in enumerate(modules):
            product = (runs[1][place] - runs[0][place]) * gradients[1 + place]
            n_parts = model.n_heads if kind == "head" else 1
            parts.append(product.unflatten(-1, (n_parts, -1)).sum((1, 3)))
        total += weight * torch.cat(parts, 1).detach().numpy()
    return total


def scores_of(
    engine: SuffixEngine, direction: Direction, rankings: tuple[str, ...] = RANKINGS
) -> dict[str, np.ndarray]:
    model = engine.model
    n_pairs = len(engine.activations.pairs)
    ap = activation_patching(engine, direction).reshape(model.n_layers, n_pairs, model.n_heads)
    joint = integrated_gradients(engine, direction).score
    return node_scores(
        engine, direction, nodes_of(model, NODE_KINDS), rankings, {"ap": ap, "ig_joint": joint}
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox", "gemma2"])
def test_eap_ig_inputs_equals_plain_autograd(
    architecture: str, direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = float64_throughout(architecture, monkeypatch)
    monkeypatch.setattr("counterpoint.measures.node_scores.FIRST_STEPS", 6)
    monkeypatch.setattr("counterpoint.measures.node_scores.MOST_STEPS", 6)
    for first in (3, 0):
        pairs = random_pairs(51, n_pairs=2, first_difference=first)
        engine = SuffixEngine(model, cache_activations(model, pairs))
        found = scores_of(engine, direction, ("eap_ig_inputs",))["eap_ig_inputs"]
        expected = plain_eap_ig_inputs(model, pairs, direction, 6)
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_scores_are_what_they_are_elsewhere(
    tiny_model: LanguageModel, direction: Direction
) -> None:
    engine = SuffixEngine(tiny_model, cache_activations(tiny_model, random_pairs(52, n_pairs=2)))
    found = scores_of(engine, direction)
    whole = engine.unpatched("corrupted") - engine.unpatched("clean")
    change = (whole if direction == "noising" else -whole).double().numpy()
    layers = tiny_model.n_layers
    blocks = {
        name: score[:, 1:].reshape(2, layers, -1).transpose(1, 0, 2)
        for name, score in found.items()
    }
    # Embeddings: the whole change, exact or by completeness (of wild paths: random weights are
    # large); MLPs and they move alone.
    for name, share in (("ap", 1e-6), ("ig_joint", 1e-6), ("eap_ig_inputs", 3e-2)):
        assert found[name][:, 0] == pytest.approx(change, abs=share * np.abs(change).mean())
    assert (blocks["ig_joint"][..., -1] == blocks["ap"][..., -1]).all()
    for kind, place in (("head", slice(0, -1)), ("mlp", slice(-1, None))):
        units = every_unit(tiny_model, 2, kind)
        ap = activation_patching(engine, direction, component=kind)
        _, slope = values_and_slopes(engine, direction, kind, units, np.zeros((len(units), 1)))
        assert blocks["ap"][..., place].reshape(-1) == pytest.approx(ap, abs=1e-6)
        assert blocks["atp"][..., place].reshape(-1) == pytest.approx(slope[:, 0], abs=1e-4)


def test_both_directions_have_one_path(tiny_llama: LanguageModel) -> None:
    engine = SuffixEngine(tiny_llama, cache_activations(tiny_llama, random_pairs(53)))
    one, back = (scores_of(engine, direction)["eap_ig_inputs"] for direction in DIRECTIONS)
    assert one == pytest.approx(-back, abs=1e-3)


def test_a_path_that_is_not_complete_is_told(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("counterpoint.measures.node_scores.FIRST_STEPS", 1)
    monkeypatch.setattr("counterpoint.measures.node_scores.MOST_STEPS", 1)
    engine = SuffixEngine(tiny_llama, cache_activations(tiny_llama, random_pairs(54)))
    scores_of(engine, "noising", ("eap_ig_inputs",))
    assert "EAP-IG on inputs: with 1 steps the embeddings' own score misses" in caplog.text


def test_an_unknown_score_is_refused(tiny_llama: LanguageModel) -> None:
    engine = SuffixEngine(tiny_llama, cache_activations(tiny_llama, random_pairs(55)))
    with pytest.raises(UserError, match="methods has relevance; known are greedy, ap"):
        node_scores(engine, "noising", nodes_of(tiny_llama, NODE_KINDS), ("relevance",), {})
