"""Progress of a long step: lines in a job's log, a bar in a notebook or on a terminal.

What takes long counts with `Progress`, which logs a line every few seconds. A caller who watches
(`watched`) is told of each count, too; `Bar` shows that as one line that is written over.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)

SECONDS_BETWEEN = 5.0

Watcher = Callable[["Progress"], None]

_watcher: ContextVar[Watcher | None] = ContextVar("counterpoint.progress", default=None)


class Progress:
    """Counts what has been done and says so now and then; call it with how much was added."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what, self.total = what, total
        self.done = 0
        self.started = self._said = time.monotonic()

    def __call__(self, added: int) -> None:
        self.done += added
        watcher = _watcher.get()
        if watcher is not None:
            watcher(self)
        now = time.monotonic()
        if now - self._said >= SECONDS_BETWEEN:
            self._said = now
            self.say()

    def say(self) -> None:
        """Log the state now."""
        log.info("%s in %.0f s", self, time.monotonic() - self.started)

    def __str__(self) -> str:
        of = f" of {self.total:,}" if self.total is not None else ""
        return f"{self.what}: {self.done:,}{of}"


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Within the block ``watcher`` is handed every `Progress` whenever it has counted."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class Bar:
    """A bar of ``total`` steps with what is being done now; shows nothing where not ``shown``.

    Without a total its steps are those of the `Progress` that counts.
    Used in a ``with``; within it every `Progress` is told on the bar. One line of text, in a
    notebook as on a terminal, so that nothing else need be installed.
    """

    def __init__(self, what: str, total: int | None, *, shown: bool, unit: str = " steps") -> None:
        self._bar: Any = None
        if shown:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=what, unit=unit, leave=False, file=sys.stderr)
        self._follows = total is None
        self._watched = watched(self._see)

    def __enter__(self) -> Self:
        self._watched.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watched.__exit__(kind, error, traceback)
        if self._bar is not None:
            self._bar.close()

    def _see(self, progress: Progress) -> None:
        if self._bar is None:
            return
        if self._follows:
            self._bar.total = progress.total
            self._bar.update(progress.done - self._bar.n)
        else:
            self._bar.set_postfix_str(str(progress), refresh=False)
            self._bar.update(0)

    def advance(self, steps: int) -> None:
        """Count steps that are done."""
        if self._bar is not None:
            self._bar.update(steps)


def say(text: str) -> None:
    """Write one line of progress for whoever sits before a notebook or a terminal."""
    print(f"counterpoint: {text}", file=sys.stderr, flush=True)
