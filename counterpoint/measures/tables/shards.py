"""A shard of pairs: its activations, bucket by bucket, and the keys of the tables made from it.

Pairs of a shard are grouped into buckets (equal lengths and first differing position), whose pairs
share batches. Activations are written bucket by bucket and read back one bucket at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import PROMPTS, Activations, Component, Direction, TokenPairs
from counterpoint.engine.answer_readings import NOT_WHOLE, AnswerReadings, Kind, reading_pairs
from counterpoint.engine.evaluation_rows import WAYS
from counterpoint.engine.head_outputs import Units
from counterpoint.engine.laid_out_runs import laid_out
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.engine.whole_answers import WholeAnswerEngine
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel
from counterpoint.pairs.buckets import Bucket, buckets, groups, shard
from counterpoint.progress import Progress

KEYS = ("pair", "direction", "layer", "head")


@dataclass(frozen=True)
class Measurement:
    """Settings shared by everything that is measured on a shard."""

    metric: str = "logit_difference"
    directions: tuple[Direction, ...] = ("noising", "denoising")
    memory_mb: int = 1000


def token_pairs(bucket: Bucket) -> TokenPairs:
    """The bucket's pairs as tensors."""
    return TokenPairs(
        torch.tensor(bucket.clean),
        torch.tensor(bucket.corrupted),
        tuple(map(tuple, bucket.correct)),
        tuple(map(tuple, bucket.incorrect)),
        tuple(bucket.pairs),
        None if bucket.aligned_with is None else torch.tensor(bucket.aligned_with),
    )


Bucketed = Activations | AnswerReadings
"""What is kept of a bucket: one pair of runs, or those of every reading of its whole answers."""


def _cached(model: LanguageModel, bucket: Bucket, metric: str) -> Bucketed:
    """Run every prompt of a bucket and, of whole answers, each of them with what is read behind it.

    What both answers begin with cancels in their difference, and is read for no other metric.
    """
    pairs = token_pairs(bucket)
    rests = [torch.tensor(rest) for rest in (bucket.correct_rest, bucket.incorrect_rest)]
    if not bucket.read_whole:
        return cache_activations(model, pairs)
    readings: list[tuple[Kind, Activations]] = [
        (kind, cache_activations(model, prompts))
        for kind, prompts in reading_pairs(pairs, bucket.beginning, rests[0], rests[1])
        if kind != "beginning" or metric == "log_probability"
    ]
    return AnswerReadings(tuple(readings))


def engine_for(
    model: LanguageModel, kept: Bucketed, metric: str, memory_mb: int = 1000
) -> SuffixEngine:
    """The engine of a bucket. Measures that are not defined for whole answers refuse theirs.

    Raises UserError for a metric that is not defined for them.
    """
    if isinstance(kept, Activations):
        return SuffixEngine(model, kept, metric=metric, memory_mb=memory_mb)
    used = kept.used_by(metric)
    if [name for _, name, _ in used] == [metric] and used[0][0] == 1.0:
        # One reading is all that the metric is made of.
        return SuffixEngine(model, used[0][2], metric=metric, memory_mb=memory_mb)
    return WholeAnswerEngine(model, kept, metric=metric, memory_mb=memory_mb)


def engines(
    model: LanguageModel, kept: Bucketed, measurement: Measurement
) -> dict[Direction, SuffixEngine]:
    """The engine of each direction: the same one, unless the prompts are of unequal length."""
    metric, memory_mb = measurement.metric, measurement.memory_mb
    if not isinstance(kept, Activations):
        return dict.fromkeys(measurement.directions, engine_for(model, kept, metric, memory_mb))
    laid = {each: laid_out(kept, each) for each in measurement.directions}
    made = {id(own): engine_for(model, own, metric, memory_mb) for own in laid.values()}
    return {direction: made[id(own)] for direction, own in laid.items()}


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
        kept = _cached(model, bucket, metric)
        table = {"pair": np.array(bucket.pairs, dtype=np.int64)}
        for label, name in (("metric", metric), ("logit_difference", "logit_difference")):
            of_direction = engines(model, kept, Measurement(name))
            for prompt in PROMPTS:
                metrics = of_direction["noising"].unpatched(prompt)
                table[f"{label}_{prompt}"] = metrics.double().cpu().numpy()
            if isinstance(kept, Activations):
                # What is exact in both directions.
                way = max(WAYS.index(engine.way("head")) for engine in of_direction.values())
                kept = replace(kept, head_way=way)
        if isinstance(kept, AnswerReadings):
            kept = _with_ways(model, kept)
        named |= {f"{place}/{name}": tensor for name, tensor in kept.tensors().items()}
        rows.append(pd.DataFrame(table))
        progress(len(bucket.pairs))
    columns = [
        f"{label}_{prompt}" for label in ("metric", "logit_difference") for prompt in PROMPTS
    ]
    empty = pd.DataFrame(
        {"pair": np.empty(0, dtype=np.int64)} | {name: np.empty(0) for name in columns}
    )
    baseline = pd.concat(rows, ignore_index=True) if rows else empty
    baseline["correct"] = baseline["logit_difference_clean"] > 0
    return named, baseline.sort_values("pair", ignore_index=True)


