"""The picture of a study measured with and without the token before each prompt."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.theme import COLOURS, FAINT, GREY, MARKERS, new_figure
from counterpoint.statistics.panel import directions

LABELLED = 4
"""Heads named in each direction: those of largest effect, with the token or without."""


def with_and_without(both: pd.DataFrame) -> Figure:
    """Draw the mean AP of each head with the token against that without, a panel per direction.

    Columns: ``direction, layer, head, with_bos, without_bos``, in units of the metric.
    """
    shown = directions(both)
    with new_figure(3.6 * len(shown) + 0.4, 3.3) as figure:
        grid = figure.subplots(1, len(shown), squeeze=False)[0]
        for ax, direction in zip(grid, shown, strict=True):
            rows = both[both["direction"] == direction]
            colour = COLOURS[direction]
            ax.plot(
                *(rows["without_bos"], rows["with_bos"], MARKERS[direction]),
                ms=4,
                alpha=0.7,
                mew=0,
                color=colour,
            )
            ends = [*ax.get_xlim(), *ax.get_ylim()]
            line = [min(ends), max(ends)]
            ax.plot(line, line, ":", color=GREY, lw=1, zorder=0)
            ax.axhline(0, color=FAINT, lw=0.6, zorder=0)
            ax.axvline(0, color=FAINT, lw=0.6, zorder=0)
            size = rows[["with_bos", "without_bos"]].abs().max(axis=1)
            for row in rows.loc[size.nlargest(LABELLED).index].itertuples():
                ax.annotate(
                    f"{row.layer}.{row.head}",
                    (row.without_bos, row.with_bos),
                    xytext=(3, 3),
                    textcoords="offset points",
                    fontsize=6.5,
                    color=colour,
                )
            ax.set_title(direction)
            ax.set_xlabel("AP without the token")
        grid[0].set_ylabel("AP with the token")
        return figure
