"""The files that one GGUF model is split into, by their names.

llama.cpp's `gguf-split` names them NAME-00001-of-00003.gguf, NAME-00002-of-00003.gguf, ….
"""

from __future__ import annotations

import re
from pathlib import Path

_SPLIT = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def shards_of(path: Path) -> list[Path]:
    """Return the files of the model that `path` belongs to, in order; [path] when it is whole.

    They are named, not looked for: some may be missing.
    """
    match = _SPLIT.fullmatch(path.name)
    if match is None:
        return [path]
    stem, count = match["stem"], int(match["count"])
    return [
        path.with_name(f"{stem}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)
    ]
