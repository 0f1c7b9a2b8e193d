"""The tables of a study's pairs and scores, and its records of what was done."""

from __future__ import annotations

from collections.abc import Mapping

from counterpoint.glossary.entries import METRIC, Column, Table
from counterpoint.glossary.shared_columns import (
    CLEAN_TOKENS,
    CORRUPTED_TOKENS,
    DIRECTION,
    HEAD_KEYS,
    LAYER,
    OF_ANSWERS,
    PAIR,
    ROW,
    TEXTS,
)

OF_CURVES = (
    Column(
        "ig_own",
        METRIC,
        "∫ g dα along the head's own path; with the jumps of the curve it equals AP.",
        "ig-own",
        "IG on the own path",
    ),
    Column(
        "output_range", METRIC, "max f − min f over the 50 Gauss-Legendre nodes.", "output-range"
    ),
    Column(
        "output_range_closed",
        METRIC,
        "max f − min f over the whole of [0, 1]; never below |AP|.",
        "output-range",
        "output range on [0, 1]",
    ),
    Column("gradient_range", METRIC, "max g − min g over the 50 nodes.", "gradient-range"),
    Column(
        "gradient_range_closed",
        METRIC,
        "max g − min g over the whole of [0, 1].",
        "gradient-range",
        "gradient range on [0, 1]",
    ),
    Column(
        "total_variation",
        METRIC,
        "∫ |g| dα and the sizes of the jumps: all ups and downs of the curve.",
        "total-variation",
    ),
    Column(
        "monotonicity",
        "share",
        "|AP| ÷ total variation; 1 for a constant curve.",
        "monotonicity",
    ),
    Column(
        "excess_range",
        METRIC,
        "Output range on [0, 1] − |AP|: movement that returns before the end.",
        "excess-range",
    ),
    Column(
        "saturation",
        "share",
        "Share of [0, 1] on which |g| is below 5 % of its maximum; 1 for a constant curve.",
        "saturation",
    ),
    Column(
        "quadrature_error",
        METRIC,
        "Estimated largest error of f: between the computed points, and by rounding.",
        "quadrature-error",
    ),
    Column("gradient_error", METRIC, "Estimated largest error of g, likewise.", "quadrature-error"),
    Column(
        "rounding",
        METRIC,
        "How far rounding alone may move f in the number format that is computed in.",
        "floor",
    ),
    Column("nodes", "count", "Points of the path at which the model was run.", "node"),
    Column(
        "resolved",
        "",
        "Whether the curve came within tolerance, or within rounding where that is more.",
        "quadrature-error",
    ),
    Column("jumps", "count", "Jumps of f by more than rounding; 0 without experts.", "jump"),
    Column("jump_total", METRIC, "The sum of all jumps with their signs.", "jump"),
)
"""What is measured on an output curve besides AP and AtP, of heads and of MLP layers."""

AP = Column(
    "ap", METRIC, "Activation patching, f(1) − f(0): other prompt − background.", "ap", "AP"
)
AP_NORMALISED = Column(
    "ap_normalised",
    "share",
    "AP ÷ (metric on the clean prompt − metric on the corrupted one); missing where both are "
    "equal.",
    "ap-normalised",
    "AP normalised",
)
ATP = Column(
    "atp", METRIC, "Attribution patching, g(0): the first-order guess of AP.", "atp", "AtP"
)
IG_JOINT = Column(
    "ig_joint",
    METRIC,
    "Integrated gradients of the head while all heads of its layer move together.",
    "ig-joint",
    "IG joint",
)
IG_DELTA = Column(
    "ig_convergence_delta",
    METRIC,
    "Of the whole layer: the sum of IG joint − the effect of patching the layer.",
    "convergence-delta",
)
OF_IG = (
    Column(
        "ig_unsaturated",
        METRIC,
        "IG joint, integrated only where the layer's slope is at least 5 % of its largest.",
        "saturation",
        "IG joint, unsaturated part",
    ),
    Column(
        "ig_jump_total",
        METRIC,
        "Of the whole layer: the sum of the metric's jumps on the joint path.",
        "jump",
    ),
    Column(
        "ig_resolved",
        "",
        "Of the whole layer: whether the convergence delta came within the tolerance.",
        "convergence-delta",
    ),
)

