"""What may be said of a metric: its names, its unit, and what a sign means in each direction.

The one home of every sentence that depends on the metric. A logit difference falls when a head that
carries the task is patched in noising; a log-probability does too, but is never above 0 and knows
nothing of the incorrect answer; a KL divergence from the clean run is 0 on the clean prompt and can
only rise from there, so that in noising no sign and no slope at the start say anything. Sentences
are plain text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

NOISING, DENOISING = "noising", "denoising"
DEFAULT_METRIC = "logit_difference"


@dataclass(frozen=True)
class MetricWords:
    """The words of one metric.

    Attributes:
        short, name: as in a table's head and as in a sentence.
        unit: of the metric, and so of AP, AtP, IG, ranges and errors.
        meaning: what it is and how to read its value.
        first: what the heads of largest |AP| move.
        clean: a remark on its value on clean prompts; empty where none is needed.
        signs: what the sign of AP says, by direction.
        opposite: what a head of the other sign does, where signs say something in both directions.
        normalised: how the sign of AP normalised goes.
        starts_flat: the directions in which every slope at α = 0 is 0, whatever the model does.
        one_sided: the directions in which AP cannot be negative.
    """

    short: str
    name: str
    unit: str
    meaning: str
    first: str
    signs: Mapping[str, str]
    opposite: str
    normalised: str
    clean: str = ""
    starts_flat: frozenset[str] = field(default_factory=frozenset)
    one_sided: frozenset[str] = field(default_factory=frozenset)

    def sign(self, directions: Sequence[str], what: str = "head") -> str:
        """What the sign of AP says in these directions, in sentences about heads or ``what``."""
        said = [self.signs[name] for name in directions if name in self.signs]
        text = " ".join([*said, self.opposite] if self.opposite else said)
        return re.sub(r"\bhead\b", what, text)

    def flat(self, directions: Sequence[str]) -> list[str]:
        """Those of the directions in which every slope at the start is 0."""
        return [name for name in directions if name in self.starts_flat]

    def one_signed(self, directions: Sequence[str]) -> list[str]:
        """Those of the directions in which AP cannot be negative."""
        return [name for name in directions if name in self.one_sided]


METRICS: dict[str, MetricWords] = {
    "logit_difference": MetricWords(
        short="LD",
        name="logit difference",
        unit="logits",
        meaning="Logit of the correct answer − logit of the incorrect answer. Above 0 the model "
        "prefers the correct one.",
        first="the answer",
        signs={
            NOISING: "In the direction noising a head that carries the task lowers the logit "
            "difference: its AP is negative.",
            DENOISING: "In the direction denoising a head that carries the task raises the logit "
            "difference: its AP is positive.",
        },
        opposite="A head of the opposite sign works against the correct answer.",
        normalised="For a head that carries the task it is negative in noising and positive in "
        "denoising, like AP, as long as the clean prompt has the larger logit difference.",
    ),
    "log_probability": MetricWords(
        short="log p",
        name="log-probability of the correct answer",
        unit="nats",
        meaning="Natural logarithm of the probability of the correct answer (of any of them, where "
        "several are given). It is never above 0, which would be certainty; -0.7 is one in two, "
        "-2.3 one in ten. The incorrect answer has no part in it: what the correct one loses may "
        "go to any token, and whether the model prefers it is read from the logit difference.",
        first="the probability of the correct answer",
        signs={
            NOISING: "In the direction noising a head that carries the task makes the correct "
            "answer less probable: its AP is negative.",
            DENOISING: "In the direction denoising a head that carries the task makes the correct "
            "answer more probable: its AP is positive.",
        },
        opposite="A head of the opposite sign works against the correct answer. What becomes of "
        "the incorrect one this metric does not say.",
        normalised="For a head that carries the task it is negative in noising and positive in "
        "denoising, like AP, as long as the correct answer is more probable on the clean prompt.",
    ),
    "kl_divergence": MetricWords(
        short="KL",
        name="Kullback-Leibler divergence from the clean run",
        unit="nats",
        meaning="KL(clean ‖ run) of the predictions for the next token, over all tokens: how far "
        "the run's prediction is from that of the clean run. It is 0 on the clean prompt and never "
        "below. Neither answer has a part of its own in it.",
        first="the prediction",
        signs={
            NOISING: "In the direction noising no AP can be negative: the unpatched run is the "
            "clean run itself, where the divergence is 0, and any change raises it. A large AP "
            "says that the prediction hangs on the head, never whether the head helps or hinders "
            "the correct answer.",
            DENOISING: "In the direction denoising a head that carries the task brings the "
            "prediction back towards the clean run's: its AP is negative. One with a positive AP "
            "takes it further away.",
        },
        opposite="",
        normalised="Since the divergence is larger on the corrupted prompt, its sign is the "
        "opposite of AP's: never positive in noising, positive in denoising for a head that "
        "carries the task.",
        clean="0 by definition",
        starts_flat=frozenset({NOISING}),
        one_sided=frozenset({NOISING}),
    ),
}
"""The words of every metric by its name in the configuration."""


_OF_WHOLE_ANSWERS = " of whole answers"

WHOLE_ANSWERS: dict[str, MetricWords] = {
    f"logit_difference{_OF_WHOLE_ANSWERS}": replace(
        METRICS["logit_difference"],
        short="log odds",
        name="log odds of the whole answers",
        unit="nats",
        meaning="Log-probability of the correct answer − that of the incorrect one, each "
        "the sum over all of its tokens, read behind the prompt and the answer's tokens before it. "
        "Above 0 the model prefers the correct one. Of answers of one token it is their logit "
        "difference.",
        signs={
            NOISING: "In the direction noising a head that carries the task lowers the log odds: "
            "its AP is negative.",
            DENOISING: "In the direction denoising a head that carries the task raises the log "
            "odds: its AP is positive.",
        },
        normalised="For a head that carries the task it is negative in noising and positive in "
        "denoising, like AP, as long as the clean prompt has the larger log odds.",
    ),
    f"log_probability{_OF_WHOLE_ANSWERS}": replace(
        METRICS["log_probability"],
        name="log-probability of the whole correct answer",
        meaning="Natural logarithm of the probability of the correct answer: the sum over all of "
        "its tokens, each read behind the prompt and the tokens before it. It is never above 0. "
        "The incorrect answer has no part in it, and whether the model prefers it is read from the "
        "log odds.",
    ),
}
"""The same where answers are read whole (`answer_tokens: whole`)."""


def measured_metric(metric: str, answer_tokens: str = "one") -> str:
    """The name by which a study's metric has its words: its own, or that of whole answers."""
    return f"{metric}{_OF_WHOLE_ANSWERS}" if answer_tokens == "whole" else metric


