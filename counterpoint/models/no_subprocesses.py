"""A stretch of time in which no library can start a process or run an installer.

TransformerLens 4.3 installs torchvision by itself when a multi-modal model's processor cannot be
loaded without it, and the installer then replaces the pinned torch of the user's environment. What
is called through here may do neither, whatever the model. Libraries that try see a
`PermissionError`, as they would on a machine where they may not start programs.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

STARTERS: tuple[tuple[Any, str], ...] = (
    (subprocess.Popen, "__init__"),
    *(
        (os, name)
        for name in (
            *("system", "popen", "posix_spawn", "posix_spawnp", "fork", "forkpty"),
            *("execv", "execve", "execl", "execle", "execlp", "execlpe", "execvp", "execvpe"),
            *("spawnv", "spawnve", "spawnvp", "spawnvpe", "spawnl", "spawnle", "spawnlp"),
            *("spawnlpe", "startfile"),
        )
        if hasattr(os, name)
    ),
)
"""Everything in Python's library by which another program is started."""

INSTALLERS = frozenset(
    (
        *("pip", "pip3", "pipx", "ensurepip", "easy_install", "uv", "uvx", "poetry", "pdm", "rye"),
        *("hatch", "conda", "mamba", "micromamba", "pixi", "apt", "apt-get", "brew"),
    )
)

_lock = threading.RLock()
_sealed: Counter[int] = Counter()
"""How often each thread is within `sealed`."""
_before: list[tuple[Any, str, Any]] = []
_MODULE = "pip"


@contextmanager
def sealed() -> Iterator[None]:
    """While it lasts, this thread starts no process, and no thread one that installs something.

    Everything that is replaced for it is put back when the last thread leaves.
    """
    thread = threading.get_ident()
    with _lock:
        if not _sealed:
            _close()
        _sealed[thread] += 1
    try:
        yield
    finally:
        with _lock:
            _sealed[thread] -= 1
            if not _sealed[thread]:
                del _sealed[thread]
            if not _sealed:
                _open()


def _close() -> None:
    for owner, name in STARTERS:
        original = getattr(owner, name)
        _before.append((owner, name, original))
        setattr(owner, name, _guarded(original))
    # An installer may also be imported: None makes that fail, as if it were not there.
    _before.append((sys.modules, _MODULE, sys.modules.get(_MODULE)))
    sys.modules[_MODULE] = None  # type: ignore[assignment]


def _open() -> None:
    while _before:
        owner, name, original = _before.pop()
        if owner is not sys.modules:
            setattr(owner, name, original)
        elif original is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = original


def _guarded(original: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*arguments: Any, **settings: Any) -> Any:
        command = [*arguments, *settings.values()]
        if threading.get_ident() in _sealed or any(map(_installs, command)):
            raise PermissionError("Counterpoint lets no library start a process here")
        return original(*arguments, **settings)

    return guarded


def _installs(argument: Any) -> bool:
    """Whether an argument of a call that starts a program names an installer."""
    if isinstance(argument, bytes | os.PathLike):
        argument = os.fsdecode(argument)
    if isinstance(argument, str):
        try:
            words = shlex.split(argument)
        except ValueError:
            words = argument.split()
        return any(PurePath(word).stem.lower() in INSTALLERS for word in words)
    if isinstance(argument, list | tuple):
        return any(_installs(part) for part in argument)
    return False
