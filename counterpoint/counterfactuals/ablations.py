"""Ablations: a method without one of its parts, to see what that part does.

* ``proposal_only``: `fluent` whose candidates are all drawn by likelihood, none chosen by the
  gradient of the LD change.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from counterpoint.counterfactuals.archive import Archive
from counterpoint.counterfactuals.evaluation import Evaluator
from counterpoint.counterfactuals.fluent import Fluent, FluentSettings
from counterpoint.counterfactuals.problem import Settings, Starts


class ProposalOnly(Fluent):
    """`Fluent` with its settings but its gradient."""

    def __init__(
        self,
        evaluator: Evaluator,
        archive: Archive,
        starts: Starts,
        settings: Settings,
        generator: torch.Generator,
    ) -> None:
        own = settings.method if isinstance(settings.method, FluentSettings) else FluentSettings()
        blind = replace(settings, method=replace(own, gradient=False))
        super().__init__(evaluator, archive, starts, blind, generator)
