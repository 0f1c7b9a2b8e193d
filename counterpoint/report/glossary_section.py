"""The section that explains every word of the page, from the glossary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from counterpoint.glossary import WORDS
from counterpoint.glossary.metric_words import (
    DENOISING,
    FLAT_START,
    NO_SLOPE,
    NOISING,
    metric_words,
)
from counterpoint.report.html import Fragment, fill, heading, join, paragraph, word

MARKS = re.compile(r"\*([^*]+)\*|\[([^]]+)\]\(#([a-z-]+)\)|`([^`]+)`")
"""The marks of a glossary's text: emphasis, a link to a word, a name (`glossary.entries`)."""


def rendered(text: str) -> Fragment:
    """Return a text of the glossary as HTML, all but its marks escaped."""
    parts: list[Any] = []
    end = 0
    for mark in MARKS.finditer(text):
        parts.append(text[end : mark.start()])
        emphasis, shown, key, name = mark.groups()
        if emphasis:
            parts.append(fill("<em>{}</em>", emphasis))
        elif shown:
            parts.append(word(key, shown))
        else:
            parts.append(fill("<code>{}</code>", name))
        end = mark.end()
    return join([*parts, text[end:]])


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
    parts: list[Any] = [rendered(WORDS[key].meaning)]
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
