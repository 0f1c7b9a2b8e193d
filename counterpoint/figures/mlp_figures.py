"""AP and output range of whole MLP layers by depth."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.errors import UserError
from counterpoint.figures.theme import COLOURS, FAINT, THIN_LINES, new_figure
from counterpoint.glossary import signed_label
from counterpoint.glossary.metric_words import DEFAULT_METRIC, metric_words
from counterpoint.statistics.panel import check_kind, directions, value


def mlp_layers(mlps: pd.DataFrame, *, metric: str = DEFAULT_METRIC) -> Figure:
    """Draw AP and output range of whole MLP layers by depth: thin for pairs, thick for the mean.

    Columns: ``pair, direction, layer, ap, output_range``. Raises UserError for another table, such
    as one of heads.
    """
    keys = ["pair", "direction", "layer"]
    check_kind(mlps, keys)
    if "head" in mlps or mlps.duplicated(keys).any():
        raise UserError(
            "the table has several rows of one layer; expected one of MLP layers, as"
            " counterpoint.measure(…, component='mlp') gives it."
        )
    mlps = mlps.assign(**{name: value(mlps, name) for name in ("ap", "output_range")})
    with new_figure(8.4, 2.7) as figure:
        grid = figure.subplots(1, 2)
        for ax, name in zip(grid, ("ap", "output_range"), strict=True):
            for direction in directions(mlps):
                rows = mlps[mlps["direction"] == direction]
                table = rows.pivot_table(index="layer", columns="pair", values=name)
                colour = COLOURS[direction]
                ax.plot(table.index, table.iloc[:, :THIN_LINES], color=colour, lw=0.6, alpha=0.35)
                ax.plot(table.index, table.mean(axis=1), color=colour, lw=1.8, label=direction)
            ax.axhline(0, color=FAINT, lw=0.6, zorder=0)
            ax.set_xlabel("layer")
            ax.set_ylabel(f"{signed_label(name)}, {metric_words(metric).unit}")
        grid[0].legend(loc="best")
        return figure
