"""The tables of generated pairs: archives, their checks, the atlas, the methods compared."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.glossary.entries import Column, Table
from counterpoint.glossary.shared_columns import (
    CHANGED_TOKENS,
    CLEAN,
    CLEAN_TOKENS,
    CORRECT,
    CORRUPTED,
    CORRUPTED_TOKENS,
    EVALUATIONS,
    EVENNESS,
    HEAD,
    HYPERVOLUME,
    INCORRECT,
    LAYER,
    LD_CHANGE,
    MARGIN,
    METHOD,
    SECOND,
    SECONDS,
    SEED,
    TEXTS,
)

CORRECT_TOKEN = Column("correct_token", "number", "Token id of the correct answer.", "token")
INCORRECT_TOKEN = Column("incorrect_token", "number", "Token id of the incorrect answer.", "token")
RANK = Column(
    "rank",
    "number",
    "The target's place among all heads of the model by |AP| in noising, 1 for the first.",
    "rank",
)
LOSS_CAP = Column(
    "loss_cap", "nats", "The mean loss per token up to which a prompt is fluent.", "fluent"
)
FLUENT = Column("fluent", "", "Whether both prompts' mean loss is at most the cap.", "fluent")
LOSSES = (
    Column("loss_clean", "nats", "Mean loss per token of the clean prompt.", "perplexity"),
    Column("loss_corrupted", "nats", "Mean loss per token of the corrupted prompt.", "perplexity"),
)
ROUND_TRIP = Column(
    "round_trip", "", "Whether both texts tokenise back to the same tokens.", "short-cut"
)

OF_A_PAIR = (
    CLEAN,
    CORRUPTED,
    CLEAN_TOKENS,
    CORRUPTED_TOKENS,
    CORRECT,
    INCORRECT,
    CORRECT_TOKEN,
    INCORRECT_TOKEN,
    LD_CHANGE,
    EVENNESS,
    CHANGED_TOKENS,
    Column("perplexity_clean", "perplexity", "Perplexity of the clean prompt.", "perplexity"),
    Column(
        "perplexity_corrupted", "perplexity", "Perplexity of the corrupted prompt.", "perplexity"
    ),
    Column("perplexity", "perplexity", "The greater of the two.", "perplexity"),
)

OF_SHORT_CUTS = (
    Column("answer_in_prompt", "", "Whether an answer stands in a prompt.", "short-cut"),
    Column("answer_changed", "", "Whether an answer is one of the changed tokens.", "short-cut"),
    Column("special_tokens", "", "Whether a special token is in prompts or answers.", "short-cut"),
    Column("punctuation_answer", "", "Whether an answer has no letter or digit.", "short-cut"),
    Column("answers_moved", "", "Whether an answer is not its prompt's likeliest.", "short-cut"),
    ROUND_TRIP,
)

_TRANSFER = (
    ("contexts", "count", "Fresh contexts in which the edit was tried."),
    ("first", "count", "Contexts in which the target is first by |AP|."),
    ("first_five", "count", "Contexts in which it is among the first five."),
    ("ld_change", "logits", "Median LD change over the contexts."),
    ("same_answer", "count", "Contexts in which both prompts go on alike: failures."),
    ("first_declared", "count", "As transfer_first, with the pair's own answers."),
    ("first_five_declared", "count", "As transfer_first_five, with the pair's own answers."),
    ("ld_change_declared", "logits", "As transfer_ld_change, with the pair's own answers."),
    ("perplexity", "perplexity", "Median over contexts of the less fluent prompt's perplexity."),
    ("kept", "tokens", "Tokens of the pair that the contexts keep."),
    ("clean", "", "The clean prompts, one per context."),
    ("corrupted", "", "The corrupted prompts, one per context."),
    (
        "ranks",
        "number",
        "The target's rank per context, 1 to 5; 6 where five or more heads do more than it, 0 where"
        " both answers are the same.",
    ),
    ("ld_changes", "logits", "The target's LD change per context."),
)
OF_TRANSFER = tuple(
    Column(f"transfer_{name}", unit, meaning, "transfer") for name, unit, meaning in _TRANSFER
)

CAPS = {"0": "0", "0_5": "0.5", "1": "1"}
"""Nats per token above the study's mean loss, by their names in columns."""

