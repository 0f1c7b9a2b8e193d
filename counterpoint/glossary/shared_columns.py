"""Columns that stand in many tables and mean the same in all of them."""

from __future__ import annotations

from collections.abc import Mapping

from counterpoint.glossary.entries import Column

AGREEMENTS: Mapping[str, str] = {
    "jaccard": "Jaccard at k",
    "rank_biased_overlap": "rank-biased overlap",
    "spearman": "Spearman",
    "pearson": "Pearson",
    "kendall_w": "Kendall’s W",
}
"""How far two rankings of heads agree: every measure by its name in the tables."""

VARIANCES: Mapping[str, str] = {
    "template": "between templates",
    "pair": "between pairs of one template",
    "rest": "between the directions on one pair",
}
"""The variance components of AP by their names in `variance.csv`."""

PAIR = Column("pair", "number", "The pair's number, from 0 in the order of its file.", "pair")
ROW = Column(
    "row", "number", "The row of the file of pairs, from 1 after its header; -1 for none.", "pair"
)
DIRECTION = Column(
    "direction",
    "",
    "Which prompt is the background.",
    "direction",
    says={
        "noising": "the clean run, into which what the corrupted prompt gives is put",
        "denoising": "the corrupted run, into which what the clean prompt gives is put",
    },
)
LAYER = Column("layer", "number", "The layer, counted from 0.", "head")
HEAD = Column("head", "number", "The head within its layer, counted from 0.", "head")
NOTE = Column("note", "", "Why a number cannot be given or what limits it; empty without remark.")
SEED = Column("seed", "number", "The seed that the search began from.")
METHOD = Column("method", "", "The method of search, by its name in the configuration.")

CI_LOW = Column("ci_low", "varies", "Lower end of the interval of the estimate.", "interval")
CI_HIGH = Column("ci_high", "varies", "Upper end of the interval of the estimate.", "interval")
P_PERMUTATION = Column(
    "p_permutation",
    "share",
    "The share of random re-orderings that give a number at least as extreme.",
    "p-value",
)
P_ADJUSTED = Column(
    "p_adjusted",
    "share",
    "The permutation p-value corrected for the number of tests (false discovery rate).",
    "p-value",
)
CHANCE = Column(
    "chance",
    "share",
    "What the agreement would be on average for rankings in random order.",
    "chance",
    "by chance",
)
K = Column("k", "count", "How many first heads of a ranking are compared.", "stability")

CLEAN = Column("clean", "", "The clean prompt.", "pair")
CORRUPTED = Column("corrupted", "", "The corrupted prompt.", "pair")
CORRECT = Column("correct", "", "The answer that is right on the clean prompt.", "pair")
INCORRECT = Column("incorrect", "", "The answer that stands against it.", "pair")
CLEAN_TOKENS = Column("clean_tokens", "number", "Token ids of the clean prompt.", "token")
CORRUPTED_TOKENS = Column(
    "corrupted_tokens", "number", "Token ids of the corrupted prompt.", "token"
)

LD_CHANGE = Column(
    "ld_change",
    "logits",
    "f(0) − f(1) of the target head in noising: how far the logit difference falls, −AP.",
    "ld-change",
    "LD change",
)
EVENNESS = Column(
    "evenness",
    "1",
    "Smallest ÷ mean of the four slopes of the fall between α = 0, ¼, ½, ¾ and 1; -1 where LD does "
    "not fall.",
    "evenness",
)
CHANGED_TOKENS = Column(
    "changed_tokens", "tokens", "Positions at which the two prompts differ.", "changed-tokens"
)
MARGIN = Column(
    "margin",
    "1",
    "|AP| of the target head ÷ |AP| of the strongest other head of the model.",
    "rank",
)
SECOND = Column(
    "second", "", "The strongest other head by |AP|, as layer.head.", "rank", "strongest other"
)
EVALUATIONS = Column("evaluations", "count", "Model evaluations that had been spent.", "evaluation")
SECONDS = Column("seconds", "seconds", "Time that had been spent.")
HYPERVOLUME = Column(
    "hypervolume",
    "logits",
    "How much of the space of the four objectives the kept pairs cover, as an LD change.",
    "hypervolume",
)

TEXTS = (CLEAN, CORRUPTED, CORRECT, INCORRECT)
HEAD_KEYS = (PAIR, DIRECTION, LAYER, HEAD)
INTERVAL = (CI_LOW, CI_HIGH)
SCORE = Column("score", "", "The score that it is compared with or that heads are ranked by.")

OF_ANSWERS = (
    Column("answer_beginning", "count", "Tokens that both answers begin with, prompts' last."),
    Column("correct_rest", "number", "Token ids of the correct answer behind its first.", "token"),
    Column("incorrect_rest", "number", "Token ids of the incorrect one behind its first.", "token"),
    Column("read_whole", "", "Whether all tokens of the answers are read."),
)
"""Columns of pairs.parquet where the setting `answer_tokens` takes answers of several tokens."""
