"""What a method of searching is: steps, between which it can be interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from counterpoint.counterfactuals.archive import Archive
from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.problem import Settings, Starts, State

_Own = TypeVar("_Own")


@dataclass(frozen=True, eq=False)
class Setup:
    """What every method is given: where it starts, what it may spend, where its pairs go."""

    evaluator: Evaluator
    archive: Archive
    starts: Starts
    settings: Settings
    generator: torch.Generator

    def own(self, kind: type[_Own]) -> _Own:
        """The method's own settings, of type ``kind``, whose defaults hold where none are given."""
        method = self.settings.method
        return method if isinstance(method, kind) else kind()


class SearchRun(Protocol):
    """One search by one method; what it finds goes into its archive.

    Ledger, archive and random generator are the caller's, who keeps their state; `state` is what
    the method has besides.
    """

    def step(self) -> bool:
        """Spend some of the budget; whether there is more to do."""

    def state(self) -> State:
        """Everything that the steps to come depend on."""

    def restore(self, state: State) -> None:
        """Continue from what `state` gave."""


Method = Callable[[Setup], SearchRun]
