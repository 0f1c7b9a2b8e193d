"""How far the ranking of heads holds across pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.theme import COLOURS, GREY, new_figure, reason, sentence
from counterpoint.glossary import AGREEMENTS, size_label
from counterpoint.statistics.panel import directions

SHOWN = ("rank_biased_overlap", "jaccard")
"""The measures of agreement that are drawn."""


def rank_stability(stability: pd.DataFrame) -> Figure:
    """Draw how well the rankings of heads by each score agree between pairs.

    ``stability`` is the table of `stability.stability`. Hollow marks: what random
    rankings would give.
    """
    rows = stability[(stability["between"] == "pairs") & stability["estimate"].notna()]
    if rows.empty:
        return sentence(reason(stability, "There are no rankings to compare"))
    scores, shown = list(dict.fromkeys(rows["score"])), directions(rows)
    with new_figure(8.4, 1.05 + 0.28 * len(scores)) as figure:
        grid = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for ax, direction in zip(grid, shown, strict=True):
            for name, marker, shift in zip(SHOWN, "os", (-0.13, 0.13), strict=True):
                label = AGREEMENTS[name]
                own = rows[(rows["direction"] == direction) & (rows["agreement"] == name)]
                colour = COLOURS[direction] if marker == "o" else GREY
                at = np.array([scores.index(score) for score in own["score"]]) + shift
                ax.hlines(at, own["ci_low"], own["ci_high"], color=colour, lw=1.2)
                ax.plot(own["chance"], at, marker, mfc="none", mec=colour, ms=3.5, mew=0.7)
                ax.plot(own["estimate"], at, marker, color=colour, ms=4.5, mew=0, label=label)
            ax.set_xlim(-0.02, 1.02)
            ax.set_title(direction)
            ax.set_xlabel("agreement between pairs")
            ax.grid(axis="y", color="#eceff3", lw=0.6)
            ax.set_axisbelow(True)
        grid[0].set_yticks(range(len(scores)), [size_label(score) for score in scores])
        grid[0].set_ylim(len(scores) - 0.5, -0.5)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return figure
