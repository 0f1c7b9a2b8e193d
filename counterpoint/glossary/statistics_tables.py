"""The tables of statistics: of one study, and of several side by side."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.glossary.entries import METRIC, Column, Table
from counterpoint.glossary.shared_columns import (
    AGREEMENTS,
    CHANCE,
    DIRECTION,
    HEAD,
    INTERVAL,
    LAYER,
    NOTE,
    P_ADJUSTED,
    P_PERMUTATION,
    PAIR,
    SCORE,
    K,
)

MEASURE = Column("measure", "", "The measure of the output curve that is correlated.")
COEFFICIENT = Column(
    "method",
    "",
    "The coefficient.",
    "correlation",
    says={"pearson": "Pearson", "spearman": "Spearman", "kendall": "Kendall's tau-b"},
)
AGREEMENT = Column("agreement", "", "How the rankings are compared.", "stability", says=AGREEMENTS)
CLAIM = Column("claim", "number", "The claim, 1 to 3.", "verdict")
QUANTITY = Column("quantity", "", "The number's name; `overall` for the claim as a whole.")
ROLE = Column(
    "role",
    "",
    "What the number does for the claim.",
    "verdict",
    says={
        "overall": "the claim as a whole",
        "decisive": "the claim holds only if it does",
        "supporting": "told beside, decides nothing",
    },
)
STATEMENT = Column("statement", "", "What is tested, in a sentence.", "verdict")
RULE = Column("rule", "", "The rule by which the verdict is given.", "verdict")
VERDICT = Column(
    "verdict",
    "",
    "What the number says about the statement.",
    "verdict",
    says={
        "supported": "the interval leaves no room for the contrary",
        "refuted": "the interval leaves no room for an effect of the least size that counts",
        "undecided": "it leaves room for both",
        "described": "no rule: the number is told alone",
    },
)
EXPLANATION = Column("explanation", "", "What the verdict means, in a sentence.", "verdict")
LOWEST = Column("lowest", "varies", "The least estimate of a study.", "average")
HIGHEST = Column("highest", "varies", "The greatest estimate of a study.", "average")
HETEROGENEITY = Column(
    "heterogeneity",
    "share",
    "I²: the share of the spread of the estimates that chance within studies does not explain.",
    "average",
    "I²",
)
MODEL = Column("model", "", "The model's name in the configuration.")
STUDY = Column("study", "", "The study's name in the configuration.")

STATISTICS_TABLES = (
    Table(
        "correlations.csv",
        "How measures of the curve go with scores: one row per scope, direction, measure, score "
        "and coefficient.",
        (
            Column(
                "scope",
                "",
                "What the coefficient is over.",
                "correlation",
                says={
                    "study": "all pairs: the mean of the pairs' own coefficients",
                    "pair_mean": "heads, each by its means over the pairs",
                    "pair": "the heads of one pair",
                },
            ),
            PAIR,
            DIRECTION,
            MEASURE,
            SCORE,
            COEFFICIENT,
            Column("estimate", "1", "The coefficient.", "correlation"),
            *INTERVAL,
            P_PERMUTATION,
            P_ADJUSTED,
            Column("partial_given_layer", "1", "The coefficient within layers.", "partial"),
            Column("partial_ci_low", "1", "Lower end of its interval.", "partial"),
            Column("partial_ci_high", "1", "Upper end of its interval.", "partial"),
            Column("n", "count", "Rows (pair and head) that were used."),
            Column("pairs", "count", "Pairs that they come from."),
            Column("floor_excluded", "count", "Rows left out as below the floor.", "floor"),
            NOTE,
        ),
    ),
    Table(
        "claims.csv",
        "The three claims: for each a row `overall`, then one row per direction and number.",
        (
            CLAIM,
            DIRECTION,
            QUANTITY,
            ROLE,
            STATEMENT,
            Column("estimate", "varies", "The number."),
            *INTERVAL,
            Column("p_value", "share", "Its permutation p-value.", "p-value"),
            Column("n", "count", "Rows that were used."),
            Column("pairs", "count", "Pairs that they come from."),
            RULE,
            Column("threshold", "varies", "The rule's threshold.", "verdict"),
            VERDICT,
            EXPLANATION,
        ),
    ),
    Table(
        "stability.csv",
        "How far rankings of heads hold: one row per direction, score, comparison and agreement.",
        (
            DIRECTION,
            SCORE,
            Column(
                "between",
                "",
                "Which rankings are compared.",
                "stability",
                says={
                    "pairs": "the rankings by any two pairs",
                    "resamples": "the study's ranking and that of as many pairs drawn anew",
                },
            ),
            AGREEMENT,
            Column("estimate", "share", "The mean agreement.", "stability"),
            *INTERVAL,
            CHANCE,
            K,
            Column("pairs", "count", "Pairs of the study."),
            Column("heads", "count", "Heads that are ranked."),
            NOTE,
        ),
    ),
    Table(
        "sample_sizes.csv",
        "How many of the first heads few pairs find: one row per direction, score, way of drawing, "
        "comparison and number of pairs.",
        (
            DIRECTION,
            SCORE,
            Column(
                "drawn_from",
                "",
                "Which pairs are drawn.",
                "sample-size",
                says={
                    "pairs": "any of the study's",
                    "one_template": "those of one template, drawn as well",
                },
            ),
            Column(
                "compared_with",
                "",
                "By which pairs the other ranking is.",
                "sample-size",
                says={
                    "all": "all of the study's, those drawn among them",
                    "rest": "those that were not drawn; of one template, those of the others",
                },
            ),
            Column("n", "count", "Pairs that are drawn, without replacement."),
            Column(
                "overlap",
                "count",
                "Heads that both have among their first k, mean over draws.",
                "sample-size",
                "heads shared",
            ),
            Column("low", "count", "Where the middle of the draws begins.", "sample-size"),
            Column("high", "count", "Where it ends.", "sample-size"),
            Column("chance", "count", "Heads shared by rankings in random order.", "chance"),
            K,
            Column("pairs", "count", "Pairs of the study."),
            Column("heads", "count", "Heads that are ranked."),
            NOTE,
        ),
    ),
    Table(
        "variance.csv",
        "Of what AP varies: one row per direction, layer and head.",
        (
            Column(
                "direction",
                "",
                "Which prompt is the background.",
                "direction",
                says={**DIRECTION.says, "both": "both, −AP of noising beside AP of denoising"},
            ),
            LAYER,
            HEAD,
            Column(
                "n_templates",
                "count",
                "Templates; 0 where the pairs name none. A pair without a name counts as one.",
                "template",
            ),
            Column("n_pairs", "count", "Pairs of the study.", "pair"),
            Column("mean", METRIC, "Mean AP over the pairs (and directions).", "ap"),
            Column(
                "variance_template",
                "metric²",
                "Variance between templates; missing where it cannot be told from that of pairs.",
                "variance-components",
            ),
            Column(
                "variance_pair",
                "metric²",
                "Variance between pairs of one template; where templates are not told apart, "
                "between all pairs.",
                "variance-components",
            ),
            Column(
                "variance_rest",
                "metric²",
                "Variance of what the two directions on one pair do not share; missing in one "
                "direction, where it is part of the pair's.",
                "variance-components",
            ),
            Column(
                "share_template",
                "share",
                "The template's variance ÷ the sum of those given.",
                "variance-components",
            ),
            replace(
                P_PERMUTATION,
                meaning="The share of shufflings of pairs over templates that spread the "
                "templates' means at least as far.",
            ),
            P_ADJUSTED,
            NOTE,
        ),
    ),
    Table(
        "without_bos/agreement.csv",
        "The study with its first token and without: one row per direction and agreement.",
        (
            DIRECTION,
            AGREEMENT,
            Column("estimate", "share", "The agreement of the mean AP of all heads.", "stability"),
            *INTERVAL,
            CHANCE,
            K,
            Column("common", "count", "How many of the first k heads are the same.", "stability"),
            Column("pairs", "count", "Pairs of the study."),
            Column("heads", "count", "Heads that are compared."),
        ),
    ),
    Table(
        "comparison/studies.csv",
        "What is compared: one row per study.",
        (
            STUDY,
            Column("title", "", "The task in words."),
            MODEL,
            Column("metric", "", "The study's metric.", "metric"),
            Column("pairs", "count", "Its pairs.", "pair"),
            Column("right", "count", "Pairs whose clean prompt is answered correctly."),
            Column("accuracy", "share", "Their share of the pairs."),
            Column("metric_clean", METRIC, "Mean metric on clean prompts.", "metric"),
            Column("metric_corrupted", METRIC, "Mean metric on corrupted prompts.", "metric"),
            Column("heads", "count", "Heads of the model.", "head"),
            Column(
                "at_floor",
                "count",
                "Heads whose curve moves by less than the floor, in the first direction.",
                "floor",
            ),
        ),
    ),
    Table(
        "comparison/heads.csv",
        "Which heads matter in which study: one row per model, direction, head and study.",
        (
            MODEL,
            DIRECTION,
            LAYER,
            HEAD,
            STUDY,
            Column("rank", "number", "The head's place by mean |AP|, 1 for the first.", "rank"),
            Column("share", "share", "Mean AP ÷ the mean change of the metric.", "share"),
            Column("mean", METRIC, "Mean AP over the pairs.", "ap"),
            Column("mean_absolute", METRIC, "Mean |AP| over the pairs.", "ap"),
            *INTERVAL,
            Column(
                "top_k_share",
                "share",
                "Share of resamples of pairs in which the head is among the first k.",
                "stability",
            ),
            Column("studies_in_top_k", "count", "Studies in which it is among the first k."),
            Column("studies", "count", "Studies of that model and direction."),
            K,
        ),
    ),
    Table(
        "comparison/overlaps.csv",
        "How far rankings agree within studies and between them: one row per model, direction, "
        "score, kind, agreement and two studies.",
        (
            MODEL,
            DIRECTION,
            SCORE,
            Column(
                "of",
                "",
                "Which rankings are compared.",
                "stability",
                says={
                    "pairs": "those by single pairs",
                    "studies": "those by means over a study's pairs",
                },
            ),
            AGREEMENT,
            Column("first", "", "One study."),
            Column("second", "", "The other, or the same."),
            Column("estimate", "share", "The mean agreement.", "stability"),
            *INTERVAL,
            CHANCE,
            replace(
                P_PERMUTATION,
                meaning="The share of random divisions of both studies' pairs by which rankings "
                "agree at least as much more within the studies than between them.",
            ),
            P_ADJUSTED,
            K,
            Column("heads", "count", "Heads that are ranked."),
            Column("pairs_first", "count", "Pairs of the one study."),
            Column("pairs_second", "count", "Pairs of the other."),
            NOTE,
        ),
    ),
    Table(
        "comparison/claims.csv",
        "The claims over the studies: for each a row `overall`, then one per direction and number.",
        (
            CLAIM,
            DIRECTION,
            QUANTITY,
            ROLE,
            STATEMENT,
            Column("studies", "count", "Studies that have the number."),
            Column("supported", "count", "Studies that support the statement.", "verdict"),
            Column("refuted", "count", "Studies that refute it.", "verdict"),
            Column("undecided", "count", "Studies that leave it open.", "verdict"),
            Column("estimate", "varies", "The average; of an identity the worst.", "average"),
            *INTERVAL,
            LOWEST,
            HIGHEST,
            HETEROGENEITY,
            RULE,
            VERDICT,
            EXPLANATION,
        ),
    ),
    Table(
        "comparison/correlations.csv",
        "The correlations over the studies: one row per direction, measure, score and coefficient.",
        (
            DIRECTION,
            MEASURE,
            SCORE,
            COEFFICIENT,
            Column("studies", "count", "Studies that have the number."),
            Column("estimate", "1", "The average over studies.", "average"),
            *INTERVAL,
            LOWEST,
            HIGHEST,
            Column("above_zero", "count", "Studies whose interval lies above 0."),
            Column("below_zero", "count", "Studies whose interval lies below 0."),
            HETEROGENEITY,
        ),
    ),
)
