"""Circuits of edges equal whole passes with streams added up by hand; all, none, all but one and
those of nodes are what they must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, OPTConfig

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.receiver_inputs import check_attention_is_whole
from counterpoint.engine.sender_changes import every_sender, sender_changes
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.circuit_edges import Edges
from counterpoint.measures.circuit_evaluation import run_circuits
from counterpoint.measures.circuit_nodes import Nodes
from counterpoint.measures.edge_attribution import (
    first_order,
    first_order_direct,
    logits_gradients,
    path_runs,
    receiver_gradients,
)
from counterpoint.measures.edge_circuit_evaluation import (
    EdgeCircuitRuns,
    attention_of,
    edges_of,
    run_edge_circuits,
)
from counterpoint.measures.edge_scores import edge_scores
from counterpoint.measures.edges import ROLES, direct_effects, edge_effects
from counterpoint.measures.held_edges import HeldEdges
from counterpoint.measures.measured_pairs import checked_pairs
from counterpoint.measures.tables.shards import token_pairs
from counterpoint.models.load import LanguageModel, load_language_model, wrap
from counterpoint.pairs.buckets import buckets
from tests.helpers.default_model import default_model
from tests.helpers.float64_throughout import float64_throughout
from tests.helpers.pair_factory import random_pairs
from tests.helpers.plain_edges import PlainEdges, norm_of_mlp
from tests.helpers.tiny_models import make_tiny_model, make_tiny_tokenizer

__all__ = ["default_model"]

EXACT = ("gpt2", "llama", "gpt_neox", "gemma2")


def attention_for(
    model: LanguageModel, seed: int, first_difference: int = 3, n_pairs: int = 2
) -> AttentionParts:
    pairs = random_pairs(seed, n_pairs=n_pairs, first_difference=first_difference)
    return attention_of(SuffixEngine(model, cache_activations(model, pairs)))


@pytest.fixture(params=EXACT)
def exact(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    return float64_throughout(request.param, monkeypatch)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("first_difference", [0, 3])
def test_edge_circuits_equal_whole_passes(
    exact: LanguageModel, direction: Direction, first_difference: int
) -> None:
    attention = attention_for(exact, 31, first_difference)
    engine = attention.engine
    edges = edges_of(engine)
    random = np.random.default_rng(first_difference)
    circuits = random.random((2, len(edges))) < np.array([[0.4], [0.85]])
    found = run_edge_circuits(HeldEdges(attention, direction, edges), circuits)
    plain = PlainEdges(exact, engine.activations.pairs, direction)
    for circuit, metric in zip(edges.matrix(circuits), found, strict=True):
        assert metric == pytest.approx(plain.metric(circuit), abs=1e-9)
    assert np.ptp(found, axis=0).min() > 1e-3


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_ends_and_single_edges(exact: LanguageModel, direction: Direction) -> None:
    """All edges are the background's run and none the other's; without one edge the metric moves by
    the edge's exact effect; one edge alone tells nothing, unless it goes from end to end."""
    attention = attention_for(exact, 32, n_pairs=1)
    engine, edges = attention.engine, edges_of(attention.engine)
    runs = EdgeCircuitRuns([attention], direction, edges)
    ends = np.stack([edges.empty, edges.full])
    assert runs.metric(ends) == pytest.approx(np.stack([runs.empty, runs.full]), abs=1e-9)
    without = np.tile(edges.full, (len(edges), 1))
    np.fill_diagonal(without, False)
    keys = edges.keys(np.arange(len(edges)))
    effect = (runs.metric(without) - runs.full)[:, 0]
    places = [1 + layer * 5 + head if layer >= 0 else 0 for layer, head in _keys_of_senders(exact)]
    changes = sender_changes(engine, direction, 0)
    expected = np.full((len(edges.nodes), edges.n_receivers), np.nan)
    expected[places, -1] = direct_effects(engine, direction, 0, changes)
    for layer in range(exact.n_layers):
        below = changes[: every_sender(exact).count_below(layer)]
        found = edge_effects(attention, direction, 0, layer, range(4), ROLES, below)
        into = np.moveaxis(found, 1, 0).reshape(12, -1)
        expected[places[: len(below)], edges.readers(layer)] = into.T
    into_mlps = (keys["role"] == "mlp").to_numpy()
    known = expected[edges.sender, edges.receiver]
    assert np.isnan(known[into_mlps]).all()
    assert effect[~into_mlps] == pytest.approx(known[~into_mlps], abs=1e-9)
    alone = runs.metric(np.eye(len(edges), dtype=bool))
    through = np.flatnonzero((edges.sender == 0) & (keys["role"] == "logits"))
    told = np.abs(alone - runs.empty).max(1)
    assert told[through] > 1e-3 and np.delete(told, through).max() < 1e-9


