"""What the first heads do to any answers, and which tokens they raise and lower most."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pandas as pd

from counterpoint.figures.answer_figures import SHOWN_ANSWERS, answer_map, answer_means, shown_text
from counterpoint.figures.chosen_heads import head_names, rank_heads
from counterpoint.report.html import (
    Fragment,
    answer,
    fill,
    folded,
    heading,
    join,
    note,
    number,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import capital, drawn_here, means_over
from counterpoint.report.study_results import Results

OF_MEAN = -1
"""The pair of a row that is about the mean over pairs (`tables.answer_table`)."""

SHOWN_TOKENS = 8
"""Tokens on either side shown at once; the rest is in the file."""

Key = tuple[str, int, int]


def answers(results: Results) -> Fragment:
    """Return heads × answers and the tokens at both ends, for a study that has them."""
    if results.answers is None or results.answers.empty:
        return join([])
    over = means_over(results, results.answers["pair"])
    return join(
        [
            heading("answers", "What the heads do to other answers"),
            paragraph(
                "Patching a head changes the logits of every token, and all of them are known from "
                "the same run. So the ", word("answer-effect", "effect"),
                " is exact on any answer, with everything after the head computed anew. Direct "
                "logit attribution knows the head's direct path alone. A logit counts here less "
                "the mean of all tokens', which moves no probability.",
            ),
            drawn_here(
                results,
                "answers",
                partial(answer_map, results.answers),
                "Heat map of heads against answers.",
                f"Change of the logit of each answer when the head is patched, {over}: first each "
                "pair's own correct and incorrect "
                f"answer, then the {SHOWN_ANSWERS} answers at most that any head moves furthest.",
            ),
            _table(results, results.answers),
            _tokens(results, results.answer_tokens),
        ]
    )  # fmt: skip


def _order(results: Results, rows: pd.DataFrame) -> list[Key]:
    """The heads of a table by mean |AP|, each in all directions."""
    there = set(head_names(rows[["layer", "head"]].drop_duplicates()))
    ranked = [head for head in head_names(rank_heads(results.heads)) if head in there]
    names = list(dict.fromkeys(rows["direction"]))
    return [(direction, layer, head) for layer, head in ranked for direction in names]


def _table(results: Results, rows: pd.DataFrame) -> Fragment:
    """Return each head's own answers, and the others that it raises and lowers most."""
    means = answer_means(rows, "centred_logit_change")
    logs = answer_means(rows, "log_probability_change")
    others = rows[rows["role"] == "candidate"].pivot_table(
        index=["direction", "layer", "head"], columns="text", values="centred_logit_change"
    )
    listing = []
    for direction, layer, head in _order(results, rows):
        key: Any = (direction, layer, head)
        cells: list[Any] = [f"{layer}.{head}", direction]
        for name in ("correct", "incorrect"):
            cells += [number(means.loc[key, name], 3), number(logs.loc[key, name], 3)]
        first: list[Any] = ["", ""]
        if key in others.index:
            own = others.loc[key].dropna().sort_values()
            first = [_named(own.iloc[::-1].head(3)), _named(own.head(3))]
        listing.append([*cells, *first])
    over = means_over(results, rows["pair"])
    header = [
        "head", "direction", "correct, logit", "correct, log-probability", "incorrect, logit",
        "incorrect, log-probability", "others, most raised", "others, most lowered",
    ]  # fmt: skip
    return join(
        [
            table(header, listing, text=(0, 1, 6, 7)),
            note(
                f"Changes, {over}: logits less the mean of all tokens', log-"
                "probabilities in nats. Others: answers of other pairs, or those that the setting "
                "answers.candidates names, on the pairs whose own they are not."
            ),
        ]
    )


def _named(values: pd.Series) -> Fragment:
    """Return tokens with their numbers."""
    return join(
        [
            fill("{} {}", answer(shown_text(str(text), 24)), number(value, 2))
            for text, value in values.items()
        ],
        ", ",
    )


def _tokens(results: Results, rows: pd.DataFrame | None) -> Fragment:
    """Return the tokens that each head raises and lowers most."""
    if rows is None or rows.empty:
        return join([])
    first = rows.loc[rows["pair"] != OF_MEAN, "pair"].min()
    return join(
        [
            heading("answer-tokens", "Tokens raised and lowered most", 3),
            paragraph(
                "Of the whole vocabulary. By the change of the probability a token must be likely "
                "with the patch or without it; by that of the logit less the mean of all tokens' "
                "(changes of the log-probability order them alike) it may be unlikely in both: p "
                "is its probability without the patch."
            ),
            _token_table(results, rows[rows["pair"] == OF_MEAN], "probability"),
            folded(
                "By the logit",
                _token_table(results, rows[rows["pair"] == OF_MEAN], "logit"),
            ),
            note(
                capital(means_over(results, rows.loc[rows["pair"] != OF_MEAN, "pair"])),
                ", of p too.",
            ),
            folded(
                "On the first pair",
                _token_table(results, rows[rows["pair"] == first], "probability"),
            ),
        ]
    )


def _token_table(results: Results, rows: pd.DataFrame, by: str) -> Fragment:
    """Return a row for each head and direction: tokens on both sides, ordered ``by``."""
    rows = rows[rows["by"] == by]
    column = {"logit": "centred_logit_change", "probability": "probability_change"}[by]
    by_head = {
        key: own.sort_values("rank").head(SHOWN_TOKENS)
        for key, own in rows.groupby(["direction", "layer", "head", "side"], sort=False)
    }
    listing = []
    for direction, layer, head in _order(results, rows):
        cells: list[Any] = [f"{layer}.{head}", direction]
        for side in ("raised", "lowered"):
            own = by_head.get((direction, layer, head, side), rows.head(0))
            parts = [
                fill(
                    "{} {} (p {})",
                    answer(shown_text(str(row["text"]), 24)),
                    number(row[column], 3),
                    number(math.exp(row["log_probability"]), 3),
                )
                for row in own.to_dict("records")
            ]
            cells.append(join(parts, ", "))
        listing.append(cells)
    unit = "logits" if by == "logit" else "probability"
    header = ["head", "direction", f"raised, {unit}", f"lowered, {unit}"]
    return table(header, listing, text=(0, 1, 2, 3))
