"""Greater than: what began in 1732 cannot have ended before it.

Task of Hanna et al. 2023 (arXiv:2305.00586): after "The war began in 1732 and ended in 17" a
greater number is right and a smaller one wrong. In the corrupted prompt the first year ends in 01,
so that nothing stands against the smaller numbers any more. The answers are lists, and the
metric is the difference of their mean logits.

The set follows the tokenizer. Where digits stand singly, the answers are the tens digits above
and below that of the first year, and that digit itself, which may be right or wrong, is left out.
Where the last two digits of a year are one token, the answers are the two-digit numbers above and
below. Years that the tokenizer splits otherwise are not used, and a tokenizer that puts a space
before every text by itself cannot write a digit as one token, so the set is refused there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from counterpoint.pairs.sets.generating import Words, collect, generator, in_turn

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

NAME = "greater-than"

TEMPLATES = {
    "began": ("The {event} began in {year} and ended in {century}", "conflict"),
    "lasted": ("Historians agree that the {event} lasted from {year} until {century}", "conflict"),
    "broke_out": (
        "When the {event} broke out in {year}, nobody thought that it would only be over "
        "in {century}",
        "conflict",
    ),
    "built": ("Work on the {event} started in {year} and was finished in {century}", "building"),
    "opened": (
        "The {event} opened its doors in {year} and closed them again in {century}",
        "building",
    ),
}
EVENTS = {
    "conflict": ("war", "siege", "rebellion", "dispute", "revolt", "blockade", "strike", "famine"),
    "building": ("bridge", "church", "school", "hospital", "theater", "factory", "palace", "mill"),
}
CENTURIES = ("14", "15", "16", "17", "18", "19")
LOWEST, HIGHEST = 20, 79
"""First years end in these numbers: each has tens digits on both sides and differs from 01."""


def generate(tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> pd.DataFrame:
    """Return `n` pairs with the columns `template`, `century`, `start` and `answers`.

    `start` is the number in which the clean prompt's first year ends; `answers` is `digits` or
    `numbers`, as the tokenizer has it.
    """
    words = Words(tokenizer, NAME)
    return collect(_candidates(words, generator(NAME, seed)), n, tokenizer, NAME)


def _candidates(words: Words, rng: random.Random) -> Iterator[dict[str, str] | None]:
    @cache
    def single(century: str, ending: str) -> str | None:
        """The token that continues "… in 17" with `ending`, or None when it is not one."""
        return words.continuation(f"and ended in {century}", ending)

    for template, century in in_turn(list(TEMPLATES), CENTURIES, rng=rng):
        sentence, kind = TEMPLATES[template]
        event, start = rng.choice(EVENTS[kind]), rng.randint(LOWEST, HIGHEST)
        numbers = [f"{number:02d}" for number in range(2, 100)]
        if single(century, f"{start:02d}") and single(century, "01"):
            answers = "numbers"
            above = [text for text in numbers if int(text) > start and single(century, text)]
            below = [text for text in numbers if int(text) < start and single(century, text)]
        elif all(single(century, str(digit)) for digit in range(10)):
            answers = "digits"
            above = [str(digit) for digit in range(start // 10 + 1, 10)]
            below = [str(digit) for digit in range(start // 10)]
        else:
            yield None
            continue
        clean, corrupted = (
            sentence.format(event=event, year=f"{century}{ending:02d}", century=century)
            for ending in (start, 1)
        )
        yield {
            "clean": clean,
            "corrupted": corrupted,
            "correct": json.dumps(above),
            "incorrect": json.dumps(below),
            "template": template,
            "century": century,
            "start": f"{start:02d}",
            "answers": answers,
            "spans": f"year={century}{start:02d}",
        }
