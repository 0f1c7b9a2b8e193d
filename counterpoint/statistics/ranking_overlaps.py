"""How far studies of one model agree on which heads matter: `overlaps.csv`.

Two studies have other rankings of heads if their tasks use other heads, but also
because few pairs make a ranking noisy. Both are seen at once in the rankings by single pairs: how
well two pairs of *different* studies agree, beside how well two pairs of the *same* study do. The
permutation p-value is one-sided. Its null says that the two studies' pairs are one population, so
that which pair belongs to which may be shuffled; the statistic is the mean agreement within the
two studies less the agreement between them (a two-sample form of ANOSIM, Clarke 1993, Australian
Journal of Ecology 18, 117, on agreements as they are, without ranking them).

The interval of an agreement between studies draws the pairs of both: with deviations a_p, b_q of
the means of rows and columns of the table of agreements from its mean,

    draw = mean + c(P) sum_p (w_p − 1)/P a_p + c(Q) sum_q (v_q − 1)/Q b_q,

the linear part of a two-sample U-statistic, widened for few pairs as in `statistics.resampling`.
Where templates are drawn (`statistics.templates`) the intervals draw them here, too; the
permutations shuffle pairs, so that p is small where templates of one study alone differ from those
of the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from counterpoint.errors import UserError
from counterpoint.statistics import resampling
from counterpoint.statistics.false_discovery import false_discovery_rate
from counterpoint.statistics.panel import directions, panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.stability import (
    agreement_matrices,
    agreements,
    chance_jaccard,
    chance_rank_biased_overlap,
    mean_of_two,
    no_ranking,
    rank_positions,
)
from counterpoint.statistics.studies import Study
from counterpoint.statistics.templates import clusters_of

AGREEMENTS = ("jaccard", "rank_biased_overlap", "spearman")

OVERLAP_COLUMNS = (
    "model",
    "direction",
    "score",
    "of",
    "agreement",
    "first",
    "second",
    "estimate",
    "ci_low",
    "ci_high",
    "chance",
    "p_permutation",
    "p_adjusted",
    "k",
    "heads",
    "pairs_first",
    "pairs_second",
    "note",
)


def overlaps(
    studies: Sequence[Study],
    *,
    settings: Settings,
    scores: Sequence[str] = ("ap", "ig_joint", "output_range"),
) -> pd.DataFrame:
    """`overlaps.csv`: how far the rankings of heads agree, columns as in `OVERLAP_COLUMNS`.

    Heads are ranked by |score|. `of` is `pairs` (rankings by single pairs: the mean over a pair of
    `first` and another one of `second`; with `first` = `second`, over two pairs of that study) or
    `studies` (the rankings by the mean |score| over pairs; the interval is where the middle of the
    resamples of both studies' pairs lies, which is rather below the estimate, since resampling adds
    noise). `p_permutation` says whether pairs of one study agree better than pairs of both;
    `p_adjusted` is its false discovery rate among all rows. `chance`: rankings in random order.
    Where a number cannot be given it is NaN and `note` says why. Empty without two studies of one
    model and direction. Raises UserError when studies of one model have different heads.
    """
    rows = [
        row
        for (model, direction), group in _groups(studies)
        for score in scores
        for row in _overlaps_of(group, model, direction, score, settings)
    ]
    result = pd.DataFrame(rows, columns=list(OVERLAP_COLUMNS))
    numbers = ["estimate", "ci_low", "ci_high", "chance", "p_permutation", "p_adjusted"]
    result = result.astype(dict.fromkeys(numbers, float))
    result["p_adjusted"] = false_discovery_rate(result["p_permutation"])
    return result


def _groups(studies: Sequence[Study]) -> Iterator[tuple[tuple[str, str], list[Study]]]:
    """Studies of one model that have a direction in common; at least two."""
    found: dict[tuple[str, str], list[Study]] = {}
    for study in studies:
        for direction in directions(study.heads):
            found.setdefault((study.model, direction), []).append(study)
    yield from ((key, group) for key, group in found.items() if len(group) > 1)


@dataclass(frozen=True)
class _Ranked:
    """One study's heads by |score| in one direction."""

    name: str
    size: Float[np.ndarray, "pair head"]
    drawn: Float[np.ndarray, "sample pair"]
    ranks: Int[np.ndarray, "pair head"]
    """By each pair."""
    of_mean: Int[np.ndarray, "1 head"]
    """By the mean over pairs."""
    resampled: Int[np.ndarray, "sample head"]
    """By the mean over resampled pairs."""
    clusters: Int[np.ndarray, " pair"]
    """What was drawn whole (`statistics.templates`)."""

    @property
    def pairs(self) -> int:
        return len(self.size)


