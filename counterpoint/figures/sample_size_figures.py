"""How many of the first heads few pairs find."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from counterpoint.figures.theme import COLOURS, FAINT, GREY, new_figure, reason, sentence
from counterpoint.statistics.panel import directions
from counterpoint.statistics.sample_sizes import ALL, ONE_TEMPLATE, PAIRS, REST


def sample_size_curves(table: pd.DataFrame) -> Figure:
    """Draw how many of the first k heads n pairs find, against n.

    ``table`` is that of `sample_sizes.sample_sizes`, of one score. A line is a mean over draws of n
    pairs, the band the middle of the draws; the other pairs are those that were not drawn.
    """
    known = table[table["overlap"].notna()]
    if known.empty:
        return sentence(reason(table, "There are no pairs to draw"))
    shown = directions(known)
    with new_figure(8.4, 2.9) as figure:
        grid = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for ax, direction in zip(grid, shown, strict=True):
            own = known[known["direction"] == direction]
            colour = COLOURS[direction]
            for drawn, compared, style, hue, label in (
                (PAIRS, ALL, "-", colour, "with all pairs"),
                (PAIRS, REST, "--", colour, "with the other pairs"),
                (ONE_TEMPLATE, REST, ":", GREY, "of one template, with the others"),
            ):
                rows = own[(own["drawn_from"] == drawn) & (own["compared_with"] == compared)]
                if rows.empty:
                    continue
                if compared == ALL:
                    ax.fill_between(rows["n"], rows["low"], rows["high"], color=hue, alpha=0.15)
                ax.plot(rows["n"], rows["overlap"], style, color=hue, lw=1.4, label=label)
            ax.axhline(float(own["chance"].iloc[0]), color=FAINT, lw=0.7, zorder=0)
            ax.set_xscale("log")
            ticks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= own["n"].max()]
            ax.set_xticks(ticks, [str(n) for n in ticks])
            ax.minorticks_off()
            ax.set_title(direction)
            ax.set_xlabel("pairs drawn, n")
        k = int(known["k"].iloc[0])
        grid[0].set_ylim(0, k + 0.3)
        grid[0].yaxis.set_major_locator(MaxNLocator(integer=True))
        grid[0].set_ylabel(f"heads shared, of the first {k}")
        grid[0].legend(loc="lower right")
        return figure
