"""Tables of scores in pieces: their keys, their order, and how they are put together."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

KEYS = ("pair", "direction", "layer", "head")
"""What a row of the table of heads is about."""


def joined(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """The parts under each other; without any, an empty table with ``columns``."""
    if not parts:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(parts, ignore_index=True)


def ordered(table: pd.DataFrame, keys: Sequence[str], directions: Sequence[str]) -> pd.DataFrame:
    """The rows in the order of ``keys``, directions in the order given."""
    place = {direction: number for number, direction in enumerate(directions)}
    return table.sort_values(
        list(keys),
        key=lambda column: column.map(place) if column.name == "direction" else column,
        ignore_index=True,
    )
