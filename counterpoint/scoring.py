"""A shard of pairs, from its tokens to its tables of scores.

Pairs of a shard are grouped into buckets (equal length and first differing position), whose pairs
share batches. Activations are written bucket by bucket and read back one bucket at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from counterpoint import quadrature
from counterpoint.activations import (
    PROMPTS,
    Activations,
    Component,
    Direction,
    TokenPairs,
    cache_activations,
    every_unit,
)
from counterpoint.curves import GRID_SIZE, OutputCurves, output_curves
from counterpoint.gradients import integrated_gradients
from counterpoint.models.load import LanguageModel
from counterpoint.pairs import Bucket, buckets
from counterpoint.progress import Progress
from counterpoint.suffix import SuffixEngine

Keep = Literal["all", "none"] | int

KEYS = ("pair", "direction", "layer", "head")


@dataclass(frozen=True)
class Measurement:
    """Settings shared by everything that is measured on a shard."""

    metric: str = "logit_difference"
    directions: tuple[Direction, ...] = ("noising", "denoising")
    components: tuple[Component, ...] = ("head",)
    memory_mb: int = 1000


def token_pairs(bucket: Bucket) -> TokenPairs:
    """The bucket's pairs as tensors."""
    return TokenPairs(
        torch.tensor(bucket.clean),
        torch.tensor(bucket.corrupted),
        tuple(map(tuple, bucket.correct)),
        tuple(map(tuple, bucket.incorrect)),
        tuple(bucket.pairs),
    )


def cache_shard(
    model: LanguageModel, pairs: pd.DataFrame, metric: str
) -> tuple[dict[str, Tensor], pd.DataFrame]:
    """Run every prompt of a shard; return its activations by name, and the metric of each run.

    ``pairs`` are rows of `pairs.parquet`. The table has, for each pair, the metric and the logit
    difference of both prompts, and whether the clean prompt is answered correctly.
    """
    named: dict[str, Tensor] = {}
    rows: list[pd.DataFrame] = []
    progress = Progress("pairs run", len(pairs))
    for place, bucket in enumerate(buckets(pairs)):
        activations = cache_activations(model, token_pairs(bucket))
        named |= {f"{place}/{name}": tensor for name, tensor in activations.tensors().items()}
        table = {"pair": np.array(bucket.pairs, dtype=np.int64)}
        for label, name in (("metric", metric), ("logit_difference", "logit_difference")):
            engine = SuffixEngine(model, activations, metric=name)
            for prompt in PROMPTS:
                table[f"{label}_{prompt}"] = engine.unpatched(prompt).double().cpu().numpy()
        rows.append(pd.DataFrame(table))
        progress(len(bucket.pairs))
    columns = [f"{label}_{prompt}" for label in ("metric", "logit_difference") for prompt in PROMPTS]
    empty = pd.DataFrame(
        {"pair": np.empty(0, dtype=np.int64)} | {name: np.empty(0) for name in columns}
    )
    baseline = pd.concat(rows, ignore_index=True) if rows else empty
    baseline["correct"] = baseline["logit_difference_clean"] > 0
    return named, baseline.sort_values("pair", ignore_index=True)


