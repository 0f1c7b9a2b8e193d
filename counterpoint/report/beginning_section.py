"""The token before each prompt, and the study with it and without it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from counterpoint.figures.beginning_agreement_figures import with_and_without
from counterpoint.glossary import AGREEMENTS
from counterpoint.report.html import (
    Fragment,
    fill,
    folded,
    heading,
    interval,
    join,
    note,
    number,
    paragraph,
    prompt,
    table,
    word,
)
from counterpoint.report.section_parts import capital, drawn_here, means_over
from counterpoint.report.study_results import Results
from counterpoint.statistics.beginning_agreement import means

SHOWN_ROWS = 12
"""Heads listed whose AP differs most."""


def beginning(results: Results) -> Fragment:
    """Return which token stands before each prompt, or why none does."""
    known = results.provenance.get("beginning_of_sequence")
    if not known:
        return Fragment("")
    if known["id"] is None:
        return paragraph("No token is put before the prompts: ", _why(known["why"]), ".")
    own = "does so by itself, too" if known["added_by_tokenizer"] else "would not do so by itself"
    return paragraph(
        fill(
            "Before each prompt stands the token {} (id {}), {}; the tokenizer {}.",
            prompt(known["token"]),
            known["id"],
            _why(known["why"].removeprefix("put before each prompt, ")),
            own,
        )
    )


def _why(text: str) -> Fragment:
    """A reason in which the setting's name is code."""
    return join(text.split("prepend_bos"), "<code>prepend_bos</code>")


def without_bos(results: Results) -> Fragment:
    """Return how far the heads' AP agree with and without that token, for a study with both."""
    if results.agreement is None or results.without_bos is None:
        return Fragment("")
    rows = [
        [
            row["direction"],
            AGREEMENTS[row["agreement"]],
            interval(row["estimate"], row["ci_low"], row["ci_high"]),
            number(row["chance"], 2),
            f"{row['common']} of {row['k']}" if row["agreement"] == "jaccard" else "",
        ]
        for row in results.agreement.to_dict("records")
    ]
    both = means(results.heads, results.without_bos)
    pairs = int(results.agreement["pairs"].iloc[0])
    header = ["direction", "agreement", "estimate", "by chance", "the same among the first k"]
    few = note("With a single pair there is no interval.") if pairs < 2 else ""
    return join(
        [
            heading("without-bos", "With and without the token before each prompt"),
            paragraph(
                "The same pairs were measured once more without the beginning-of-sequence token "
                "(without_bos/heads.parquet). Here the mean ",
                word("ap", "AP"),
                " of every head over the pairs is compared; everything else on this page is "
                "measured with the token. Where the two disagree, say with every result which one "
                "it is.",
            ),
            drawn_here(
                results,
                "without_bos",
                partial(with_and_without, both),
                "AP of each head with the token against AP without it.",
                "One mark per head, mean over pairs. On the dotted line both agree.",
            ),
            table(header, rows, text=(0, 1)),
            few,
            folded(
                "The heads that differ most",
                _differences(both, f"{capital(means_over(results, results.without_bos['pair']))}."),
            ),
        ]
    )


def _differences(both: pd.DataFrame, caption: str) -> Fragment:
    gap = (both["with_bos"] - both["without_bos"]).abs()
    first = both.loc[gap.sort_values(ascending=False, kind="stable").index].head(SHOWN_ROWS)
    body: list[list[Any]] = [
        [
            f"{row['layer']}.{row['head']}",
            row["direction"],
            number(row["with_bos"], 3),
            number(row["without_bos"], 3),
        ]
        for row in first.to_dict("records")
    ]
    header = ["head", "direction", "AP with", "AP without"]
    return table(header, body, text=(0, 1), caption=caption)
