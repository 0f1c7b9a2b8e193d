"""Pairs in batches and in jobs: *buckets* of pairs that can share a batch, *shards* of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from counterpoint.pairs.pair_files import TOKENS

SHAPE = ["length", "corrupted_length", "first_difference"]
"""What the pairs of a bucket have in common."""


@dataclass(frozen=True)
class Bucket:
    """Pairs that can share a batch: prompts of as many tokens, and as many in common at first.

    The lists run over the pairs: their numbers in the study, the token ids of their prompts
    (`length` of each clean one) and of their answers (one or more each), and, where the prompts of
    a pair are of unequal length, the partner of each position of the clean one
    (`pairs.alignment`).
    """

    length: int
    first_difference: int
    pairs: list[int]
    clean: list[list[int]]
    corrupted: list[list[int]]
    correct: list[list[int]]
    incorrect: list[list[int]]
    aligned_with: list[list[int]] | None = None


def buckets(table: pd.DataFrame) -> list[Bucket]:
    """Group validated pairs by (length, corrupted length, first_difference), ascending.

    Every pair of `table`, the first result of `validate_pairs` or a part of it, is in exactly
    one bucket; within a bucket the table's order is kept.
    """
    found = []
    for group in groups(table):
        lists = {name: [[int(id_) for id_ in ids] for ids in group[name]] for name in TOKENS}
        length = int(group["length"].iloc[0])
        partners = None
        if len(lists["corrupted_tokens"][0]) != length:
            partners = [[int(place) for place in own] for own in group["aligned_with"]]
        found.append(
            Bucket(
                length,
                int(group["first_difference"].iloc[0]),
                [int(pair) for pair in group["pair"]],
                lists["clean_tokens"],
                lists["corrupted_tokens"],
                lists["correct_tokens"],
                lists["incorrect_tokens"],
                partners,
            )
        )
    return found


def groups(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each bucket, in the order of `buckets`."""
    grouped: Any = _with_shape(table).groupby(SHAPE, sort=True)
    return [table.iloc[rows.index] for _, rows in grouped]


def shard(table: pd.DataFrame, index: int, size: int) -> pd.DataFrame:
    """Return the rows of one shard of validated pairs; past the end, an empty table.

    Shard `index` holds rows [index × size, (index + 1) × size) of the pairs in the order
    (length, corrupted length, first_difference, pair), so that pairs which can share a batch stand
    together.
    """
    if index < 0 or size < 1:
        raise ValueError(f"shard {index} of size {size}: expected index >= 0 and size >= 1")
    order = _with_shape(table).sort_values([*SHAPE, "pair"], kind="stable").index
    return table.iloc[order[index * size : (index + 1) * size]].reset_index(drop=True)


def _with_shape(table: pd.DataFrame) -> pd.DataFrame:
    """The columns `SHAPE` and `pair`, rows counted from 0."""
    lengths = [len(ids) for ids in table["corrupted_tokens"]]
    shape = table[["pair", "length", "first_difference"]].reset_index(drop=True)
    return shape.assign(corrupted_length=pd.Series(lengths, dtype=int))