def read_shard(
    path: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> Iterator[Activations]:
    """The activations that `cache_shard` made, one bucket after another."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as stored:
        names = stored.keys()
        places = sorted({int(name.split("/")[0]) for name in names})
        for place in places:
            start = f"{place}/"
            yield Activations.from_tensors(
                {
                    name.removeprefix(start): stored.get_tensor(name)
                    for name in names
                    if name.startswith(start)
                },
                device,
            )


def score_curves(
    model: LanguageModel,
    shard: str | os.PathLike[str],
    measurement: Measurement,
    component: Component = "head",
    *,
    nodes: str = "adaptive",
    tolerance: float = 1e-4,
    max_nodes: int = 65,
    keep: Keep = "all",
) -> tuple[pd.DataFrame, dict[str, Tensor]]:
    """Every measure of the output curve for every component of a shard, and the curves themselves.

    The table has one row per pair, direction, layer and head (for MLPs no head). The tensors are
    ``alphas`` [node], ``pairs`` [pair], ``output`` and ``gradient`` [pair, direction, layer, head,
    node], for pairs numbered below ``keep``.
    """
    tables: list[pd.DataFrame] = []
    kept: dict[str, list[np.ndarray]] = {"output": [], "gradient": []}
    numbers: list[int] = []
    n_units = model.n_heads if component == "head" else 1
    for activations in read_shard(shard, model.device):
        engine = SuffixEngine(
            model, activations, metric=measurement.metric, memory_mb=measurement.memory_mb
        )
        pairs = activations.pairs.number
        units = every_unit(model, len(pairs), component)
        shape = (model.n_layers, len(pairs), n_units)
        change = (engine.unpatched("clean") - engine.unpatched("corrupted")).double().cpu().numpy()
        chosen = [place for place, pair in enumerate(pairs) if _is_kept(pair, keep)]
        numbers += [pairs[place] for place in chosen]
        of_bucket: dict[str, list[np.ndarray]] = {"output": [], "gradient": []}
        for direction in measurement.directions:
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
            table = _unit_table(pairs, direction, shape, component)
            tables.append(table.assign(**_with_normalised(curves, change[units.pair.cpu().numpy()])))
            for name, parts in of_bucket.items():
                curve = getattr(curves, name).reshape(*shape, GRID_SIZE)
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
    return _ordered(tables, ["ap", "ap_normalised", *OutputCurves.MEASURES[1:]], component), tensors


def score_integrated_gradients(
    model: LanguageModel,
    shard: str | os.PathLike[str],
    measurement: Measurement,
    *,
    tolerance: float = 1e-4,
    max_steps: int = 128,
) -> pd.DataFrame:
    """IG joint of every head of a shard: one row per pair, direction, layer and head.

    ``ig_convergence_delta`` belongs to the whole layer and is repeated in the rows of its heads.
    """
    tables: list[pd.DataFrame] = []
    for activations in read_shard(shard, model.device):
        engine = SuffixEngine(
            model, activations, metric=measurement.metric, memory_mb=measurement.memory_mb
        )
        pairs = activations.pairs.number
        shape = (model.n_layers, len(pairs), model.n_heads)
        for direction in measurement.directions:
            progress = Progress(
                f"{len(pairs)} pairs, {direction}, layers integrated", shape[0] * shape[1]
            )
            found = integrated_gradients(
                engine, direction, tolerance=tolerance, max_steps=max_steps, advance=progress
            )
            progress.say()
            per_head = np.broadcast_to(found.convergence_delta[..., None], shape)
            tables.append(
                _unit_table(pairs, direction, shape, "head").assign(
                    ig_joint=found.score.reshape(-1), ig_convergence_delta=per_head.reshape(-1)
                )
            )
    return _ordered(tables, ["ig_joint", "ig_convergence_delta"], "head")


def _is_kept(pair: int, keep: Keep) -> bool:
    return keep == "all" or (isinstance(keep, int) and pair < keep)


def _with_normalised(curves: OutputCurves, change: np.ndarray) -> dict[str, np.ndarray]:
    """The measures with AP over m_clean − m_corrupted; not a number where the two are equal."""
    measures = curves.measures()
    with np.errstate(divide="ignore", invalid="ignore"):
        normalised = np.where(change == 0, np.nan, measures["ap"] / change)
    return {"ap_normalised": normalised, **measures}


def _unit_table(
    pairs: Sequence[int], direction: Direction, shape: tuple[int, int, int], component: Component
) -> pd.DataFrame:
    """Keys of the rows in the order of `every_unit`: by layer, then pair, then head."""
    layer, pair, head = (axis.reshape(-1) for axis in np.indices(shape))
    keys = {
        "pair": np.array(pairs, dtype=np.int64)[pair],
        "direction": np.full(len(pair), direction, dtype=object),
        "layer": layer.astype(np.int64),
    }
    return pd.DataFrame(keys | ({"head": head.astype(np.int64)} if component == "head" else {}))


def _ordered(
    tables: list[pd.DataFrame], columns: list[str], component: Component
) -> pd.DataFrame:
    """All rows by pair, direction as measured, layer and head; with no pair, no row."""
    keys = [key for key in KEYS if component == "head" or key != "head"]
    if not tables:
        kinds = {key: object if key == "direction" else np.int64 for key in keys}
        kinds |= dict.fromkeys(columns, float)
        return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in kinds.items()})
    whole = pd.concat(tables, ignore_index=True)[[*keys, *columns]]
    order = list(dict.fromkeys(whole["direction"]))
    return whole.sort_values(
        keys,
        key=lambda column: column.map(order.index) if column.name == "direction" else column,
        ignore_index=True,
    )
