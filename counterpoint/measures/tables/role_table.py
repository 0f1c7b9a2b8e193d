"""The table of roles of a shard: what each head's query, key, value and pattern alone do.

`measures.roles` computes the effects.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.measures.roles import ROLES, role_effects
from counterpoint.measures.tables.shards import KEYS, Measurement, Shard, engine_for, read_buckets
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

COLUMNS = {
    "pair": "int64",
    "direction": "object",
    "layer": "int64",
    "head": "int64",
    "role": "object",
    "ap": "float64",
}
"""The columns of the table with their kinds."""


def score_roles(
    model: LanguageModel, shard: Shard, measurement: Measurement, *, pairs: int | str = "all"
) -> pd.DataFrame:
    """One row per pair, direction, layer, head and role, for pairs numbered below ``pairs``.

    Roles of key-value heads (`roles.OF_GROUPS`) stand at the first head of their group, in layers
    in which several query heads share one.
    """
    tables: list[pd.DataFrame] = []
    for bucket in read_buckets(shard, model.device):
        numbers = np.array(bucket.pairs.number, dtype=np.int64)
        measured = np.flatnonzero((numbers < pairs) if isinstance(pairs, int) else numbers >= 0)
        if not len(measured):
            continue
        engine = engine_for(model, bucket, measurement.metric, measurement.memory_mb)
        # Effects add up as the metric does.
        parts = [(AttentionParts(part), sign) for part, sign in engine.parts]
        for direction in measurement.directions:
            progress = Progress(f"{len(measured)} pairs, {direction}, role evaluations")
            of_parts = [
                role_effects(
                    attention.engine,
                    direction,
                    pairs=measured.tolist(),
                    parts=attention,
                    advance=progress,
                )
                for attention, _ in parts
            ]
            progress.say()
            found = of_parts[0]
            effect = sum(
                (sign * one.effect for one, (_, sign) in zip(of_parts, parts, strict=True)),
                start=np.zeros(len(found.effect)),
            )
            tables.append(
                pd.DataFrame(
                    {
                        "pair": numbers[found.pair],
                        "direction": direction,
                        "layer": found.layer,
                        "head": found.head,
                        "role": np.array(ROLES, dtype=object)[found.role],
                        "ap": effect,
                    }
                )
            )
    if not tables:
        return no_rows()
    table = pd.concat(tables, ignore_index=True)[list(COLUMNS)]
    place = {name: number for number, name in enumerate(measurement.directions)}
    return table.sort_values(
        [*KEYS, "role"],
        key=lambda column: column.map(place) if column.name == "direction" else column,
        ignore_index=True,
    )


def no_rows() -> pd.DataFrame:
    """The table of a shard that has none of the pairs."""
    return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in COLUMNS.items()})
