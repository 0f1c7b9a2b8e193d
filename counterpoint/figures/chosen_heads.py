"""Which heads are shown: their means over the pairs, their order, the choice of curves."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from counterpoint.statistics.panel import MOVEMENT, at_floor, check_kind, value
from counterpoint.statistics.resampling import Settings

Head = tuple[int, int]

FLOOR = Settings.floor
"""Movement of a curve, in units of the metric, below which a head is marked as rounding."""

NEEDS = {
    "abs_ap": {"ap"},
    "abs_ig_joint": {"ig_joint"},
    "disagreement": {"ap", "ig_joint"},
    "abs_disagreement": {"ap", "ig_joint"},
}
"""What is derived from the table of heads, and the columns that each takes."""


def mean_over_pairs(heads: pd.DataFrame, floor: float = 0.0) -> pd.DataFrame:
    """Return one row per direction, layer and head: every measure's mean over the pairs.

    ``heads`` is a table like heads.parquet; of its measures any may be missing. Added columns, as
    far as it has what they take: ``abs_ap``, ``abs_ig_joint``, ``disagreement``,
    ``abs_disagreement``; absolute values are taken pair by pair, so that effects of opposite sign
    do not cancel. ``at_floor`` marks heads whose curves move by less than ``floor``, or than
    rounding, on the mean; none without the column ``output_range_closed``. Columns without numbers,
    such as the name of a model, are left out. Raises UserError for what is no table of heads.
    """
    check_kind(heads)
    keys = ["direction", "layer", "head"]
    derived = [name for name, needed in NEEDS.items() if needed <= set(heads.columns)]
    table = heads.assign(**{name: value(heads, name) for name in derived})
    numbers = table.select_dtypes(["number", "bool"]).columns
    columns = numbers.difference([*keys, "pair"], sort=False)
    means = table.groupby(keys, sort=False, observed=True)[list(columns)].mean().reset_index()
    return means.assign(at_floor=at_floor(means, floor) if MOVEMENT in means else False)


def rank_heads(heads: pd.DataFrame) -> pd.DataFrame:
    """Return heads ordered by their mean |AP| over pairs and directions, greatest first.

    Columns: ``layer, head, abs_ap, excess_range`` (means over pairs and directions; the last one
    where the table has it).
    """
    table = mean_over_pairs(heads)
    if "abs_ap" not in table:
        value(heads, "ap")
    columns = [name for name in ("abs_ap", "excess_range") if name in table]
    means = table.groupby(["layer", "head"])[columns].mean()
    return means.reset_index().sort_values("abs_ap", ascending=False, ignore_index=True)


def choose_heads(
    heads: pd.DataFrame, count: int, configured: Sequence[Head] = ()
) -> list[tuple[int, int, str]]:
    """Choose the heads whose curves are shown, each with the reason.

    ``count`` heads by mean |AP|, then half as many (at least one) by excess range, then those
    the user configured; no head twice.
    """
    ranked = rank_heads(heads)
    crooked = ranked[ranked["excess_range"] > 0].sort_values("excess_range", ascending=False)
    chosen = dict.fromkeys(head_names(ranked.head(count)), "large |AP|")
    fresh = [name for name in head_names(crooked) if name not in chosen]
    chosen |= dict.fromkeys(fresh[: max(1, count // 2)], "large excess range")
    for layer, head in configured:
        chosen.setdefault((int(layer), int(head)), "configured")
    return [(layer, head, reason) for (layer, head), reason in chosen.items()]


def head_names(table: pd.DataFrame) -> list[Head]:
    """Return (layer, head) of every row of a table."""
    return [(int(layer), int(head)) for layer, head in table[["layer", "head"]].to_numpy()]
