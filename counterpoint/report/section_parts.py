"""What many sections of a page use: lists in words, verdicts, figures with captions, row limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.chosen_heads import Head
from counterpoint.figures.study_figures import FIGURES
from counterpoint.figures.theme import figure_svg
from counterpoint.figures.top_head_figures import ap_intervals
from counterpoint.report.html import Fragment, captioned, count, figure, fill, image, note
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


def named_pairs(results: Results, pairs: Iterable[int]) -> str:
    """Return which of the study's pairs numbers are about, so that one word has one number.

    "all 8 pairs", "the first 2 of 8 pairs", "pair 0 of 8", "3 of 8 pairs" or "the only pair".
    """
    every = sorted({int(pair) for pair in results.heads["pair"].unique()})
    own = sorted({int(pair) for pair in pairs})
    if own == every:
        return "the only pair" if len(own) == 1 else f"all {len(own)} pairs"
    if len(own) == 1:
        return f"pair {own[0]} of {len(every)}"
    which = "the first " if own == every[: len(own)] else ""
    return f"{which}{len(own)} of {len(every)} pairs"


def has_several_pairs(results: Results) -> bool:
    """Return whether there is more than one pair, so that numbers have intervals over pairs."""
    return len(results.heads["pair"].unique()) > 1


def means_over(results: Results, pairs: Iterable[int]) -> str:
    """Return how numbers come from these pairs: "mean over all 8 pairs", "on pair 0 of 8"."""
    own = {int(pair) for pair in pairs}
    return f"{'on' if len(own) == 1 else 'mean over'} {named_pairs(results, own)}"


def ranks(place: Mapping[Any, Any]) -> Fragment:
    """Return a head's ranks over pairs (a row of `stability.ranking`): median [best, worst]."""
    return fill(
        '{} <span class="interval">[{}, {}]</span>',
        f"{place['median_rank']:g}",
        count(place["best_rank"]),
        count(place["worst_rank"]),
    )


def ap_by_head(results: Results, direction: str) -> dict[Head, tuple[float, float, float]]:
    """Return every head's AP, mean over all pairs, with its interval, in one direction."""
    return ap_intervals(
        results.heads,
        direction,
        confidence=float(results.statistic("confidence", 0.95)),
        seed=int(results.statistic("seed", 0)),
        metric=results.metric,
        resample=results.statistic("resample", "auto"),
    )


def spoken(name: Any) -> str:
    """Return a name of settings or rules as words: random_swaps is random swaps."""
    return str(name).replace("_", " ")


def missing_as(value: Any, instead: Any) -> Any:
    """Return ``instead`` for None and NaN (an empty cell of a CSV)."""
    return instead if value is None or value != value else value


def reasons_of(rows: pd.DataFrame) -> str:
    """Return the different remarks of a table."""
    return "; ".join(dict.fromkeys(text for text in rows["note"] if missing_as(text, "")))


P_AND_INTERVAL = (
    "Where p and interval seem to contradict each other, they answer different questions. p "
    "shuffles which head has which value, on these pairs: a small p says that the few heads that "
    "are large in one column are large in the other too, whatever their signs. The interval draws "
    "heads and pairs anew: where it holds the value of no relation, size and sign of the number "
    "hang on a few of them, and the relation is not settled however small p is. Where it leaves "
    "that value out and p is not small, shuffled heads reach such a number by chance."
)
"""Said where `contradicts` finds a row."""


def contradicts(low: float, high: float, p: float, *, confidence: float, none: float = 0.0) -> bool:
    """Whether an interval holds the value of no relation and p is small, or neither.

    ``none`` is that value; p is small below 1 − ``confidence``. False where a number is missing.
    """
    if not all(math.isfinite(float(number)) for number in (low, high, p)):
        return False
    return bool((low <= none <= high) == (p < 1 - confidence))


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
