"""Small circuits: how few nodes answer as the whole model does, and which of them are idle."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.figures.circuit_figures import circuit_curves
from counterpoint.glossary import COLUMNS
from counterpoint.report.html import (
    Fragment,
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

PLURALS = {"embedding": "the embeddings", "head": "heads", "mlp": "MLPs"}
"""The components that nodes are of, by their names in settings."""

DEFAULT_SHARES = (0.5, 0.8, 0.9)
"""Of the setting `circuit.recovered`, where a notebook run by hand has no settings."""


def circuits(results: Results) -> Fragment:
    """Return the circuits of the study, where it asks for them."""
    found = results.circuits
    if found is None or found.members.empty:
        return join([])
    shares = sorted(results.settings.get("circuit", {}).get("recovered", DEFAULT_SHARES))
    n_pairs = int(found.areas["n_pairs"].iloc[0])
    n_nodes = int(found.areas["n_nodes"].iloc[0])
    few = (
        "With one pair there are no intervals."
        if n_pairs == 1
        else "Intervals draw pairs; they do not cover that the nodes were chosen on the same pairs."
    )
    return join(
        [
            heading("circuits", "Circuits"),
            paragraph(
                "A ",
                word("circuit"),
                f" holds some of the {n_nodes} nodes (",
                _kinds(results.settings.get("circuit", {}).get("nodes", PLURALS)),
                "); every other node is held at its output on the other prompt. Its ",
                word("circuit-faithfulness", "faithfulness"),
                f" f is 0 for the other run and 1 for the whole model, here over {n_pairs} of "
                f"{results.heads['pair'].nunique()} pairs. This is not the ",
                word("faithfulness"),
                " of a score above, for which heads are patched into a run that is computed anew: "
                "here nothing outside can react. A circuit without the embeddings answers as the "
                "other run. In noising the prompt is the clean one and the rest as on the "
                "corrupted one, which is the direction of the Mechanistic "
                "Interpretability Benchmark (MIB).",
            ),
            drawn_here(
                results,
                "circuits",
                partial(circuit_curves, found.members, found.curves),
                "Faithfulness of circuits against the number of nodes inside.",
                "Faithfulness of the circuits of the first k nodes by each method, ranked by "
                f"value. {few}",
            ),
            _smallest(found.members, shares),
            _largest_sets(found.members, shares),
            _areas(found),
        ]
    )


def _kinds(kinds: Iterable[str]) -> str:
    return ", ".join(PLURALS[kind] for kind in kinds)


def _method(name: str) -> str:
    return COLUMNS["circuit.parquet"]["method"].says.get(name, name)


def _smallest(members: pd.DataFrame, shares: list[float]) -> Fragment:
    """How many first nodes recover each share."""
    rows = []
    for (direction, method), own in members.groupby(["direction", "method"], sort=False):
        sizes = []
        for share in shares:
            enough = own.loc[own["faithfulness"] >= share, "k"]
            sizes.append(str(int(enough.min())) if len(enough) else f"more than {len(own)}")
        inside = own[own["cost"].notna()]
        idle = int((inside["cost"] <= 0).sum())
        reached = float(inside["faithfulness"].iloc[-1])
        rows.append(
            [direction, _method(str(method)), *sizes, len(inside), number(reached, 3), idle]
        )
    greedy = members[members["method"] == "greedy"]
    tried = int(greedy["tried"].max()) if len(greedy) else 0
    header = [
        "direction", "method", *(f"nodes for {share:.0%}" for share in shares),
        "largest set", "its f", word("idle", "idle members"),
    ]  # fmt: skip
    said = (
        f"Greedy search took, at each step, the best of at most {tried} nodes by running each; a "
        "set so found is small, not proved to be the smallest. "
        if tried
        else ""
    )
    return join(
        [
            table(header, rows, text=(0, 1)),
            note(
                said + "A member is idle where the largest set is no less faithful without it, so "
                "that the set is not minimal."
            ),
        ]
    )


def _largest_sets(members: pd.DataFrame, shares: list[float]) -> Fragment:
    """The members of the set for the largest share, with what each costs."""
    parts: list[Any] = []
    inside = members[members["cost"].notna()]
    for (direction, method), own in inside.groupby(["direction", "method"], sort=False):
        rows = [
            [
                int(row["k"]),
                name_of(row["component"], int(row["layer"]), int(row["head"])),
                number(row["faithfulness"], 3),
                interval(row["ci_low"], row["ci_high"]),
                number(row["gain"], 3),
                number(row["cost"], 3) + (" (idle)" if row["cost"] <= 0 else ""),
            ]
            for row in own.to_dict("records")
        ]
        header = ["k", "node", "f", "interval", "gain", "cost of leaving out"]
        parts.append(
            folded(
                f"The set by {_method(str(method))}, {direction}: {len(rows)} nodes",
                table(header, rows, text=(1, 3)),
            )
        )
    return join(parts)


def _areas(found: Circuits) -> Fragment:
    """CPR by value and CMD by size, as the benchmark reports them; the others folded."""
    keys = ["direction", "method", "ranked_by"]
    rows: list[list[Any]] = []
    others: list[list[Any]] = []
    for (direction, method, ranked_by), own in found.areas.groupby(keys, sort=False):
        cells = [direction, _method(str(method)), ranked_by]
        for name in ("cpr", "cmd"):
            one = own[own["area"] == name].iloc[0]
            cells += [number(one["estimate"], 3), interval(one["ci_low"], one["ci_high"])]
        (rows if ranked_by == "value" else others).append(cells)
    header = ["direction", "method", "ranked by", word("cpr", "CPR"), "", word("cmd", "CMD"), ""]
    none = found.curves[found.curves["k"] == 0]["share"]
    said = (
        f"Shares up to {none.max():.1%} of the nodes are less than one node, so that the circuit "
        "is empty there. "
        if len(none)
        else ""
    )
    return join(
        [
            table(header, rows, text=(0, 1, 2, 4, 6)),
            note(
                said + "Of greedy search, nodes that it did not come to are ranked by AP. MIB "
                "reports CPR of nodes ranked by value and CMD of nodes ranked by size."
            ),
            folded("Ranked by size", table(header, others, text=(0, 1, 2, 4, 6))) if others else "",
        ]
    )


def name_of(component: str, layer: int, head: int) -> str:
    """A node as readers write it: embeddings, 3.7, MLP 3."""
    return {"embedding": "embeddings", "mlp": f"MLP {layer}"}.get(component, f"{layer}.{head}")


def interval(low: float, high: float) -> str:
    """The interval in brackets; empty where there is none."""
    if not np.isfinite([low, high]).all():
        return ""
    return f"[{number(low, 3)}, {number(high, 3)}]"
