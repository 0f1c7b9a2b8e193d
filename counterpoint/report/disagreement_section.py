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
    fill,
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
from counterpoint.report.section_parts import (
    SHOWN_ROWS,
    drawn_here,
    has_several_pairs,
    means_over,
    named_pairs,
)
from counterpoint.report.study_results import Results
from counterpoint.statistics.interaction_partners import by_head, own_path_errors

SHOWN_PARTNERS = 3
"""Partners named for each head that disagrees."""

KEYS = ["direction", "layer", "head"]


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
    sums = (
        table_of.assign(disagreement=table_of["ig_joint"] - table_of["ap"])
        .groupby(["pair", *KEYS], sort=False)
        .agg(
            disagreement=("disagreement", "first"),
            interaction=("interaction", "sum"),
            remainder=("remainder", "first"),
        )
        .reset_index()
    )
    chosen = int(sums.groupby(["pair", "direction"]).size().max())
    heads_alone = by_head(table_of)
    missed = own_path_errors(heads_alone, results.heads)[0].max()
    accounted, cases = int(heads_alone["accounted"].sum()), heads_alone["accounted"].count()
    header, rows = _split(results, table_of, sums)
    caption = (
        f"AP, IG joint and IG joint − AP: {means_over(results, results.heads['pair'])}, as "
        "everywhere on this page. The columns after “looked at on” are over those pairs alone"
        + (
            ", which were taken because the difference is large on them, so that they are no fair "
            "sample of the pairs"
            if has_several_pairs(results)
            else ""
        )
        + ". The order of rows is by the size of IG joint − AP over all pairs."
    )
    listing = partial(table, header, text=(0, 1, 9))
    return join(
        [
            heading("interaction", "Why IG and AP disagree"),
            paragraph(
                "On its own path a head's integrated gradients are its AP, so every ",
                word("disagreement"),
                " comes from heads of the same layer that move along. On each pair and in each "
                f"direction the {'heads' if chosen > 1 else 'head'} of largest |IG joint − AP| "
                f"({chosen}) {'were' if chosen > 1 else 'was'} looked at: the difference is split "
                "over single partners that move with the head; the remainder needs three or more "
                "heads at once. Single partners account for more than half of it in "
                f"{accounted} of {cases} cases (a head on a pair, in a direction). In all of them "
                "the head's own path, integrated once more, gives AP to within "
                f"{small(missed)}.",
            ),
            drawn_here(
                results,
                "interaction",
                partial(interaction_sums, sums),
                "Disagreement against the sum of the interactions with single partners.",
                "One mark for each pair and head that were looked at. On the dotted line single "
                "partners explain all of the disagreement.",
            ),
            listing(rows[:SHOWN_ROWS], caption=caption),
            folded(f"{len(rows) - SHOWN_ROWS} more", listing(rows[SHOWN_ROWS:], caption=caption))
            if len(rows) > SHOWN_ROWS
            else "",
        ]
    )


def _split(
    results: Results, table_of: pd.DataFrame, sums: pd.DataFrame
) -> tuple[list[Any], list[list[Any]]]:
    """The table of heads that were looked at: AP and IG joint over all pairs, then the split."""
    every = named_pairs(results, results.heads["pair"])
    header = [
        "head", "direction",
        fill("{}, {}", word("ap", "AP"), every), fill("{}, {}", word("ig-joint"), every),
        fill("{}, {}", word("disagreement", "IG joint − AP"), every),
        "looked at on", "IG joint − AP, on these", "with single partners, on these",
        "remainder, on these", "strongest partners, on these",
    ]  # fmt: skip
    n_pairs = results.heads["pair"].nunique()
    rows = []
    grouped: Any = sums.groupby(KEYS, sort=False)
    for (direction, layer, head), own in grouped:
        same = (table_of["direction"] == direction) & (table_of["layer"] == layer)
        mine = table_of[same & (table_of["head"] == head)]
        by_partner = mine.groupby("partner")["interaction"].mean()
        first = by_partner.sort_values(key=abs, ascending=False).head(SHOWN_PARTNERS)
        partners = [
            fill('<span class="whole">{}.{} ({})</span>', layer, other, number(value, 2))
            for other, value in first.items()
        ]
        means = results.means[direction, int(layer), int(head)]
        on_these = own[["disagreement", "interaction", "remainder"]].mean()
        rows.append(
            (
                -abs(means["disagreement"]),
                [
                    f"{layer}.{head}",
                    direction,
                    *[number(means[name], 3) for name in ("ap", "ig_joint", "disagreement")],
                    f"{len(own)} of {n_pairs}",
                    *[number(value, 3) for value in on_these],
                    join(partners, ", "),
                ],
            )
        )
    return header, [cells for _, cells in sorted(rows, key=lambda row: row[0])]


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
