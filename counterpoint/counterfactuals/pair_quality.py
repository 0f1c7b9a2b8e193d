"""What a pair is worth to a head: how far it leads the others on it, and how much it does.

A head is *first* on a pair where its effect is the largest of all heads' and LD changes enough for
that to mean something; with a good change it is a find, and *well ahead* with a good margin over
the second as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

Array = np.ndarray

GOOD_MARGIN = 1.5
"""Times the strongest other head's effect that a head's should have."""

GOOD_CHANGE = 1.0
"""LD change that a head's best pair should have."""

LEAST_CHANGE = 0.5
"""LD change from which a head that comes first counts as found."""

FIRST = 2.0
"""What being first adds to the quality; a good change and a good margin each add as much again."""

WELL_AHEAD = 3 * FIRST
"""The quality from which on a head is well ahead."""


def closeness_to_first(
    change: Float[Array, "*head"], margin: Float[Array, "*head"]
) -> Float[Array, "*head"]:
    """Below `FIRST`, by margin and LD change, smoothly: how near a pair is to being a find.
    NaN counts as nothing."""
    change, margin = (np.maximum(np.nan_to_num(one), 0) for one in (change, margin))
    by_both = np.minimum(margin / GOOD_MARGIN, 1) * np.sqrt(change / (2 * GOOD_CHANGE))
    return np.minimum(by_both, 0.995 * FIRST)


def success_level(
    change: Float[Array, "*head"], margin: Float[Array, "*head"]
) -> Float[Array, "*head"]:
    """1 where the head leads with `LEAST_CHANGE`, 2 with `GOOD_CHANGE`, 3 with `GOOD_MARGIN`
    besides, else 0. NaN counts as nothing."""
    change, margin = (np.maximum(np.nan_to_num(one), 0) for one in (change, margin))
    first = (margin > 1) & (change >= LEAST_CHANGE)
    changed = first & (change >= GOOD_CHANGE)
    good = changed & (margin >= GOOD_MARGIN)
    return 1.0 * first + changed + good


def quality(change: Float[Array, "*head"], margin: Float[Array, "*head"]) -> Float[Array, "*head"]:
    """The `closeness_to_first`, and `FIRST` more for each level of `success_level`."""
    return closeness_to_first(change, margin) + FIRST * success_level(change, margin)


def edit_transfers(first_five: Any, contexts: Any) -> Any:
    """Whether, with the pair's edit, the head is in the first five in half of the fresh contexts;
    of numbers or of columns of them. False where it was not tried (NaN)."""
    return first_five * 2 >= contexts
