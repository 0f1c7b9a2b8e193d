"""Small sets of edges: the sizes that are tried, pruning, and the cost of each edge."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import edge_circuit_search
from counterpoint.measures.edge_circuit_evaluation import EdgeCircuitRuns, attention_of, edges_of
from counterpoint.measures.edge_circuit_search import (
    Grown,
    edge_costs,
    first_edges,
    grid,
    pruned,
)
from counterpoint.measures.edge_scores import edge_scores
from tests.helpers.pair_factory import random_pairs
from tests.helpers.plain_edges import PlainEdges
from tests.helpers.tiny_models import make_tiny_model


def runs_of() -> tuple[EdgeCircuitRuns, np.ndarray]:
    """Circuits on two buckets of pairs, and all edges ranked by EAP-IG."""
    model = make_tiny_model("llama", "float64")
    attentions = [
        attention_of(SuffixEngine(model, cache_activations(model, pairs)))
        for pairs in (
            random_pairs(41, n_pairs=2),
            random_pairs(42, length=7, first_difference=2),
        )
    ]
    edges = edges_of(attentions[0].engine)
    runs = EdgeCircuitRuns(attentions, "noising", edges)
    scores = [edge_scores(each, ["noising"], edges)["noising", "eap_ig"] for each in attentions]
    importance = -np.concatenate(scores).mean(0) / (runs.full - runs.empty).mean()
    return runs, edges.ranked(importance, absolute=False)


def plain_faithfulness(runs: EdgeCircuitRuns, circuit: np.ndarray) -> float:
    """f by whole passes."""
    inside = runs.edges.matrix(circuit[None])[0]
    found = [
        PlainEdges(runs.model, engine.activations.pairs, "noising").metric(inside)
        for engine in runs.engines
    ]
    gone = np.concatenate(found) - runs.empty
    return float(gone.mean() / (runs.full - runs.empty).mean())


def test_sizes_that_are_tried() -> None:
    sizes = grid(100)
    assert sizes[:8].tolist() == [1, 2, 3, 4, 5, 6, 7, 8] and sizes[-1] == 100
    assert (np.diff(sizes) >= 1).all() and (sizes[1:] / sizes[:-1])[6:].max() <= 1.2
    assert grid(1).tolist() == [1]
    found = Grown(np.arange(4), np.array([1, 2, 4]), np.zeros((3, 1)), np.array([0.1, 0.6, 0.4]))
    assert [found.size_for(share) for share in (0.1, 0.5, 0.7)] == [1, 2, None]


def test_a_ranking_stops_where_enough_is_recovered() -> None:
    runs, order = runs_of()
    whole = first_edges(runs, order, share=99.0, max_edges=40)
    assert whole.sizes[-1] == 40 and len(whole.order) == 40
    share = float(np.sort(whole.faithfulness)[-3])
    short = first_edges(runs, order, share=share, max_edges=40)
    assert short.faithfulness[-1] >= share > short.faithfulness[:-1].max()
    assert short.order.tolist() == order[: short.sizes[-1]].tolist()
    # No more edges than there are.
    assert first_edges(runs, order, share=99.0, max_edges=10**6).faithfulness[-1] == pytest.approx(
        1
    )


def test_pruning_leaves_only_edges_that_were_missed() -> None:
    runs, order = runs_of()
    whole = first_edges(runs, order, share=0.9, max_edges=len(order))
    share, start = 0.9, whole.order
    kept = pruned(runs, start, share=share)
    circuit = runs.edges.firsts(kept, [len(kept)])[0]
    assert 0 < len(kept) < len(start) and runs.faithfulness(circuit[None])[0] >= share
    assert kept.tolist() == [edge for edge in start if edge in set(kept)]
    assert plain_faithfulness(runs, circuit) == pytest.approx(
        runs.faithfulness(circuit[None])[0], abs=1e-6
    )
    # From the end of the order: of what was left then, the rest did not do without this edge.
    without = runs.edges.firsts(start, [len(start)])[0]
    for edge in start[::-1]:
        without[edge] = False
        if edge in set(kept):
            assert runs.faithfulness(without[None])[0] < share
            without[edge] = True
    assert without.tolist() == circuit.tolist()
    # What asks for nothing needs nothing.
    assert len(pruned(runs, start, share=-99.0)) == 0


def test_costs_of_edges_are_what_leaving_out_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, order = runs_of()
    members = order[:30]
    found = edge_costs(runs, members)
    whole = runs.edges.firsts(members, [30])[0]
    for place in np.argsort(-np.abs(found))[:2]:
        without = whole.copy()
        without[members[place]] = False
        expected = plain_faithfulness(runs, whole) - plain_faithfulness(runs, without)
        assert found[place] == pytest.approx(expected, abs=1e-6)
    assert np.abs(found).max() > 1e-3
    monkeypatch.setattr(edge_circuit_search, "MOST_CHECKED", 29)
    assert np.isnan(edge_costs(runs, members)).all()
