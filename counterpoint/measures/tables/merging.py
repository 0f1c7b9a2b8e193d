"""One table and one file of curves for a study from those of its shards. No torch.

Pairs of a study lie in shards by their length and stand in its tables by their number, so rows of
many shards alternate. They are put in order without ever holding more than one shard and the pair
being copied: the rows of each pair, all from one shard, go into a nameless file as they come, and
from there into the table in the order of their numbers. Curves have one size per pair, so each goes
straight to its place. What grows with the number of pairs is a list of their numbers and places.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from counterpoint.files.artifacts import array_writer, read_table, table_writer, write_table

PathLike = str | os.PathLike[str]


class NoRowsError(ValueError):
    """No table of any shard has a row."""


KEYS = ("pair", "direction", "layer", "head")
SCORES = ("ap", "ap_normalised", "atp", "ig_joint", "ig_convergence_delta", "ig_own")
"""The first columns after the keys; the measures of the curve follow."""


def merge_tables(
    paths: Iterable[PathLike],
    target: PathLike,
    keys: Sequence[str],
    directions: Sequence[str] = (),
) -> int:
    """Write the rows of all tables to ``target``, ordered by ``keys``; return how many.

    The first key is ``pair``, and a pair's rows are all in one table; directions come in the order
    given. A shard without pairs has a table without rows, which is passed over. Where no table has
    rows (heads alone in their layers have no partners) the target has none either.
    """
    paths = list(paths)
    tables = (_ordered(read_table(path), keys, directions) for path in paths)
    try:
        return _merge(tables, target)
    except NoRowsError:
        write_table(read_table(paths[0]), target)
        return 0


def merge_heads(
    curves: Iterable[PathLike],
    gradients: Iterable[PathLike],
    target: PathLike,
    directions: Sequence[str],
    *,
    baselines: Sequence[PathLike] = (),
) -> int:
    """Write `heads.parquet` from the tables of every shard; return its number of rows.

    ``baselines`` are those of the scores of other papers, one of every shard, or none.

    Raises ValueError when no table has rows.
    """
    shards = zip(curves, gradients, strict=True)
    others: Iterable[PathLike | None] = baselines or itertools.repeat(None)
    return _merge(
        (
            join_heads(
                read_table(measured),
                read_table(integrated),
                directions,
                None if other is None else read_table(other),
            )
            for (measured, integrated), other in zip(shards, others, strict=bool(baselines))
        ),
        target,
    )


def join_heads(
    curves: pd.DataFrame,
    gradients: pd.DataFrame,
    directions: Sequence[str],
    baselines: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The measures of the curves with the joint integrated gradients beside them, and behind them
    the baselines, where there are any.

    Raises ValueError when the tables do not have the same rows.
    """
    measured = _ordered(curves, KEYS, directions)
    integrated = _ordered(gradients, KEYS, directions)
    keys = list(KEYS)
    if not measured[keys].equals(integrated[keys]):
        raise ValueError("the tables of curves and of integrated gradients differ in their rows")
    heads = measured.join(integrated.drop(columns=keys))
    others = [name for name in heads.columns if name not in (*KEYS, *SCORES)]
    heads = heads[[*KEYS, *SCORES, *others]]
    if baselines is None:
        return heads
    scored = _ordered(baselines, KEYS, directions)
    if not measured[keys].equals(scored[keys]):
        raise ValueError("the tables of curves and of baselines differ in their rows")
    return heads.join(scored.drop(columns=keys))


def merge_curves(paths: Sequence[PathLike], target: PathLike) -> int:
    """Write the curves of all pairs, ordered by pair; return how many pairs.

    The nodes α are those of every shard.
    """
    from safetensors import safe_open

    numbers = []
    for path in paths:
        with safe_open(path, framework="numpy") as stored:
            numbers.append(stored.get_tensor("pairs"))
    with safe_open(paths[0], framework="numpy") as stored:
        alphas, of_pair = stored.get_tensor("alphas"), stored.get_slice("output").get_shape()[1:]
    pairs = np.sort(np.concatenate(numbers))
    kinds: dict[str, tuple[str, Sequence[int]]] = {
        "alphas": (str(alphas.dtype), alphas.shape),
        "pairs": ("int64", pairs.shape),
        **{name: ("float32", (len(pairs), *of_pair)) for name in ("output", "gradient")},
    }
    with array_writer(target, kinds) as write:
        write("alphas", 0, alphas)
        write("pairs", 0, pairs)
        for path, own in zip(paths, numbers, strict=True):
            with safe_open(path, framework="numpy") as stored:
                for name in ("output", "gradient"):
                    curves = stored.get_tensor(name)
                    for place, curve in zip(np.searchsorted(pairs, own), curves, strict=True):
                        write(name, int(place), curve[np.newaxis])
    return len(pairs)


def _ordered(table: pd.DataFrame, keys: Sequence[str], directions: Sequence[str]) -> pd.DataFrame:
    place = {direction: number for number, direction in enumerate(directions)}
    return table.sort_values(
        list(keys),
        key=lambda column: column.map(place) if column.name == "direction" else column,
        ignore_index=True,
    )


def _merge(tables: Iterable[pd.DataFrame], target: PathLike) -> int:
    """Write tables that are ordered within themselves, their pairs in the order of the numbers."""
    folder = Path(target).parent
    folder.mkdir(parents=True, exist_ok=True)
    pairs: list[int] = []
    # Nameless, so that nothing is left of it however this process ends.
    with tempfile.TemporaryFile(dir=folder) as spool:
        schema = writer = None
        for table in tables:
            for pair, rows in _by_pair(table):
                if writer is None:
                    schema = rows.schema
                    writer = pa.ipc.new_file(spool, schema)
                # In the spool one batch is one pair.
                writer.write_table(rows.cast(schema).combine_chunks())
                pairs.append(pair)
        if writer is None:
            raise NoRowsError("no shard has a row")
        writer.close()
        order = np.argsort(np.array(pairs), kind="stable")
        if len(set(pairs)) < len(pairs):
            raise ValueError("the rows of a pair are in more than one shard")
        reader = pa.ipc.open_file(spool)
        n_rows = 0
        with table_writer(target, reader.schema) as write:
            for place in order:
                batch = reader.get_batch(int(place))
                write(batch)
                n_rows += batch.num_rows
    return n_rows


def _by_pair(table: pd.DataFrame) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each pair of an ordered table."""
    if table.empty:
        return
    whole = pa.Table.from_pandas(table, preserve_index=False)
    pairs = table["pair"].to_numpy()
    starts = np.flatnonzero(np.diff(pairs, prepend=pairs[0] - 1))
    for start, end in zip(starts, [*starts[1:], len(pairs)], strict=True):
        yield int(pairs[start]), whole.slice(int(start), int(end - start))
