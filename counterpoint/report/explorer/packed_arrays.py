"""A header and arrays as one text that a page can hold, and back.

The bytes are: the header's length as a little-endian uint32, the header as JSON in UTF-8, then the
arrays, each in C order, little-endian. They are compressed by gzip (which browsers decompress by
themselves, `DecompressionStream`) and written in base64. The header's key ``arrays`` says of each
array its name, type and shape. Of numbers that are alike, bytes of equal weight are, so the first
bytes of all numbers stand together, then the second, and so on, which compresses better; and small
whole numbers of either sign have high bytes of 0, since 0, −1, 1, −2 … are written as 0, 1, 2, 3 …

Reading gives back exactly what was written.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

TYPES = ("<f4", "<f8", "|u1", "|i1", "<u2", "<i2", "<i4")
"""The number formats that the page's script reads."""


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Return ``header`` (JSON without NaN) and ``arrays`` as base64 text.

    Equal contents give equal text. Raises ValueError for a number format that is not in `TYPES`, or
    a header with the key ``arrays``.
    """
    if "arrays" in header:
        raise ValueError("the header's key `arrays` is for the arrays' own description")
    described, parts = [], []
    for name, array in arrays.items():
        kind = array.dtype.newbyteorder("<").str
        if kind not in TYPES:
            raise ValueError(f"array {name!r} is of type {kind}; expected one of {TYPES}")
        plain = np.ascontiguousarray(array, dtype=kind)
        described.append({"name": name, "type": kind, "shape": list(array.shape)})
        parts.append(_sorted_bytes(_without_signs(plain)))
    text = json.dumps(
        {**header, "arrays": described},
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    ).encode()
    whole = b"".join([len(text).to_bytes(4, "little"), text, *parts])
    return base64.b64encode(gzip.compress(whole, compresslevel=9, mtime=0)).decode("ascii")


def unpack(text: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the arrays that `pack` was given."""
    whole = gzip.decompress(base64.b64decode(text))
    begin = 4 + int.from_bytes(whole[:4], "little")
    header: dict[str, Any] = json.loads(whole[4:begin].decode())
    arrays = {}
    for one in header.pop("arrays"):
        kind = np.dtype(one["type"])
        count = int(np.prod(one["shape"], dtype=np.int64))
        part = np.frombuffer(whole, np.uint8, count * kind.itemsize, begin)
        begin += part.size
        plain = np.ascontiguousarray(part.reshape(kind.itemsize, count).T)
        arrays[one["name"]] = _with_signs(plain.view(kind)).reshape(one["shape"])
    return header, arrays


def _without_signs(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "i":
        return array
    turned: np.ndarray = (array << 1) ^ (array >> (8 * array.dtype.itemsize - 1))
    return turned


def _with_signs(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "i":
        return array
    plain = array.view(f"u{array.dtype.itemsize}")
    turned: np.ndarray = ((plain >> 1) ^ (~(plain & 1) + 1)).view(array.dtype)
    return turned


def _sorted_bytes(array: np.ndarray) -> bytes:
    """The array's bytes, all first ones, then all second ones, and so on."""
    planes = array.reshape(-1).view(np.uint8).reshape(array.size, array.dtype.itemsize)
    return planes.T.tobytes()
