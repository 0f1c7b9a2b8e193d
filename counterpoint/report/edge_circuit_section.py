"""Circuits of edges: how few edges answer as the whole model does, and which of them are idle."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from counterpoint.figures.circuit_figures import edge_circuit_curves
from counterpoint.glossary import COLUMNS
from counterpoint.report.html import (
    Fragment,
    count,
    folded,
    heading,
    join,
    note,
    number,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import drawn_here
from counterpoint.report.study_results import Circuits, Results
from counterpoint.statistics.edges_over_pairs import receiver_name, sender_name

DEFAULT_SHARES = (0.5, 0.8, 0.9)
"""Of the setting `circuit.recovered`, where a notebook run by hand has no settings."""

SHOWN_EDGES = 40
"""Edges of a set that are listed, those of largest cost first."""


def edge_circuits(results: Results) -> Fragment:
    """Return the circuits of edges of the study, where it asks for them."""
    found = results.edge_circuits
    if found is None or found.curves.empty:
        return join([])
    shares = sorted(results.settings.get("circuit", {}).get("recovered", DEFAULT_SHARES))
    said = ""
    if len(found.areas):
        every = results.heads["pair"].nunique()
        n_pairs, n_edges = (int(found.areas[name].iloc[0]) for name in ("n_pairs", "n_edges"))
        said = f", here of {n_edges} and over {n_pairs} of {every} pairs"
    return join(
        [
            heading("edge-circuits", "Circuits of edges"),
            paragraph(
                "A ",
                word("edge-circuit", "circuit of edges"),
                " holds some of the edges from the embeddings, a head or an MLP into a head's "
                "query, key or value, an MLP or the logits",
                said,
                "; every other edge carries the other prompt's value. Its ",
                word("circuit-faithfulness", "faithfulness"),
                " f is 0 for the other run and 1 for the whole model. Edges are ranked by their "
                "first-order scores; what they answer is exact.",
            ),
            drawn_here(
                results,
                "edge_circuits",
                partial(edge_circuit_curves, found.curves),
                "Faithfulness of circuits of edges against the number of edges inside.",
                "Faithfulness of the circuits of the first k edges by each method, by value.",
            ),
            _smallest(found, shares),
            _sets(found.members),
            _areas(found.areas),
        ]
    )


def _method(name: object) -> str:
    return COLUMNS["circuit_edges.parquet"]["method"].says.get(str(name), str(name))


def _smallest(found: Circuits, shares: list[float]) -> Fragment:
    """How many first edges recover each share, of the sizes that were tried."""
    tried = found.curves[found.curves["share"].isna()]
    rows: list[list[Any]] = []
    for (direction, method), own in tried.groupby(["direction", "method"], sort=False):
        sizes = []
        for share in shares:
            enough = own.loc[own["faithfulness"] >= share, "k"]
            sizes.append(
                count(enough.min()) if len(enough) else f"more than {count(own['k'].max())}"
            )
        members = found.members
        inside = members[(members["direction"] == direction) & (members["method"] == method)]
        reached = own.loc[own["k"] == len(inside), "faithfulness"]
        checked = inside["cost"].notna().all()
        idle = str(int((inside["cost"] <= 0).sum())) if checked else "not checked"
        rows.append(
            [
                direction,
                _method(method),
                *sizes,
                count(len(inside)),
                number(float(reached.iloc[0]), 3),
                idle,
            ]
        )
    header = [
        "direction", "method", *(f"edges for {share:.0%}" for share in shares),
        "its set", "its f", word("idle", "idle edges"),
    ]  # fmt: skip
    return join(
        [
            table(header, rows, text=(0, 1)),
            note(
                "Sizes are tried on a grid, each at most a fifth larger than the one before; a set "
                "is the smallest of those tried for the largest share that is recovered. Pruning "
                "takes out of the set by EAP-IG every edge that the rest can do without; what is "
                "left is small, not proved to be the smallest. An edge is idle where its set is no "
                "less faithful without it; large sets are not checked."
            ),
        ]
    )


def _sets(members: pd.DataFrame) -> Fragment:
    """Of each set the edges that cost most to leave out, or of largest importance."""
    parts: list[Any] = []
    for (direction, method), own in members.groupby(["direction", "method"], sort=False):
        by = "cost" if own["cost"].notna().all() else "importance"
        first = own.sort_values(by, ascending=False, kind="stable").head(SHOWN_EDGES)
        rows = [
            [
                int(row["k"]),
                sender_name(int(row["sender_layer"]), int(row["sender_head"])),
                _reader(row),
                number(row["importance"], 3),
                number(row["cost"], 3) + (" (idle)" if row["cost"] <= 0 else ""),
            ]
            for row in first.to_dict("records")
        ]
        header = ["k", "from", "into", "importance", "cost of leaving out"]
        shown = f"the first {len(rows)} of {len(own)}" if len(rows) < len(own) else f"{len(own)}"
        parts.append(
            folded(
                f"The set by {_method(method)}, {direction}: {shown} edges, by {by}",
                table(header, rows, text=(1, 2)),
            )
        )
    return join(parts)


def _reader(row: dict[Any, Any]) -> str:
    """A receiver as readers write it: 23.3 value, MLP 4, logits."""
    layer = int(row["receiver_layer"])
    if row["role"] == "mlp":
        return f"MLP {layer}"
    return receiver_name(layer, int(row["receiver_head"]), str(row["role"]))


def _areas(areas: pd.DataFrame) -> Fragment:
    """CPR and CMD of each ranking."""
    if areas.empty:
        return join([])
    rows: list[list[Any]] = []
    keys = ["direction", "method", "ranked_by"]
    for (direction, method, ranked_by), own in areas.groupby(keys, sort=False):
        by_area = {str(row["area"]): row for row in own.to_dict("records")}
        cells: list[Any] = [direction, _method(method), ranked_by]
        for name in ("cpr", "cmd"):
            one = by_area[name]
            bounds = [float(one["ci_low"]), float(one["ci_high"])]
            cells += [
                number(float(one["estimate"]), 3),
                f"[{number(bounds[0], 3)}, {number(bounds[1], 3)}]"
                if all(map(pd.notna, bounds))
                else "",
            ]
        rows.append(cells)
    header = ["direction", "method", "ranked by", word("cpr", "CPR"), "", word("cmd", "CMD"), ""]
    return join(
        [
            table(header, rows, text=(0, 1, 2, 4, 6)),
            note(
                "MIB reports CPR of edges ranked by value and CMD of edges ranked by size. "
                "Intervals draw pairs; they do not cover that edges were chosen on the same pairs."
            ),
        ]
    )
