"""What many sections of a page use: lists in words, verdicts, figures with captions, row limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.study_figures import FIGURES
from counterpoint.figures.theme import figure_svg
from counterpoint.report.html import Fragment, captioned, figure, fill, image, note
from counterpoint.report.study_results import Results
from counterpoint.statistics.claim_verdicts import DESCRIBED, REFUTED, SUPPORTED

SHOWN_ROWS = 12
"""Rows of a long table shown at once; the rest is folded."""

FOLDED_ROWS = 300
"""Most rows of a folded table; beyond them the reader is sent to the file."""

OF_OWN_RULES = ("atlas",)
"""Figures of sections that a rule of their own draws, beside those that all studies have."""

VERDICTS = {SUPPORTED: "holds", REFUTED: "fails", DESCRIBED: "plain"}
"""The look of each verdict; any other is shown as undecided."""


@dataclass(frozen=True)
class SectionFigure:
    """A figure that a section asks for: how it is drawn, and what it shows in words."""

    draw: Callable[[], Figure]
    title: str


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return names as a list in a sentence."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def capital(text: str) -> str:
    """Return a text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


def percent(confidence: float) -> str:
    """Return a share such as 0.95 as "95 %"."""
    return f"{100 * confidence:g} %"


def missing_as(value: Any, instead: Any) -> Any:
    """Return ``instead`` for None and NaN (an empty cell of a CSV)."""
    return instead if value is None or value != value else value


def reasons_of(rows: pd.DataFrame) -> str:
    """Return the different remarks of a table."""
    return "; ".join(dict.fromkeys(text for text in rows["note"] if missing_as(text, "")))


def verdict_mark(verdict: Any) -> Fragment:
    """Return a verdict in its look."""
    text = str(verdict)
    return fill('<span class="verdict {}">{}</span>', VERDICTS.get(text, "unclear"), text)


def drawn(results: Results, name: str, alt: str, caption: Any) -> Fragment:
    """Return a figure of `draw_figures`, or a remark when its file is not there."""
    path = results.figure(name)
    if not path.exists():
        return note(f"The figure “{FIGURES[name]}” was not drawn ({path.name} is missing).")
    return figure(path, alt, caption)


def drawn_here(
    results: Results, name: str, draw: Callable[[], Figure], alt: str, caption: Any
) -> Fragment:
    """Return a figure that only some studies have, from its file or, without one, drawn now.

    Where ``results`` gathers figures (`section_figures`) it is noted there and nothing is drawn.
    """
    if results.gathered is not None:
        results.gathered[name] = SectionFigure(draw, alt)
        return Fragment("")
    path = results.figure(name if name in OF_OWN_RULES else f"sections/{name}")
    content = path.read_bytes() if path.exists() else figure_svg(draw())
    return captioned(image(content, "svg+xml", alt), caption)
