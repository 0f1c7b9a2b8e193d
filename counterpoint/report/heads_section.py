"""The heads of largest effect and the heat maps."""

from __future__ import annotations

from typing import Any

from counterpoint.figures.chosen_heads import head_names, rank_heads
from counterpoint.report.html import (
    Fragment,
    fill,
    folded,
    interval,
    join,
    number,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import (
    ap_by_head,
    capital,
    drawn,
    means_over,
    percent,
    ranks,
)
from counterpoint.report.study_results import Results


def heads(results: Results) -> Fragment:
    """Return the heads of largest effect: what signs say, figure, table with intervals."""
    confidence = float(results.statistic("confidence", 0.95))
    top_k = int(results.statistic("top_k", 10))
    ranked = rank_heads(results.heads).head(max(top_k, 10))
    n_pairs = results.heads["pair"].nunique()
    means = results.means
    header: list[Any] = [word("head", "head")]
    header += [fill("{}, {}", word("ap", "AP"), name) for name in results.directions]
    main = results.directions[0]
    header += [
        word("ap-normalised", "AP normalised"),
        word("ig-joint"), word("output-range"), word("gradient-range"), word("excess-range"),
        "rank by |AP|: median [best, worst]", "mean rank", f"in the top {top_k}, % of resamples",
    ]  # fmt: skip
    rows = []
    found = {direction: ap_by_head(results, direction) for direction in results.directions}
    for layer, head in head_names(ranked):
        cells: list[Any] = [f"{layer}.{head}"]
        for direction in results.directions:
            cells.append(interval(*found[direction][layer, head], digits=3))
        mean = means[main, layer, head]
        names = ("ap_normalised", "ig_joint", "output_range", "gradient_range", "excess_range")
        cells += [number(mean[name], 3) for name in names]
        place = results.places[layer, head]
        cells += [
            ranks(place),
            number(place["mean_rank"], 1),
            number(100 * place["top_k_share"], 0),
        ]
        rows.append(cells)
    below = results.below_floor
    alt = (
        f"Dot plot of AP for the {len(ranked)} heads of largest mean absolute AP; the first is "
        f"{rows[0][0]}."
    )
    remark = (
        f"{capital(means_over(results, results.heads['pair']))}; in brackets the "
        f"{percent(confidence)} interval over {results.drawn}, widened for their small number."
        if n_pairs > 1
        else "One pair, so no interval over pairs and no other ranking."
    )
    remark += (
        f" AP, IG joint and ranges are in {results.words.unit}. The columns after AP: {main}. A "
        "head's ranks on single pairs may be far apart: read the median and the range before the "
        "mean, which one bad rank can carry away."
    )
    return join(
        [
            paragraph(results.words.sign(results.directions)),
            drawn(
                results, "top_heads", alt,
                "AP of the strongest heads: small marks are pairs, large marks their mean, bars "
                f"the {percent(confidence)} interval of the mean over pairs."
                if n_pairs > 1
                else "AP of the strongest heads on the only pair.",
            ),
            table(header, rows, caption=remark),
            paragraph(
                fill(
                    "{} of {} heads lie below the {} (their curves move by less than {}, {}).",
                    len(below), results.n_heads, word("floor"),
                    f"{results.floor:g} {results.words.unit}", main,
                )
            ),
            folded("Heads below the floor", paragraph(", ".join(below))) if below else "",
        ]
    )  # fmt: skip


def heat_maps(results: Results) -> Fragment:
    """Return the heat maps: mean over pairs, and the first pair folded below."""
    pair = int(results.heads["pair"].min())
    marks = (
        f"{'Rows of maps are directions. ' if len(results.directions) > 1 else ''}"
        "Colours go with the root of the value, so that weak "
        "heads show too; AP and IG joint share one scale, blue above 0 and red below. "
        f"Framed: {_framed(results.n_heads)}. A dot marks a head below the floor of rounding "
        f"(its curve moves by less than {results.floor:g} {results.words.unit})."
    )
    what = "Heat maps, layer by head, of AP, IG joint, output range and gradient range"
    return join(
        [
            drawn(
                results, "heat_maps", f"{what}, means over the pairs.",
                f"Means over the pairs. {marks}",
            ),
            folded(
                f"The same for pair {pair} alone",
                drawn(
                    results, "heat_maps_first_pair", f"{what}, of pair {pair}.",
                    f"Pair {pair}. {marks}",
                ),
            ),
        ]
    )  # fmt: skip


def _framed(n_heads: int) -> str:
    """Which heads the maps frame."""
    return "the five heads of largest |AP|" if n_heads > 5 else "heads by |AP| (all of so few)"
