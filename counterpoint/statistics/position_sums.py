"""AP by position, summed: over all positions, and over the positions of each span.

The sum over positions less AP of all positions at once is the *interaction over positions*. Within
a span AP is summed over its positions on each pair, so that spans (and what is in none) add up to
the sum over positions, and then averaged over the pairs that have the span. Intervals are those of
`resampling`, over pairs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoint.statistics.resampling import Settings, checked, draws, generator, study_interval

UNIT = ["direction", "component", "layer", "head"]

SUM_COLUMNS = ("pair", *UNIT, "ap_sum", "ap_joint", "interaction")
SPAN_COLUMNS = (*UNIT, "span", "pairs", "ap", "ci_low", "ci_high")


def position_sums(positions: pd.DataFrame) -> pd.DataFrame:
    """The sum of AP over positions, AP of all at once and the interaction over positions.

    ``positions`` is a table like positions.parquet; one row per pair, direction, component, layer
    and head, in its order.
    """
    grouped = positions.groupby(["pair", *UNIT], sort=False, observed=True)
    found = grouped.agg(ap_sum=("ap", "sum"), ap_joint=("ap_joint", "first")).reset_index()
    found["interaction"] = found["ap_sum"] - found["ap_joint"]
    return found[list(SUM_COLUMNS)]


def span_effects(positions: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """AP summed over the positions of each span, mean over pairs with its interval.

    One row per direction, component, layer, head and span; spans stand in the order in which they
    stand in the prompts, and positions in no span have the name "". ``pairs`` is the number of
    pairs that have the span. With one pair there is no interval.
    """
    settings = checked(settings)
    keys = ["pair", *UNIT, "span"]
    sums = positions.groupby(keys, sort=False, observed=True)["ap"].sum().reset_index()
    parts = []
    for span in spans_in_order(positions):
        rows = sums[sums["span"] == span]
        table = rows.pivot_table(index="pair", columns=UNIT, values="ap", sort=False)
        values = table.to_numpy(float)
        random = generator(settings.seed, "spans", span)
        drawn = draws(random, settings.bootstrap_samples, len(values))
        found = study_interval(values, None, drawn, settings.confidence)
        part = table.columns.to_frame(index=False)
        parts.append(
            part.assign(
                span=span,
                pairs=np.isfinite(values).sum(axis=0),
                ap=found.estimate,
                ci_low=found.low,
                ci_high=found.high,
            )
        )
    if not parts:
        return pd.DataFrame(columns=list(SPAN_COLUMNS))
    return pd.concat(parts, ignore_index=True)[list(SPAN_COLUMNS)]


def spans_in_order(positions: pd.DataFrame) -> list[str]:
    """The names of spans by their mean distance from the end of the prompt, "" last."""
    # The prompts of a pair, and so its directions, may be of unequal length.
    places = positions[["pair", "direction", "position", "span"]].drop_duplicates()
    last = places.groupby(["pair", "direction"])["position"].transform("max")
    mean = (places["position"] - last).groupby(places["span"]).mean()
    names = [str(name) for name in mean.sort_values(kind="stable").index]
    return [*(name for name in names if name), *(name for name in names if not name)]
