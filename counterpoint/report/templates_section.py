"""How many pairs the first heads take, and how much of AP varies with the template."""

from __future__ import annotations

from functools import partial

import pandas as pd

from counterpoint.figures.chosen_heads import head_names, rank_heads
from counterpoint.figures.sample_size_figures import sample_size_curves
from counterpoint.figures.variance_figures import variance_shares
from counterpoint.report.html import (
    Fragment,
    fill,
    folded,
    heading,
    join,
    note,
    number,
    p_value,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import drawn_here, listed, named_pairs, reasons_of
from counterpoint.report.study_results import Results
from counterpoint.statistics.sample_sizes import ALL, ONE_TEMPLATE, PAIRS, REST, fewest
from counterpoint.statistics.templates import MINIMUM_TEMPLATES
from counterpoint.statistics.variance_components import BOTH

ENOUGH = 0.8
"""The share of the first k heads whose number of pairs is said in words."""

OF_BOTH = "(AP in denoising − AP in noising) ÷ 2"
"""What stands in the place of AP where both directions are taken together."""


def templates(results: Results) -> Fragment:
    """Return how many pairs the first heads take, and the variance components of AP."""
    parts = []
    if results.sample_sizes is not None and not results.sample_sizes.empty:
        parts.append(_sample_sizes(results, results.sample_sizes))
    if results.variance is not None and not results.variance.empty:
        parts.append(_variance(results, results.variance))
    return join(parts)


def _sample_sizes(results: Results, sizes: pd.DataFrame) -> Fragment:
    """Return the curve of how many of the first heads few pairs find."""
    title = heading("sample-sizes", "How many pairs do the first heads take?")
    known = sizes[sizes["overlap"].notna()]
    if known.empty:
        return join([title, note("Not defined: ", reasons_of(sizes), ".")])
    k, pairs = int(known["k"].iloc[0]), int(known["pairs"].max())
    said = []
    for direction, own in known.groupby("direction", sort=False):
        least = fewest(own, ENOUGH)
        text = f"In {direction} "
        text += (
            f"{least} pair{'s' if least > 1 else ''} find on average {ENOUGH * k:g} of the first "
            f"{k} heads by all {pairs}"
            if least is not None
            else f"no fewer than all {pairs} pairs find {ENOUGH * k:g} of the first {k} heads"
        )
        rest = own[(own["drawn_from"] == PAIRS) & (own["compared_with"] == REST)]
        if len(rest):
            row = rest.iloc[-1]
            text += (
                f"; {int(row['n'])} pairs and the {pairs - int(row['n'])} others share "
                f"{number(row['overlap'], 1)} of them (by chance {number(row['chance'], 1)})"
            )
        one = own[(own["drawn_from"] == ONE_TEMPLATE) & (own["compared_with"] == REST)]
        if len(one):
            row = one.iloc[-1]
            same = rest[rest["n"] <= row["n"]]
            text += (
                f"; {int(row['n'])} pairs of one template share {number(row['overlap'], 1)} with "
                "the pairs of the other templates"
            )
            if len(same):
                text += (
                    f", and {int(same['n'].iloc[-1])} pairs of any template "
                    f"{number(same['overlap'].iloc[-1], 1)} with those not drawn"
                )
        said.append(f"{text}.")
    rows = [
        [
            row["direction"],
            {PAIRS: "all pairs", ONE_TEMPLATE: "one template"}[row["drawn_from"]],
            {ALL: "all pairs", REST: "the rest"}[row["compared_with"]],
            int(row["n"]),
            number(row["overlap"], 2),
            f"{int(row['low'])} to {int(row['high'])}",
        ]
        for row in known.to_dict("records")
    ]
    header = ["direction", "drawn from", "compared with", "n", "heads shared", "middle of draws"]
    return join(
        [
            title,
            paragraph(" ".join(said)),
            drawn_here(
                results,
                "sample_sizes",
                partial(sample_size_curves, sizes),
                f"Heads of the first {k} that n pairs find, against n.",
                f"Heads that the first {k} by n pairs drawn at random share with the first {k} by "
                "all pairs (band: the middle of the draws, what one study of n pairs may meet) and "
                "by the pairs that were not drawn. The faint line: rankings in random order.",
            ),
            folded("The numbers", table(header, rows, text=(0, 1, 2))),
            note(
                "All pairs hold those that were drawn: near the right end the two are the same "
                "pairs. The other pairs share none with them."
            ),
        ]
    )


def _variance(results: Results, variance: pd.DataFrame) -> Fragment:
    """Return the variance components of AP."""
    title = heading("variance", "Of what does AP vary?")
    drawn = note(
        "Intervals over pairs (of heads' means, rankings, scores, correlations and claims) draw "
        f"{results.drawn}"
        + (
            ", each with all its pairs."
            if results.drawn == "templates"
            else f": templates are drawn where there are at least {MINIMUM_TEMPLATES}, and fewer "
            "than pairs."
            if results.statistic("resample", "auto") == "auto"
            else ", as the setting says."
        )
    )
    known = variance[variance["variance_template"].notna()]
    shares = []
    for direction, own in variance.groupby("direction", sort=False):
        sums = own[["variance_template", "variance_pair", "variance_rest"]].sum()
        total = float(sums.sum())
        if total <= 0:
            continue
        named = [
            f"{number(100 * sums[f'variance_{name}'] / total, 0)} % {words}"
            for name, words in (
                ("template", "from template to template"),
                ("pair", _pair_words(own)),
                ("rest", "between the two directions on one pair"),
            )
            if own[f"variance_{name}"].notna().any()
        ]
        where = "over both directions" if direction == BOTH else f"in {direction}"
        shares.append(f"{where} {listed(named)}")
    sentence = paragraph(
        "Of the ", word("variance-components", "variance of AP"), ", summed over all heads: ",
        "; ".join(shares), ".",
    ) if shares else ""  # fmt: skip
    if known.empty:
        why = reasons_of(variance[variance["variance_pair"].notna()]) or reasons_of(variance)
        return join([title, sentence, note("Not identified: ", why, "."), drawn])
    first = head_names(rank_heads(results.heads).head(int(results.statistic("top_k", 10))))
    by_head = {
        (row["direction"], int(row["layer"]), int(row["head"])): row
        for row in variance.to_dict("records")
    }
    which = _pairs_of(results, variance)
    rows = []
    for layer, head in first:
        for direction in dict.fromkeys(variance["direction"]):
            row = by_head[direction, layer, head]
            deviations = [row[f"variance_{name}"] ** 0.5 for name in ("template", "pair", "rest")]
            rows.append(
                [
                    f"{layer}.{head}",
                    f"both: {OF_BOTH}" if direction == BOTH else direction,
                    number(row["mean"], 3),
                    *[number(value, 3) for value in deviations],
                    number(row["share_template"], 2),
                    p_value(row["p_permutation"]),
                ]
            )
    header = [
        "head", "direction", fill("{}, {}", word("ap", "AP"), which),
        "between templates", "between pairs", "rest", "template's share", word("p-value", "p"),
    ]  # fmt: skip
    return join(
        [
            title,
            sentence,
            drawn_here(
                results,
                "variance",
                partial(variance_shares, variance),
                "Standard deviations of AP between templates, between pairs and the rest.",
                "Standard deviations of AP: between templates, between pairs of one template, and, "
                "where both directions are taken together, what a pair's two directions do not "
                "share. The heads that vary most.",
            ),
            folded(f"The first {len(first)} heads by |AP|", table(header, rows, text=(0, 1))),
            note(
                "After AP standard deviations, in units of the metric. In one direction the rest "
                "cannot be told from the pair. "
                f"{int(known['n_templates'].max())} templates: a share from so few is uncertain; "
                "p says whether templates differ at all."
            ),
            drawn,
        ]
    )


def _pairs_of(results: Results, variance: pd.DataFrame) -> str:
    """Which pairs the means are over: all, but for pairs on which a head has no AP."""
    every, used = results.heads["pair"].nunique(), int(variance["n_pairs"].min())
    if used == every:
        return named_pairs(results, results.heads["pair"])
    return f"{used} of {every} pairs"


def _pair_words(rows: pd.DataFrame) -> str:
    return (
        "from pair to pair of one template"
        if rows["variance_template"].notna().any()
        else "from pair to pair"
    )
