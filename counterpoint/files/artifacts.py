"""Reading and writing artifacts so that a killed job never leaves a file that looks whole.

Everything is written to a hidden neighbour of the target and renamed when complete: a rename
within one folder is atomic on POSIX file systems. Tables are Parquet or CSV, tensors safetensors;
nothing here can read or write a pickle.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoint.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import torch


PathLike = str | os.PathLike[str]

ROWS_PER_GROUP = 1 << 16
"""Rows of a Parquet file that are held in memory at a time while it is written."""

TEXT_COLUMNS = frozenset(
    {
        *("clean", "corrupted", "correct", "incorrect", "reason"),
        *("study", "title", "model", "first", "second"),
        *("kind", "text", "note", "statement", "rule", "explanation"),
    }
)
"""Columns of our CSV tables that hold text, often a user's own, whatever it looks like: `NA`,
`None`, `007`, `1.0` and `TRUE` stay what was written."""

_SAFETENSORS_DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64"}


def user_path(text: str, folder: Path | None = None) -> Path:
    """The file or folder that a configuration names, seen from ``folder`` (default: here), ``~``
    being the home folder."""
    try:
        return (folder or Path()) / Path(text).expanduser()
    except RuntimeError:
        # A home that nobody has: then it is a name like any other.
        return (folder or Path()) / text


def is_file(path: Path) -> bool:
    """Whether there is such a file; pathlib itself fails for a name that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; as `is_file`."""
    try:
        return path.is_dir()
    except OSError:
        return False


@contextmanager
def atomic(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    The parent folder is created. When the block raises, the temporary file is removed and an
    older ``path`` stays as it was. The suffix is kept, since writers choose a format by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        yield temporary
        # safetensors makes files that only their owner may read; a shared folder is for others too.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(text: str, path: PathLike) -> None:
    """Write ``text`` as UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(value: Any, path: PathLike) -> None:
    """Write ``value`` as indented JSON; NaN is refused, since JSON has none."""
    write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", path)


def write_table(table: pd.DataFrame, path: PathLike) -> None:
    """Write a table without its index, as Parquet or CSV by the suffix of ``path``.

    Raises ValueError for any other suffix.
    """
    with atomic(path) as temporary:
        match temporary.suffix:
            case ".parquet":
                table.to_parquet(temporary, index=False, write_page_checksum=True)
            case ".csv":
                # By itself pandas does not quote a carriage return, which ends a row when read.
                texts = (table[name] for name in table.columns if name in TEXT_COLUMNS)
                returns = any(each.astype(str).str.contains("\r").any() for each in texts)
                table.to_csv(
                    temporary,
                    index=False,
                    quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL,
                )
            case suffix:
                raise ValueError(f"tables are .parquet or .csv, not {suffix!r}: {path}")


def read_table(path: PathLike) -> pd.DataFrame:
    """Read a table that `write_table` wrote.

    Raises UserError for a Parquet file that is damaged (each page has a checksum) or is none.

    Of a CSV file only an empty cell is a missing value (NaN), never a word like NA or null, and in
    `TEXT_COLUMNS` it is an empty text.
    """
    import pandas as pd

    if Path(path).suffix != ".parquet":
        names = list(pd.read_csv(path, nrows=0).columns)
        return pd.read_csv(
            path,
            dtype={name: str for name in names if name in TEXT_COLUMNS},
            keep_default_na=False,
            na_values={name: [""] for name in names if name not in TEXT_COLUMNS},
        )
    from pyarrow.fs import LocalFileSystem

    # By its own file system Arrow opens the file itself. A file that pandas opens is held by
    # Arrow's threads, which abort a process that ends before they have let go of it.
    try:
        return pd.read_parquet(path, filesystem=LocalFileSystem(), page_checksum_verification=True)
    except Exception as error:
        if isinstance(error, MemoryError) or not Path(path).is_file():
            raise
        # Arrow itself names no file; of damaged metadata it makes errors of many kinds.
        raise UserError(
            f"{path} is not a whole Parquet file ({error}). Remove it, and make it again, or copy "
            "it anew from where it is whole"
        ) from None


def write_tensors(
    tensors: Mapping[str, torch.Tensor], path: PathLike, metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors (made contiguous, on the CPU) as safetensors; there may be none."""
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        # An empty mapping is not the same as none: without tensors, safetensors 0.8 writes a header
        # for it that is no JSON, and nothing can read the file.
        save_file(whole, temporary, metadata=dict(metadata) if metadata else None)


def write_arrays(arrays: Mapping[str, np.ndarray], path: PathLike) -> None:
    """Write named arrays as safetensors, at least one."""
    from safetensors.numpy import save_file

    with atomic(path) as temporary:
        save_file(dict(arrays), temporary)


@contextmanager
def table_writer(path: PathLike, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Write a Parquet file batch by batch: yield the function that adds one.

    Rows are gathered into row groups of `ROWS_PER_GROUP`, however many come at a time, so that the
    file does not depend on the size of the batches.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting: list[pa.RecordBatch] = []
    n_waiting = 0

    with (
        atomic(path) as temporary,
        pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer,
    ):

        def write_groups(least: int) -> None:
            nonlocal waiting, n_waiting
            while n_waiting >= least:
                whole = pa.Table.from_batches(waiting, schema)
                writer.write_table(whole.slice(0, ROWS_PER_GROUP))
                waiting = whole.slice(ROWS_PER_GROUP).to_batches()
                n_waiting = max(0, n_waiting - ROWS_PER_GROUP)

        def add(batch: pa.RecordBatch) -> None:
            nonlocal n_waiting
            waiting.append(batch)
            n_waiting += batch.num_rows
            write_groups(ROWS_PER_GROUP)

        yield add
        write_groups(1)


@contextmanager
def array_writer(
    path: PathLike, kinds: Mapping[str, tuple[str, Sequence[int]]]
) -> Iterator[Callable[[str, int, np.ndarray], None]]:
    """Write a safetensors file row by row, in any order: yield the function that writes some.

    ``kinds`` has the dtype and shape of every array. The function takes a name, the first row and
    the rows; every row must be written, since nothing else is put in its place.

    A safetensors file is the length of its header in 8 bytes, the header as JSON, and the arrays;
    the package itself writes only arrays that are wholly in memory.
    """
    import numpy as np

    places: dict[str, tuple[int, int, np.dtype]] = {}
    header: dict[str, Any] = {}
    end = 0
    # Wide numbers first, so that every array begins at a multiple of its own width.
    for name, (kind, shape) in sorted(
        kinds.items(), key=lambda item: -np.dtype(item[1][0]).itemsize
    ):
        dtype = np.dtype(kind)
        row = math.prod(shape[1:]) * dtype.itemsize
        places[name] = end, row, dtype
        header[name] = {
            "dtype": _SAFETENSORS_DTYPES[kind],
            "shape": list(shape),
            "data_offsets": [end, end + shape[0] * row],
        }
        end += shape[0] * row
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path) as temporary, temporary.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)

        def write(name: str, first: int, rows: np.ndarray) -> None:
            start, size, dtype = places[name]
            stream.seek(8 + len(text) + start + first * size)
            stream.write(np.ascontiguousarray(rows, dtype=dtype).tobytes())

        yield write


def read_tensors(path: PathLike) -> dict[str, torch.Tensor]:
    """Read every tensor of a safetensors file onto the CPU."""
    from safetensors.torch import load_file

    return load_file(path)
