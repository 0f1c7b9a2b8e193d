"""What a study does not show, said from its own settings and tables.

A page that is sent on is read without its docs. What its numbers leave open stands on it: which
pairs, templates and model they are about, what was patched together, which metric and directions,
how many heads were looked at, and what stands before each prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterpoint.models.beginning_token import BOTH as WITH_AND_WITHOUT
from counterpoint.report.html import Fragment, count, fill, heading, join, number, word
from counterpoint.report.prompt_tokens import is_unequal
from counterpoint.report.section_parts import has_several_pairs, listed, named_pairs, percent
from counterpoint.report.study_results import Results
from counterpoint.statistics.panel import TEMPLATE
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.templates import named

DIRECTIONS = {
    "noising": "noising says what breaks when a head is spoilt: a head that others can stand in "
    "for looks idle",
    "denoising": "denoising says what a head alone brings back: a head that needs others beside "
    "it looks idle",
}
"""What each direction asks, and so cannot see."""

REPLACED = {
    "one": "What is put in a head's place is its own output on the other prompt",
    "whole": "What is put in a head's place, at the answer's tokens as well, is its own output on "
    "the other prompt",
}

SEVERAL_HEADS = (
    "Heads are patched one at a time and all that follows is computed anew. Effects of single "
    "heads do not add up: heads stand in for one another and overshoot together."
)

CONTRAST = (
    "the effect is that of the difference between these two prompts. What both have in common "
    "(that a name is needed at all, say) leaves no trace, and nothing is set to zero or to a mean."
)


def limits(results: Results) -> Fragment:
    """Return the section on what the study leaves open."""
    items = join(fill("<li><b>{}</b> {}</li>", title, said) for title, said in _said(results))
    return join(
        [
            heading("limits", "What this does not show"),
            fill('<ul class="limits">{}</ul>', items),
        ]
    )


def _said(results: Results) -> Iterator[tuple[str, Any]]:
    yield "Other prompts.", _pairs(results)
    if len(results.baseline) > _sampled(results):
        yield "The other pairs.", _on_a_sample(results)
    yield "Other templates.", _templates(results)
    yield "Other models.", _model(results)
    yield "Where in the prompt.", _positions(results)
    yield "What several heads do.", SEVERAL_HEADS
    yield "Other contrasts.", f"{REPLACED.get(results.answers_read, REPLACED['one'])}: {CONTRAST}"
    yield "Other readings.", _metric(results)
    yield "The other side.", _directions(results)
    yield "Chance among many heads.", _many(results)
    yield "The first token.", _beginning(results)
    if results.generated or results.atlas is not None:
        yield (
            "Ordinary text.",
            (
                "A pair that was composed for a head shows that the head can decide an answer, not "
                "what it does in texts that nobody composed."
            ),
        )


def _sampled(results: Results) -> int:
    return int(results.statistic("sampled_pairs", Settings().sampled_pairs))


def _on_a_sample(results: Results) -> str:
    ranked = int(results.statistic("ranked_pairs", Settings().ranked_pairs))
    said = (
        f"Coefficients are means over all {len(results.baseline)} pairs, but heads were drawn and "
        f"shuffled, and Kendall's coefficients computed, on {_sampled(results)} of them, drawn by "
        "the seed."
    )
    if len(results.baseline) > ranked:
        said += f" Rankings, sample sizes and variances are those of {ranked}."
    return said


def _model(results: Results) -> str:
    heads = "heads are" if results.n_heads > 1 else "head is"
    return (
        f"One model ({results.settings.get('model', 'unknown')}), in {results.dtype}. Its "
        f"{count(results.n_heads)} {heads} all there are and no sample of anything: nothing here "
        "is about models in general."
    )


def _pairs(results: Results) -> str:
    n_pairs = len(results.baseline)
    right = int(results.baseline["correct"].astype(bool).sum())
    lacking = n_pairs - right
    said = (
        "One pair, so that nothing says how far any number holds on another."
        if n_pairs == 1
        else f"{n_pairs} pairs of one task. Intervals say how far means would vary over more pairs "
        "of this kind; of rare prompts they say little, of another task nothing."
    )
    if lacking:
        said += (
            f" On {lacking} of {n_pairs} the model does not prefer the correct answer on the clean "
            "prompt; they count like the others."
        )
    left = len(results.dropped)
    if left:
        said += (
            f" {left} {'row' if left == 1 else 'rows'} of the file of pairs "
            f"{'was' if left == 1 else 'were'} left out."
        )
    return said


def _templates(results: Results) -> str:
    names = results.heads.drop_duplicates("pair").get(TEMPLATE)
    if names is None:
        return (
            "The file of pairs names no templates (a column template), so pairs count as "
            "independent. Where they share a sentence, intervals are too narrow."
        )
    n_pairs, n_templates = results.heads["pair"].nunique(), named(names.astype(str))
    if n_templates == 0:
        return (
            "The column template of the pairs is empty, so pairs count as independent. Where they "
            "share a sentence, intervals are too narrow."
        )
    which = "template" if n_templates == 1 else "templates"
    said = f"The {n_pairs} pairs are of {n_templates} {which}"
    if n_templates == 1:
        return f"{said}: what holds on it may be of the sentence and not of the task."
    if n_templates == n_pairs:
        return (
            f"{said}, one pair each: what is of the template and what of the names in it cannot be "
            "told apart."
        )
    drawn = (
        "Intervals draw whole templates"
        if results.drawn == "templates"
        else "Intervals draw pairs one by one, as if they were of templates of their own, and are "
        "too narrow for sentences of another pattern"
    )
    return f"{said}. {drawn}."


def _positions(results: Results) -> str:
    unequal = any(is_unequal(row) for row in results.pairs.to_dict("records"))
    said = "A head's output is replaced at all positions together, from the first token that " + (
        "differs on, at aligned positions only where prompts have unequal lengths"
        if unequal
        else "differs to the last"
    )
    found = results.positions
    measured = (
        f"single positions were patched on {named_pairs(results, found['pair'])}"
        if found is not None and not found.empty
        else "no single position was patched"
    )
    roles = results.roles
    parts = (
        f"queries, keys, values and patterns on {named_pairs(results, roles['pair'])}"
        if roles is not None and not roles.empty
        else "no query, key, value or pattern"
    )
    return f"{said}. AP alone does not say at which of them it acts: {measured}, {parts}."


def _metric(results: Results) -> str:
    words = results.words
    said = (
        f"Everything is the change of one number, the {words.name}, read behind the prompt. What "
        "moves other tokens and leaves it alone does not show."
    )
    if words.one_sided:
        said += (
            f" In {listed(sorted(words.one_sided))} it cannot fall, so that no sign says whether a "
            "head helps or hinders."
        )
    if results.mlps is None:
        said += " MLP layers were not patched; what heads do through them is part of AP."
    return said


def _directions(results: Results) -> str:
    asked = [DIRECTIONS[name] for name in results.directions if name in DIRECTIONS]
    said = f"{'; '.join(asked)}." if asked else ""
    said = said[:1].upper() + said[1:]
    missing = [name for name in DIRECTIONS if name not in results.directions]
    if missing:
        said += f" The direction {listed(missing)} was not measured."
    return said


def _many(results: Results) -> Fragment:
    n_tests = results.n_heads * len(results.directions)
    confidence = float(results.statistic("confidence", 0.95))
    first = (
        "The first heads were chosen on the pairs that they are shown on, so that their means are "
        "somewhat too large."
    )
    if not has_several_pairs(results):
        return fill(
            "{} heads {} were looked at on one pair. {}",
            count(results.n_heads),
            "in both directions" if len(results.directions) > 1 else "in one direction",
            first,
        )
    return fill(
        "{} heads × {} {}: each {} interval is about its head alone, and were all effects 0 about "
        "{} of these intervals would leave 0 out. {} Of correlations “{}” is the false discovery "
        "rate over the table; other p-values are not corrected.",
        count(results.n_heads),
        len(results.directions),
        "directions" if len(results.directions) > 1 else "direction",
        percent(confidence),
        number((1 - confidence) * n_tests, 0 if (1 - confidence) * n_tests >= 1 else 1),
        first,
        word("p-value", "p corrected"),
    )


def _beginning(results: Results) -> Any:
    known = results.provenance.get("beginning_of_sequence")
    asked = results.settings.get("prepend_bos")
    if asked == WITH_AND_WITHOUT:
        return fill(
            "All is measured with the beginning-of-sequence token before each prompt, and AP once "
            'more <a href="#without-bos">without it</a>: where the two differ, say which one a '
            "result is."
        )
    if not known:
        return (
            "Whether a beginning-of-sequence token stands before a prompt can change which heads "
            "matter; which holds here is not recorded."
        )
    stands = known["id"] is not None
    return (
        f"Prompts were measured {'with' if stands else 'without'} a beginning-of-sequence token "
        f"before them; how the heads rank {'without' if stands else 'with'} one is another study."
    )
