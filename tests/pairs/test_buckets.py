"""Shards and buckets partition the pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.pairs.buckets import buckets, shard
from counterpoint.pairs.pair_files import (
    PAIR_COLUMNS,
)


@given(
    st.lists(st.tuples(st.integers(2, 5), st.integers(1, 3)), max_size=40),
    st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_shards_and_buckets_partition_the_pairs(shapes: list[tuple[int, int]], size: int) -> None:
    table = pd.DataFrame(
        [
            {
                "pair": pair,
                "length": length,
                "first_difference": first,
                "clean_tokens": np.full(length, pair, dtype=np.int32),
                "corrupted_tokens": np.full(length, -pair, dtype=np.int32),
                "correct_tokens": np.array([pair], dtype=np.int32),
                "incorrect_tokens": np.array([pair, 1], dtype=np.int32),
            }
            for pair, (length, first) in enumerate(shapes)
        ],
        columns=["pair", "length", "first_difference", *(n for n in PAIR_COLUMNS if "tokens" in n)],
    )
    count = -(-len(table) // size)
    parts = [shard(table, index, size) for index in range(count)]
    assert [len(part) for part in parts[:-1]] == [size] * (count - 1) if parts else len(table) == 0
    assert len(shard(table, count, size)) == 0
    assert list(shard(table, count, size).columns) == list(table.columns)
    order = [pair for part in parts for pair in part["pair"]]
    assert sorted(order) == list(range(len(table)))
    assert order == sorted(order, key=lambda pair: (*shapes[pair], pair))
    for part in parts:
        found = buckets(part)
        assert sorted(pair for bucket in found for pair in bucket.pairs) == sorted(part["pair"])
        keys = [(bucket.length, bucket.first_difference) for bucket in found]
        assert keys == sorted(set(keys))
        for bucket in found:
            assert {shapes[pair] for pair in bucket.pairs} == {
                (bucket.length, bucket.first_difference)
            }
            assert bucket.clean == [[pair] * bucket.length for pair in bucket.pairs]
            assert bucket.corrupted == [[-pair] * bucket.length for pair in bucket.pairs]
            assert bucket.correct == [[pair] for pair in bucket.pairs]
            assert bucket.incorrect == [[pair, 1] for pair in bucket.pairs]
            assert all(type(id_) is int for ids in bucket.clean for id_ in ids)


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (0, 0)])
def test_impossible_shards(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="shard"):
        shard(pd.DataFrame(), index, size)
