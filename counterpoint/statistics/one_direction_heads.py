"""Heads that matter in one direction only: `one_direction_heads.csv`.

Noising asks whether the clean run needs the head, denoising whether the head alone brings the
answer back. Where heads do one job together, the two differ (Heimersheim & Nanda 2024, arXiv
2404.15255). If all of them are needed (*and*), taking one away breaks the answer and putting one
back does not mend it: the head matters in noising only. If any of them suffices (*or*), taking one
away is made up for and putting one back is enough: it matters in denoising only.

A head's part is its AP as a share of the whole difference between the prompts, with the sign that a
carrier of the answer has positive in both directions: −AP normalised in noising, AP normalised in
denoising. A head among the first k of a direction is named as of that direction *only* when its
part there is at least `TIMES` its part in the other, in the means over pairs, and the interval of
the difference of the two sizes over pairs leaves no room for 0.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoint.statistics import resampling
from counterpoint.statistics.panel import directions, panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.stability import rank_positions
from counterpoint.statistics.templates import clusters_of

TIMES = 3.0
"""How many times the part in one direction is that in the other, at least."""

BOTH = ("noising", "denoising")

COLUMNS = (
    "layer",
    "head",
    "noising",
    "denoising",
    "difference",
    "ci_low",
    "ci_high",
    "matters_in",
    "pairs",
)


def one_direction_heads(heads: pd.DataFrame, *, settings: Settings | None = None) -> pd.DataFrame:
    """One row per head among the first k by |AP| in either direction, largest difference first.

    Columns: layer, head, noising and denoising (the parts, means over pairs), difference (of their
    sizes, noising − denoising) with its interval, matters_in (noising, denoising, both), pairs. No
    rows where a study has one direction.
    """
    settings = resampling.checked(settings)
    if not set(BOTH) <= set(directions(heads)):
        return pd.DataFrame(columns=list(COLUMNS))
    data = [panel(heads, direction, ["ap", "ap_normalised"], settings.floor) for direction in BOTH]
    part = [
        sign * one.columns["ap_normalised"] for sign, one in zip((-1.0, 1.0), data, strict=True)
    ]
    # Sizes of the means, and their differences under each drawing of the same pairs in both.
    usable = np.isfinite(part[0]).all(axis=1) & np.isfinite(part[1]).all(axis=1)
    n_pairs = int(usable.sum())
    if n_pairs == 0:
        return pd.DataFrame(columns=list(COLUMNS))
    mean = [one[usable].mean(axis=0) for one in part]
    size = [np.abs(one) for one in mean]
    sign = [np.where(one < 0, -1.0, 1.0) for one in mean]
    # To first order in the draws, the size of a mean is the mean of the signed parts.
    apart = sign[0] * part[0][usable] - sign[1] * part[1][usable]
    clusters = clusters_of(data[0], settings)[usable]
    drawn = resampling.draws(
        resampling.generator(settings.seed, "both directions", "pairs"),
        settings.bootstrap_samples,
        n_pairs,
        clusters,
    )
    interval = resampling.study_interval(apart, None, drawn, settings.confidence, clusters=clusters)
    first = [
        rank_positions(np.abs(one.columns["ap"]).mean(axis=0)[None])[0] <= settings.top_k
        for one in data
    ]
    sure = (interval.low > 0) | (interval.high < 0)
    only_noising = first[0] & sure & (size[0] >= TIMES * size[1])
    only_denoising = first[1] & sure & (size[1] >= TIMES * size[0])
    table = pd.DataFrame(
        {
            "layer": data[0].layers,
            "head": data[0].heads,
            "noising": mean[0],
            "denoising": mean[1],
            "difference": interval.estimate,
            "ci_low": interval.low,
            "ci_high": interval.high,
            "matters_in": np.select(
                [only_noising, only_denoising], ["noising", "denoising"], "both"
            ),
            "pairs": n_pairs,
        }
    )
    table = table[first[0] | first[1]]
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)
