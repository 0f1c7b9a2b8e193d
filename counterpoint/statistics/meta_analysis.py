"""Claims and correlations over several studies: what they say together, how far they differ.

Each number that comes with an interval is averaged by a random-effects meta-analysis
(`statsmodels.stats.meta_analysis`): the spread between studies is Paule and Mandel's, the interval
Student's t with the larger of the usual standard error and that of Hartung and Knapp, which few
studies need (Roever and others 2015, BMC Medical Research Methodology 15, 99). A study's standard
error is the width of its interval over 2z. For an identity the worst study counts.

Studies of one model share its heads, and studies of one task its prompts. They are not independent,
and the interval says how sure the average over such studies is, not over all models there are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from counterpoint.statistics.claim_quantities import DECISIVE, OVERALL
from counterpoint.statistics.claim_verdicts import (
    DESCRIBED,
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    Rule,
    combined,
)
from counterpoint.statistics.disagreement import bounds

COLUMNS = (
    "claim",
    "direction",
    "quantity",
    "role",
    "statement",
    "studies",
    "supported",
    "refuted",
    "undecided",
    "estimate",
    "ci_low",
    "ci_high",
    "lowest",
    "highest",
    "heterogeneity",
    "rule",
    "verdict",
    "explanation",
)

CORRELATION_COLUMNS = (
    "direction",
    "measure",
    "score",
    "method",
    "studies",
    "estimate",
    "ci_low",
    "ci_high",
    "lowest",
    "highest",
    "above_zero",
    "below_zero",
    "heterogeneity",
)

SMALLEST_ERROR = 1e-6
"""The least standard error: an interval of no width would get all the weight."""


def claims_across(tables: Mapping[str, pd.DataFrame], *, confidence: float = 0.95) -> pd.DataFrame:
    """One row per claim, direction and quantity over the studies in `tables` (name: claims table).

    Columns as in `COLUMNS`: `supported`, `refuted` and `undecided` count studies, `lowest` and
    `highest` are the studies' extreme estimates, `heterogeneity` is I^2, the share of the spread of
    the estimates that chance within studies does not explain. `confidence` must be that of the
    tables. Raises ValueError when there are no tables.
    """
    if not tables:
        raise ValueError("no table of claims was given")
    every = pd.concat(
        [table.assign(study=study) for study, table in tables.items()], ignore_index=True
    )
    keys = ["claim", "direction", "quantity"]
    rows = [
        _row(part, confidence)
        for (_, _, quantity), part in every.groupby(keys, sort=False)
        if quantity != OVERALL
    ]
    parts = pd.DataFrame(rows, columns=list(COLUMNS))
    tables_by_claim = []
    for claim, part in every[every["quantity"] == OVERALL].groupby("claim", sort=True):
        own = parts[parts["claim"] == claim]
        tables_by_claim += [_overall(part, own), own]
    return pd.concat(tables_by_claim, ignore_index=True)[list(COLUMNS)]


def correlations_across(
    tables: Mapping[str, pd.DataFrame], *, confidence: float = 0.95
) -> pd.DataFrame:
    """`correlations.csv`: each correlation averaged over studies, as in `CORRELATION_COLUMNS`.

    `tables` holds each study's own `correlations.csv` by its name; its rows of scope `study` are
    averaged as claims are, clipped to [-1, 1]. `lowest` and
    `highest` are the studies' extreme estimates; `above_zero` and `below_zero` count the studies
    whose interval lies wholly on that side.
    """
    every = pd.concat(tables.values(), ignore_index=True)
    every = every[every["scope"] == "study"].dropna(subset=["estimate", "ci_low", "ci_high"])
    z = stats.norm.ppf((1 + confidence) / 2)
    rows = []
    keys = ["direction", "measure", "score", "method"]
    for key, part in every.groupby(keys, sort=False):
        errors = (part["ci_high"] - part["ci_low"]).to_numpy(float) / (2 * z)
        estimate, low, high, heterogeneity = random_effects(
            part["estimate"].to_numpy(float), errors, confidence
        )
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "studies": len(part),
                "estimate": estimate,
                "ci_low": max(low, -1.0),
                "ci_high": min(high, 1.0),
                "lowest": part["estimate"].min(),
                "highest": part["estimate"].max(),
                "above_zero": int((part["ci_low"] > 0).sum()),
                "below_zero": int((part["ci_high"] < 0).sum()),
                "heterogeneity": heterogeneity,
            }
        )
    return pd.DataFrame(rows, columns=list(CORRELATION_COLUMNS))


def random_effects(
    estimates: np.ndarray, errors: np.ndarray, confidence: float
) -> tuple[float, float, float, float]:
    """The average over studies, its interval, and I^2; the study's own interval if it is alone."""
    errors = np.maximum(errors, SMALLEST_ERROR)
    if len(estimates) == 1:
        half = stats.norm.ppf((1 + confidence) / 2) * errors[0]
        return float(estimates[0]), float(estimates[0] - half), float(estimates[0] + half), np.nan
    # Equal estimates have no spread for I^2 to divide by.
    with np.errstate(divide="ignore"):
        result = combine_effects(estimates, errors**2, method_re="iterated", use_t=True)
    error = max(result.sd_eff_w_re, result.sd_eff_w_re_hksj)
    half = stats.t.ppf((1 + confidence) / 2, len(estimates) - 1) * error
    mean = float(result.mean_effect_re)
    return mean, float(mean - half), float(mean + half), float(max(result.i2, 0.0))


