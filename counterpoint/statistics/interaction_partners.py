"""Interaction partners over pairs: how far single ones explain IG joint − AP.

`measures.interaction` defines and computes interactions. Their table (`tables.interaction_table`)
has, for the heads with the largest |IG joint − AP| of each pair and direction, one row per partner:
pair, direction, layer, head, ap, ig_own, ig_joint, partner, interaction, remainder. The
interactions with all partners and the remainder, which needs three heads or more at once, add up to
IG joint − AP.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from counterpoint.statistics import resampling
from counterpoint.statistics.disagreement import Estimate, identity, worst
from counterpoint.statistics.means_over_pairs import MeansOverPairs
from counterpoint.statistics.panel import template_names, value
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.templates import drawn_whole, labels

PREFIX = "partners_"
"""Begins the name of every number that needs the table."""

HALF = 0.5
"""Single partners account for a disagreement when the remainder is below this share of it."""

_STEP = 1 / 32
"""The largest weight of the 128 Gauss-Legendre nodes is 1/81; of one jump each side half of it, and
jumps of unequal sign do not cancel in it."""

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


@dataclass(frozen=True)
class PartnerSums:
    """What partners explain in each pair of one direction, and the worst row of the identity."""

    of_pairs: pd.DataFrame
    """By pair: `accounted` and `strongest`, means over its heads, and `heads`, their number."""
    identity: Estimate

    @classmethod
    def of(
        cls, interaction: pd.DataFrame, direction: str, heads: pd.DataFrame | None = None
    ) -> PartnerSums:
        """Those of the pairs of a table of interactions.

        ``heads`` says what jumps, rounding and curves left unresolved do to the identity.
        """
        table = by_head(interaction)
        table = table[table["direction"] == direction]
        groups = table.groupby("pair")
        of_pairs = groups[["accounted", "strongest"]].mean().assign(heads=groups.size())
        error, allowed = own_path_errors(table, heads)
        return cls(of_pairs, identity(error, allowed, len(groups)))

    def plus(self, other: PartnerSums) -> PartnerSums:
        """Those of the pairs of both."""
        of_pairs = pd.concat([self.of_pairs, other.of_pairs]).sort_index()
        return PartnerSums(of_pairs, worst(self.identity, other.identity))


def numbers_over_pairs(
    interaction: pd.DataFrame, direction: str, settings: Settings, heads: pd.DataFrame | None = None
) -> dict[str, Estimate]:
    """The numbers about one direction, each the mean of the pairs' own; intervals draw pairs."""
    sums = PartnerSums.of(interaction, direction, heads)
    return numbers_of(sums, direction, None if heads is None else template_names(heads), settings)


def numbers_of(
    sums: PartnerSums, direction: str, templates: pd.Series | None, settings: Settings
) -> dict[str, Estimate]:
    """The same from what is known of each pair and the templates of the pairs."""
    of_pairs = sums.of_pairs
    together = labels(drawn_whole(templates, settings), of_pairs.index.to_numpy())
    n = int(of_pairs["heads"].sum())
    account, strongest = (
        _over_pairs(of_pairs[name].to_numpy(float), n, direction, together, settings)
        for name in ("accounted", "strongest")
    )
    return {
        f"{PREFIX}own_path_error": sums.identity,
        f"{PREFIX}account": account,
        f"{PREFIX}strongest": strongest,
    }


def own_path_errors(
    table: pd.DataFrame, heads: pd.DataFrame | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """|IG own + jumps − AP| of each row of `by_head`, and how far that may be from 0.

    The path is integrated at fixed nodes, which see a jump only as finely as they lie: each side
    of it may be given up to half a node's weight, `_STEP` of how far the curve moves.
    """
    if heads is None:
        error = (table["ig_own"] - table["ap"]).abs().to_numpy(float)
        return error, np.zeros(len(error))
    known = heads[HEAD].assign(
        jumps=value(heads, "jumps"),
        jump_total=value(heads, "jump_total").fillna(0.0),
        moves=heads.get("total_variation", 0.0),
        allowed=value(heads, "own_path_allowed"),
    )
    both = table[[*HEAD, "ap", "ig_own"]].merge(known, on=HEAD, how="left")
    missed = (both["ig_own"] + both["jump_total"].fillna(0.0) - both["ap"]).abs()
    between_nodes = (_STEP * both["moves"]).where(both["jumps"] > 0, 0.0)
    allowed = both["allowed"].fillna(0.0) + between_nodes
    return missed.to_numpy(float), allowed.to_numpy(float)


def _over_pairs(
    values: np.ndarray, n: int, direction: str, together: np.ndarray, settings: Settings
) -> Estimate:
    known = np.isfinite(values)
    values, together = values[known], together[known]
    if not len(values):
        return Estimate(np.nan)
    random = resampling.generator(settings.seed, direction, "pairs")
    means = MeansOverPairs.of_labels(values, together, settings)
    drawn = means.draws(random, settings.bootstrap_samples)
    interval = means.interval(None, drawn, settings.confidence, (0.0, 1.0))
    return Estimate.of(interval, np.nan, n, len(values))
