"""Edges: whom the first heads hear, through query, key and value; only some studies have them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from counterpoint.figures.edge_figures import SHOWN_SENDERS, strongest_edges
from counterpoint.report.html import (
    Fragment,
    fill,
    folded,
    heading,
    interval,
    join,
    number,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import (
    FOLDED_ROWS,
    drawn_here,
    means_over,
    named_pairs,
    percent,
)
from counterpoint.report.study_results import Results
from counterpoint.statistics.edges_over_pairs import (
    edge_means,
    first_order_errors,
    receiver_name,
    sender_name,
    strongest_senders,
)
from counterpoint.statistics.resampling import Settings


def edges(results: Results) -> Fragment:
    """Return whom the receivers hear, where edges were computed; nothing elsewhere."""
    found = results.edges
    if found is None or found.empty or not found["exact"].any():
        return join([])
    settings = Settings(**results.settings.get("statistics", {}))
    own = results.settings.get("edges", {})
    n_pairs, which = found["pair"].nunique(), named_pairs(results, found["pair"])
    first = strongest_senders(edge_means(found, settings=settings), SHOWN_SENDERS)
    heads = found[found["exact"] & (found["receiver_head"] >= 0)]
    names = dict.fromkeys(
        f"{layer}.{head}"
        for layer, head in zip(heads["receiver_layer"], heads["receiver_head"], strict=True)
    )
    level, over = percent(settings.confidence), means_over(results, found["pair"])
    frozen = own.get("norms", "recomputed") == "frozen"
    return join(
        [
            heading("edges", "Whom the first heads hear"),
            paragraph(
                fill(
                    "What a {} does through one {} alone: its change is added to what the receiver "
                    "reads, everything between the two stays as it is, and what the receiver then "
                    "says goes on to the answer. Each such {} is exact{}. Receivers: {} and the "
                    "logits. ",
                    word("sender"), word("receiver"), word("edge"),
                    ", but for norms before receivers, which keep the background's scale"
                    if frozen else "",
                    ", ".join(names) or "no head",
                ),
                f"Here on {which}{'' if n_pairs > 1 else ', so that there is no interval'}.",
            ),
            drawn_here(
                results,
                "edges",
                partial(
                    strongest_edges,
                    found,
                    confidence=settings.confidence,
                    seed=settings.seed,
                    metric=results.metric,
                ),
                "Dot plots of the strongest senders into each receiver and role.",
                f"The {SHOWN_SENDERS} strongest senders into each receiver and role: small marks "
                f"are pairs, large ones their mean, bars the {level} interval of the mean.",
            ),
            folded("The numbers", _senders(first, results, level, over)),
            _first_order(found, results),
        ]
    )  # fmt: skip


def _senders(first: pd.DataFrame, results: Results, level: str, over: str) -> Fragment:
    """Return the strongest senders with intervals, both directions beside each other."""
    keys = ["receiver_layer", "receiver_head", "role", "place", "sender_layer", "sender_head"]
    rows = []
    for _, own in first.groupby(keys, sort=False):
        by_direction = {row["direction"]: row for row in own.to_dict("records")}
        one = own.iloc[0]
        cells: list[Any] = [
            receiver_name(one["receiver_layer"], one["receiver_head"], one["role"]),
            sender_name(one["sender_layer"], one["sender_head"]),
        ]
        for direction in results.directions:
            row = by_direction.get(direction)
            cells.append("" if row is None else interval(
                row["effect"], row["ci_low"], row["ci_high"], 3
            ))  # fmt: skip
        rows.append(cells)
    header = ["receiver", "sender", *results.directions]
    return table(
        header,
        rows[:FOLDED_ROWS],
        text=(0, 1),
        caption=f"Effect in {results.words.unit}, {over}; in brackets the {level} interval of a "
        "mean. All edges are in edges.parquet.",
    )


def _first_order(found: pd.DataFrame, results: Results) -> Fragment:
    """Return how far EAP and EAP-IG are from the exact effects."""
    errors = first_order_errors(found)
    if errors.empty:
        return join([])
    rows = [
        [
            receiver_name(row["receiver_layer"], row["receiver_head"], row["role"]),
            row["direction"],
            str(row["edges"]),
            *(
                number(row[name], 3)
                for name in (
                    "largest",
                    "eap_correlation",
                    "eap_error",
                    "eap_ig_correlation",
                    "eap_ig_error",
                )
            ),
        ]
        for row in errors.to_dict("records")
    ]
    header = [
        "receiver", "direction", "edges", "largest |effect|",
        "EAP: correlation", "largest error", "EAP-IG: correlation", "largest error",
    ]  # fmt: skip
    medians = errors[["eap_correlation", "eap_ig_correlation"]].median()
    return join(
        [
            paragraph(
                fill(
                    "First-order scores on the same edges: the median correlation with the exact "
                    "effects over receivers, roles and directions is {} for {} and {} for {}.",
                    number(medians["eap_correlation"], 3), word("eap"),
                    number(medians["eap_ig_correlation"], 3), word("eap-ig"),
                )
            ),
            folded(
                "How far they are off, receiver by receiver",
                table(header, rows, text=(0, 1),
                      caption=f"Over all senders, {named_pairs(results, found['pair'])}; in "
                      f"{results.words.unit}."),
            ),
        ]
    )  # fmt: skip
