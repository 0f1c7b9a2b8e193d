"""The figure that compares methods of searching: what each reached for each head."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.counterfactuals.comparison.method_comparison import DECISIVE
from counterpoint.figures.theme import FAINT, METHOD_COLOURS, new_figure

FIGURES = {"methods": "LD change under the perplexity cap, by method and head"}
"""Every figure that `draw_methods` returns, with its title."""

ACROSS = 4
"""Panels in a row."""


def draw_methods(summary: pd.DataFrame) -> dict[str, Figure]:
    """Draw, head by head, the median and range over the seeds of every method.

    ``summary`` is the table of `method_comparison.summarise`.
    """
    rows = summary[(summary["scope"] == "head") & (summary["measure"] == DECISIVE)]
    # Read back from CSV, where other rows have no head, these two are floating-point columns.
    rows = rows.astype({"layer": int, "head": int})
    heads = list(rows[["layer", "head"]].drop_duplicates().itertuples(index=False, name=None))
    methods = list(dict.fromkeys(rows["method"]))
    across = min(ACROSS, max(1, len(heads)))
    down = max(1, math.ceil(len(heads) / across))
    with new_figure(1.3 + 1.9 * across, 0.5 + down * (0.45 + 0.17 * len(methods))) as figure:
        grid = figure.subplots(down, across, squeeze=False, sharey=True, sharex=True)
        for ax, (layer, head) in zip(grid.flat, heads, strict=False):
            here = rows[(rows["layer"] == layer) & (rows["head"] == head)].set_index("method")
            for place, method in enumerate(methods):
                if method in here.index:
                    row = here.loc[method]
                    colour = METHOD_COLOURS[method]
                    ends = [row["smallest"], row["largest"]]
                    ax.plot(ends, [place, place], "-", color=colour, lw=1.4)
                    ax.plot(row["median"], place, "o", color=colour, ms=4, mew=0)
            ax.axvline(0, color=FAINT, lw=0.6, zorder=0)
            ax.set_title(f"{layer}.{head}")
            ax.set_ylim(len(methods) - 0.5, -0.5)
            ax.set_yticks(range(len(methods)), methods)
        for empty in list(grid.flat)[len(heads) :]:
            empty.set_visible(False)
        figure.supxlabel("LD change of the best pair under the cap, median and range over seeds")
    return {"methods": figure}
