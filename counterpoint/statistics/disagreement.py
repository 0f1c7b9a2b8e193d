"""How far IG joint and AP agree over heads, and which columns go with their disagreement.

Every number is computed in each pair over the heads above the floor of rounding, and averaged over
pairs; intervals and p-values as in `statistics.resampling`. The identities are taken over all
rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from counterpoint.statistics import coefficients, resampling
from counterpoint.statistics.claim_verdicts import IDENTITY_TOLERANCE
from counterpoint.statistics.drawn_coefficients import spearman_matrix
from counterpoint.statistics.means_over_pairs import DrawnPairs, HeadDraws, MeansOverPairs
from counterpoint.statistics.pair_disagreement import (
    DISAGREEMENT,
    NUMBERS,
    RANKED,
    SATURATED,
    SIGNS,
    USED,
    PairDisagreement,
    largest,
    relative,
)
from counterpoint.statistics.panel import MOVEMENT, Panel
from counterpoint.statistics.resampled_coefficients import (
    MINIMUM_HEADS,
    Resamples,
    null_coefficients,
    with_estimate,
)
from counterpoint.statistics.resampling import Interval, RunningMean, Settings

IDENTITIES = ("own_path_error", "own_path_allowed")


@dataclass(frozen=True)
class Estimate:
    """A number with its interval and p-value; NaN for what it lacks. `n` counts rows."""

    estimate: float
    low: float = np.nan
    high: float = np.nan
    p_value: float = np.nan
    n: int = 0
    pairs: int = 0
    allowed: float = np.nan
    """Of an identity: what rounding allows, where that is more than its rule does."""

    @classmethod
    def of(cls, interval: Interval, p_value: float, n: int, pairs: int) -> Estimate:
        """The number that a scalar interval is about."""
        return cls(
            float(interval.estimate), float(interval.low), float(interval.high), p_value, n, pairs
        )


@dataclass(frozen=True)
class DisagreementSums:
    """What the numbers of one direction are made of, whatever the number of pairs."""

    means: MeansOverPairs
    """Of `NUMBERS`, over all pairs."""
    heads: Int[np.ndarray, " number"]
    """Heads that take part, over the pairs in which the number exists."""
    identities: dict[str, Estimate]
    """The worst rows."""
    sample: Panel
    """The pairs on which heads are drawn and shuffled (`statistics.sampled_pairs`)."""

    @classmethod
    def of(
        cls, data: Panel, sample: Panel, drawn: DrawnPairs, settings: Settings
    ) -> DisagreementSums:
        """Those of a panel that holds some of the pairs; ``sample`` holds the sampled ones."""
        found = PairDisagreement.of(data, _kept(data, settings))
        return cls(
            drawn.sums(found.pairs, found.values, settings),
            (found.kept[:, None] * np.isfinite(found.values)).sum(axis=0),
            identities(data),
            sample,
        )

    def plus(self, other: DisagreementSums) -> DisagreementSums:
        """Those of the pairs of both, which have the same sample."""
        return DisagreementSums(
            self.means.plus(other.means),
            self.heads + other.heads,
            {name: worst(one, other.identities[name]) for name, one in self.identities.items()},
            self.sample,
        )


def _kept(data: Panel, settings: Settings) -> Bool[np.ndarray, "pair head"]:
    """The heads that take part: above the floor, with every column that is used."""
    keep = np.ones_like(data.at_floor) if settings.include_floor else ~data.at_floor
    known: Bool[np.ndarray, "pair head"] = np.all(
        [np.isfinite(data.columns[name]) for name in USED], axis=0
    )
    return keep & known


@dataclass
class _Sampled:
    """A number over the sampled pairs: as it is, under resampled heads, and under shuffled ones."""

    estimates: list[float] = field(default_factory=list)
    draws: RunningMean = field(default_factory=RunningMean)
    null: Float[np.ndarray, " permutation"] | None = None
    """Summed over pairs: memory must not grow with their number."""

    def add(
        self,
        number: Float[np.ndarray, " sample"],
        null: Float[np.ndarray, " permutation"] | None,
    ) -> None:
        """Count in a pair, whose number stands first and then its draws."""
        self.estimates.append(float(number[0]))
        self.draws.add(number[1:], number[0])
        if null is not None:
            self.null = null if self.null is None else self.null + null


def numbers_over_heads(given: DisagreementSums, settings: Settings) -> dict[str, Estimate]:
    """Every number about one direction that needs the table of heads alone, by its name."""
    found = dict(given.identities)
    data = given.sample
    resamples = Resamples.of(data, settings)
    numbers: dict[str, _Sampled] = {}
    for pair, kept in enumerate(_kept(data, settings)):
        if kept.sum() < MINIMUM_HEADS:
            continue
        values = {name: data.columns[name][pair, kept] for name in USED}
        weights = with_estimate(resamples.heads[:, kept])
        shuffles = resampling.restricted(resamples.shuffles, kept)
        nulls = _null_in_pair(values, shuffles)
        for name, number in _in_pair(values, weights).items():
            entry = numbers.setdefault(name, _Sampled())
            if not np.isnan(number[0]):
                entry.add(number, nulls.get(name))
    # Numbers that as many clusters have are resampled alike.
    drawn: dict[int, Float[np.ndarray, "sample unit"]] = {}
    for name, entry in numbers.items():
        column = NUMBERS.index(name)
        own = given.means.at(column)
        if len(own.total) not in drawn:
            random = resampling.generator(settings.seed, data.direction, "pairs")
            drawn[len(own.total)] = own.draws(random, settings.bootstrap_samples)
        n = int(given.heads[column])
        found[name] = _averaged(name, own, entry, n, drawn[len(own.total)], settings)
    return found


def identities(data: Panel) -> dict[str, Estimate]:
    """The identities, over all rows: being small is no excuse for missing one."""
    error, allowed = data.columns["own_path_error"], data.columns["own_path_allowed"]
    shortfall = data.columns["abs_ap"] - data.columns[MOVEMENT]
    returning = largest(np.nan_to_num(data.columns["excess_range"]))
    return {
        "own_path_error": identity(error.ravel(), allowed.ravel(), len(data.pairs)),
        # A missing value must not pass for a kept identity: the maximum is then NaN.
        "range_shortfall": Estimate(
            float(np.maximum(shortfall, 0.0).max()), n=shortfall.size, pairs=len(data.pairs)
        ),
        "own_path_error_of_returning": identity(
            error[returning], allowed[returning], len(data.pairs)
        ),
    }


def worst(one: Estimate, other: Estimate) -> Estimate:
    """The worse of two rows that miss the same identity, over the rows and pairs of both."""
    if not one.n or not other.n:
        return one if one.n else other
    both = one, other
    errors, bounds = (
        np.array([getattr(part, name) for part in both]) for name in ("estimate", "allowed")
    )
    # Without bounds of its own an identity is missed by most where the error is largest.
    place = int(np.argmax(errors / np.where(np.isnan(bounds), 1.0, bounds)))
    return replace(both[place], n=one.n + other.n, pairs=one.pairs + other.pairs)


def identity(
    error: Float[np.ndarray, " row"], allowed: Float[np.ndarray, " row"], pairs: int
) -> Estimate:
    """The row that misses an identity by most, beside what is allowed it.

    That is `IDENTITY_TOLERANCE`, or what rounding of the row's number format makes of it. Where
    that is more, the row is judged by it; a missing value must not pass for a kept identity.
    """
    if not len(error):
        return Estimate(np.nan)
    bound = np.maximum(allowed, IDENTITY_TOLERANCE)
    worst = int(np.argmax(error / bound))
    return Estimate(float(error[worst]), n=len(error), pairs=pairs, allowed=float(bound[worst]))


def _in_pair(
    values: Mapping[str, Float[np.ndarray, " head"]], weights: Float[np.ndarray, "sample head"]
) -> dict[str, Float[np.ndarray, " sample"]]:
    """Each number of one pair under each weighting of its heads."""
    ap, ig, disagreement = values["ap"], values["ig_joint"], values[DISAGREEMENT]
    columns = np.stack([values[name] for name in RANKED])
    matrix = spearman_matrix(columns, weights)

    def rho(first: str, second: str) -> Float[np.ndarray, " sample"]:
        return matrix[:, RANKED.index(first), RANKED.index(second)]

    def given(first: str, covariate: str) -> Float[np.ndarray, " sample"]:
        return coefficients.partial(
            rho(first, DISAGREEMENT), rho(first, covariate), rho(DISAGREEMENT, covariate)
        )

    positive = largest(disagreement[None])[0]
    auc = {name: roc_area(values[name], positive, weights) for name in SIGNS}
    of_larger = relative(disagreement, np.maximum(np.abs(ap), np.abs(ig)))
    share = relative(disagreement, np.abs(ap) + np.abs(ig))
    saturated = values["saturation"] >= SATURATED
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        same_sign = weights @ (np.sign(ap) == np.sign(ig)).astype(float) / total
        gap = _weighted_mean(share, weights * saturated) - _weighted_mean(
            share, weights * ~saturated
        )
    return {
        "concordance": concordance(ig, ap, weights),
        "pearson": coefficients.coefficients("pearson", ap[None], ig[None], weights)[:, 0, 0],
        "sign_agreement": same_sign,
        "relative_difference": weighted_median(of_larger, weights),
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
        "relative_error_gap": gap,
    }


def _weighted_mean(
    values: Float[np.ndarray, " head"], weights: Float[np.ndarray, "sample head"]
) -> Float[np.ndarray, " sample"]:
    return weights @ values / weights.sum(axis=1)


def _null_in_pair(
    values: Mapping[str, Float[np.ndarray, " head"]], shuffles: Int[np.ndarray, "permutation head"]
) -> dict[str, Float[np.ndarray, " permutation"]]:
    """Numbers of one pair after each shuffle of |IG joint - AP| over the heads.

    For a partial correlation the residuals of the ranks are shuffled (Kennedy 1995). An area under
    the ROC curve is linear in the correlation of the ranks with the mark of the heads that
    disagree.
    """
    names = ("returning", "saturation", *(f"auc_{name}" for name in SIGNS))
    plain = np.stack([values["excess_range"], values["saturation"]])
    disagreement = values[DISAGREEMENT][None]
    null = null_coefficients("spearman", plain, disagreement, shuffles)[:, :, 0]
    positive = largest(values[DISAGREEMENT][None])[0]
    columns = stats.rankdata(np.stack([values[name] for name in SIGNS]), axis=1)
    n, n_positive = len(positive), int(positive.sum())
    correlation = null_coefficients("pearson", columns, positive.astype(float)[None], shuffles)[
        :, :, 0
    ]
    # sum of positive ranks = n_positive mean + r sd(ranks) sqrt(n_positive (n - n_positive))
    slope = columns.std(axis=1) / np.sqrt(n_positive * (n - n_positive))
    result = dict(zip(names, np.concatenate([null, correlation * slope], axis=1).T, strict=True))
    for name, column, covariate in (
        ("returning_given_effect", "excess_range", "abs_ap"),
        ("returning_given_movement", "non_monotonicity", MOVEMENT),
        ("saturation_given_movement", "saturation", MOVEMENT),
    ):
        first, second, given = coefficients.standardised(
            np.stack([values[column], values[DISAGREEMENT], values[covariate]]), True
        )
        residuals = [part - (part @ given) * given for part in (first, second)]
        result[name] = null_coefficients(
            "pearson", residuals[0][None], residuals[1][None], shuffles
        )[:, 0, 0]
    return result


def _averaged(
    name: str,
    means: MeansOverPairs,
    entry: _Sampled,
    n: int,
    drawn: Float[np.ndarray, "sample unit"],
    settings: Settings,
) -> Estimate:
    """The mean over pairs, with interval and p-value."""
    sampled_here = len(entry.estimates)
    if sampled_here == 0:
        return Estimate(np.nan)
    estimate = np.array(np.mean(entry.estimates))
    interval = means.interval(
        HeadDraws(estimate, entry.draws.value()),
        drawn,
        settings.confidence,
        bounds(name),
    )
    p = np.nan
    if entry.null is not None:
        chance = 0.5 if name.startswith("auc_") else 0.0
        p = float(resampling.permutation_p(estimate - chance, entry.null / sampled_here))
    return Estimate.of(interval, p, n, int(means.pairs))


def bounds(name: str) -> tuple[float, float]:
    """The ends of a quantity's own scale."""
    if name == "relative_difference":
        return 0.0, 2.0
    if name.startswith("faithfulness") and name != "faithfulness_without_saturation":
        return -np.inf, np.inf
    shares = name.startswith(("sign_agreement", "partners_")) or (
        name.startswith("auc_") and "gain" not in name
    )
    return (0.0, 1.0) if shares else (-1.0, 1.0)


