"""Large Parquet tables, read some pairs at a time: one file, or a folder of parts.

DuckDB reads the columns and rows that are asked for and no others, within a bound of memory. Rows
come in the order in which they stand in the file, whatever the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PathLike = str | os.PathLike[str]

MEMORY = "1GB"
"""What DuckDB may take beside the rows that it gives."""

ROWS = 1 << 18
"""Rows that are read at a time: with 21 columns 44 MB."""


class TableOfPairs:
    """A Parquet table with the column `pair`, ordered by it: a file, or a folder of them."""

    def __init__(self, path: PathLike) -> None:
        import duckdb

        self.path = Path(path)
        # A database of its own, in memory; no file of settings or extensions is looked for.
        self._connection = duckdb.connect(":memory:", config={"memory_limit": MEMORY, "threads": 1})
        source = self.path / "*.parquet" if self.path.is_dir() else self.path
        self._connection.execute(
            f"CREATE VIEW rows AS SELECT * FROM read_parquet({_quoted(source)})"
        )

    def pairs(self) -> np.ndarray:
        """The numbers of all pairs, ascending."""
        import numpy as np

        found = self._connection.execute("SELECT DISTINCT pair FROM rows").fetchnumpy()["pair"]
        return np.sort(np.asarray(found, dtype=np.int64))

    def rows(self) -> int:
        """How many rows there are."""
        return int(self._connection.execute("SELECT count(*) FROM rows").fetchall()[0][0])

    def columns(self, names: Iterable[str]) -> pd.DataFrame:
        """Those of the named columns that there are, of all rows."""
        here = self._connection.sql("SELECT * FROM rows LIMIT 0").columns
        listed = ", ".join(f'"{name}"' for name in names if name in here)
        return self._connection.sql(f"SELECT {listed} FROM rows").to_arrow_table().to_pandas()

    def of_pairs(self, pairs: Iterable[int]) -> pd.DataFrame:
        """The rows of some pairs."""
        wanted = [int(pair) for pair in pairs]
        return self._table("list_contains(?, pair)", [wanted])

    def between(self, first: int, last: int) -> pd.DataFrame:
        """The rows of the pairs from ``first`` to ``last``, both included."""
        return self._table("pair BETWEEN ? AND ?", [int(first), int(last)])

    def _table(self, condition: str, values: list[object]) -> pd.DataFrame:
        query = f"SELECT * FROM rows WHERE {condition}"
        return self._connection.sql(query, params=values).to_arrow_table().to_pandas()


def blocks_of_pairs(
    pairs: np.ndarray, rows: int, at_a_time: int = ROWS
) -> Iterator[tuple[int, int]]:
    """First and last pair of every block of about ``at_a_time`` of the ``rows`` rows of all pairs,
    which are ascending."""
    size = max(1, int(at_a_time * len(pairs) / max(rows, 1)))
    for start in range(0, len(pairs), size):
        block = pairs[start : start + size]
        yield int(block[0]), int(block[-1])


def _quoted(path: Path) -> str:
    """The path as a literal of SQL, in which a quote stands twice; no pattern is read in it but
    that of a folder's files."""
    return "'" + str(path).replace("'", "''") + "'"
