"""Methods of searching side by side: medians, ranges, and how often one beats another.

The runs (`search_outcomes`) are one row per target head, method and seed. What a method
reached on a head is its median over the seeds; it *beats* another method there when its LD change
under the cap is greater, and a draw is no win. Runs that found nothing under a cap count with LD
change 0; what would be asked of a pair (evenness, rank, …) is missing for them, and ``count`` says
for how many runs it is known.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from counterpoint.counterfactuals.language.perplexity_caps import CAPS, FLUENT
from counterpoint.counterfactuals.pair_quality import (
    GOOD_CHANGE,
    GOOD_MARGIN,
    LEAST_CHANGE,
    edit_transfers,
    quality,
    success_level,
)

DECISIVE = f"ld_change_cap_{FLUENT}"
"""The measure by which methods beat each other."""

DRAW = 1e-4
"""LD change by which two methods may differ and still draw: the same pair, run on another
processor."""

_OF_A_PAIR = (
    "ld_change",
    "evenness",
    "changed_tokens",
    "rank",
    "reciprocal_rank",
    "margin",
    "ig_rank",
    "transfer_first_five",
    "round_trip",
)

MEASURES = (
    *(f"ld_change_cap_{name}" for name in CAPS),
    "hypervolume",
    "evaluations",
    "seconds",
    "pairs",
    *(f"{which}_{name}" for which in ("best", "chosen") for name in _OF_A_PAIR),
)

COLUMNS = (
    "scope",
    "method",
    "against",
    "layer",
    "head",
    "measure",
    "median",
    "smallest",
    "largest",
    "count",
    "of",
)
"""Columns of `methods.csv`.

* ``scope`` "method": a measure over all runs of a method; ``count`` of ``of`` runs have it.
* "head": the same over the seeds of one head.
* "wins": the difference of two methods' medians, head by head; ``count`` is the number of heads,
  of ``of``, on which ``method`` beats ``against``.
"""


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """The table `methods.csv` of the runs `methods.parquet`."""
    methods = list(dict.fromkeys(runs["method"]))
    rows = []
    for method in methods:
        own = runs[runs["method"] == method]
        rows += [_spread(own, measure, scope="method", method=method) for measure in MEASURES]
    for (layer, head), of_head in runs.groupby(["layer", "head"], sort=False):
        for method in methods:
            own = of_head[of_head["method"] == method]
            rows += [
                _spread(own, measure, scope="head", method=method, layer=layer, head=head)
                for measure in MEASURES
                if len(own)
            ]
    medians = medians_by_head(runs, DECISIVE)
    rows += [_wins(medians, *two) for two in itertools.permutations(methods, 2)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(("layer", "head", "count", "of"), "Int64"))


def medians_by_head(runs: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The median over seeds: a row per head (layer, head), a column per method, in their order."""
    table = runs.pivot_table(
        index=["layer", "head"], columns="method", values=measure, aggfunc="median", sort=False
    )
    return table.reindex(columns=list(dict.fromkeys(runs["method"])))


def _spread(runs: pd.DataFrame, measure: str, **where: object) -> dict[str, object]:
    values = runs[measure].dropna()
    return {
        **where,
        "measure": measure,
        "median": values.median(),
        "smallest": values.min(),
        "largest": values.max(),
        "count": len(values),
        "of": len(runs),
    }


def _wins(medians: pd.DataFrame, method: str, against: str) -> dict[str, object]:
    difference = (medians[method] - medians[against]).dropna()
    return {
        "scope": "wins",
        "method": method,
        "against": against,
        "measure": DECISIVE,
        "median": difference.median(),
        "smallest": difference.min(),
        "largest": difference.max(),
        "count": int((difference > DRAW).sum()),
        "of": len(difference),
    }


def best_runs(runs: pd.DataFrame, method: str) -> pd.DataFrame:
    """For each head the run of ``method`` whose chosen pair is worth most to it: by its level
    (`pair_quality.success_level`), then by whether its edit works in half of the fresh contexts,
    then by its `quality`."""
    own = runs[runs["method"] == method]
    change, margin = (own[f"chosen_{name}"].to_numpy(float) for name in ("ld_change", "margin"))
    order = own.assign(
        level=success_level(change, margin),
        elsewhere=_transfers(own),
        worth=quality(change, margin),
    ).sort_values(["level", "elsewhere", "worth"], ascending=False, kind="stable")
    return order.drop_duplicates(["layer", "head"]).sort_values(["layer", "head"])


def _transfers(runs: pd.DataFrame) -> pd.Series:
    """Whether the edit works in half of the contexts; False where it was not tried."""
    found: pd.Series = edit_transfers(
        runs["chosen_transfer_first_five"], runs["chosen_transfer_contexts"]
    )
    return found


# Tables for people

_SHOWN = {
    "ld_change_cap_0": "LD change, cap + 0",
    "ld_change_cap_0_5": "+ 0.5 nat",
    "ld_change_cap_1": "+ 1 nat",
    "hypervolume": "hypervolume",
    "best_evenness": "evenness",
    "best_changed_tokens": "changed tokens",
    "best_rank": "rank by AP",
    "best_margin": "margin",
    "chosen_ig_rank": "rank by IG",
    "evaluations": "evaluations",
    "seconds": "seconds",
}
_WHOLE = ("evaluations", "seconds")


