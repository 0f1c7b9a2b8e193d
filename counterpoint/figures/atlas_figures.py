"""The map of the atlas: what was reached for each head, with its rank."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from counterpoint.counterfactuals.atlas.atlas_classes import CLASSES, KEYS, atlas_class
from counterpoint.figures.theme import GREY, new_figure

NUMBERED_HEADS = 16
"""Most heads of a layer for which a cell has room for its rank."""


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
    with new_figure(
        max(6.4, min(10.0, 0.32 * n_heads + 4.4)), max(2.4, min(9.0, 0.2 * n_layers + 1.0))
    ) as figure:
        ax = figure.subplots()
        ax.imshow(image, aspect="auto", interpolation="none")
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
