"""The output curves of one shard: its table of measures, and the curves themselves."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from counterpoint.activations import Component, Direction, every_unit
from counterpoint.curves import GRID_SIZE, output_curves
from counterpoint.models.load import LanguageModel
from counterpoint.quadrature import gauss_legendre
from counterpoint.stages.activations import stored_activations
from counterpoint.stages.progress import Progress
from counterpoint.stages.tables import KEYS, joined, ordered
from counterpoint.suffix import SuffixEngine

log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


def measure_curves(
    model: LanguageModel,
    activations: PathLike,
    *,
    directions: Sequence[Direction],
    metric: str = "logit_difference",
    memory_mb: int = 1000,
    component: Component = "head",
    nodes: str = "adaptive",
    tolerance: float = 1e-4,
    max_nodes: int = 65,
    keep: str | int = "all",
) -> tuple[pd.DataFrame, dict[str, Tensor]]:
    """Output curves of every head (or MLP) of every pair in a file of `cache_shard`.

    Returns the table of measures, with `KEYS` first (no head for MLPs), `ap_normalised` among
    them, and the curves of the pairs that ``keep`` names ("all", "none", or the pairs numbered
    below it) as `alphas`, `pairs`, and `output` and `gradient`
    [pair, direction, layer, head, node], float32.
    """
    units_per_layer = model.n_heads if component == "head" else 1
    tables, kept = [], _Curves(len(directions), model.n_layers, units_per_layer)
    for bucket in stored_activations(activations, model.device):
        engine = SuffixEngine(model, bucket, metric=metric, memory_mb=memory_mb)
        numbers = np.array(bucket.pairs.number)
        units = every_unit(model, len(numbers), component)
        clean, corrupted = (
            engine.unpatched(prompt).double().cpu().numpy() for prompt in ("clean", "corrupted")
        )
        shapes = []
        for direction in directions:
            what = f"{direction}, {len(numbers)} pairs of {bucket.pairs.length} tokens"
            progress = Progress(what)
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
            log.info("%s: done with %d evaluations", what, progress.count)
            place = units.pair.cpu().numpy()
            with np.errstate(divide="ignore", invalid="ignore"):
                normalised = curves.ap / (clean - corrupted)[place]
            columns: dict[str, Any] = {
                "pair": numbers[place],
                "direction": direction,
                "layer": units.layer.cpu().numpy(),
            }
            if units.head is not None:
                columns["head"] = units.head.cpu().numpy()
            measures = curves.measures()
            columns |= {"ap": measures.pop("ap"), "ap_normalised": normalised, **measures}
            tables.append(pd.DataFrame(columns))
            shapes.append(np.stack([curves.output, curves.gradient]))
        kept.add(numbers, np.stack(shapes), _is_kept(numbers, keep))
    keys = KEYS if component == "head" else KEYS[:-1]
    return ordered(joined(tables, keys), keys, directions), kept.tensors()


def _is_kept(numbers: np.ndarray, keep: str | int) -> np.ndarray:
    if isinstance(keep, str):
        return np.full(len(numbers), keep == "all")
    return numbers < keep


class _Curves:
    """Curves of the kept pairs, collected bucket by bucket."""

    def __init__(self, n_directions: int, n_layers: int, units_per_layer: int) -> None:
        self._shape = (n_directions, n_layers, units_per_layer, GRID_SIZE)
        self._numbers: list[np.ndarray] = []
        self._parts: list[np.ndarray] = []

    def add(self, numbers: np.ndarray, shapes: np.ndarray, kept: np.ndarray) -> None:
        """``shapes`` is [direction, output or gradient, unit, node], units by layer, pair, head."""
        n_directions, n_layers, _, nodes = self._shape
        whole = shapes.reshape(n_directions, 2, n_layers, len(numbers), -1, nodes)
        self._parts.append(whole.transpose(1, 3, 0, 2, 4, 5)[:, kept].astype(np.float32))
        self._numbers.append(numbers[kept])

    def tensors(self) -> dict[str, Tensor]:
        numbers = np.concatenate([np.zeros(0, dtype=np.int64), *self._numbers])
        empty = np.zeros((2, 0, *self._shape), dtype=np.float32)
        parts = [part for part in self._parts if part.shape[1]] or [empty]
        output, gradient = np.concatenate(parts, axis=1)[:, np.argsort(numbers)]
        return {
            "alphas": torch.from_numpy(gauss_legendre(GRID_SIZE)[0].copy()),
            "pairs": torch.from_numpy(np.sort(numbers)),
            "output": torch.from_numpy(output),
            "gradient": torch.from_numpy(gradient),
        }
