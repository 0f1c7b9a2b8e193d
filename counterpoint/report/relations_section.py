"""How the measures of the curve go with the scores: regressions and correlations."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from counterpoint.figures.correlation_figures import find_correlation
from counterpoint.glossary import signed_label
from counterpoint.glossary.metric_words import ONE_SIGN
from counterpoint.report.html import (
    Fragment,
    count,
    fill,
    folded,
    heading,
    interval,
    join,
    note,
    number,
    p_value,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import (
    P_AND_INTERVAL,
    capital,
    contradicts,
    drawn,
    missing_as,
    percent,
    reasons_of,
)
from counterpoint.report.study_results import Results
from counterpoint.statistics.coefficients import METHODS

UNLIKE = "p and interval ask different questions"
"""The remark on a row of which `contradicts` is true."""


def relations(results: Results) -> Fragment:
    """Return regressions and correlations; the two of the output range stand first."""
    confidence = percent(float(results.statistic("confidence", 0.95)))
    parts = [
        paragraph(_what_signs_ask(results)),
        _two_correlations(results),
        drawn(
            results, "regressions",
            "Six scatter plots over heads with regression lines: output range against absolute "
            "AP, output range against signed AP, gradient range against absolute AP, IG joint "
            "against AP, absolute disagreement against excess range, AtP against AP.",
            f"One mark per head{' and direction' if len(results.directions) > 1 else ''}, means "
            "over pairs; lines with "
            f"{confidence} bands (bootstrap over heads); hollow grey marks lie below the "
            "floor of rounding and are left out of the lines. The strongest heads are named. The r "
            "in each panel is Pearson's over the marks, with its interval over heads.",
        ),
    ]  # fmt: skip
    if results.correlations is not None and not results.correlations.empty:
        parts += [
            heading("correlations", "All correlations", 3),
            drawn(
                results, "correlations",
                "Tables of the correlations of measures with scores, coloured by size.",
                f"Correlations over heads, means of the pairs' own, with {confidence} intervals; "
                "bold: the interval leaves out 0.",
            ),
            folded("The numbers", _correlation_table(results)),
        ]  # fmt: skip
    return join(parts)


def _what_signs_ask(results: Results) -> str:
    """What a correlation with AP and its sign says beside one with |AP|."""
    words = results.words
    one_signed = words.one_signed(results.directions)
    said = []
    if len(one_signed) < len(results.directions):
        said.append(
            "A correlation with AP and its sign asks something else: whether heads that raise the "
            f"{words.name} move more than those that lower it."
        )
    return " ".join([*said, *([ONE_SIGN] if one_signed else [])])


def _two_correlations(results: Results) -> Fragment:
    """Return the correlations of the output range with |AP| and with signed AP."""
    first_pair = int(results.heads["pair"].min())
    n_pairs = results.heads["pair"].nunique()
    scopes: list[tuple[str, int | None, str]] = [("study", None, f"all {n_pairs}")]
    if n_pairs > 1:
        scopes.append(("pair", first_pair, f"{first_pair}"))
    rows, missing, unlike = [], [], []
    for score in ("abs_ap", "ap"):
        for direction in results.directions:
            for scope, pair, name in scopes:
                found = [
                    find_correlation(
                        results.correlations, direction, "output_range", score,
                        method=method, scope=scope, pair=pair,
                    )
                    for method in METHODS
                ]  # fmt: skip
                known = [row for row in found if row is not None]
                if not known:
                    continue
                missing += [row.to_dict() for row in known if not math.isfinite(row["estimate"])]
                unlike.append(_contradicts(results, known[0].to_dict()))
                rows.append(
                    [
                        fill("with <b>{}</b>", signed_label(score)),
                        direction,
                        name,
                        *[
                            number(None)
                            if row is None
                            else interval(row["estimate"], row["ci_low"], row["ci_high"], 3)
                            for row in found
                        ],
                        p_value(known[0]["p_permutation"]),
                        count(known[0]["n"] / (n_pairs if scope == "study" else 1)),
                    ]
                )
    if not rows:
        return note("No correlations were computed for this study.")
    header = [
        "output range", "direction", "pairs", *[method.capitalize() for method in METHODS],
        fill("{} of {}", word("p-value", "p"), METHODS[0].capitalize()), "heads",
    ]  # fmt: skip
    shown = table(
        header, rows, text=(0, 1, 2),
        caption=fill(
            "The output range against the size of AP, and against AP with its sign: two "
            "different questions, each under its own label. Over heads; for several pairs the "
            "mean of the pairs' own. {} in brackets.",
            word("interval", "Intervals"),
        ),
    )  # fmt: skip
    undefined = pd.DataFrame(missing)
    remark = note(capital(reasons_of(undefined)), ".") if missing else Fragment("")
    return join([shown, remark, note(P_AND_INTERVAL) if any(unlike) else ""])


def _contradicts(results: Results, row: dict[Any, Any]) -> bool:
    return contradicts(
        row["ci_low"],
        row["ci_high"],
        row["p_permutation"],
        confidence=float(results.statistic("confidence", 0.95)),
    )


def _correlation_table(results: Results) -> Fragment:
    assert results.correlations is not None
    rows = results.correlations[results.correlations["scope"] == "study"]
    body = [
        [
            signed_label(row["measure"]),
            signed_label(row["score"]),
            row["direction"],
            row["method"],
            interval(row["estimate"], row["ci_low"], row["ci_high"], 3),
            p_value(row["p_permutation"]),
            p_value(row["p_adjusted"]),
            interval(row["partial_given_layer"], row["partial_ci_low"], row["partial_ci_high"], 3),
            count(row["n"]),
            "; ".join(
                [
                    *filter(None, [missing_as(row["note"], "")]),
                    *([UNLIKE] if _contradicts(results, row) else []),
                ]
            ),
        ]
        for row in rows.to_dict("records")
    ]
    header = [
        "measure", "score", "direction", "method", "estimate", word("p-value", "p"),
        "p corrected", word("partial", "within layers"), "n", "remark",
    ]  # fmt: skip
    return join(
        [
            table(header, body, text=(0, 1, 2, 3, 9)),
            note(P_AND_INTERVAL) if any(row[-1].endswith(UNLIKE) for row in body) else "",
            note("Those of every single pair stand in correlations.csv."),
        ]
    )
