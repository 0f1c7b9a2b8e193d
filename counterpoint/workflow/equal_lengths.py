"""What a study may not ask for where its pairs are of unequal length (`unequal_lengths: align`).

Outputs of heads, MLPs, attention layers and the residual stream are replaced at aligned positions
alone (`pairs.alignment`). What compares the two prompts in another way has no such definition, and
is refused before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_PART_BY_PART: Mapping[str, str] = {
    "roles": "a query, key or pattern belongs to a position among all that it reads, and these are "
    "not the same in both prompts",
    "patterns": "patterns of prompts of unequal length have no difference",
    "edges": "a sender's change goes into queries and keys of positions that the other prompt need "
    "not have",
    "circuit": "what is outside a circuit is held at the other prompt's values, which positions "
    "without a partner do not have",
}
"""Settings with a key `pairs`, and why they need prompts of equal length."""


def needing_equal_lengths(studies: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A mistake for each setting of a study that cannot be had with pairs of unequal length."""
    for name, study in studies.items():
        if study["unequal_lengths"] == "align":
            for key, reason, remedy in _refused(study):
                yield (
                    f"studies.{name}.{key}: not with unequal_lengths: align, since {reason}; "
                    f"{remedy}, or set unequal_lengths: refuse"
                )


def _refused(study: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The key, why it is refused, and what to write instead."""
    if study["answer_tokens"] == "whole":
        reason = "whole answers of several tokens are measured behind prompts of equal length"
        yield "answer_tokens", reason, "set it to one or first_difference"
    for key, reason in _PART_BY_PART.items():
        if study[key]["pairs"] != "none":
            yield f"{key}.pairs", reason, "set it to none"
    if study["baselines"]:
        reason = "these scores are defined, in their papers, on prompts of equal length"
        yield "baselines", reason, "set it to []"
    searches = study["counterfactuals"]
    starts = "a search that starts at the pairs of the study needs prompts of equal length"
    if searches["targets"] and searches["start"] is None:
        yield "counterfactuals.start", starts, "give a prompt, or set targets to []"
    if searches["atlas"]["seeds"] and searches["atlas"]["start"] is None:
        yield "counterfactuals.atlas.start", starts, "give a prompt, or set seeds to []"
