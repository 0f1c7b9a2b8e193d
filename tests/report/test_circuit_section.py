"""The section on circuits: sets, idle members, areas, and nothing of an earlier configuration."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from counterpoint.figures import circuit_curves
from counterpoint.measures.tables.circuit_table import COLUMNS
from counterpoint.report import circuits, load_results
from counterpoint.report.current_files import is_current
from counterpoint.report.html import Fragment
from counterpoint.statistics.circuit_areas import SHARES, sizes
from tests.helpers.synthetic import Shape, write_study

SETTINGS = {"circuit": {"pairs": 2, "recovered": [0.5, 0.9]}}


def members(n_pairs: int = 2) -> pd.DataFrame:
    """Three nodes by greedy search, one idle; two by AP, which do not reach 0.9."""
    nan = np.nan
    low = nan if n_pairs == 1 else 0.4
    return pd.DataFrame(
        [
            ("noising", "greedy", 1, "embedding", -1, -1, nan, 0.0, low, low, 0.0, 0.93, 1),
            ("noising", "greedy", 2, "mlp", 0, -1, nan, 0.6, low, low, 0.6, 0.4, 8),
            ("noising", "greedy", 3, "head", 1, 2, nan, 0.93, low, low, 0.33, -0.01, 8),
            ("noising", "ap", 1, "embedding", -1, -1, 1.0, 0.0, low, low, 0.0, 0.2, 0),
            ("noising", "ap", 2, "head", 1, 2, 0.7, 0.2, low, low, 0.2, 0.2, 0),
        ],
        columns=COLUMNS["members"],
    )


def curves() -> pd.DataFrame:
    k = sizes(41)
    return pd.DataFrame(
        {
            "direction": "noising",
            "method": "ap",
            "ranked_by": "value",
            "share": SHARES,
            "k": k,
            "faithfulness": k / 41,
            "ci_low": k / 41 - 0.1,
            "ci_high": k / 41 + 0.1,
        }
    )


def areas(n_pairs: int = 2) -> pd.DataFrame:
    rows = [
        ("noising", "ap", ranked, area, value, value - 0.1, value + 0.1, 41, n_pairs)
        for ranked, area, value in (
            ("value", "cpr", 0.71),
            ("value", "cmd", 0.29),
            ("size", "cpr", 0.52),
            ("size", "cmd", 0.48),
        )
    ]
    return pd.DataFrame(rows, columns=COLUMNS["areas"])


def shown(tmp_path, settings=SETTINGS, n_pairs: int = 2) -> Fragment:
    folder = write_study(tmp_path, Shape(pairs=2))
    members(n_pairs).to_parquet(folder / "circuit.parquet")
    curves().to_csv(folder / "circuit_curves.csv", index=False)
    areas(n_pairs).to_csv(folder / "circuit_areas.csv", index=False)
    return circuits(load_results("s", folder, settings))


def text_of(fragment: Fragment) -> str:
    return re.sub(
        r"\s+", " ", re.sub(r"<(style|svg|script).*?</\1>|<[^>]+>", " ", str(fragment), flags=re.S)
    )


def test_smallest_sets_idle_members_and_areas_are_told(tmp_path) -> None:
    page = shown(tmp_path)
    text = text_of(page)
    assert 'id="circuits"' in str(page) and "41 nodes" in text
    # By greedy search 2 nodes for 50 %, 3 for 90 %; one of the three is idle.
    assert re.search(r"noising greedy search 2 3 3 0\.93\d* 1 ", text)
    assert re.search(r"noising AP more than 2 more than 2 2 0\.2\d* 0 ", text)
    assert "at most 8 nodes" in text and "not proved to be the smallest" in text
    assert "embeddings" in text and "MLP 0" in text and "(idle)" in text
    assert "Shares up to 2.0% of the nodes are less than one node" in text
    assert "Ranked by size" in text and "0.71" in text and "0.48" in text
    assert "This is not the faithfulness of a score above" in text


def test_one_pair_has_no_intervals(tmp_path) -> None:
    text = text_of(shown(tmp_path, n_pairs=1))
    assert "With one pair there are no intervals." in text and "over 1 of 2 pairs." in text


def test_without_circuits_there_is_no_section(tmp_path) -> None:
    assert str(shown(tmp_path, {"circuit": {"pairs": "none"}})) == ""
    (tmp_path / "circuit_areas.csv").unlink()
    assert str(circuits(load_results("s", tmp_path, SETTINGS))) == ""


@pytest.mark.parametrize(("pairs", "expected"), [("none", False), (3, True), ("all", True)])
def test_times_of_circuits_are_of_studies_that_ask_for_them(pairs, expected: bool) -> None:
    from pathlib import PurePath

    settings = {"circuit": {"pairs": pairs}}
    for rule in ("find_circuits.tsv", "find_edge_circuits.tsv"):
        assert is_current(PurePath(rule), settings, 1, None) is expected
    settings["circuit"]["level"] = "edges"
    assert not is_current(PurePath("find_circuits.tsv"), settings, 1, None)
    assert is_current(PurePath("find_edge_circuits.tsv"), settings, 1, None) is expected


def test_the_curves_are_drawn_with_their_intervals() -> None:
    figure = circuit_curves(members(), curves())
    (ax,) = figure.axes
    assert [line.get_label() for line in ax.lines[:2]] == ["greedy search", "AP"]
    assert ax.get_xscale() == "log" and len(ax.collections) == 2
    # The circuit without a node has no place on the axis.
    assert min(ax.lines[1].get_xdata()) == 1
    assert not circuit_curves(members(1), curves().head(0)).axes[0].collections
