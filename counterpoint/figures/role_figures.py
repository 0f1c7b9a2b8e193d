"""What a head's query, key, value and pattern alone do, beside what its output does."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterpoint.errors import UserError
from counterpoint.figures.theme import FAINT, GREY, SCORE_COLOURS, new_figure
from counterpoint.glossary import signed_label
from counterpoint.glossary.metric_words import DEFAULT_METRIC, metric_words
from counterpoint.statistics.panel import check_kind, directions

PARTS = ("query", "key", "value", "pattern")
"""The roles that are drawn beside the output, each in its colour and with its marker."""

_MARKERS = ("o", "s", "D", "^")


def head_roles(
    roles: pd.DataFrame, *, heads_shown: int = 10, metric: str = DEFAULT_METRIC
) -> Figure:
    """Draw the effects of query, key, value and pattern alone of the heads of largest effect.

    Columns: ``pair, direction, layer, head, role, ap``. Bars are the effect of the whole output,
    AP; marks are those of its parts. Values are means over the pairs in ``roles``. Raises UserError
    for another table.
    """
    check_kind(roles, ["pair", "direction", "layer", "head"])
    lacking = {"role", "ap"} - set(roles)
    if lacking or not (roles["role"] == "output").any():
        raise UserError(
            "the table has no roles; expected one as counterpoint.roles(…) gives it, with the"
            " columns role and ap."
        )
    means = roles.pivot_table(index=["direction", "layer", "head"], columns="role", values="ap")
    sizes = means["output"].abs().groupby(level=["layer", "head"]).mean()
    shown = sizes.sort_values(ascending=False, kind="stable").index[:heads_shown]
    names = directions(roles)
    with new_figure(3.9 * len(names) + 0.6, 0.28 * len(shown) + 1.1) as figure:
        grid = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
        for ax, direction in zip(grid, names, strict=True):
            rows = means.loc[direction].reindex(shown)
            places = np.arange(len(shown))
            ax.barh(places, rows["output"], height=0.6, color=FAINT, alpha=0.6, label="output (AP)")
            for part, marker, colour in zip(PARTS, _MARKERS, SCORE_COLOURS, strict=False):
                ax.plot(rows[part], places, marker, ms=4.5, mew=0, color=colour, label=part)
            ax.axvline(0, color=GREY, lw=0.7, zorder=0)
            ax.set_yticks(places, [f"{layer}.{head}" for layer, head in shown])
            ax.set_ylim(len(shown) - 0.4, -0.6)
            ax.set_xlabel(f"{signed_label('ap')}, {metric_words(metric).unit}")
            ax.set_title(direction)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        return figure
