"""Settings that a study of whole answers (`answer_tokens: whole`) must not have, and why.

What is measured there is a sum of what is read at several positions. Measures that are no such sum,
or that read the one last position, are told before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NOT_OF_SUMS = {
    "positions": "the two answers' tokens are positions that they do not share",
    "position_curves": "the two answers' tokens are positions that they do not share",
    "circuit": "circuits are chosen by what is read at one position",
    "answers": "other answers are compared at one position",
}
"""Measures of the first so many pairs that are not made of whole answers, with the reason."""

REMEDY = "or `answer_tokens: first_difference` (docs/answer-tokens.md)"


def not_of_whole_answers(studies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What studies with `answer_tokens: whole` ask for that is not measured of whole answers."""
    return [
        mistake
        for name, study in studies.items()
        if study["answer_tokens"] == "whole"
        for mistake in _of_study(f"studies.{name}", study)
    ]


def _of_study(key: str, study: Mapping[str, Any]) -> Iterator[str]:
    if study["metric"] == "kl_divergence":
        yield (
            f"{key}.metric: kl_divergence is of the predictions at one position and not defined for"
            f" `answer_tokens: whole`; give logit_difference or log_probability, {REMEDY}"
        )
    for measure, reason in NOT_OF_SUMS.items():
        asked = study[measure]["pairs"]
        if asked != "none":
            yield (
                f"{key}.{measure}.pairs: {asked} is not measured with `answer_tokens: whole`, since"
                f" {reason}; give none, {REMEDY}"
            )
    if "atp_star" in study["baselines"]:
        yield (
            f"{key}.baselines: atp_star is a sum of sizes, which is not the sum of what it is at"
            " each token of a whole answer, and not measured with `answer_tokens: whole`; leave it"
            f" out, {REMEDY}"
        )
