"""Why IG joint and AP disagree, and which score is faithful."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from counterpoint.figures.faithfulness_figures import faithfulness_curves
from counterpoint.figures.interaction_figures import interaction_sums
from counterpoint.glossary.metric_words import NO_SLOPE
from counterpoint.report.html import (
    Fragment,
    folded,
    heading,
    join,
    note,
    number,
    paragraph,
    small,
    table,
    word,
)
from counterpoint.report.section_parts import SHOWN_ROWS, drawn_here
from counterpoint.report.study_results import Results
from counterpoint.statistics.interaction_partners import by_head, own_path_errors

SHOWN_PARTNERS = 3
"""Partners named for each head that disagrees."""


def reasons(results: Results) -> Fragment:
    """Return why IG joint and AP disagree and which score is faithful, where it was measured."""
    parts: list[Any] = []
    if results.interaction is not None and not results.interaction.empty:
        parts.append(_interactions(results, results.interaction))
    elif results.interaction is not None and not results.heads["head"].any():
        parts.append(
            note(
                "Every head is alone in its layer, so no other moves along: IG joint is IG on the "
                "own path, which is AP."
            )
        )
    faithful = with_an_order(results)
    if faithful is not None and not faithful.empty:
        parts += [
            heading("faithfulness", "Faithfulness of the scores"),
            paragraph(
                word("faithfulness", "Faithfulness"),
                " of the heads that each score puts first. ",
                NO_SLOPE if results.words.flat(results.directions) else "",
            ),
            drawn_here(
                results,
                "faithfulness",
                partial(faithfulness_curves, faithful),
                "Share of the metric's change recovered against the number of heads patched.",
                "Share of the metric's change recovered by the first k heads by each score, mean "
                "over pairs.",
            ),
        ]
    return join(parts)


def _interactions(results: Results, table_of: pd.DataFrame) -> Fragment:
    """Return with whom the heads interact on which IG joint and AP differ most."""
    keys = ["direction", "layer", "head"]
    sums = (
        table_of.assign(disagreement=table_of["ig_joint"] - table_of["ap"])
        .groupby(["pair", *keys], sort=False)
        .agg(
            ap=("ap", "first"),
            ig_joint=("ig_joint", "first"),
            disagreement=("disagreement", "first"),
            interaction=("interaction", "sum"),
            remainder=("remainder", "first"),
        )
        .reset_index()
    )
    rows = []
    for (direction, layer, head), own in sums.groupby(keys, sort=False):
        same = (table_of["direction"] == direction) & (table_of["layer"] == layer)
        mine = table_of[same & (table_of["head"] == head)]
        by_partner = mine.groupby("partner")["interaction"].mean()
        first = by_partner.sort_values(key=abs, ascending=False).head(SHOWN_PARTNERS)
        partners = [f"{layer}.{other} ({number(value, 2)})" for other, value in first.items()]
        means = own[["ap", "ig_joint", "disagreement", "interaction", "remainder"]].mean()
        rows.append(
            (
                abs(float(means["disagreement"])) * len(own),
                [
                    f"{layer}.{head}",
                    direction,
                    len(own),
                    *[number(value, 3) for value in means],
                    ", ".join(partners),
                ],
            )
        )
    rows.sort(key=lambda row: -row[0])
    header = [
        "head", "direction", "pairs", word("ap", "AP"), word("ig-joint"), word("disagreement"),
        "with single partners", "remainder", "strongest partners (mean)",
    ]  # fmt: skip
    listing = [cells for _, cells in rows]
    heads_alone = by_head(table_of)
    missed = own_path_errors(heads_alone, results.heads)[0].max()
    accounted, cases = int(heads_alone["accounted"].sum()), heads_alone["accounted"].count()
    return join(
        [
            heading("interaction", "Why IG and AP disagree"),
            paragraph(
                "On its own path a head's integrated gradients are its AP, so every ",
                word("disagreement"),
                " comes from heads of the same layer that move along. Here it is split, for the "
                "heads on which it is largest, over single partners that move with the head; the "
                "remainder needs three or more heads at once. Single partners account for more "
                f"than half of it in {accounted} of {cases} cases (a head on a pair, in "
                "a direction). In all of them the head's own path, integrated once more, gives AP "
                f"to within {small(missed)}.",
            ),
            drawn_here(
                results,
                "interaction",
                partial(interaction_sums, sums),
                "Disagreement against the sum of the interactions with single partners.",
                "One mark per pair and head. On the dotted line single partners explain all of the "
                "disagreement.",
            ),
            table(header, listing[:SHOWN_ROWS], text=(0, 1, 8)),
            folded(f"{len(listing) - SHOWN_ROWS} more", table(header, listing[SHOWN_ROWS:],
                   text=(0, 1, 8))) if len(listing) > SHOWN_ROWS else "",
        ]
    )  # fmt: skip


def with_an_order(results: Results) -> pd.DataFrame | None:
    """Return the table of faithfulness without scores that lie below the floor on every head.

    What the first heads by such a score recover is what an order of rounding errors recovers.
    """
    table_of = results.faithfulness
    if table_of is None or table_of.empty:
        return table_of
    scores = [name for name in dict.fromkeys(table_of["score"]) if name in results.heads]
    largest = results.heads[scores].abs().groupby(results.heads["direction"]).max()
    nothing = {
        (direction, score)
        for direction in largest.index
        for score in scores
        if largest.loc[direction, score] < results.floor
    }
    keys = zip(table_of["direction"], table_of["score"], strict=True)
    return table_of[[key not in nothing for key in keys]]
