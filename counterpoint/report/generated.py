"""The part of the report on generated pairs: what was composed for each target head, and how well.

Pairs are prompts that a search wrote, shown with the tokens that differ marked. A target without a
pair is reported as such, with the search's own reason.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from counterpoint.plots import figure_svg, pair_curves, search_progress
from counterpoint.report.html import (
    Fragment,
    answer,
    count,
    fill,
    folded,
    heading,
    image,
    join,
    note,
    number,
    paragraph,
    table,
    word,
)
from counterpoint.report.results import Generated, Results

SHOWN_PAIRS = 6
"""Pairs of a head shown at once; the rest is folded."""
FOLDED_PAIRS = 60
"""Most folded pairs; all stand in the archive."""
PLACES = ("rank", "margin", "reciprocal_rank")
"""Columns of ``validation.parquet`` that are shown beside a pair."""


def generated(results: Results) -> Fragment:
    """Return the section on generated pairs, empty when none was searched for."""
    if not results.generated:
        return Fragment("")
    return join(
        [
            heading("generated", "Generated pairs"),
            paragraph(
                "For each ",
                word("target", "target head"),
                " a search composed prompt pairs on which it should matter: large ",
                word("ld-change", "LD change"),
                ", an ",
                word("evenness", "even"),
                " path, few ",
                word("changed-tokens", "changed tokens"),
                " and low ",
                word("perplexity", "perplexity"),
                ". Hardly a pair is best at all four, so those are kept that no other beats in "
                "everything.",
                " Then every head was patched on them, to see whether the target comes first."
                if any(one.validation is not None for one in results.generated)
                else "",
            ),
            *[_target(results, one) for one in results.generated],
        ]
    )


def _target(results: Results, one: Generated) -> Fragment:
    """Return what was found for one head."""
    pairs = _pairs(one)
    parts: list[Any] = [heading(f"generated-{one.layer}-{one.head}", f"Head {one.name}", 3)]
    if pairs.empty:
        reasons = [str(table.attrs["reason"]) for table in one.methods.values()
                   if table.attrs.get("reason")]  # fmt: skip
        parts.append(paragraph("No pair was found. ", "; ".join(reasons)))
    else:
        parts += [
            _before_and_after(results, one, pairs),
            _pair_table(results, pairs.head(SHOWN_PAIRS)),
        ]
        rest = pairs.iloc[SHOWN_PAIRS:FOLDED_PAIRS]
        if len(rest):
            parts.append(folded(f"{len(rest)} more pairs", _pair_table(results, rest)))
        if len(pairs) > FOLDED_PAIRS:
            parts.append(note(f"All {len(pairs)} stand in counterfactuals/{one.name}/."))
        if {"alphas", "output"} <= set(pairs):
            parts.append(_curves(one, pairs.dropna(subset=["alphas", "output"])))
    parts += [_methods(one), _progress(one)]
    return join(parts)


def _pairs(one: Generated) -> pd.DataFrame:
    """Return the pairs of all methods, largest LD change first, with what validation says."""
    filled = [table for table in one.methods.values() if len(table)]
    if not filled:
        return pd.DataFrame()
    pairs = pd.concat(filled, ignore_index=True)
    if one.validation is not None and len(one.validation):
        keys = [name for name in ("method", "clean", "corrupted") if name in one.validation]
        fresh = one.validation.columns.difference(pairs.columns).to_list()
        pairs = pairs.merge(
            one.validation[[*keys, *fresh]].drop_duplicates(keys), on=keys, how="left"
        )
    return pairs.sort_values("ld_change", ascending=False, ignore_index=True)


def _before_and_after(results: Results, one: Generated, pairs: pd.DataFrame) -> Fragment:
    """Return the head's rank on the study's own pairs and on the generated ones."""
    sentences: list[Any] = [
        fill("The search kept {} pairs; the largest {} is {}.",
             len(pairs), word("ld-change", "LD change"), number(pairs["ld_change"].max(), 2))
    ]  # fmt: skip
    before = results.places.get((one.layer, one.head))
    if before is not None:
        sentences.append(
            fill(
                "On the study's own pairs the head stands at {} {} of {} on average "
                "(mean |AP| {}).",
                word("rank", "rank"),
                number(before["mean_rank"], 1),
                count(results.n_heads),
                number(before["mean_absolute"], 3),
            )
        )
    known = pairs["rank"].dropna() if "rank" in pairs else pd.Series(dtype=float)
    if len(known):
        first = int((known == 1).sum())
        sentences.append(
            fill(
                "On the generated ones its best rank is {} and its median rank {}; it comes "
                "<b>first on {} of {}</b>.",
                count(known.min()),
                number(known.median(), 1),
                first,
                len(known),
            )
        )
    return paragraph(join(sentences, " "))


def _pair_table(results: Results, pairs: pd.DataFrame) -> Fragment:
    places = [name for name in PLACES if name in pairs]
    header = [
        "method", "clean and corrupted prompt", "answers", word("ld-change"), word("evenness"),
        word("changed-tokens", "changed"), word("perplexity"),
        *[name.replace("_", " ") for name in places],
    ]  # fmt: skip
    body = [
        [
            row["method"],
            fill("{}<br>{}", *results.tokens.difference(row)),
            fill("{}<br>{}", answer(row["correct"]), answer(row["incorrect"])),
            number(row["ld_change"], 2),
            number(row["evenness"], 2),
            row["changed_tokens"],
            fill("{}<br>{}", number(row["perplexity_clean"], 1),
                 number(row["perplexity_corrupted"], 1)),
            *[count(row[name]) if name == "rank" else number(row[name], 2) for name in places],
        ]
        for row in pairs.to_dict("records")
    ]  # fmt: skip
    return table(header, body, text=(0, 1, 2))


def _curves(one: Generated, pairs: pd.DataFrame) -> Fragment:
    """Return the target's output curves on the pairs."""
    if pairs.empty:
        return Fragment("")
    return fill(
        "<figure>{}<figcaption>{}</figcaption></figure>",
        image(figure_svg(pair_curves(pairs)), "svg+xml",
              f"Output curves of head {one.name} on the generated pairs."),
        "The target's output curve on the generated pairs: a straight fall is an even one.",
    )  # fmt: skip