def as_markdown(summary: pd.DataFrame) -> str:
    """The summary `methods.csv` as three tables, in Markdown: methods, heads, wins."""
    methods = list(dict.fromkeys(summary["method"]))
    wins = summary[summary["scope"] == "wins"]
    of_methods = {
        (row["method"], row["measure"]): row
        for row in summary[summary["scope"] == "method"].to_dict("records")
    }
    of_heads = {
        (int(row["layer"]), int(row["head"]), row["method"], row["measure"]): row
        for row in summary[summary["scope"] == "head"].to_dict("records")
    }
    heads = list(dict.fromkeys((layer, head) for layer, head, *_ in of_heads))
    seeds = max(int(row["of"]) for row in of_heads.values())

    measures = [name for name in _SHOWN if any(of_methods[one, name]["count"] for one in methods)]
    over_methods = _table(
        ["method", *(_SHOWN[name] for name in measures), "heads first by AP", "round trip"],
        [
            [
                f"`{method}`",
                *(_cell(of_methods[method, name], name in _WHOLE) for name in measures),
                f"{_first(of_heads, heads, method)} of {len(heads)}",
                _all_or_not(of_methods[method, "best_round_trip"]),
            ]
            for method in methods
        ],
    )
    over_heads = _table(
        ["head", *(f"`{method}`" for method in methods)],
        [
            [f"{layer}.{head}"]
            + [_cell(of_heads[layer, head, method, DECISIVE]) for method in methods]
            for layer, head in heads
        ],
    )
    counts = wins.set_index(["method", "against"])["count"]
    over_pairs = _table(
        ["beats, on so many heads", *(f"`{method}`" for method in methods)],
        [
            [f"`{method}`"]
            + ["" if other == method else str(counts[method, other]) for other in methods]
            for method in methods
        ],
    )
    return "\n\n".join(
        [
            f"Over all runs ({len(heads)} heads, {seeds} seeds): the median and, in brackets, the "
            "range. Evenness, changed tokens, rank and margin are those of each run's best pair "
            "under the cap + 0.5 nat, the rank by IG that of its chosen one; a head counts as "
            "first where the median of its ranks is 1.",
            over_methods,
            "LD change under the cap + 0.5 nat, by head: median and range over the seeds.",
            over_heads,
            f"On how many of {len(heads)} heads the method of a row has the greater median LD "
            "change, under the cap + 0.5 nat, than that of a column.",
            over_pairs,
        ]
    )


def best_runs_as_markdown(runs: pd.DataFrame, method: str) -> str:
    """`best_runs` in words and as a table, in Markdown, with the pairs themselves."""
    best = best_runs(runs, method)
    heads, seeds = len(best), runs["seed"].nunique()
    first, changed, ahead = ((best["level"] >= level).sum() for level in (1, 2, 3))
    by_ig = best["chosen_ig_rank"] == 1
    half = _transfers(best)
    table = _table(
        [
            *("head", "seed", "LD change", "rank by AP", "margin", "second", "rank by IG"),
            *("first five in", "clean", "corrupted", "answers"),
        ],
        [
            [
                f"{row['layer']}.{row['head']}",
                str(row["seed"]),
                *(
                    _of(row[f"chosen_{name}"])
                    for name in ("ld_change", "rank", "margin", "second", "ig_rank")
                ),
                f"{_of(row['chosen_transfer_first_five'])} of "
                f"{_of(row['chosen_transfer_contexts'])}",
                *(_as_code(row[f"chosen_{name}"]) for name in ("clean", "corrupted")),
                " ".join(_as_code(row[f"chosen_{name}"]) for name in ("correct", "incorrect")),
            ]
            for row in best.to_dict("records")
        ],
    )
    return "\n\n".join(
        [
            f"What `{method}` reached on each head: of {seeds} searches the one whose chosen pair "
            f"(under the cap + 0.5 nat) is worth most. Of {heads} heads the target is first by "
            f"exact |AP| among all heads on {first} with an LD change of at least "
            f"{LEAST_CHANGE:g} and on {changed} with at least {GOOD_CHANGE:g}, by "
            f"{GOOD_MARGIN:g} times the second or more on {ahead}; first by IG joint on "
            f"{int(by_ig.sum())}; in the first five in at least half of the fresh contexts on "
            f"{int(half.sum())}. The numbers are from fresh runs of batch 1.",
            table,
        ]
    )


def _of(value: Any) -> str:
    """A number or text of a run; a dash where it is missing."""
    if value is None or pd.isna(value):
        return "–"
    return value if isinstance(value, str) else _number(float(value), whole=False)


def _as_code(text: Any) -> str:
    """A prompt within a table: bars and line breaks escaped, quoted by more ticks than it has."""
    if text is None or pd.isna(text):
        return "–"
    shown = str(text).replace("\n", "⏎").replace("|", "\\|")
    ticks = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{ticks} {shown} {ticks}" if "`" in shown else f"{ticks}{shown}{ticks}"


def _first(
    of_heads: Mapping[Any, Mapping[Any, Any]], heads: Sequence[tuple[int, int]], method: str
) -> int:
    """On how many heads the target is first on the best pair, by the median of its ranks."""
    return sum(of_heads[(*head, method, "best_rank")]["median"] == 1 for head in heads)


def _cell(row: Mapping[Any, Any], whole: bool = False) -> str:
    if not row["count"]:
        return "–"
    numbers = [_number(row[name], whole) for name in ("median", "smallest", "largest")]
    missing = "" if row["count"] == row["of"] else f"; {row['count']} of {row['of']}"
    return f"{numbers[0]} ({numbers[1]} … {numbers[2]}{missing})"


def _number(value: float, whole: bool) -> str:
    if math.isinf(value):
        return "∞"
    text = f"{value:.0f}" if whole or float(value).is_integer() else f"{value:.2f}"
    return text.replace("-", "−")


def _all_or_not(row: Mapping[Any, Any]) -> str:
    if not row["count"]:
        return "–"
    return f"all {row['count']}" if row["smallest"] == 1 else "not all"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
