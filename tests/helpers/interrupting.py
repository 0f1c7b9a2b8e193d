"""Checkpoints that interrupt the search they belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from counterpoint.counterfactuals.methods.search_checkpoints import Checkpoints
from counterpoint.counterfactuals.problem import State


class Interrupting(Checkpoints):
    """Keeps the state after every step and raises KeyboardInterrupt after some, if any."""

    def __init__(self, path: Path, after: int | None = None, depends: object = None) -> None:
        super().__init__(path, depends, seconds=0)
        self.kept_states, self.after = 0, after

    def keep(self, state: Callable[[], State]) -> None:
        super().keep(state)
        self.kept_states += 1
        if self.kept_states == self.after:
            raise KeyboardInterrupt
