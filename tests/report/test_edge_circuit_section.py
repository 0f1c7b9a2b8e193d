"""The section on circuits of edges: sets, idle edges, areas, and nothing where none are sought."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from counterpoint.figures import edge_circuit_curves
from counterpoint.measures.tables.edge_circuit_table import EDGE_COLUMNS
from counterpoint.report import circuits, edge_circuits, load_results
from counterpoint.report.html import Fragment
from tests.helpers.synthetic import Shape, write_study

SETTINGS = {"circuit": {"pairs": 2, "level": "edges", "recovered": [0.5, 0.9]}}


def members() -> pd.DataFrame:
    """Two edges by pruning; three by EAP-IG, one of them idle; by EAP a set too large to check."""
    nan = np.nan
    rows = [
        ("noising", "pruned", 1, -1, -1, 0, -1, "mlp", 0.8, 0.91),
        ("noising", "pruned", 2, 1, 2, 3, -1, "logits", 0.4, 0.3),
        ("noising", "eap_ig", 1, -1, -1, 0, -1, "mlp", 0.8, 0.92),
        ("noising", "eap_ig", 2, 0, -1, 1, 3, "query", 0.5, -0.01),
        ("noising", "eap_ig", 3, 1, 2, 3, -1, "logits", 0.4, 0.3),
    ]
    rows += [("noising", "eap", k, -1, -1, 2, -1, "mlp", 1 / k, nan) for k in range(1, 51)]
    return pd.DataFrame(rows, columns=EDGE_COLUMNS["members"])


def curves() -> pd.DataFrame:
    nan = np.nan
    rows = [
        ("noising", "pruned", "value", nan, 2, 0.91, 0.8, 1.0),
        *(
            ("noising", "eap_ig", "value", nan, k, f, f - 0.1, f + 0.1)
            for k, f in ((1, 0.0), (2, 0.6), (3, 0.92))
        ),
        ("noising", "eap", "value", nan, 50, 0.7, 0.6, 0.8),
        *(
            ("noising", method, ranked_by, share, k, share, share - 0.1, share + 0.1)
            for method in ("eap_ig", "eap")
            for ranked_by in ("value", "size")
            for share, k in ((0.001, 0), (0.5, 200), (1.0, 400))
        ),
    ]
    return pd.DataFrame(rows, columns=EDGE_COLUMNS["curves"])


def areas() -> pd.DataFrame:
    rows = [
        ("noising", "eap_ig", ranked_by, area, value, value - 0.1, value + 0.1, 4321, 2)
        for ranked_by, area, value in (
            ("value", "cpr", 0.71),
            ("value", "cmd", 0.29),
            ("size", "cpr", 0.52),
            ("size", "cmd", 0.48),
        )
    ]
    return pd.DataFrame(rows, columns=EDGE_COLUMNS["areas"])


def shown(tmp_path, settings=SETTINGS) -> Fragment:
    folder = write_study(tmp_path, Shape(pairs=2))
    members().to_parquet(folder / "circuit_edges.parquet")
    curves().to_csv(folder / "circuit_edge_curves.csv", index=False)
    areas().to_csv(folder / "circuit_edge_areas.csv", index=False)
    return edge_circuits(load_results("s", folder, settings))


def text_of(fragment: Fragment) -> str:
    return re.sub(
        r"\s+", " ", re.sub(r"<(style|svg|script).*?</\1>|<[^>]+>", " ", str(fragment), flags=re.S)
    )


def test_sets_idle_edges_and_areas_are_told(tmp_path) -> None:
    page = shown(tmp_path)
    text = text_of(page)
    assert 'id="edge-circuits"' in str(page) and "here of 4321 and over 2 of 2 pairs" in text
    assert re.search(r"noising pruning of the set by EAP-IG 2 2 2 0\.91\d* 0 ", text)
    assert re.search(r"noising EAP-IG 2 3 3 0\.92\d* 1 ", text)
    assert re.search(r"noising EAP 50 more than 50 50 0\.7\d* not checked", text)
    assert "MLP 0" in text and "1.3 query" in text and "logits" in text and "(idle)" in text
    assert "the first 40 of 50 edges, by importance" in text and "3 edges, by cost" in text
    assert "0.71" in text and re.search(r"\[0\.42\d*, 0\.62\d*\]", text)
    assert "not proved to be the smallest" in text


def test_levels_that_are_not_asked_for_are_not_shown(tmp_path) -> None:
    for circuit in ({"pairs": "none", "level": "both"}, {"pairs": 2, "level": "nodes"}):
        assert str(shown(tmp_path, {"circuit": circuit})) == ""
    (tmp_path / "circuit_edge_areas.csv").unlink()
    results = load_results("s", tmp_path, SETTINGS)
    assert str(edge_circuits(results)) == "" and str(circuits(results)) == ""


def test_the_curves_are_drawn_with_their_intervals() -> None:
    figure = edge_circuit_curves(curves())
    (ax,) = figure.axes
    labels = [line.get_label() for line in ax.lines[:3]]
    assert labels == ["pruning of the set by EAP-IG", "EAP-IG", "EAP"]
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "edges inside, k"
    assert list(ax.lines[1].get_xdata()) == [1, 2, 3, 200, 400]
