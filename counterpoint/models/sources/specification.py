"""One entry of `models:` in the configuration, and who is told of each step while it is fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from counterpoint.errors import UserError

Tell = Callable[[str], None]
"""Receives one line of text at each step."""


def text_of(specification: Mapping[str, Any], key: str, source: str) -> str:
    """The text at ``key``. Raises UserError where there is none."""
    value = specification.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(
            f"models: a model of source {source!r} needs the key `{key}:` (text in quotes); "
            f"found {value!r}."
        )
    return value
