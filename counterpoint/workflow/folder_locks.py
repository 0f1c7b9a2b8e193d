"""Whether another run is at work in a folder, and the locks that a killed run has left there.

Snakemake locks the files that a run may write, and a run that is killed leaves its locks behind:
the next one would refuse to start. Their files do not say whose they are. So every run holds, for
as long as it lives, a lock of the operating system's on one file, which ends with the process
however that ends; who can have that file for itself alone knows that all others are gone.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO

LIVING = (
    "another run is at work in this folder. Should Snakemake now say that the folder cannot be "
    "locked, wait until that run has ended; if there is none: make unlock"
)

_held: list[IO[str]] = []
"""Open for as long as this process lives; not inherited by its children."""


def enter(folder: Path = Path(".snakemake")) -> str | None:
    """Note that this process is at work, and remove the locks of runs that have ended.

    Returns what there is to say, if anything. Locks of a living run, and those that were left by
    one on another machine, about which nothing can be known here, stay.
    """
    path = folder / "counterpoint" / "running"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    except OSError:
        return None
    locks = sorted((folder / "locks").glob("*.lock"))
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Held by a living run; or a file system without such locks.
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            _held.append(stream)
        return LIVING if locks else None
    stream.seek(0)
    before, here = stream.read().strip(), socket.gethostname()
    said = None
    if locks and before == here:
        for lock in locks:
            lock.unlink(missing_ok=True)
        said = "the lock of a run that was killed is removed"
    elif locks:
        said = (
            f"a run{f' on the machine {before}' if before else ''} has left this folder locked. If "
            "it is not at work any more: make unlock (snakemake --unlock)"
        )
    if not said or before == here:
        stream.seek(0)
        stream.truncate()
        stream.write(here)
        stream.flush()
        os.fsync(stream.fileno())
    fcntl.flock(stream, fcntl.LOCK_SH)
    _held.append(stream)
    return said
