"""How far the ranking of heads by a score holds across pairs and against resampling the pairs.

Heads are ranked by the size of their score, |score|, the largest first; equal sizes are ordered by
layer and head. Two rankings are compared by

Jaccard at k         heads in both top k / heads in either;
rank-biased overlap  RBO_ext of Webber, Moffat and Zobel (2010, ACM TOIS 28:4, eq. 32): the mean
                     over depths d of the share of heads that the two top d have in common, depth d
                     weighing p^d. p = 1 - 1/k, so that the expected depth is k;
Spearman             of the ranks;

and all rankings at once by Kendall's W: 0 when they have nothing in common, 1 when they are equal.
`chance` is what a comparison gives on average for rankings in random order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from counterpoint.errors import InvalidValue
from counterpoint.statistics import resampling
from counterpoint.statistics.panel import Panel, directions, panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.templates import clusters_of

RANKED_SCORES = ("ap", "ig_joint", "atp", "output_range", "excess_range", "disagreement")
"""The rankings whose stability is reported."""

Row = dict[str, object]

MINIMUM_HEADS = 3
"""Fewer have no rankings worth the name (and Friedman's test refuses them)."""

CHUNK = 256
"""Resampled rankings compared at once."""

COMPARED = 500
"""Of more pairs than this, so many drawn ones are compared with each other: there are n (n - 1) / 2
comparisons of n pairs."""


def stability(
    heads: pd.DataFrame,
    *,
    scores: Sequence[str] = RANKED_SCORES,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """`stability.csv`: how well rankings agree, one row per direction, score, comparison, measure.

    Columns: direction, score, between, agreement, estimate, ci_low, ci_high, chance, k, pairs,
    heads, note. `between` is `pairs` (the mean over all two of at most `COMPARED` pairs; the
    interval draws these) or `resamples` (the ranking by the mean |score| against the same after
    drawing the pairs anew: mean, and where the middle of the resamples lies). `agreement` is
    jaccard, rank_biased_overlap, spearman or kendall_w. With one pair or fewer than three heads
    there is nothing to compare, and where all of a score lies below the floor (attribution patching
    in noising with a KL divergence) its order is one of rounding errors: numbers are NaN and `note`
    says why. Raises ValueError where a score is missing for a head.
    """
    settings = resampling.checked(settings)
    rows: list[Row] = []
    for direction in directions(heads):
        data = panel(heads, direction, scores, settings.floor)
        clusters = clusters_of(data, settings)
        drawn = resampling.draws(
            resampling.generator(settings.seed, direction, "pairs"),
            settings.bootstrap_samples,
            len(data.pairs),
            clusters,
        )
        compared = _compared(data, settings)
        for score in scores:
            rows += _rows(data, score, drawn, compared, clusters, settings)
    return pd.DataFrame(rows)


def _compared(data: Panel, settings: Settings) -> Int[np.ndarray, " compared"]:
    """The places of the pairs that are compared with each other, ascending."""
    n = len(data.pairs)
    if n <= COMPARED:
        return np.arange(n)
    random = resampling.generator(settings.seed, data.direction, "compared")
    return np.sort(random.choice(n, COMPARED, replace=False))


def ranking(heads: pd.DataFrame, score: str, *, settings: Settings | None = None) -> pd.DataFrame:
    """Each head's place by `score`, ordered by direction and rank.

    Columns: direction, layer, head, score, rank (by mean |score|, 1 first), mean_absolute, ci_low,
    ci_high (of mean |score|, drawing pairs), mean (signed), mean_rank, median_rank, best_rank and
    worst_rank (over pairs, on each of which heads are ranked anew), top_k_share (of the resamples
    of pairs in which the head is among the first k), floor_share (of the pairs on which it is at
    the floor of rounding), pairs. With one pair the interval and the share are NaN.
    Raises ValueError where the score is missing for a head.
    """
    settings = resampling.checked(settings)
    parts = []
    for direction in directions(heads):
        data = panel(heads, direction, [score], settings.floor)
        size = sizes_of(data, score)
        n_pairs, n_heads = size.shape
        clusters = clusters_of(data, settings)
        drawn = resampling.draws(
            resampling.generator(settings.seed, direction, "pairs"),
            settings.bootstrap_samples,
            n_pairs,
            clusters,
        )
        mean = resampling.study_interval(
            size, None, drawn, settings.confidence, (0.0, np.inf), clusters
        )
        ranks_of_pairs = rank_positions(size)
        top = np.zeros(n_heads)
        for start in range(0, len(drawn), CHUNK):
            ranks = rank_positions(drawn[start : start + CHUNK] @ size / n_pairs)
            top += (ranks <= settings.top_k).sum(axis=0)
        parts.append(
            pd.DataFrame(
                {
                    "direction": direction,
                    "layer": data.layers,
                    "head": data.heads,
                    "score": score,
                    "rank": rank_positions(mean.estimate[None])[0],
                    "mean_absolute": mean.estimate,
                    "ci_low": mean.low,
                    "ci_high": mean.high,
                    "mean": data.columns[score].mean(axis=0),
                    "mean_rank": ranks_of_pairs.mean(axis=0),
                    "median_rank": np.median(ranks_of_pairs, axis=0),
                    "best_rank": ranks_of_pairs.min(axis=0),
                    "worst_rank": ranks_of_pairs.max(axis=0),
                    "top_k_share": top / len(drawn) if n_pairs > 1 else np.nan,
                    "floor_share": data.at_floor.mean(axis=0),
                    "pairs": n_pairs,
                }
            ).sort_values("rank")
        )
    return pd.concat(parts, ignore_index=True)


def rank_positions(size: Float[np.ndarray, "ranking head"]) -> Int[np.ndarray, "ranking head"]:
    """The place of each head, 1 for the largest; equal sizes in the order of the heads."""
    order = np.argsort(-size, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, size.shape[1] + 1)[None], axis=1)
    return ranks


def jaccard(
    first: Int[np.ndarray, "ranking head"], second: Int[np.ndarray, "ranking head"], k: int
) -> Float[np.ndarray, " ranking"]:
    """Heads in the top k of both, over heads in the top k of either."""
    both = ((first <= k) & (second <= k)).sum(axis=-1)
    either = ((first <= k) | (second <= k)).sum(axis=-1)
    return both / either


def rank_biased_overlap(
    first: Int[np.ndarray, "ranking head"], second: Int[np.ndarray, "ranking head"], p: float
) -> Float[np.ndarray, " ranking"]:
    """Extrapolated rank-biased overlap of rankings of the same n heads, 0 <= p < 1.

        RBO_ext = X_n/n p^n + (1 - p)/p sum_{d=1}^{n} X_d/d p^d

    X_d, the overlap at depth d, counts the heads whose later place of the two is at most d. So each
    head adds a number that hangs on its later place alone, which is looked up.
    """
    n = first.shape[-1]
    depth = np.arange(1, n + 1)
    terms = (1 - p) * p ** (depth - 1.0) / depth
    adds = np.append(0.0, np.cumsum(terms[::-1])[::-1])
    return adds[np.maximum(first, second)].sum(axis=-1) + p**n


def spearman(
    first: Int[np.ndarray, "ranking head"], second: Int[np.ndarray, "ranking head"]
) -> Float[np.ndarray, " ranking"]:
    """Spearman's coefficient of rankings without ties, 1 - 6 sum d^2 / (n (n^2 - 1)).

    NaN for a single head.
    """
    n = first.shape[-1]
    if n < 2:
        return np.full(np.broadcast_shapes(first.shape, second.shape)[:-1], np.nan)
    return 1 - 6 * ((first - second) ** 2).sum(axis=-1) / (n * (n**2 - 1.0))


def agreements(
    first: Int[np.ndarray, "ranking head"], second: Int[np.ndarray, "ranking head"], k: int
) -> dict[str, Float[np.ndarray, " ranking"]]:
    """Every measure of how far rankings of the same heads agree, by its name."""
    return {
        "jaccard": jaccard(first, second, k),
        "rank_biased_overlap": rank_biased_overlap(first, second, 1 - 1 / k),
        "spearman": spearman(first, second),
    }


def agreement_matrices(
    ranks: Int[np.ndarray, "pair head"], k: int
) -> dict[str, Float[np.ndarray, "pair pair"]]:
    """How far the rankings by any two pairs agree; symmetric, 1 with themselves."""
    n = len(ranks)
    # One ranking against all later ones at a time: all at once would take n² rankings of memory.
    matrices: dict[str, np.ndarray] = {}
    for place in range(n):
        for name, values in agreements(ranks[place], ranks[place:], k).items():
            matrix = matrices.setdefault(name, np.empty((n, n)))
            matrix[place, place:] = matrix[place:, place] = values
    return matrices


def kendall_w(size: Float[np.ndarray, "pair head"]) -> float:
    """Kendall's W = chi^2 / (m (n - 1)) from Friedman's chi^2 of m rankings of n >= 3 heads.

    NaN where every ranking ties all its heads, so that there is no order at all.
    """
    m, n = size.shape
    if (size == size[:, :1]).all():
        return float("nan")
    return float(stats.friedmanchisquare(*size.T).statistic / (m * (n - 1)))


def chance_jaccard(n: int, k: int) -> float:
    """The mean Jaccard at k of random rankings of n heads: the overlap is hypergeometric."""
    k = min(k, n)
    overlap = np.arange(0, k + 1)
    return float((stats.hypergeom.pmf(overlap, n, k, k) * overlap / (2 * k - overlap)).sum())


def chance_rank_biased_overlap(n: int, p: float) -> float:
    """The mean RBO_ext of random rankings of n heads: the overlap at depth d is d^2/n."""
    depth = np.arange(1, n + 1)
    return float((1 - p) * (p ** (depth - 1.0) * depth / n).sum() + p**n)


def no_ranking(size: Float[np.ndarray, "pair head"], settings: Settings) -> str:
    """Why heads of these sizes have no ranking, empty where they have one."""
    if size.shape[1] < MINIMUM_HEADS:
        return f"not defined: fewer than {MINIMUM_HEADS} heads"
    if size.max() < settings.floor:
        return "every value is below the floor: an order of rounding errors"
    return ""


def sizes_of(data: Panel, score: str) -> Float[np.ndarray, "pair head"]:
    size = np.abs(data.columns[score])
    if np.isnan(size).any():
        pair, head = np.argwhere(np.isnan(size))[0]
        raise InvalidValue(
            f"{score} is missing for pair {data.pairs[pair]}, head {data.layers[head]}."
            f"{data.heads[head]}, {data.direction}: every head needs a score to be ranked"
        )
    return size


def _rows(
    data: Panel,
    score: str,
    drawn: Float[np.ndarray, "sample pair"],
    compared: Int[np.ndarray, " compared"],
    clusters: Int[np.ndarray, " pair"],
    settings: Settings,
) -> list[Row]:
    size = sizes_of(data, score)
    n_pairs, n_heads = size.shape
    k = min(settings.top_k, n_heads)
    p = 1 - 1 / k
    chance = {
        "jaccard": chance_jaccard(n_heads, k),
        "rank_biased_overlap": chance_rank_biased_overlap(n_heads, p),
        "spearman": 0.0,
    }

    def row(
        between: str, agreement: str, numbers: tuple[float, float, float], by_chance: float
    ) -> Row:
        estimate, low, high = numbers
        return {
            "direction": data.direction,
            "score": score,
            "between": between,
            "agreement": agreement,
            "estimate": estimate,
            "ci_low": low,
            "ci_high": high,
            "chance": by_chance,
            "k": k,
            "pairs": n_pairs,
            "heads": n_heads,
            "note": note,
        }

    note = "one pair: there is no other ranking to compare with" if n_pairs < 2 else ""
    note = note or no_ranking(size, settings)
    unknown = (np.nan, np.nan, np.nan)
    if note:
        return [row("pairs", name, unknown, expected) for name, expected in chance.items()]
    m = len(compared)
    drawn_of_compared = drawn
    if m < n_pairs:
        random = resampling.generator(settings.seed, data.direction, "pairs compared")
        drawn_of_compared = resampling.draws(random, len(drawn), m, clusters[compared])
    rows = []
    for name, values in agreement_matrices(rank_positions(size[compared]), k).items():
        lowest = -1.0 if name == "spearman" else 0.0
        numbers = mean_of_two(values, drawn_of_compared, settings, lowest, clusters[compared])
        rows.append(row("pairs", name, numbers, chance[name]))
    # W is the mean Spearman in other units, and so is its interval.
    low, high = ((1 + (m - 1) * end) / m for end in numbers[1:])
    together = kendall_w(size[compared])
    rows.append(row("pairs", "kendall_w", (together, max(low, 0.0), high), 1 / m))
    whole = rank_positions(size.mean(axis=0, keepdims=True))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in chance}
    for start in range(0, len(drawn), CHUNK):
        resampled = rank_positions(drawn[start : start + CHUNK] @ size / n_pairs)
        for name, values in agreements(whole, resampled, k).items():
            parts[name].append(values)
    for name, pieces in parts.items():
        values = np.concatenate(pieces)
        ends = resampling.percentiles(values, settings.confidence)
        numbers = float(values.mean()), float(ends[0]), float(ends[1])
        rows.append(row("resamples", name, numbers, chance[name]))
    return rows


