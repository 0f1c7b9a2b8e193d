"""What all generators share: words in one token, candidates in a balanced order, valid pairs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from counterpoint.errors import UserError
from counterpoint.pairs.pair_checks import PairChecker
from counterpoint.pairs.pair_files import COLUMNS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PATIENCE = 4000
"""Candidates in a row that may fail before a generator gives up."""
CHECKED_AT_ONCE = 200


class Words:
    """The words that a tokenizer knows as one token, written as they continue a prompt."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, pair_set: str) -> None:
        """Use `tokenizer`; `pair_set` is the set's name in messages."""
        self.tokenizer = tokenizer
        self.pair_set = pair_set

    def ids(self, text: str) -> list[int]:
        """Token ids of `text`, nothing added."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def answer(self, word: str, prompt: str = "and then") -> str | None:
        """Return the text of the single token that continues `prompt` with a space and `word`.

        Byte-level tokenizers write it with the space, others without. None when the continuation
        is not one token, or no text stands for that token by itself.
        """
        return self.continuation(prompt, f" {word}", word)

    def continuation(self, prompt: str, *spellings: str) -> str | None:
        """Return the first of `spellings` that is the one token by which spelling 0 continues."""
        before, after = self.ids(prompt), self.ids(prompt + spellings[0])
        if after[:-1] != before:
            return None
        return next((each for each in spellings if self.ids(each) == after[-1:]), None)

    def single(self, words: Iterable[str], least: int, what: str) -> list[str]:
        """Return those of `words` that are one token after a space.

        Raises UserError when fewer than `least` are: the set cannot be made in this tokenizer.
        """
        words = list(words)
        found = [word for word in words if self.answer(word) is not None]
        if len(found) < least:
            raise UserError(
                f"Pair set {self.pair_set!r} cannot be made for this tokenizer: of {len(words)} "
                f"{what}, {len(found)} are single tokens and {least} are needed. Choose another "
                "set, or write pairs of your own."
            )
        return found

    def required(self, word: str) -> str:
        """Return `answer(word)`; raise UserError when it is not a single token."""
        answer = self.answer(word)
        if answer is None:
            raise UserError(
                f"Pair set {self.pair_set!r} cannot be made for this tokenizer: {word!r} is not a "
                "single token in it. Choose another set, or write pairs of your own."
            )
        return answer


def generator(name: str, seed: int) -> random.Random:
    """A source of random numbers of its own for each set and seed, the same everywhere."""
    return random.Random(f"counterpoint {name} {seed}")


def in_turn(*axes: Sequence[str], rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Yield the combinations of `axes` for ever, each once per round, in a new order each round."""
    combinations = list(itertools.product(*axes))
    while True:
        yield from rng.sample(combinations, len(combinations))


def collect(
    candidates: Iterator[Mapping[str, str] | None],
    n: int,
    tokenizer: PreTrainedTokenizerBase,
    pair_set: str,
) -> pd.DataFrame:
    """Return the first `n` candidates that are valid pairs in `tokenizer` and not repeated.

    None stands for a candidate that its generator has discarded. Raises UserError when
    `PATIENCE` candidates in a row are not valid.
    """
    checker = PairChecker(tokenizer, prepend_bos=False)
    rows: list[Mapping[str, str]] = []
    failed = number = 0
    while len(rows) < n:
        drawn = list(itertools.islice(candidates, CHECKED_AT_ONCE))
        some = [row for row in drawn if row is not None]
        failed += len(drawn) - len(some)
        table = pd.DataFrame(some, columns=list(COLUMNS))
        table["row"] = range(number, number + len(some))
        number += len(some)
        for (_, outcome), row in zip(checker.check(table), some, strict=True):
            if isinstance(outcome, dict):
                failed = 0
                rows.append(row)
            else:
                failed += 1
        if failed > PATIENCE and len(rows) < n:
            raise UserError(
                f"Pair set {pair_set!r}: {n} pairs are asked for and this tokenizer allows only "
                f"{len(rows)}. "
                + ("Ask for fewer." if rows else "Choose another set, or write pairs of your own.")
            )
    return pd.DataFrame(rows[:n])
