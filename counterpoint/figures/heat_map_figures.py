"""Heat maps, layer by head: AP, IG joint and the ranges side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from counterpoint.errors import MissingColumn
from counterpoint.figures.chosen_heads import FLOOR, mean_over_pairs
from counterpoint.figures.theme import DIVERGING, GREY, SEQUENTIAL, new_figure
from counterpoint.glossary import label
from counterpoint.statistics.panel import directions

MAPS = ("ap", "ig_joint", "output_range", "gradient_range")
"""The columns that are mapped unless others are named."""

ONE_SCALE = ("ap", "ig_joint")
"""What is compared map by map: accounts of one effect, with a sign."""


def heat_maps(
    heads: pd.DataFrame,
    columns: Sequence[str] | str | None = None,
    *,
    floor: float = FLOOR,
    outlined: int = 5,
) -> Figure:
    """Draw columns of a table of heads as layer × head maps, side by side.

    ``heads`` has the columns ``pair, direction, layer, head, ap`` and those that are mapped:
    ``columns`` of it or of `mean_over_pairs`, by default those of AP, IG joint, output range and
    gradient range that it has. One row of maps per direction; values are means over the pairs in
    ``heads`` (give one pair's rows for that pair's maps). Colours go with the root of the value; AP
    and IG joint share one scale, centred on 0, and so has what else is below 0 somewhere, each its
    own. The ``outlined`` heads of greatest |AP| are framed in every map; a dot marks a head whose
    curve moves by less than ``floor``, in units of the metric.

    Raises MissingColumn (a UserError and a KeyError) for a column that the table lacks.
    """
    means = mean_over_pairs(heads, floor)
    if columns is None:
        maps = [name for name in MAPS if name in means]
    else:
        maps = [columns] if isinstance(columns, str) else list(columns)
    missing = [name for name in ("abs_ap", *maps) if name not in means]
    if missing or not maps:
        raise MissingColumn(
            f"the table of heads lacks {missing or list(MAPS)}; it has {list(heads)}"
        )
    n_layers, n_heads = int(means["layer"].max()) + 1, int(means["head"].max()) + 1
    tall = min(8.0, max(1.6, 0.125 * n_layers))
    names = directions(means)
    with new_figure(2.6 * len(maps), len(names) * (tall + 0.75)) as figure:
        grid = figure.subplots(len(names), len(maps), squeeze=False, sharex=True, sharey=True)
        for axes, direction in zip(grid, names, strict=True):
            rows = means[means["direction"] == direction].set_index(["layer", "head"])
            rows = rows.reindex(pd.MultiIndex.from_product([range(n_layers), range(n_heads)]))

            def cells(name: str, rows: pd.DataFrame = rows) -> np.ndarray:
                return rows[name].to_numpy(float).reshape(n_layers, n_heads)

            # Of a study that does not move at all no rounding error is blown up to full colour.
            least = max(floor, 1e-12)
            shared = [cells(name) for name in ONE_SCALE if name in maps]
            bound = max((float(np.nanmax(np.abs(one), initial=least)) for one in shared), default=1)
            signed = root_scale(-bound, bound)
            top = np.argsort(-np.nan_to_num(cells("abs_ap")), axis=None)[:outlined]
            for ax, name in zip(axes, maps, strict=True):
                values = cells(name)
                norm = signed
                if name not in ONE_SCALE:
                    high = float(np.nanmax(np.abs(values), initial=least))
                    # A size may lie below 0 by rounding; that makes it no signed column.
                    below = np.nanmin(values, initial=0.0) < -1e-6 * high
                    norm = root_scale(-high if below else 0.0, high)
                image = ax.imshow(
                    values,
                    cmap=DIVERGING if norm.vmin else SEQUENTIAL,
                    norm=norm,
                    aspect="auto",
                    interpolation="none",
                )
                for place in top[~np.isnan(cells("abs_ap")).reshape(-1)[top]]:
                    layer, head = divmod(int(place), n_heads)
                    ax.add_patch(
                        Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, ec="black", lw=0.9)
                    )
                low = np.argwhere(cells("at_floor") == 1)
                ax.plot(low[:, 1], low[:, 0], ".", color=GREY, ms=1.6, mew=0)
                ax.set_title(label(name))
                ax.set_xticks(_ticks(n_heads))
                ax.set_yticks(_ticks(n_layers))
                for side in ("top", "right"):
                    ax.spines[side].set_visible(True)
                bar = figure.colorbar(image, ax=ax, fraction=0.06, pad=0.03, aspect=40)
                bar.set_ticks(root_ticks(norm))
                bar.outline.set_linewidth(0.4)
                bar.ax.tick_params(labelsize=7, width=0.5, length=2)
            axes[0].set_ylabel(f"{direction}\nlayer")
        for ax in grid[-1]:
            ax.set_xlabel("head")
        return figure


def _ticks(count: int) -> list[int]:
    """Return tick places for ``count`` rows or columns: at most about twelve, from 0."""
    step = max(1, math.ceil(count / 12))
    return list(range(0, count, step))


def root_scale(low: float, high: float) -> FuncNorm:
    """Return a colour scale that goes with the signed root of the value, 0 keeping its place.

    A few heads carry most of a task: on a plain scale all others would look alike.
    """
    return FuncNorm(
        (lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * np.square(x)),
        vmin=low,
        vmax=high,
    )


def root_ticks(norm: FuncNorm) -> list[float]:
    """Return ticks at 0 and at round numbers near the end, a quarter and a 16th of the scale."""
    ticks = {0.0}
    for share in (1, 1 / 4, 1 / 16):
        top = share * float(norm.vmax or 0)
        size = 10.0 ** math.floor(math.log10(top))
        ticks.add(math.floor(top / size) * size)
    return sorted(ticks | {-tick for tick in ticks if norm.vmin})
