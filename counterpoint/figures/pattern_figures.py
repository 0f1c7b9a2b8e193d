"""Attention patterns: what heads look at on both prompts of a pair, and the difference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from counterpoint.errors import UserError
from counterpoint.figures.theme import DIVERGING, SEQUENTIAL, new_figure

Head = tuple[int, int]

LABELLED = 40
"""Most tokens that are named one by one."""

_LONGEST = 12
"""Characters of a token's text on an axis."""


def attention_maps(
    clean: Float[np.ndarray, "layer head query key"],
    corrupted: Float[np.ndarray, "layer head query key"],
    heads: Sequence[Head],
    tokens: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Figure:
    """Draw the patterns of ``heads``, (layer, head) each, on both prompts, and their difference.

    A row of a map is the position that looks, a column the one that is looked at. ``tokens`` are
    the texts of both prompts' tokens; without them, and in long prompts, positions are numbered.
    Raises UserError for patterns of different shapes, texts of another number, and a head that the
    patterns have not.
    """
    if clean.shape != corrupted.shape or clean.ndim != 4:
        raise UserError(
            f"the patterns have the shapes {clean.shape} and {corrupted.shape}; expected two arrays"
            " of one shape [layer, head, query, key]."
        )
    if not heads:
        raise UserError("heads is empty; expected (layer, head) of each head to draw.")
    for layer, head in heads:
        if not (0 <= layer < clean.shape[0] and 0 <= head < clean.shape[1]):
            raise UserError(f"there is no pattern of head {layer}.{head}")
    length = clean.shape[-1]
    side = min(4.2, max(2.0, 0.14 * length + 0.8))
    texts = [_labels(length, None if tokens is None else tokens[place]) for place in (0, 1)]
    with new_figure(3 * side, len(heads) * side) as figure:
        grid = figure.subplots(len(heads), 3, squeeze=False)
        for axes, (layer, head) in zip(grid, heads, strict=True):
            first, second = clean[layer, head], corrupted[layer, head]
            change = second - first
            bound = max(float(np.nanmax(np.abs(change), initial=0.0)), 1e-6)
            for ax, title, values, colours, low, high, names in (
                (axes[0], "clean", first, SEQUENTIAL, 0.0, 1.0, texts[0]),
                (axes[1], "corrupted", second, SEQUENTIAL, 0.0, 1.0, texts[1]),
                (axes[2], "corrupted − clean", change, DIVERGING, -bound, bound, texts[0]),
            ):
                image = ax.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="none")
                figure.colorbar(image, ax=ax, shrink=0.7, pad=0.02)
                ax.set_title(f"{layer}.{head}, {title}")
                _name_tokens(ax, names)
        return figure


def _name_tokens(ax: Axes, names: list[str]) -> None:
    places = range(len(names))
    if not names:
        ax.set_xlabel("position looked at")
        ax.set_ylabel("position that looks")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        return
    ax.set_xticks(places, names, rotation=90, fontsize=5.5)
    ax.set_yticks(places, names, fontsize=5.5)


def _labels(length: int, texts: Sequence[str] | None) -> list[str]:
    """A short label for each position; none where there are too many."""
    if texts is not None and len(texts) != length:
        raise UserError(
            f"tokens has {len(texts)} texts; expected one for each of the {length} positions."
        )
    if length > LABELLED or texts is None:
        return []
    shown = (text.strip() or repr(text)[1:-1] for text in texts)
    return [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in shown]