TRACE = (
    EVALUATIONS,
    SECONDS,
    HYPERVOLUME,
    Column("best_ld_change", "logits", "The largest LD change so far.", "ld-change"),
    SEED,
)

_MEASURED = (
    *TEXTS,
    LD_CHANGE,
    EVENNESS,
    CHANGED_TOKENS,
    *LOSSES,
    Column("ap", "logits", "AP of the target in noising, from fresh runs.", "ap"),
    RANK,
    Column("reciprocal_rank", "1", "1 ÷ rank.", "rank"),
    MARGIN,
    SECOND,
    Column("ig_rank", "number", "The target's place by |IG joint|.", "rank"),
    *(column for column in OF_TRANSFER[:3]),
    ROUND_TRIP,
)
_WHICH = {
    "best": "Of the pair of largest LD change under the fluency cap",
    "chosen": "Of the pair under the fluency cap that the method prefers",
}
_LABELS = {
    "chosen_evenness": "evenness",
    "chosen_changed_tokens": "changed tokens",
    "chosen_rank": "rank by AP",
    "chosen_margin": "margin",
    "chosen_ig_rank": "rank by IG joint",
}


def _of_measured_pairs() -> tuple[Column, ...]:
    """The columns of a measured pair, with ``best_`` and ``chosen_`` before them."""
    return tuple(
        replace(
            column,
            name=f"{which}_{column.name}",
            meaning=f"{said}: {column.meaning}",
            label=_LABELS.get(f"{which}_{column.name}", ""),
        )
        for which, said in _WHICH.items()
        for column in _MEASURED
    )


_CAPPED = tuple(
    Column(
        f"ld_change_cap_{name}",
        "logits",
        f"Largest LD change of a pair at most {nats} nats per token above the study's mean loss; 0 "
        "without one.",
        "ld-change",
        "LD change, cap + 0 nats" if name == "0" else f"cap + {nats}",
    )
    for name, nats in CAPS.items()
)

VALIDATION = (
    METHOD,
    CLEAN,
    CORRUPTED,
    Column("place", "number", "The target's place in head_effects.", "target"),
    Column("ap", "logits", "AP of the target in noising.", "ap"),
    Column("ap_plain", "logits", "The same by whole passes without the engine.", "ap"),
    Column("ap_denoising", "logits", "AP of the target in denoising.", "ap"),
    RANK,
    Column("rank_denoising", "number", "The same in denoising.", "rank"),
    Column("rank_in_layer", "number", "The place among the heads of its layer.", "rank"),
    Column("reciprocal_rank", "1", "1 ÷ rank.", "rank"),
    Column("reciprocal_rank_in_layer", "1", "1 ÷ rank in the layer.", "rank"),
    MARGIN,
    Column("margin_plain", "1", "The same by whole passes, over the strongest rivals.", "rank"),
    SECOND,
    Column("ig_joint", "logits", "IG joint of the target in noising.", "ig-joint"),
    Column("ig_rank", "number", "The target's place by |IG joint|.", "rank"),
    Column("evenness_again", "1", "Evenness, measured anew.", "evenness"),
    Column("null_rank", "number", "Median rank on random answers.", "null"),
    Column("null_first", "share", "Share of draws on which the target comes first.", "null"),
    Column("null_ap", "logits", "Median |AP| on random answers.", "null"),
    Column(
        "perplexity_clean_again",
        "perplexity",
        "Perplexity of the clean prompt, from a plain run.",
        "perplexity",
    ),
    Column(
        "perplexity_corrupted_again",
        "perplexity",
        "Perplexity of the corrupted prompt, from a plain run.",
        "perplexity",
    ),
    LOSS_CAP,
    FLUENT,
    Column("surprise", "nats", "Largest loss of one token in either prompt.", "surprise"),
    Column("surprising_token", "", "That token.", "surprise"),
    Column(
        "repetition",
        "share",
        "Share of neighbouring tokens that stood in the prompt before; the larger of both.",
        "repetition",
    ),
    *OF_SHORT_CUTS,
    *OF_TRANSFER,
    Column("alphas", "1", "Points of the target's output curve.", "path"),
    Column("output", "logits", "The target's output curve there, in noising.", "output-curve"),
    Column("head_effects", "logits", "AP of all heads in noising, layer by layer.", "ap"),
)

