"""The tables of circuits: their rows say what the runs say, and what is exported is readable."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from counterpoint.engine.activations import DIRECTIONS
from counterpoint.errors import UserError
from counterpoint.measures.circuit_nodes import NODE_KINDS, Nodes
from counterpoint.measures.measured_pairs import checked_pairs
from counterpoint.measures.measuring import measure
from counterpoint.measures.node_importances import importances
from counterpoint.measures.tables.circuit_rows import first_pairs
from counterpoint.measures.tables.circuit_table import (
    METHODS,
    CircuitSettings,
    CircuitTables,
    find_circuits,
    settings_of,
)
from counterpoint.measures.tables.shards import Measurement
from counterpoint.models.load import LanguageModel
from counterpoint.statistics.circuit_areas import SHARES
from counterpoint.statistics.resampling import Settings
from tests.helpers.tiny_models import make_tiny_model

PAIRS = [
    (" w5 w6 w7 w8 w9", " w5 w6 w10 w8 w9", " w20", " w21"),
    (" w15 w6 w17 w8 w9", " w15 w6 w12 w8 w9", " w22", " w23"),
    (" w5 w16 w7 w9", " w5 w10 w7 w9", " w24", " w25"),
]
"""Of two buckets."""

SETTINGS = CircuitSettings(max_nodes=5, candidates=None)
STATISTICS = Settings(bootstrap_samples=50)


def made(architecture: str, settings: CircuitSettings = SETTINGS) -> CircuitTables:
    model = make_tiny_model(architecture)
    pairs = checked_pairs(model, PAIRS)
    heads = measure(model, PAIRS, progress=False)
    return find_circuits(model, pairs, heads, Measurement(), settings, STATISTICS)


@pytest.fixture(scope="module")
def found() -> CircuitTables:
    return made("gpt2")


def test_members_say_what_the_circuits_say(found: CircuitTables) -> None:
    assert found.members["direction"].unique().tolist() == list(DIRECTIONS)
    assert found.members["method"].unique().tolist() == list(METHODS)
    for (direction, method), rows in found.members.groupby(["direction", "method"], sort=False):
        assert rows["k"].tolist() == list(range(1, len(rows) + 1)) and len(rows) <= 5
        assert rows["gain"].cumsum().tolist() == pytest.approx(
            rows["faithfulness"].tolist(), abs=1e-5
        )
        assert not rows.duplicated(["component", "layer", "head"]).any()
        assert rows["importance"].isna().all() == (method == "greedy")
        assert (rows["tried"] > 0).all() == (method == "greedy")
        # The ratio of means over pairs, from the table of pairs.
        curve = found.faithfulness
        curve = curve[(curve["direction"] == direction) & (curve["method"] == method)]
        steps = curve[curve["share"].isna()]
        assert set(steps["k"]) == set(rows["k"])
        last = steps[steps["k"] == len(rows)]
        assert len(last) == found.n_pairs
        # What the members of the final set cost: the embeddings cost all of it.
        inside = rows[rows["cost"].notna()]
        height = inside["faithfulness"].iloc[-1]
        embedding = inside[inside["component"] == "embedding"]
        if len(embedding):
            assert embedding["cost"].iloc[0] == pytest.approx(height, abs=1e-5)


def test_curves_have_the_benchmarks_shares(found: CircuitTables) -> None:
    shares = found.faithfulness[found.faithfulness["share"].notna()]
    assert sorted(shares["share"].unique()) == list(SHARES)
    sizes = shares.groupby("share")["k"].unique()
    assert [list(each) for each in sizes] == [[0], [0], [0], [0], [0], [0], [1], [3], [8], [16]]
    assert shares[shares["k"] == 0]["recovered"].to_numpy() == pytest.approx(0, abs=1e-5)
    assert shares[shares["k"] == 16]["recovered"].to_numpy() == pytest.approx(1, abs=1e-5)
    # By hand from the table: the ratio of means at each share, and the areas under them.
    for (direction, method, ranked), rows in shares.groupby(["direction", "method", "ranked_by"]):
        metric = rows.pivot_table(index="share", columns="pair", values="metric")
        full, empty = metric.loc[1.0], metric.loc[0.001]
        heights = ((metric - empty).mean(axis=1) / (full - empty).mean()).to_numpy()
        of = found.areas
        own = of[
            (of["direction"] == direction) & (of["method"] == method) & (of["ranked_by"] == ranked)
        ].set_index("area")["estimate"]
        x = np.array(SHARES)
        widths = np.diff(x)
        assert own["cpr"] == pytest.approx(float((widths * (heights[1:] + heights[:-1]) / 2).sum()))
        off = np.abs(1 - heights)
        assert own["cmd"] == pytest.approx(float((widths * (off[1:] + off[:-1]) / 2).sum()))
    by = found.areas.groupby("method")["ranked_by"].unique()
    assert list(by["greedy"]) == ["value"] and sorted(by["ap"]) == ["size", "value"]
    assert (found.areas["n_nodes"] == 16).all() and (found.areas["n_pairs"] == found.n_pairs).all()


def test_scores_of_nodes_are_means_and_shares_of_the_change(found: CircuitTables) -> None:
    ap = found.nodes[(found.nodes["method"] == "ap") & (found.nodes["direction"] == "noising")]
    heads = measure(make_tiny_model("gpt2"), PAIRS, directions=["noising"], progress=False)
    mean = heads.groupby(["layer", "head"])["ap"].mean()
    own = ap[ap["component"] == "head"].set_index(["layer", "head"])["score"]
    assert own.to_numpy() == pytest.approx(mean.to_numpy(), abs=1e-6)
    # The embeddings' AP is the whole change, so that all of f hangs on them.
    first = ap[ap["component"] == "embedding"].iloc[0]
    assert first["importance"] == pytest.approx(1)
    assert (first["layer"], first["head"]) == (-1, -1)


def test_the_export_is_what_the_benchmark_reads(found: CircuitTables) -> None:
    """The reader wants cfg, nodes and edges; names in its graph; a score for each scored node."""
    stored = json.loads(json.dumps(importances(found.nodes, found.graph, "ap"), allow_nan=False))
    assert list(stored) == ["cfg", "nodes", "edges"] and stored["edges"] == {}
    assert stored["cfg"] == {
        "n_layers": 3,
        "n_heads": 4,
        "parallel_attn_mlp": False,
        "d_model": 32,
    }
    names = ["input"]
    for layer in range(3):
        names += [*(f"a{layer}.h{head}" for head in range(4)), f"m{layer}"]
    assert list(stored["nodes"]) == [*names, "logits"]
    assert all(isinstance(node["in_graph"], bool) for node in stored["nodes"].values())
    # Positive where the corrupted value makes the answer worse.
    ap = found.nodes[(found.nodes["method"] == "ap") & (found.nodes["direction"] == "noising")]
    assert [stored["nodes"][name]["score"] for name in names] == (-ap["score"]).tolist()
    assert "score" not in stored["nodes"]["logits"]
    with pytest.raises(ValueError, match="no greedy in noising"):
        importances(found.nodes, found.graph, "greedy")


@pytest.mark.parametrize(("architecture", "parallel"), [("gpt_neox", True), ("gemma2", False)])
def test_parallel_blocks_are_seen(architecture: str, parallel: bool) -> None:
    tables = made(architecture, CircuitSettings(nodes=("head",), methods=("greedy",), max_nodes=1))
    assert tables.graph["parallel_attn_mlp"] is parallel
    # No score, no row; and no embeddings or MLPs among the nodes.
    assert tables.nodes.empty and set(tables.members["component"]) == {"head"}


def test_names_and_places_of_nodes() -> None:
    nodes = Nodes(2, 2, (0, 1), (1,))
    assert nodes.names() == ["input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1"]
    assert nodes.candidates.tolist() == [True, True, True, False, True, True, True]
    assert nodes.empty.tolist() == [False, False, False, True, False, False, False]
    importance = np.array([0.1, -3.0, 2.0, np.nan, 2.0, 0.0, 1.0])
    assert nodes.ranked(importance, absolute=False).tolist() == [2, 4, 6, 0, 5, 1]
    assert nodes.ranked(importance, absolute=True).tolist() == [1, 2, 4, 6, 0, 5]
    assert Nodes(1, 2, (0,), (0,), ("mlp",)).candidates.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"nodes": ["neuron"]}, "nodes has 'neuron'; known are embedding, head, mlp"),
        ({"methods": []}, "methods is"),
        ({"methods": "greedy"}, "give a list of different ones"),
        ({"recovered": [0.5, 1.2]}, "recovered is .*at most 1"),
        ({"max_nodes": 0}, "max_nodes is 0; give at least 1"),
        ({"candidates": 0}, "candidates is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        CircuitSettings(**changes)
    with pytest.raises(UserError, match="no node of the kinds embedding"):
        Nodes(1, 1, (0,), (0,), ("embedding",))
    with pytest.raises(UserError, match="nodes is"):
        Nodes(1, 1, (0,), (0,), ("attention",))


def test_settings_from_a_configuration() -> None:
    section = {"pairs": 4, "nodes": ["head"], "candidates": "all", "max_nodes": 3}
    assert settings_of(section) == CircuitSettings(nodes=("head",), candidates=None, max_nodes=3)
    pairs = pd.DataFrame({"pair": [2, 0, 1]})
    assert first_pairs(pairs, 2)["pair"].tolist() == [0, 1]
    assert first_pairs(pairs, "all")["pair"].tolist() == [0, 1, 2]
    assert NODE_KINDS == ("embedding", "head", "mlp")


def test_layers_without_heads_or_mlps_have_no_nodes(tiny_llama: LanguageModel) -> None:
    nodes = Nodes(2, 4, (1,), ())
    assert nodes.candidates.sum() == 5 and nodes.full.all()
