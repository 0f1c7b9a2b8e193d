"""The classes of an atlas: how far its pair brings each head, from best to nothing.

The classes are steps: whatever is in one of the first two also fulfils what the later ones of being
first ask. A pair is *fluent* when both prompts' mean loss per token is at most the atlas's cap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from counterpoint.counterfactuals.pair_quality import GOOD_CHANGE, GOOD_MARGIN, LEAST_CHANGE


@dataclass(frozen=True)
class AtlasClass:
    """One class: its key, its name for a reader, its colour and that of text on it."""

    key: str
    name: str
    colour: str
    ink: str


CLASSES = (
    AtlasClass(
        "clear",
        f"first, fluent, margin at least {GOOD_MARGIN:g} and LD change at least {GOOD_CHANGE:g}",
        "#0b5d4a",
        "#ffffff",
    ),
    AtlasClass(
        "fluent", f"first, fluent, LD change at least {LEAST_CHANGE:g}", "#7cc4a4", "#10241c"
    ),
    AtlasClass("first", "first, but not fluent or with a smaller LD change", "#d3e6f5", "#12283a"),
    AtlasClass("behind", "not first", "#f4d9b0", "#3d2600"),
    AtlasClass("none", "no pair found", "#e3e6eb", "#3a4250"),
)
"""From best to nothing; dark to light, so that they also differ without colour."""

KEYS = tuple(one.key for one in CLASSES)


def has_pair(atlas: pd.DataFrame) -> pd.Series:
    """Which heads have a pair."""
    texts = atlas["clean"].fillna("").astype(str).str.len() > 0
    return texts & atlas["rank"].notna()


def atlas_class(atlas: pd.DataFrame) -> pd.Series:
    """The key of the class of each row of an atlas (columns ``clean, rank, margin, ld_change,
    fluent``; what is missing counts as not reached)."""
    first = has_pair(atlas) & (atlas["rank"] == 1)
    # A column with empty places is no column of booleans any more.
    fluent = atlas["fluent"].map(lambda value: not pd.isna(value) and bool(value)).astype(bool)
    fluent &= first & (atlas["ld_change"] >= LEAST_CHANGE)
    clear = fluent & (atlas["ld_change"] >= GOOD_CHANGE) & (atlas["margin"] >= GOOD_MARGIN)
    keys = np.select([clear, fluent, first, has_pair(atlas)], KEYS[:-1], KEYS[-1])
    return pd.Series(keys, index=atlas.index, name="reached")
