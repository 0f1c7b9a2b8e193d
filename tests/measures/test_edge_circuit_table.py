"""The tables of circuits of edges, and what is exported of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from counterpoint.engine.activations import DIRECTIONS
from counterpoint.errors import UserError
from counterpoint.measures.edge_importances import edge_importances
from counterpoint.measures.measured_pairs import checked_pairs
from counterpoint.measures.tables.edge_circuit_table import (
    EDGE_METHODS,
    EdgeCircuitSettings,
    EdgeCircuitTables,
    edge_settings_of,
    find_edge_circuits,
)
from counterpoint.measures.tables.shards import Measurement
from counterpoint.statistics.circuit_areas import SHARES, sizes
from counterpoint.statistics.resampling import Settings
from tests.helpers.tiny_models import make_tiny_model

PAIRS = [
    (" w5 w6 w7 w8 w9", " w5 w6 w10 w8 w9", " w20", " w21"),
    (" w15 w6 w17 w8 w9", " w15 w6 w12 w8 w9", " w22", " w23"),
    (" w5 w16 w7 w9", " w5 w10 w7 w9", " w24", " w25"),
]
"""Of two buckets."""

STATISTICS = Settings(bootstrap_samples=50)
N_EDGES = 3 * 12 * 1 + 12 * (5 + 10) + (5 + 10 + 15) + 16
"""Of three layers of four heads: into heads, MLPs and logits."""


def made(settings: EdgeCircuitSettings, architecture: str = "gpt2") -> EdgeCircuitTables:
    model = make_tiny_model(architecture)
    return find_edge_circuits(
        model, checked_pairs(model, PAIRS), Measurement(), settings, STATISTICS
    )


@pytest.fixture(scope="module")
def found() -> EdgeCircuitTables:
    return made(EdgeCircuitSettings(recovered=(0.2, 0.8)))


def test_small_sets_say_what_the_circuits_say(found: EdgeCircuitTables) -> None:
    assert found.members["direction"].unique().tolist() == list(DIRECTIONS)
    assert found.members["method"].unique().tolist() == list(EDGE_METHODS)
    tried = found.curves[found.curves["share"].isna()]
    for (direction, method), rows in found.members.groupby(["direction", "method"], sort=False):
        assert rows["k"].tolist() == list(range(1, len(rows) + 1))
        assert not rows.drop(columns=["k", "importance", "cost"]).duplicated().any()
        assert rows["importance"].is_monotonic_decreasing
        own = tried[(tried["direction"] == direction) & (tried["method"] == method)]
        height = own.loc[own["k"] == len(rows), "faithfulness"].iloc[0]
        assert height >= 0.8 and rows["cost"].notna().all()
        # The ratio of means over pairs, from the table of pairs.
        pairs = found.faithfulness
        pairs = pairs[(pairs["direction"] == direction) & (pairs["method"] == method)]
        assert set(pairs.loc[pairs["share"].isna(), "k"]) == set(own["k"])
        assert (pairs.groupby(["ranked_by", "share", "k"], dropna=False).size() == 3).all()
    pruned = found.members[found.members["method"] == "pruned"]
    start = found.members[found.members["method"] == "eap_ig"]
    for direction in DIRECTIONS:
        sets = [set(map(tuple, _keys(each, direction))) for each in (pruned, start)]
        assert sets[0] <= sets[1]


def _keys(table: pd.DataFrame, direction: str) -> np.ndarray:
    own = table[table["direction"] == direction]
    return own[
        ["sender_layer", "sender_head", "receiver_layer", "receiver_head", "role"]
    ].to_numpy()


def test_curves_have_the_benchmarks_shares(found: EdgeCircuitTables) -> None:
    shares = found.faithfulness[found.faithfulness["share"].notna()]
    assert sorted(shares["share"].unique()) == list(SHARES)
    assert set(shares["method"]) == {"eap", "eap_ig"}
    counted = shares.groupby("share")["k"].unique()
    assert [list(each) for each in counted] == [[k] for k in sizes(N_EDGES)]
    assert shares[shares["k"] == 0]["recovered"].to_numpy() == pytest.approx(0, abs=1e-5)
    assert shares[shares["k"] == N_EDGES]["recovered"].to_numpy() == pytest.approx(1, abs=1e-5)
    widths = np.diff(np.array(SHARES))
    # Here the full and the empty circuit's own runs stand for those of the two prompts, from which
    # they differ by rounding, as the two lines above allow.
    for (direction, method, ranked), rows in shares.groupby(["direction", "method", "ranked_by"]):
        metric = rows.pivot_table(index="share", columns="pair", values="metric")
        full, empty = metric.loc[1.0], metric.loc[0.001]
        heights = ((metric - empty).mean(axis=1) / (full - empty).mean()).to_numpy()
        of = found.areas
        own = of[
            (of["direction"] == direction) & (of["method"] == method) & (of["ranked_by"] == ranked)
        ].set_index("area")
        assert own.loc["cpr", "estimate"] == pytest.approx(
            float((widths * (heights[1:] + heights[:-1]) / 2).sum()), abs=1e-5
        )
        off = np.abs(1 - heights)
        assert own.loc["cmd", "estimate"] == pytest.approx(
            float((widths * (off[1:] + off[:-1]) / 2).sum()), abs=1e-5
        )
        assert (own["ci_low"] <= own["estimate"]).all() and (own["n_edges"] == N_EDGES).all()


def test_the_export_is_what_the_benchmark_reads(found: EdgeCircuitTables) -> None:
    """The reader asks its graph for each edge by name, and wants ``score`` and ``in_graph``."""
    made = edge_importances(found.scores, found.graph, "eap_ig")
    stored = json.loads(json.dumps(made, allow_nan=False))
    assert list(stored) == ["cfg", "nodes", "edges"]
    assert stored["cfg"] == {
        "n_layers": 3,
        "n_heads": 4,
        "parallel_attn_mlp": False,
        "d_model": 32,
    }
    # By the benchmark's own construction of a graph, written anew.
    names, stream = [], ["input"]
    for layer in range(3):
        heads = [f"a{layer}.h{head}" for head in range(4)]
        names += [f"{node}->{head}<{role}>" for node in stream for head in heads for role in "qkv"]
        stream += heads
        names += [f"{node}->m{layer}" for node in stream]
        stream.append(f"m{layer}")
    names += [f"{node}->logits" for node in stream]
    assert sorted(stored["edges"]) == sorted(names) and len(names) == N_EDGES
    assert list(stored["nodes"]) == [*stream, "logits"]
    scores = found.scores[
        (found.scores["method"] == "eap_ig") & (found.scores["direction"] == "noising")
    ].set_index(["sender_layer", "sender_head", "receiver_layer", "receiver_head", "role"])["score"]
    for name, key in (
        ("input->a0.h2<k>", (-1, -1, 0, 2, "key")),
        ("a0.h3->m1", (0, 3, 1, -1, "mlp")),
        ("m1->a2.h0<v>", (1, -1, 2, 0, "value")),
        ("m2->logits", (2, -1, 3, -1, "logits")),
    ):
        # Positive where the corrupted value makes the answer worse.
        assert stored["edges"][name] == {"score": -scores[key], "in_graph": False}
    with pytest.raises(ValueError, match="no pruned in noising"):
        edge_importances(found.scores, found.graph, "pruned")
    with pytest.raises(ValueError, match="for 1 of the"):
        edge_importances(found.scores.drop(index=found.scores.index[:1]), found.graph, "eap")
    with pytest.raises(ValueError, match="scores of eap in noising"):
        edge_importances(found.scores, {**found.graph, "parallel_attn_mlp": True}, "eap")


def test_sets_that_recover_too_little_are_told_and_not_pruned() -> None:
    tables = made(EdgeCircuitSettings(recovered=(1.0,), max_edges=2))
    assert set(tables.members["method"]) == {"eap_ig", "eap"}
    assert tables.members.groupby(["direction", "method"]).size().unique().tolist() == [2]
    alone = made(EdgeCircuitSettings(edge_methods=("pruned",)), "gpt_neox")
    assert alone.areas.empty and alone.scores.empty and alone.graph["parallel_attn_mlp"] is True
    assert set(alone.curves["method"]) == {"pruned"} and alone.curves["share"].isna().all()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"edge_methods": []}, "edge_methods is"),
        ({"edge_methods": "eap"}, "give a list of different ones"),
        ({"edge_methods": ["ap"]}, "edge_methods has 'ap'; known are pruned, eap, eap_ig"),
        ({"recovered": [0.5, 1.2]}, "recovered is .*at most 1"),
        ({"max_edges": 0}, "max_edges is 0; give at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        EdgeCircuitSettings(**changes)


def test_settings_from_a_configuration() -> None:
    section = {"pairs": 4, "level": "both", "edge_methods": ["eap"], "max_edges": 3, "nodes": []}
    assert edge_settings_of(section) == EdgeCircuitSettings(edge_methods=("eap",), max_edges=3)
