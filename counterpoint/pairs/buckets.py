"""Pairs in batches and in jobs: *buckets* of pairs that can share a batch, *shards* of a study."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from counterpoint.pairs.pair_files import ANSWER_COLUMNS, TOKENS


@dataclass(frozen=True)
class Bucket:
    """Pairs that can share a batch: equal token length and equal first differing position.

    The lists run over the pairs: their numbers in the study, the token ids of their prompts
    (`length` each) and of their answers (one or more each). Where answers are read whole, the
    prompts end with the ``beginning`` tokens that both answers have in common, and the rests are
    what follows the first differing token, of equal numbers in all pairs.
    """

    length: int
    first_difference: int
    pairs: list[int]
    clean: list[list[int]]
    corrupted: list[list[int]]
    correct: list[list[int]]
    incorrect: list[list[int]]
    read_whole: bool = False
    beginning: int = 0
    correct_rest: list[list[int]] = field(default_factory=list)
    incorrect_rest: list[list[int]] = field(default_factory=list)


def keys_of_buckets(table: pd.DataFrame) -> list[Any]:
    """What pairs of one bucket have in common: columns of ``table``, and the lengths of others.

    Length and first difference, and of whole answers what is read.
    """
    keys: list[Any] = ["length", "first_difference"]
    if set(ANSWER_COLUMNS) <= set(table.columns):
        whole = table["read_whole"].astype(bool)
        # Without being read, a beginning is a part of the prompt as any other.
        keys += [whole, table["answer_beginning"].where(whole, 0).rename("beginning")]
        keys += [table[name].map(len).rename(name) for name in _RESTS]
    return keys


_RESTS = ("correct_rest", "incorrect_rest")


def buckets(table: pd.DataFrame) -> list[Bucket]:
    """Group validated pairs by (length, first_difference), in ascending order of both.

    Pairs whose answers are read whole are further grouped by the numbers of tokens that are read.
    Every pair of `table`, the first result of `validate_pairs` or a part of it, is in exactly
    one bucket; within a bucket the table's order is kept.
    """
    found = []
    grouped: Any = table.groupby(keys_of_buckets(table), sort=True)
    for (length, first, *read), group in grouped:
        pairs = [int(pair) for pair in group["pair"]]
        clean, corrupted, correct, incorrect = (_numbers(group[name]) for name in TOKENS)
        bucket = Bucket(int(length), int(first), pairs, clean, corrupted, correct, incorrect)
        if read and read[0]:
            rests = [_numbers(group[name]) for name in _RESTS]
            bucket = replace(
                bucket,
                read_whole=True,
                beginning=int(read[1]),
                correct_rest=rests[0],
                incorrect_rest=rests[1],
            )
        found.append(bucket)
    return found


def _numbers(column: pd.Series) -> list[list[int]]:
    return [[int(id_) for id_ in ids] for ids in column]


def shard(table: pd.DataFrame, index: int, size: int) -> pd.DataFrame:
    """Return the rows of one shard of validated pairs; past the end, an empty table.

    Shard `index` holds rows [index × size, (index + 1) × size) of the pairs in the order
    (length, first_difference, pair), so that pairs which can share a batch stand together.
    """
    if index < 0 or size < 1:
        raise ValueError(f"shard {index} of size {size}: expected index >= 0 and size >= 1")
    ordered = table.sort_values(["length", "first_difference", "pair"], kind="stable")
    return ordered.iloc[index * size : (index + 1) * size].reset_index(drop=True)
