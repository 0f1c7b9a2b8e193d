"""The three claims: each with its verdict and the numbers that decide it.

Identities among the numbers hold by mathematics. They check the computation and are no finding, so
`checks` puts them where the page says how exact its numbers are.
"""

from __future__ import annotations

import re
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
    small,
    table,
    word,
)
from counterpoint.report.section_parts import (
    P_AND_INTERVAL,
    contradicts,
    missing_as,
    verdict_mark,
)
from counterpoint.report.study_results import Results
from counterpoint.statistics.claim_quantities import CHECKS
from counterpoint.statistics.claim_verdicts import SUPPORTED

IDENTITIES = (
    "Its first half is an identity, true of any model: it checks the computation, is no finding, "
    "and stands under "
)
"""Of claim 1, before a link to the checks."""

BOUND = re.compile(r"^estimate at most ")
"""How the rule of an identity begins (`claim_verdicts.Rule`)."""


def claims(results: Results) -> Fragment:
    """Return each claim with its verdict, the parts that decide it, and the others folded."""
    if results.claims is None or results.claims.empty:
        return note("The claims were not tested in this study (claims.csv is not there).")
    confidence = float(results.statistic("confidence", 0.95))
    boxes: list[Any] = []
    if results.words.flat(results.directions):
        boxes.append(note(FLAT_START))
    for claim, rows in results.claims.groupby("claim", sort=False):
        whole = overall(rows)
        found = rows[~rows["quantity"].isin(CHECKS)]
        decisive = found[found["role"] == "decisive"]
        other = found[~found["role"].isin(["decisive", "overall"])]
        boxes.append(
            fill(
                '<div class="claim" id="claim-{}"><p>{} <b>Claim {}.</b> {}</p>'
                '<p class="note">{}</p>{}{}{}</div>',
                claim,
                verdict_mark(whole["verdict"]),
                claim,
                whole["statement"],
                missing_as(whole["explanation"], ""),
                is_identity(claim),
                _claim_parts(decisive, confidence),
                folded(f"{len(other)} more numbers", _claim_parts(other, confidence))
                if len(other)
                else "",
            )
        )
    return join(boxes)


def is_identity(claim: Any) -> Fragment:
    """Return the remark that half of claim 1 is an identity; empty for the others."""
    if int(claim) != 1:
        return Fragment("")
    return note(IDENTITIES, fill('<a href="#exactness">How exact the numbers are</a>.'))


def checks(results: Results) -> Fragment:
    """Return the identities among the claims' numbers: how far each is missed, and its bound."""
    if results.claims is None:
        return Fragment("")
    rows = results.claims[results.claims["quantity"].isin(CHECKS)]
    rows = rows[rows["estimate"].notna()]
    if rows.empty:
        return Fragment("")
    rows = rows.sort_values("quantity", key=lambda names: names.map(CHECKS.index), kind="stable")
    body = [
        [
            row["statement"],
            row["direction"],
            small(row["estimate"]),
            BOUND.sub("", str(missing_as(row["rule"], ""))),
            count(row["n"]),
            "yes" if row["verdict"] == SUPPORTED else fill("<b>no</b>"),
        ]
        for row in rows.to_dict("records")
    ]
    header = ["identity", "direction", "missed by at most", "allowed", "rows", "holds"]
    return table(
        header,
        body,
        text=(0, 1, 5),
        caption="The identities that the claims begin with. They hold whatever the model does, so "
        "one that fails is an error of computation and one that holds is no finding.",
    )


def overall(rows: pd.DataFrame) -> dict[Any, Any]:
    """Return the row with the verdict on a whole claim (the first, where none is called so)."""
    whole = rows[rows["quantity"] == "overall"]
    return (whole if len(whole) else rows).iloc[0].to_dict()


def _claim_parts(rows: pd.DataFrame, confidence: float) -> Fragment:
    """Return each tested statement with its rule and its numbers in every direction."""
    header = ["direction", "estimate", word("p-value", "p"), "n", "verdict", "what it says"]
    parts: list[Any] = []
    unlike = False
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
        unlike = unlike or any(
            contradicts(
                row["ci_low"],
                row["ci_high"],
                row["p_value"],
                confidence=confidence,
                none=_no_relation(str(name)),
            )
            for row in own.to_dict("records")
        )
        parts.append(
            fill(
                '<p class="tested">{}{}</p>{}',
                first["statement"],
                fill(' <span class="note">Supported if {}.</span>', rule) if rule else "",
                table(header, body, text=(0, 4, 5)),
            )
        )
    return join([*parts, note(P_AND_INTERVAL) if unlike else ""])


def _no_relation(quantity: str) -> float:
    """The value of a number where there is no relation: 0.5 of an area, 0 of all else."""
    return 0.5 if quantity.startswith("auc_") and "gain" not in quantity else 0.0
