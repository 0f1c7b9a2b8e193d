"""How much each step of the measurement asks of a model: operations and bytes for one pair.

The counts say how a step grows with the model and the pair, not how often it repeats a pass: that
is measured (`costs`). All are for one direction, except for what is cached.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from counterpoint.measures.curve_measures import GRID_SIZE
from counterpoint.workflow.planning.model_size import Size

BYTES_PER_ROW = 105
"""Of `heads.parquet`, and about as many of the shards' tables together: measured on SmolLM2's
270 heads in 8 pairs of five tasks, 100 to 104."""


BYTES_PER_POSITION = 13
"""Of `positions.parquet`, whose keys repeat: measured on a made-up table of SmolLM2's shape."""


@dataclass(frozen=True)
class Pairs:
    """What of a study's pairs matters: how many, their mean tokens (the one at the beginning
    included), and the mean number of *positions* from the first that differs to the end."""

    count: int
    tokens: float
    positions: float


def pairs_of(table: pd.DataFrame) -> Pairs:
    """What matters of the rows of `pairs.parquet`."""
    after = table["length"] - table["first_difference"]
    return Pairs(len(table), float(table["length"].mean()), float(after.mean()))


def operations(size: Size, pairs: Pairs) -> dict[str, float]:
    """Floating-point operations of one repetition of each step, for one pair, by rule.

    A head's patch runs the layers above it at the pair's positions, on average half of the model; a
    sweep over heads does so for each. Steps on the joint path move all heads of a layer together,
    and partners are the other heads of a layer.
    """
    above = pairs.positions * size.operations / 2
    return {
        "cache_activations": 2 * pairs.tokens * size.operations,
        "compute_curves": size.heads * above,
        "integrate_gradients": size.n_layers * above,
        "measure_faithfulness": size.n_layers * above,
        "find_partners": size.n_heads * above,
    }


def position_operations(size: Size, pairs: Pairs, units: int) -> float:
    """Floating-point operations of AP at every position of so many heads and whole components, for
    one pair and direction.

    A patch at a position runs what comes from there on, half of the positions on average; and each
    is patched at all of them once.
    """
    run = pairs.positions * (pairs.positions + 1) / 2 + pairs.positions
    return units * run * size.operations / 2


def activation_bytes(size: Size, pairs: Pairs) -> float:
    """Bytes of a pair's cached activations (`activations.Activations`): of both prompts four
    tensors for each layer and position, and the keys and values of what comes before."""
    numbers = 2 * pairs.positions * size.n_layers * (3 * size.width + size.head_values)
    prefix = (pairs.tokens - pairs.positions) * size.n_layers * 2 * size.keys_values
    return (numbers + prefix) * size.bytes_per_number


def curve_bytes(size: Size) -> float:
    """Bytes of a pair's curves in one direction: f and g of every head at every α, in float32."""
    return size.heads * GRID_SIZE * 2 * 4.0


def table_bytes(size: Size) -> float:
    """Bytes of a pair's rows of heads in one direction, in one place."""
    return size.heads * float(BYTES_PER_ROW)
