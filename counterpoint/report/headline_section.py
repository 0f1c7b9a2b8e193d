"""The head of a study's page: title, answer, key numbers, verdicts."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from counterpoint.figures.chosen_heads import head_names, rank_heads
from counterpoint.figures.correlation_figures import find_correlation
from counterpoint.report.claims_section import overall
from counterpoint.report.doubtful_pairs_section import doubts
from counterpoint.report.html import Fragment, count, fill, interval, join, number, tiles, word
from counterpoint.report.section_parts import listed, verdict_mark
from counterpoint.report.study_results import Results


def headline(results: Results, title: str) -> Fragment:
    """Return title, answer in a few sentences, key numbers and the verdicts."""
    n_pairs = len(results.baseline)
    subtitle = join(
        [
            fill("study <b>{}</b>", results.study),
            fill("model <b>{}</b>", results.settings.get("model", "unknown")),
            f"{count(n_pairs)} {'pair' if n_pairs == 1 else 'pairs'}",
            f"{count(results.n_heads)} {'head' if results.n_heads == 1 else 'heads'}",
            results.words.name,
            listed(results.directions),
        ],
        " · ",
    )
    return join(
        [
            fill('<h1>{}</h1><p class="subtitle">{}</p>', title, subtitle),
            _answer(results),
            doubts(results),
            tiles(_key_numbers(results)),
            _verdict_list(results),
        ]
    )


def _answer(results: Results) -> Fragment:
    """Return the findings as two or three sentences."""
    ranked = rank_heads(results.heads)
    names = head_names(ranked[ranked["abs_ap"] >= results.floor].head(5))
    strongest = [f"{layer}.{head}" for layer, head in names]
    main, words = results.directions[0], results.words
    if strongest:
        ap = results.means[main, *names[0]]["ap"]
        one = len(strongest) == 1
        sentences = [
            fill(
                "The {} that {} {} most {} <b>{}</b>; patching {} alone changes the {} by {} {} on "
                "average ({}).",
                *(("head", "moves") if one else ("heads", "move")),
                words.first,
                "is" if one else "are",
                listed(strongest),
                strongest[0],
                words.name,
                number(ap, 2),
                words.unit,
                main,
            )
        ]
    else:
        sentences = [
            fill(
                "<b>No head moves {}</b>: patching any of them alone changes the {} by less than "
                "{} {} on average, which is rounding.",
                words.first,
                words.name,
                f"{results.floor:g}",
                words.unit,
            )
        ]
    _, absolute = _main_correlation(results, "abs_ap")
    direction, signed = _main_correlation(results, "ap")
    defined = [row is not None and math.isfinite(row["estimate"]) for row in (absolute, signed)]
    if absolute is not None and signed is not None and all(defined):
        found = fill(
            "Over heads, the {} correlates with {} at Pearson <b>{}</b>",
            word("output-range", "output range"),
            word("ap", "|AP|"),
            interval(absolute["estimate"], absolute["ci_low"], absolute["ci_high"]),
        )
        if not words.one_signed([main]):
            found += fill(
                ", and with {} at <b>{}</b>",
                word("ap", "AP with its sign"),
                interval(signed["estimate"], signed["ci_low"], signed["ci_high"]),
            )
        sentences.append(Fragment(found + fill(" ({}).", direction)))
    return fill('<p class="answer">{}</p>', join(sentences, " "))


def _key_numbers(results: Results) -> list[tuple[Any, Any, Any]]:
    short = results.words.short
    clean, corrupted = results.baseline["metric_clean"], results.baseline["metric_corrupted"]
    pair = int(results.baseline["pair"].iloc[0])
    right = results.baseline["correct"].astype(bool)
    low = results.below_floor
    entries: list[tuple[Any, Any, Any]] = [
        (
            f"{short} on clean prompts, mean",
            number(clean.mean(), 2),
            results.words.clean or f"pair {pair}: {number(clean.iloc[0], 4)}",
        ),
        (
            f"{short} on corrupted prompts, mean",
            number(corrupted.mean(), 2),
            f"pair {pair}: {number(corrupted.iloc[0], 4)}",
        ),
        (
            "correct answer preferred",
            f"{int(right.sum())} of {len(right)}",
            "clean prompts"
            if results.words.short == results.difference_short
            else f"clean prompts, by the {results.difference_short}",
        ),
    ]
    compared = [("abs_ap", "|AP|"), ("ap", "AP, signed")]
    if results.words.one_signed(results.directions[:1]):
        compared = compared[:1]
    for score, label in compared:
        direction, row = _main_correlation(results, score)
        if row is not None:
            ends = f"[{number(row['ci_low'], 2)}, {number(row['ci_high'], 2)}] "
            known = math.isfinite(row["ci_low"]) and math.isfinite(row["ci_high"])
            entries.append(
                (
                    f"Pearson(output range, {label})",
                    number(row["estimate"], 3) if math.isfinite(row["estimate"]) else "not defined",
                    f"{ends if known else ''}{direction}",
                )
            )
    entries.append(
        (
            word("floor", "heads below the floor of rounding"),
            f"{len(low)} of {results.n_heads}",
            f"range < {results.floor:g}, {results.directions[0]}",
        )
    )
    return entries


def _main_correlation(results: Results, score: str) -> tuple[str, pd.Series | None]:
    """Return (direction, row) of Pearson(output range, score) in the study's first direction."""
    direction = results.directions[0]
    return direction, find_correlation(results.correlations, direction, "output_range", score)


def _verdict_list(results: Results) -> Fragment:
    if results.claims is None or results.claims.empty:
        return Fragment("")
    items = [
        fill(
            "<li>{} {}</li>",
            verdict_mark(overall(rows)["verdict"]),
            overall(rows)["statement"],
        )
        for _, rows in results.claims.groupby("claim", sort=False)
    ]
    return fill(
        '<p><a href="#claims">The three claims</a>, on this study:</p><ol class="verdicts">{}</ol>',
        join(items),
    )
