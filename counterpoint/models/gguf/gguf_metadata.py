"""The metadata of a GGUF file (format versions 2 and 3): keys and values, no tensors.

The `gguf` package's reader takes tens of seconds for the strings of a large vocabulary; this one
reads them in one pass. Format: ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError

_NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9


def read_metadata(path: str | os.PathLike[str], described: str | None = None) -> dict[str, Any]:
    """All keys of the GGUF file ``path``; texts as str, arrays as lists.

    Messages call the file ``described``. Raises UserError for a file that is not GGUF, is damaged,
    or has another version or byte order.
    """
    file = described or os.fspath(path)
    with Path(path).open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise UserError(f"{file} is not a GGUF file (it does not begin with 'GGUF').")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Reader(data).metadata()
            except (struct.error, IndexError, KeyError, UnicodeDecodeError, OverflowError) as error:
                raise UserError(
                    f"{file}: its metadata cannot be read ({error}); expected a whole GGUF file of"
                    " version 2 or 3. Download or convert it again."
                ) from None


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.place = 4

    def number(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self.data, self.place)
        self.place += struct.calcsize(f"<{code}")
        return value

    def text(self) -> str:
        length = self.number("Q")
        begin, self.place = self.place, self.place + length
        if self.place > len(self.data):
            raise IndexError("a text ends beyond the file")
        return self.data[begin : self.place].decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_NUMBERS[kind])
        inner, count = self.number("I"), self.number("Q")
        if inner in _NUMBERS:
            code = f"<{count}{_NUMBERS[inner]}"
            values = list(struct.unpack_from(code, self.data, self.place))
            self.place += struct.calcsize(code)
            return values
        return [self.value(inner) for _ in range(count)]

    def metadata(self) -> dict[str, Any]:
        version = self.number("I")
        if version not in (2, 3):
            raise KeyError(f"version {version}")
        self.number("Q")  # tensors
        found = {}
        for _ in range(self.number("Q")):
            key = self.text()
            found[key] = self.value(self.number("I"))
        return found
