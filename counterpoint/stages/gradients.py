"""The joint integrated gradients of one shard, as a table."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
from torch import Tensor

from counterpoint.activations import Direction, every_unit
from counterpoint.gradients import integrated_gradients
from counterpoint.models.load import LanguageModel
from counterpoint.stages.activations import stored_activations
from counterpoint.stages.tables import KEYS, joined, ordered
from counterpoint.suffix import SuffixEngine

log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


def measure_integrated_gradients(
    model: LanguageModel,
    activations: PathLike,
    *,
    directions: Sequence[Direction],
    metric: str = "logit_difference",
    memory_mb: int = 1000,
    tolerance: float = 1e-4,
    max_steps: int = 128,
) -> pd.DataFrame:
    """Joint integrated gradients of every head of every pair in a file of `cache_shard`.

    Columns: `KEYS`, `ig_joint`, and `ig_convergence_delta`, which the heads of a layer share.
    """
    tables = []
    for bucket in stored_activations(activations, model.device):
        engine = SuffixEngine(model, bucket, metric=metric, memory_mb=memory_mb)
        numbers = np.array(bucket.pairs.number)
        units = every_unit(model, len(numbers))
        pair, layer, head = (
            place.cpu().numpy() for place in (units.pair, units.layer, cast(Tensor, units.head))
        )
        for direction in directions:
            found = integrated_gradients(
                engine, direction, tolerance=tolerance, max_steps=max_steps
            )
            log.info(
                "%s, %d pairs of %d tokens: done with at most %d steps",
                direction,
                len(numbers),
                bucket.pairs.length,
                found.steps.max(),
            )
            tables.append(
                pd.DataFrame(
                    {
                        "pair": numbers[pair],
                        "direction": direction,
                        "layer": layer,
                        "head": head,
                        "ig_joint": found.score[layer, pair, head],
                        "ig_convergence_delta": found.convergence_delta[layer, pair],
                    }
                )
            )
    return ordered(joined(tables, KEYS), KEYS, directions)
