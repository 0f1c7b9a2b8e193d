"""How many pairs the first heads take: how far the ranking by few pairs is that by many.

Heads are ranked by mean |score| over pairs, as in `statistics.stability`. From the study's P pairs
n are drawn without replacement, many times, and their first k heads compared with the first k

by all pairs   what these n pairs would have given in place of the study; at n = P all k are there
               by construction, so that read near P it says little;
by the rest    by the pairs that were not drawn, for n up to P/2: how far two independent samples
               agree of which the other is at least as large. Nothing is shared by construction.

`overlap` is how many of the k heads both have, on average over the draws; `low` and `high` are
between which numbers the middle of the draws lies, which is what one study of n pairs may meet and
not how surely the average is known. `chance` is what random rankings would share. Where pairs are
made by templates the pairs are drawn over all of them, and once more from one template alone:
what is gained by more templates rather than more pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from counterpoint.statistics import resampling
from counterpoint.statistics.panel import Panel, directions, panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.stability import no_ranking, rank_positions, sizes_of
from counterpoint.statistics.templates import labels

COLUMNS = (
    "direction",
    "score",
    "drawn_from",
    "compared_with",
    "n",
    "overlap",
    "low",
    "high",
    "chance",
    "k",
    "pairs",
    "heads",
    "note",
)

PAIRS, ONE_TEMPLATE = "pairs", "one_template"
ALL, REST = "all", "rest"

MOST_DRAWS = 1000
"""More draws do not show in an average of whole numbers from 0 to k."""

CHUNK = 256
"""Rankings made at once."""

GROWTH = 1.6
"""From 3 on each number of pairs that is tried is so many times the one before."""


def sample_sizes(
    heads: pd.DataFrame, *, scores: Sequence[str] = ("ap",), settings: Settings | None = None
) -> pd.DataFrame:
    """`sample_sizes.csv`: one row per direction, score, way of drawing, comparison and n.

    Columns as in `COLUMNS`. With one pair, fewer than three heads, or a score below the floor there
    is one row without numbers, whose ``note`` says why. Raises UserError for what is no table of
    heads, ValueError where a score is missing for a head.
    """
    settings = resampling.checked(settings)
    rows: list[dict[str, object]] = []
    for direction in directions(heads):
        data = panel(heads, direction, scores, settings.floor)
        for score in [scores] if isinstance(scores, str) else scores:
            size = sizes_of(data, score)
            note = "one pair: no fewer can be drawn" if len(size) < 2 else ""
            note = note or no_ranking(size, settings)
            k = min(settings.top_k, size.shape[1])
            common: dict[str, object] = {
                "direction": direction,
                "score": score,
                "chance": k * k / size.shape[1],
                "k": k,
                "pairs": len(size),
                "heads": size.shape[1],
                "note": note,
            }
            if note:
                rows.append(common | {"drawn_from": PAIRS, "compared_with": ALL, "n": len(size)})
                continue
            rows += [common | row for row in _curve(data, size, k, settings)]
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def numbers_of_pairs(most: int, end: int) -> list[int]:
    """The numbers of pairs that are tried: 1, 2, 3, 5, 8, 13, … up to ``most``, and ``end``."""
    found, n = {end} - {0}, 1
    while n <= most:
        found.add(n)
        n = n + 1 if n < 3 else round(n * GROWTH)
    return sorted(found)


def _curve(
    data: Panel, size: Float[np.ndarray, "pair head"], k: int, settings: Settings
) -> Iterator[dict[str, object]]:
    n_pairs = len(size)
    samples = min(settings.bootstrap_samples, MOST_DRAWS)
    random = resampling.generator(settings.seed, data.direction, "sample sizes")
    tail = (1 - settings.confidence) / 2

    def row(
        drawn_from: str, compared_with: str, n: int, shared: Int[np.ndarray, " sample"]
    ) -> dict[str, object]:
        low, high = np.quantile(shared, [tail, 1 - tail], method="inverted_cdf")
        return {
            "drawn_from": drawn_from,
            "compared_with": compared_with,
            "n": n,
            "overlap": float(shared.mean()),
            "low": float(low),
            "high": float(high),
        }

    half = n_pairs // 2
    for n in numbers_of_pairs(n_pairs - 1, half):
        drawn = _subsets(random, samples, n_pairs, n)
        yield row(PAIRS, ALL, n, shared_heads(size, drawn, np.ones_like(drawn), k))
        if n <= half:
            yield row(PAIRS, REST, n, shared_heads(size, drawn, ~drawn, k))
    if data.templates is None:
        return
    groups = labels(data.templates, data.pairs)
    own, counts = np.unique(groups, return_counts=True)
    # Of numbers that at least half of the templates have, and two.
    largest = int(np.median(counts))
    if largest < 2 or len(own) < 2:
        return
    for n in numbers_of_pairs(largest, largest):
        able = own[counts >= n]
        drawn = np.zeros((samples, n_pairs), dtype=bool)
        same = np.zeros_like(drawn)
        for place, group in enumerate(random.choice(able, samples)):
            members = np.flatnonzero(groups == group)
            same[place, members] = True
            drawn[place, random.choice(members, n, replace=False)] = True
        yield row(ONE_TEMPLATE, ALL, n, shared_heads(size, drawn, np.ones_like(drawn), k))
        yield row(ONE_TEMPLATE, REST, n, shared_heads(size, drawn, ~same, k))


def _subsets(
    random: np.random.Generator, samples: int, total: int, n: int
) -> Bool[np.ndarray, "sample pair"]:
    """Random sets of n of ``total`` pairs, as marks [sample, pair]."""
    marks = np.arange(total) < n
    return random.permuted(np.tile(marks, (samples, 1)), axis=1)


def shared_heads(
    size: Float[np.ndarray, "pair head"],
    drawn: Bool[np.ndarray, "sample pair"],
    others: Bool[np.ndarray, "sample pair"],
    k: int,
) -> Int[np.ndarray, " sample"]:
    """How many of the first k heads by the mean over ``drawn`` pairs are so by ``others``, too."""
    shared = [
        (
            (rank_positions(drawn[start : start + CHUNK] @ size) <= k)
            & (rank_positions(others[start : start + CHUNK] @ size) <= k)
        ).sum(axis=1)
        for start in range(0, len(drawn), CHUNK)
    ]
    return np.concatenate(shared)


def fewest(table: pd.DataFrame, share: float) -> int | None:
    """The least n at which, on average, ``share`` of the k heads by all pairs are found.

    ``table`` has the rows of one direction and score; None where no n does.
    """
    rows = table[(table["drawn_from"] == PAIRS) & (table["compared_with"] == ALL)]
    enough = rows.loc[rows["overlap"] >= share * rows["k"], "n"]
    return int(enough.min()) if len(enough) else None
