"""The one exception that stands for a user's mistake."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """A mistake that the user can mend.

    The message names the file, row or key, what was expected there and what to do about it.
    It is shown as it is, without a traceback; any other exception is a defect of Counterpoint.
    """


class MissingColumn(UserError, KeyError):
    """A table lacks a column; also what Python's own tables raise for that."""

    # KeyError would show the message in quotes.
    __str__ = Exception.__str__


class InvalidValue(UserError, ValueError):
    """A table whose rows do not fit together, or a word that is none of those known."""


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A question for the known word nearest to a mistaken one, or nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f" did you mean {near[0]}?" if near else ""
