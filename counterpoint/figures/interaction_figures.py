"""The disagreement of IG joint and AP beside what single partners explain of it."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.theme import COLOURS, GREY, MARKERS, new_figure
from counterpoint.glossary import label
from counterpoint.statistics.panel import directions


def interaction_sums(sums: pd.DataFrame) -> Figure:
    """Draw the disagreement of IG joint and AP against the sum of a head's interactions.

    Columns: ``direction, disagreement, interaction`` (summed over partners); a mark per pair and
    head. On the dotted line two heads at a time explain all; off it three or more act together.
    """
    with new_figure(4.6, 3.2) as figure:
        ax = figure.subplots()
        for direction in directions(sums):
            rows = sums[sums["direction"] == direction]
            ax.plot(
                rows["interaction"],
                rows["disagreement"],
                MARKERS[direction],
                ms=4,
                alpha=0.7,
                mew=0,
                color=COLOURS[direction],
                label=direction,
            )
        ends = [*ax.get_xlim(), *ax.get_ylim()]
        ax.plot([min(ends), max(ends)], [min(ends), max(ends)], ":", color=GREY, lw=1, zorder=0)
        ax.set_xlabel("sum of interactions with single partners")
        ax.set_ylabel(label("disagreement"))
        ax.legend(loc="best")
        return figure
