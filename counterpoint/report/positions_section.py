"""The section on positions: where in the prompt layers and heads act."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.figures.position_curve_figures import (
    NAMED_POSITIONS,
    farthest,
    position_curves,
)
from counterpoint.figures.position_curve_figures import SHOWN_HEADS as CURVES_SHOWN
from counterpoint.figures.position_figures import (
    TITLES,
    WHOLE,
    head_position_maps,
    position_maps,
)
from counterpoint.report.html import (
    Fragment,
    fill,
    folded,
    heading,
    interval,
    join,
    note,
    number,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import (
    capital,
    drawn_here,
    listed,
    means_over,
    named_pairs,
    percent,
)
from counterpoint.report.study_results import Results
from counterpoint.statistics.panel import directions
from counterpoint.statistics.position_sums import position_sums, span_effects, spans_in_order
from counterpoint.statistics.resampling import Settings

Unit = tuple[int, int]
"""Layer and head, −1 for a whole component."""


def positions(results: Results) -> Fragment:
    """Return the section on positions, empty when the study has none."""
    found = results.positions
    if found is None or found.empty:
        traced = _curves(results)
        return join([heading("positions", "Where in the prompt"), *traced] if traced else [])
    pair, n_pairs = int(found["pair"].min()), found["pair"].nunique()
    whole = [name for name in WHOLE if (found["component"] == name).any()]
    heads = _shown_heads(results, found)
    several = len(directions(found)) > 1
    drawn = []
    if whole:
        drawn.append(
            drawn_here(
                results,
                "positions",
                partial(position_maps, found),
                f"Heat maps, layer by position, of AP of {listed([TITLES[n] for n in whole])}, of "
                f"pair {pair}.",
                f"Pair {pair}. {'Rows of maps are directions. ' if several else ''}Columns are the "
                "tokens of the background prompt from the first that differs on (· is a space); "
                "the residual stream is replaced before the layer, at layer 0 as the embeddings. "
                "Colours go with the root of the value, blue above 0 and red below, each map on "
                "its own scale.",
            )
        )
    if heads:
        drawn.append(
            drawn_here(
                results,
                "positions_of_heads",
                partial(head_position_maps, found, heads),
                f"Heat maps, head by position, of AP of {len(heads)} heads, of pair {pair}.",
                f"Pair {pair}, by position: the heads of largest |AP| "
                f"({means_over(results, found['pair'])}).",
            )
        )
    return join(
        [
            heading("positions", "Where in the prompt: AP by position"),
            paragraph(
                "Here an output is replaced at one ",
                word("position"),
                " alone, by what it is there on the other prompt. Before the first token that "
                "differs nothing can change. What the sum over positions leaves of AP is the ",
                word("position-interaction"),
                ".",
            ),
            *drawn,
            *_by_span(results, found, heads, n_pairs),
            *_curves(results),
        ]
    )


def _curves(results: Results) -> list[Fragment]:
    """The curves at single positions of the heads that move farthest, and those configured."""
    traced = results.position_curves
    if traced is None or not (traced["component"] == "head").any():
        return []
    pair, direction = int(traced["pair"].min()), directions(traced)[0]
    rows = traced[(traced["pair"] == pair) & (traced["direction"] == direction)]
    heads = farthest(rows, CURVES_SHOWN)
    there = set(zip(rows["layer"], rows["head"], strict=True))
    named = [(int(layer), int(head)) for layer, head in results.settings["report"]["heads"]]
    heads += [each for each in named if each in there and each not in heads]
    metric = results.settings["metric"]
    return [
        fill('<h3 id="positions-curves">{}</h3>', "Curves at single positions"),
        paragraph(
            "The ",
            word("output-curve"),
            " of a head while one position of its output alone is on its way; at its end stands AP "
            "at the position.",
        ),
        drawn_here(
            results,
            "position_curves",
            partial(
                position_curves,
                traced,
                results.baseline,
                heads,
                pair=pair,
                direction=direction,
                metric=metric,
            ),
            f"Curves of {len(heads)} heads at single positions, of pair {pair}, {direction}.",
            f"Pair {pair}, {direction}: f(α) − f(0), one line for each position from the first "
            f"that differs on; the {NAMED_POSITIONS} that move farthest are named by number and "
            "token (· is a space).",
        ),
    ]


def _shown_heads(results: Results, found: pd.DataFrame) -> list[Unit]:
    """The heads of largest mean |AP|, as many as are shown elsewhere, and those configured."""
    report = results.settings.get("report", {})
    units = _largest(found[found["component"] == "head"], int(report.get("heads_shown", 6)))
    there = set(zip(found["layer"], found["head"], strict=True))
    named = [(int(layer), int(head)) for layer, head in report.get("heads", [])]
    return [*units, *(each for each in named if each in there and each not in units)]


def _largest(rows: pd.DataFrame, count: int) -> list[Unit]:
    """The units of one component of largest mean |joint AP|."""
    if rows.empty:
        return []
    units = rows.drop_duplicates(["pair", "direction", "layer", "head"])
    size = units.assign(size=units["ap_joint"].abs()).groupby(["layer", "head"])["size"].mean()
    first = size.sort_values(ascending=False, kind="stable").head(count)
    return [(int(layer), int(head)) for layer, head in first.index]


def _by_span(
    results: Results, found: pd.DataFrame, heads: list[Unit], n_pairs: int
) -> list[Fragment]:
    """The tables of AP by span: the main direction, the others folded."""
    settings = Settings(**results.settings.get("statistics", {}))
    chosen = {"head": heads} | {
        name: _layers(found[found["component"] == name], name, max(len(heads), 6)) for name in WHOLE
    }
    keys = pd.MultiIndex.from_tuples(
        [(name, *unit) for name, units in chosen.items() for unit in units]
    )
    rows = found[pd.MultiIndex.from_frame(found[["component", "layer", "head"]]).isin(keys)]
    effects, sums = span_effects(rows, settings), position_sums(rows)
    spans = spans_in_order(rows)
    which = named_pairs(results, found["pair"])
    remark = (
        f"AP in {results.words.unit}, summed over the positions of each span, "
        f"{means_over(results, found['pair'])}"
    ) + (
        f"; in brackets the {percent(settings.confidence)} interval "
        "over pairs, widened for their small number."
        if n_pairs > 1
        else "."
    )
    parts = []
    for place, direction in enumerate(directions(found)):
        caption = f"{capital(direction)}. {remark}"
        shown = _table(effects, sums, chosen, spans, direction, which, caption)
        parts.append(shown if place == 0 else folded(f"The same in {direction}", shown))
    largest = _largest_interaction(position_sums(found), directions(found)[0], which)
    return [
        fill('<h3 id="positions-spans">{}</h3>', "By span"),
        paragraph(
            "Positions of different prompts are compared by ",
            word("span"),
            f": {listed([name for name in spans if name])}. Spans and what is elsewhere add up to "
            "the sum over positions; the last column is that sum − AP of all positions at once.",
        ),
        *parts,
        note(largest) if largest else Fragment(""),
    ]


def _layers(rows: pd.DataFrame, name: str, count: int) -> list[Unit]:
    """The layers that are listed: those of largest |AP|, lowest first; of the residual stream,
    which replaced as a whole moves the same at every layer, some over the whole depth."""
    if name == "residual" and not rows.empty:
        depth = int(rows["layer"].max())
        return [(int(layer), -1) for layer in np.unique(np.linspace(0, depth, count).round())]
    return sorted(_largest(rows, count))


def _table(
    effects: pd.DataFrame,
    sums: pd.DataFrame,
    chosen: dict[str, list[Unit]],
    spans: list[str],
    direction: str,
    which: str,
    caption: str,
) -> Fragment:
    of_span = {
        (row["component"], row["layer"], row["head"], row["span"]): row
        for row in effects[effects["direction"] == direction].to_dict("records")
    }
    grouped = sums[sums["direction"] == direction].groupby(["component", "layer", "head"])
    means = grouped[["ap_sum", "ap_joint", "interaction"]].mean().to_dict("index")
    header: list[Any] = ["output of"]
    header += [name or "elsewhere" for name in spans]
    header += ["sum", fill("{}, {}", word("ap", "AP"), which)]
    header += [word("position-interaction", "interaction")]
    lines = []
    for component, units in chosen.items():
        for layer, head in units:
            name = f"head {layer}.{head}" if head >= 0 else f"{TITLES[component]} {layer}"
            cells: list[Any] = [name]
            for span in spans:
                row = of_span.get((component, layer, head, span))
                cells.append(
                    number(None)
                    if row is None
                    else interval(row["ap"], row["ci_low"], row["ci_high"])
                )
            mean = means[component, layer, head]
            cells += [number(mean[key], 2) for key in ("ap_sum", "ap_joint", "interaction")]
            lines.append(cells)
    return table(header, lines, caption=caption)


def _largest_interaction(sums: pd.DataFrame, direction: str, which: str) -> str:
    """A sentence on how far AP of positions adds up, over all heads."""
    rows = sums[(sums["direction"] == direction) & (sums["component"] == "head")]
    if rows.empty:
        return ""
    size = rows["interaction"].abs().mean()
    joint = rows["ap_joint"].abs().mean()
    shares = f", {100 * size / joint:.0f} % of their mean |AP|" if joint > 0 else ""
    return (
        f"Over all heads ({direction}, {which}) the interaction over positions is "
        f"{number(size, 4)} on average in size{shares}."
    )
