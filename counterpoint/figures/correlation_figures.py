"""The correlations of measures with scores as tables with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from counterpoint.figures.theme import DIVERGING, new_figure, reason, sentence
from counterpoint.glossary import signed_label
from counterpoint.statistics.panel import directions


def correlation_matrices(
    correlations: pd.DataFrame, methods: Sequence[str] = ("pearson", "spearman")
) -> Figure:
    """Draw the study-wide correlations as measure × score tables, with their intervals.

    A row of tables per direction, a column per method. Bold: the interval leaves out 0.
    """
    rows = correlations[correlations["scope"] == "study"]
    if rows["estimate"].isna().all():
        return sentence(reason(rows, "No correlation could be computed for this study"))
    measures, scores = list(dict.fromkeys(rows["measure"])), list(dict.fromkeys(rows["score"]))
    shown = directions(rows)
    with new_figure(10.4, len(shown) * (0.75 + 0.4 * len(measures))) as figure:
        grid = figure.subplots(len(shown), len(methods), squeeze=False, sharex=True, sharey=True)
        for axes, direction in zip(grid, shown, strict=True):
            for ax, method in zip(axes, methods, strict=True):
                values = np.full((len(measures), len(scores)), np.nan)
                for place in np.ndindex(values.shape):
                    row = find_correlation(
                        rows, direction, measures[place[0]], scores[place[1]], method=method
                    )
                    if row is not None:
                        values[place] = row["estimate"]
                        _write_correlation(ax, place, row)
                ax.imshow(values, cmap=DIVERGING, norm=TwoSlopeNorm(0, -1, 1), aspect="auto")
                ax.set_title(f"{method.capitalize()}, {direction}")
                ax.tick_params(length=0)
                ax.spines[:].set_visible(False)
            axes[0].set_yticks(range(len(measures)), [signed_label(m) for m in measures])
        for ax in grid[-1]:
            ax.set_xticks(range(len(scores)), [signed_label(s) for s in scores], rotation=20)
        return figure


def _write_correlation(ax: Axes, place: tuple[int, ...], row: pd.Series) -> None:
    """Write an estimate and its interval into a cell, bold where the interval leaves out 0."""
    estimate, low, high = row["estimate"], row["ci_low"], row["ci_high"]
    if not math.isfinite(estimate):
        return
    ends = f"[{low:.2f}, {high:.2f}]".replace("-", "−") if math.isfinite(low) else ""
    at: dict[str, Any] = {
        "ha": "center",
        "color": "white" if abs(estimate) > 0.55 else "#111827",
        "fontweight": "bold" if low > 0 or high < 0 else "normal",
    }
    ax.text(place[1], place[0], f"{estimate:.2f}".replace("-", "−"), va="bottom", fontsize=8, **at)
    ax.text(place[1], place[0] + 0.08, ends, va="top", fontsize=5.8, **at)


def find_correlation(
    correlations: pd.DataFrame | None,
    direction: str,
    measure: str,
    score: str,
    *,
    method: str = "pearson",
    scope: str = "study",
    pair: int | None = None,
) -> pd.Series | None:
    """Return the row of `correlations.csv` for one relation, None when there is none.

    ``pair`` is needed for the scope "pair" only.
    """
    if correlations is None or correlations.empty:
        return None
    wanted: dict[str, Any] = {
        "scope": scope,
        "direction": direction,
        "measure": measure,
        "score": score,
        "method": method,
    }
    if pair is not None:
        wanted["pair"] = pair
    found = correlations
    for name, key in wanted.items():
        found = found[found[name] == key]
    return None if found.empty else found.iloc[0]