def _with_ways(model: LanguageModel, kept: AnswerReadings) -> AnswerReadings:
    """With how each reading's rows are evaluated, which its own check found."""
    return AnswerReadings(
        tuple(
            (kind, replace(one, head_way=WAYS.index(SuffixEngine(model, one).way("head"))))
            for kind, one in kept.readings
        )
    )


Shard = str | os.PathLike[str] | Mapping[str, Tensor]
"""What `cache_shard` made: the file that its tensors were written to, or the tensors themselves."""


PAIRS_PER_SHARD = 64
"""Of pairs at hand, which are run bucket by bucket: as many as a study's shard has by default."""


def cached_buckets(
    model: LanguageModel, pairs: pd.DataFrame, metric: str
) -> Iterator[tuple[Mapping[str, Tensor], pd.DataFrame]]:
    """What `cache_shard` makes of each bucket of each shard of ``pairs``, one after another."""
    for number in range(-(-len(pairs) // PAIRS_PER_SHARD)):
        rows = shard(pairs, number, PAIRS_PER_SHARD)
        for bucket in groups(rows):
            yield cache_shard(model, bucket, metric)


def read_shard(shard: Shard, device: torch.device | str = "cpu") -> Iterator[Activations]:
    """The activations that `cache_shard` made, one bucket after another.

    Raises UserError where they are of whole answers (`read_buckets`).
    """
    for kept in read_buckets(shard, device):
        if isinstance(kept, AnswerReadings):
            raise UserError(NOT_WHOLE)
        yield kept


def read_buckets(shard: Shard, device: torch.device | str = "cpu") -> Iterator[Bucketed]:
    """What `cache_shard` made, one bucket after another."""
    if isinstance(shard, Mapping):
        # Laid out as they would come from a file: the same kernels, so the same digits.
        yield from _by_bucket(list(shard), lambda name: shard[name].contiguous(), device)
        return
    from safetensors import safe_open

    with safe_open(shard, framework="pt") as stored:
        yield from _by_bucket(stored.keys(), stored.get_tensor, device)


def _by_bucket(
    names: Sequence[str], tensor: Callable[[str], Tensor], device: torch.device | str
) -> Iterator[Bucketed]:
    for place in sorted({int(name.split("/")[0]) for name in names}):
        start = f"{place}/"
        own = [name for name in names if name.startswith(start)]
        tensors = {name.removeprefix(start): tensor(name) for name in own}
        if any("/" in name for name in tensors):
            yield AnswerReadings.from_tensors(tensors, device)
        else:
            yield Activations.from_tensors(tensors, device)


def pair_numbers(shard: str | os.PathLike[str]) -> list[int]:
    """The numbers of the pairs of a shard's file; nothing else is read."""
    from safetensors import safe_open

    with safe_open(shard, framework="np") as stored:
        names = [name for name in stored.keys() if name.endswith("/number")]  # noqa: SIM118
        return sorted({int(n) for name in names for n in stored.get_tensor(name)})


def unit_table(pairs: Sequence[int], direction: Direction, units: Units) -> pd.DataFrame:
    """Keys of the rows of ``units``, in their order."""
    keys = {
        "pair": np.array(pairs, dtype=np.int64)[units.pair.cpu().numpy()],
        "direction": np.full(len(units), direction, dtype=object),
        "layer": units.layer.cpu().numpy().astype(np.int64),
    }
    if units.head is not None:
        keys["head"] = units.head.cpu().numpy().astype(np.int64)
    return pd.DataFrame(keys)


def ordered(tables: list[pd.DataFrame], columns: list[str], component: Component) -> pd.DataFrame:
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


def score_of_pairs(
    heads: pd.DataFrame,
    name: str,
    pairs: Sequence[int],
    direction: Direction,
    model: LanguageModel,
) -> Float[np.ndarray, "layer pair head"]:
    """A column of a table of heads as an array, for ``pairs`` in their order.

    Not a number where the table has no row: in layers without heads.
    """
    rows = heads[(heads["direction"] == direction) & heads["pair"].isin(pairs)]
    place = {pair: place for place, pair in enumerate(pairs)}
    array = np.full((model.n_layers, len(pairs), model.n_heads), np.nan)
    array[rows["layer"], rows["pair"].map(place), rows["head"]] = rows[name].to_numpy(float)
    return array
