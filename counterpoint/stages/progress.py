"""Telling how far a long measurement is."""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
"""How often a long measurement tells how far it is."""


class Progress:
    """Tells every few seconds how many evaluations a measurement has made."""

    def __init__(self, what: str) -> None:
        self.what, self.count = what, 0
        self._told = time.monotonic()

    def __call__(self, evaluations: int) -> None:
        self.count += evaluations
        if time.monotonic() - self._told >= REPORT_SECONDS:
            self._told = time.monotonic()
            log.info("%s: %d evaluations so far", self.what, self.count)
