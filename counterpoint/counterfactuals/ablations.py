"""Ablations: a method without one of its parts, to see what that part does.

* ``proposal_only``: `fluent` whose candidates are all drawn by likelihood, none chosen by the
  gradient of the LD change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from counterpoint.counterfactuals.archive import Archive
from counterpoint.counterfactuals.evaluation import Evaluator
from counterpoint.counterfactuals.fluent import FluentSettings, fluent
from counterpoint.counterfactuals.problem import Settings


def proposal_only(
    evaluator: Evaluator,
    archive: Archive,
    starts: Sequence[tuple[list[int], list[int]]],
    settings: Settings,
    generator: torch.Generator,
) -> None:
    """Search until the budget is spent, with the settings of `fluent` but its gradient."""
    own = settings.method if isinstance(settings.method, FluentSettings) else FluentSettings()
    blind = replace(settings, method=replace(own, gradient=False))
    fluent(evaluator, archive, starts, blind, generator)
