"""The methods of search: what each found for a head, over all heads, and how searches went."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from counterpoint.figures.counterfactual_figures import search_progress
from counterpoint.glossary import COLUMNS
from counterpoint.report.html import (
    Fragment,
    fill,
    folded,
    heading,
    join,
    number,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import drawn_here, spoken
from counterpoint.report.study_results import Generated, Results

METHOD_MEASURES = (
    "ld_change_cap_0",
    "ld_change_cap_0_5",
    "ld_change_cap_1",
    "hypervolume",
    "chosen_evenness",
    "chosen_changed_tokens",
    "chosen_rank",
    "chosen_margin",
    "chosen_ig_rank",
    "evaluations",
    "seconds",
)
"""Measures of ``methods.csv`` that are shown, in order: columns of ``methods.parquet``."""


def method_table(one: Generated) -> Fragment:
    """Return the methods side by side: what each found for what it spent, over its seeds."""
    rows = []
    for name, archive in one.methods.items():
        trace = one.traces.get(name)
        ends = (
            trace.sort_values("evaluations").groupby("seed").last()
            if trace is not None and "seed" in trace
            else pd.DataFrame(columns=["evaluations", "seconds", "hypervolume", "best_ld_change"])
        )
        rows.append(
            [
                spoken(name),
                len(ends) or number(None),
                len(archive),
                median_and_ends(ends["evaluations"], 0),
                median_and_ends(ends["seconds"], 1),
                median_and_ends(ends["best_ld_change"], 2),
                median_and_ends(ends["hypervolume"], 4),
            ]
        )
    if not rows:
        return Fragment("")
    header = ["method", "searches", "pairs", word("evaluation", "evaluations"), "seconds",
              "best LD change", word("hypervolume", "hypervolume")]  # fmt: skip
    caption = (
        "The methods and what they spent; over several searches the median and, in brackets, the "
        "least and the greatest."
    )
    return table(header, rows, caption=caption)


def methods_compared(results: Results) -> Fragment:
    """Return the methods side by side over all heads and seeds, where they were compared."""
    if results.methods is None or "scope" not in results.methods:
        return Fragment("")
    runs = results.methods[results.methods["scope"] == "method"]
    known = set(runs["measure"])
    columns = COLUMNS["methods/methods.parquet"]
    shown = {name: columns[name].shown for name in METHOD_MEASURES if name in known}
    if not shown:
        return Fragment("")
    rows = []
    for method, own in runs.groupby("method", sort=False):
        cells = own.set_index("measure")
        rows.append([spoken(method), *[_range_cell(cells, name) for name in shown]])
    return join(
        [
            heading("methods", "The methods compared", 3),
            paragraph(
                "All methods on the same heads and seeds with the same number of ",
                word("evaluation", "model evaluations"),
                ": the median over the searches and, in brackets, the least and the greatest. "
                "The largest LD change counts under caps on the ",
                word("perplexity", "perplexity"),
                " of both prompts: the study's mean loss per token and so many nats more. Evenness,"
                " changed tokens, ranks and margin are those of the pair that the method prefers.",
            ),
            table(["method", *shown.values()], rows),
        ]
    )


def _range_cell(cells: pd.DataFrame, name: str) -> Any:
    """Return "median [least, greatest]" of one measure of a method."""
    middle, least, greatest = (
        cells[part].to_dict().get(name) for part in ("median", "smallest", "largest")
    )
    if middle is None or pd.isna(middle):
        return number(None)
    digits = 0 if name in ("evaluations", "seconds") else 2
    return fill(
        '{} <span class="interval">[{}, {}]</span>',
        number(middle, digits),
        number(least, digits),
        number(greatest, digits),
    )


def median_and_ends(values: pd.Series, digits: int) -> Any:
    """Return the median and, of several values, their ends."""
    values = values.dropna().astype(float)
    if values.empty:
        return number(None)
    middle = number(values.median(), digits)
    if len(values) == 1:
        return middle
    ends = f"[{number(values.min(), digits)}, {number(values.max(), digits)}]"
    return fill('{} <span class="interval">{}</span>', middle, ends)


def search_course(results: Results, one: Generated) -> Fragment:
    """Return the course of the searches, folded."""
    traces = {name: trace for name, trace in one.traces.items() if len(trace)}
    if not traces:
        return Fragment("")
    drawn = drawn_here(
        results,
        f"generated_{one.name}_searches",
        partial(search_progress, traces),
        f"Hypervolume and best LD change against model evaluations, head {one.name}.",
        "Hypervolume (how much of the four objectives the kept pairs cover) and largest LD change "
        "so far, one line per search.",
    )
    return folded("How the searches went", drawn)