SEARCH_TABLES = (
    Table(
        "counterfactuals/{layer}.{head}/{method}.parquet",
        "The archive of a method for a target head: one row per pair. Archives of single seeds "
        "(searches/) have the same columns.",
        (
            METHOD,
            SEED,
            LAYER,
            HEAD,
            *OF_A_PAIR,
            replace(EVALUATIONS, meaning="Model evaluations at which the pair was found."),
            Column(
                "non_dominated",
                "",
                "Whether no other pair is as good in all four objectives and better in one.",
                "hypervolume",
            ),
            Column("choice", "number", "The method's order of preference, from 1."),
        ),
    ),
    Table(
        "counterfactuals/{layer}.{head}/{method}.trace.parquet",
        "The course of its searches: one row per report and seed.",
        TRACE,
    ),
    Table(
        "counterfactuals/{layer}.{head}/validation.parquet",
        "The preferred pairs of all methods, measured anew: one row per pair. Those of one method "
        "(validations/{method}.parquet) have the same columns.",
        VALIDATION,
    ),
    Table(
        "atlas.parquet",
        "For every head the pair on which it matters most: one row per head. Parts of it "
        "(atlas/{way}/verified/, atlas/likely_swaps.parquet) have the same columns.",
        (LAYER, HEAD, *OF_A_PAIR, LOSS_CAP, FLUENT, RANK, MARGIN, SECOND, SEED, EVALUATIONS),
    ),
    Table(
        "atlas/{way}/searches/{seed}.parquet",
        "The candidates of a search over all heads: one row per head and candidate.",
        (
            LAYER,
            HEAD,
            SEED,
            CLEAN_TOKENS,
            CORRUPTED_TOKENS,
            CORRECT_TOKEN,
            INCORRECT_TOKEN,
            LD_CHANGE,
            replace(
                MARGIN, meaning="LD change ÷ the largest effect of another head that was checked."
            ),
            *LOSSES,
            LOSS_CAP,
            EVALUATIONS,
        ),
    ),
    Table(
        "atlas/{way}/searches/{seed}.trace.parquet",
        "The course of that search: one row per step.",
        (
            EVALUATIONS,
            SECONDS,
            Column("first", "count", "Heads that are first on a candidate.", "atlas"),
            Column("good", "count", "Those with a good margin and LD change as well.", "atlas"),
        ),
    ),
    Table(
        "methods/methods.parquet",
        "What each search came to: one row per head, method and seed.",
        (
            LAYER,
            HEAD,
            METHOD,
            SEED,
            replace(EVALUATIONS, meaning="Model evaluations that the search spent."),
            replace(SECONDS, meaning="Time that the search took."),
            HYPERVOLUME,
            Column("pairs", "count", "Pairs in its archive."),
            Column("study_loss", "nats", "Mean loss per token of the study's prompts.", "fluent"),
            *_CAPPED,
            *_of_measured_pairs(),
            Column("reason", "", "Why there is no pair under the cap; missing where there is."),
        ),
    ),
    Table(
        "methods/methods.csv",
        "The methods side by side: one row per scope, method and measure.",
        (
            Column(
                "scope",
                "",
                "What the row is over.",
                says={
                    "method": "all searches of a method",
                    "head": "its searches for one head",
                    "wins": "heads, on which it is set against another method",
                },
            ),
            METHOD,
            Column("against", "", "The other method, in the scope wins."),
            LAYER,
            HEAD,
            Column("measure", "", "A column of methods.parquet."),
            Column("median", "varies", "Its median; in the scope wins of the differences."),
            Column("smallest", "varies", "Its least value."),
            Column("largest", "varies", "Its greatest value."),
            Column("count", "count", "Searches that have it; in the scope wins heads won."),
            Column("of", "count", "Searches in all; in the scope wins heads in all."),
        ),
    ),
)
