"""How far the rankings of heads hold across pairs and resamples."""

from __future__ import annotations

import pandas as pd

from counterpoint.glossary import AGREEMENTS, size_label
from counterpoint.report.html import Fragment, folded, interval, join, note, number, table
from counterpoint.report.section_parts import drawn, missing_as, reasons_of
from counterpoint.report.study_results import Results


def stability(results: Results) -> Fragment:
    """Return how far the rankings of heads hold across pairs and resamples."""
    if results.stability is None or results.stability.empty:
        return note("The stability of rankings was not computed in this study.")
    known = results.stability[results.stability["estimate"].notna()]
    unknown = results.stability[results.stability["estimate"].isna()]
    if known.empty:
        return note("There are no rankings to compare: ", reasons_of(unknown), ".")
    k = int(known["k"].iloc[0])
    rows = [
        [
            size_label(row["score"]),
            row["direction"],
            row["between"],
            AGREEMENTS.get(row["agreement"], row["agreement"]),
            interval(row["estimate"], row["ci_low"], row["ci_high"]),
            number(row["chance"], 2),
        ]
        for row in known.to_dict("records")
    ]
    header = ["ranked by", "direction", "between", "agreement", "estimate", "by chance"]
    return join(
        [
            drawn(
                results, "stability", "Agreement of the rankings of heads between pairs.",
                f"Agreement of the rankings of two pairs, mean over all two (k = {k}); hollow "
                "marks: rankings in random order.",
            ),
            folded("The numbers", table(header, rows, text=(0, 1, 2, 3))),
            note(
                "between pairs: the rankings of two pairs; between resamples: the ranking of the "
                "study and that of the same number of pairs drawn anew."
            ),
            note("Not given: ", _named_reasons(unknown), ".") if len(unknown) else "",
        ]
    )  # fmt: skip


def _named_reasons(rows: pd.DataFrame) -> str:
    """Return which rankings cannot be compared in which direction, and why."""
    said = [
        f"{size_label(row['score'])}, {row['direction']} ({missing_as(row['note'], 'undefined')})"
        for row in rows.to_dict("records")
    ]
    return "; ".join(dict.fromkeys(said))
