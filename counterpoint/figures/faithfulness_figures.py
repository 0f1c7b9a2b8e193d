"""What the first k heads by each score recover of the metric's change."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.theme import FAINT, SCORE_COLOURS, new_figure
from counterpoint.glossary import signed_label
from counterpoint.statistics.panel import directions


def faithfulness_curves(faithfulness: pd.DataFrame) -> Figure:
    """Draw what the first k heads by each score recover of the metric's change, mean over pairs.

    Columns: ``pair, direction, score, k, recovered`` (a share, 1 is all of the change).
    """
    shown = directions(faithfulness)
    with new_figure(8.4, 2.9) as figure:
        grid = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for ax, direction in zip(grid, shown, strict=True):
            own = faithfulness[faithfulness["direction"] == direction]
            for place, (score, rows) in enumerate(own.groupby("score", sort=False)):
                mean = rows.groupby("k")["recovered"].mean()
                colour = SCORE_COLOURS[place % len(SCORE_COLOURS)]
                label = signed_label(str(score))
                ax.plot(mean.index, mean, ".-", color=colour, lw=1.3, ms=4, label=label)
            for level in (0, 1):
                ax.axhline(level, color=FAINT, lw=0.6, zorder=0)
            ax.set_title(direction)
            ax.set_xlabel("heads patched together, k")
        grid[0].set_ylabel("share recovered")
        grid[0].legend(loc="best")
        return figure
