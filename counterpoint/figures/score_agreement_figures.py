"""What each score finds of the true first heads, by the number of exact checks."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.theme import FAINT, GREY, SCORE_COLOURS, new_figure
from counterpoint.glossary import label
from counterpoint.statistics.panel import directions


def found_by_checks(agreement: pd.DataFrame) -> Figure:
    """Draw the share of the true first k heads found with so many exact checks, by each score.

    Columns: those of ``score_agreement.csv``. Bands are intervals over pairs, the dotted line is
    what a random order finds.
    """
    found = agreement[agreement["quantity"] == "found"]
    shown = directions(found)
    with new_figure(8.4, 2.9) as figure:
        grid = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for ax, direction in zip(grid, shown, strict=True):
            own = found[found["direction"] == direction]
            for place, (score, rows) in enumerate(own.groupby("score", sort=False)):
                colour = SCORE_COLOURS[place % len(SCORE_COLOURS)]
                ax.plot(rows["checks"], rows["estimate"], ".-", color=colour, lw=1.3, ms=4,
                        label=label(str(score)))  # fmt: skip
                ax.fill_between(
                    rows["checks"], rows["ci_low"], rows["ci_high"], color=colour, alpha=0.1, lw=0
                )
            chance = own.drop_duplicates("checks")
            ax.plot(chance["checks"], chance["chance"], ":", color=GREY, lw=1)
            ax.axhline(1, color=FAINT, lw=0.6, zorder=0)
            ax.set_xscale("log", base=2)
            ticks = sorted(int(each) for each in own["checks"].unique())
            ax.set_xticks(ticks, [str(tick) for tick in ticks])
            ax.set_title(direction)
            ax.set_xlabel("heads checked exactly, first by the score")
        k = int(found["k"].iloc[0])
        grid[0].set_ylabel(f"share found of the first {k} by |AP|")
        grid[-1].legend(loc="lower right")
        return figure
