"""From a study's configuration to the arguments of a search.

Defaults, limits and meanings of these settings stand in the dataclasses that are built here, and
nowhere else by hand (see `workflow.shown_settings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from counterpoint.counterfactuals.methods.method_settings import own_settings
from counterpoint.counterfactuals.methods.search import study_starts
from counterpoint.counterfactuals.problem import Budget, Settings, Start, as_starts


def settings_of(wanted: Mapping[str, Any], method: str, memory_mb: int) -> Settings:
    """The settings of a search by ``method``; ``wanted`` is `config.search_settings` of it."""
    own = own_settings(method)
    return Settings(
        budget=Budget(**wanted["budget"]),
        answers=None if wanted["answers"] is None else tuple(wanted["answers"]),
        answer_in_prompt=wanted["answer_in_prompt"],
        memory_mb=memory_mb,
        method=None if own is None else own(**wanted["own"]),
    )


def starts_of(wanted: Mapping[str, Any], pairs: pd.DataFrame) -> list[Start]:
    """Where a search begins: at the configured prompts, else at the study's pairs."""
    start = wanted["start"]
    return study_starts(pairs) if start is None else as_starts(start)
