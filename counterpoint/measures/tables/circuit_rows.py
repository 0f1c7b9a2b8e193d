"""What the tables of circuits of nodes and of edges have alike: the pairs that circuits are sought
on, and rows of every circuit on every pair, of faithfulness with its interval, and of areas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.known_circuits import KnownCircuits
from counterpoint.measures.tables.shards import Measurement, token_pairs
from counterpoint.models.load import LanguageModel
from counterpoint.pairs.buckets import buckets
from counterpoint.statistics import circuit_areas
from counterpoint.statistics.resampling import Settings

Array = np.ndarray

RANKED_BY = {"value": False, "size": True}
"""How a score ranks members, by its name in tables: whether by its size alone."""


def first_pairs(pairs: pd.DataFrame, wanted: Any) -> pd.DataFrame:
    """The pairs that the setting ``circuit: pairs`` takes: ``"all"``, or the first so many."""
    ordered = pairs.sort_values("pair", ignore_index=True)
    return ordered if wanted == "all" else ordered.head(int(wanted))


def engines_of(
    model: LanguageModel, pairs: pd.DataFrame, measurement: Measurement
) -> list[SuffixEngine]:
    """An engine for each bucket of ``pairs``, whose prompts are run here."""
    return [
        SuffixEngine(
            model,
            cache_activations(model, token_pairs(bucket)),
            metric=measurement.metric,
            memory_mb=measurement.memory_mb,
        )
        for bucket in buckets(pairs)
    ]


def rows_of_pairs(
    runs: KnownCircuits,
    numbers: Int[Array, " pair"],
    k: Int[Array, " circuit"],
    metric: Float[Array, "circuit pair"],
    ranked_by: str,
    shares: Sequence[float] | None = None,
) -> pd.DataFrame:
    """One row for each circuit and pair; ``k`` members are inside, and ``shares`` are what that is
    of all, where the benchmark's are meant."""
    circuit, pair = (axis.reshape(-1) for axis in np.indices(metric.shape))
    gone, whole = metric - runs.empty, (runs.full - runs.empty)[pair]
    recovered = np.divide(gone.reshape(-1), whole, out=np.full(len(pair), np.nan), where=whole != 0)
    table = pd.DataFrame(
        {
            "pair": numbers[pair],
            "ranked_by": ranked_by,
            "share": np.nan if shares is None else np.array(shares)[circuit],
            "k": k[circuit],
            "metric": metric.reshape(-1),
            "recovered": recovered,
        }
    )
    return table.sort_values(["pair"], kind="stable", ignore_index=True)


def curve_rows(
    runs: KnownCircuits,
    k: Int[Array, " circuit"],
    metric: Float[Array, "circuit pair"],
    ranked_by: str,
    statistics: Settings | None,
    shares: Sequence[float] | None = None,
) -> pd.DataFrame:
    """One row for each circuit: f over all pairs with its interval."""
    height = circuit_areas.faithfulness(metric, runs.full, runs.empty, statistics)
    return pd.DataFrame(
        {
            "ranked_by": ranked_by,
            "share": np.full(len(k), np.nan) if shares is None else np.array(shares),
            "k": k,
            "faithfulness": height.estimate,
            "ci_low": height.low,
            "ci_high": height.high,
        }
    )


def area_rows(
    runs: KnownCircuits,
    metric: Float[Array, "share pair"],
    ranked_by: str,
    statistics: Settings | None,
    **counts: int,
) -> pd.DataFrame:
    """CPR and CMD of the circuits at the benchmark's shares; ``counts`` are further columns."""
    found = circuit_areas.areas(metric, runs.full, runs.empty, statistics)
    return pd.DataFrame(
        [
            {
                "ranked_by": ranked_by,
                "area": area,
                "estimate": float(interval.estimate),
                "ci_low": float(interval.low),
                "ci_high": float(interval.high),
                **counts,
                "n_pairs": runs.n_pairs,
            }
            for area, interval in found.items()
        ]
    )
