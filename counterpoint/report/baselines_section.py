"""How far the scores that stand in for exact patching are right, and heads of one direction."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from counterpoint.figures.score_agreement_figures import found_by_checks
from counterpoint.glossary import label
from counterpoint.report.html import (
    Fragment,
    folded,
    heading,
    interval,
    join,
    note,
    number,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import SHOWN_ROWS, drawn_here, listed
from counterpoint.report.study_results import Results
from counterpoint.statistics.one_direction_heads import TIMES

WORDS = {
    "atp": "atp",
    "atp_hvp": "atp-second-order",
    "ig_joint": "ig-joint",
    "eap_ig": "eap-ig-head",
    "relp": "relp",
    "atp_star": "atp-star",
}
"""The word that says what a score is."""

SIGNS = {
    "error_and_second_term": ("its second term |½ g′(0)|", "|AtP − AP|"),
    "error_and_gradient_range_closed": ("gradient range on [0, 1]", "|AtP − AP|"),
    "error_and_excess_range": ("excess range", "|AtP − AP|"),
    "error_and_atp_reliability": ("second term ÷ AtP", "|AtP − AP| ÷ |AP|"),
    "error_and_non_monotonicity": ("1 − monotonicity", "|AtP − AP| ÷ |AP|"),
    "error_and_saturation": ("saturation", "|AtP − AP| ÷ |AP|"),
}
"""What is held against which error of AtP."""


def baselines(results: Results) -> Fragment:
    """Return how far each score agrees with AP, for a study that has scores of other papers."""
    agreement = results.score_agreement
    if agreement is None or agreement.empty:
        return Fragment("")
    return join(
        [
            heading("baselines", "Scores that stand in for exact patching"),
            paragraph(
                "Estimates of a head's effect that patch nothing, ours and those of other papers: ",
                join(_listed_words(agreement)),
                ". Every head's ",
                word("ap", "AP"),
                " is known here, so each score can be held against it: over the heads, and as a "
                "screen, by what is found when only its first heads are patched (",
                word("exact-checks", "exact checks"),
                ").",
            ),
            drawn_here(
                results,
                "score_agreement",
                partial(found_by_checks, agreement),
                "Share of the true first heads found against the number of exact checks.",
                "Share of the true first heads by |AP| among the first so many by each score, mean "
                "over pairs; bands: intervals over pairs; dotted: a random order.",
            ),
            _agreement(agreement),
            _signs(agreement),
            _one_direction(results.one_direction_heads, results.heads["pair"].nunique()),
        ]
    )


def _listed_words(agreement: pd.DataFrame) -> list[Any]:
    names = [name for name in agreement["score"].drop_duplicates() if name in WORDS]
    parts: list[Any] = []
    for place, name in enumerate(names):
        parts += [", " if place else "", word(WORDS[name], label(name))]
    return parts


def _agreement(agreement: pd.DataFrame) -> Fragment:
    """The coefficients, the error, and what is found with k and 2 k checks."""
    header: list[Any] = ["score", "direction", "Spearman", "Pearson", "error"]
    k = int(agreement["k"].iloc[0])
    found = agreement[agreement["quantity"] == "found"]
    few = sorted(found["checks"].unique())[:3]
    header += [f"found with {int(each)}" for each in few]
    rows = []
    for (score, direction), own in agreement.groupby(["score", "direction"], sort=False):
        by_name = own[own["quantity"] != "found"].set_index("quantity")
        by_checks = own[own["quantity"] == "found"].set_index("checks")
        cells = [_cell(by_name, name) for name in ("spearman", "pearson", "error")]
        rows.append([label(str(score)), direction, *cells, *[_cell(by_checks, b) for b in few]])
    return join(
        [
            table(header, rows, text=(0, 1)),
            note(
                "Spearman and Pearson are with AP over the heads of a pair (with |AP| for AtP*, "
                "which has no sign), error is mean |score − AP| ÷ mean |AP|, found is the share of "
                f"the true first {k}. Means over pairs, with their intervals over pairs."
            ),
        ]
    )


def _cell(rows: pd.DataFrame, name: Any) -> Any:
    if name not in rows.index:
        return "–"
    row = rows.loc[name]
    return interval(row["estimate"], row["ci_low"], row["ci_high"])


def _signs(agreement: pd.DataFrame) -> Fragment:
    """What goes with the error of AtP, head by head."""
    signs = agreement[agreement["quantity"].isin(SIGNS) & agreement["estimate"].notna()]
    if signs.empty:
        return Fragment("")
    rows = [
        [
            SIGNS[row["quantity"]][0],
            SIGNS[row["quantity"]][1],
            row["direction"],
            interval(row["estimate"], row["ci_low"], row["ci_high"]),
        ]
        for row in signs.to_dict("records")
    ]
    return join(
        [
            heading("errors-of-atp", "What the curves say of AtP's error", 3),
            paragraph(
                "AtP is the slope of the head's own ",
                word("output-curve"),
                " at its beginning, so whatever it misses lies in the curve's bends. Here is, head "
                "by head, how well its size is told by what the papers name as its sign (the ",
                word("atp-second-order", "second term"),
                " of the series, which needs no curve) and by the curve.",
            ),
            table(["sign", "error", "direction", "Spearman over heads"], rows, text=(0, 1, 2)),
        ]
    )


def _one_direction(heads: pd.DataFrame | None, pairs: int) -> Fragment:
    """Heads that matter in one direction only."""
    if heads is None or heads.empty:
        return Fragment("")
    named = [
        listed(
            [
                f"{row['layer']}.{row['head']}"
                for row in heads[heads["matters_in"] == direction].to_dict("records")
            ]
        )
        for direction in ("noising", "denoising")
    ]
    rows = [
        [
            f"{row['layer']}.{row['head']}",
            number(row["noising"], 3),
            number(row["denoising"], 3),
            interval(row["difference"], row["ci_low"], row["ci_high"]),
            "both" if row["matters_in"] == "both" else f"{row['matters_in']} only",
        ]
        for row in heads.to_dict("records")
    ]
    header = ["head", "noising", "denoising", "difference of sizes", "matters in"]
    caption = (
        f"Shares of the whole change, mean over {int(heads['pairs'].iloc[0])} of {pairs} pairs."
    )
    return join(
        [
            heading("one-direction", "Heads that matter in one direction only", 3),
            paragraph(
                "Each head's part of the whole change, in both directions with the sign that a "
                "carrier of the answer has positive. ",
                f"In noising only, at least {TIMES:g} times as much as in denoising (it works "
                f"together with others that are all needed): {named[0] or 'none'}. ",
                f"In denoising only (others make up for it): {named[1] or 'none'}. ",
                word("one-direction", "What that means"),
                ".",
            ),
            table(header, rows[:SHOWN_ROWS], text=(0, 4), caption=caption),
            folded(f"{len(rows) - SHOWN_ROWS} more", table(header, rows[SHOWN_ROWS:], text=(0, 4)))
            if len(rows) > SHOWN_ROWS
            else "",
        ]
    )
