"""The tables of where in the prompt components act, of parts inside heads and of paths between."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.glossary.entries import METRIC, Column, Table
from counterpoint.glossary.shared_columns import DIRECTION, HEAD_KEYS, LAYER, PAIR
from counterpoint.glossary.study_tables import ATP, OF_CURVES

CHANGES = (
    Column(
        "centred_logit_change",
        "logits",
        "The change of its logit − the mean change over the vocabulary.",
        "answer-effect",
    ),
    Column(
        "log_probability_change",
        "nats",
        "The change of its log-probability.",
        "answer-effect",
    ),
    Column("probability_change", "share", "The change of its probability.", "answer-effect"),
    Column(
        "log_probability",
        "nats",
        "Its log-probability in the background; of means over pairs, of the mean probability.",
    ),
)
"""What patching a head does to one token."""

AT_POSITIONS = (
    Column(
        "component",
        "",
        "What is replaced.",
        "position",
        says={
            "residual": "the residual stream before the layer's block; before layer 0 the "
            "embeddings",
            "attention": "the layer's whole attention output",
            "mlp": "the layer's MLP output",
            "head": "one head's output",
        },
    ),
    LAYER,
    Column("head", "number", "The head within its layer; -1 where all is replaced.", "head"),
    Column("position", "number", "The position in the prompt, from 0.", "position"),
    Column("token", "", "The text of the background prompt's token there.", "token"),
    Column("span", "", "The span that has the position; empty where none has.", "span"),
)
"""What tells apart the rows of the tables of single positions, behind pair and direction."""

ON_THE_WAY = (
    "output_range",
    "output_range_closed",
    "gradient_range",
    "total_variation",
    "monotonicity",
    "excess_range",
    "saturation",
    "quadrature_error",
    "gradient_error",
    "nodes",
    "resolved",
)
"""Measures of a curve at one position that stand beside AP and AtP."""

MECHANISM_TABLES = (
    Table(
        "positions.parquet",
        "AP at single positions, from the first difference on: one row per pair, direction, "
        "component, layer, head and position.",
        (
            PAIR,
            DIRECTION,
            *AT_POSITIONS,
            Column(
                "ap",
                METRIC,
                "AP with the output replaced at this position alone.",
                "position",
                "AP at the position",
            ),
            Column(
                "ap_joint",
                METRIC,
                "AP with the output replaced at all positions; repeated in the rows of a unit.",
                "ap",
                "AP at all positions",
            ),
        ),
    ),
    Table(
        "position_curves.parquet",
        "f and g with one position on its way: one row per pair, direction, component, layer, head "
        "and position. A study has it where the setting `pairs` of `position_curves` asks for it.",
        (
            PAIR,
            DIRECTION,
            *AT_POSITIONS,
            Column(
                "ap",
                METRIC,
                "f(1) − f(0) with this position alone on its way.",
                "position",
                "AP at the position",
            ),
            ATP,
            *(column for column in OF_CURVES if column.name in ON_THE_WAY),
            Column(
                "output",
                METRIC,
                "f at the 50 Gauss-Legendre nodes of [0, 1], as a list.",
                "output-curve",
            ),
            Column("gradient", METRIC, "g at the same nodes, as a list.", "gradient"),
        ),
    ),
    Table(
        "roles.parquet",
        "What each head's query, key, value and pattern alone do: one row per pair, direction, "
        "layer, head and role.",
        (
            *HEAD_KEYS,
            Column(
                "role",
                "",
                "Which part comes from the other prompt.",
                "role",
                says={
                    "query": "the head's query",
                    "key": "the key, seen by this query head alone",
                    "value": "the value, seen by this query head alone",
                    "pattern": "the head's attention weights, over the background's values",
                    "output": "the head's output: AP",
                    "key_group": "the key that a group of query heads shares, seen by all of them; "
                    "head is the first of the group",
                    "value_group": "the value that a group of query heads shares, likewise",
                },
            ),
            Column(
                "ap",
                METRIC,
                "The metric with that part from the other prompt − the background's.",
                "role",
                "AP",
            ),
        ),
    ),
    Table(
        "patterns.safetensors",
        "What the heads look at, as arrays [layer, head, query, key] of each kept pair and prompt; "
        "not a number in layers without heads.",
        (
            Column("pairs", "number", "The number of each kept pair.", "pair"),
            Column(
                "{pair}.clean", "share", "The patterns on the clean prompt.", "attention-pattern"
            ),
            Column(
                "{pair}.corrupted",
                "share",
                "The patterns on the corrupted prompt.",
                "attention-pattern",
            ),
        ),
    ),
    Table(
        "edges.parquet",
        "What senders do through single receivers: one row per pair, direction, receiver, role and "
        "sender. A study has it where the setting `pairs` of `edges` asks for it.",
        (
            PAIR,
            DIRECTION,
            Column(
                "sender_layer", "number", "The sender's layer; -1 for the embeddings.", "sender"
            ),
            Column(
                "sender_head",
                "number",
                "The sender's head; -1 for an MLP and for the embeddings.",
                "sender",
            ),
            Column(
                "receiver_layer",
                "number",
                "The receiver's layer; for the logits the number of layers.",
                "receiver",
            ),
            Column(
                "receiver_head", "number", "The receiver's head; -1 for the logits.", "receiver"
            ),
            Column(
                "role",
                "",
                "What of the receiver the sender's change goes into.",
                "receiver",
                says={
                    "query": "the head's query",
                    "key": "the head's key, which under grouped queries it alone sees",
                    "value": "the head's value, likewise",
                    "logits": "the final norm and the unembedding",
                },
            ),
            Column(
                "effect",
                METRIC,
                "The exact effect of the edge; where `exact` is false, EAP-IG in its place.",
                "edge",
            ),
            Column("exact", "", "Whether the effect is exact.", "edge"),
            Column(
                "eap",
                METRIC,
                "The first-order score with the background's gradient; empty where not asked for.",
                "eap",
                "EAP",
            ),
            Column(
                "eap_ig",
                METRIC,
                "The same with the gradient averaged between the two prompts.",
                "eap-ig",
                "EAP-IG",
            ),
        ),
    ),
    Table(
        "answers.parquet",
        "What heads do to any answers: one row per pair, direction, layer, head and answer.",
        (
            *HEAD_KEYS,
            Column("answer", "number", "The answer's token id.", "token"),
            Column("text", "", "Its text."),
            Column(
                "role",
                "",
                "What it is on this pair.",
                "answer-effect",
                says={
                    "correct": "the pair's correct answer, or one of them",
                    "incorrect": "the pair's incorrect answer, or one of them",
                    "candidate": "another one that was asked for",
                },
            ),
            Column(
                "logit_change",
                "logits",
                "Its logit with the head patched − in the background; of the correct answer less "
                "that of the incorrect one it is AP of the logit difference.",
                "answer-effect",
            ),
            *CHANGES,
        ),
    ),
    Table(
        "answer_tokens.parquet",
        "The tokens of the vocabulary that heads raise and lower most: one row per pair, "
        "direction, layer, head, order, side and rank.",
        (
            replace(PAIR, meaning="The pair's number; -1 for the mean over all pairs looked at."),
            *HEAD_KEYS[1:],
            Column(
                "by",
                "",
                "By which change tokens are ordered.",
                "answer-effect",
                says={
                    "logit": "that of the logit, which orders as that of the log-probability does",
                    "probability": "that of the probability",
                },
            ),
            Column(
                "side",
                "",
                "What the head does to the token.",
                "answer-effect",
                says={"raised": "raises it", "lowered": "lowers it"},
            ),
            Column("rank", "number", "Its place on that side, 1 for the first.", "answer-effect"),
            Column("token", "number", "The token's id.", "token"),
            Column("text", "", "Its text."),
            *CHANGES,
        ),
    ),
)
