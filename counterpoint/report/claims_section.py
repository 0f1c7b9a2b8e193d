"""The three claims: each with its verdict and the numbers that decide it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from counterpoint.glossary.metric_words import FLAT_START
from counterpoint.report.html import (
    Fragment,
    count,
    fill,
    folded,
    interval,
    join,
    note,
    p_value,
    table,
)
from counterpoint.report.section_parts import missing_as, verdict_mark
from counterpoint.report.study_results import Results


def claims(results: Results) -> Fragment:
    """Return each claim with its verdict, the parts that decide it, and the others folded."""
    if results.claims is None or results.claims.empty:
        return note("The claims were not tested in this study (claims.csv is not there).")
    boxes: list[Any] = []
    if results.words.flat(results.directions):
        boxes.append(note(FLAT_START))
    for claim, rows in results.claims.groupby("claim", sort=False):
        whole = overall(rows)
        decisive = rows[rows["role"] == "decisive"]
        other = rows[~rows["role"].isin(["decisive", "overall"])]
        boxes.append(
            fill(
                '<div class="claim" id="claim-{}"><p>{} <b>Claim {}.</b> {}</p>'
                '<p class="note">{}</p>{}{}</div>',
                claim,
                verdict_mark(whole["verdict"]),
                claim,
                whole["statement"],
                missing_as(whole["explanation"], ""),
                _claim_parts(decisive),
                folded(f"{len(other)} more numbers", _claim_parts(other)) if len(other) else "",
            )
        )
    return join(boxes)


def overall(rows: pd.DataFrame) -> dict[Any, Any]:
    """Return the row with the verdict on a whole claim (the first, where none is called so)."""
    whole = rows[rows["quantity"] == "overall"]
    return (whole if len(whole) else rows).iloc[0].to_dict()


def _claim_parts(rows: pd.DataFrame) -> Fragment:
    """Return each tested statement with its rule and its numbers in every direction."""
    header = ["direction", "estimate", "p", "n", "verdict", "what it says"]
    parts = []
    for name, own in rows.groupby("quantity", sort=False):
        first = own.iloc[0].to_dict()
        rule = missing_as(first["rule"], "")
        body = [
            [
                row["direction"],
                interval(row["estimate"], row["ci_low"], row["ci_high"], 3),
                p_value(row["p_value"]),
                count(row["n"]),
                verdict_mark(row["verdict"]),
                missing_as(row["explanation"], ""),
            ]
            for row in own.to_dict("records")
        ]
        parts.append(
            fill(
                '<p class="tested">{} <span class="note">{}{}</span></p>{}',
                first["statement"],
                name,
                f"; supported if {rule}" if rule else "",
                table(header, body, text=(0, 4, 5)),
            )
        )
    return join(parts)
