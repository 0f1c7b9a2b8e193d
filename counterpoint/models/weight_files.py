"""A model's weight files: which they are, and how many numbers they hold. No torch."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from pathlib import Path

from counterpoint.files.allowed_names import is_file
from counterpoint.files.yaml_and_json import parsed_json

WHOLE = "model.safetensors"
INDEX = f"{WHOLE}.index.json"

BYTES = {"float32": 4, "float64": 8, "bfloat16": 2}
"""Bytes of a number in the formats that a study may ask for (`load.DTYPES`)."""


def weight_names(folder: str | os.PathLike[str]) -> list[str]:
    """The files that the weights in ``folder`` are read from, by their names in it, in order.

    As transformers chooses: the file that config.json names (`transformers_weights`), else the
    whole one, else those of the index. They are named, not looked for. None where there is neither
    a whole file nor an index. Raises ValueError for an index, or a name in config.json, that is
    none.
    """
    place = Path(folder)
    chosen = named_in_config(place)
    if chosen is not None and chosen.endswith(".safetensors"):
        return [chosen]
    if chosen is None and (place / WHOLE).is_file():
        return [WHOLE]
    index = chosen or INDEX
    return shards_of_index(place / index) if (place / index).is_file() else []


def shards_of_index(index: Path) -> list[str]:
    """The files that an index names, in order. Raises ValueError for one that is damaged."""
    try:
        names = set(parsed_json(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        names = set()
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{index.name} is damaged")
    strangers = sorted(name for name in names if not is_file(name))
    if strangers:
        raise ValueError(f"{index.name} names {strangers[0]!r}, which is no file below its folder")
    return sorted(names)


def named_in_config(folder: Path) -> str | None:
    """The file that config.json names for the weights or their index, which few do.

    Raises ValueError for a name that is none.
    """
    try:
        config = parsed_json((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    name = config.get("transformers_weights") if isinstance(config, dict) else None
    if name is None:
        return None
    ends = (".safetensors", ".safetensors.index.json")
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(ends):
        raise ValueError(
            f"config.json names {name!r} for the weights (transformers_weights), which is no"
            " safetensors file of its folder"
        )
    return name


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
