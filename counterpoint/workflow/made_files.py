"""What the workflow has made, so that a file lost or damaged since is noticed and made anew.

Snakemake knows files by time stamps, and looks only at those that lie between what is asked for
and what is new: a table that is gone while the page made of it stands is not missed, and one
flipped bit changes a verdict in silence. So every job that ends well writes for each of its
outputs, into the hidden folder `.made` of the study, a record: the SHA-256 of the content, what
`stat` said of the file, and the outputs of other jobs that it was made of. Jobs compare their
inputs with the records, and a start of the workflow compares all files with theirs.

A file without a record (of an older version, or in a bucket, where the copies that jobs see are
Snakemake's) is taken as it is. A record that cannot be read is none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_text
from counterpoint.files.digests import SMALL, identity_of, sha256

RESULTS = "results"
FOLDER = ".made"
DAMAGED = ".damaged"
"""Behind the name of a file that was put aside."""


@dataclass(frozen=True)
class Made:
    """The record of one file, or folder, that a job has made."""

    sha256: str
    stat: str
    """Size, inode and both times, as in `digests`; empty where it is not to be trusted."""
    of: tuple[str, ...]
    """The outputs of other jobs that it was made of, as seen from the project's folder."""


def record_made(outputs: Iterable[str], inputs: Iterable[str]) -> None:
    """Write the records of a job's ``outputs``, made of ``inputs``; paths are Snakemake's."""
    of = tuple(sorted(path for path in set(inputs) if _place(path) is not None))
    for path in outputs:
        place = _place(path)
        if place is None or not os.path.lexists(path):
            continue
        record = Made(_digest(Path(path)), _stat(Path(path)), of)
        write_text(json.dumps(asdict(record)), place)


def refuse_damaged(inputs: Iterable[str]) -> None:
    """Raise UserError for the first of a job's ``inputs`` that is not what was made.

    Small files are read; large ones only where what `stat` says of them has changed.
    """
    for path in inputs:
        made = _recorded(path)
        if made is None or not os.path.lexists(path):
            continue
        found = _digest_if_doubtful(Path(path), made, SMALL)
        if found != made.sha256:
            place = _place(path)
            assert place is not None
            # So that the next start, which reads only what looks changed, reads this one.
            with suppress(OSError):
                write_text(json.dumps({**asdict(made), "stat": ""}), place)
            raise UserError(
                f"{path} is not what was made: its content has the sha256 {found}, and "
                f"{made.sha256} is expected. Run again: it is then made anew"
            )


def damaged_files(results: Path = Path(RESULTS)) -> list[str]:
    """The files below ``results`` that are not what was made, as seen from the project's folder.

    Read are those whose `stat` has changed since.
    """
    found = []
    for path, made in _records(results):
        if os.path.lexists(path) and _digest_if_doubtful(Path(path), made) != made.sha256:
            found.append(path)
    return sorted(found)


@dataclass(frozen=True)
class Checked:
    """What became of the files that have a record, by their paths."""

    whole: list[str]
    damaged: list[str]
    gone: list[str]


def check_all(results: Path = Path(RESULTS)) -> Checked:
    """Compare every file below ``results`` with its record; all are read."""
    found = Checked([], [], [])
    for path, made in _records(results):
        if not os.path.lexists(path):
            found.gone.append(path)
        elif _digest_or_error(Path(path)) == made.sha256:
            found.whole.append(path)
        else:
            found.damaged.append(path)
    return found


def put_aside(path: str) -> None:
    """Rename a damaged file, so that it is made again; an empty one is removed."""
    old = Path(path)
    with suppress(OSError):
        if old.is_file() and old.stat().st_size == 0:
            old.unlink()
            return
    aside = old.with_name(old.name + DAMAGED)
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    elif os.path.lexists(aside):
        aside.unlink()
    old.rename(aside)


def lost_files(
    wanted: Iterable[str], is_kept: Callable[[str], bool], results: Path = Path(RESULTS)
) -> list[str]:
    """The files that ``wanted`` were made of, however far back, and that are gone.

    ``is_kept`` tells of a path whether the workflow would make it and not remove it itself.
    """
    made = dict(_records(results))
    found: set[str] = set()
    seen: set[str] = set()
    waiting = list(wanted)
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        record = made.get(path)
        if record is None:
            continue
        if not os.path.lexists(path) and is_kept(path):
            found.add(path)
        waiting += record.of
    return sorted(found)


def told_damaged(paths: Iterable[str], *, put_aside: bool) -> str:
    """What is said of damaged files at a start."""
    end = (
        f"they are put aside ({DAMAGED} behind the name) and made anew"
        if put_aside
        else "the next run makes them anew"
    )
    names = ", ".join(paths)
    return f"warning: no longer what was made, by their checksums: {names}; {end}"


def told_lost(paths: Iterable[str]) -> str:
    """What is said of lost files at a start."""
    return f"gone since they were made, and made anew: {', '.join(paths)}"


def _place(path: str) -> Path | None:
    """Where the record of a path is; None for what is none of a study's files."""
    parts = Path(path).parts
    if len(parts) < 3 or parts[0] != RESULTS or ".." in parts or FOLDER in parts:
        return None
    return Path(parts[0], parts[1], FOLDER, *parts[2:-1], f"{parts[-1]}.json")


def _recorded(path: str) -> Made | None:
    place = _place(path)
    return None if place is None else _read(place)


def _read(place: Path) -> Made | None:
    try:
        stored = json.loads(place.read_text(encoding="utf-8"))
        digest, stat, of = stored["sha256"], stored["stat"], stored["of"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    texts = [digest, stat, *of] if isinstance(of, list) else [None]
    if not all(isinstance(text, str) for text in texts):
        return None
    return Made(digest, stat, tuple(of))


def _records(results: Path) -> Iterator[tuple[str, Made]]:
    for folder in sorted(results.glob(f"*/{FOLDER}")):
        for place in sorted(folder.rglob("*.json")):
            made = _read(place)
            if made is not None:
                inner = place.relative_to(folder)
                yield str(folder.parent / inner.with_name(inner.name.removesuffix(".json"))), made


def _digest_if_doubtful(path: Path, made: Made, always: int = -1) -> str:
    """The digest of ``path``; the recorded one where it is larger than ``always`` bytes and looks
    unchanged."""
    try:
        unchanged = _stat(path) == made.stat
        if unchanged and (path.is_dir() or path.stat().st_size > always):
            return made.sha256
    except OSError as error:
        return type(error).__name__
    return _digest_or_error(path)


def _digest_or_error(path: Path) -> str:
    try:
        return _digest(path)
    except OSError as error:
        return type(error).__name__


def _files(path: Path) -> list[Path]:
    """What a job has put into a folder; after it Snakemake adds a time stamp, as a file."""
    found = (each for each in path.rglob("*") if each.name != ".snakemake_timestamp")
    return sorted(each for each in found if each.is_file())


def _digest(path: Path) -> str:
    """The SHA-256 of a file; of a folder, that of the names and digests of the files in it."""
    if not path.is_dir():
        return sha256(path)
    lines = (f"{each.relative_to(path)}\0{sha256(each)}\0" for each in _files(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _stat(path: Path) -> str:
    states = [each.stat() for each in (_files(path) if path.is_dir() else [path])]
    whole = [identity_of(each) for each in states]
    return whole[0] if not path.is_dir() else hashlib.sha256(" ".join(whole).encode()).hexdigest()
