"""Pairs in batches and in jobs: *buckets* of pairs that can share a batch, *shards* of a study."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from counterpoint.pairs.pair_files import ANSWER_COLUMNS, TOKENS

SHAPE = ["length", "corrupted_length", "first_difference"]
"""What the pairs of a bucket have in common."""


@dataclass(frozen=True)
class Bucket:
    """Pairs that can share a batch: prompts of as many tokens, and as many in common at first.

    The lists run over the pairs: their numbers in the study, the token ids of their prompts
    (`length` of each clean one) and of their answers (one or more each). Where answers are read
    whole, the prompts end with the ``beginning`` tokens that both answers have in common, and the
    rests are what follows the first differing token, of equal numbers in all pairs. Where the
    prompts of a pair are of unequal length, there is the partner of each position of the clean one
    (`pairs.alignment`).
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
    aligned_with: list[list[int]] | None = None


_RESTS = ("correct_rest", "incorrect_rest")


def buckets(table: pd.DataFrame) -> list[Bucket]:
    """Group validated pairs by (length, corrupted length, first_difference), ascending.

    Pairs whose answers are read whole are further grouped by the numbers of tokens that are read.
    Every pair of `table`, the first result of `validate_pairs` or a part of it, is in exactly
    one bucket; within a bucket the table's order is kept.
    """
    found = []
    for group in groups(table):
        first = group.iloc[0]
        length = int(first["length"])
        clean, corrupted, correct, incorrect = (_numbers(group[name]) for name in TOKENS)
        bucket = Bucket(
            length,
            int(first["first_difference"]),
            [int(pair) for pair in group["pair"]],
            clean,
            corrupted,
            correct,
            incorrect,
        )
        if len(corrupted[0]) != length:
            bucket = replace(bucket, aligned_with=_numbers(group["aligned_with"]))
        if set(ANSWER_COLUMNS) <= set(group.columns) and bool(first["read_whole"]):
            rests = [_numbers(group[name]) for name in _RESTS]
            bucket = replace(
                bucket,
                read_whole=True,
                beginning=int(first["answer_beginning"]),
                correct_rest=rests[0],
                incorrect_rest=rests[1],
            )
        found.append(bucket)
    return found


def _numbers(column: pd.Series) -> list[list[int]]:
    return [[int(id_) for id_ in ids] for ids in column]


def groups(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each bucket, in the order of `buckets`."""
    shaped = _with_shape(table)
    read = _read(table.reset_index(drop=True))
    grouped: Any = shaped.groupby([*SHAPE, *read], sort=True)
    return [table.iloc[rows.index] for _, rows in grouped]


def _read(table: pd.DataFrame) -> list[Any]:
    """What is read of the whole answers, which pairs of one bucket have in common as well."""
    if not set(ANSWER_COLUMNS) <= set(table.columns):
        return []
    whole = table["read_whole"].astype(bool)
    # Without being read, a beginning is a part of the prompt as any other.
    beginning = table["answer_beginning"].where(whole, 0).rename("beginning")
    return [whole, beginning, *(table[name].map(len).rename(name) for name in _RESTS)]


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
