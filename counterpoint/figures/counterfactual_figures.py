"""The figures of generated pairs: what the archives hold, and what the atlas reached.

As in `figures.study_figures`, functions take tables and return figures and touch no global state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from counterpoint.counterfactuals.atlas.atlas_classes import CLASSES, KEYS, atlas_class
from counterpoint.figures.study_figures import GREY, METHOD_COLOURS, STYLE

MOST_POINTS = 400
"""Pairs of a method that are drawn: those with the greatest LD change."""

MOST_TICKS = 9

NUMBERED_HEADS = 16
"""Most heads of a layer for which a cell has room for its rank."""


@contextmanager
def _new_figure(width: float, height: float) -> Iterator[Figure]:
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def archive_scatter(archives: Mapping[str, pd.DataFrame], cap: float | None = None) -> Figure:
    """Draw LD change against perplexity of every kept pair, a colour and marker per method.

    Filled marks are not dominated by any pair of their method, hollow ones are; ``cap`` is the
    perplexity up to which a pair counts as fluent. Columns: ``ld_change, perplexity,
    non_dominated``.
    """
    with _new_figure(6.4, 3.6) as figure:
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


def atlas_map(atlas: pd.DataFrame) -> Figure:
    """Draw what was reached for each head, layer by head, with its rank where there is room.

    Columns: ``layer, head`` and those of `atlas_class`.
    """
    n_layers, n_heads = int(atlas["layer"].max()) + 1, int(atlas["head"].max()) + 1
    keys = atlas_class(atlas)
    colours = {one.key: to_rgb(one.colour) for one in CLASSES}
    image = np.full((n_layers, n_heads, 3), to_rgb("#ffffff"))
    for layer, head, key in zip(atlas["layer"], atlas["head"], keys, strict=True):
        image[int(layer), int(head)] = colours[key]
    with _new_figure(
        max(6.4, min(10.0, 0.32 * n_heads + 4.4)), max(2.4, min(9.0, 0.2 * n_layers + 1.0))
    ) as figure:
        ax = figure.subplots()
        ax.imshow(image, aspect="auto", interpolation="nearest")
        ax.set_xticks(np.arange(n_heads + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(n_layers + 1) - 0.5, minor=True)
        ax.grid(which="minor", color="white", lw=0.8)
        ax.tick_params(which="minor", length=0)
        ax.set_xticks(range(0, n_heads, max(1, n_heads // 12)))
        ax.set_yticks(range(0, n_layers, max(1, n_layers // 12)))
        if n_heads <= NUMBERED_HEADS:
            inks = {one.key: one.ink for one in CLASSES}
            for (_, row), key in zip(atlas.iterrows(), keys, strict=True):
                if key != KEYS[-1]:
                    ax.text(
                        row["head"], row["layer"], f"{row['rank']:.0f}",
                        ha="center", va="center", fontsize=6, color=inks[key],
                    )  # fmt: skip
        counts = keys.value_counts()
        handles = [
            Patch(fc=one.colour, ec=GREY, lw=0.4, label=f"{one.name} ({counts.get(one.key, 0)})")
            for one in CLASSES
        ]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0))
        ax.set_xlabel("head")
        ax.set_ylabel("layer")
        return figure
