"""The head of a study's page: which heads matter and how surely, what is new, key numbers."""

from __future__ import annotations

from typing import Any

from counterpoint.figures.chosen_heads import Head, head_names, rank_heads
from counterpoint.report.claims_section import is_identity, overall
from counterpoint.report.doubtful_pairs_section import doubts
from counterpoint.report.findings_section import findings
from counterpoint.report.html import (
    Fragment,
    count,
    fill,
    interval,
    join,
    number,
    table,
    tiles,
    word,
)
from counterpoint.report.section_parts import (
    ap_by_head,
    has_several_pairs,
    listed,
    means_over,
    percent,
    verdict_mark,
)
from counterpoint.report.study_results import Results
from counterpoint.statistics.consistency_over_pairs import FIRST, pair_by_pair

SHOWN = FIRST
"""Heads of largest |AP| that the answer names."""


def headline(results: Results, title: str) -> Fragment:
    """Return title, the heads that matter and how surely, what else was found, the verdicts."""
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
    ranked = rank_heads(results.heads)
    first = head_names(ranked[ranked["abs_ap"] >= results.floor].head(SHOWN))
    return join(
        [
            fill('<h1>{}</h1><p class="subtitle">{}</p>', title, subtitle),
            _answer(results, first),
            doubts(results),
            _first_heads(results, first),
            findings(results, first) if first else "",
            tiles(_key_numbers(results)),
            _verdict_list(results),
            Fragment(
                '<p><a href="#limits">What this does not show</a> · '
                '<a href="#cite">Cite and rerun</a></p>'
            ),
        ]
    )


def _answer(results: Results, first: list[Head]) -> Fragment:
    """Return which heads matter, and what the first one does in each direction."""
    words = results.words
    if not first:
        return fill(
            '<p class="answer"><b>No head moves {}</b>: patching any of them alone changes the {} '
            "by less than {} {} on average, which is rounding.</p>",
            words.first,
            words.name,
            f"{results.floor:g}",
            words.unit,
        )
    names = [f"{layer}.{head}" for layer, head in first]
    alone = [
        f"{number(results.means[direction, *first[0]]['ap'], 2)} {words.unit} in {direction}"
        for direction in results.directions
    ]
    over = means_over(results, results.heads["pair"])
    return fill(
        '<p class="answer">The {} that {} {} most {} <b>{}</b> (by |AP|, {}{}). Patching <b>{}</b> '
        "alone changes the {} by {}.</p>",
        "head" if len(names) == 1 else "heads",
        "moves" if len(names) == 1 else "move",
        words.first,
        "is" if len(names) == 1 else "are",
        listed(names),
        over,
        ", both directions" if len(results.directions) > 1 else "",
        names[0],
        words.name,
        listed(alone),
    )


def _first_heads(results: Results, first: list[Head]) -> Fragment:
    """Return AP of these heads in every direction, and on how many pairs they hold their place."""
    if not first:
        return Fragment("")
    n_pairs = results.heads["pair"].nunique()
    several = has_several_pairs(results)
    # Of so few heads every one is among the first.
    ranked = several and results.n_heads > SHOWN
    steady = pair_by_pair(results.heads, first=SHOWN).set_index(["direction", "layer", "head"])
    header: list[Any] = [word("head", "head")]
    columns: list[list[Any]] = []
    for direction in results.directions:
        found = ap_by_head(results, direction)
        own: Any = steady.loc[direction]
        header.append(fill("{}, {}", word("ap", "AP"), direction))
        columns.append([interval(*found[head]) for head in first])
        if ranked:
            header.append(f"in the first {SHOWN}, {direction}")
            columns.append([f"{own.loc[head, 'among_first']} of {n_pairs}" for head in first])
        if several and not results.words.one_signed([direction]):
            header.append(f"same sign, {direction}")
            columns.append([f"{own.loc[head, 'same_sign']} of {n_pairs}" for head in first])
    rows = [
        [f"{layer}.{head}", *cells]
        for (layer, head), cells in zip(first, zip(*columns, strict=True), strict=True)
    ]
    caption = (
        f"AP in {results.words.unit}, {means_over(results, results.heads['pair'])}; in brackets "
        f"the {percent(float(results.statistic('confidence', 0.95)))} interval over "
        f"{results.drawn}. Then on how many pairs the head is among the {SHOWN} of largest |AP|, "
        "and on how many its AP has the sign of the mean."
        if several
        else f"AP in {results.words.unit}, on the only pair: no interval over pairs."
    )
    return table(header, rows, caption=caption)


def _key_numbers(results: Results) -> list[tuple[Any, Any, Any]]:
    short = results.words.short
    clean, corrupted = results.baseline["metric_clean"], results.baseline["metric_corrupted"]
    pair = int(results.baseline["pair"].iloc[0])
    right = results.baseline["correct"].astype(bool)
    low = results.below_floor
    return [
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
        (
            word("floor", "heads below the floor of rounding"),
            f"{len(low)} of {results.n_heads}",
            f"range < {results.floor:g}, {results.directions[0]}",
        ),
    ]


def _verdict_list(results: Results) -> Fragment:
    if results.claims is None or results.claims.empty:
        return Fragment("")
    items = [
        fill(
            "<li>{} {}{}</li>",
            verdict_mark(overall(rows)["verdict"]),
            overall(rows)["statement"],
            is_identity(claim),
        )
        for claim, rows in results.claims.groupby("claim", sort=False)
    ]
    return fill(
        '<p><a href="#claims">The three claims</a>, on this study:</p><ol class="verdicts">{}</ol>',
        join(items),
    )
