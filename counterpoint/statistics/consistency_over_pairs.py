"""How steady heads are from pair to pair, and which of them an estimate misses.

A mean over pairs may come from one of them. `pair_by_pair` counts, for each head, the pairs on
which it is among the first and those on which its AP has the sign of the mean. `estimates_of_first`
holds an estimate of AP (AtP, IG joint) against AP for the first heads, in the means over pairs: it
*misses* a head when it is off by more than `HALF` of the head's AP and the interval of the
difference over pairs leaves no room for 0 (with one pair there is no interval, and the size alone
counts).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoint.statistics import resampling
from counterpoint.statistics.panel import MOVEMENT, directions, panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.stability import rank_positions
from counterpoint.statistics.templates import clusters_of

FIRST = 5
"""The first so many heads of a pair."""

HALF = 0.5
"""An estimate that is off by more than this share of AP misses the head."""


def pair_by_pair(heads: pd.DataFrame, *, first: int = FIRST) -> pd.DataFrame:
    """On how many pairs each head is among the first, and on how many it has its sign.

    One row per direction, layer and head. Columns: those, ``among_first`` (pairs on which the head
    is one of the ``first`` heads of largest |AP|), ``same_sign`` (pairs on which its AP has the
    sign of its mean over pairs) and ``pairs``. Raises UserError for what is no table of heads.
    """
    parts = []
    for direction in directions(heads):
        data = panel(_movement(heads), direction, ["ap"])
        ap = data.columns["ap"]
        same = np.sign(ap) == np.sign(resampling.mean_over_pairs(ap))
        parts.append(
            pd.DataFrame(
                {
                    "direction": direction,
                    "layer": data.layers,
                    "head": data.heads,
                    "among_first": (rank_positions(np.abs(ap)) <= first).sum(axis=0),
                    "same_sign": same.sum(axis=0),
                    "pairs": len(data.pairs),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def estimates_of_first(
    heads: pd.DataFrame, score: str, *, settings: Settings | None = None
) -> pd.DataFrame:
    """An estimate of AP beside AP, for the first ``top_k`` heads of each direction.

    ``score`` is a column of ``heads`` in the unit of AP. Heads whose mean |AP| is below the floor
    are left out. Columns: direction, layer, head, ``ap`` and ``score`` (means over pairs),
    ``difference`` (score − AP) with its interval ``ci_low``, ``ci_high``, ``misses`` and ``pairs``;
    in each direction the largest difference stands first. Raises MissingColumn without the score.
    """
    settings = resampling.checked(settings)
    parts = []
    for direction in directions(heads):
        data = panel(_movement(heads), direction, ["ap", score])
        ap, estimate = data.columns["ap"], data.columns[score]
        clusters = clusters_of(data, settings)
        drawn = resampling.draws(
            resampling.generator(settings.seed, direction, "pairs"),
            settings.bootstrap_samples,
            len(data.pairs),
            clusters,
        )
        gap = resampling.study_interval(
            estimate - ap, None, drawn, settings.confidence, clusters=clusters
        )
        mean = resampling.mean_over_pairs(ap)
        size = resampling.mean_over_pairs(np.abs(ap))
        first = (rank_positions(size[None])[0] <= settings.top_k) & (size >= settings.floor)
        unsure = (gap.low <= 0) & (gap.high >= 0)
        parts.append(
            pd.DataFrame(
                {
                    "direction": direction,
                    "layer": data.layers,
                    "head": data.heads,
                    "ap": mean,
                    "score": resampling.mean_over_pairs(estimate),
                    "difference": gap.estimate,
                    "ci_low": gap.low,
                    "ci_high": gap.high,
                    "misses": (np.abs(gap.estimate) > HALF * np.abs(mean)) & ~unsure,
                    "pairs": len(data.pairs),
                }
            )[first].sort_values("difference", key=np.abs, ascending=False, kind="stable")
        )
    return pd.concat(parts, ignore_index=True)


def _movement(heads: pd.DataFrame) -> pd.DataFrame:
    # What is at the floor is not asked of single rows here, so a table with AP alone will do.
    return heads if MOVEMENT in heads else heads.assign(**{MOVEMENT: np.inf})
