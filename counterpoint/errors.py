"""The one exception that stands for a user's mistake."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can mend.

    The message names the file, row or key, what was expected there and what to do about it.
    It is shown as it is, without a traceback; any other exception is a defect of Counterpoint.
    """
