"""The table of output curves of a shard, with every measure, and the curves (`measures.curves`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from counterpoint.engine.activations import Component
from counterpoint.engine.head_outputs import every_unit, named_units
from counterpoint.measures import quadrature
from counterpoint.measures.curve_measures import GRID_SIZE, OutputCurves
from counterpoint.measures.curves import output_curves
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

Keep = Literal["all", "none"] | int


def score_curves(
    model: LanguageModel,
    shard: Shard,
    measurement: Measurement,
    component: Component = "head",
    *,
    nodes: str = "adaptive",
    tolerance: float = 1e-4,
    max_nodes: int = 65,
    keep: Keep = "all",
    heads: Collection[tuple[int, int]] | None = None,
) -> tuple[pd.DataFrame, dict[str, Tensor]]:
    """Every measure of the output curve for every component of a shard, and the curves themselves.

    The table has one row per pair, direction, layer and head (for MLPs no head). The tensors are
    ``alphas`` [node], ``pairs`` [pair], ``output`` and ``gradient`` [pair, direction, layer, head,
    node], for pairs numbered below ``keep``; layers without the component have no rows, and are
    not a number in the tensors. So are other heads than ``heads``, where these are named.
    """
    tables: list[pd.DataFrame] = []
    kept: dict[str, list[np.ndarray]] = {"output": [], "gradient": []}
    numbers: list[int] = []
    n_units = model.n_heads if component == "head" else 1
    for bucket in read_buckets(shard, model.device):
        of_direction = engines(model, bucket, measurement)
        engine = next(iter(of_direction.values()))
        pairs = bucket.pairs.number
        units = named_units(every_unit(model, len(pairs), component), heads)
        shape = (model.n_layers, len(pairs), n_units, GRID_SIZE)
        head = 0 if units.head is None else units.head.cpu().numpy()
        places = units.layer.cpu().numpy(), units.pair.cpu().numpy(), head
        change = (engine.unpatched("clean") - engine.unpatched("corrupted")).double().cpu().numpy()
        chosen = [place for place, pair in enumerate(pairs) if _is_kept(pair, keep)]
        numbers += [pairs[place] for place in chosen]
        of_bucket: dict[str, list[np.ndarray]] = {"output": [], "gradient": []}
        for direction, engine in of_direction.items():
            progress = Progress(f"{len(pairs)} pairs, {direction}, {component} evaluations")
            curves = output_curves(
                engine,
                direction,
                units,
                component=component,
                nodes=nodes,
                tolerance=tolerance,
                max_nodes=max_nodes,
                advance=progress,
            )
            progress.say()
            table = unit_table(pairs, direction, units)
            tables.append(
                table.assign(**_with_normalised(curves, change[units.pair.cpu().numpy()]))
            )
            for name, parts in of_bucket.items():
                curve = np.full(shape, np.nan)
                curve[places] = getattr(curves, name)
                parts.append(curve.transpose(1, 0, 2, 3)[chosen])
        for name, parts in of_bucket.items():
            kept[name].append(np.stack(parts, axis=1))
    grid, _ = quadrature.gauss_legendre(GRID_SIZE)
    nothing = np.empty((0, len(measurement.directions), model.n_layers, n_units, GRID_SIZE))
    tensors = {"alphas": torch.from_numpy(grid), "pairs": torch.tensor(numbers, dtype=torch.int64)}
    tensors |= {
        name: torch.from_numpy(np.concatenate([nothing, *parts])).float()
        for name, parts in kept.items()
    }
    return ordered(tables, ["ap", "ap_normalised", *OutputCurves.MEASURES[1:]], component), tensors


def _is_kept(pair: int, keep: Keep) -> bool:
    return keep == "all" or (isinstance(keep, int) and pair < keep)


def _with_normalised(curves: OutputCurves, change: np.ndarray) -> dict[str, np.ndarray]:
    """The measures with AP over m_clean − m_corrupted; not a number where the two are equal."""
    measures = curves.measures()
    with np.errstate(divide="ignore", invalid="ignore"):
        normalised = np.where(change == 0, np.nan, measures["ap"] / change)
    return {"ap_normalised": normalised, **measures}
