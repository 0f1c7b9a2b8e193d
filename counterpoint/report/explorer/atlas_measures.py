"""What the atlas says of each head, as measures that the explorer maps.

They are of the head's own pair, so that they have neither pairs nor directions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from counterpoint.counterfactuals.atlas.atlas_classes import has_pair
from counterpoint.figures.chosen_heads import Head
from counterpoint.glossary import COLUMNS
from counterpoint.report.explorer.measure_arrays import About

FILE = "atlas.parquet"

MAPPED = ("rank", "margin", "ld_change", "evenness", "perplexity", "changed_tokens")
"""What is mapped of atlas.parquet."""


def atlas_measures(
    atlas: pd.DataFrame | None, places: Mapping[Head, int]
) -> list[tuple[About, Float[np.ndarray, " head"]]]:
    """Return the atlas's measures with a value for each head; NaN where no pair was found."""
    if atlas is None or atlas.empty:
        return []
    known = atlas[has_pair(atlas)]
    at = [(int(a), int(b)) for a, b in known[["layer", "head"]].to_numpy()]
    found = []
    for name in MAPPED:
        if name not in known:
            continue
        values = np.full(len(places), np.nan)
        for head, value in zip(at, known[name].to_numpy(float), strict=True):
            if head in places and np.isfinite(value):
                values[places[head]] = value
        if not np.isfinite(values).any():
            continue
        column = COLUMNS[FILE][name]
        about = About(
            key=f"atlas.{name}",
            label=f"{column.shown} on its own pair",
            group="atlas",
            meaning=column.meaning,
            unit="",
            signed=bool((values < 0).any()),
            source=FILE,
            column=name,
            where={},
            word=column.word,
        )
        found.append((about, values))
    return found
