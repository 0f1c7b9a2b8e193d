"""One entry of `models:` in the configuration, and who is told of each step while it is fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from counterpoint.errors import UserError
from counterpoint.files.allowed_names import checked_name

Tell = Callable[[str], None]
"""Receives one line of text at each step."""


def name_of(specification: Mapping[str, Any], key: str, source: str) -> str:
    """The text at ``key``, which is also the kind of name that it has to be (`allowed_names`).

    Raises UserError where there is none, and for a text that is no such name: it would become an
    address, a path or an argument of another program.
    """
    return checked_name(key, text_of(specification, key, source), f"models: the key `{key}:`")


def text_of(specification: Mapping[str, Any], key: str, source: str) -> str:
    """The text at ``key``. Raises UserError where there is none."""
    value = specification.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(
            f"models: a model of source {source!r} needs the key `{key}:` (text in quotes); "
            f"found {value!r}."
        )
    return value
