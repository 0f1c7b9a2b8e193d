"""Which pairs of a large study stand for all of them, where something grows faster than sums do.

Two numbers of the settings say from how many pairs on. Heads are drawn and shuffled, and all two
heads compared (Kendall), on `sampled_pairs`; rankings are drawn anew and compared, and variances
fitted, on `ranked_pairs`. The pairs are drawn by the seed from the study's, the same in both
directions, and the former are the first of the latter. A study of no more pairs uses all of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from jaxtyping import Int

from counterpoint.statistics import resampling
from counterpoint.statistics.resampling import Settings


def sampled(pairs: Iterable[int], settings: Settings) -> Int[np.ndarray, " sampled"]:
    """The pairs, ascending, on which heads are drawn and shuffled."""
    return _first(pairs, settings, settings.sampled_pairs)


def ranked(pairs: Iterable[int], settings: Settings) -> Int[np.ndarray, " ranked"]:
    """The pairs, ascending, on which rankings are compared and variances fitted."""
    return _first(pairs, settings, settings.ranked_pairs)


def ranked_rows(heads: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The rows of the pairs that are ranked: all rows where there are no more pairs than that."""
    pairs = heads["pair"].unique()
    if len(pairs) <= settings.ranked_pairs:
        return heads
    rows = heads[heads["pair"].isin(ranked(pairs, settings))]
    rows.attrs = heads.attrs
    return rows


def _first(pairs: Iterable[int], settings: Settings, most: int) -> Int[np.ndarray, " drawn"]:
    ascending = np.unique(np.asarray(list(pairs), dtype=np.int64))
    if len(ascending) <= most:
        return ascending
    random = resampling.generator(settings.seed, "sampled pairs")
    return np.sort(random.permutation(ascending)[:most])