def _overlaps_of(
    group: Sequence[Study], model: str, direction: str, score: str, settings: Settings
) -> Iterator[dict[str, object]]:
    ranked = [_rank(study, direction, score, settings) for study in group]
    n_heads = ranked[0].size.shape[1]
    if any(each.size.shape[1] != n_heads for each in ranked):
        counts = ", ".join(f"{each.name} has {each.size.shape[1]}" for each in ranked)
        raise UserError(
            f"model {model}: its studies have different numbers of heads ({counts}); some were "
            "made with other weights under the same name. Give each model a name of its own, and "
            "delete the results that are out of date."
        )
    k = min(settings.top_k, n_heads)
    chance = (chance_jaccard(n_heads, k), chance_rank_biased_overlap(n_heads, 1 - 1 / k), 0.0)
    matrices = agreement_matrices(np.concatenate([each.ranks for each in ranked]), k)
    ends = np.cumsum([0, *(each.pairs for each in ranked)])
    places = [np.arange(*span) for span in itertools.pairwise(ends)]
    for one, two in itertools.combinations_with_replacement(range(len(ranked)), 2):
        first, second = ranked[one], ranked[two]
        row = {
            "model": model,
            "direction": direction,
            "score": score,
            "first": first.name,
            "second": second.name,
            "k": k,
            "heads": n_heads,
            "pairs_first": first.pairs,
            "pairs_second": second.pairs,
            "note": "",
        }
        undefined = no_ranking(first.size, settings) or no_ranking(second.size, settings)
        for name, expected in zip(AGREEMENTS, chance, strict=True):
            if undefined:
                for of in ("pairs", "studies")[: 1 + (one != two)]:
                    said = {"of": of, "agreement": name, "chance": expected, "note": undefined}
                    yield row | said
                continue
            matrix = matrices[name]
            numbers = (
                _within(matrix[np.ix_(places[one], places[one])], name, first, settings)
                if one == two
                else _between(
                    matrix[np.ix_(places[one], places[two])], name, first, second, settings
                )
            )
            if one != two:
                both = np.concatenate([places[one], places[two]])
                random = resampling.generator(settings.seed, direction, first.name, second.name)
                numbers["p_permutation"] = separation_p(
                    matrix[np.ix_(both, both)], first.pairs, random, settings.permutations
                )
            yield {**row, "of": "pairs", "agreement": name, "chance": expected, **numbers}
            if one != two:
                numbers = _of_means(name, first, second, k, settings)
                yield {**row, "of": "studies", "agreement": name, "chance": expected, **numbers}


def _rank(study: Study, direction: str, score: str, settings: Settings) -> _Ranked:
    data = panel(study.heads, direction, [score], settings.floor)
    size = np.abs(data.columns[score])
    random = resampling.generator(settings.seed, direction, "pairs", study.name)
    clusters = clusters_of(data, settings)
    drawn = resampling.draws(random, settings.bootstrap_samples, len(size), clusters)
    return _Ranked(
        name=study.name,
        size=size,
        drawn=drawn,
        ranks=rank_positions(size),
        of_mean=rank_positions(size.mean(axis=0)[None]),
        resampled=rank_positions(drawn @ size),
        clusters=clusters,
    )


Numbers = dict[str, object]


