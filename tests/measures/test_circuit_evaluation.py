"""Circuits equal whole passes with plain hooks; empty, full and all-but-one are what they must."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.engine.evaluation_rows import WAYS
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.circuit_evaluation import (
    CircuitRuns,
    nodes_of,
    run_changed_circuits,
    run_circuits,
)
from counterpoint.measures.circuit_nodes import NODE_KINDS
from counterpoint.measures.node_gradients import worths
from counterpoint.measures.patching import activation_patching
from counterpoint.models.load import LanguageModel
from tests.helpers.default_model import default_model, first_pair
from tests.helpers.float64_throughout import float64_throughout
from tests.helpers.pair_factory import random_pairs
from tests.helpers.plain_circuits import circuit_metric, moved_metric

__all__ = ["default_model"]

EXACT = ("gpt2", "llama", "gpt_neox", "gemma2")


def engine_of(model: LanguageModel, seed: int, first_difference: int = 3) -> SuffixEngine:
    pairs = random_pairs(seed, n_pairs=2, first_difference=first_difference)
    return SuffixEngine(model, cache_activations(model, pairs))


@pytest.fixture(params=EXACT)
def exact(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    return float64_throughout(request.param, monkeypatch)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("first_difference", [0, 3])
def test_circuits_equal_whole_passes(
    exact: LanguageModel, direction: Direction, first_difference: int
) -> None:
    engine = engine_of(exact, 31, first_difference)
    nodes = nodes_of(engine.model, NODE_KINDS)
    random = np.random.default_rng(0)
    circuits = random.random((6, len(nodes))) < 0.6
    circuits[:, 0] = [True, True, True, True, True, False]
    found = run_circuits(engine, direction, circuits)
    for circuit, metric in zip(circuits, found, strict=True):
        expected = circuit_metric(engine.model, engine.activations.pairs, direction, circuit)
        assert metric == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_ends_of_a_circuit(exact: LanguageModel, direction: Direction) -> None:
    """The full circuit is the background's run, one without the embeddings the other's; leaving
    one node out costs exactly its AP."""
    engine = engine_of(exact, 32)
    nodes = nodes_of(engine.model, NODE_KINDS)
    runs = CircuitRuns([engine], direction, nodes)
    assert runs.faithfulness(np.stack([nodes.empty, nodes.full])) == pytest.approx([0, 1], abs=1e-9)
    without = np.tile(nodes.full, (len(nodes), 1))
    np.fill_diagonal(without, False)
    cost = runs.full - runs.metric(without)
    blocks = -cost[1:].reshape(engine.model.n_layers, -1, 2)
    heads, mlps = (
        activation_patching(engine, direction, component=kind).reshape(engine.model.n_layers, 2, -1)
        for kind in ("head", "mlp")
    )
    assert blocks[:, :-1] == pytest.approx(heads.swapaxes(1, 2), abs=1e-9)
    assert blocks[:, -1] == pytest.approx(mlps[:, :, 0], abs=1e-9)
    assert cost[0] == pytest.approx(runs.full - runs.empty, abs=1e-9)
    # Without the embeddings nothing inside can differ from the other run.
    without[:, 0] = False
    assert runs.metric(without) == pytest.approx(np.tile(runs.empty, (len(nodes), 1)), abs=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_circuits_beside_one_equal_whole_passes(
    exact: LanguageModel, direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every node taken in or out, rows joining at its layer, in batches of unequal rows."""
    circuit = np.random.default_rng(2).random(16) < 0.5
    circuit[0] = True
    changed = np.random.default_rng(3).permutation(16)
    circuits = np.tile(circuit, (16, 1))
    circuits[np.arange(16), changed] ^= True
    for first_difference in (3, 0):
        engine = engine_of(exact, 34, first_difference)
        expected = run_circuits(engine, direction, circuits)
        monkeypatch.setattr(engine, "rows_per_batch", lambda differentiate=False: 5)
        found = run_changed_circuits(engine, direction, circuit, changed)
        assert found == pytest.approx(expected, abs=1e-9)
        # As they are where blocks cannot be called one by one.
        monkeypatch.setattr(engine, "way", lambda kind: WAYS[-1])
        found = run_changed_circuits(engine, direction, circuit, changed)
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_worths_are_the_slopes_of_whole_passes(exact: LanguageModel, direction: Direction) -> None:
    """The guess of a node is the slope of the metric as the node moves, by central differences."""
    engine = engine_of(exact, 33)
    nodes = nodes_of(engine.model, NODE_KINDS)
    circuit = np.random.default_rng(1).random(len(nodes)) < 0.6
    circuit[0] = True
    found = worths(engine, direction, circuit)
    for node in (1, 4, 5, 7, 15):
        step = 1e-4
        ends = [
            moved_metric(engine.model, engine.activations.pairs, direction, circuit, node, at)
            for at in (step, -step)
        ]
        assert found[:, node] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_circuits_of_the_default_model_equal_whole_passes(default_model: Path) -> None:
    direction: Direction = "noising"
    engine = first_pair(default_model)
    model, pairs = engine.model, engine.activations.pairs
    nodes = nodes_of(model, NODE_KINDS)
    circuits = np.random.default_rng(4).random((3, len(nodes))) < np.array([[0.1], [0.5], [0.9]])
    circuits[:, 0] = True
    found = run_circuits(engine, direction, circuits)
    for circuit, metric in zip(circuits, found, strict=True):
        expected = circuit_metric(model, pairs, direction, circuit)
        assert metric == pytest.approx(expected, abs=1e-4)
    changed = np.array([1, 95, 300])
    beside = np.tile(circuits[1], (3, 1))
    beside[np.arange(3), changed] ^= True
    assert run_changed_circuits(engine, direction, circuits[1], changed) == pytest.approx(
        run_circuits(engine, direction, beside), abs=1e-4
    )
