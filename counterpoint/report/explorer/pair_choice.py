"""Which pairs the explorer shows one by one, where a study has too many for a page.

A page must stay small enough to open at once. Scores of all pairs are shown as they are up to
`MOST_SCORES` numbers a measure, curves up to `MOST_CURVES`; beyond that pairs at equal distances in
the study's order, the first one always among them. Means, intervals and quantiles are of all pairs
whatever is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_SCORES = 40_000
"""Values of one measure (pairs × directions × heads) that are all shown: 64 pairs of 270 heads in
both directions are 34 560."""

MOST_CURVES = 26_000
"""Curves (pairs × directions × heads) that are all drawn: 48 such pairs are 25 920."""

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Of all pairs, where not every pair is shown."""


def spread_out(pairs: Sequence[int], each: int, most: int) -> list[int]:
    """Return those of ``pairs`` that are shown when one takes ``each`` values of ``most``.

    All where they fit; else as many as fit (at least one), at equal distances, in order.
    """
    count = max(1, min(len(pairs), most // max(each, 1)))
    if count >= len(pairs):
        return list(pairs)
    places = np.floor(np.arange(count) * len(pairs) / count).astype(int)
    return [pairs[place] for place in places]
