"""The tables of how far scores that stand in for patching are right."""

from __future__ import annotations

from counterpoint.glossary.entries import Column, Table
from counterpoint.glossary.shared_columns import (
    CHANCE,
    DIRECTION,
    HEAD,
    INTERVAL,
    LAYER,
    SCORE,
    K,
)

BASELINE_TABLES = (
    Table(
        "score_agreement.csv",
        "How far scores that stand in for AP are right, where a study has baselines: one row per "
        "direction, score and quantity.",
        (
            DIRECTION,
            SCORE,
            Column(
                "quantity",
                "",
                "What the number is.",
                says={
                    "spearman": "Spearman with AP over heads, mean over pairs",
                    "pearson": "Pearson with AP over heads, mean over pairs",
                    "error": "mean |score − AP| ÷ mean |AP|",
                    "found": "share of the true first k heads among the first so many by the score",
                    "error_and_second_term": "Spearman of |AtP − AP| with the second term's size",
                    "error_and_gradient_range_closed": "Spearman of |AtP − AP| with the range of g",
                    "error_and_excess_range": "Spearman of |AtP − AP| with the excess range",
                    "error_and_atp_reliability": "Spearman of |AtP − AP| ÷ |AP| with the second "
                    "term ÷ AtP",
                    "error_and_non_monotonicity": "Spearman of |AtP − AP| ÷ |AP| with 1 − "
                    "monotonicity",
                    "error_and_saturation": "Spearman of |AtP − AP| ÷ |AP| with saturation",
                },
            ),
            Column("checks", "count", "Of found: how many heads are checked.", "exact-checks"),
            Column("estimate", "varies", "The number."),
            *INTERVAL,
            CHANCE,
            K,
            Column("pairs", "count", "Pairs that it comes from."),
            Column("heads", "count", "Heads that are compared."),
        ),
    ),
    Table(
        "one_direction_heads.csv",
        "The first heads of either direction and whether they matter in both, where a study has "
        "baselines: one row per head.",
        (
            LAYER,
            HEAD,
            Column(
                "noising",
                "share",
                "Its part in noising: −AP normalised, mean over pairs.",
                "one-direction",
            ),
            Column(
                "denoising",
                "share",
                "Its part in denoising: AP normalised, mean over pairs.",
                "one-direction",
            ),
            Column("difference", "share", "Of the sizes of the parts, noising − denoising."),
            *INTERVAL,
            Column(
                "matters_in",
                "",
                "Where it matters.",
                "one-direction",
                says={
                    "noising": "in noising only",
                    "denoising": "in denoising only",
                    "both": "in both, or not surely in one only",
                },
            ),
            Column("pairs", "count", "Pairs that it comes from."),
        ),
    ),
)
