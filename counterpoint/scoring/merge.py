"""One table and one file of curves for a study from those of its shards. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from counterpoint.files import read_table

PathLike = str | os.PathLike[str]

KEYS = ("pair", "direction", "layer", "head")
SCORES = ("ap", "ap_normalised", "atp", "ig_joint", "ig_convergence_delta", "ig_own")
"""The first columns after the keys; the measures of the curve follow."""


def merge_tables(
    paths: Iterable[PathLike], keys: Sequence[str], directions: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows of all tables, ordered by ``keys``; directions in the order given.

    A shard without pairs has a table without rows, which is passed over.
    """
    tables = [table for path in paths if len(table := read_table(path))]
    place = {direction: number for number, direction in enumerate(directions)}
    return pd.concat(tables, ignore_index=True).sort_values(
        list(keys),
        key=lambda column: column.map(place) if column.name == "direction" else column,
        ignore_index=True,
    )


def merge_heads(
    curves: Iterable[PathLike], gradients: Iterable[PathLike], directions: Sequence[str]
) -> pd.DataFrame:
    """`heads.parquet`: the measures of the curves with the joint integrated gradients beside them.

    Raises ValueError when the two do not have the same rows.
    """
    measured = merge_tables(curves, KEYS, directions)
    integrated = merge_tables(gradients, KEYS, directions)
    keys = list(KEYS)
    if not measured[keys].equals(integrated[keys]):
        raise ValueError("the tables of curves and of integrated gradients differ in their rows")
    heads = measured.join(integrated.drop(columns=keys))
    others = [name for name in heads.columns if name not in (*KEYS, *SCORES)]
    return heads[[*KEYS, *SCORES, *others]]


def merge_curves(paths: Iterable[PathLike]) -> dict[str, np.ndarray]:
    """The curves of all pairs, ordered by pair; the nodes α are those of every shard."""
    from safetensors.numpy import load_file

    shards = [load_file(path) for path in paths]
    pairs = np.concatenate([shard["pairs"] for shard in shards])
    order = np.argsort(pairs, kind="stable")
    return {
        "alphas": shards[0]["alphas"],
        "pairs": pairs[order],
        **{
            name: np.concatenate([shard[name] for shard in shards])[order]
            for name in ("output", "gradient")
        },
    }
