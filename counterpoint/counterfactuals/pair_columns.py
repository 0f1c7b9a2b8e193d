"""A pair as columns of a table: its texts, tokens, answers, and what follows from these alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoint.models.load import LanguageModel

PAIR_COLUMNS = (
    "clean",
    "corrupted",
    "clean_tokens",
    "corrupted_tokens",
    "correct",
    "incorrect",
    "correct_token",
    "incorrect_token",
    "ld_change",
    "evenness",
    "changed_tokens",
    "perplexity_clean",
    "perplexity_corrupted",
    "perplexity",
)
"""Columns that the archive of a search and the atlas share. ``correct`` and ``incorrect`` are
texts, ``correct_token`` and ``incorrect_token`` ids; ``ld_change`` is −AP in noising;
``perplexity`` is the greater of the two prompts'."""


def pair_row(
    model: LanguageModel,
    clean: Sequence[int],
    corrupted: Sequence[int],
    answers: tuple[int, int],
    losses: tuple[float, float],
    *,
    ld_change: float,
    evenness: float,
) -> dict[str, Any]:
    """The columns `PAIR_COLUMNS` of a pair; ``losses`` are the prompts' mean losses in nats."""
    return {
        "clean": model.decode(list(clean)),
        "corrupted": model.decode(list(corrupted)),
        "clean_tokens": list(clean),
        "corrupted_tokens": list(corrupted),
        "correct": model.decode([answers[0]]),
        "incorrect": model.decode([answers[1]]),
        "correct_token": answers[0],
        "incorrect_token": answers[1],
        "ld_change": ld_change,
        "evenness": evenness,
        "changed_tokens": sum(x != y for x, y in zip(clean, corrupted, strict=True)),
        "perplexity_clean": math.exp(losses[0]),
        "perplexity_corrupted": math.exp(losses[1]),
        "perplexity": math.exp(max(losses)),
    }
