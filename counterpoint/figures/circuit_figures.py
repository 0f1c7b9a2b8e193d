"""How faithful circuits are as they grow, by each method, with intervals over pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from counterpoint.figures.theme import FAINT, SCORE_COLOURS, new_figure
from counterpoint.glossary import COLUMNS
from counterpoint.statistics.panel import directions

SHOWN = ["direction", "method", "k", "faithfulness", "ci_low", "ci_high"]
"""Columns that are drawn."""


def circuit_curves(members: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Draw f of the circuits of the first k nodes by each method, and its interval over pairs.

    ``members`` is `circuit.parquet` (every k as long as small sets were sought), ``curves``
    `circuit_curves.csv` (the benchmark's shares up to all nodes), both with the columns
    ``direction, method, k, faithfulness, ci_low, ci_high``. Nodes are ranked by value.
    """
    by_value = curves[curves["ranked_by"] == "value"]
    every = pd.concat([members[SHOWN], by_value[SHOWN]], ignore_index=True)
    says = COLUMNS["circuit.parquet"]["method"].says
    return _drawn(every, directions(members), says, "nodes")


def edge_circuit_curves(curves: pd.DataFrame) -> Figure:
    """Draw f of the circuits of the first k edges by each method, and its interval over pairs.

    ``curves`` is `circuit_edge_curves.csv`: the sizes that were tried for small sets, and the
    benchmark's shares. Edges are ranked by value; what pruning leaves is one point.
    """
    by_value = curves.loc[curves["ranked_by"] == "value", SHOWN]
    says = COLUMNS["circuit_edges.parquet"]["method"].says
    return _drawn(by_value, directions(curves), says, "edges")


def _drawn(
    every: pd.DataFrame, shown: Sequence[str], says: Mapping[str, str], members: str
) -> Figure:
    """One panel for each direction."""
    every = every[every["k"] > 0].drop_duplicates(["direction", "method", "k"])
    # Without mathematical type, which is never read (`theme`).
    plain = FuncFormatter(lambda k, _: f"{k:g}")
    with new_figure(8.4, 3.2) as figure:
        grid = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for ax, direction in zip(grid, shown, strict=True):
            own = every[every["direction"] == direction]
            for place, (method, rows) in enumerate(own.groupby("method", sort=False)):
                rows = rows.sort_values("k")
                colour = SCORE_COLOURS[place % len(SCORE_COLOURS)]
                ax.plot(
                    rows["k"],
                    rows["faithfulness"],
                    ".-",
                    color=colour,
                    lw=1.3,
                    ms=4,
                    label=says.get(str(method), str(method)),
                )
                if np.isfinite(rows["ci_low"]).any():
                    ax.fill_between(
                        rows["k"], rows["ci_low"], rows["ci_high"], color=colour, alpha=0.12, lw=0
                    )
            for level in (0, 1):
                ax.axhline(level, color=FAINT, lw=0.6, zorder=0)
            # Intervals of few pairs may reach far beyond the curves.
            margin = 0.15 + 0.1 * np.ptp(every["faithfulness"])
            ax.set_ylim(
                min(0.0, every["faithfulness"].min()) - margin,
                max(1.0, every["faithfulness"].max()) + margin,
            )
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(plain)
            ax.set_title(direction)
            ax.set_xlabel(f"{members} inside, k")
        grid[0].set_ylabel("faithfulness f")
        grid[0].legend(loc="best")
        return figure
