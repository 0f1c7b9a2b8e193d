"""What is said when the machine has too little of something: the file, what is there, the remedy.

Such an error is no defect, and its traceback tells a user nothing. torch and Arrow raise theirs as
errors of other kinds, which are known by their words.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "your share of the disk is used up"}
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|out of memory|malloc of size|Cannot allocate memory",
    re.IGNORECASE,
)
_IN_WORDS = re.compile(r"No space left on device|Disk quota exceeded|\(os error 28\)")


def told_shortage(error: BaseException, outputs: Sequence[str], memory_mb: object) -> str | None:
    """One line on ``error`` where it is a full disk, a folder that may not be written to, or too
    little memory; None where it is anything else.

    ``outputs`` are the files that the job makes, ``memory_mb`` what it was planned with.
    """
    number = error.errno if isinstance(error, OSError) else None
    named = getattr(error, "filename", None) or (outputs[0] if outputs else None)
    if number in _FULL or _IN_WORDS.search(str(error)):
        why = _FULL.get(number or errno.ENOSPC, _FULL[errno.ENOSPC])
        return f"{_file(named)}{why}{_free(named)}; free some space and run again"
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _is_memory(error):
        planned = f" (it is planned with {memory_mb} MB)" if memory_mb else ""
        return (
            f"{_file(named)}there is too little memory for this job{planned}: run fewer at a time "
            "(a smaller CORES), set a smaller memory_mb, or take a machine with more"
        )
    if number in _FORBIDDEN and isinstance(error, OSError) and error.filename is not None:
        return (
            f"{_file(named)}it cannot be written to or read ({error.strerror}); change who may "
            "(chmod, chown), or work in a folder of your own"
        )
    return None


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, RuntimeError | OSError) and bool(_NO_MEMORY.search(str(error)))


def _file(named: object) -> str:
    return f"{named}: " if named else ""


def _free(named: object) -> str:
    """How much room there is where the file stands."""
    folder = Path(str(named or ".")).absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        return f" ({shutil.disk_usage(folder).free / 1e6:.0f} MB are free)"
    except OSError:
        return ""
