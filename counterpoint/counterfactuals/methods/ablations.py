"""Ablations: a method without one of its parts, to see what that part does.

* ``proposal_only``: `fluent` whose candidates are all drawn by likelihood, none chosen by the
  gradient of the LD change.
"""

from __future__ import annotations

from dataclasses import replace

from counterpoint.counterfactuals.methods.fluent import Fluent
from counterpoint.counterfactuals.methods.method import Setup
from counterpoint.counterfactuals.methods.method_settings import FluentSettings


class ProposalOnly(Fluent):
    """`Fluent` with its settings but its gradient."""

    def __init__(self, setup: Setup) -> None:
        blind = replace(setup.own(FluentSettings), gradient=False)
        super().__init__(replace(setup, settings=replace(setup.settings, method=blind)))