def _row(part: pd.DataFrame, confidence: float) -> dict[str, object]:
    first = part.iloc[0]
    known = part.dropna(subset=["estimate"])
    with_interval = known.dropna(subset=["ci_low", "ci_high"])
    estimate = low = high = heterogeneity = np.nan
    verdict, explanation = UNDECIDED, "No study gives a number."
    rule = _rule(first)
    if rule is not None and rule.kind == "at_most":
        if not known.empty:
            # Each by its own bound: that of a coarser number format is wider.
            ratio = (known["estimate"] / known["threshold"]).to_numpy(float)
            worst = known.iloc[int(ratio.argmax())]
            rule = _rule(worst)
            assert rule is not None
            estimate = float(worst["estimate"])
            verdict = rule.verdict(estimate, np.nan, np.nan)
            explanation = "The worst study counts."
        if len(known) < len(part) and verdict == SUPPORTED:
            verdict, explanation = UNDECIDED, "Some studies lack the number."
    elif not with_interval.empty:
        z = stats.norm.ppf((1 + confidence) / 2)
        errors = (with_interval["ci_high"] - with_interval["ci_low"]).to_numpy(float) / (2 * z)
        estimate, low, high, heterogeneity = random_effects(
            with_interval["estimate"].to_numpy(float), errors, confidence
        )
        if len(with_interval) == 1:
            low, high = (float(with_interval[name].iloc[0]) for name in ("ci_low", "ci_high"))
        low, high = (float(end) for end in np.clip((low, high), *bounds(str(first["quantity"]))))
        explanation = f"Average of {len(with_interval)} of {len(part)} studies."
        if rule is not None:
            verdict = rule.verdict(estimate, low, high)
    if rule is None:
        verdict = DESCRIBED
    return {
        **{name: first[name] for name in ("claim", "direction", "quantity", "role", "statement")},
        "studies": len(part),
        **_counts(part),
        "estimate": estimate,
        "ci_low": low,
        "ci_high": high,
        "lowest": known["estimate"].min(),
        "highest": known["estimate"].max(),
        "heterogeneity": heterogeneity,
        "rule": "" if rule is None else str(rule),
        "verdict": verdict,
        "explanation": explanation,
    }


def _counts(part: pd.DataFrame) -> dict[str, int]:
    return {name: int((part["verdict"] == name).sum()) for name in (SUPPORTED, REFUTED, UNDECIDED)}


def _rule(row: pd.Series) -> Rule | None:
    """The rule that wrote itself into the row's text."""
    if not isinstance(row["rule"], str) or not row["rule"]:
        return None
    for kind in ("at_most", "at_least", "positive"):
        rule = Rule(kind, float(row["threshold"]))
        if str(rule) == row["rule"]:
            return rule
    raise ValueError(f"unknown rule in the table of claims: {row['rule']!r}")


def _overall(part: pd.DataFrame, quantities: pd.DataFrame) -> pd.DataFrame:
    decisive = quantities[quantities["role"] == DECISIVE]
    verdict = combined(decisive["verdict"])
    studies = [
        f"{name}: " + ", ".join(rows["study"]) for name, rows in part.groupby("verdict", sort=False)
    ]
    first = part.iloc[0]
    row = {
        **{name: first[name] for name in ("claim", "direction", "quantity", "role", "statement")},
        "studies": len(part),
        **_counts(part),
        "rule": "every decisive part holds in every direction",
        "verdict": verdict,
        "explanation": "By study: " + "; ".join(studies) + ".",
    }
    return pd.DataFrame([row]).reindex(columns=list(COLUMNS)).astype(quantities.dtypes.to_dict())
