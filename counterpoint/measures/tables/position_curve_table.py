"""The table of curves at single positions of a shard (`position_curves`).

Rows are those of the table of positions. ``output`` and ``gradient`` hold f and g of the row on the
50 Gauss-Legendre nodes of [0, 1], those of curves.safetensors.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from counterpoint.engine.activations import Component
from counterpoint.measures.position_curves import position_curves
from counterpoint.measures.positions import COMPONENTS
from counterpoint.measures.tables.position_table import measured, replaced, unit_keys
from counterpoint.measures.tables.shards import Measurement, Shard
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

MEASURES = (
    "ap",
    "atp",
    "output_range",
    "output_range_closed",
    "gradient_range",
    "total_variation",
    "monotonicity",
    "excess_range",
    "saturation",
    "quadrature_error",
    "gradient_error",
    "nodes",
    "resolved",
)
"""Measures of the curve, as `heads.parquet` has them."""

CURVES = ("output", "gradient")

COLUMNS = {
    "pair": "int64",
    "direction": "object",
    "component": "object",
    "layer": "int64",
    "head": "int64",
    "position": "int64",
    "token": "object",
    "span": "object",
    **{name: "bool" if name == "resolved" else "float64" for name in MEASURES},
    **dict.fromkeys(CURVES, "object"),
}
"""The columns of the table with their kinds; curves are arrays of float32 in each row."""


def score_position_curves(
    model: LanguageModel,
    shard: Shard,
    pairs: pd.DataFrame,
    measurement: Measurement,
    *,
    chosen: Collection[int] | None = None,
    components: Sequence[Component] = COMPONENTS,
    heads: Collection[tuple[int, int]] | None = None,
    nodes: str = "adaptive",
    tolerance: float = 1e-4,
    max_nodes: int = 65,
) -> pd.DataFrame:
    """Curves at every position of the ``chosen`` pairs of a shard, with their measures.

    Arguments up to ``heads`` are those of `score_positions`, the others those of `output_curves`.
    """
    tables: list[pd.DataFrame] = []
    for engine, direction, texts in measured(model, shard, pairs, measurement, chosen):
        numbers = engine.activations.pairs.number
        for component in components:
            progress = Progress(
                f"{len(numbers)} pairs, {direction}, evaluations of {component} by position"
            )
            for position, units, curves in position_curves(
                engine,
                direction,
                component,
                heads=heads,
                nodes=nodes,
                tolerance=tolerance,
                max_nodes=max_nodes,
                advance=progress,
            ):
                pair = units.pair.cpu().numpy()
                here = replaced(engine, direction)[pair, position]
                table = pd.DataFrame(
                    unit_keys(units, numbers)
                    | {"direction": direction, "component": component, "position": position}
                    | {name: values[pair, position] for name, values in texts.items()}
                    | {name: getattr(curves, name) for name in MEASURES}
                )
                for name in CURVES:
                    rows = list(getattr(curves, name).astype(np.float32))
                    table[name] = pd.Series(rows, dtype=object)
                tables.append(table[here])
            progress.say()
    if not tables:
        return no_rows()
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)].astype(COLUMNS)


def no_rows() -> pd.DataFrame:
    """The table of a shard that has none of the pairs."""
    return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in COLUMNS.items()})
