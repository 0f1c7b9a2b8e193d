"""Reading and writing artifacts so that a killed job never leaves a file that looks whole.

Everything is written to a hidden neighbour of the target and renamed when complete: a rename
within one folder is atomic on POSIX file systems. Tables are Parquet or CSV, tensors safetensors;
nothing here can read or write a pickle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import torch


PathLike = str | os.PathLike[str]


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
                table.to_parquet(temporary, index=False)
            case ".csv":
                table.to_csv(temporary, index=False)
            case suffix:
                raise ValueError(f"tables are .parquet or .csv, not {suffix!r}: {path}")


def read_table(path: PathLike) -> pd.DataFrame:
    """Read a table that `write_table` wrote."""
    import pandas as pd

    return pd.read_parquet(path) if Path(path).suffix == ".parquet" else pd.read_csv(path)


def write_tensors(
    tensors: Mapping[str, torch.Tensor], path: PathLike, metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors (made contiguous, on the CPU) as safetensors."""
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        save_file(whole, temporary, metadata=dict(metadata or {}))


def write_arrays(arrays: Mapping[str, np.ndarray], path: PathLike) -> None:
    """Write named NumPy arrays as safetensors."""
    from safetensors.numpy import save_file

    with atomic(path) as temporary:
        save_file(dict(arrays), temporary)


def read_tensors(path: PathLike) -> dict[str, torch.Tensor]:
    """Read every tensor of a safetensors file onto the CPU."""
    from safetensors.torch import load_file

    return load_file(path)
