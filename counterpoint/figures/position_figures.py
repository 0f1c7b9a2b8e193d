"""Heat maps by position: where in the prompt layers and heads act, on one pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from counterpoint.errors import MissingColumn, UserError
from counterpoint.figures.chosen_heads import Head
from counterpoint.figures.heat_map_figures import root_scale, root_ticks
from counterpoint.figures.theme import DIVERGING, new_figure
from counterpoint.glossary import COLUMNS
from counterpoint.statistics.panel import directions

WHOLE = ("residual", "attention", "mlp")
"""The components that a layer has one of, in the order in which they are drawn."""

TITLES = {"residual": "residual stream", "attention": "attention", "mlp": "MLP", "head": "heads"}

LONGEST_TOKEN = 14

FEW_ROWS = 10


def position_maps(positions: pd.DataFrame, pair: int | None = None) -> Figure:
    """Draw AP by layer and position of the residual stream, attention layers and MLPs.

    ``positions`` is a table like positions.parquet; what it has of the three is drawn, for one
    pair, by default its first. One row of maps per direction; the tokens are those of the
    background prompt. Colours go with the root of the value, each map on its own scale.
    """
    rows = _of_pair(positions, pair)
    shown = [name for name in WHOLE if (rows["component"] == name).any()]
    if not shown:
        raise UserError("the table of positions has no residual stream, attention or MLP to draw.")
    names = directions(rows)
    count = rows["position"].nunique()
    n_layers = int(rows["layer"].max()) + 1
    tall = min(6.0, max(1.6, 0.125 * n_layers))
    width = max(2.2, 0.9 + 0.19 * count)
    with new_figure(width * len(shown), len(names) * (tall + 1.15)) as figure:
        grid = figure.subplots(len(names), len(shown), squeeze=False)
        for axes, direction in zip(grid, names, strict=True):
            for ax, component in zip(axes, shown, strict=True):
                own = rows[(rows["direction"] == direction) & (rows["component"] == component)]
                values = own.pivot_table(index="layer", columns="position", values="ap")
                values = values.reindex(range(n_layers))
                _draw(figure, ax, values, own)
                ax.set_title(TITLES[component])
                step = max(1, -(-n_layers // 12))
                ax.set_yticks(range(0, n_layers, step))
            axes[0].set_ylabel(f"{direction}\nlayer")
        return figure


def head_position_maps(
    positions: pd.DataFrame, heads: Sequence[Head], pair: int | None = None
) -> Figure:
    """Draw AP by position of ``heads``, (layer, head) each, one row of the map for each.

    Otherwise as `position_maps`; directions stand side by side.
    """
    rows = _of_pair(positions, pair)
    rows = rows[rows["component"] == "head"]
    places = pd.MultiIndex.from_frame(rows[["layer", "head"]])
    rows = rows[places.isin([tuple(head) for head in heads])]
    if rows.empty:
        raise UserError("the table of positions has none of the heads to draw.")
    names = directions(rows)
    count = rows["position"].nunique()
    width = max(2.8, 1.2 + 0.19 * count)
    with new_figure(width * len(names), 1.2 + 0.2 * len(heads)) as figure:
        grid = figure.subplots(1, len(names), squeeze=False)[0]
        for ax, direction in zip(grid, names, strict=True):
            own = rows[rows["direction"] == direction]
            values = own.pivot_table(index=["layer", "head"], columns="position", values="ap")
            values = values.reindex(pd.MultiIndex.from_tuples([tuple(head) for head in heads]))
            _draw(figure, ax, values, own)
            ax.set_title(direction)
            ax.set_yticks(range(len(heads)), [f"{layer}.{head}" for layer, head in heads])
        return figure


def _of_pair(positions: pd.DataFrame, pair: int | None) -> pd.DataFrame:
    """The rows of one pair; raises UserError for another table, or a pair that is not there."""
    missing = [
        name for name in COLUMNS["positions.parquet"] if name not in positions and name != "span"
    ]
    if missing:
        raise MissingColumn(
            f"the table of positions lacks {missing}; it has {list(positions)}. Expected what"
            " counterpoint.positions gives."
        )
    chosen = positions["pair"].min() if pair is None else pair
    rows = positions[positions["pair"] == chosen]
    if rows.empty:
        raise UserError(f"the table of positions has no pair {chosen}.")
    return rows


def _draw(figure: Figure, ax: Axes, values: pd.DataFrame, rows: pd.DataFrame) -> None:
    """One map of ``values`` [place, position], with the tokens of ``rows`` below."""
    table = values.to_numpy(float)
    # Of what does not move at all no rounding error is blown up to full colour.
    bound = float(np.nanmax(np.abs(table), initial=1e-4))
    norm = root_scale(-bound, bound)
    image = ax.imshow(table, cmap=DIVERGING, norm=norm, aspect="auto", interpolation="none")
    tokens = rows.drop_duplicates("position").set_index("position")["token"]
    names = [shown_token(tokens[position]) for position in values.columns]
    ax.set_xticks(range(len(names)), names, rotation=90, fontfamily="DejaVu Sans Mono")
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)
    bar = figure.colorbar(image, ax=ax, fraction=0.06, pad=0.03, aspect=30)
    ticks = root_ticks(norm)
    # Beside few rows there is no room for more.
    bar.set_ticks(ticks if len(table) >= FEW_ROWS else [ticks[0], 0.0, ticks[-1]])
    bar.ax.tick_params(labelsize=7, width=0.5, length=2)


def shown_token(token: str) -> str:
    """A token as an axis may show it: in one line, its spaces visible, a long one cut."""
    visible = "".join(
        "·" if sign == " " else "⏎" if sign == "\n" else sign if sign.isprintable() else "�"
        for sign in token
    )
    return visible if len(visible) <= LONGEST_TOKEN else visible[: LONGEST_TOKEN - 1] + "…"
