"""How faithful circuits are as they grow, by each method, with intervals over pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.theme import FAINT, SCORE_COLOURS, new_figure
from counterpoint.glossary import COLUMNS
from counterpoint.statistics.panel import directions


def circuit_curves(members: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Draw f of the circuits of the first k nodes by each method, and its interval over pairs.

    ``members`` is `circuit.parquet` (every k as long as small sets were sought), ``curves``
    `circuit_curves.csv` (the benchmark's shares up to all nodes), both with the columns
    ``direction, method, k, faithfulness, ci_low, ci_high``. Nodes are ranked by value.
    """
    shown = directions(members)
    says = COLUMNS["circuit.parquet"]["method"].says
    by_value = curves[curves["ranked_by"] == "value"]
    columns = ["direction", "method", "k", "faithfulness", "ci_low", "ci_high"]
    every = pd.concat([members[columns], by_value[columns]], ignore_index=True)
    every = every[every["k"] > 0].drop_duplicates(["direction", "method", "k"])
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
            ax.set_xscale("log")
            ax.set_title(direction)
            ax.set_xlabel("nodes inside, k")
        grid[0].set_ylabel("faithfulness f")
        grid[0].legend(loc="best")
        return figure
