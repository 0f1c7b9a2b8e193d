"""The three claims about the output curve, each with its numbers and its verdict: `claims.csv`.

What each claim is tested by stands in `claim_quantities`, the rule by which a number supports or
refutes it in `claim_verdicts`.

Every number but the identities is computed in each pair, over the heads above the floor of
rounding, and averaged over pairs; intervals and p-values as in `statistics.resampling`. The area
under the ROC curve asks how well a column tells the tenth of the heads with the largest
|IG joint - AP| from the others: 0.5 is chance, 1 perfect. Thresholds: `statistics.claim_verdicts`.
"""

from __future__ import annotations

from dataclasses import replace

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
from counterpoint.statistics.disagreement import Estimate
from counterpoint.statistics.panel import at_floor, directions, panel
from counterpoint.statistics.resampled_coefficients import MINIMUM_HEADS
from counterpoint.statistics.resampling import Settings, checked

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
    rows: list[dict[str, object]] = []
    for direction in directions(heads):
        of_direction = heads[heads["direction"] == direction]
        why = _why_undefined(of_direction, settings)
        found = disagreement.numbers_over_heads(
            panel(
                heads,
                direction,
                (*disagreement.USED, *disagreement.IDENTITIES),
                settings.floor,
            ),
            settings,
        )
        if faithfulness is not None:
            part = faithfulness[faithfulness["direction"] == direction]
            found |= score_faithfulness.numbers_over_pairs(heads, part, direction, settings)
        if interaction is not None:
            found |= interaction_partners.numbers_over_pairs(
                interaction, direction, settings, heads
            )
        for quantity in QUANTITIES:
            # A part without a number must stay in the table: it keeps its claim undecided.
            if quantity.name in found or not quantity.name.startswith(OPTIONAL):
                number = found.pop(quantity.name, Estimate(np.nan))
                rows.append(_row(quantity, direction, number, why))
        for name, number in found.items():
            score = name.removeprefix(score_faithfulness.PREFIX)
            if score in heads and of_direction[score].abs().max() < settings.floor:
                rows.append(_row(closeness_quantity(name), direction, Estimate(np.nan), ROUNDING))
            else:
                rows.append(_row(closeness_quantity(name), direction, number, why))
    parts = pd.DataFrame(rows, columns=list(COLUMNS))
    tables = []
    for claim in STATEMENTS:
        own = parts[parts["claim"] == claim]
        tables += [_overall(claim, own, _without(own, faithfulness) if claim == 3 else ""), own]
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


def _why_undefined(heads: pd.DataFrame, settings: Settings) -> str:
    """Why a number over the heads of one direction cannot be given, where it cannot."""
    above = heads[~at_floor(heads, 0.0 if settings.include_floor else settings.floor)]
    most = int(above.groupby("pair").size().max()) if len(above) else 0
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


def _without(parts: pd.DataFrame, faithfulness: pd.DataFrame | None) -> str:
    """What claim 3 rests on when the faithfulness of IG could not be compared."""
    if (parts["quantity"] == GAIN).any():
        return ""
    reason = (
        "No faithfulness table was given"
        if faithfulness is None
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
