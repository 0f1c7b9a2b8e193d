"""All pair sets by their names.

`generate_pair_set` makes the pairs of one, `write_pair_set` puts them into a CSV file, and
`regenerate` does so with the settings that the files in `resources/pairs` were made with.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_table
from counterpoint.files.yaml_and_json import plain, read_mapping
from counterpoint.pairs.sets import (
    capital_country,
    gendered_pronoun,
    greater_than,
    ioi,
    subject_verb_agreement,
)

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PairSet:
    """A task: its title in a report, and its generator `generate(tokenizer, n, seed)`."""

    title: str
    generate: Callable[[PreTrainedTokenizerBase, int, int], pd.DataFrame]


PAIR_SETS = {
    "ioi": PairSet("Indirect object identification", ioi.generate),
    "greater-than": PairSet("Greater than", greater_than.generate),
    "capital-country": PairSet("Capital and country", capital_country.generate),
    "gendered-pronoun": PairSet("Gendered pronoun", gendered_pronoun.generate),
    "subject-verb-agreement": PairSet("Subject-verb agreement", subject_verb_agreement.generate),
}


def generate_pair_set(
    name: str, tokenizer: PreTrainedTokenizerBase, n: int, seed: int
) -> pd.DataFrame:
    """Return `n` pairs of the set `name`, the same ones for the same tokenizer and seed.

    The table has `clean, corrupted, correct, incorrect` and columns of the set's own, as text.

    Raises UserError for an unknown name, and when the tokenizer does not allow `n` pairs.
    """
    if name not in PAIR_SETS:
        raise UserError(
            f"There is no pair set {name!r}; expected one of {', '.join(PAIR_SETS)}. For pairs of "
            "your own, give a CSV, JSONL or Parquet file."
        )
    if n < 1:
        raise UserError(f"Pair set {name!r}: {n} pairs are asked for; expected at least 1.")
    return PAIR_SETS[name].generate(tokenizer, n, seed)


def write_pair_set(
    name: str, tokenizer: PreTrainedTokenizerBase, path: str | os.PathLike[str], n: int, seed: int
) -> None:
    """Write `generate_pair_set` to a CSV file; the same arguments give the same bytes."""
    write_table(generate_pair_set(name, tokenizer, n, seed), Path(path))


def regenerate(
    name: str,
    tokenizer: PreTrainedTokenizerBase,
    path: str | os.PathLike[str],
    settings: str | os.PathLike[str] = "resources/pairs/settings.yaml",
) -> None:
    """Write the set `name` to `path` with the number of pairs and the seed that `settings` gives.

    Raises UserError when the settings do not say them.
    """
    if not Path(settings).is_file():
        raise UserError(f"There are no settings of pair sets {settings}; is the folder right?")
    entry = plain(read_mapping(settings))
    for key in ("sets", name):
        entry = entry.get(key) if isinstance(entry, dict) else None
    n, seed = (entry.get(key) if isinstance(entry, dict) else None for key in ("pairs", "seed"))
    if not isinstance(n, int) or not isinstance(seed, int):
        raise UserError(
            f"{settings} does not say how to make the pair set {name!r}: expected `sets: {name}: "
            "{pairs: a number, seed: a number}`."
        )
    write_pair_set(name, tokenizer, path, n, seed)
