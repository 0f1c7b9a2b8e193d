"""The prompt pairs with the model's answers, and the rows that were left out."""

from __future__ import annotations

from typing import Any

import pandas as pd

from counterpoint.pairs.pair_files import ANSWER_COLUMNS, PAIR_COLUMNS, PROMPTS
from counterpoint.report.doubtful_pairs_section import doubtful_rows
from counterpoint.report.html import (
    Fragment,
    answer,
    count,
    fill,
    folded,
    join,
    note,
    number,
    paragraph,
    prompt,
    table,
    word,
)
from counterpoint.report.prompt_tokens import is_unequal
from counterpoint.report.section_parts import FOLDED_ROWS, SHOWN_ROWS, missing_as
from counterpoint.report.study_results import Results

SEVERAL_TOKENS = {
    "first_difference": "Answers of several tokens are read at the first token at which the two of "
    "a pair differ, behind both prompts and the tokens with which both answers begin. What follows "
    "that token is not read.",
    "whole": "Answers of several tokens are read whole: each token behind the prompt and the "
    "answer's tokens before it. A head is patched at the answer's tokens as well.",
}
"""How answers are read, by the setting `answer_tokens`."""


def pairs(results: Results) -> Fragment:
    """Return the prompt pairs with the model's answers on both prompts."""
    right = results.baseline.rename(columns={"correct": "right"})
    # The file's own columns may have any name.
    known = (*PAIR_COLUMNS, *(ANSWER_COLUMNS if results.takes_several_tokens else ()))
    merged = results.pairs[[name for name in known if name in results.pairs]]
    merged = merged.merge(right, on="pair")
    columns = {"metric": results.words.short}
    if results.words.short != results.difference_short and "logit_difference_clean" in merged:
        columns = {"logit_difference": results.difference_short, **columns}
    header = ["pair", "clean and corrupted prompt", "correct", "incorrect", "tokens"]
    several = "answer_beginning" in merged and bool((merged["answer_beginning"] > 0).any())
    header += ["both begin with"] if several else []
    header += [f"{name} {prompt}" for name in columns.values() for prompt in PROMPTS]

    def rows(part: pd.DataFrame) -> list[list[Any]]:
        return [
            [
                row["pair"],
                fill("{}<br>{}", *results.tokens.difference(row)),
                answer(row["correct"]),
                answer(row["incorrect"]),
                _tokens(row),
                *([answer(results.tokens.answer_beginning(row))] if several else []),
                *[number(row[f"{name}_{prompt}"], 4) for name in columns for prompt in PROMPTS],
            ]
            for row in part.to_dict("records")
        ]

    file = results.settings.get("pairs")
    difference = results.logit_difference("corrupted")
    also = (
        ""
        if difference is None
        else f" and on {int((difference > 0).sum())} of {len(merged)} corrupted ones"
    )
    parts = [
        paragraph(
            f"The model prefers the correct answer on {int(merged['right'].sum())} of "
            f"{len(merged)} clean prompts{also}. Where the prompts of a pair differ is marked.",
            fill(" The pairs come from {}.", file) if file else "",
        ),
        paragraph(SEVERAL_TOKENS[results.answers_read]) if results.takes_several_tokens else "",
        _alignment(merged),
        doubtful_rows(results),
        table(header, rows(merged.head(SHOWN_ROWS)), text=(1, 2, 3)),
    ]
    rest = merged.iloc[SHOWN_ROWS:FOLDED_ROWS]
    if len(rest):
        parts.append(folded(f"{len(rest)} more pairs", table(header, rows(rest), text=(1, 2, 3))))
    if len(merged) > FOLDED_ROWS:
        parts.append(note(f"All {count(len(merged))} pairs stand in pairs.parquet."))
    if results.card is not None:
        card = fill('<pre class="card">{}</pre>', results.card)
        parts.append(folded("The whole pair set: its data card", card))
    return join(parts)


def _tokens(row: Any) -> Any:
    """How many tokens the prompts have: one number, or that of the clean and of the corrupted."""
    both = len(row["clean_tokens"]), len(row["corrupted_tokens"])
    return f"{both[0]} / {both[1]}" if is_unequal(row) else row["length"]


def _alignment(pairs: pd.DataFrame) -> Fragment:
    """Return what is to be known of pairs of unequal length, empty without such a pair."""
    rows = [row for row in pairs.to_dict("records") if is_unequal(row)]
    if not rows:
        return Fragment("")
    partners = [[int(place) for place in row["aligned_with"]] for row in rows]
    own = sum(place < 0 for row in partners for place in row)
    used = sum(place >= 0 for row in partners for place in row)
    other = sum(len(row["corrupted_tokens"]) for row in rows) - used
    beyond = used - sum(row["first_difference"] for row in rows)
    return paragraph(
        f"In {len(rows)} of {len(pairs)} pairs the prompts have not as many tokens. There outputs "
        "are replaced at ",
        word("alignment", "aligned positions"),
        f" only: {beyond} from the first difference on in these pairs together. Positions without "
        "a partner, underlined here, keep their own output: "
        f"{own} of the clean prompts and {other} of the corrupted ones. What is put at a position "
        "was computed at another place in its prompt, and with position embeddings it may carry "
        "that place.",
    )


def dropped(results: Results) -> Fragment:
    """Return the rows of the pair file that were left out, with reasons."""
    if results.dropped.empty:
        return paragraph("No row of the pair file was left out.")
    names = ["row", "clean", "corrupted", "correct", "incorrect", "reason"]

    def shown(value: Any, name: str) -> Any:
        if missing_as(value, "") == "" or name in ("row", "reason"):
            return missing_as(value, "")
        return (prompt if name in ("clean", "corrupted") else answer)(value)

    body = [
        [shown(row[name], name) for name in names]
        for _, row in results.dropped.head(FOLDED_ROWS).iterrows()
    ]
    listing = table(names, body, text=(1, 2, 3, 4, 5))
    if len(results.dropped) > FOLDED_ROWS:
        listing = join([listing, note("The rest stands in dropped.csv.")])
    return join(
        [
            paragraph(
                f"{len(results.dropped)} of {len(results.dropped) + len(results.pairs)} rows of "
                "the pair file were left out. Row 1 is the first after the header."
            ),
            folded("Rows and reasons", listing) if len(body) > SHOWN_ROWS else listing,
        ]
    )
