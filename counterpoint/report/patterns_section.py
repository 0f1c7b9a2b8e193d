"""The section of studies that keep attention patterns: what the strongest heads look at."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from counterpoint.figures.chosen_heads import head_names, rank_heads
from counterpoint.figures.pattern_figures import attention_maps
from counterpoint.report.html import (
    Fragment,
    answer,
    fill,
    folded,
    heading,
    join,
    number,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import SHOWN_ROWS, drawn_here
from counterpoint.report.study_results import Results

DRAWN_HEADS = 3
"""Heads whose patterns are drawn, on the first pair."""

LISTED_PAIRS = 8
"""Pairs on which it is listed what the heads look at."""


def attention_patterns(results: Results) -> Fragment:
    """Return what the shown heads look at on both prompts, where patterns were kept."""
    patterns = results.patterns
    if patterns is None or not len(patterns):
        return join([])
    wanted = results.settings.get("report", {})
    heads = head_names(rank_heads(results.heads).head(int(wanted.get("heads_shown", 6))))
    configured = [(int(layer), int(head)) for layer, head in wanted.get("heads", ())]
    heads = list(dict.fromkeys([*heads, *configured]))
    rows = []
    first = None
    for pair, clean, corrupted in list(patterns)[:LISTED_PAIRS]:
        texts = _texts(results, pair, clean.shape[-1])
        if first is None:
            first = partial(attention_maps, clean, corrupted, heads[:DRAWN_HEADS], texts)
        for layer, head in heads:
            cells: list[Any] = [f"{layer}.{head}", pair]
            for array, names in zip((clean, corrupted), texts, strict=True):
                weights = array[layer, head, -1]
                place = int(np.argmax(weights))
                cells += [fill("{} ({})", answer(names[place]), place), number(weights[place], 2)]
            rows.append(cells)
    rows.sort(key=lambda row: (heads.index(_head(row[0])), row[1]))
    header = ["head", "pair", "on the clean prompt", "weight", "on the corrupted prompt", "weight"]
    listing: list[Any] = [table(header, rows[:SHOWN_ROWS], text=(0, 2, 4))]
    if len(rows) > SHOWN_ROWS:
        rest = rows[SHOWN_ROWS:]
        listing.append(folded(f"{len(rest)} more", table(header, rest, text=(0, 2, 4))))
    return join(
        [
            heading("patterns", "What the heads look at"),
            paragraph(
                "The token that takes the largest weight of each head's ",
                word("attention-pattern", "attention pattern"),
                " at the last position, with its position from 0, on both prompts of a pair. "
                "Whether a head's effect comes from looking elsewhere or from what stands there, "
                "its pattern or its value patched alone says.",
            ),
            *listing,
            drawn_here(
                results,
                "patterns",
                first,
                "Attention patterns of the strongest heads on both prompts of one pair.",
                f"Pair {patterns.pairs[0]}: rows are the tokens that look, columns those looked at."
                " Right: the corrupted prompt's pattern less the clean one's.",
            )
            if first is not None
            else "",
        ]
    )


def _head(name: str) -> tuple[int, int]:
    layer, _, head = name.partition(".")
    return int(layer), int(head)


def _texts(results: Results, pair: int, length: int) -> tuple[list[str], list[str]]:
    """The texts of the tokens of both prompts of a pair; positions where these are not known."""
    row = results.pairs[results.pairs["pair"] == pair].iloc[0]
    clean, corrupted = (
        results.tokens.of_each(row.get(f"{prompt}_tokens", range(length)))
        for prompt in ("clean", "corrupted")
    )
    return clean, corrupted
