"""How far single partners explain IG joint − AP: numbers from the table of interactions.

The table (`counterpoint.scoring.interaction`) has, for the heads with the largest |IG joint − AP|
of each pair and direction, one row per partner: pair, direction, layer, head, ap, ig_own, ig_joint,
partner, interaction, remainder. The interactions with all partners and the remainder, which needs
three heads or more at once, add up to IG joint − AP.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoint import resampling
from counterpoint.disagreement import Found
from counterpoint.resampling import Settings

PREFIX = "partners_"
"""Begins the name of every number that needs the table."""

HALF = 0.5
"""Single partners account for a disagreement when the remainder is below this share of it."""

HEAD = ["pair", "direction", "layer", "head"]
NEEDED = (*HEAD, "ap", "ig_own", "ig_joint", "partner", "interaction", "remainder")


def by_head(interaction: pd.DataFrame) -> pd.DataFrame:
    """One row per pair, direction and head.

    Columns: those of the head, `disagreement` (IG joint − AP), `partners` (the sum of the
    interactions), `remainder`, `accounted` (1 where the remainder is below half of the
    disagreement, else 0; NaN without a disagreement), and `strongest`, the largest |interaction|
    over the sum of all |interactions| (1: a single partner does it all). Raises KeyError for a
    missing column and ValueError for a row that appears twice.
    """
    missing = [name for name in NEEDED if name not in interaction.columns]
    if missing:
        raise KeyError(f"the table of interactions lacks {missing}; it has {list(interaction)}")
    if interaction.duplicated([*HEAD, "partner"]).any():
        raise ValueError("the table of interactions has two rows for one head and partner")
    size = interaction["interaction"].abs()
    groups = interaction.assign(size=size).groupby(HEAD, sort=False)
    table = groups[["ap", "ig_own", "ig_joint", "remainder"]].first()
    table["disagreement"] = table["ig_joint"] - table["ap"]
    table["partners"] = groups["interaction"].sum()
    size_of = table["disagreement"].abs()
    accounted = (table["remainder"].abs() < HALF * size_of).astype(float)
    # Where nothing disagrees, nothing is to be accounted for.
    table["accounted"] = accounted.where(size_of > 0)
    total = groups["size"].sum()
    table["strongest"] = groups["size"].max() / total.where(total > 0)
    return table.reset_index()


def numbers_over_pairs(
    interaction: pd.DataFrame, direction: str, settings: Settings
) -> dict[str, Found]:
    """The numbers about one direction, each the mean of the pairs' own; intervals draw pairs."""
    table = by_head(interaction)
    table = table[table["direction"] == direction]
    groups = table.groupby("pair")
    error = (table["ig_own"] - table["ap"]).abs()
    return {
        f"{PREFIX}own_path_error": Found(
            float(error.max()) if len(error) else np.nan, n=len(table), pairs=len(groups)
        ),
        f"{PREFIX}account": _over_pairs(
            groups["accounted"].mean().to_numpy(float), len(table), direction, settings
        ),
        f"{PREFIX}strongest": _over_pairs(
            groups["strongest"].mean().to_numpy(float), len(table), direction, settings
        ),
    }


def _over_pairs(values: np.ndarray, n: int, direction: str, settings: Settings) -> Found:
    values = values[np.isfinite(values)]
    if not len(values):
        return Found(np.nan)
    random = resampling.generator(settings.seed, direction, "pairs")
    drawn = resampling.draws(random, settings.bootstrap_samples, len(values))
    interval = resampling.study_interval(values, None, drawn, settings.confidence, (0.0, 1.0))
    return Found.of(interval, np.nan, n, len(values))
