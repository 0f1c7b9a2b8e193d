"""The measurements of one shard of a study's pairs, bucket by bucket.

A shard is a job's share of the pairs. Its pairs are put into buckets of equal length and equal
first differing position, which share batches; the tables that come out have one row per pair,
direction, layer and head, ordered so, and do not depend on how the pairs were divided.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from counterpoint.activations import (
    Activations,
    Component,
    Direction,
    TokenPairs,
    cache_activations,
    every_unit,
)
from counterpoint.curves import GRID_SIZE, output_curves
from counterpoint.gradients import integrated_gradients
from counterpoint.models.load import LanguageModel
from counterpoint.pairs import buckets
from counterpoint.quadrature import gauss_legendre
from counterpoint.suffix import SuffixEngine

log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

REPORT_SECONDS = 5.0
"""How often a long measurement tells how far it is."""


class Progress:
    """Tells every few seconds how many evaluations a measurement has made."""

    def __init__(self, what: str) -> None:
        self.what, self.count = what, 0
        self._told = time.monotonic()

    def __call__(self, evaluations: int) -> None:
        self.count += evaluations
        if time.monotonic() - self._told >= REPORT_SECONDS:
            self._told = time.monotonic()
            log.info("%s: %d evaluations so far", self.what, self.count)


# ------------------------------------------------------------------------------------ activations


def cache_shard(
    model: LanguageModel, pairs: pd.DataFrame, *, metric: str = "logit_difference"
) -> tuple[dict[str, Tensor], pd.DataFrame]:
    """Run both prompts of every pair; return what to store, and the unpatched metrics.

    The tensors are those of `Activations.tensors`, the bucket's place and a slash before each name.
    The table has the columns of `BASELINE_COLUMNS`; `correct` says whether the clean run's logit
    difference is above 0, whatever the metric.
    """
    tensors: dict[str, Tensor] = {}
    parts = []
    for place, bucket in enumerate(buckets(pairs)):
        activations = cache_activations(
            model,
            TokenPairs(
                torch.tensor(bucket.clean),
                torch.tensor(bucket.corrupted),
                tuple(map(tuple, bucket.correct)),
                tuple(map(tuple, bucket.incorrect)),
                tuple(bucket.pairs),
            ),
        )
        tensors |= {f"{place}/{name}": each for name, each in activations.tensors().items()}
        parts.append(_baseline(model, activations, metric))
        log.info("%d of %d pairs", sum(map(len, parts)), len(pairs))
    return tensors, _joined(parts, BASELINE_COLUMNS)


BASELINE_COLUMNS = ("pair", "metric_clean", "metric_corrupted", "correct")


@torch.no_grad()
def _baseline(model: LanguageModel, activations: Activations, metric: str) -> pd.DataFrame:
    engine = SuffixEngine(model, activations, metric=metric)
    difference = engine
    if metric != "logit_difference":
        difference = SuffixEngine(model, activations, metric="logit_difference", verify=False)
    return pd.DataFrame(
        {
            "pair": activations.pairs.number,
            "metric_clean": engine.unpatched("clean").double().cpu().numpy(),
            "metric_corrupted": engine.unpatched("corrupted").double().cpu().numpy(),
            "correct": (difference.unpatched("clean") > 0).cpu().numpy(),
        }
    )


def stored_activations(path: PathLike, device: torch.device | str) -> Iterator[Activations]:
    """The buckets of a file of `cache_shard`, one after the other, on ``device``."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as stored:
        names: dict[int, list[str]] = {}
        for key in stored.keys():  # noqa: SIM118 - a safetensors file is no mapping
            place, _, name = key.partition("/")
            names.setdefault(int(place), []).append(name)
        for place in sorted(names):
            tensors = {name: stored.get_tensor(f"{place}/{name}") for name in names[place]}
            yield Activations.from_tensors(tensors, device)


# ----------------------------------------------------------------------------------------- curves

KEYS = ("pair", "direction", "layer", "head")


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
    return _ordered(_joined(tables, keys), keys, directions), kept.tensors()


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


# --------------------------------------------------------------------------- integrated gradients


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
    return _ordered(_joined(tables, KEYS), KEYS, directions)


# ----------------------------------------------------------------------------------------- tables


def _joined(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """The parts under each other; an empty table still has its key columns."""
    if not parts:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(parts, ignore_index=True)


def _ordered(
    table: pd.DataFrame, keys: Sequence[str], directions: Sequence[Direction]
) -> pd.DataFrame:
    """By pair, direction in the configured order, layer, head."""
    place = {direction: number for number, direction in enumerate(directions)}
    return table.sort_values(
        list(keys),
        key=lambda column: column.map(place) if column.name == "direction" else column,
        ignore_index=True,
    )
