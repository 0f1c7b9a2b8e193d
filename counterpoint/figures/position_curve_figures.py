"""Output curves at single positions: how each position's part of a head's effect comes about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterpoint.errors import MissingColumn, UserError
from counterpoint.figures.chosen_heads import Head
from counterpoint.figures.position_figures import shown_token
from counterpoint.figures.theme import FAINT, GREY, SCORE_COLOURS, new_figure
from counterpoint.glossary import COLUMNS
from counterpoint.glossary.metric_words import DEFAULT_METRIC, metric_words
from counterpoint.statistics.panel import directions

SHOWN_HEADS = 6
"""Heads that are drawn where none is named."""

NAMED_POSITIONS = 5
"""Positions of a head that are drawn in colour, with their tokens; the others are grey."""

ACROSS = 3


def position_curves(
    curves: pd.DataFrame,
    baseline: pd.DataFrame | None = None,
    heads: Sequence[Head] | None = None,
    *,
    pair: int | None = None,
    direction: str | None = None,
    metric: str = DEFAULT_METRIC,
) -> Figure:
    """Draw f(α) − f(0) of heads with one position on its way, a line for each position.

    ``curves`` is a table like position_curves.parquet. f(0) is the unpatched metric of the
    direction's background, from ``baseline`` (columns ``pair, metric_clean, metric_corrupted``);
    without it f is drawn from its first node on. ``heads`` are (layer, head), by default the
    `SHOWN_HEADS` whose curves move farthest at some position; the `NAMED_POSITIONS` that move
    farthest are named. One ``pair``, by default the first, and one ``direction``, likewise.
    """
    missing = [name for name in COLUMNS["position_curves.parquet"] if name not in curves]
    if missing:
        raise MissingColumn(
            f"the table of curves at positions lacks {missing}; it has {list(curves)}. Expected"
            " what counterpoint.position_curves gives."
        )
    chosen = curves["pair"].min() if pair is None else pair
    way = directions(curves)[0] if direction is None else direction
    rows = curves[
        (curves["pair"] == chosen) & (curves["direction"] == way) & (curves["component"] == "head")
    ]
    if rows.empty:
        raise UserError(f"the table has no curves of heads of pair {chosen} in {way}.")
    named = list(heads) if heads is not None else farthest(rows, SHOWN_HEADS)
    zero = None
    if baseline is not None:
        column = "metric_clean" if way == "noising" else "metric_corrupted"
        zero = float(baseline.loc[baseline["pair"] == chosen, column].to_numpy(float)[0])
    alphas = _nodes(len(rows["output"].iloc[0]))
    across = min(len(named), ACROSS)
    down = -(-len(named) // across)
    with new_figure(3.4 * across, 2.5 * down + 0.2) as figure:
        grid = figure.subplots(down, across, squeeze=False, sharex=True)
        for ax, (layer, head) in zip(grid.flat, named, strict=False):
            own = rows[(rows["layer"] == layer) & (rows["head"] == head)]
            if own.empty:
                raise UserError(f"the table has no curves of the head {layer}.{head}.")
            order = own.sort_values("output_range_closed", ascending=False, kind="stable")
            ax.axhline(0, color=FAINT, lw=0.6, zorder=0)
            for place, row in enumerate(order.to_dict("records")):
                output = np.asarray(row["output"], dtype=float)
                shift = output - (output[0] if zero is None else zero)
                first = place < NAMED_POSITIONS
                ax.plot(
                    alphas,
                    shift,
                    color=SCORE_COLOURS[place] if first else FAINT,
                    lw=1.5 if first else 0.7,
                    zorder=3 if first else 1,
                    label=f"{row['position']} {shown_token(row['token'])}" if first else None,
                )
            ax.set_title(f"{layer}.{head}", pad=3)
            ax.set_title(way, loc="right", fontsize=7, color=GREY, fontweight="normal")
            ax.set_xlim(0, 1)
            ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
            ax.legend(fontsize=6.5, prop={"family": "DejaVu Sans Mono", "size": 6.5})
        for empty in list(grid.flat)[len(named) :]:
            empty.set_visible(False)
        for ax in grid[:, 0]:
            ax.set_ylabel(f"f(α) − f(0), {metric_words(metric).unit}")
        for ax in grid[-1]:
            ax.set_xlabel("α: 0 background, 1 other prompt")
        return figure


def farthest(rows: pd.DataFrame, count: int) -> list[Head]:
    """The ``count`` heads whose curve moves farthest at some position, the farthest first."""
    heads = rows[rows["component"] == "head"]
    extent = heads.groupby(["layer", "head"])["output_range_closed"].max()
    first = extent.sort_values(ascending=False, kind="stable").head(count)
    return [(int(layer), int(head)) for layer, head in first.index]


def _nodes(count: int) -> np.ndarray:
    """The Gauss-Legendre nodes on [0, 1] that curves are kept at."""
    nodes, _ = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2
