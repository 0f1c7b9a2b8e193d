"""How far a study agrees with itself measured without the token at the beginning of each prompt.

Over the heads, for each direction: Spearman's and Pearson's coefficient of the mean AP (over pairs)
with the token and without, and the overlap of the first k heads by its size (Jaccard at k). The
interval draws pairs (or templates, of which the first table names them), the same ones in both
tables, since they are the same prompts; the deviations
of the draws from the estimate are widened for few pairs as in `counterpoint.statistics.resampling`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from counterpoint.statistics import resampling
from counterpoint.statistics.panel import Panel, directions, panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.stability import chance_jaccard, jaccard, rank_positions
from counterpoint.statistics.templates import clusters_of

CHUNK = 256
"""Resamples compared at once."""

LOWEST = {"spearman": -1.0, "pearson": -1.0, "jaccard": 0.0}


def agreement(
    heads: pd.DataFrame, without: pd.DataFrame, *, settings: Settings | None = None
) -> pd.DataFrame:
    """One row per direction and measure of agreement, from two tables of heads.

    Columns: direction, agreement (spearman, pearson, jaccard), estimate, ci_low, ci_high, chance,
    k, common (of the first k heads of either, how many are the same), pairs, heads. Intervals are
    NaN for a single pair, coefficients for heads that are all alike.
    Raises ValueError unless both tables have the same directions, pairs and heads.
    """
    settings = settings or Settings()
    rows = []
    for direction in directions(heads):
        panels = [panel(one, direction, ["ap"]) for one in (heads, without)]
        first, second = map(_table, panels)
        if not (first.index.equals(second.index) and first.columns.equals(second.columns)):
            raise ValueError(f"{direction}: the two tables have other pairs or heads")
        clusters = clusters_of(panels[0], settings)
        rows += _rows(direction, first.to_numpy(), second.to_numpy(), clusters, settings)
    return pd.DataFrame(rows)


def means(heads: pd.DataFrame, without: pd.DataFrame) -> pd.DataFrame:
    """Every head's mean AP with the token and without.

    Columns: direction, layer, head, with_bos, without_bos.
    """
    keys = ["direction", "layer", "head"]
    both = [one.groupby(keys, sort=False)["ap"].mean() for one in (heads, without)]
    return pd.concat(both, axis=1, keys=["with_bos", "without_bos"]).reset_index()


def _table(data: Panel) -> pd.DataFrame:
    """AP [pair, head]."""
    names = pd.MultiIndex.from_arrays([data.layers, data.heads])
    return pd.DataFrame(data.columns["ap"], index=data.pairs, columns=names)


def _rows(
    direction: str,
    first: Float[np.ndarray, "pair head"],
    second: Float[np.ndarray, "pair head"],
    clusters: Int[np.ndarray, " pair"],
    settings: Settings,
) -> list[dict[str, object]]:
    n_pairs, n_heads = first.shape
    k = min(settings.top_k, n_heads)
    drawn = resampling.draws(
        resampling.generator(settings.seed, direction, "pairs"),
        settings.bootstrap_samples if n_pairs > 1 else 0,
        n_pairs,
        clusters,
    )
    whole = np.ones((1, n_pairs))
    estimates = _compare(whole, first, second, k)
    parts = [
        _compare(drawn[start : start + CHUNK], first, second, k)
        for start in range(0, len(drawn), CHUNK)
    ]
    widen = resampling.widening(len(np.unique(clusters)), settings.confidence)
    ranks = [rank_positions(np.abs(one.mean(axis=0, keepdims=True))) for one in (first, second)]
    rows: list[dict[str, object]] = []
    for name, values in estimates.items():
        estimate, low, high = float(values[0]), np.nan, np.nan
        if parts:
            samples = np.concatenate([part[name] for part in parts])
            ends = resampling.percentiles(
                estimate + widen * (samples - estimate), settings.confidence
            )
            low, high = max(float(ends[0]), LOWEST[name]), min(float(ends[1]), 1.0)
        rows.append(
            {
                "direction": direction,
                "agreement": name,
                "estimate": estimate,
                "ci_low": low,
                "ci_high": high,
                "chance": chance_jaccard(n_heads, k) if name == "jaccard" else 0.0,
                "k": k,
                "common": int(((ranks[0] <= k) & (ranks[1] <= k)).sum()),
                "pairs": n_pairs,
                "heads": n_heads,
            }
        )
    return rows


def _compare(
    weights: Float[np.ndarray, "sample pair"],
    first: Float[np.ndarray, "pair head"],
    second: Float[np.ndarray, "pair head"],
    k: int,
) -> dict[str, Float[np.ndarray, " sample"]]:
    """Every measure of the agreement of the means under every weighting of the pairs."""
    x, y = (weights @ one / weights.sum(axis=1, keepdims=True) for one in (first, second))
    return {
        "spearman": _pearson(stats.rankdata(x, axis=1), stats.rankdata(y, axis=1)),
        "pearson": _pearson(x, y),
        "jaccard": jaccard(rank_positions(np.abs(x)), rank_positions(np.abs(y)), k),
    }


def _pearson(
    x: Float[np.ndarray, "sample head"], y: Float[np.ndarray, "sample head"]
) -> Float[np.ndarray, " sample"]:
    """Pearson's coefficient of each row of `x` with its row of `y`; NaN for a constant one."""
    x, y = (one - one.mean(axis=1, keepdims=True) for one in (x, y))
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.divide((x * y).sum(axis=1), scale, out=np.full(len(x), np.nan), where=scale > 0)
