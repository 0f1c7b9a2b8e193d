"""How a study is split into jobs: pairs to a shard, and threads to a job of the model.

Matrix products of a small model are small, and much between them runs in one thread whatever a job
is given: on two cores the curves of the default study take 45 s in two threads and 71 s in one, so
that two jobs of one thread side by side are done in 36 s. Numbers do not depend on how many
jobs run at a time, since a job's threads do not.
"""

from __future__ import annotations

import math

MOST_PAIRS = 64
"""Pairs of a shard, at most, where a study does not say how many."""

FEWEST_PAIRS = 4
"""Fewer are not worth a job's start."""

SIDE_BY_SIDE = 4
"""Shards that even a study of few pairs is split into, if each has `FEWEST_PAIRS`."""

MB_PER_THREAD = 1000
"""Weights for which a job of the model has one thread: of large models few jobs fit in memory at a
time, and larger products use more threads well."""

MOST_THREADS = 8


def pairs_per_shard(asked: int | str, pairs: int) -> int:
    """Pairs of each shard of a study of so many: what its setting asks for, or `auto`."""
    if asked != "auto":
        return int(asked)
    return min(MOST_PAIRS, max(FEWEST_PAIRS, math.ceil(pairs / SIDE_BY_SIDE)))


def number_of_shards(asked: int | str, pairs: int) -> int:
    """Shards of a study of so many pairs, at least 1."""
    return max(1, math.ceil(pairs / pairs_per_shard(asked, pairs)))


def threads_for(weights_mb: float) -> int:
    """Threads of a job that runs a model with so many MB of weights."""
    return min(MOST_THREADS, max(1, round(weights_mb / MB_PER_THREAD)))
