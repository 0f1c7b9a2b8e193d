"""Progress of a long step, as lines in its log: no more than one every few seconds."""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

SECONDS_BETWEEN = 5.0


class Progress:
    """Counts what has been done and says so now and then; call it with how much was added."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what, self.total = what, total
        self.done = 0
        self.started = self._said = time.monotonic()

    def __call__(self, added: int) -> None:
        self.done += added
        now = time.monotonic()
        if now - self._said >= SECONDS_BETWEEN:
            self._said = now
            self.say()

    def say(self) -> None:
        """Log the state now."""
        of = f" of {self.total:,}" if self.total is not None else ""
        log.info(
            "%s: %s%s in %.0f s", self.what, f"{self.done:,}", of, time.monotonic() - self.started
        )
