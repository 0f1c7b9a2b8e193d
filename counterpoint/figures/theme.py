"""How every figure looks: colours, markers, fonts, and how a figure is begun and saved.

Nothing here or in the other modules of the room touches pyplot's global state.

Colours: the diverging map is red-blue and centred on 0, the sequential one runs evenly from light
to dark, the two directions differ in hue and marker; all three survive the common colour-vision
deficiencies. Text is never read as TeX (`text.parse_math` is off), since prompts may hold "$".
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from counterpoint.figures.compact_svg import compact_svg
from counterpoint.files.artifacts import atomic

PathLike = str | os.PathLike[str]

COLOURS = {"noising": "#0072B2", "denoising": "#D55E00"}

MARKERS = {"noising": "o", "denoising": "^"}

GREY = "#6b7280"

FAINT = "#b6bcc6"

METHOD_COLOURS = {
    "fluent": "#0072B2",
    "evolution": "#D55E00",
    "descent": "#CC79A7",
    "random_swaps": "#009E73",
    "likely_swaps": "#E69F00",
    "gradient_swaps": "#56B4E9",
    "template_swaps": "#8B5A2B",
    "proposal_only": GREY,
}
"""The colour of every method of searching, the same in all figures."""

SCORE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""The colours of scores, in the order of their table: a study chooses which scores it has."""

DIVERGING = "RdBu"

SEQUENTIAL = "GnBu"

THIN_LINES = 20
"""Most pairs drawn one by one: more would be a smear and a large file."""

STYLE: dict[Any, Any] = {
    # A user's own matplotlibrc has no part in it: its text.usetex would need LaTeX here.
    **{
        name: value
        for name, value in mpl.rcParamsDefault.items()
        if not name.startswith(("backend", "interactive", "webagg", "date.epoch"))
    },
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4b5563",
    "axes.linewidth": 0.7,
    "xtick.color": "#374151",
    "ytick.color": "#374151",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "svg.fonttype": "none",
    # Of a map an SVG then holds one dot a cell, and enlarges it.
    "image.interpolation": "none",
    "svg.hashsalt": "counterpoint",
}


class Picture(Figure):
    """A matplotlib figure that a notebook shows by itself, without pyplot."""

    def _repr_png_(self) -> bytes:
        return saved(self, "png", dpi=self.dpi)


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure, sizes in inches, drawn within the project's style."""
    with mpl.rc_context(STYLE):
        yield Picture(figsize=(width, height), layout="constrained")


def sentence(text: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    with new_figure(7, 1.1) as figure:
        figure.text(0.5, 0.5, text, ha="center", va="center", color=GREY, wrap=True)
        return figure


def reason(table: pd.DataFrame, what: str) -> str:
    """Return ``what`` as a sentence, with the first reason that the table notes."""
    notes = [text for text in table["note"] if isinstance(text, str) and text]
    return f"{what}: {notes[0]}." if notes else f"{what}."


def name_directions_once(figure: Figure, grid: Sequence[Axes]) -> None:
    """Name every direction once, below the panels."""
    found: dict[str, Artist] = {}
    for ax in grid:
        handles, labels = ax.get_legend_handles_labels()
        found |= {str(label): handle for label, handle in zip(labels, handles, strict=True)}
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=len(found))


def saved(figure: Figure, kind: str, dpi: float | None = None) -> bytes:
    """Return a figure as the bytes of an "svg" (without a date, its text as text) or a "png".

    ``dpi`` is that of the style unless another is named.
    """
    metadata = {"Date": None} if kind == "svg" else None
    with mpl.rc_context(STYLE), io.BytesIO() as stream:
        figure.savefig(stream, format=kind, metadata=metadata, dpi=dpi or STYLE["savefig.dpi"])
        return compact_svg(stream.getvalue()) if kind == "svg" else stream.getvalue()


def figure_svg(figure: Figure) -> bytes:
    """Return a figure as SVG without a date, its text as text."""
    return saved(figure, "svg")


def save_figure(figure: Figure, folder: PathLike, name: str) -> tuple[Path, Path]:
    """Write ``folder/name.svg`` and ``folder/name.png``, each atomically, and return their paths.

    The SVG holds no date and its ids come from a fixed salt: equal figures give equal files.
    """
    svg, png = Path(folder) / f"{name}.svg", Path(folder) / f"{name}.png"
    for path, kind in ((svg, "svg"), (png, "png")):
        with atomic(path) as temporary:
            temporary.write_bytes(saved(figure, kind))
    return svg, png
