"""The three claims about the output curve, each with its numbers and its verdict: `claims.csv`.

What each claim is tested by stands in `claim_quantities`, the rule by which a number supports or
refutes it in `claim_verdicts`.

Every number but the identities is computed in each pair, over the heads above the floor of
rounding, and averaged over pairs; intervals and p-values as in `statistics.resampling`. The area
under the ROC curve asks how well a column tells the tenth of the heads with the largest
|IG joint - AP| from the others: 0.5 is chance, 1 perfect. Thresholds: `statistics.claim_verdicts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from counterpoint.glossary import label
from counterpoint.statistics import disagreement, interaction_partners, score_faithfulness
from counterpoint.statistics.claim_quantities import (
    DECISIVE,
    GAIN,
    OPTIONAL,
    OVERALL,
    QUANTITIES,
    STATEMENTS,
    TITLES,
    Quantity,
    closeness_quantity,
)
from counterpoint.statistics.claim_verdicts import DESCRIBED, SUPPORTED, UNDECIDED, combined
from counterpoint.statistics.disagreement import DisagreementSums, Estimate
from counterpoint.statistics.interaction_partners import PartnerSums
from counterpoint.statistics.means_over_pairs import DrawnPairs
from counterpoint.statistics.panel import Panel, at_floor, directions, panel, template_names
from counterpoint.statistics.resampled_coefficients import MINIMUM_HEADS
from counterpoint.statistics.resampling import Settings, checked
from counterpoint.statistics.sampled_pairs import sampled
from counterpoint.statistics.templates import clusters_of

USED = (*disagreement.USED, *disagreement.IDENTITIES)
"""What is needed of the table of heads."""

COLUMNS = (
    "claim",
    "direction",
    "quantity",
    "role",
    "statement",
    "estimate",
    "ci_low",
    "ci_high",
    "p_value",
    "n",
    "pairs",
    "rule",
    "threshold",
    "verdict",
    "explanation",
)

WITHIN_ROUNDING = (
    " It holds within rounding of the number format that the model computes in, which is coarser"
    " here than the usual bound."
)


def claims(
    heads: pd.DataFrame,
    faithfulness: pd.DataFrame | None = None,
    interaction: pd.DataFrame | None = None,
    *,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """The table of claims, columns as in `COLUMNS`: for each claim a row `overall`, then its parts.

    `faithfulness` has the columns pair, direction, score, k, recovered: the share of the metric's
    change recovered by the first k heads by the score. Without it claim 3 rests on the relation of
    IG's error to saturation, and says so. `interaction` is the table of interactions with partners
    (`statistics.interaction_partners`); without it claim 2 lacks what they explain. A claim holds
    overall if every decisive part does in every direction, and is refuted if one is. Raises
    KeyError for a missing column and ValueError for a row that appears twice or, in `faithfulness`,
    for unequal lists of k.
    """
    settings = checked(settings)
    if faithfulness is not None:
        score_faithfulness.check(faithfulness)
    parts = []
    # What is no table of heads is told first.
    found = directions(heads)
    templates = template_names(heads)
    for direction in found:
        rows = heads[heads["direction"] == direction]
        data = panel(rows, direction, USED, settings.floor)
        sample = data.of_pairs(sampled(data.pairs, settings))
        drawn = DrawnPairs.of(data.pairs, clusters_of(data, settings))
        parts.append(
            ClaimSums.of(rows, data, sample, drawn, templates, faithfulness, interaction, settings)
        )
    scores = None if faithfulness is None else set(faithfulness["score"])
    return table_of_claims(parts, scores, settings)


@dataclass(frozen=True)
class ClaimSums:
    """What the claims are tested by in one direction, whatever the number of pairs."""

    direction: str
    sums: DisagreementSums
    most_heads: int
    """The most heads above the floor that a pair has."""
    sizes: dict[str, float]
    """By score: its largest size on any head and pair."""
    templates: pd.Series | None
    unsaturated: pd.Series
    """By pair: 1 − the mean saturation of the heads above the floor."""
    areas: pd.DataFrame | None
    """As `score_faithfulness.areas_of_pairs`; None without the table."""
    partners: PartnerSums | None

    @classmethod
    def of(
        cls,
        rows: pd.DataFrame,
        data: Panel,
        sample: Panel,
        drawn: DrawnPairs,
        templates: pd.Series | None,
        faithfulness: pd.DataFrame | None,
        interaction: pd.DataFrame | None,
        settings: Settings,
    ) -> ClaimSums:
        """Those of tables that hold some of the pairs, ``rows`` and ``data`` those of one
        direction; ``sample`` holds the sampled pairs."""
        direction = data.direction
        above = rows[~at_floor(rows, 0.0 if settings.include_floor else settings.floor)]
        areas = None
        if faithfulness is not None:
            of_direction = faithfulness[faithfulness["direction"] == direction]
            areas = score_faithfulness.areas_of_pairs(of_direction)
        scores = [] if areas is None else list(areas.columns)
        return cls(
            direction,
            DisagreementSums.of(data, sample, drawn, settings),
            int(above.groupby("pair").size().max()) if len(above) else 0,
            {score: float(rows[score].abs().max()) for score in scores if score in rows},
            templates,
            _unsaturated(rows, settings) if areas is not None else pd.Series(dtype=float),
            areas,
            None if interaction is None else PartnerSums.of(interaction, direction, rows),
        )

    def plus(self, other: ClaimSums) -> ClaimSums:
        """Those of the pairs of both."""
        scores = self.sizes.keys() | other.sizes.keys()
        return replace(
            self,
            sums=self.sums.plus(other.sums),
            most_heads=max(self.most_heads, other.most_heads),
            sizes={
                score: float(np.fmax(self.sizes.get(score, np.nan), other.sizes.get(score, np.nan)))
                for score in scores
            },
            unsaturated=pd.concat([self.unsaturated, other.unsaturated]).sort_index(),
            areas=None
            if self.areas is None or other.areas is None
            else pd.concat([self.areas, other.areas]).sort_index(),
            partners=None
            if self.partners is None or other.partners is None
            else self.partners.plus(other.partners),
        )


def _unsaturated(rows: pd.DataFrame, settings: Settings) -> pd.Series:
    return 1 - rows[~at_floor(rows, settings.floor)].groupby("pair")["saturation"].mean()


def table_of_claims(
    parts: Sequence[ClaimSums], scores: set[str] | None, settings: Settings
) -> pd.DataFrame:
    """The table from what each direction gave; ``scores`` are those of the faithfulness table, None
    without one."""
    rows: list[dict[str, object]] = []
    for given in parts:
        direction = given.direction
        why = _why_undefined(given.most_heads)
        found = disagreement.numbers_over_heads(given.sums, settings)
        if given.areas is not None:
            found |= score_faithfulness.numbers_over_pairs(
                given.areas, given.unsaturated, given.templates, direction, settings
            )
        if given.partners is not None:
            found |= interaction_partners.numbers_of(
                given.partners, direction, given.templates, settings
            )
        for quantity in QUANTITIES:
            # A part without a number must stay in the table: it keeps its claim undecided.
            if quantity.name in found or not quantity.name.startswith(OPTIONAL):
                number = found.pop(quantity.name, Estimate(np.nan))
                rows.append(_row(quantity, direction, number, why))
        for name, number in found.items():
            size = given.sizes.get(name.removeprefix(score_faithfulness.PREFIX), np.inf)
            if size < settings.floor:
                rows.append(_row(closeness_quantity(name), direction, Estimate(np.nan), ROUNDING))
            else:
                rows.append(_row(closeness_quantity(name), direction, number, why))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    tables = []
    for claim in STATEMENTS:
        own = table[table["claim"] == claim]
        tables += [_overall(claim, own, _without(own, scores) if claim == 3 else ""), own]
    return pd.concat(tables, ignore_index=True)


def _why(name: str, why: str) -> str:
    """Why one number is missing: those that need other tables have reasons of their own."""
    if name.startswith(interaction_partners.PREFIX):
        return "Not defined: no head that disagrees has a partner in its layer."
    if name.startswith(score_faithfulness.PREFIX) and why != ROUNDING:
        return (
            "Not defined: the metric is the same on both prompts, or too few pairs or heads are "
            "left."
        )
    return why


ROUNDING = "Not defined: every value of the score is below the floor, so its order is rounding."


def _why_undefined(most: int) -> str:
    """Why a number over the heads of one direction cannot be given, where it cannot."""
    if most < MINIMUM_HEADS:
        return f"Not defined: fewer than {MINIMUM_HEADS} heads above the floor ({most})."
    return "Not defined: a column is constant, or too few heads or pairs are left."


def _row(quantity: Quantity, direction: str, found: Estimate, why: str) -> dict[str, object]:
    """One row of the table; ``why`` is said where there is no number."""
    rule = quantity.rule
    if rule is not None and found.allowed > rule.threshold:
        rule = replace(rule, threshold=found.allowed)
    verdict = DESCRIBED if rule is None else rule.verdict(found.estimate, found.low, found.high)
    if np.isnan(found.estimate):
        explanation = _why(quantity.name, why)
    elif verdict == UNDECIDED and np.isnan(found.low):
        explanation = "No interval can be given, so nothing is decided."
    else:
        explanation = quantity.says.get(verdict, "")
    if rule is not quantity.rule and verdict == SUPPORTED:
        explanation += WITHIN_ROUNDING
    return {
        "claim": quantity.claim,
        "direction": direction,
        "quantity": quantity.name,
        "role": quantity.role,
        "statement": quantity.statement,
        "estimate": found.estimate,
        "ci_low": found.low,
        "ci_high": found.high,
        "p_value": found.p_value,
        "n": found.n,
        "pairs": found.pairs,
        "rule": "" if rule is None else str(rule),
        "threshold": np.nan if rule is None else rule.threshold,
        "verdict": verdict,
        "explanation": explanation,
    }


def _without(parts: pd.DataFrame, scores: set[str] | None) -> str:
    """What claim 3 rests on when the faithfulness of IG could not be compared."""
    if (parts["quantity"] == GAIN).any():
        return ""
    reason = (
        "No faithfulness table was given"
        if scores is None
        else f"The faithfulness table lacks {label(score_faithfulness.PLAIN)} or "
        f"{label(score_faithfulness.UNSATURATED)}"
    )
    return f" {reason}: this rests on the relation of IG's error to saturation alone."


def _overall(claim: int, parts: pd.DataFrame, remark: str) -> pd.DataFrame:
    decisive = parts[parts["role"] == DECISIVE]
    reasons = [
        f"{verdict}: "
        + ", ".join(
            f"{TITLES[str(name)]} ({', '.join(own['direction'])})"
            for name, own in rows.groupby("quantity", sort=False)
        )
        for verdict, rows in decisive.groupby("verdict", sort=False)
    ]
    row = {
        "claim": claim,
        "direction": "all",
        "quantity": OVERALL,
        "role": OVERALL,
        "statement": STATEMENTS[claim],
        "n": int(parts["n"].max()),
        "pairs": int(parts["pairs"].max()),
        "rule": "every decisive part holds in every direction",
        "verdict": combined(decisive["verdict"]),
        "explanation": "; ".join(reasons) + "." + remark,
    }
    return pd.DataFrame([row]).reindex(columns=list(COLUMNS)).astype(parts.dtypes.to_dict())