def _methods(one: Generated) -> Fragment:
    """Return the methods side by side: what each found for what it spent, over its seeds."""
    rows = []
    for name, archive in one.methods.items():
        trace = one.traces.get(name)
        ends = (
            trace.sort_values("evaluations").groupby("seed").last()
            if trace is not None and "seed" in trace
            else pd.DataFrame(columns=["evaluations", "seconds", "hypervolume", "best_ld_change"])
        )
        rows.append(
            [
                name,
                len(ends) or number(None),
                len(archive),
                _spread(ends["evaluations"], 0),
                _spread(ends["seconds"], 1),
                _spread(ends["best_ld_change"], 2),
                _spread(ends["hypervolume"], 4),
            ]
        )
    if not rows:
        return Fragment("")
    header = ["method", "searches", "pairs", "evaluations", "seconds", "best LD change",
              "hypervolume"]  # fmt: skip
    caption = (
        "The methods and what they spent; over several searches the median and, in brackets, the "
        "least and the greatest."
    )
    return table(header, rows, caption=caption)


def _spread(values: pd.Series, digits: int) -> Any:
    """Return the median and, of several values, their ends."""
    values = values.dropna().astype(float)
    if values.empty:
        return number(None)
    middle = number(values.median(), digits)
    if len(values) == 1:
        return middle
    ends = f"[{number(values.min(), digits)}, {number(values.max(), digits)}]"
    return fill('{} <span class="interval">{}</span>', middle, ends)


def _progress(one: Generated) -> Fragment:
    """Return the course of the searches, folded."""
    traces = {name: trace for name, trace in one.traces.items() if len(trace)}
    if not traces:
        return Fragment("")
    drawn = fill(
        "<figure>{}<figcaption>{}</figcaption></figure>",
        image(figure_svg(search_progress(traces)), "svg+xml",
              f"Hypervolume and best LD change against model evaluations, head {one.name}."),
        "Hypervolume (how much of the four objectives the kept pairs cover) and largest LD change "
        "so far, one line per search.",
    )  # fmt: skip
    return folded("How the searches went", drawn)