def _within(
    values: Float[np.ndarray, "pair pair"], name: str, study: _Ranked, settings: Settings
) -> Numbers:
    """The mean agreement of two pairs of a study, as in `counterpoint.statistics.stability`."""
    if study.pairs < 2:
        return {"note": "one pair: there is no other ranking to compare with"}
    estimate, low, high = mean_of_two(values, study.drawn, settings, _lowest(name), study.clusters)
    return {"estimate": estimate, "ci_low": low, "ci_high": high}


def _between(
    values: Float[np.ndarray, "first second"],
    name: str,
    first: _Ranked,
    second: _Ranked,
    settings: Settings,
) -> Numbers:
    """The mean agreement of a pair of one study with one of the other."""
    mean = float(values.mean())
    if min(values.shape) < 2:
        return {"estimate": mean, "note": "a study has one pair: no interval and no p-value"}
    low, high = interval_between(
        values,
        first.drawn,
        second.drawn,
        settings.confidence,
        (first.clusters, second.clusters),
    )
    return {"estimate": mean, "ci_low": max(low, _lowest(name)), "ci_high": min(high, 1.0)}


def _lowest(agreement: str) -> float:
    return -1.0 if agreement == "spearman" else 0.0


def interval_between(
    values: Float[np.ndarray, "first second"],
    drawn_first: Float[np.ndarray, "sample first"],
    drawn_second: Float[np.ndarray, "sample second"],
    confidence: float,
    clusters: tuple[Int[np.ndarray, " first"], Int[np.ndarray, " second"]] | None = None,
) -> tuple[float, float]:
    """The interval of the mean of a table when its rows and columns are samples (see the module).

    Each of the two has at least two members; draws say how often a member was drawn, `clusters`
    which were drawn together.
    """
    mean = values.mean()
    draws = np.full(len(drawn_first), mean)
    for place, (axis, drawn) in enumerate(((1, drawn_first), (0, drawn_second))):
        deviations = values.mean(axis=axis) - mean
        count = len(deviations)
        units = count if clusters is None else len(np.unique(clusters[place]))
        draws += resampling.widening(units, confidence) * (drawn @ deviations) / count
    low, high = resampling.percentiles(draws, confidence)
    return float(low), float(high)


def separation_p(
    matrix: Float[np.ndarray, "pair pair"],
    n_first: int,
    random: np.random.Generator,
    permutations: int,
) -> float:
    """One-sided p-value of the agreement within two studies less that between them.

    `matrix` is symmetric; its first `n_first` rows are the first study's pairs. NaN where a study
    has one pair.
    """
    n = len(matrix)
    n_second = n - n_first
    if min(n_first, n_second) < 2:
        return float("nan")
    label = np.arange(n) < n_first
    shuffled = random.permuted(np.tile(label, (permutations, 1)), axis=1)
    member = np.concatenate([label[None], shuffled]).astype(float)
    off_diagonal = matrix - np.diag(np.diag(matrix))
    with_first = member @ off_diagonal
    first = (with_first * member).sum(axis=1)
    between = (with_first * (1 - member)).sum(axis=1)
    second = off_diagonal.sum() - first - 2 * between
    within = first / (n_first * (n_first - 1)) + second / (n_second * (n_second - 1))
    separation = within / 2 - between / (n_first * n_second)
    # Sums in another order differ in their last digits; such a near tie counts as a hit.
    hits = (separation[1:] >= separation[0] - 1e-12).sum()
    return float((hits + 1) / (permutations + 1))


def _of_means(name: str, first: _Ranked, second: _Ranked, k: int, settings: Settings) -> Numbers:
    """Agreement of the rankings by the mean over pairs, and the middle of the resamples."""
    estimate = float(agreements(first.of_mean, second.of_mean, k)[name][0])
    if min(first.pairs, second.pairs) < 2:
        return {"estimate": estimate, "note": "a study has one pair: no interval"}
    drawn = agreements(first.resampled, second.resampled, k)[name]
    low, high = resampling.percentiles(drawn, settings.confidence)
    return {"estimate": estimate, "ci_low": float(low), "ci_high": float(high)}
