"""Who a head works with: interactions within its layer, edges from and to it.

Interactions (interaction.parquet) are measured, pair by pair, of the heads on which IG joint and AP
differ most; a mean is over the pairs on which the head was among them, and says how many these are.
Edges (edges.parquet) are effects of a sender through one receiver, on the pairs that have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from counterpoint.figures.chosen_heads import Head
from counterpoint.statistics.edges_over_pairs import receiver_name, sender_name

SHOWN_EDGES = 6
"""Edges of each head, direction and side, the largest first."""


def short(value: Any) -> float:
    """A number with as many digits as a float32 has."""
    return float(f"{value:.7g}")


def partners(
    interaction: pd.DataFrame | None, directions: Sequence[str], places: Mapping[Head, int]
) -> list[list[Any]]:
    """Return a row for each direction, head and partner.

    A row is the number of the direction, the place of the head, the partner's head, the mean
    interaction, IG joint − AP (mean over the same pairs) and the number of pairs.
    """
    if interaction is None or interaction.empty:
        return []
    table = interaction.assign(disagreement=interaction["ig_joint"] - interaction["ap"])
    grouped = table.groupby(["direction", "layer", "head", "partner"], sort=True)
    means = grouped.agg(
        interaction=("interaction", "mean"),
        disagreement=("disagreement", "mean"),
        pairs=("pair", "nunique"),
    ).reset_index()
    return [
        [
            directions.index(row["direction"]),
            places[int(row["layer"]), int(row["head"])],
            int(row["partner"]),
            short(row["interaction"]),
            short(row["disagreement"]),
            int(row["pairs"]),
        ]
        for row in means.to_dict("records")
        if row["direction"] in directions
    ]


def edges(
    table: pd.DataFrame | None, directions: Sequence[str], places: Mapping[Head, int]
) -> list[list[Any]]:
    """Return a row for each of the largest edges of a head.

    A row is the number of the direction, the place of the head, "from" or "to" (what the head
    receives from another, or sends to it), the other's name, the role, the mean effect over the
    pairs, and the number of pairs.
    """
    if table is None or table.empty:
        return []
    keys = ["direction", "receiver_layer", "receiver_head", "role", "sender_layer", "sender_head"]
    means = table.groupby(keys, sort=True).agg(effect=("effect", "mean"), pairs=("pair", "nunique"))
    flat = means.reset_index().dropna(subset=["effect"])
    flat = flat.assign(size=flat["effect"].abs()).sort_values(
        "size", ascending=False, kind="stable"
    )
    rows: list[list[Any]] = []
    for side, layer, head in (
        ("from", "receiver_layer", "receiver_head"),
        ("to", "sender_layer", "sender_head"),
    ):
        own = flat[[(a, b) in places for a, b in zip(flat[layer], flat[head], strict=True)]]
        first = own.groupby(["direction", layer, head], sort=True).head(SHOWN_EDGES)
        for row in first.to_dict("records"):
            if row["direction"] not in directions:
                continue
            other = (
                sender_name(int(row["sender_layer"]), int(row["sender_head"]))
                if side == "from"
                else receiver_name(
                    int(row["receiver_layer"]), int(row["receiver_head"]), str(row["role"])
                )
            )
            rows.append(
                [
                    directions.index(row["direction"]),
                    places[int(row[layer]), int(row[head])],
                    side,
                    other,
                    str(row["role"]),
                    short(row["effect"]),
                    int(row["pairs"]),
                ]
            )
    return rows
