"""What was there before a run is there after it, where the run fails.

Snakemake removes the outputs of a job before the job looks at its inputs, and again when it fails:
one bad row would cost the tables and searches of hours. So each run first links, beside Snakemake's
own files, every output that is there and that one of its jobs will make anew (a link takes no room,
and what is made anew is another file, since the old one is removed first). A run that succeeds lets
them go. One that fails puts back what it has not made; one that is killed leaves that to the next.

With each file goes Snakemake's record of the job that made it. Without it, a file that was put back
would look like one that was made with the settings of the run that failed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

FOLDER = Path(".snakemake", "counterpoint", "kept")

SHOWN = 3
"""Files that a message names."""


@dataclass(frozen=True)
class Output:
    """A file (or folder) that a job of this run makes anew, as seen from the project's folder."""

    path: str
    record: str
    """Snakemake's file on the job that made it, which may not be there."""
    marker: str
    """Its file that is there as long as a job that makes it has begun and not ended."""


class KeptResults:
    """What one run has kept aside; it is this run's as long as its process lives."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder / f"{os.getpid()}-{time.time_ns()}"
        self._held: IO[str] | None = None

    def keep(self, outputs: Iterable[Output]) -> None:
        """Link those of ``outputs`` that are there; copy them where they cannot be linked.

        Raises OSError where neither can be done, as on a full disk; nothing is kept then.
        """
        self.folder.mkdir(parents=True)
        # Held by the operating system for as long as this process lives.
        self._held = (self.folder / "running").open("w", encoding="utf-8")
        with suppress(OSError):
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial = self.folder / "kept.partial"
        try:
            with partial.open("w", encoding="utf-8") as stream:
                for number, output in enumerate(outputs):
                    if not os.path.lexists(output.path):
                        continue
                    place = _place(self.folder, number)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    _link(Path(output.path), place)
                    line = {"number": number, **asdict(output), "text": _text(output.record)}
                    stream.write(json.dumps(line) + "\n")
            # Whole from here on. No job has begun before.
            partial.rename(self.folder / "kept.jsonl")
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Let go of what was kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._held is not None:
            self._held.close()
            self._held = None

    def put_back(self) -> list[str]:
        """Put back what this run has not made; return its paths, and let go of the rest."""
        try:
            return _put_back(self.folder)
        finally:
            self.release()


def put_back_of_killed_runs(folder: Path = FOLDER) -> list[str]:
    """Put back what runs that were killed had not made anew.

    Returns the paths. What a living run has kept is left alone.
    """
    found: list[str] = []
    kept = [each for each in folder.glob("*-*") if each.is_dir()] if folder.is_dir() else []
    for one in sorted(kept, key=lambda each: int(each.name.rpartition("-")[2] or 0)):
        try:
            stream = (one / "running").open("a", encoding="utf-8")
        except OSError:
            continue
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            found += _put_back(one)
            shutil.rmtree(one, ignore_errors=True)
    return found


def told(paths: list[str]) -> str:
    """What is said of files that were put back."""
    some = ", ".join(paths[:SHOWN]) + (f" and {len(paths) - SHOWN} more" * (len(paths) > SHOWN))
    are = "is back, as it was before" if len(paths) == 1 else "are back, as they were before"
    return f"{some} {are} the run that did not end well"


def _put_back(folder: Path) -> list[str]:
    """Put back each file that is gone, or that a job had begun to make and not ended."""
    found = []
    for number, output, text in _listed(folder):
        path, marker = Path(output.path), Path(output.marker)
        if os.path.lexists(path) and not marker.exists():
            continue
        # Whoever removed all of a study's results meant to.
        if not Path(*path.parts[:2]).exists():
            continue
        place, beside = _place(folder, number), path.with_name(f".{path.name}.kept")
        if not os.path.lexists(place):
            continue
        _remove(beside)
        beside.parent.mkdir(parents=True, exist_ok=True)
        _link(place, beside)
        # The record first: with that of the failed run, the file would count as made by it.
        if text is None:
            Path(output.record).unlink(missing_ok=True)
        else:
            Path(output.record).parent.mkdir(parents=True, exist_ok=True)
            Path(output.record).write_text(text, encoding="utf-8")
        if path.is_dir() and not path.is_symlink():
            _remove(path)
        beside.replace(path)
        marker.unlink(missing_ok=True)
        found.append(output.path)
    return found


def _listed(folder: Path) -> Iterator[tuple[int, Output, str | None]]:
    try:
        with (folder / "kept.jsonl").open(encoding="utf-8") as stream:
            for line in stream:
                stored = json.loads(line)
                number, text = stored.pop("number"), stored.pop("text")
                yield number, Output(**stored), text
    except FileNotFoundError:
        # Killed before any job had begun.
        return


def _place(folder: Path, number: int) -> Path:
    """Where a file is kept; no folder gets more than a thousand."""
    return folder / str(number // 1000) / str(number)


def _link(source: Path, target: Path) -> None:
    """One more name for a file, or for all files of a folder; a copy where that cannot be."""
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, copy_function=_link_file, symlinks=True)
    else:
        _link_file(os.fspath(source), os.fspath(target))


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        # On another disk, or on one that knows no links.
        shutil.copy2(source, target, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
