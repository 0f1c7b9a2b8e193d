"""Greedy circuits equal a plain greedy search over whole passes; rankings, costs and sizes."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Direction, TokenPairs
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.circuit_evaluation import CircuitRuns, nodes_of
from counterpoint.measures.circuit_nodes import NODE_KINDS
from counterpoint.measures.circuit_search import Growth, costs, final_size, first_nodes, greedy
from counterpoint.models.load import LanguageModel
from tests.helpers.pair_factory import random_pairs
from tests.helpers.plain_circuits import circuit_metric
from tests.helpers.tiny_models import make_tiny_model


def buckets_of(model: LanguageModel) -> list[TokenPairs]:
    """Two buckets: circuits are chosen on both together."""
    one = random_pairs(41, n_pairs=2)
    return [one, random_pairs(42, n_pairs=1, length=7, first_difference=2)]


def runs_of(
    model: LanguageModel, direction: Direction, kinds: tuple[str, ...] = NODE_KINDS
) -> CircuitRuns:
    engines = [SuffixEngine(model, cache_activations(model, pairs)) for pairs in buckets_of(model)]
    return CircuitRuns(engines, direction, nodes_of(model, kinds))


def plain_faithfulness(model: LanguageModel, direction: Direction, circuit: np.ndarray) -> float:
    """f over all pairs, by whole passes."""
    ends = [np.ones_like(circuit), np.zeros_like(circuit), circuit]
    full, empty, own = (
        np.concatenate([circuit_metric(model, each, direction, end) for each in buckets_of(model)])
        for end in ends
    )
    return float((own - empty).mean() / (full - empty).mean())


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_greedy_is_brute_force(architecture: str, direction: Direction) -> None:
    model = make_tiny_model(architecture, "float64")
    runs = runs_of(model, direction)
    found = greedy(runs, share=2.0, max_nodes=4)
    circuit, order, heights = runs.nodes.empty, [], []
    for _ in range(4):
        tried = {}
        for node in np.flatnonzero(~circuit):
            grown = circuit.copy()
            grown[node] = True
            tried[int(node)] = plain_faithfulness(model, direction, grown)
        # Before the embeddings are in nothing changes.
        best = max(tried, key=lambda node: tried[node]) if circuit[0] else 0
        circuit = circuit | (np.arange(len(circuit)) == best)
        order.append(best)
        heights.append(tried[best])
    assert found.order.tolist() == order
    assert found.faithfulness == pytest.approx(heights, abs=1e-6)
    assert found.tried.tolist() == [1, 15, 14, 13]
    assert found.metric.shape == (4, 3)


def test_a_shortlist_has_the_nodes_of_largest_worth() -> None:
    model = make_tiny_model("gpt2", "float64")
    runs = runs_of(model, "noising")
    found = greedy(runs, share=2.0, max_nodes=3, candidates=4)
    assert found.tried.tolist() == [1, 4, 4]
    circuit = runs.nodes.empty.copy()
    circuit[0] = True
    outside = np.flatnonzero(~circuit)
    likely = outside[np.argsort(-runs.worth(circuit)[outside])[:4]]
    heights = []
    for node in likely:
        grown = circuit.copy()
        grown[node] = True
        heights.append(plain_faithfulness(model, "noising", grown))
    assert found.order[1] == likely[np.argmax(heights)]
    # As many as there are is all of them.
    whole = greedy(runs, share=2.0, max_nodes=3)
    assert (
        greedy(runs, share=2.0, max_nodes=3, candidates=99).order.tolist() == whole.order.tolist()
    )


def test_search_and_rankings_stop_when_enough_is_recovered() -> None:
    runs = runs_of(make_tiny_model("gpt2", "float64"), "noising")
    whole = greedy(runs, share=2.0, max_nodes=99)
    # Every node is inside at the end, and a circuit is run once only.
    assert len(whole.order) == 16 and whole.faithfulness[-1] == pytest.approx(1)
    evaluations = runs.evaluations
    share = float(whole.faithfulness[3])
    short = greedy(runs, share=share, max_nodes=99)
    assert short.faithfulness[-1] >= share and len(short.order) <= 4
    assert runs.evaluations == evaluations
    ranked = first_nodes(runs, whole.order, share=share, max_nodes=99)
    assert ranked.order.tolist() == short.order.tolist()
    assert ranked.faithfulness == pytest.approx(short.faithfulness)
    assert ranked.tried.tolist() == [0] * len(short.order)
    # Nine and more nodes are run in a second look.
    assert len(first_nodes(runs, whole.order, share=9.0, max_nodes=11).order) == 11


def test_costs_are_what_leaving_out_costs() -> None:
    model = make_tiny_model("llama", "float64")
    runs = runs_of(model, "denoising")
    members = np.array([0, 3, 8, 15])
    found = costs(runs, members)
    whole = runs.nodes.firsts(members, [4])[0]
    for place, member in enumerate(members):
        without = whole.copy()
        without[member] = False
        expected = plain_faithfulness(model, "denoising", whole) - plain_faithfulness(
            model, "denoising", without
        )
        assert found[place] == pytest.approx(expected, abs=1e-6)
    # Without the embeddings nothing is recovered.
    assert found[0] == pytest.approx(plain_faithfulness(model, "denoising", whole), abs=1e-6)


def test_components_that_are_no_candidates_stay_inside() -> None:
    model = make_tiny_model("gpt2", "float64")
    runs = runs_of(model, "noising", ("head",))
    assert runs.nodes.empty.sum() == 1 + 3
    found = greedy(runs, share=9.0, max_nodes=2)
    assert set(runs.nodes.keys(found.order)["component"]) == {"head"}
    circuit = runs.nodes.firsts(found.order, [2])[0]
    assert found.faithfulness[1] == pytest.approx(
        plain_faithfulness(model, "noising", circuit), abs=1e-6
    )


def test_sizes_for_shares() -> None:
    heights = np.array([0.1, 0.6, 0.4, 0.85])
    growth = Growth(np.arange(4), np.zeros((4, 1)), heights, np.zeros(4, dtype=int))
    assert [growth.size_for(share) for share in (0.1, 0.5, 0.8, 0.9)] == [1, 2, 4, None]
    assert final_size(growth, [0.9, 0.5]) == 2
    assert final_size(growth, [0.9]) == 4
