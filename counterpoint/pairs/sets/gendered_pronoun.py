"""Gendered pronoun: the pronoun that goes with a first name.

Task of Mathwin et al. 2023 ("Identifying a preliminary circuit for predicting gendered pronouns
in GPT-2 small"). In the corrupted prompt a name of the other gender stands in the place of the
first, so that the other pronoun becomes right. Half of the pairs begin with a female name.
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

NAME = "gendered-pronoun"
PRONOUNS = {"subject": ("she", "he"), "possessive": ("her", "his")}
GENDERS = ("female", "male")

TEMPLATES = {
    "tired": ("In the end {name} went home early because", "subject"),
    "sure": ("The neighbors all know {name} well, and everybody says that", "subject"),
    "tag": ("I think that {name} sings rather well, doesn't", "subject"),
    "question": ("Before the exam {name} was nervous, but afterwards", "subject"),
    "late": ("This morning {name} was late for work and could not find", "possessive"),
    "hands": ("It was so cold outside that {name} put on", "possessive"),
    "friend": ("Every Sunday afternoon {name} plays chess with one of", "possessive"),
}


def generate(tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> pd.DataFrame:
    """Return `n` pairs with the columns `template`, `pronoun` and `gender` (of the clean name)."""
    words = Words(tokenizer, NAME)
    names = {
        "female": words.single(FEMALE, 4, "female names"),
        "male": words.single(MALE, 4, "male names"),
    }
    return collect(_candidates(words, names, generator(NAME, seed)), n, tokenizer, NAME)


def _candidates(
    words: Words, names: dict[str, list[str]], rng: random.Random
) -> Iterator[dict[str, str] | None]:
    pronouns = {kind: [words.required(each) for each in both] for kind, both in PRONOUNS.items()}
    for template, gender in in_turn(list(TEMPLATES), GENDERS, rng=rng):
        sentence, kind = TEMPLATES[template]
        own = GENDERS.index(gender)
        clean, corrupted = (rng.choice(names[GENDERS[each]]) for each in (own, 1 - own))
        yield {
            "clean": sentence.format(name=clean),
            "corrupted": sentence.format(name=corrupted),
            "correct": pronouns[kind][own],
            "incorrect": pronouns[kind][1 - own],
            "template": template,
            "pronoun": kind,
            "gender": gender,
            "spans": f"name={clean}",
        }
