"""Prompts as the tokens a model reads, for marking where two prompts differ.

Only the tokenizer's own file is read: no model and no transformers. Where a prompt's tokens
cannot be shown one by one (a character split over tokens, a tokenizer that drops spaces), the
prompt is split into words instead, so that what is shown always is the prompt itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterpoint.pairs.pair_files import PROMPTS
from counterpoint.report.html import Fragment, marked_alignment, marked_difference

PathLike = str | os.PathLike[str]

WORD = re.compile(r"\s*\S+|\s+$")


def is_unequal(row: Any) -> bool:
    """Whether the prompts of a row of pairs.parquet are of unequal length, and aligned."""
    tokens = [row.get(f"{name}_tokens") for name in PROMPTS]
    return (
        row.get("aligned_with") is not None
        and all(ids is not None for ids in tokens)
        and len(tokens[0]) != len(tokens[1])
    )


class Tokens:
    """Splits prompts into the texts of their tokens; ``tokenizer`` is a ``tokenizer.json``."""

    def __init__(self, tokenizer: PathLike | None = None) -> None:
        self._tokenizer: Any = None
        if tokenizer is not None and Path(tokenizer).is_file():
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(tokenizer))

    def pieces(self, text: str, ids: Sequence[int] | None) -> list[str]:
        """Return the texts of the tokens ``ids`` of ``text``, special ones left out, or its words.

        The pieces together are always ``text``.
        """
        pieces = self._of_tokens(text, ids)
        if pieces is not None:
            return pieces
        words = WORD.findall(text)
        return words if "".join(words) == text else [text]

    def _of_tokens(self, text: str, ids: Sequence[int] | None) -> list[str] | None:
        """The texts of the tokens, special ones left out; None where they are not ``text``."""
        if self._tokenizer is None or ids is None:
            return None
        pieces = [self._tokenizer.decode([int(token)]) for token in ids]
        pieces = [piece for piece in pieces if piece]
        return pieces if "".join(pieces) == text else None

    def of_each(self, ids: Sequence[int]) -> list[str]:
        """Return a text for each of the tokens ``ids``, special ones too; without a tokenizer the
        ids themselves."""
        if self._tokenizer is None:
            return [str(int(token)) for token in ids]
        return [self._tokenizer.decode([int(token)], skip_special_tokens=False) for token in ids]

    def difference(self, row: Any) -> tuple[Fragment, Fragment]:
        """Return clean and corrupted prompt of a row with the tokens that differ marked.

        ``row`` maps ``clean`` and ``corrupted``, and may map ``clean_tokens``,
        ``corrupted_tokens``, ``answer_beginning`` and, where the prompts are not of as many tokens,
        ``aligned_with``: then tokens without a partner are told apart, if the prompts can be shown
        token by token.
        """
        own = {name: self.own(row, f"{name}_tokens") for name in PROMPTS}
        if is_unequal(row):
            clean, corrupted = (self._of_tokens(str(row[n]), own[n]) for n in PROMPTS)
            # The special token put in front is not shown, nor what the answers begin with.
            # They may be arrays, which have no truth value.
            lengths = [0 if (ids := own[name]) is None else len(ids) for name in PROMPTS]
            before = lengths[0] - len(clean or [])
            same = lengths[1] - len(corrupted or []) == before <= 1
            if clean is not None and corrupted is not None and same:
                shown = row["aligned_with"][before : lengths[0]]
                partner = [max(int(place) - before, -1) for place in shown]
                return marked_alignment(clean, corrupted, partner)
        first, second = (self.pieces(str(row[name]), own[name]) for name in PROMPTS)
        return marked_difference(first, second)

    def answer_beginning(self, row: Any) -> str:
        """Return the text of the tokens with which both answers of a row begin."""
        ids, count = row.get("clean_tokens"), int(row.get("answer_beginning", 0))
        return "" if ids is None or not count else "".join(self.of_each(ids[-count:]))

    @staticmethod
    def own(row: Any, name: str) -> Sequence[int] | None:
        """The tokens of a prompt without those of the answers that stand behind it."""
        ids, count = row.get(name), int(row.get("answer_beginning", 0))
        return ids if ids is None else ids[: len(ids) - count]