def mean_of_two(
    values: Float[np.ndarray, "pair pair"],
    drawn: Float[np.ndarray, "sample pair"],
    settings: Settings,
    lowest: float,
    clusters: Int[np.ndarray, " pair"] | None = None,
) -> tuple[float, float, float]:
    """The mean agreement of two different pairs and its interval under drawing pairs.

    `values` is symmetric. A pair drawn twice is not compared with itself, which would count as
    perfect agreement; two pairs drawn u and v times are compared u v times. Where `clusters` of
    pairs are drawn whole, two pairs of one cluster are compared once for each time that it was
    drawn: its copies are not compared with each other. The draws are widened as in
    `counterpoint.statistics.resampling` and cut at `lowest` and 1.
    """
    n_pairs = len(values)
    own = np.arange(n_pairs) if clusters is None else clusters
    alike = own[:, None] == own[None, :]
    different = ~np.eye(n_pairs, dtype=bool)
    across, within = values * ~alike, values * (alike & different)
    siblings = (alike & different).sum(axis=1)
    total = ((drawn @ ~alike) * drawn).sum(axis=1) + drawn @ siblings
    # A resample of one pair over and over has nothing to compare, and is left out.
    usable, total = drawn[total > 0], total[total > 0]
    means = (((usable @ across) * usable).sum(axis=1) + usable @ within.sum(axis=1)) / total
    mean = float((across + within).sum() / (n_pairs * (n_pairs - 1)))
    units = len(np.unique(own))
    if units < 3:
        return mean, np.nan, np.nan
    widen = resampling.widening(units, settings.confidence)
    low, high = resampling.percentiles(mean + widen * (means - mean), settings.confidence)
    return mean, max(float(low), lowest), min(float(high), 1.0)
