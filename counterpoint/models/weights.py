"""How many numbers a model's weight files hold, read from their headers. No torch."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from pathlib import Path

BYTES = {"float32": 4, "float64": 8, "bfloat16": 2}
"""Bytes of a number in the formats that a study may ask for (`load.DTYPES`)."""


def count_parameters(folder: str | os.PathLike[str]) -> int:
    """The numbers in the safetensors files of ``folder``; shared ones are stored once.

    Raises FileNotFoundError where there are none yet.
    """
    return _count(os.fspath(folder))


# Asked for once for every job of a workflow; what is not there yet is not remembered.
@lru_cache
def _count(folder: str) -> int:
    from safetensors import safe_open

    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{folder}: no weights there yet")
    count = 0
    for path in files:
        with safe_open(path, framework="numpy") as stored:
            names = stored.keys()
            for name in names:
                count += math.prod(stored.get_slice(name).get_shape())
    return count


def weights_mb(folder: str | os.PathLike[str], dtype: str) -> int:
    """MB that the model of ``folder`` takes once it is loaded as ``dtype``, rounded up."""
    return math.ceil(count_parameters(folder) * BYTES[dtype] / 2**20)
