"""Pairs that were probably meant otherwise: said at the beginning, listed where the pairs are.

The doubts themselves are found by `counterpoint.pairs.doubtful_pairs`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from counterpoint.files.artifacts import read_table
from counterpoint.pairs.doubtful_pairs import by_kind, counted, doubtful_answers, lines
from counterpoint.report.html import Fragment, fill, folded, join, note, table
from counterpoint.report.study_results import Results

PathLike = str | os.PathLike[str]

LISTED_DOUBTS = 300
"""Most doubts that are listed; the others stand in warnings.csv."""


def doubts(results: Results) -> Fragment:
    """Return what is doubtful about the pairs, a sentence per kind; empty where nothing is."""
    items = [
        fill('<li><b>{}</b>: {} <a href="#doubts">Which</a></li>', counted(rows), said)
        for said, rows in by_kind(results.doubts)
    ]
    if not items:
        return Fragment("")
    return fill(
        '<div class="warning" role="note"><p><b>Doubtful pairs.</b> They were measured as they '
        "stand; what follows may not mean what it seems to.</p><ul>{}</ul></div>",
        join(items),
    )


def doubtful_rows(results: Results) -> Fragment:
    """Return the doubtful pairs with what was seen on each, folded; empty where nothing was."""
    found = results.doubts
    if found.empty:
        return Fragment("")
    body: list[list[Any]] = [
        [row["row"] if row["row"] > 0 else "", row["pair"], row["kind"], row["text"]]
        for row in found.head(LISTED_DOUBTS).to_dict("records")
    ]
    listing = table(["row of the file", "pair", "doubt", "what was seen"], body, text=(2, 3))
    more = len(found) - LISTED_DOUBTS
    return fill(
        '<div id="doubts">{}{}</div>',
        folded(f"{found['pair'].nunique()} doubtful pairs: which, and why", listing),
        note(f"{more} more doubts are not listed; those about texts stand in warnings.csv.")
        if more > 0
        else "",
    )


def doubts_of(folder: PathLike, study: str, metric: str = "logit_difference") -> list[str]:
    """Return the sentences about a study's doubtful pairs (`doubtful_pairs.lines`).

    ``metric`` is the study's, ``folder`` holds its ``pairs.parquet``, ``baseline.parquet`` and
    ``warnings.csv``.
    """
    folder = Path(folder)
    texts = read_table(folder / "warnings.csv")
    rows = read_table(folder / "pairs.parquet").sort_values("pair")["row"].tolist()
    answers = doubtful_answers(read_table(folder / "baseline.parquet"), rows, metric)
    return lines(texts, study) + lines(answers, study)
