"""Every word of the report, explained once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from counterpoint.figures.metric_words import DENOISING, FLAT_START, NO_SLOPE, NOISING, metric_words
from counterpoint.report.html import Fragment, fill, heading, join, paragraph


class Word(NamedTuple):
    """A word and what it means; ``meaning`` is trusted HTML that may link to other words."""

    name: str
    meaning: str


def _link(key: str, text: str) -> str:
    return f'<a class="word" href="#word-{key}">{text}</a>'


WORDS: Mapping[str, Word] = {
    "token": Word(
        "token",
        "The unit a model reads: a word, part of a word or a sign. Token length counts the "
        "beginning-of-sequence token where the study puts one in front.",
    ),
    "pair": Word(
        "pair",
        "A <em>clean</em> and a <em>corrupted</em> prompt of equal token length, with a "
        "<em>correct</em> and an <em>incorrect</em> answer. The prompts differ in what decides "
        "the answer.",
    ),
    "metric": Word(
        "metric",
        "The number that says how a run answers, read at the last position of the prompt.",
    ),
    "logit-difference": Word(
        "logit difference (LD)",
        "Logit of the correct answer − logit of the incorrect answer. Above 0 the model "
        "prefers the correct one.",
    ),
    "head": Word(
        "head",
        "An attention head, written layer.head and counted from 0. Its output is what it adds to "
        "the residual stream at every position. Where heads share keys and values, each query "
        "head counts as one.",
    ),
    "direction": Word(
        "direction",
        "Which prompt is the background. <em>Noising</em>: the clean run, into which the head's "
        "output from the corrupted prompt is put. <em>Denoising</em>: the corrupted run, into "
        "which its output from the clean prompt is put.",
    ),
    "path": Word(
        "path, α",
        "The straight line from the head's output in the background (α = 0) to its output on the "
        "other prompt (α = 1), at all positions together; everything after the head is computed "
        "anew.",
    ),
    "output-curve": Word(
        "output curve f(α)",
        "The metric along the path. f(0) is the unpatched run, f(1) the patched one.",
    ),
    "gradient": Word("gradient g(α)", "The slope of the output curve, df/dα."),
    "output-range": Word(
        "output range",
        "Maximum − minimum of f over the 50 Gauss-Legendre nodes, which leave out α = 0 and "
        "α = 1; so it can be slightly below |AP|. On the closed interval [0, 1] it cannot.",
    ),
    "gradient-range": Word("gradient range", "Maximum − minimum of g over the same nodes."),
    "ap": Word(
        "AP, activation patching",
        "f(1) − f(0): the exact change of the metric when the head's output is replaced by that "
        "of the other prompt. It has a sign; |AP| is its size.",
    ),
    "ap-normalised": Word(
        "AP normalised",
        "AP divided by the metric on the clean prompt − the metric on the corrupted one: the share "
        "of the whole difference that this head moves.",
    ),
    "atp": Word(
        "AtP, attribution patching",
        "g(0): the first-order guess of AP from the slope at the start of the path.",
    ),
    "ig-joint": Word(
        "IG joint",
        "Integrated gradients with all heads of the layer moving together from background to "
        "other; a head's score is its part of the sum over positions and dimensions.",
    ),
    "ig-own": Word(
        "IG on the own path",
        "Integrated gradients with only this head moving, ∫ g dα. It equals AP exactly (a theorem, "
        "called completeness), so it serves as a check of the numbers and is never a finding.",
    ),
    "disagreement": Word(
        "disagreement",
        f"{_link('ig-joint', 'IG joint')} − {_link('ap', 'AP')}. Since integrated gradients on the "
        "head's own path equal AP however crooked its curve, the disagreement is all "
        f"{_link('interaction', 'interaction')}.",
    ),
    "interaction": Word(
        "interaction",
        "What integrated gradients give a head more (or less) because other heads of its layer "
        "move along. With a single partner: the head's integrated gradients while the two move, "
        "less its AP.",
    ),
    "jump": Word(
        "jump of the curve",
        "In a mixture of experts a router runs other experts from some point of the path on, and "
        "the output curve jumps there. Gradients do not see a jump: integrated gradients on the "
        "head's own path and the sum of its jumps together equal AP.",
    ),
    "total-variation": Word(
        "total variation",
        "∫ |g| dα, and the sizes of the jumps: the length of all the ups and downs of the output "
        "curve.",
    ),
    "monotonicity": Word(
        "monotonicity",
        "|AP| divided by the total variation: 1 for a curve that only rises or only falls, near 0 "
        "for one that comes back.",
    ),
    "excess-range": Word(
        "excess range",
        "Output range on [0, 1] − |AP|: movement along the path that returns before its end.",
    ),
    "saturation": Word(
        "saturation",
        "The share of the path on which |g| is below 5 % of its greatest value: the flat parts.",
    ),
    "quadrature-error": Word(
        "quadrature error",
        "How far the output curve may be from the truth, in units of the metric: between the "
        "computed points, and by rounding. A curve that stayed unresolved has a large one.",
    ),
    "floor": Word(
        "floor of rounding",
        "The size below which a movement cannot be told from rounding: the setting "
        "`statistics.floor`, or what rounding in the number format of the study may move, where "
        "that is more (in bfloat16 by far). Heads whose output curve moves by less are marked, and "
        "left out of correlations and lines, with their number.",
    ),
    "correlation": Word(
        "correlation: Pearson, Spearman, Kendall",
        "How two columns go together over heads, from −1 to 1. Pearson: along a straight line. "
        "Spearman: of the ranks. Kendall: share of head pairs in the same order − share in the "
        "opposite order.",
    ),
    "partial": Word(
        "within layers, partial correlation",
        "The correlation that remains when each head is compared only with heads of its own layer, "
        "since deeper layers have larger effects and larger movements alike.",
    ),
    "interval": Word(
        "interval",
        "The range in square brackets: the estimate is computed again on resampled data "
        "(bootstrap) and the interval holds the stated share of the results. Pairs are drawn "
        "whole, since the heads of one pair are not independent (cluster bootstrap), and heads are "
        "drawn too where a number is over heads.",
    ),
    "p-value": Word(
        "permutation p-value",
        "The share of random re-orderings of the heads that give a correlation at least as large. "
        "Corrected p-values allow for the number of tests made.",
    ),
    "stability": Word(
        "stability of the ranking",
        "How far two rankings of heads agree on their top. <em>Jaccard at k</em>: heads in both "
        "tops of k ÷ heads in either. <em>Rank-biased overlap</em>: the same over all depths, "
        "the top weighing most. Both are 1 for equal rankings.",
    ),
    "faithfulness": Word(
        "faithfulness",
        "How well a score names the heads that matter: the first k heads by it are patched "
        "together, and the share of the metric's change that they make is compared with all of it. "
        "Too much counts against a score like too little.",
    ),
    "verdict": Word(
        "verdict",
        "What the numbers of this study say about a claim; it holds for this model, task and set "
        "of pairs.",
    ),
    "share": Word(
        "share of the metric's change",
        "A head's mean AP ÷ the mean change of the metric between the two runs of a pair. Positive "
        "where the head moves the metric towards its value on the other prompt, in both "
        "directions; it makes tasks comparable whose metrics move by different amounts.",
    ),
    "average": Word(
        "average over studies",
        "A random-effects meta-analysis: studies weigh by how sure they are, and their spread "
        "beyond chance widens the interval. <em>I²</em> is the share of the spread that chance "
        "within studies does not explain. Studies of one model share its heads, so the interval "
        "says how sure the average over such studies is, not over all models.",
    ),
    "target": Word("target head", "The head for which pairs are composed."),
    "generated-pair": Word(
        "generated pair",
        "A prompt pair composed by search so that the target head matters on it.",
    ),
    "ld-change": Word(
        "LD change",
        "How far the logit difference falls when the target head's output on the corrupted "
        "prompt replaces its output on the clean one. Searches measure it whatever the metric of "
        "the study is.",
    ),
    "evenness": Word(
        "evenness",
        "Smallest slope ÷ mean slope of the output curve at α = 0, ¼, ½, ¾ and 1: 1 for a straight "
        "line, 0 or less where the curve is flat or turns back.",
    ),
    "changed-tokens": Word(
        "changed tokens", "The number of positions at which the two prompts of a pair differ."
    ),
    "perplexity": Word(
        "perplexity",
        "How surprised the model itself is by a prompt, per token; low for fluent text.",
    ),
    "rank": Word(
        "rank, margin",
        "Rank: the place of the target head among all heads of the model by |AP| on a pair (1 is "
        "first; in the direction noising, unless the text says otherwise). Its reciprocal, 1 ÷ "
        "rank, is 1 for the first and near 0 far behind. Margin: |AP| of the target ÷ |AP| of the "
        "strongest other head, above 1 when the target is first.",
    ),
    "fluent": Word(
        "fluent, fluency cap",
        "A pair is fluent when the model's mean loss per token is at most the cap on both prompts: "
        "the mean over the study's prompts + 0.5 nats (a factor of 1.65 in perplexity).",
    ),
    "surprise": Word(
        "surprise",
        "−log of the probability that the model gave to a token, in nats (0: certain; 2.3: one in "
        "ten; 6.9: one in a thousand). The largest of a pair shows a word out of place that the "
        "mean hides.",
    ),
    "repetition": Word(
        "repetition",
        "The share of neighbouring token pairs of a prompt that stood in it before; of both "
        "prompts the larger.",
    ),
    "short-cut": Word(
        "short cut",
        "A way to a large effect that says little about the head, or a fault of the text: an "
        "answer that stands in a prompt or is the changed token itself, special tokens, an answer "
        "of punctuation alone, an answer that is not the model's likeliest token, a text that the "
        "tokenizer does not turn back into the same tokens.",
    ),
    "transfer": Word(
        "transfer",
        "Whether the same change of tokens works in contexts it was not found in. The changed "
        "tokens keep the three tokens before them and all that follows; what stood before is "
        "replaced by the beginning of a sentence that the model wrote and the search never saw, "
        "cut where the edit goes on most naturally. Answers are the likeliest tokens of each "
        "prompt there; where both prompts have the same one, the edit failed.",
    ),
    "null": Word(
        "null",
        "What chance gives. <em>Random answers</em>: the target's rank and |AP| on the same pair "
        "when the answers are two random tokens (median over draws). <em>Pairs of other "
        "heads</em>: its rank on the pairs that the same method found for other heads.",
    ),
    "hypervolume": Word(
        "hypervolume, not dominated",
        "A pair is dominated when another is at least as good in all four objectives (LD change, "
        "evenness, changed tokens, perplexity) and better in one. The hypervolume is how much of "
        "the space of the four the pairs that are not dominated cover, in units of an LD change.",
    ),
    "evaluation": Word(
        "model evaluation",
        "One prompt's forward or backward pass, whole or in part. Methods are compared at equal "
        "numbers of them.",
    ),
    "atlas": Word(
        "atlas",
        "One pair for every head of the model, found by one search in which each candidate pair "
        "serves all heads.",
    ),
}
"""The glossary, in reading order. Keys are the anchors ``word-{key}``."""


SIGNS = "With the metric {}: "
"""Before what is said of one metric on a page about several."""


def _of_metric(key: str, metric: str) -> list[str]:
    """Sentences that the entry ``key`` gets for a metric."""
    words = metric_words(metric)
    if key == "metric":
        read = "" if metric == "logit_difference" else words.meaning
        return [f"Here it is the {words.name} ({words.short}), in {words.unit}.", read]
    if key == "direction":
        return [words.sign((NOISING, DENOISING))]
    if key == "ap-normalised":
        return [words.normalised]
    if key == "atp":
        return [NO_SLOPE] if words.starts_flat else []
    if key == "output-curve":
        return [FLAT_START] if words.starts_flat else []
    if key == "share":
        return ["In noising it cannot be negative with this metric."] if words.one_sided else []
    return []


def _meaning(key: str, metrics: Sequence[str]) -> Fragment:
    """The meaning of a word on a page about studies with these metrics."""
    parts: list[Any] = [Fragment(WORDS[key].meaning)]
    for metric in metrics:
        said = " ".join(sentence for sentence in _of_metric(key, metric) if sentence)
        if said and len(metrics) > 1 and key != "metric":
            said = SIGNS.format(metric_words(metric).name) + said
        if said:
            parts.append(said)
    return join(parts, " ")


def glossary(metrics: Sequence[str] = ("logit_difference",)) -> Fragment:
    """Return the section that explains every word, as it is meant with these metrics."""
    entries = join(
        fill(
            '<dt id="word-{}">{}</dt><dd>{}</dd>',
            key,
            entry.name,
            _meaning(key, list(dict.fromkeys(metrics))),
        )
        for key, entry in WORDS.items()
    )
    return join(
        [
            heading("glossary", "Words"),
            paragraph("Each word of this report, once. Links in the text lead here."),
            fill('<dl class="glossary">{}</dl>', entries),
        ]
    )
