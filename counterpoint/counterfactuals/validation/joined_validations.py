"""The tables of validated pairs of several methods as one."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd


def joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """``tables`` under each other in the order of their methods, as if validated together.

    One without rows, of a method that found no pair, has no types that could count.
    """
    every = list(tables)
    full = [table for table in every if len(table)]
    if not full:
        return every[0]
    return pd.concat(full, ignore_index=True).sort_values(
        "method", kind="stable", ignore_index=True
    )
