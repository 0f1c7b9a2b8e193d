"""Output curves f(α) and their gradients g(α): what is stored of them, and their figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from counterpoint.figures.chosen_heads import Head
from counterpoint.figures.theme import (
    COLOURS,
    FAINT,
    GREY,
    THIN_LINES,
    PathLike,
    new_figure,
    sentence,
)
from counterpoint.glossary.metric_words import DEFAULT_METRIC, metric_words
from counterpoint.measures.curve_arrays import Curves

SHOWN_HEADS = 6
"""Heads whose curves are drawn where none is named."""


def read_curves(path: PathLike, directions: Sequence[str]) -> Curves:
    """Read `curves.safetensors` with numpy alone; ``directions`` as in the study's settings."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    return Curves(
        alphas=tensors["alphas"],
        output=tensors["output"],
        gradient=tensors.get("gradient"),
        pairs=tensors["pairs"],
        directions=tuple(directions),
    )


def output_curves(
    curves: Curves,
    baseline: pd.DataFrame | None = None,
    chosen: Sequence[tuple[int, int, str]] | Sequence[tuple[int, int]] | None = None,
    *,
    metric: str = DEFAULT_METRIC,
) -> Figure:
    """Draw f(α) − f(0) and g(α) of the chosen heads: thin for each pair, thick for the mean of all.

    f(0) is the unpatched metric of the direction's background, from ``baseline`` (columns ``pair,
    metric_clean, metric_corrupted``); without it f is drawn from its first node on. ``chosen`` are
    (layer, head), each with a remark where one is to stand beside it; by default the `SHOWN_HEADS`
    heads whose curves move farthest on the mean.
    """
    if not len(curves.pairs):
        return sentence(
            "This study keeps no curves (setting curves.keep: none), so none can be drawn."
        )
    named = [(*place, "")[:3] for place in (chosen or widest(curves, SHOWN_HEADS))]
    # The number of columns, 3 to 5, that leaves the fewest places empty.
    across = min(len(named), min((4, 5, 3), key=lambda columns: -len(named) % columns))
    down = math.ceil(len(named) / across)
    start = None if baseline is None else baseline.set_index("pair").loc[curves.pairs]
    columns = {"noising": "metric_clean", "denoising": "metric_corrupted"}
    with new_figure(10.4, 3.0 * down + 0.35) as figure:
        ratios = [3, 2] if curves.gradient is not None else [1]
        grid = figure.subplots(
            down * len(ratios),
            across,
            squeeze=False,
            sharex=True,
            gridspec_kw={"height_ratios": ratios * down},
        )
        for place, (layer, head, reason) in enumerate(named):
            row, column = divmod(place, across)
            upper = grid[row * len(ratios), column]
            for order, direction in enumerate(curves.directions):
                colour = COLOURS[direction]
                values = curves.output[:, order, layer, head]
                zero = values[:, :1] if start is None else _column(start, columns[direction])
                shift = values - zero
                _bundle(upper, curves.alphas, shift, colour, direction)
                if curves.gradient is not None:
                    lower = grid[row * len(ratios) + 1, column]
                    slope = curves.gradient[:, order, layer, head]
                    _bundle(lower, curves.alphas, slope, colour, direction)
            upper.set_title(f"{layer}.{head}", pad=3)
            upper.set_title(reason, loc="right", fontsize=7, color=GREY, fontweight="normal")
            if column == 0:
                unit = metric_words(metric).unit
                upper.set_ylabel(f"f(α) − f(0), {unit}")
                if curves.gradient is not None:
                    grid[row * len(ratios) + 1, 0].set_ylabel(f"g(α), {unit}")
        for empty in range(len(named), down * across):
            row, column = divmod(empty, across)
            for part in range(len(ratios)):
                grid[row * len(ratios) + part, column].set_visible(False)
        for ax in grid[-1]:
            ax.set_xlabel("α: 0 background, 1 other prompt")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        return figure


def widest(curves: Curves, count: int) -> list[Head]:
    """Return the ``count`` heads whose f moves farthest between nodes, mean over pairs and
    directions, the widest first; heads without curves are left out."""
    extent = np.ptp(curves.output, axis=-1).mean(axis=(0, 1))
    order = np.argsort(-np.nan_to_num(extent, nan=-1.0), axis=None, kind="stable")
    places = (divmod(int(place), extent.shape[1]) for place in order)
    return [place for place in places if np.isfinite(extent[place])][:count]


def _column(table: pd.DataFrame, name: str) -> Float[np.ndarray, "pair 1"]:
    return table[name].to_numpy(float)[:, None]


def _bundle(
    ax: Axes,
    alphas: Float[np.ndarray, " node"],
    values: Float[np.ndarray, "pair node"],
    colour: str,
    label: str,
) -> None:
    """Draw each pair's curve thin (the first `THIN_LINES`) and the mean of all thick."""
    ax.axhline(0, color=FAINT, lw=0.6, zorder=0)
    if len(values) > 1:
        ax.plot(alphas, values[:THIN_LINES].T, color=colour, lw=0.6, alpha=0.35)
    ax.plot(alphas, values.mean(axis=0), color=colour, lw=1.8, label=label)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
