"""The figures of generated pairs: what archives hold, how searches went, the pairs' curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.theme import FAINT, GREY, METHOD_COLOURS, THIN_LINES, new_figure

MOST_POINTS = 400
"""Pairs of a method that are drawn: those with the greatest LD change."""

MOST_TICKS = 9


def archive_scatter(archives: Mapping[str, pd.DataFrame], cap: float | None = None) -> Figure:
    """Draw LD change against perplexity of every kept pair, a colour and marker per method.

    Filled marks are not dominated by any pair of their method, hollow ones are; ``cap`` is the
    perplexity up to which a pair counts as fluent. Columns: ``ld_change, perplexity,
    non_dominated``.
    """
    with new_figure(6.4, 3.6) as figure:
        ax = figure.subplots()
        for place, (method, archive) in enumerate(archives.items()):
            shown = archive.nlargest(MOST_POINTS, "ld_change")
            colour = METHOD_COLOURS[method]
            marker = "os^Dvp*X"[place % 8]
            best = shown["non_dominated"].astype(bool)
            for rows, face, label in (
                (shown[best], colour, str(method)),
                (shown[~best], "none", None if best.any() else str(method)),
            ):
                if len(rows):
                    ax.scatter(
                        rows["perplexity"],
                        rows["ld_change"],
                        s=16,
                        marker=marker,
                        facecolors=face,
                        edgecolors=colour,
                        linewidths=0.8,
                        alpha=0.75,
                        label=label,
                    )
        if cap is not None:
            ax.axvline(cap, color=GREY, lw=1.0, ls="--", label="fluency cap")
        ax.axhline(0, color=GREY, lw=0.5)
        ax.set_xscale("log")
        ticks = _round_numbers(*ax.get_xlim())
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel("perplexity of the less fluent prompt (logarithmic)")
        ax.set_ylabel("LD change")
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        return figure


def _round_numbers(low: float, high: float) -> list[float]:
    """As many round numbers between ``low`` and ``high`` as can stand on an axis."""
    found: list[float] = []
    for digits in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1,)):
        found = [d * 10.0**p for p in range(-1, 9) for d in digits if low <= d * 10.0**p <= high]
        if len(found) <= MOST_TICKS:
            break
    return found


def search_progress(traces: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw hypervolume and largest LD change against model evaluations, a line per search.

    ``traces`` holds for each method the columns ``evaluations, hypervolume, best_ld_change`` and
    ``seed``.
    """
    with new_figure(8.4, 2.6) as figure:
        grid = figure.subplots(1, 2)
        for ax, name, label in zip(
            grid,
            ("hypervolume", "best_ld_change"),
            ("hypervolume", "largest LD change"),
            strict=True,
        ):
            for method, trace in traces.items():
                for number, (_, rows) in enumerate(trace.groupby("seed", sort=False)):
                    ax.step(
                        rows["evaluations"],
                        rows[name],
                        where="post",
                        color=METHOD_COLOURS[method],
                        lw=1.3,
                        label=method if number == 0 else None,
                    )
            ax.set_xlabel("model evaluations")
            ax.set_ylabel(label)
        grid[0].legend(loc="best")
        return figure


def pair_curves(pairs: pd.DataFrame) -> Figure:
    """Draw the target head's output curve on generated pairs, from its value at α = 0.

    Columns: ``alphas`` and ``output``, a list of numbers each, and ``method``.
    """
    with new_figure(5.2, 3.0) as figure:
        ax = figure.subplots()
        ax.axhline(0, color=FAINT, lw=0.6, zorder=0)
        for method, rows in pairs.groupby("method", sort=False):
            colour = METHOD_COLOURS[str(method)]
            shown = rows.head(THIN_LINES)
            for number, (alphas, output) in enumerate(
                zip(shown["alphas"], shown["output"], strict=True)
            ):
                values = np.asarray(output, dtype=float)
                label = str(method) if number == 0 else None
                ax.plot(alphas, values - values[0], color=colour, lw=1.1, alpha=0.7, label=label)
        ax.set_xlim(0, 1)
        ax.set_xlabel("α: 0 own output, 1 that of the corrupted prompt")
        ax.set_ylabel("LD: f(α) − f(0), logits")
        ax.legend(loc="best")
        return figure
