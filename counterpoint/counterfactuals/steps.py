"""What a method of searching is: steps, between which it can be interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from counterpoint.counterfactuals.archive import Archive
from counterpoint.counterfactuals.evaluation import Evaluator
from counterpoint.counterfactuals.problem import Settings, Starts, State


class Steps(Protocol):
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


Method = Callable[[Evaluator, Archive, Starts, Settings, torch.Generator], Steps]
