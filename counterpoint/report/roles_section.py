"""The section of studies that patch heads' queries, keys, values and patterns alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.figures.role_figures import head_roles
from counterpoint.report.html import (
    Fragment,
    fill,
    folded,
    heading,
    join,
    number,
    paragraph,
    small,
    table,
    word,
)
from counterpoint.report.section_parts import (
    SHOWN_ROWS,
    capital,
    drawn_here,
    means_over,
    named_pairs,
)
from counterpoint.report.study_results import Results

FIGURE_HEADS = 10
"""Heads drawn, those of largest effect."""

LISTED_HEADS = 30
"""Heads listed; the rest stand in the file."""

PARTS = ("query", "key", "value", "pattern")

KEYS = ["direction", "layer", "head"]


def roles(results: Results) -> Fragment:
    """Return which part of each head carries its effect, where that was measured."""
    measured = results.roles
    if measured is None or measured.empty:
        return join([])
    means = measured.pivot_table(index=KEYS, columns="role", values="ap")
    means["interaction"] = means["output"] - means[["query", "key", "value"]].sum(axis=1)
    sizes = means["output"].abs().groupby(level=["layer", "head"]).mean()
    strongest = sizes.sort_values(ascending=False, kind="stable").index[:LISTED_HEADS]
    grouped = "value_group" in means
    columns = [*PARTS, "output", "interaction"]
    which = named_pairs(results, measured["pair"])
    header: list[Any] = ["head", "direction", "query", "key", "value", "pattern"]
    header.append(fill("output ({}), {}", word("ap", "AP"), which))
    header.append(word("role-interaction", "interaction"))
    rows = []
    for layer, head in strongest:
        for direction in results.directions:
            values = means.loc[(direction, layer, head), columns]
            rows.append([f"{layer}.{head}", direction, *[number(value, 3) for value in values]])
    over = means_over(results, measured["pair"])
    caption = f"In {results.words.unit}, {over}; the heads of largest |AP| there."
    listing: list[Any] = [table(header, rows[:SHOWN_ROWS], text=(0, 1), caption=caption)]
    if len(rows) > SHOWN_ROWS:
        rest = rows[SHOWN_ROWS:]
        listing.append(
            folded(f"{len(rest)} more", table(header, rest, text=(0, 1), caption=caption))
        )
    return join(
        [
            heading("roles", "What of a head carries its effect"),
            paragraph(
                "Instead of a head's output, only one of its ",
                word("role", "parts"),
                " comes from the other prompt: its query, its key, its value, or its attention "
                "pattern over the background's values. The output follows, and everything after it "
                f"is computed anew. Numbers: {over}. ",
                _by_part(means, strongest),
                f" What patching the output gives here is AP to within {small(_missed(results))}.",
            ),
            drawn_here(
                results,
                "roles",
                partial(head_roles, measured, heads_shown=FIGURE_HEADS, metric=results.metric),
                "Effects of query, key, value and pattern of the strongest heads.",
                "Bars: the whole output, AP. Marks: one part alone from the other prompt. "
                f"{capital(over)}.",
            ),
            *listing,
            _groups(means, results.directions) if grouped else "",
        ]
    )


def _by_part(means: pd.DataFrame, strongest: pd.Index) -> str:
    """How many of the strongest heads are closer to their AP by value than by pattern."""
    first = means.reset_index().set_index(["layer", "head"])
    named = strongest[:FIGURE_HEADS]
    values = patterns = 0
    for place in named:
        rows = first.loc[[place]]
        by_value = float((rows["value"] - rows["output"]).abs().sum())
        by_pattern = float((rows["pattern"] - rows["output"]).abs().sum())
        values, patterns = values + (by_value < by_pattern), patterns + (by_value > by_pattern)
    return (
        f"Of the {len(named)} heads of largest effect there the value comes closer to AP in "
        f"{values}, "
        f"the pattern in {patterns}."
    )


def _missed(results: Results) -> float:
    """The largest difference between the effect of a head's output and its AP."""
    assert results.roles is not None
    output = results.roles[results.roles["role"] == "output"]
    both = output.merge(results.heads, on=["pair", *KEYS], suffixes=("", "_of_heads"))
    return float(np.abs(both["ap"] - both["ap_of_heads"]).max())


def _groups(means: pd.DataFrame, directions: list[str]) -> Fragment:
    """Return the key-value heads whose keys or values do most for all of their query heads."""
    found = means.dropna(subset=["key_group", "value_group"])
    sizes = found[["key_group", "value_group"]].abs().max(axis=1)
    strongest = sizes.groupby(level=["layer", "head"]).max().sort_values(ascending=False)
    rows = [
        [
            f"{layer}.{head}",
            direction,
            *[
                number(found.loc[(direction, layer, head), name], 3)
                for name in ("key_group", "value_group")
            ],
        ]
        for layer, head in strongest.index[:LISTED_HEADS]
        for direction in directions
    ]
    return folded(
        "Keys and values that several query heads share",
        join(
            [
                paragraph(
                    "Above, one query head alone sees the other key or value. Here all query heads "
                    "of its group do, and all their outputs follow. A group is named by its first "
                    "query head."
                ),
                table(["first head", "direction", "key", "value"], rows, text=(0, 1)),
            ]
        ),
    )