def _keys_of_senders(model: LanguageModel) -> list[tuple[int, int]]:
    """Layer and place within it of each sender; the MLP's is after the heads'."""
    senders = every_sender(model)
    within = np.where(senders.head < 0, model.n_heads, senders.head)
    return list(zip(senders.layer.tolist(), within.tolist(), strict=True))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_edges_into_mlps_equal_whole_passes(exact: LanguageModel, direction: Direction) -> None:
    attention = attention_for(exact, 36, n_pairs=1)
    edges = edges_of(attention.engine)
    into = np.flatnonzero(edges.keys(np.arange(len(edges)))["role"] == "mlp")[::5]
    without = np.tile(edges.full, (len(into), 1))
    without[np.arange(len(into)), into] = False
    found = run_edge_circuits(HeldEdges(attention, direction, edges), without)
    plain = PlainEdges(exact, attention.engine.activations.pairs, direction)
    for circuit, metric in zip(edges.matrix(without), found, strict=True):
        assert metric == pytest.approx(plain.metric(circuit), abs=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_circuits_of_nodes_are_all_edges_from_them(
    exact: LanguageModel, direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those into what is outside change nothing; in batches of every size."""
    attention = attention_for(exact, 33)
    engine, edges = attention.engine, edges_of(attention.engine)
    nodes = np.random.default_rng(5).random((5, len(edges.nodes))) < 0.7
    nodes[:, 0] = [True, True, True, True, False]
    expected = run_circuits(engine, direction, nodes)
    circuits = np.stack([edges.from_nodes(inside) for inside in nodes])
    within = edges.matrix(circuits)
    of_nodes = nodes[:, 1:].reshape(5, exact.n_layers, -1)
    for layer in range(exact.n_layers):
        readers = np.concatenate([np.tile(of_nodes[:, layer, :-1], 3), of_nodes[:, layer, -1:]], 1)
        start = edges.readers(layer).start
        within[:, :, start : edges.mlp_reader(layer) + 1] &= readers[:, None, :]
    held = HeldEdges(attention, direction, edges)
    assert run_edge_circuits(held, circuits) == pytest.approx(expected, abs=1e-9)
    between = within[:, edges.sender, edges.receiver]
    assert between.sum() < circuits.sum()
    assert run_edge_circuits(held, between) == pytest.approx(expected, abs=1e-9)
    monkeypatch.setattr(engine, "rows_per_batch", lambda differentiate=False: 40)
    assert run_edge_circuits(held, circuits) == pytest.approx(expected, abs=1e-9)


def test_scores_are_those_of_single_receivers(exact: LanguageModel) -> None:
    """EAP and EAP-IG of heads and logits, made receiver by receiver; of MLPs by plain autograd."""
    attention = attention_for(exact, 34)
    engine, edges = attention.engine, edges_of(attention.engine)
    scores = edge_scores(attention, DIRECTIONS, edges)
    places = [1 + layer * 5 + head if layer >= 0 else 0 for layer, head in _keys_of_senders(exact)]
    for pair in range(2):
        runs = path_runs(engine, pair)
        ends = logits_gradients(runs)
        for direction, prompt in (("noising", "clean"), ("denoising", "corrupted")):
            changes = sender_changes(engine, direction, pair)
            for name in ("eap", "eap_ig"):
                found = np.full((len(edges.nodes), edges.n_receivers), np.nan)
                found[edges.sender, edges.receiver] = scores[direction, name][pair]
                slope = ends.averaged if name == "eap_ig" else ends.of_prompt[prompt]
                into = first_order_direct(slope, changes)
                assert found[places, -1] == pytest.approx(into, abs=1e-9)
                for layer in range(exact.n_layers):
                    below = changes[: every_sender(exact).count_below(layer)]
                    slopes = receiver_gradients(attention, runs, layer, range(4), ROLES)
                    slope = slopes.averaged if name == "eap_ig" else slopes.of_prompt[prompt]
                    into = np.moveaxis(first_order(slope, below), 1, 0).reshape(12, -1).T
                    own = found[places[: len(below)], edges.readers(layer)]
                    assert own == pytest.approx(into, abs=1e-9)
                    if name == "eap":
                        slope = _slope_of_mlp(exact, engine, direction, pair, layer)
                        mlp = torch.einsum("pd,spd->s", slope, changes).numpy()
                        heard = edges.exists[places, edges.mlp_reader(layer)]
                        own = found[places, edges.mlp_reader(layer)]
                        assert own[heard] == pytest.approx(mlp[heard], abs=1e-9)
                        assert np.isnan(own[~heard]).all()


def _slope_of_mlp(
    model: LanguageModel, engine: SuffixEngine, direction: Direction, pair: int, layer: int
) -> torch.Tensor:
    """∂m/∂(what the norm before an MLP is given) in the background's whole pass, of the suffix."""
    pairs = engine.activations.pairs
    tokens = (pairs.clean if direction == "noising" else pairs.corrupted)[pair : pair + 1]
    leaves: list[torch.Tensor] = []

    def add(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> torch.Tensor:
        leaves.append(torch.zeros_like(args[0], requires_grad=True))
        return args[0] + leaves[-1]

    hook = norm_of_mlp(model, layer).register_forward_pre_hook(add)
    with torch.enable_grad():
        logits = model.hf(input_ids=tokens, use_cache=False).logits[0, -1]
        hook.remove()
        metric = logits[pairs.correct[pair][0]] - logits[pairs.incorrect[pair][0]]
        (slope,) = torch.autograd.grad(metric, leaves)
    return slope[0, engine.activations.start :]


def test_names_and_places_of_edges() -> None:
    """By hand for one layer of two heads, and the numbers that the benchmark's graph has."""
    nodes = Nodes(1, 2, (0,), (0,))
    sequential, parallel = Edges(nodes, False), Edges(nodes, True)
    into_heads = [f"input->a0.h{head}<{role}>" for role in "qkv" for head in (0, 1)]
    into_logits = [f"{name}->logits" for name in ("input", "a0.h0", "a0.h1", "m0")]
    into_mlp = ["input->m0", "a0.h0->m0", "a0.h1->m0"]
    assert sequential.names() == [*into_heads, *into_mlp, *into_logits]
    assert parallel.names() == [*into_heads, "input->m0", *into_logits]
    keys = sequential.keys(np.arange(len(sequential)))
    assert keys.iloc[7].tolist() == [0, 0, 0, -1, "mlp"]
    assert keys.iloc[-1].tolist() == [0, -1, 1, -1, "logits"]
    assert keys.iloc[3].tolist() == [-1, -1, 0, 1, "key"]
    # 12 layers of 12 heads: what the benchmark counts for GPT-2 small.
    layers = tuple(range(12))
    assert len(Edges(Nodes(12, 12, layers, layers), False)) == 32_491
    # A layer without an MLP neither sends nor reads.
    assert not any("m0" in name for name in Edges(Nodes(1, 2, (0,), ()), False).names())
    order = sequential.ranked(np.array([1.0, -3, 2] + [0.0] * 10), absolute=False)
    assert order[:3].tolist() == [2, 0, 3]
    order = sequential.ranked(np.array([1.0, -3, 2] + [0.0] * 10), absolute=True)
    assert order[:3].tolist() == [1, 2, 0]


def test_what_edges_do_not_describe_is_refused() -> None:
    torch.manual_seed(0)
    # Norms after the sum: a block does more to the stream than add to it.
    config = OPTConfig(
        vocab_size=61,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        do_layer_norm_before=False,
    )
    model = wrap(AutoModelForCausalLM.from_config(config), make_tiny_tokenizer())
    engine = SuffixEngine(model, cache_activations(model, random_pairs(1)))
    with pytest.raises(UserError, match="more to the residual stream than add"):
        attention_of(engine)
    # A gate would be one more reader of the stream.
    attention = attention_for(make_tiny_model("gpt2"), 35)
    attention.is_whole = lambda layer: layer != 1  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"heads of layer 1 say depends on more .*level: nodes"):
        check_attention_is_whole(attention)


@pytest.mark.slow
def test_edge_circuits_of_the_default_model(default_model: Path) -> None:
    """Of nodes as whole passes of nodes are; without some edges as exact edges say."""
    model = load_language_model(default_model)
    (bucket,) = buckets(checked_pairs(model, "ioi.default").head(1))
    attention = attention_of(SuffixEngine(model, cache_activations(model, token_pairs(bucket))))
    engine, edges = attention.engine, edges_of(attention.engine)
    nodes = np.random.default_rng(6).random((1, len(edges.nodes))) < 0.8
    nodes[:, 0] = True
    held = HeldEdges(attention, "noising", edges)
    found = run_edge_circuits(held, np.stack([edges.from_nodes(nodes[0])]))
    assert found == pytest.approx(run_circuits(engine, "noising", nodes), abs=1e-4)
    keys = edges.keys(np.arange(len(edges)))
    value = keys[(keys["receiver_layer"] == 29) & (keys["receiver_head"] == 1)]
    value = value[value["role"] == "value"].index.to_numpy()
    below = sender_changes(engine, "noising", 0, 29)
    exact = edge_effects(attention, "noising", 0, 29, [1], ["value"], below)[0, 0]
    first = np.argsort(-np.abs(exact))[:3]
    without = np.tile(edges.full, (3, 1))
    without[np.arange(3), value[first]] = False
    moved = run_edge_circuits(held, without)[:, 0] - engine.unpatched("clean").item()
    assert moved == pytest.approx(exact[first], abs=1e-4) and np.abs(moved).min() > 0.1
