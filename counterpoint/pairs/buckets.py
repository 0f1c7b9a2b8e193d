"""Pairs in batches and in jobs: *buckets* of pairs that can share a batch, *shards* of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from counterpoint.pairs.pair_files import TOKENS


@dataclass(frozen=True)
class Bucket:
    """Pairs that can share a batch: equal token length and equal first differing position.

    The lists run over the pairs: their numbers in the study, the token ids of their prompts
    (`length` each) and of their answers (one or more each).
    """

    length: int
    first_difference: int
    pairs: list[int]
    clean: list[list[int]]
    corrupted: list[list[int]]
    correct: list[list[int]]
    incorrect: list[list[int]]


def buckets(table: pd.DataFrame) -> list[Bucket]:
    """Group validated pairs by (length, first_difference), in ascending order of both.

    Every pair of `table`, the first result of `validate_pairs` or a part of it, is in exactly
    one bucket; within a bucket the table's order is kept.
    """
    grouped: Any = table.groupby(["length", "first_difference"], sort=True)
    return [
        Bucket(
            int(length),
            int(first),
            [int(pair) for pair in group["pair"]],
            *([[int(id_) for id_ in ids] for ids in group[name]] for name in TOKENS),
        )
        for (length, first), group in grouped
    ]


def shard(table: pd.DataFrame, index: int, size: int) -> pd.DataFrame:
    """Return the rows of one shard of validated pairs; past the end, an empty table.

    Shard `index` holds rows [index × size, (index + 1) × size) of the pairs in the order
    (length, first_difference, pair), so that pairs which can share a batch stand together.
    """
    if index < 0 or size < 1:
        raise ValueError(f"shard {index} of size {size}: expected index >= 0 and size >= 1")
    ordered = table.sort_values(["length", "first_difference", "pair"], kind="stable")
    return ordered.iloc[index * size : (index + 1) * size].reset_index(drop=True)
