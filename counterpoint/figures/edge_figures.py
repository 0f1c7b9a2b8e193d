"""The strongest senders of each receiver, with the intervals of their effects over pairs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterpoint.errors import UserError
from counterpoint.figures.theme import COLOURS, GREY, MARKERS, new_figure
from counterpoint.glossary.metric_words import DEFAULT_METRIC, metric_words
from counterpoint.statistics.edges_over_pairs import (
    edge_means,
    receiver_name,
    sender_name,
    strongest_senders,
)
from counterpoint.statistics.panel import directions
from counterpoint.statistics.resampling import Settings

SHOWN_SENDERS = 6
"""Senders drawn for each receiver and role."""

IN_A_ROW = 4


def strongest_edges(
    edges: pd.DataFrame,
    *,
    count: int = SHOWN_SENDERS,
    confidence: float = 0.95,
    seed: int = 0,
    metric: str = DEFAULT_METRIC,
) -> Figure:
    """Draw, for each receiver and role, the ``count`` senders of largest mean |effect|.

    ``edges`` is a table as `counterpoint.edges` gives it; exact edges alone are drawn. Small marks
    are pairs, large ones the mean, bars the interval of the mean over pairs (none for one pair).
    Raises UserError where no edge is exact.
    """
    exact = edges[edges["exact"].astype(bool)]
    if exact.empty:
        raise UserError(
            "the table has no exact edges; expected one as counterpoint.edges(…) gives it."
        )
    settings = Settings(confidence=confidence, seed=seed)
    first = strongest_senders(edge_means(exact, settings=settings), count)
    shown = directions(exact)
    groups = list(first.groupby(["receiver_layer", "receiver_head", "role"], sort=False))
    # The logits last.
    groups.sort(key=lambda group: (group[1]["receiver_head"].iloc[0] < 0, group[0]))
    columns = min(IN_A_ROW, len(groups))
    n_rows = -(-len(groups) // columns)
    with new_figure(2.1 * columns + 0.4, n_rows * (0.62 + 0.17 * count) + 0.4) as figure:
        grid = figure.subplots(n_rows, columns, squeeze=False)
        for ax in grid.flat[len(groups) :]:
            ax.set_axis_off()
        for ax, (_, own) in zip(grid.flat, groups, strict=False):
            layer, head, role = own.iloc[0][["receiver_layer", "receiver_head", "role"]]
            ax.axvline(0, color=GREY, lw=0.7)
            same = exact[
                (exact["receiver_layer"] == layer)
                & (exact["receiver_head"] == head)
                & (exact["role"] == role)
            ]
            for row in own.to_dict("records"):
                order = shown.index(row["direction"])
                at = row["place"] + (order - (len(shown) - 1) / 2) * 0.3
                colour, mark = COLOURS[row["direction"]], MARKERS[row["direction"]]
                values = same.loc[
                    (same["direction"] == row["direction"])
                    & (same["sender_layer"] == row["sender_layer"])
                    & (same["sender_head"] == row["sender_head"]),
                    "effect",
                ]
                ax.plot(values, np.full(len(values), at), mark, color=colour, ms=2.2, alpha=0.4,
                        mew=0)  # fmt: skip
                if math.isfinite(row["ci_low"]):
                    ax.plot([row["ci_low"], row["ci_high"]], [at, at], "-", color=colour, lw=1.2)
                ax.plot(row["effect"], at, mark, color=colour, ms=4, mec="white", mew=0.4)
            names = own.drop_duplicates("place").sort_values("place")
            ax.set_yticks(
                names["place"],
                [
                    sender_name(*key)
                    for key in zip(names["sender_layer"], names["sender_head"], strict=True)
                ],
            )
            ax.set_ylim(count - 0.4, -0.6)
            ax.set_title(receiver_name(layer, head, role), loc="left")
        words = metric_words(metric)
        figure.supxlabel(f"change of the {words.name}, {words.unit}", fontsize="small")
        handles = [
            grid.flat[0].plot([], [], MARKERS[one], color=COLOURS[one], label=one)[0]
            for one in shown
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(shown))
        return figure
