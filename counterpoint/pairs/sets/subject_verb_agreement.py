"""Subject-verb agreement: the verb's number is that of its subject, whatever stands between.

Task of Linzen et al. 2016 (arXiv:1611.01368), as a contrast of two prompts like that of Finlayson
et al. 2021 (arXiv:2106.06087): after "The keys near the cabinet" the verb is " are". In the
corrupted prompt the subject has the other number, so that the other form becomes right; a second
noun between subject and verb, the attractor, stays, in the subject's number or in the other.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from counterpoint.errors import UserError
from counterpoint.pairs.sets.generating import Words, collect, generator, in_turn

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

NAME = "subject-verb-agreement"
NUMBERS = ("singular", "plural")
FEWEST_NOUNS = 4

Nouns = tuple[tuple[str, str], ...]
"""Nouns in the singular and the plural."""

VERBS = (("is", "are"), ("was", "were"), ("has", "have"))
PEOPLE: Nouns = (
    ("teacher", "teachers"), ("doctor", "doctors"), ("student", "students"), ("friend", "friends"),
    ("artist", "artists"), ("farmer", "farmers"), ("driver", "drivers"), ("lawyer", "lawyers"),
    ("writer", "writers"), ("soldier", "soldiers"), ("author", "authors"), ("worker", "workers"),
    ("player", "players"), ("visitor", "visitors"), ("guest", "guests"), ("neighbor", "neighbors"),
)  # fmt: skip
THINGS: Nouns = (
    ("picture", "pictures"), ("window", "windows"), ("table", "tables"), ("letter", "letters"),
    ("bottle", "bottles"), ("book", "books"), ("key", "keys"), ("chair", "chairs"),
    ("tree", "trees"), ("house", "houses"), ("boat", "boats"), ("car", "cars"),
    ("lamp", "lamps"), ("bridge", "bridges"), ("tower", "towers"), ("garden", "gardens"),
)  # fmt: skip

TEMPLATES = {
    "near": ("The {subject} near the {attractor}", THINGS, THINGS),
    "behind": ("As far as we can see, the {subject} behind the {attractor}", THINGS, THINGS),
    "beside": ("Nobody doubts that the {subject} beside the {attractor}", PEOPLE, THINGS),
    "relative": ("The {subject} that the {attractor} met yesterday", PEOPLE, PEOPLE),
    "long": ("For many years now, the {subject} in front of the old {attractor}", THINGS, THINGS),
    "plain": ("In the end, the {subject} really", PEOPLE, None),
}


def generate(tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> pd.DataFrame:
    """Return `n` pairs with the columns `template`, `number`, `attractor` and `verb`.

    `number` is that of the clean subject, `attractor` that of the second noun (`none` without one),
    `verb` the singular form. Nouns are one token in both numbers.
    """
    words = Words(tokenizer, NAME)
    nouns = {group: _known(words, group) for group in (PEOPLE, THINGS)}
    return collect(_candidates(words, nouns, generator(NAME, seed)), n, tokenizer, NAME)


def _known(words: Words, group: Nouns) -> Nouns:
    known = tuple(noun for noun in group if all(words.answer(form) for form in noun))
    if len(known) < FEWEST_NOUNS:
        raise UserError(
            f"Pair set {NAME!r} cannot be made for this tokenizer: {len(known)} of {len(group)} "
            f"nouns are single tokens in both numbers and {FEWEST_NOUNS} are needed. Choose "
            "another set, or write pairs of your own."
        )
    return known


def _candidates(
    words: Words, nouns: dict[Nouns, Nouns], rng: random.Random
) -> Iterator[dict[str, str] | None]:
    verbs = [[words.required(form) for form in verb] for verb in VERBS]
    for template, number, attracted in in_turn(list(TEMPLATES), NUMBERS, NUMBERS, rng=rng):
        sentence, subjects, attractors = TEMPLATES[template]
        subject = rng.choice(nouns[subjects])
        verb = rng.choice(verbs)
        attractor = ""
        if attractors is None:
            attracted = "none"
        else:
            others = [noun for noun in nouns[attractors] if noun != subject]
            attractor = rng.choice(others)[NUMBERS.index(attracted)]
        own = NUMBERS.index(number)
        clean, corrupted = (
            sentence.format(subject=subject[each], attractor=attractor) for each in (own, 1 - own)
        )
        yield {
            "clean": clean,
            "corrupted": corrupted,
            "correct": verb[own],
            "incorrect": verb[1 - own],
            "template": template,
            "number": number,
            "attractor": attracted,
            "verb": verb[0].strip(),
            "spans": f"subject={subject[own]}" + (f"; attractor={attractor}" if attractor else ""),
        }
