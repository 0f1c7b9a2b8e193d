"""The part of the report on generated pairs: what was composed for each target head, and how well.

Pairs are prompts that a search wrote, shown with the tokens that differ marked. A target without a
pair is reported as such, with the search's own reason.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from counterpoint.counterfactuals.validation.pair_flags import SHORT_CUTS
from counterpoint.figures.counterfactual_figures import archive_scatter
from counterpoint.figures.study_figures import figure_svg, pair_curves, search_progress
from counterpoint.glossary.metric_words import searches
from counterpoint.report.html import (
    NOTHING,
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
    small,
    table,
    word,
)
from counterpoint.report.study_results import Generated, Results

SHOWN_PAIRS = 6
"""Pairs of a head shown at once; the rest is folded."""
FOLDED_PAIRS = 60
"""Most folded pairs; all stand in the archive."""
PLACES = ("rank", "margin", "reciprocal_rank")
"""Columns of ``validation.parquet`` that are shown beside a pair."""
METHOD_MEASURES = {
    "ld_change_cap_0": "LD change, cap + 0 nats",
    "ld_change_cap_0_5": "cap + 0.5",
    "ld_change_cap_1": "cap + 1",
    "hypervolume": "hypervolume",
    "chosen_evenness": "evenness",
    "chosen_changed_tokens": "changed tokens",
    "chosen_rank": "rank by AP",
    "chosen_margin": "margin",
    "chosen_ig_rank": "rank by IG joint",
    "evaluations": "evaluations",
    "seconds": "seconds",
}
"""Measures of ``methods.csv`` that are shown, in order, with their headings."""


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
            _comparison(results),
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
            _transfer(results, pairs),
            _nulls(results, one, pairs),
            _checks(pairs),
            _scatter(one, pairs),
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
                "On the study's own pairs the head stands at {} {} of {} on average "
                "(mean |AP| {}{}).",
                word("rank", "rank"),
                number(before["mean_rank"], 1),
                count(results.n_heads),
                number(before["mean_absolute"], 3),
                # What follows is in logits, whatever the study's metric.
                ""
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
        "pair", "method", "clean and corrupted prompt", "answers", word("ld-change"),
        word("evenness"), word("changed-tokens", "changed"), word("perplexity"),
        *[name.replace("_", " ") for name in places],
    ]  # fmt: skip
    body = [
        [
            row["number"],
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
    return table(header, body, text=(1, 2, 3))


def _transfer(results: Results, pairs: pd.DataFrame) -> Fragment:
    """Return how the edits did in fresh contexts: a sentence a pair, and the contexts folded."""
    if "transfer_contexts" not in pairs:
        return Fragment("")
    parts = []
    for row in pairs.dropna(subset=["transfer_contexts"]).to_dict("records"):
        contexts = int(row["transfer_contexts"])
        if not contexts:
            parts.append(
                paragraph(
                    word("transfer", "Transfer"),
                    f" of pair {row['number']}: no fresh context took up the edit with the same "
                    "tokens.",
                )
            )
            continue
        parts.append(
            paragraph(
                fill(
                    "{} of pair {} ({}) to {} fresh contexts: the target is <b>first in {}</b> and "
                    "in the first five in {}; the median LD change is {}. In {} of the contexts "
                    "both prompts go on with the same token, which counts as a failure. With the "
                    "pair's own answers it is first in {}, in the first five in {}, and the median "
                    "is {}. A context keeps {} of the pair's {} tokens; the median {} is {}.",
                    word("transfer", "Transfer"),
                    row["number"],
                    row["method"],
                    contexts,
                    count(row["transfer_first"]),
                    count(row["transfer_first_five"]),
                    number(row["transfer_ld_change"], 2),
                    count(row["transfer_same_answer"]),
                    count(row["transfer_first_declared"]),
                    count(row["transfer_first_five_declared"]),
                    number(row["transfer_ld_change_declared"], 2),
                    count(row["transfer_kept"]),
                    len(row["clean_tokens"]),
                    word("perplexity", "perplexity"),
                    number(row["transfer_perplexity"], 1),
                )
            )
        )
        body = [
            [
                place,
                fill("{}<br>{}", *results.tokens.difference({"clean": x, "corrupted": y})),
                count(rank) if rank else "same answer",
                number(change, 2),
            ]
            for place, (x, y, rank, change) in enumerate(
                zip(
                    row["transfer_clean"],
                    row["transfer_corrupted"],
                    row["transfer_ranks"],
                    row["transfer_ld_changes"],
                    strict=True,
                ),
                start=1,
            )
        ]
        parts.append(
            folded(
                f"The {contexts} contexts of pair {row['number']}",
                table(
                    ["context", "prompts", word("rank", "rank"), word("ld-change")], body, text=(1,)
                ),
            )
        )
    return join(parts)


def _nulls(results: Results, one: Generated, pairs: pd.DataFrame) -> Fragment:
    """Return what chance gives: random answers, and the pairs of the other targets."""
    sentences: list[Any] = []
    known = pairs.dropna(subset=["null_rank"]) if "null_rank" in pairs else pairs.iloc[:0]
    if len(known):
        sentences.append(
            fill(
                "{}: with random answers on the same pairs the target's median rank is {} and its "
                "median |AP| {}, against {} and {} with the pairs' own; it comes first on {} % of "
                "the draws.",
                word("null", "Chance"),
                number(known["null_rank"].median(), 1),
                number(known["null_ap"].median(), 3),
                number(known["rank"].median(), 1),
                number(known["ap"].abs().median(), 3),
                number(100 * known["null_first"].mean(), 0),
            )
        )
    ranks = results.ranks_on_other_pairs
    ranks = ranks[(ranks["layer"] == one.layer) & (ranks["head"] == one.head)]
    if len(ranks):
        sentences.append(
            fill(
                "On the first {} that the same methods found for other heads ({} of them) its "
                "median rank is {}; it comes first on {}.",
                "pair" if len(ranks) == 1 else "pairs",
                len(ranks),
                number(ranks["rank"].median(), 1),
                int((ranks["rank"] == 1).sum()),
            )
        )
    return paragraph(join(sentences, " ")) if sentences else Fragment("")


def _checks(pairs: pd.DataFrame) -> Fragment:
    """Return the rest of the validation, folded: both directions, IG, plain runs, the text."""
    if "ap_plain" not in pairs:
        return Fragment("")
    known = pairs.dropna(subset=["ap_plain"])
    header = [
        "pair", "method", word("ap"), "AP, plain runs", "margin, plain runs", "strongest other",
        "rank, denoising", "rank in its layer", fill("rank by {}", word("ig-joint")),
        word("evenness"), fill("{}, plain runs", word("perplexity")), word("fluent", "fluent"),
        word("surprise", "largest surprise"), "at the token", word("repetition"),
        word("short-cut", "short cuts"),
    ]  # fmt: skip
    body = [
        [
            row["number"],
            row["method"],
            number(row["ap"], 3),
            number(row["ap_plain"], 3),
            number(row["margin_plain"], 2),
            row["second"],
            count(row["rank_denoising"]),
            count(row["rank_in_layer"]),
            count(row["ig_rank"]),
            number(row["evenness_again"], 2),
            fill(
                "{}<br>{}",
                number(row["perplexity_clean_again"], 1),
                number(row["perplexity_corrupted_again"], 1),
            ),
            NOTHING if pd.isna(row["fluent"]) else "yes" if row["fluent"] else "no",
            number(row["surprise"], 1),
            answer(row["surprising_token"]),
            number(row["repetition"], 2),
            _short_cuts(row),
        ]
        for row in known.to_dict("records")
    ]
    largest = (known["ap"] - known["ap_plain"]).abs().max()
    return folded(
        f"All checks of the {len(known)} validated pairs",
        join(
            [
                paragraph(
                    "Everything here was measured anew. The effects of the target and of its three "
                    "strongest rivals were taken once more in whole passes of the model, one "
                    f"prompt at a time; the target's differ by at most {small(largest)}.",
                ),
                table(header, body, text=(1, 5, 13, 15)),
            ]
        ),
    )


def _short_cuts(row: dict[Any, Any]) -> str:
    """Return what a pair is flagged for, in words."""
    flagged = [
        words for name, words in SHORT_CUTS.items() if bool(row[name]) != (name == "round_trip")
    ]
    return "; ".join(flagged) or "none"


def _scatter(one: Generated, pairs: pd.DataFrame) -> Fragment:
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
    return fill(
        "<figure>{}<figcaption>Every pair that was kept, by {} and {} of its less fluent prompt. "
        "Filled marks are {} by any pair of their method.{}</figcaption></figure>",
        image(
            figure_svg(archive_scatter(archives, cap)),
            "svg+xml",
            f"LD change against perplexity of the pairs kept for head {one.name}.",
        ),
        word("ld-change"),
        word("perplexity"),
        word("hypervolume", "not dominated"),
        remark,
    )


def _curves(one: Generated, pairs: pd.DataFrame) -> Fragment:
    """Return the target's output curves on the pairs."""
    if pairs.empty:
        return Fragment("")
    return fill(
        "<figure>{}<figcaption>{}</figcaption></figure>",
        image(figure_svg(pair_curves(pairs)), "svg+xml",
              f"Output curves of head {one.name} on the generated pairs."),
        "The target's output curve (logit difference, in logits) on the generated pairs: a "
        "straight fall is an even one.",
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
    header = ["method", "searches", "pairs", word("evaluation", "evaluations"), "seconds",
              "best LD change", word("hypervolume", "hypervolume")]  # fmt: skip
    caption = (
        "The methods and what they spent; over several searches the median and, in brackets, the "
        "least and the greatest."
    )
    return table(header, rows, caption=caption)


def _comparison(results: Results) -> Fragment:
    """Return the methods side by side over all heads and seeds, where they were compared."""
    if results.methods is None or "scope" not in results.methods:
        return Fragment("")
    runs = results.methods[results.methods["scope"] == "method"]
    shown = {name: text for name, text in METHOD_MEASURES.items() if name in set(runs["measure"])}
    if not shown:
        return Fragment("")
    rows = []
    for method, own in runs.groupby("method", sort=False):
        cells = own.set_index("measure")
        rows.append([method, *[_range_cell(cells, name) for name in shown]])
    return join(
        [
            heading("methods", "The methods compared", 3),
            paragraph(
                "All methods on the same heads and seeds with the same number of ",
                word("evaluation", "model evaluations"),
                ": the median over the searches and, in brackets, the least and the greatest. "
                "The largest LD change counts under caps on the ",
                word("perplexity", "perplexity"),
                " of both prompts: the study's mean loss per token and so many nats more. Evenness,"
                " changed tokens, ranks and margin are those of the pair that the method prefers.",
            ),
            table(["method", *shown.values()], rows),
        ]
    )


def _range_cell(cells: pd.DataFrame, name: str) -> Any:
    """Return "median [least, greatest]" of one measure of a method."""
    middle, least, greatest = (
        cells[part].to_dict().get(name) for part in ("median", "smallest", "largest")
    )
    if middle is None or pd.isna(middle):
        return number(None)
    digits = 0 if name in ("evaluations", "seconds") else 2
    return fill(
        '{} <span class="interval">[{}, {}]</span>',
        number(middle, digits),
        number(least, digits),
        number(greatest, digits),
    )


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
