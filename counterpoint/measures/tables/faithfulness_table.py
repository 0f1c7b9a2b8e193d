"""The faithfulness table of a shard: what the first k heads by each score recover of each pair.

`measures.faithfulness` patches them; `statistics.score_faithfulness` reads the table.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoint.measures.faithfulness import FIRST_HEADS, recovered
from counterpoint.measures.tables.shards import (
    Measurement,
    Shard,
    engines,
    read_buckets,
    score_of_pairs,
)
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

SCORES = ("ap", "atp", "ig_joint", "output_range", "ig_unsaturated")
"""Columns of the tables of a shard by which heads are ranked."""

COLUMNS = ("pair", "direction", "score", "k", "recovered")


def score_faithfulness(
    model: LanguageModel,
    shard: Shard,
    heads: pd.DataFrame,
    measurement: Measurement,
) -> pd.DataFrame:
    """One row per pair, direction, score and number k of heads.

    ``heads`` has the scores of the shard.
    """
    tables: list[pd.DataFrame] = []
    first_heads = [k for k in FIRST_HEADS if k <= len(model.head_layers) * model.n_heads]
    for bucket in read_buckets(shard, model.device):
        pairs = bucket.pairs.number
        for direction, engine in engines(model, bucket, measurement).items():
            progress = Progress(f"pairs, {direction}, heads patched together", len(pairs))
            scores = {name: score_of_pairs(heads, name, pairs, direction, model) for name in SCORES}
            share = recovered(engine, direction, scores, first_heads)
            score, pair, k = (axis.reshape(-1) for axis in np.indices(share.shape))
            tables.append(
                pd.DataFrame(
                    {
                        "pair": np.array(pairs, dtype=np.int64)[pair],
                        "direction": direction,
                        "score": np.array(list(scores), dtype=object)[score],
                        "k": np.array(first_heads, dtype=np.int64)[k],
                        "recovered": share.reshape(-1),
                    }
                )
            )
            progress(len(pairs))
            progress.say()
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(tables, ignore_index=True)