def concordance(
    x: Float[np.ndarray, " head"],
    y: Float[np.ndarray, " head"],
    weights: Float[np.ndarray, "sample head"],
) -> Float[np.ndarray, " sample"]:
    """Lin's (1989, Biometrics 45, 255) concordance under each weighting.

    2 cov(x, y) / (var x + var y + (mean x - mean y)^2), variances divided by n.
    """
    # About the unweighted means, so that large offsets do not cancel; the offset comes back below.
    offset = x.mean() - y.mean()
    x, y = x - x.mean(), y - y.mean()
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = weights @ x / total, weights @ y / total
        covariance = weights @ (x * y) / total - mean_x * mean_y
        variances = weights @ (x * x + y * y) / total - mean_x**2 - mean_y**2
        return 2 * covariance / (variances + (mean_x - mean_y + offset) ** 2)


def roc_area(
    sign: Float[np.ndarray, " head"],
    positive: Bool[np.ndarray, " head"],
    weights: Float[np.ndarray, "sample head"],
) -> Float[np.ndarray, " sample"]:
    """Area under the ROC curve under each weighting: how often a positive head has the larger sign.

    Equal signs count half. NaN where no positive or no other head was drawn.
    """
    higher = np.sign(sign[:, None] - sign[None, :])[np.ix_(positive, ~positive)]
    first, second = weights[:, positive], weights[:, ~positive]
    wins = ((first @ higher) * second).sum(axis=1)
    comparisons = first.sum(axis=1) * second.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 0.5 + 0.5 * wins / comparisons


def weighted_median(
    values: Float[np.ndarray, " head"], weights: Float[np.ndarray, "sample head"]
) -> Float[np.ndarray, " sample"]:
    """The median under each weighting by whole numbers (two middle values are averaged)."""
    order = np.argsort(values)
    ordered = values[order]
    reached = np.cumsum(weights[:, order], axis=1)
    half = reached[:, -1:] / 2
    lower = ordered[(reached >= half).argmax(axis=1)]
    upper = ordered[(reached > half).argmax(axis=1)]
    return np.where(half[:, 0] > 0, (lower + upper) / 2, np.nan)
