"""Of what the heads' AP varies: templates, pairs, and the rest."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.theme import FAINT, SCORE_COLOURS, new_figure, reason, sentence
from counterpoint.glossary import VARIANCES


def variance_shares(variance: pd.DataFrame, count: int = 10) -> Figure:
    """Draw the variance components of the ``count`` heads that vary most, as standard deviations.

    ``variance`` is the table of `variance_components.variance_components`; the bars of a head begin
    at 0 and are beside each other, since standard deviations do not add. One panel per direction,
    and one for both.
    """
    names = [f"variance_{name}" for name in VARIANCES]
    known = variance[variance["variance_template"].notna()]
    if known.empty:
        return sentence(reason(variance, "Templates have no variance of their own"))
    total = known[names].sum(axis=1)
    first = total.groupby([known["layer"], known["head"]]).max().sort_values(ascending=False)
    heads = list(first.index[:count])
    shown = list(dict.fromkeys(known["direction"]))
    with new_figure(8.4, 0.9 + 0.27 * len(heads)) as figure:
        grid = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for ax, direction in zip(grid, shown, strict=True):
            rows = known[known["direction"] == direction].set_index(["layer", "head"])
            rows = rows.reindex(pd.MultiIndex.from_tuples(heads))
            for place, (name, meaning) in enumerate(VARIANCES.items()):
                values = np.sqrt(rows[f"variance_{name}"].to_numpy(float))
                if np.isnan(values).all():
                    continue
                at = np.arange(len(heads)) + (place - 1) * 0.27
                ax.barh(at, values, 0.25, color=SCORE_COLOURS[place], label=meaning)
            ax.set_title(direction)
            ax.set_xlabel("standard deviation of AP")
            ax.grid(axis="x", color=FAINT, lw=0.4)
            ax.set_axisbelow(True)
        grid[0].set_yticks(range(len(heads)), [f"{layer}.{head}" for layer, head in heads])
        grid[0].set_ylim(len(heads) - 0.4, -0.6)
        grid[0].set_ylabel("layer.head")
        handles, labels = grid[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return figure