def of_whole_answers(name: str) -> bool:
    """Whether a metric, as `measured_metric` names it, is read of whole answers."""
    return name in WHOLE_ANSWERS


def metric_words(name: str) -> MetricWords:
    """The words of a metric, as `measured_metric` names it; for an unknown one its name and nothing
    that could be wrong."""
    return (METRICS | WHOLE_ANSWERS).get(name) or MetricWords(
        short=name,
        name=name,
        unit="units of the metric",
        meaning="",
        first="the metric",
        signs={},
        opposite="",
        normalised="",
    )


NO_SLOPE = (
    "The divergence has its least value, 0, at the clean run, so its slope there is 0 whatever is "
    "changed: AtP is 0 for every head in noising. It is no estimate of AP there, and any order of "
    "heads by it is an order of rounding errors."
)
"""Why AtP is 0 where a metric starts flat."""

FLAT_START = (
    "In noising every curve begins at 0 with slope 0 and bends upwards at first, by the nature of "
    "this metric and not of the head: the first-order guess is never right, and the flat beginning "
    "counts as saturation (a plain parabola has 5 %)."
)
"""What that does to curves."""

ONE_SIGN = (
    "In noising AP is never negative with this metric, so AP with its sign is |AP| there and both "
    "correlations are one."
)
"""What a one-sided metric does to the correlations with AP and with |AP|."""

SEARCHES = (
    "Searches for pairs, and the checks of what they found, always measure the change of the logit "
    "difference (LD)"
)
"""What generated pairs are measured by, whatever the study's metric is."""


def searches(name: str) -> str:
    """What generated pairs are measured by, in a sentence; empty where it is the study's metric."""
    if name == "logit_difference":
        return ""
    return (
        f"{SEARCHES}: LD changes, |AP|, ranks and curves of generated pairs are not in the study's "
        f"metric, the {metric_words(name).name}."
    )
