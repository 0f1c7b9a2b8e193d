"""The numbers about IG joint and AP in every pair, as they are: all pairs at once.

What `statistics.disagreement` computes of one pair under many resamples of its heads, here of many
pairs without resamples; a test holds one against the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoint.statistics import coefficients
from counterpoint.statistics.pair_coefficients import (
    AT_ONCE,
    centred_ranks,
    masked_ranks,
    product_moment,
    scaled,
)
from counterpoint.statistics.panel import MOVEMENT, Panel
from counterpoint.statistics.resampled_coefficients import MINIMUM_HEADS
from counterpoint.statistics.stability import rank_positions

DISAGREEING_SHARE = 0.1
"""The heads that disagree most: this share of those above the floor, in each pair."""

SATURATED = 0.1
"""A path is saturated when at least this share of it is flat. Any change of direction makes the
gradient small for some hundredths of the path, which is no plateau."""

SIGNS = (
    "excess_range",
    "non_monotonicity",
    "saturation",
    "gradient_range",
    "total_variation",
    MOVEMENT,
    "abs_ap",
    "company",
    "bend_in_company",
)
"""Columns tried as a sign of disagreement. |IG joint| is not: the disagreement is made from it."""

DISAGREEMENT = "abs_disagreement"
USED = (*SIGNS, DISAGREEMENT, "ap", "ig_joint", "ig_own", "abs_ig_joint")
RANKED = ("excess_range", "non_monotonicity", "saturation", MOVEMENT, "abs_ap", DISAGREEMENT)

NUMBERS = (
    "concordance",
    "pearson",
    "sign_agreement",
    "relative_difference",
    "returning_given_effect",
    "returning_given_movement",
    "returning",
    "auc_gain_over_effect",
    "auc_gain_over_movement",
    "auc_gain_of_company",
    "auc_gain_of_bend_in_company",
    *(f"auc_{name}" for name in SIGNS),
    "saturation_given_movement",
    "saturation",
    "relative_error_gap",
)
"""What is computed in each pair."""


@dataclass(frozen=True)
class PairDisagreement:
    """`NUMBERS` of the pairs of one direction, ordered by pair; NaN where they do not exist."""

    pairs: Int[np.ndarray, " pair"]
    values: Float[np.ndarray, "pair number"]
    kept: Int[np.ndarray, " pair"]
    """Heads that take part."""

    @classmethod
    def of(cls, data: Panel, keep: Bool[np.ndarray, "pair head"]) -> PairDisagreement:
        """Those of the pairs of ``data`` over the heads ``keep``, which have all `USED` columns."""
        count = keep.sum(axis=1)
        values = np.full((len(data.pairs), len(NUMBERS)), np.nan)
        places = np.flatnonzero(count >= MINIMUM_HEADS)
        for start in range(0, len(places), AT_ONCE):
            some = places[start : start + AT_ONCE]
            columns = {name: data.columns[name][some] for name in USED}
            found = _in_pairs(columns, keep[some])
            values[some] = np.stack([found[name] for name in NUMBERS], axis=1)
        return cls(data.pairs, values, count)


def largest(
    values: Float[np.ndarray, "pair head"], keep: Bool[np.ndarray, "pair head"] | None = None
) -> Bool[np.ndarray, "pair head"]:
    """In each pair the tenth of the (kept) heads with the largest values, at least one."""
    if keep is None:
        keep = np.ones(values.shape, dtype=bool)
    count = np.maximum(1, np.round(DISAGREEING_SHARE * keep.sum(axis=1)))
    ranks = rank_positions(np.where(keep, values, -np.inf))
    return np.asarray(keep & (ranks <= count[:, None]))


def relative(
    disagreement: Float[np.ndarray, " *head"], size: Float[np.ndarray, " *head"]
) -> Float[np.ndarray, " *head"]:
    """The disagreement over a size; two scores of zero agree wholly."""
    return np.divide(disagreement, size, out=np.zeros_like(size), where=size > 0)


def _in_pairs(
    values: dict[str, Float[np.ndarray, "pair head"]], keep: Bool[np.ndarray, "pair head"]
) -> dict[str, Float[np.ndarray, " pair"]]:
    n = keep.sum(axis=1)
    whole = np.zeros(keep.shape[1], dtype=int)
    columns = np.stack([values[name] for name in RANKED], axis=1)
    both = np.concatenate([columns, columns], axis=1)
    matrix = product_moment(centred_ranks(both, keep), keep, whole, len(RANKED))

    def rho(first: str, second: str) -> Float[np.ndarray, " pair"]:
        return matrix[:, RANKED.index(first), RANKED.index(second)]

    def given(first: str, covariate: str) -> Float[np.ndarray, " pair"]:
        return coefficients.partial(
            rho(first, DISAGREEMENT), rho(first, covariate), rho(DISAGREEMENT, covariate)
        )

    ap, ig, disagreement = values["ap"], values["ig_joint"], values[DISAGREEMENT]
    positive = largest(disagreement, keep)
    n_positive = positive.sum(axis=1)
    ranks = masked_ranks(np.stack([values[name] for name in SIGNS], axis=1), keep)
    wins = (ranks * positive[:, None]).sum(axis=2).T - n_positive * (n_positive + 1) / 2
    auc = dict(zip(SIGNS, wins / (n_positive * (n - n_positive)), strict=True))
    share = relative(disagreement, np.abs(ap) + np.abs(ig))
    of_larger = relative(disagreement, np.maximum(np.abs(ap), np.abs(ig)))
    saturated = values["saturation"] >= SATURATED
    alike = (np.sign(ap) == np.sign(ig)) & keep
    two = scaled(np.stack([ap, ig], axis=1), keep)
    return {
        "concordance": _concordance(ig, ap, keep),
        "pearson": product_moment(two, keep, whole, 1)[:, 0, 0],
        "sign_agreement": alike.sum(axis=1) / n,
        "relative_difference": np.nanmedian(np.where(keep, of_larger, np.nan), axis=1),
        "returning_given_effect": given("excess_range", "abs_ap"),
        "returning_given_movement": given("non_monotonicity", MOVEMENT),
        "returning": rho("excess_range", DISAGREEMENT),
        "auc_gain_over_effect": auc["excess_range"] - auc["abs_ap"],
        "auc_gain_over_movement": auc["excess_range"] - auc[MOVEMENT],
        "auc_gain_of_company": auc["bend_in_company"] - auc["gradient_range"],
        "auc_gain_of_bend_in_company": auc["bend_in_company"] - auc[MOVEMENT],
        **{f"auc_{name}": auc[name] for name in SIGNS},
        "saturation_given_movement": given("saturation", MOVEMENT),
        "saturation": rho("saturation", DISAGREEMENT),
        "relative_error_gap": _mean(share, keep & saturated) - _mean(share, keep & ~saturated),
    }


def _mean(
    values: Float[np.ndarray, "pair head"], of: Bool[np.ndarray, "pair head"]
) -> Float[np.ndarray, " pair"]:
    """The mean over some heads; NaN where there are none."""
    total, count = np.where(of, values, 0.0).sum(axis=1), of.sum(axis=1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _concordance(
    x: Float[np.ndarray, "pair head"],
    y: Float[np.ndarray, "pair head"],
    keep: Bool[np.ndarray, "pair head"],
) -> Float[np.ndarray, " pair"]:
    """Lin's concordance, as `disagreement.concordance`; NaN where nothing varies or differs."""
    n = keep.sum(axis=1)
    mean_x, mean_y = _mean(x, keep), _mean(y, keep)
    x, y = (np.where(keep, one - mean[:, None], 0.0) for one, mean in ((x, mean_x), (y, mean_y)))
    covariance = (x * y).sum(axis=1) / n
    variances = (x * x + y * y).sum(axis=1) / n
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * covariance / (variances + (mean_x - mean_y) ** 2)
