"""What a study found, said beneath its answer: how sure, what gradients miss, partners, directions.

Each finding is a sentence or two with its numbers; one that a study cannot have (no second pair, no
second direction, no searches) is left out, one that came out empty is said to be so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from counterpoint.counterfactuals.atlas.atlas_classes import atlas_class
from counterpoint.figures.chosen_heads import Head
from counterpoint.glossary import label
from counterpoint.report.html import Fragment, fill, interval, join, number, word
from counterpoint.report.section_parts import (
    has_several_pairs,
    listed,
    means_over,
    named_pairs,
)
from counterpoint.report.study_results import Results
from counterpoint.statistics.consistency_over_pairs import estimates_of_first
from counterpoint.statistics.one_direction_heads import BOTH, TIMES, one_direction_heads
from counterpoint.statistics.resampling import Settings

ESTIMATES = {"atp": "atp", "ig_joint": "ig-joint"}
"""What is held against AP, with its word: the slope at the start, and the layer moving together."""

NAMED = 4
"""Heads that a sentence names; of more the number is given."""

OWN_A_PAIR = ("clear", "fluent")
"""The classes of the atlas in which a head comes first on a fluent pair."""


def findings(results: Results, first: Sequence[Head]) -> Fragment:
    """Return the findings as a list; ``first`` are the heads that move the metric most."""
    items = [
        fill("<li><b>{}</b> {}</li>", title, said)
        for title, said in (
            ("How sure.", _how_sure(results, first)),
            ("What gradients miss.", _what_gradients_miss(results)),
            ("Mattering in one direction only.", _one_direction(results)),
            ("Who works with whom.", _partners(results)),
            ("Composed for a head.", _composed(results)),
        )
        if said
    ]
    return fill('<ul class="findings">{}</ul>', join(items)) if items else Fragment("")


def _how_sure(results: Results, first: Sequence[Head]) -> Fragment:
    """How far the order of heads holds over pairs."""
    if not has_several_pairs(results):
        return fill("One pair: nothing here says how far any of this holds on other prompts.")
    parts: list[Any] = []
    rows = results.stability
    if rows is not None and not rows.empty:
        own = rows[
            (rows["direction"] == results.directions[0])
            & (rows["between"] == "pairs")
            & (rows["score"] == "ap")
            & (rows["agreement"] == "rank_biased_overlap")
        ].dropna(subset=["estimate"])
        parts += [
            fill(
                "The rankings of the heads by two pairs {} by {}: 1 is the same order, {} what a "
                "random one gives (rank-biased overlap, {}).",
                word("stability", "agree"),
                interval(row["estimate"], row["ci_low"], row["ci_high"]),
                number(row["chance"], 2),
                results.directions[0],
            )
            for row in own.to_dict("records")
        ]
    top_k = min(int(results.statistic("top_k", 10)), results.n_heads)
    if first and top_k < results.n_heads:
        least = min(float(results.places[head]["top_k_share"]) for head in first)
        parts.append(
            fill(
                "With {} drawn anew, {} among the first {} in {} ({}).",
                results.drawn,
                "each of these heads stays" if len(first) > 1 else "this head stays",
                top_k,
                "every draw"
                if least == 1
                else f"at least {math.floor(100 * least)} % of the draws",
                results.directions[0],
            )
        )
    return join(parts, " ")


def _what_gradients_miss(results: Results) -> Fragment:
    """The first heads whose AP an estimate from gradients misses."""
    settings = Settings(**results.settings.get("statistics", {}))
    sentences = []
    for score, key in ESTIMATES.items():
        if score not in results.heads:
            continue
        flat = results.words.flat(results.directions) if score == "atp" else []
        table = estimates_of_first(results.heads, score, settings=settings)
        table = table[~table["direction"].isin(flat)]
        if table.empty:
            continue
        said = []
        for direction, own in table.groupby("direction", sort=False):
            missed = own[own["misses"]]
            names = [
                fill(
                    "<b>{}.{}</b> (AP {}, {} {})",
                    row["layer"],
                    row["head"],
                    number(row["ap"], 2),
                    label(score),
                    number(row["score"], 2),
                )
                for row in missed.head(NAMED).to_dict("records")
            ]
            if len(missed) > NAMED:
                names.append(fill("{} more", len(missed) - NAMED))
            said.append(fill("{} in {}", join(names, ", ") if names else "none", direction))
        n_first = int(table.groupby("direction").size().max())
        sentences.append(
            fill(
                "Of the first {} {} misses {}.",
                f"{n_first} heads" if n_first > 1 else "head alone",
                word(key, label(score)),
                join(said, "; "),
            )
        )
    if not sentences:
        return Fragment("")
    rule = (
        "A head is missed where the estimate is off by more than half of AP "
        f"({means_over(results, results.heads['pair'])})."
    )
    return join([*sentences, rule], " ")


def _one_direction(results: Results) -> Fragment:
    """The heads that matter in noising or in denoising only."""
    if not set(BOTH) <= set(results.directions) or not has_several_pairs(results):
        return Fragment("")
    table = results.one_direction_heads
    if table is None and "ap_normalised" in results.heads:
        settings = Settings(**results.settings.get("statistics", {}))
        table = one_direction_heads(results.heads, settings=settings)
    if table is None or table.empty:
        return Fragment("")
    said = []
    for direction in BOTH:
        own = table[table["matters_in"] == direction]
        if len(own):
            names = listed([f"{row.layer}.{row.head}" for row in own.itertuples()])
            said.append(fill("<b>{}</b> in {} only", names, direction))
    rule = f"at least {TIMES:g} times as much as in the other, the interval leaving out equality"
    if said:
        return fill("{} ({}).", join(said, "; "), rule)
    return fill(
        "Of the {} heads that are among the first in either direction, none does ({}).",
        len(table),
        rule,
    )


def _partners(results: Results) -> Fragment:
    """With whom the head works on which IG joint and AP differ most."""
    table = results.interaction
    if table is None or table.empty:
        return Fragment("")
    there = table[["direction", "layer", "head"]].drop_duplicates().itertuples(index=False)
    places = [(str(one[0]), int(one[1]), int(one[2])) for one in there]
    gap, place = max((abs(results.means[one]["disagreement"]), one) for one in places)
    if not gap >= results.floor:
        return Fragment("")
    direction, layer, head = place
    own = table[
        (table["direction"] == direction) & (table["layer"] == layer) & (table["head"] == head)
    ]
    partners = own.groupby("partner")["interaction"].mean()
    partner = int(str(partners.abs().idxmax()))
    mean = results.means[place]
    return fill(
        "IG joint and AP differ most on <b>{}.{}</b> in {} (AP {}, IG joint {}; {}), because heads "
        "of its layer move along: first <b>{}.{}</b>, {} of the difference on {}.",
        layer, head, direction, number(mean["ap"], 2), number(mean["ig_joint"], 2),
        means_over(results, results.heads["pair"]),
        layer, partner, number(partners[partner], 2), named_pairs(results, own["pair"]),
    )  # fmt: skip


def _composed(results: Results) -> Fragment:
    """On how many of the pairs composed for it each target comes first, and the atlas in a sum."""
    said = []
    for one in results.generated:
        if one.validation is None or "rank" not in one.validation:
            continue
        known: pd.Series = one.validation["rank"].dropna()
        if len(known):
            first = int((known == 1).sum())
            said.append(fill("<b>{}</b> on {} of {}", one.name, first, len(known)))
    parts: list[Any] = []
    if said:
        parts.append(
            fill(
                'Of the pairs that were <a href="#generated">composed</a> for it, patched anew, '
                "the target comes first of all heads: {}.",
                join(said, "; "),
            )
        )
    if results.atlas is not None and not results.atlas.empty:
        parts.append(
            fill(
                'In the <a href="#atlas">atlas</a> {} of {} heads have a {} pair on which they '
                "come first.",
                int(atlas_class(results.atlas).isin(OWN_A_PAIR).sum()),
                len(results.atlas),
                word("fluent", "fluent"),
            )
        )
    return join(parts, " ")
