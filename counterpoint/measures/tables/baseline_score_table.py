"""The table of baseline scores of a shard: scores of other papers, of every head.

Each is asked for by name. `atp_hvp` is the second-order correction of AtP and makes a second
column, how large the correction is (`second_order`); `eap_ig` is that of `input_path_gradients`,
`relp` that of `relevance`, `atp_star` that of `gradient_dropout`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from counterpoint.engine.activations import Direction
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.gradient_dropout import gradient_dropout_scores
from counterpoint.measures.input_path_gradients import input_path_scores
from counterpoint.measures.relevance import relevance_scores
from counterpoint.measures.second_order import (
    second_order_estimate,
    slopes_and_bends_at_start,
    term_ratio,
)
from counterpoint.measures.tables.shards import (
    Measurement,
    Shard,
    engine_for,
    ordered,
    read_buckets,
    unit_table,
)
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

BASELINES: Mapping[str, tuple[str, ...]] = {
    "atp_hvp": ("atp_hvp", "atp_reliability"),
    "eap_ig": ("eap_ig",),
    "relp": ("relp",),
    "atp_star": ("atp_star",),
}
"""Every baseline that can be asked for, with the columns that it makes."""

_OF_WHOLE_PASSES: Mapping[str, Callable[[SuffixEngine, Direction], np.ndarray]] = {
    "eap_ig": input_path_scores,
    "relp": relevance_scores,
    "atp_star": gradient_dropout_scores,
}


def columns_of(baselines: Sequence[str]) -> list[str]:
    """The columns that these baselines make, in the order of `BASELINES`."""
    return [column for name in BASELINES if name in baselines for column in BASELINES[name]]


def score_baselines(
    model: LanguageModel,
    shard: Shard,
    measurement: Measurement,
    baselines: Sequence[str],
) -> pd.DataFrame:
    """The baselines of every head of a shard: one row per pair, direction, layer and head.

    Raises UserError for one that is not defined for the model.
    """
    tables: list[pd.DataFrame] = []
    for bucket in read_buckets(shard, model.device):
        engine = engine_for(model, bucket, measurement.metric, measurement.memory_mb)
        pairs = bucket.pairs.number
        units = every_unit(model, len(pairs))
        for direction in measurement.directions:
            columns = dict(_columns(engine, direction, baselines))
            tables.append(unit_table(pairs, direction, units).assign(**columns))
    return ordered(tables, columns_of(baselines), "head")


def _columns(
    engine: SuffixEngine, direction: Direction, baselines: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values, in the order of `every_unit`."""
    n_pairs = len(engine.activations.pairs)
    units = every_unit(engine.model, n_pairs)
    assert units.head is not None
    places = tuple(axis.cpu().numpy() for axis in (units.layer, units.pair, units.head))
    for name in BASELINES:
        if name not in baselines:
            continue
        if name == "atp_hvp":
            progress = Progress(f"{n_pairs} pairs, {direction}, heads differentiated", len(units))
            slope, bend = slopes_and_bends_at_start(engine, direction, units, advance=progress)
            yield "atp_hvp", second_order_estimate(slope, bend)
            yield "atp_reliability", term_ratio(slope, bend)
            progress.say()
        else:
            progress = Progress(f"pairs scored, {direction}, {name}", n_pairs)
            yield name, _of_whole_passes(name, engine, direction)[places]
            progress(n_pairs)
            progress.say()


def _of_whole_passes(
    name: str, engine: SuffixEngine, direction: Direction
) -> Float[np.ndarray, "layer pair head"]:
    score = _OF_WHOLE_PASSES[name]
    if name == "atp_star":
        # A sum of sizes, which does not add up: of whole answers it refuses.
        return score(engine, direction)
    first, *rest = (sign * score(part, direction) for part, sign in engine.parts)
    return sum(rest, start=first)
