"""`counterpoint.circuit`: the workflow's tables, of pairs at hand, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import counterpoint
from counterpoint.measures.measured_pairs import checked_pairs
from counterpoint.measures.tables.circuit_table import CircuitSettings, find_circuits
from counterpoint.measures.tables.edge_circuit_table import EdgeCircuitSettings, find_edge_circuits
from counterpoint.measures.tables.shards import Measurement
from counterpoint.models.load import LanguageModel
from counterpoint.statistics.resampling import Settings
from tests.helpers.small_study import ANSWERS, PAIRS, make_model

GIVEN = [(*pair, *ANSWERS) for pair in PAIRS[:2]]
FEW = Settings(bootstrap_samples=30)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return counterpoint.load(make_model(tmp_path_factory.mktemp("circuit") / "tiny"))


@pytest.fixture(scope="module")
def heads(model: LanguageModel) -> pd.DataFrame:
    return counterpoint.measure(model, GIVEN, progress=False)


def test_the_tables_are_the_workflows(model: LanguageModel, heads: pd.DataFrame) -> None:
    found = counterpoint.circuit(model, GIVEN, heads, max_nodes=3, settings=FEW, progress=False)
    again = find_circuits(
        model,
        checked_pairs(model, GIVEN),
        heads,
        Measurement(),
        CircuitSettings(max_nodes=3),
        FEW,
    )
    for name in ("members", "nodes", "faithfulness", "curves", "areas"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(again, name))
    assert isinstance(found, counterpoint.CircuitTables) and found.n_pairs == 2


def test_heads_are_measured_where_no_table_is_given(model: LanguageModel) -> None:
    found = counterpoint.circuit(
        model,
        GIVEN,
        methods="ap",
        nodes=["head"],
        directions=["noising"],
        max_nodes=2,
        settings=FEW,
        progress=False,
    )
    assert set(found.members["component"]) == {"head"}
    assert found.areas["n_nodes"].unique().tolist() == [12]


def test_what_cannot_be_answered_is_refused(
    model: LanguageModel, heads: pd.DataFrame, tmp_path: Path
) -> None:
    for changes, expected in (
        ({"methods": ["relp"]}, "methods has 'relp'"),
        ({"nodes": "edge"}, "nodes has 'edge'"),
        ({"recovered": [2.0]}, "recovered is"),
        ({"max_nodes": 0}, "max_nodes"),
        ({"candidates": "some"}, "candidates"),
    ):
        with pytest.raises(counterpoint.UserError, match=expected):
            counterpoint.circuit(model, GIVEN, heads, progress=False, **changes)
    with pytest.raises(counterpoint.UserError, match="circuits need all 12 heads on each"):
        counterpoint.circuit(model, GIVEN, heads[heads["head"] > 0], progress=False)
    other = heads.copy()
    other.attrs = {**heads.attrs, "metric_clean": [99.0, 99.0]}
    with pytest.raises(counterpoint.UserError, match="of other pairs, or of another metric"):
        counterpoint.circuit(model, GIVEN, other, progress=False)


def test_circuits_of_edges_are_the_workflows(model: LanguageModel) -> None:
    found = counterpoint.edge_circuit(
        model,
        GIVEN,
        methods="pruned",
        directions=["noising"],
        max_edges=200,
        settings=FEW,
        progress=False,
    )
    again = find_edge_circuits(
        model,
        checked_pairs(model, GIVEN),
        Measurement(directions=("noising",)),
        EdgeCircuitSettings(edge_methods=("pruned",), max_edges=200),
        FEW,
    )
    for name in ("members", "scores", "faithfulness", "curves", "areas"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(again, name))
    assert isinstance(found, counterpoint.EdgeCircuitTables) and found.n_pairs == 2
    assert len(found.members) and set(found.members["direction"]) == {"noising"}
    for changes, expected in (
        ({"methods": ["ap"]}, "edge_methods has 'ap'"),
        ({"recovered": [2.0]}, "recovered is"),
        ({"max_edges": 0}, "max_edges"),
    ):
        with pytest.raises(counterpoint.UserError, match=expected):
            counterpoint.edge_circuit(model, GIVEN, progress=False, **changes)
