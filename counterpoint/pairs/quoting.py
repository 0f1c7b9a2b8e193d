"""How messages about pairs show texts, values and the numbers of rows: shortened, in quotes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

SHOWN_IN_FULL = 50
"""Bad rows whose reasons an error message spells out; of further ones it gives the numbers."""

SHOWN_CHARACTERS = 60


def quoted(text: str) -> str:
    """The text in quotes, its end left out where it is long."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…")


def shortened(value: Any) -> str:
    """The value as JSON, its end left out where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def ranges(numbers: Sequence[int]) -> str:
    """Write ascending numbers as `3, 7-9, 12`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


class Problem(NamedTuple):
    """One thing that is wrong with a row: its kind, for counting, and the whole reason."""

    kind: str
    reason: str
