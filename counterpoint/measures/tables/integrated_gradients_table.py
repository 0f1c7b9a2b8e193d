"""The table of IG joint of a shard: all heads of a layer move (`measures.integrated_gradients`)."""

from __future__ import annotations

import pandas as pd

from counterpoint.engine.head_outputs import every_unit
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.tables.shards import (
    Measurement,
    Shard,
    engines,
    ordered,
    read_buckets,
    unit_table,
)
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

COLUMNS = ("ig_joint", "ig_unsaturated", "ig_convergence_delta", "ig_jump_total", "ig_resolved")


def score_integrated_gradients(
    model: LanguageModel,
    shard: Shard,
    measurement: Measurement,
    *,
    tolerance: float = 1e-4,
    max_steps: int = 128,
) -> pd.DataFrame:
    """IG joint of every head of a shard: one row per pair, direction, layer and head.

    ``ig_convergence_delta``, ``ig_jump_total`` and ``ig_resolved`` belong to the whole layer and
    are repeated in the rows of its heads (`integrated_gradients.IntegratedGradientScores`).
    """
    tables: list[pd.DataFrame] = []
    for bucket in read_buckets(shard, model.device):
        pairs = bucket.pairs.number
        units = every_unit(model, len(pairs))
        layer, pair = units.layer.cpu().numpy(), units.pair.cpu().numpy()
        assert units.head is not None
        head = units.head.cpu().numpy()
        for direction, engine in engines(model, bucket, measurement).items():
            progress = Progress(
                f"{len(pairs)} pairs, {direction}, layers integrated",
                len(model.head_layers) * len(pairs),
            )
            found = integrated_gradients(
                engine, direction, tolerance=tolerance, max_steps=max_steps, advance=progress
            )
            progress.say()
            of_layer = {
                "ig_convergence_delta": found.convergence_delta,
                "ig_jump_total": found.jump_total,
                "ig_resolved": found.resolved,
            }
            tables.append(
                unit_table(pairs, direction, units).assign(
                    ig_joint=found.score[layer, pair, head],
                    ig_unsaturated=found.unsaturated[layer, pair, head],
                    **{name: values[layer, pair] for name, values in of_layer.items()},
                )
            )
    return ordered(tables, list(COLUMNS), "head")
