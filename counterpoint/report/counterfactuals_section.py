"""The part of the report on generated pairs: what was composed for each target head, and how well.

Pairs are prompts that a search wrote, shown with the tokens that differ marked. A target without a
pair is reported as such, with the search's own reason.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pandas as pd

from counterpoint.figures.counterfactual_figures import archive_scatter, pair_curves
from counterpoint.glossary.metric_words import searches
from counterpoint.report.html import (
    Fragment,
    answer,
    count,
    fill,
    folded,
    heading,
    join,
    note,
    number,
    paragraph,
    table,
    word,
)
from counterpoint.report.methods_section import method_table, methods_compared, search_course
from counterpoint.report.section_parts import drawn_here, spoken
from counterpoint.report.study_results import Generated, Results
from counterpoint.report.validation_section import checks, nulls, transfer

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
            note(searches(results.metric)) if searches(results.metric) else "",
            *[_target(results, one) for one in results.generated],
            methods_compared(results),
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
            transfer(results, pairs),
            nulls(results, one, pairs),
            checks(pairs),
            _scatter(results, one, pairs),
        ]
        rest = pairs.iloc[SHOWN_PAIRS:FOLDED_PAIRS]
        if len(rest):
            parts.append(folded(f"{len(rest)} more pairs", _pair_table(results, rest)))
        if len(pairs) > FOLDED_PAIRS:
            parts.append(note(f"All {len(pairs)} stand in counterfactuals/{one.name}/."))
        if {"alphas", "output"} <= set(pairs):
            parts.append(_curves(results, one, pairs.dropna(subset=["alphas", "output"])))
    parts += [method_table(one), search_course(results, one)]
    return join(parts)


def _pairs(one: Generated) -> pd.DataFrame:
    """Return the pairs of all methods with what validation says, and a ``number`` from 1.

    Validated ones come first, then what the methods prefer, then larger LD changes.
    """
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
    if "rank" in pairs:
        pairs = pairs.assign(validated=pairs["rank"].notna())
    order = [name for name in ("validated", "choice", "ld_change") if name in pairs]
    ascending = [name == "choice" for name in order]
    pairs = pairs.sort_values(order, ascending=ascending, ignore_index=True, kind="stable")
    return pairs.assign(number=range(1, len(pairs) + 1))


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
                "On the study's own pairs the head stands at {} {} of {} in the median (best {}, "
                "worst {}, mean {}; mean |AP| {}{}).",
                word("rank", "rank"),
                f"{before['median_rank']:g}",
                count(results.n_heads),
                count(before["best_rank"]),
                count(before["worst_rank"]),
                number(before["mean_rank"], 1),
                number(before["mean_absolute"], 3),
                # What follows is in logits, whatever the study's metric.
                f", {results.directions[0]}"
                if results.metric == "logit_difference"
                else f" {results.words.unit}, of the "
                f"{results.words.short}, {results.directions[0]}",
            )
        )
    known = pairs["rank"].dropna() if "rank" in pairs else pd.Series(dtype=float)
    if len(known):
        first = int((known == 1).sum())
        sentences.append(
            fill(
                "On the generated ones its median rank is {} (best {}, worst {}); it comes "
                "<b>first on {} of {}</b>.",
                f"{known.median():g}",
                count(known.min()),
                count(known.max()),
                first,
                len(known),
            )
        )
    return paragraph(join(sentences, " "))


def _pair_table(results: Results, pairs: pd.DataFrame) -> Fragment:
    places = [name for name in PLACES if name in pairs]
    header = [
        "pair", "method", "clean and corrupted prompt", "answers", word("ld-change"),
        word("evenness"), word("changed-tokens", "changed"), word("perplexity"),
        *[spoken(name) for name in places],
    ]  # fmt: skip
    body = [
        [
            row["number"],
            spoken(row["method"]),
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
    return table(header, body, text=(1, 2, 3))


def _scatter(results: Results, one: Generated, pairs: pd.DataFrame) -> Fragment:
    """Return the archives of all methods as LD change against perplexity."""
    archives = {name: table for name, table in one.methods.items() if len(table)}
    caps = pairs["loss_cap"].dropna() if "loss_cap" in pairs else pd.Series(dtype=float)
    cap = math.exp(caps.iloc[0]) if len(caps) else None
    remark = (
        fill(
            " The dashed line is the {}, {}: pairs to its left are fluent.",
            word("fluent", "fluency cap"),
            number(cap, 1),
        )
        if cap
        else ""
    )
    return drawn_here(
        results,
        f"generated_{one.name}_pairs",
        partial(archive_scatter, archives, cap),
        f"LD change against perplexity of the pairs kept for head {one.name}.",
        fill(
            "Every pair that was kept, by {} and {} of its less fluent prompt. Filled marks are {} "
            "by any pair of their method.{}",
            word("ld-change"),
            word("perplexity"),
            word("hypervolume", "not dominated"),
            remark,
        ),
    )


def _curves(results: Results, one: Generated, pairs: pd.DataFrame) -> Fragment:
    """Return the target's output curves on the pairs."""
    if pairs.empty:
        return Fragment("")
    return drawn_here(
        results,
        f"generated_{one.name}_curves",
        partial(pair_curves, pairs),
        f"Output curves of head {one.name} on the generated pairs.",
        "The target's output curve (logit difference, in logits) on the generated pairs: a "
        "straight fall is an even one.",
    )
