"""Mistakes that a model's tokenizer shows, and devices that are not there: `python -m
counterpoint.workflow.tokenizer_checks` answers the questions of `start_checks`.

Questions come as JSON on the standard input, mistakes go as a JSON list to the standard output,
behind an empty line, since a library may have written there before.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoint.errors import UserError
from counterpoint.workflow.start_checks import Question

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS = 20_000
"""Rows of a file of pairs that are tried at the start, about ten seconds; the job tries them all.
Lone bad rows of a larger file are found there, and what was there is put back."""

SHORTEST_START = 3
"""Tokens of a prompt that a search can begin at (`counterfactuals.methods.search`)."""


def mistakes_of(question: Question) -> Iterator[str]:
    """What is wrong with a study, one text each."""
    from counterpoint.models.model_shape import read_shape
    from counterpoint.models.tokenizers.tokenizer import load_tokenizer

    if question.device is not None:
        from counterpoint.models.load import check_device

        try:
            check_device(question.device)
        except UserError as mistake:
            yield f"studies.{question.study}.device: {mistake}"
    if not (question.pairs or question.starts or question.answers):
        return
    folder = Path(question.model)
    tokenizer, shape = load_tokenizer(folder), read_shape(folder)
    if question.pairs is not None:
        yield from mistakes_of_pairs(question, tokenizer, shape.max_length, shape.vocabulary)
    key = f"studies.{question.study}.counterfactuals"
    is_first = question.settings.get("prepend_bos") and tokenizer.bos_token_id is not None
    for text in question.starts:
        length = int(bool(is_first)) + len(tokenizer.encode(text, add_special_tokens=False))
        if length < SHORTEST_START:
            yield (
                f"{key}.start: {text!r} has {length} tokens; expected at least {SHORTEST_START}, "
                "the beginning-of-sequence token included. Write a longer start."
            )
        elif shape.max_length is not None and length > shape.max_length:
            yield (
                f"{key}.start: {text[:60]!r}… has {length} tokens; the model's context holds "
                f"{shape.max_length}. Write a shorter start."
            )
    yield from mistakes_of_answers(f"{key}.answers", question.answers, tokenizer)


def mistakes_of_pairs(
    question: Question,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    vocabulary: int | None,
) -> Iterator[str]:
    """What `pair_checks` finds wrong with the first `ROWS` rows."""
    from counterpoint.pairs.pair_checks import validate_pairs
    from counterpoint.pairs.pair_files import read_pairs

    try:
        validate_pairs(
            read_pairs(question.pairs or "").head(ROWS),
            tokenizer,
            max_length=max_length,
            vocabulary=vocabulary,
            source=question.pairs or "",
            **question.settings,
        )
    except UserError as mistake:
        yield str(mistake)


def mistakes_of_answers(
    key: str, answers: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> Iterator[str]:
    """Answers of a search that are not one token."""
    tokens = [tokenizer.encode(text, add_special_tokens=False) for text in answers]
    for text, ids in zip(answers, tokens, strict=True):
        if len(ids) != 1:
            yield (
                f"{key}: {text!r} is {len(ids)} tokens in this model's tokenizer; expected one. "
                "Most answers need their leading space."
            )


def main() -> None:
    """Answer the questions on the standard input."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"
    questions = [Question(**stored) for stored in json.load(sys.stdin)]
    found = [mistake for question in questions for mistake in mistakes_of(question)]
    print("\n\n" + json.dumps(found))


if __name__ == "__main__":
    main()
