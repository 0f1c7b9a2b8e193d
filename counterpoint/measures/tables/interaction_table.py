"""The interaction table of a shard: partners of the heads whose IG joint and AP differ most.

`measures.interaction` computes the interactions; `statistics.interaction_partners` reads the table.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoint.measures.interaction import partners
from counterpoint.measures.tables.shards import (
    Measurement,
    Shard,
    engines,
    read_buckets,
    score_of_pairs,
)
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

COLUMNS = {
    "pair": "int64",
    "direction": "object",
    "layer": "int64",
    "head": "int64",
    "ap": "float64",
    "ig_own": "float64",
    "ig_joint": "float64",
    "partner": "int64",
    "interaction": "float64",
    "remainder": "float64",
}
"""The columns of the table with their kinds."""


def score_interactions(
    model: LanguageModel,
    shard: Shard,
    heads: pd.DataFrame,
    measurement: Measurement,
    *,
    heads_per_pair: int = 5,
) -> pd.DataFrame:
    """One row per pair, direction, head and partner, for the heads with the largest disagreement.

    ``remainder`` is IG joint − AP less the head's interactions with all partners, and is repeated
    in the rows of its partners. ``heads`` has the shard's scores.
    """
    tables: list[pd.DataFrame] = []
    for bucket in read_buckets(shard, model.device):
        pairs = bucket.pairs.number
        for direction, engine in engines(model, bucket, measurement).items():
            ap, joint = (
                score_of_pairs(heads, name, pairs, direction, model) for name in ("ap", "ig_joint")
            )
            targets = _largest(np.abs(joint - ap), heads_per_pair)
            progress = Progress(f"{len(pairs)} pairs, {direction}, heads with partners")
            found = partners(engine, direction, targets)
            for place, (pair, layer, head) in enumerate(targets):
                others = [other for other in range(model.n_heads) if other != head]
                interaction = found.interaction[place, others]
                own, together = ap[layer, pair, head], joint[layer, pair, head]
                tables.append(
                    pd.DataFrame(
                        {
                            "pair": pairs[pair],
                            "direction": direction,
                            "layer": layer,
                            "head": head,
                            "ap": own,
                            "ig_own": found.own[place],
                            "ig_joint": together,
                            "partner": others,
                            "interaction": interaction,
                            "remainder": together - own - interaction.sum(),
                        }
                    )
                )
            progress(len(targets))
            progress.say()
    filled = [table for table in tables if len(table)]
    if not filled:
        # No pair, or one head alone in its layer: no rows, but columns of the right kinds.
        return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in COLUMNS.items()})
    return pd.concat(filled, ignore_index=True)[list(COLUMNS)]


def _largest(size: np.ndarray, count: int) -> list[tuple[int, int, int]]:
    """The ``count`` largest heads of each pair as (pair, layer, head), in order of layer."""
    _, n_pairs, n_heads = size.shape
    chosen: list[tuple[int, int, int]] = []
    for pair in range(n_pairs):
        own = size[:, pair].reshape(-1)
        order = np.argsort(-own, kind="stable")[: min(count, np.count_nonzero(~np.isnan(own)))]
        chosen += [(pair, int(place // n_heads), int(place % n_heads)) for place in order]
    return sorted(chosen, key=lambda target: (target[1], target[0], target[2]))
