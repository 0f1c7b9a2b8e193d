"""Capital and country: a fact recalled in either direction.

"The capital of France is the city of" asks for " Paris", "Paris is the capital of" for " France".
In the corrupted prompt another country, or capital, stands in its place, so that its own answer,
the incorrect one, becomes right.
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

NAME = "capital-country"
FEWEST_FACTS = 4

FACTS = {
    "Afghanistan": "Kabul", "Albania": "Tirana", "Algeria": "Algiers", "Angola": "Luanda",
    "Armenia": "Yerevan", "Australia": "Canberra", "Austria": "Vienna", "Bangladesh": "Dhaka",
    "Belgium": "Brussels", "Bulgaria": "Sofia", "Canada": "Ottawa", "Chile": "Santiago",
    "China": "Beijing", "Croatia": "Zagreb", "Cuba": "Havana", "Cyprus": "Nicosia",
    "Denmark": "Copenhagen", "Ecuador": "Quito", "Egypt": "Cairo", "Estonia": "Tallinn",
    "Finland": "Helsinki", "France": "Paris", "Germany": "Berlin", "Ghana": "Accra",
    "Greece": "Athens", "Hungary": "Budapest", "Iceland": "Reykjavik", "Iran": "Tehran",
    "Iraq": "Baghdad", "Ireland": "Dublin", "Italy": "Rome", "Jamaica": "Kingston",
    "Japan": "Tokyo", "Jordan": "Amman", "Kenya": "Nairobi", "Latvia": "Riga",
    "Lebanon": "Beirut", "Libya": "Tripoli", "Lithuania": "Vilnius", "Malta": "Valletta",
    "Morocco": "Rabat", "Mozambique": "Maputo", "Nepal": "Kathmandu", "Nigeria": "Abuja",
    "Norway": "Oslo", "Oman": "Muscat", "Pakistan": "Islamabad", "Peru": "Lima",
    "Poland": "Warsaw", "Portugal": "Lisbon", "Qatar": "Doha", "Romania": "Bucharest",
    "Russia": "Moscow", "Rwanda": "Kigali", "Senegal": "Dakar", "Serbia": "Belgrade",
    "Slovakia": "Bratislava", "Slovenia": "Ljubljana", "Somalia": "Mogadishu", "Spain": "Madrid",
    "Sudan": "Khartoum", "Sweden": "Stockholm", "Switzerland": "Bern", "Syria": "Damascus",
    "Thailand": "Bangkok", "Tunisia": "Tunis", "Turkey": "Ankara", "Uganda": "Kampala",
    "Ukraine": "Kyiv", "Uruguay": "Montevideo", "Venezuela": "Caracas", "Vietnam": "Hanoi",
    "Zambia": "Lusaka", "Zimbabwe": "Harare",
}  # fmt: skip
"""Countries, by their English names without an article, and their capitals."""

TEMPLATES = {
    "city_of": ("The capital of {country} is the city of", "capital"),
    "called": ("As every child at school learns, the capital of {country} is called", "capital"),
    "travel": (
        "The flag of {country} is raised every morning in the country's capital,",
        "capital",
    ),
    "seat": ("The old city of {capital} is the seat of the government of", "country"),
    "lives": ("My sister lives in {capital}, the capital of", "country"),
    "map": ("On the map you will find {capital} in the middle of a country named", "country"),
}


def generate(tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> pd.DataFrame:
    """Return `n` pairs with the columns `template` and `asked` (`capital` or `country`).

    Answers are single tokens; what stands in the prompts may be longer, but equally long in both.
    """
    words = Words(tokenizer, NAME)
    answers = {
        "capital": {fact: words.answer(fact[1]) for fact in FACTS.items()},
        "country": {fact: words.answer(fact[0]) for fact in FACTS.items()},
    }
    known = {
        asked: {fact: answer for fact, answer in found.items() if answer is not None}
        for asked, found in answers.items()
    }
    for asked, found in known.items():
        if len(found) < FEWEST_FACTS:
            raise UserError(
                f"Pair set {NAME!r} cannot be made for this tokenizer: the {asked} is a single "
                f"token in {len(found)} of {len(FACTS)} facts and {FEWEST_FACTS} are needed. "
                "Choose another set, or write pairs of your own."
            )
    return collect(_candidates(words, known, generator(NAME, seed)), n, tokenizer, NAME)


def _candidates(
    words: Words, known: dict[str, dict[tuple[str, str], str]], rng: random.Random
) -> Iterator[dict[str, str] | None]:
    length = {fact: [len(words.ids(f" {name}")) for name in fact] for fact in FACTS.items()}
    for (template,) in in_turn(list(TEMPLATES), rng=rng):
        sentence, asked = TEMPLATES[template]
        clean = rng.choice(sorted(known[asked]))
        named = 0 if asked == "capital" else 1  # what the prompt names must be equally long
        others = [
            fact
            for fact in sorted(known[asked])
            if fact != clean and length[fact][named] == length[clean][named]
        ]
        if not others:
            yield None
            continue
        corrupted = rng.choice(others)
        yield {
            "clean": sentence.format(country=clean[0], capital=clean[1]),
            "corrupted": sentence.format(country=corrupted[0], capital=corrupted[1]),
            "correct": known[asked][clean],
            "incorrect": known[asked][corrupted],
            "template": template,
            "asked": asked,
            "spans": f"place={clean[named]}",
        }
