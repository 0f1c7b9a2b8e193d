"""Digests of the contents of files, so that contents and not time stamps decide what is made again.

Small files are read at every start. Of large ones (weights) the digest of the whole content is
remembered in a file, by what `stat` says: size, inode and both times. The time of the last change
of status (ctime) cannot be set by any program: a file that is copied, moved or unpacked over
another, whatever time stamp it brings along, has another ctime or another inode, and is read again;
so are files that were only touched or linked to, which costs a second per gigabyte once and leaves
the digest as it was. What is missed: a change on a file system that keeps no ctime, or made while
the machine's clock was set back, and one within a memory map that is not yet written back.

What is remembered may be lost or damaged at any time: it is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from counterpoint.files.artifacts import write_text

SMALL = 1 << 24
"""Bytes up to which a file is read at every start (16 MB: about 10 ms)."""

SETTLED_SECONDS = 2.0
"""A file that was changed less long ago is not remembered: it may change again within one tick of
the file system's clock."""

MEMORY = Path(".snakemake", "counterpoint", "digests.json")


def digest_of(paths: Iterable[str | os.PathLike[str]], memory: Path = MEMORY) -> str:
    """One digest of the names and contents of files, in 16 hexadecimal digits.

    A file that is not there, or cannot be read, counts as such: who needs it will say so. Only the
    last part of a path counts, so that a folder may be moved.
    """
    known = _remembered(memory)
    found: dict[str, list[str]] = {}
    whole = hashlib.sha256()
    for path in sorted(map(Path, paths)):
        try:
            state = path.stat()
            if state.st_size <= SMALL:
                digest = sha256(path)
            else:
                key = str(path.resolve())
                digest = _large(path, state, known.get(key), found, key)
        except OSError as error:
            digest = type(error).__name__
        whole.update(f"{path.name}\0{digest}\0".encode())
    if found:
        # A folder that cannot be written to costs time, not results.
        with suppress(OSError):
            write_text(json.dumps({**_remembered(memory), **found}, indent=0), memory)
    return whole.hexdigest()[:16]


def content_digest(path: str | os.PathLike[str], memory: Path = MEMORY) -> str:
    """The SHA-256 of a file's content, of a large one remembered where a run's folder is there.

    Raises OSError for a file that cannot be read.
    """
    place = Path(path)
    state = place.stat()
    if state.st_size <= SMALL:
        return sha256(place)
    found: dict[str, list[str]] = {}
    key = str(place.resolve())
    digest = _large(place, state, _remembered(memory).get(key), found, key)
    if found and memory.parent.parent.is_dir():
        with suppress(OSError):
            write_text(json.dumps({**_remembered(memory), **found}, indent=0), memory)
    return digest


def _large(
    path: Path,
    state: os.stat_result,
    known: list[str] | None,
    found: dict[str, list[str]],
    key: str,
) -> str:
    identity = identity_of(state)
    if known is not None and known[0] == identity:
        return known[1]
    digest = sha256(path)
    changed = max(state.st_mtime, state.st_ctime)
    if changed < time.time() - SETTLED_SECONDS:
        found[key] = [identity, digest]
    return digest


def identity_of(state: os.stat_result) -> str:
    """What `stat` says of a file that changes when the file does: size, inode and both times."""
    return f"{state.st_size}.{state.st_ino}.{state.st_mtime_ns}.{state.st_ctime_ns}"


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remembered(memory: Path) -> Mapping[str, list[str]]:
    try:
        stored = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {
        key: value
        for key, value in stored.items()
        if isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value)
    }
