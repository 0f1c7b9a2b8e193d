"""Indirect object identification: who receives is who has been named only once.

Task of Wang et al. 2023 (arXiv:2211.00593): in "… A and B …, B gave the book to" the answer is
" A", the indirect object; B, the subject, stands twice. The order of the first two names is ABBA
when the indirect object comes first, BABA when it comes second. Three corruptions:

* `swapped_subject`: the subject's second mention becomes the indirect object, so the right answer
  becomes B;
* `other_name`: it becomes a third name, so neither answer is right;
* `random_names`: all three mentions become three other names, so neither answer is in the prompt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from counterpoint.pairs.sets.first_names import FEMALE, MALE
from counterpoint.pairs.sets.generating import Words, collect, generator, in_turn

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

NAME = "ioi"
ORDERS = ("ABBA", "BABA")
CORRUPTIONS = ("swapped_subject", "other_name", "random_names")

TEMPLATES = {
    "short": "With {first} and {second} in the {place}, {giver} gave the {thing} to",
    "arrival": "As soon as {first} and {second} reached the {place}, {giver} handed the {thing} to",
    "walk": "After a long walk {first} and {second} came to the {place}, where {giver} gave the "
    "{thing} to",
    "waiting": "All morning {first} and {second} waited outside the {place}, and at last {giver} "
    "offered the {thing} to",
    "quiet": "The {place} was nearly empty when {first} and {second} sat down, so {giver} showed "
    "the {thing} to",
    "watched": "Everybody in the {place} looked up when {first} and {second} walked in and {giver} "
    "threw the {thing} to",
    "return": "Because {first} and {second} were leaving the {place} early, {giver} returned the "
    "{thing} to",
    "week": "Every week {first} and {second} meet at the {place}, and this time {giver} "
    "brought the {thing} for",
}
PLACES = (
    *("office", "library", "station", "garden", "kitchen", "hospital", "museum", "market"),
    *("school", "restaurant", "hotel", "theater", "church", "airport", "bank", "village"),
)
THINGS = (
    *("book", "letter", "key", "map", "camera", "basket", "bottle", "ticket", "ring", "phone"),
    *("picture", "newspaper", "cake", "guitar", "box", "flower"),
)


def generate(tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> pd.DataFrame:
    """Return `n` pairs with the columns `template`, `order`, `corruption` and `spans`.

    Templates, orders and corruptions take turns, so that each is equally frequent.
    """
    words = Words(tokenizer, NAME)
    names = words.single((*FEMALE, *MALE), 8, "names")
    return collect(_candidates(words, names, generator(NAME, seed)), n, tokenizer, NAME)


def _candidates(
    words: Words, names: list[str], rng: random.Random
) -> Iterator[dict[str, str] | None]:
    for template, order, corruption in in_turn(list(TEMPLATES), ORDERS, CORRUPTIONS, rng=rng):
        indirect, subject, *others = rng.sample(names, 5)
        first, second = (indirect, subject) if order == "ABBA" else (subject, indirect)
        place, thing = rng.choice(PLACES), rng.choice(THINGS)
        clean = (first, second, subject)
        corrupted = {
            "swapped_subject": (first, second, indirect),
            "other_name": (first, second, others[0]),
            "random_names": tuple(others),
        }[corruption]
        sentences = [
            TEMPLATES[template].format(first=a, second=b, giver=c, place=place, thing=thing)
            for a, b, c in (clean, corrupted)
        ]
        yield {
            "clean": sentences[0],
            "corrupted": sentences[1],
            "correct": words.required(indirect),
            "incorrect": words.required(subject),
            "template": template,
            "order": order,
            "corruption": corruption,
            "spans": f"IO={indirect}; S1={subject}; S2={subject}#2; thing={thing}",
        }
