"""Edges over pairs: means, intervals, the order of senders, errors of first-order scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from counterpoint import report
from counterpoint.errors import UserError
from counterpoint.figures import strongest_edges
from counterpoint.statistics.edges_over_pairs import (
    edge_means,
    first_order_errors,
    receiver_name,
    sender_name,
    strongest_senders,
)
from tests.helpers.synthetic import write_study
from tests.report.test_study_report import SETTINGS, Page


def table(n_pairs: int = 4) -> pd.DataFrame:
    """Three senders into one head's query and key, and into the logits; EAP is off by so much."""
    rows = []
    for pair in range(n_pairs):
        for direction, sign in (("noising", -1.0), ("denoising", 1.0)):
            for receiver in ((2, 1, "query"), (2, 1, "key"), (3, -1, "logits")):
                for place, sender in enumerate(((-1, -1), (0, 3), (1, -1))):
                    effect = sign * (place + 1) * (2 if receiver[2] == "key" else 1) + 0.1 * pair
                    rows.append(
                        {
                            "pair": pair,
                            "direction": direction,
                            "sender_layer": sender[0],
                            "sender_head": sender[1],
                            "receiver_layer": receiver[0],
                            "receiver_head": receiver[1],
                            "role": receiver[2],
                            "effect": effect,
                            "exact": True,
                            "eap": effect * 2,
                            "eap_ig": effect + (0.5 if place == 2 else 0.0),
                        }
                    )
    inexact = {**rows[0], "exact": False, "receiver_head": 0, "effect": 100.0}
    return pd.DataFrame([*rows, inexact])


def test_means_have_intervals_over_pairs_and_leave_out_what_is_not_exact() -> None:
    means = edge_means(table())
    assert len(means) == 2 * 3 * 3 and means["effect"].abs().max() < 10
    one = means[
        (means["direction"] == "noising") & (means["role"] == "key") & (means["sender_layer"] == 1)
    ].iloc[0]
    assert one["effect"] == pytest.approx(-6 + 0.15)
    assert one["ci_low"] < one["effect"] < one["ci_high"]
    assert one["eap"] == pytest.approx(2 * one["effect"]) and one["same_sign"] == 1
    assert edge_means(table(1))["ci_low"].isna().all()
    nothing = edge_means(table().query("not exact"))
    assert nothing.empty and list(nothing.columns) == list(means.columns)


def test_the_strongest_senders_come_first() -> None:
    first = strongest_senders(edge_means(table()), 2)
    assert len(first) == 3 * 2 * 2
    for _, own in first.groupby(["receiver_layer", "receiver_head", "role"]):
        names = own.drop_duplicates("place").sort_values("place")
        assert [sender_name(*key) for key in names[["sender_layer", "sender_head"]].to_numpy()] == [
            "MLP 1",
            "0.3",
        ]
    assert sender_name(-1, -1) == "embeddings"
    assert receiver_name(2, 1, "key") == "2.1 key" and receiver_name(3, -1, "logits") == "logits"


def test_errors_of_first_order_scores() -> None:
    errors = first_order_errors(table())
    assert len(errors) == 6
    assert errors["eap_correlation"].to_numpy() == pytest.approx(1.0)
    assert errors["eap_error"].to_numpy() == pytest.approx(errors["largest"].to_numpy())
    assert errors["eap_ig_error"].to_numpy() == pytest.approx(0.5)
    assert first_order_errors(table().assign(eap=np.nan)).empty


def test_the_figure_has_a_panel_for_each_receiver_and_role() -> None:
    figure = strongest_edges(table(), count=2)
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.axison]
    assert titles == ["2.1 key", "2.1 query", "logits"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["MLP 1", "0.3"]
    with pytest.raises(UserError, match="no exact edges"):
        strongest_edges(table().query("not exact"))


def test_the_report_says_whom_the_receivers_hear(tmp_path) -> None:
    write_study(tmp_path)
    results = report.load_results("made-up", tmp_path, SETTINGS)
    assert not str(report.edges(results))
    table().to_parquet(tmp_path / "edges.parquet")
    results = report.load_results("made-up", tmp_path, {**SETTINGS, "edges": {"pairs": "all"}})
    read = Page(report.edges(results))
    assert "Receivers: 2.1 and the logits. Here on all 4 pairs." in read.text
    assert "MLP 1" in read.text and "2.1 query" in read.text and "EAP-IG" in read.text
    off = report.load_results("made-up", tmp_path, {**SETTINGS, "edges": {"pairs": "none"}})
    assert off.edges is None and not str(report.edges(off))
