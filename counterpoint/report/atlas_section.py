"""The part of the report on the atlas: a map of all heads from which each one's pair is read.

The map is a table with one link per head. Its pair appears on a card while the pointer or the
keyboard's focus is on it (style alone, no script), and the link leads to the same pair in the list
below. Where scripts run, a head's name in the list leads on to its card in the explorer, which maps
the atlas's numbers as well.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.counterfactuals.atlas.atlas_classes import (
    CLASSES,
    GOOD_CHANGE,
    GOOD_MARGIN,
    KEYS,
    LEAST_CHANGE,
    atlas_class,
    has_pair,
)
from counterpoint.figures.atlas_figures import atlas_map
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
from counterpoint.report.section_parts import drawn_here
from counterpoint.report.study_results import Results

PLACEMENT = {one.key: one for one in CLASSES}


def atlas(results: Results) -> Fragment:
    """Return the section on the atlas, empty when the study has none."""
    if results.atlas is None or results.atlas.empty:
        return Fragment("")
    rows = results.atlas.sort_values(["layer", "head"], ignore_index=True)
    rows = rows.assign(reached=atlas_class(rows), found=has_pair(rows))
    return join(
        [
            heading("atlas", "The atlas: a pair for every head"),
            paragraph(
                "One search over all heads at once kept, for each ",
                word("head"),
                ", the ",
                word("generated-pair", "pair"),
                " on which it matters most. Then every head was patched on that pair (exact ",
                word("ap", "AP"),
                "), which gives the head its ",
                word("rank", "rank"),
                " among all. Here each head's pair can be read: point at a cell, or move to it with"
                " the tabulator key; its link leads to the same pair in the list below the map.",
            ),
            note(searches(results.metric)) if searches(results.metric) else "",
            _in_words(rows),
            _legend(rows),
            _map(results, rows),
            folded(
                "The same map as a figure",
                drawn_here(
                    results,
                    "atlas",
                    partial(atlas_map, rows),
                    _described(rows),
                    "Numbers are ranks by |AP|. The figure stands in figures/atlas.svg and .png.",
                ),
            ),
            heading("atlas-list", "All pairs of the atlas", 3),
            _list(results, rows),
            _by_layer(rows),
        ]
    )


def _in_words(rows: pd.DataFrame) -> Fragment:
    """Return the counts and medians in sentences."""
    counts = rows["reached"].value_counts()
    of = {key: int(counts.get(key, 0)) for key in KEYS}
    fluent = of["clear"] + of["fluent"]
    first = fluent + of["first"]
    known = rows[rows["found"]]
    sentences: list[Any] = [
        fill(
            "Of the {} heads, <b>{} own a {} pair on which they come first</b> with an {} of at "
            "least {}; on {} of these the effect is at least {} and the {} at least {}.",
            count(len(rows)),
            fluent,
            word("fluent", "fluent"),
            word("ld-change", "LD change"),
            f"{LEAST_CHANGE:g}",
            of["clear"],
            f"{GOOD_CHANGE:g}",
            word("rank", "margin"),
            f"{GOOD_MARGIN:g}",
        ),
        f"In all, {first} come first on their pair, {of['behind']} do not, and for {of['none']} no "
        "pair was found.",
    ]
    if len(known):
        sentences.append(
            fill(
                "Over the heads with a pair the median LD change is {}, the median margin {}, the "
                "median {} {} and the median number of changed tokens {}.",
                number(known["ld_change"].median(), 2),
                number(known["margin"].replace(np.inf, np.nan).median(), 2),
                word("perplexity", "perplexity"),
                number(known["perplexity"].median(), 1),
                number(known["changed_tokens"].median(), 0),
            )
        )
        caps = rows["loss_cap"].dropna()
        if len(caps):
            sentences.append(
                fill(
                    "Fluent means here a perplexity of at most {} ({} nats per token) of both "
                    "prompts.",
                    number(np.exp(caps.iloc[0]), 1),
                    number(caps.iloc[0], 2),
                )
            )
    return paragraph(join(sentences, " "))


def _described(rows: pd.DataFrame) -> str:
    counts = rows["reached"].value_counts()
    parts = [f"{counts.get(one.key, 0)} heads: {one.name}" for one in CLASSES]
    return f"Map of the heads, layer by head, coloured by what was reached. {'; '.join(parts)}."


def _legend(rows: pd.DataFrame) -> Fragment:
    counts = rows["reached"].value_counts()
    return fill(
        '<ul class="atlas-legend">{}</ul>',
        join(
            fill(
                '<li><span class="cell {}" aria-hidden="true">{}</span> {} <b>({})</b></li>',
                one.key,
                {"none": "·", "behind": "2"}.get(one.key, "1"),
                one.name,
                int(counts.get(one.key, 0)),
            )
            for one in CLASSES
        ),
    )


def _map(results: Results, rows: pd.DataFrame) -> Fragment:
    """Return the grid: a row per layer, a column per head, a link and a card in each cell."""
    n_heads = int(rows["head"].max()) + 1
    cells = {(int(row["layer"]), int(row["head"])): row for row in rows.to_dict("records")}
    header = join(fill('<th scope="col">{}</th>', head) for head in range(n_heads))
    body = []
    for layer in range(int(rows["layer"].max()) + 1):
        row = join(
            fill(
                "<td>{}</td>",
                _cell(results, cells[layer, head]) if (layer, head) in cells else Fragment(""),
            )
            for head in range(n_heads)
        )
        body.append(fill('<tr><th scope="row">{}</th>{}</tr>', layer, row))
    return fill(
        '<p class="skip"><a href="#atlas-list">Skip the map</a></p>'
        '<div class="scroll"><table class="atlas"><caption>Rows are layers, columns heads; numbers '
        "are the head’s rank by |AP| on its pair.</caption>"
        '<thead><tr><th scope="col">layer</th>{}</tr></thead><tbody>{}</tbody></table></div>',
        header,
        join(body),
    )


def _cell(results: Results, row: dict[Any, Any]) -> Fragment:
    name = f"{row['layer']}.{row['head']}"
    summary = f"Head {name}: {PLACEMENT[row['reached']].name}"
    if row["found"]:
        summary += (
            f"; rank {count(row['rank'])}, margin {number(row['margin'], 2)}, "
            f"LD change {number(row['ld_change'], 2)}"
        )
    return fill(
        '<a class="cell {}" href="#atlas-{}-{}" aria-label="{}">{}</a>'
        '<div class="atlas-card" aria-hidden="true">{}</div>',
        row["reached"],
        row["layer"],
        row["head"],
        summary,
        count(row["rank"]) if row["found"] else "·",
        _card(results, row, name),
    )


def _card(results: Results, row: dict[Any, Any], name: str) -> Fragment:
    title = fill("<p><b>Head {}</b>: {}</p>", name, PLACEMENT[row["reached"]].name)
    if not row["found"]:
        return title
    return join(
        [
            title,
            fill("<p>{}<br>{}</p>", *results.tokens.difference(row)),
            fill(
                "<p>answers {} / {}; rank {}, margin {} over {}, LD change {}, evenness {}, "
                "perplexity {} / {}</p>",
                answer(row["correct"]),
                answer(row["incorrect"]),
                count(row["rank"]),
                number(row["margin"], 2),
                row["second"],
                number(row["ld_change"], 2),
                number(row["evenness"], 2),
                number(row["perplexity_clean"], 1),
                number(row["perplexity_corrupted"], 1),
            ),
        ]
    )


def _list(results: Results, rows: pd.DataFrame) -> Fragment:
    """Return all pairs as one table, folded, and the heads without one."""
    known, missing = rows[rows["found"]], rows[~rows["found"]]
    header = [
        "head", "clean and corrupted prompt", "answers", word("rank", "rank"),
        word("rank", "margin"), "strongest other", word("ld-change"), word("evenness"),
        word("changed-tokens", "changed"), word("perplexity"), word("fluent", "fluent"),
    ]  # fmt: skip
    body = [
        [
            fill(
                '<span id="atlas-{0}-{1}" class="cell {2}">{0}.{1}</span>',
                row["layer"],
                row["head"],
                row["reached"],
            ),
            fill("{}<br>{}", *results.tokens.difference(row)),
            fill("{}<br>{}", answer(row["correct"]), answer(row["incorrect"])),
            count(row["rank"]),
            number(row["margin"], 2),
            row["second"],
            number(row["ld_change"], 2),
            number(row["evenness"], 2),
            count(row["changed_tokens"]),
            fill("{}<br>{}", number(row["perplexity_clean"], 1),
                 number(row["perplexity_corrupted"], 1)),
            "yes" if not pd.isna(row["fluent"]) and row["fluent"] else "no",
        ]
        for row in known.to_dict("records")
    ]  # fmt: skip
    nothing = note(
        "No pair was found for ",
        join(
            (
                fill('<span id="atlas-{0}-{1}">{0}.{1}</span>', row["layer"], row["head"])
                for row in missing.to_dict("records")
            ),
            ", ",
        ),
        ".",
    )
    return join(
        [
            folded(f"Pairs of {len(known)} heads", table(header, body, text=(0, 1, 2)))
            if body
            else "",
            nothing if len(missing) else "",
        ]
    )


def _by_layer(rows: pd.DataFrame) -> Fragment:
    """Return how many heads of each layer have a pair, and come first on a fluent one."""
    fluent = rows["reached"].isin(["clear", "fluent"])
    counts: Any = rows.assign(fluent_first=fluent).groupby("layer")[["found", "fluent_first"]]
    header = ["layer", "heads", "with a pair", "first on a fluent one"]
    body = [
        [int(layer), len(part), int(part["found"].sum()), int(part["fluent_first"].sum())]
        for layer, part in counts
    ]
    return folded("Counts by layer", table(header, body))
