"""The activations of one shard's pairs, stored bucket by bucket.

A bucket holds pairs of equal length and equal first differing position, which share batches.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor

from counterpoint.activations import Activations, TokenPairs, cache_activations
from counterpoint.models.load import LanguageModel
from counterpoint.pairs import buckets
from counterpoint.stages.tables import joined
from counterpoint.suffix import SuffixEngine

log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

BASELINE_COLUMNS = ("pair", "metric_clean", "metric_corrupted", "correct")


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
    return tensors, joined(parts, BASELINE_COLUMNS)


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
