"""How many jobs a study is split into."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.workflow.sharding import number_of_shards, pairs_per_shard, threads_for


@pytest.mark.parametrize(
    ("pairs", "size", "shards"),
    [
        (0, 4, 1),
        (1, 4, 1),
        (4, 4, 1),
        (8, 4, 2),
        (16, 4, 4),
        (17, 5, 4),
        (100, 25, 4),
        (256, 64, 4),
        (257, 64, 5),
        (1000, 64, 16),
    ],
)
def test_few_pairs_are_split_and_many_are_not_split_further(
    pairs: int, size: int, shards: int
) -> None:
    assert pairs_per_shard("auto", pairs) == size
    assert number_of_shards("auto", pairs) == shards


@given(st.integers(0, 10_000), st.one_of(st.just("auto"), st.integers(1, 100)))
def test_every_pair_is_in_a_shard_and_only_one_shard_may_be_empty(
    pairs: int, asked: int | str
) -> None:
    size, shards = pairs_per_shard(asked, pairs), number_of_shards(asked, pairs)
    assert shards * size >= pairs
    assert (shards - 1) * size < max(pairs, 1)
    assert asked == "auto" or size == asked


def test_small_models_have_one_thread_and_large_ones_no_more_than_eight() -> None:
    assert [threads_for(mb) for mb in (0, 538, 1400, 4400, 28_000)] == [1, 1, 1, 4, 8]