OF_BASELINES = (
    Column(
        "atp_hvp",
        METRIC,
        "AtP with its second-order term, g(0) + ½ g'(0).",
        "atp-second-order",
        "AtP, second order",
    ),
    Column(
        "atp_reliability",
        "1",
        "|½ g'(0)| ÷ |g(0)|: how large the second-order term is; near 1 AtP is not to be trusted.",
        "atp-second-order",
        "second term ÷ AtP",
    ),
    Column(
        "eap_ig",
        METRIC,
        "The head's change times its gradient, averaged over points of the embeddings' path.",
        "eap-ig-head",
        "EAP-IG",
    ),
    Column(
        "relp",
        METRIC,
        "The head's change times its coefficient of relevance propagation.",
        "relp",
        "RelP",
    ),
    Column(
        "atp_star",
        METRIC,
        "Sum over layers of the size of AtP with that layer dropped on the way back, "
        "÷ (layers − 1).",
        "atp-star",
        "AtP*",
    ),
)
"""Scores of other papers: columns of heads.parquet where the setting `baselines` names them."""

STUDY_TABLES = (
    Table(
        "pairs.parquet",
        "The pairs that are measured: one row per pair.",
        (
            PAIR,
            ROW,
            *TEXTS,
            CLEAN_TOKENS,
            CORRUPTED_TOKENS,
            Column("correct_tokens", "number", "Token ids of the correct answers.", "token"),
            Column("incorrect_tokens", "number", "Token ids of the incorrect answers.", "token"),
            Column("length", "tokens", "Tokens of the clean prompt, a first special one counted."),
            Column("first_difference", "number", "First position, from 0, at which both differ."),
            Column(
                "aligned_with",
                "number",
                "For each token of the clean prompt the position of its partner in the corrupted "
                "one, -1 without one; its own where both have as many tokens.",
                "alignment",
            ),
            *OF_ANSWERS,
        ),
        open=True,
    ),
    Table(
        "dropped.csv",
        "The rows of the file of pairs that were left out: one row each.",
        (ROW, *TEXTS, Column("reason", "", "Why the row was left out.")),
    ),
    Table(
        "warnings.csv",
        "Pairs that were probably meant otherwise: one row per doubt.",
        (
            ROW,
            PAIR,
            Column("kind", "", "What is doubtful."),
            Column("text", "", "What was seen on the pair."),
            Column("rows", "count", "Pairs that were looked at."),
        ),
    ),
    Table(
        "beginning.json",
        "The token that stands before each prompt: one record.",
        (
            Column("token", "", "Its text; null where none is put there.", "token"),
            Column("id", "number", "Its id; null where none is put there.", "token"),
            Column("why", "", "Why it is put there or not."),
            Column("added_by_tokenizer", "", "Whether the tokenizer puts it there by itself."),
        ),
    ),
    Table(
        "baseline.parquet",
        "The unpatched runs: one row per pair.",
        (
            PAIR,
            Column("metric_clean", METRIC, "The metric on the clean prompt.", "metric"),
            Column("metric_corrupted", METRIC, "The metric on the corrupted prompt.", "metric"),
            Column(
                "logit_difference_clean",
                "logits",
                "The logit difference on the clean prompt, whatever the metric.",
                "logit-difference",
            ),
            Column(
                "logit_difference_corrupted",
                "logits",
                "The logit difference on the corrupted prompt, whatever the metric.",
                "logit-difference",
            ),
            Column(
                "correct",
                "",
                "Whether the logit difference on the clean prompt is above 0.",
                "logit-difference",
            ),
        ),
    ),
    Table(
        "heads.parquet",
        "Every score and measure of every head: one row per pair, direction, layer and head.",
        (
            *HEAD_KEYS,
            AP,
            AP_NORMALISED,
            ATP,
            IG_JOINT,
            IG_DELTA,
            *OF_CURVES,
            *OF_IG,
            *OF_BASELINES,
        ),
    ),
    Table(
        "mlps.parquet",
        "The same for whole MLP layers, which have no IG joint: one row per pair, direction and "
        "layer.",
        (PAIR, DIRECTION, LAYER, AP, AP_NORMALISED, ATP, *OF_CURVES),
    ),
    Table(
        "faithfulness.parquet",
        "What the first k heads by a score recover: one row per pair, direction, score and k.",
        (
            PAIR,
            DIRECTION,
            Column("score", "", "The score by whose size heads are ranked."),
            Column("k", "count", "How many first heads are patched together.", "faithfulness"),
            Column(
                "recovered",
                "share",
                "Their share of the metric's whole change; 1 is all of it.",
                "faithfulness",
            ),
        ),
    ),
    Table(
        "interaction.parquet",
        "With whom the heads interact on which IG joint and AP differ most: one row per pair, "
        "direction, head and partner.",
        (
            *HEAD_KEYS,
            AP,
            OF_CURVES[0],
            IG_JOINT,
            Column("partner", "number", "The other head, of the same layer.", "interaction"),
            Column(
                "interaction",
                METRIC,
                "IG of the head while the two move together − its AP.",
                "interaction",
            ),
            Column(
                "remainder",
                METRIC,
                "IG joint − AP − the head's interactions with all partners.",
                "remainder",
            ),
        ),
    ),
    Table(
        "curves.safetensors",
        "The curves as arrays [pair, direction, layer, head, node]; directions in the order of the "
        "settings.",
        (
            Column("alphas", "1", "The nodes on [0, 1].", "path"),
            Column("pairs", "number", "The number of each kept pair.", "pair"),
            Column("output", METRIC, "f at the nodes.", "output-curve"),
            Column("gradient", METRIC, "g at the nodes.", "gradient"),
        ),
    ),
    Table(
        "provenance.json",
        "What the results were made with: one record.",
        (
            Column("study", "", "The study's name."),
            Column("date", "", "When the record was made, in universal time."),
            Column("counterpoint", "", "The version of this project."),
            Column("commit", "", "Its commit, with +changes where files differed from it."),
            Column("settings", "", "The study's whole configuration, defaults filled in."),
            Column("seeds", "number", "Every seed by the setting that holds it."),
            Column("beginning_of_sequence", "", "What stands in beginning.json.", "token"),
            Column("model", "", "Source, revision and checksums of the model's files."),
            Column("device", "", "What the model ran on."),
            Column("machine", "", "System, processor and cores."),
            Column("python", "", "The version of Python."),
            Column("packages", "", "Versions of what can change a number."),
            Column("durations", "", "Jobs, seconds together and peak MB by rule."),
            Column("durations_without_bos", "", "The same of the study without its first token."),
        ),
    ),
    Table(
        "plan.csv",
        "What a study will take, before it starts: one row per rule.",
        (
            Column("rule", "", "The rule of the workflow."),
            Column("jobs", "count", "How many jobs it has."),
            Column("threads", "count", "Threads of one job."),
            Column("seconds", "seconds", "Time of one job."),
            Column("core_hours", "core-hours", "Time of all jobs × their threads."),
            Column("memory_mb", "MB", "Peak memory of one job."),
            Column("disk_mb", "MB", "What all jobs leave on the disk."),
        ),
    ),
)

DERIVED: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("abs_ap", METRIC, "The size of AP.", "ap", "|AP|"),
        Column("abs_atp", METRIC, "The size of AtP.", "atp", "|AtP|"),
        Column("abs_ig_joint", METRIC, "The size of IG joint.", "ig-joint", "|IG joint|"),
        Column("disagreement", METRIC, "IG joint − AP.", "disagreement", "IG joint − AP"),
        Column("abs_disagreement", METRIC, "Its size.", "disagreement", "|IG joint − AP|"),
        Column("non_monotonicity", "share", "1 − monotonicity.", "monotonicity"),
        Column(
            "company",
            METRIC,
            "How far the other heads of the layer move: the sum of their ranges on [0, 1].",
            "output-range",
        ),
        Column("bend_in_company", "metric²", "Gradient range × company.", "gradient-range"),
        Column("own_path_error", METRIC, "|IG own + jumps − AP|: 0 by completeness.", "ig-own"),
        Column(
            "own_path_allowed",
            METRIC,
            "How far rounding, or what a curve left unresolved, may keep that from 0.",
            "floor",
        ),
    )
}
"""What statistics derive from the columns of heads.parquet: values of `measure` and `score`."""
