"""How far the scores that stand in for exact patching are right: `score_agreement.csv`.

A score is compared with AP over the heads of each pair, in each direction, and the numbers are
means over pairs with intervals that draw pairs (`statistics.resampling`):

- `spearman`, `pearson`: the coefficient of the score with AP; of a score without sign with |AP|.
  Heads below the floor are left out, as from all coefficients.
- `error`: mean |score − AP| over mean |AP|; 0 where the score is AP, 1 where it says as little as
  0 would. Not for a score without sign.
- `found`: with so many exact checks, spent on the first heads by the size of the score, the share
  of the true first k heads by |AP| that are checked and so found. With k checks it is the overlap
  of the two lists of k.

What goes with AtP's error (`error_and_…`) is Spearman's coefficient, over heads, of what the head's
own output curve says with |AtP − AP|, or with |AtP − AP| / |AP| where it has no unit: the second
term of the series and its ratio to the first, which need no curve, and the curve's bends.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float

from counterpoint.statistics import coefficients, resampling
from counterpoint.statistics.panel import Panel, directions, panel, value
from counterpoint.statistics.resampled_coefficients import MINIMUM_HEADS
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.stability import rank_positions
from counterpoint.statistics.templates import clusters_of

PATCHED = "ap"

SCORES = ("atp", "atp_hvp", "ig_joint", "eap_ig", "relp", "atp_star")
"""What may stand in for AP, ours first; those that the table has are compared."""

UNSIGNED = ("atp_star",)
"""Scores that are sizes by definition."""

SIGNS_OF_ERROR = ("second_term", "gradient_range_closed", "excess_range")
"""In units of the metric, and so beside |AtP − AP|."""

SIGNS_OF_RELATIVE_ERROR = ("atp_reliability", "non_monotonicity", "saturation")
"""Without a unit, and so beside |AtP − AP| / |AP|."""

COLUMNS = (
    "direction",
    "score",
    "quantity",
    "checks",
    "estimate",
    "ci_low",
    "ci_high",
    "chance",
    "k",
    "pairs",
    "heads",
)

Row = dict[str, object]


def score_agreement(heads: pd.DataFrame, *, settings: Settings | None = None) -> pd.DataFrame:
    """One row per direction, score and quantity; of `found` also per number of checks.

    ``heads`` is a table of heads with some of `SCORES`. Intervals are missing for a single pair,
    ``checks`` where a quantity has none, ``chance`` where there is none to tell.
    """
    settings = resampling.checked(settings)
    present = [name for name in SCORES if name in heads.columns]
    heads = _with_second_term(heads)
    signs = [*SIGNS_OF_ERROR, *SIGNS_OF_RELATIVE_ERROR]
    known = [name for name in signs if _has(heads, name)]
    rows: list[Row] = []
    for direction in directions(heads):
        data = panel(heads, direction, [PATCHED, *present, *known], settings.floor)
        drawn = resampling.draws(
            resampling.generator(settings.seed, direction, "pairs"),
            settings.bootstrap_samples,
            len(data.pairs),
            clusters_of(data, settings),
        )
        for score in present:
            rows += _rows(data, score, drawn, settings)
        if "atp" in present:
            rows += _error_rows(data, known, drawn, settings)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def checks(k: int, n_heads: int) -> list[int]:
    """Numbers of exact checks: k, 2 k, 4 k … below the number of heads."""
    found, each = [], min(k, n_heads)
    while each < n_heads:
        found.append(each)
        each *= 2
    return found or [n_heads]


def _has(heads: pd.DataFrame, name: str) -> bool:
    try:
        value(heads, name)
    except KeyError:
        return False
    return True


def _with_second_term(heads: pd.DataFrame) -> pd.DataFrame:
    if not {"atp_hvp", "atp"} <= set(heads.columns):
        return heads
    return heads.assign(second_term=(heads["atp_hvp"] - heads["atp"]).abs())


def _rows(
    data: Panel, score: str, drawn: Float[np.ndarray, "sample pair"], settings: Settings
) -> Iterator[Row]:
    ap, other = data.columns[PATCHED], data.columns[score]
    n_heads = ap.shape[1]
    k = min(settings.top_k, n_heads)

    def row(quantity: str, values: np.ndarray, bounds: tuple[float, float], **more: object) -> Row:
        return _row(data, score, quantity, values, bounds, drawn, settings, k) | more

    shown = np.abs(ap) if score in UNSIGNED else ap
    for method in ("spearman", "pearson"):
        yield row(method, _over_heads(data, method, other, shown, settings), (-1.0, 1.0))
    if score not in UNSIGNED:
        size = np.abs(ap).mean(axis=1)
        missed = np.abs(other - ap).mean(axis=1)
        error = np.divide(missed, size, out=np.full(size.shape, np.nan), where=size > 0)
        yield row("error", error, (0.0, np.inf))
    true = rank_positions(np.abs(ap)) <= k
    place = rank_positions(np.nan_to_num(np.abs(other), nan=-1.0))
    for number in checks(settings.top_k, n_heads):
        share = (true & (place <= number)).sum(axis=1) / k
        yield row("found", share, (0.0, 1.0), checks=number, chance=number / n_heads)


def _error_rows(
    data: Panel, known: list[str], drawn: Float[np.ndarray, "sample pair"], settings: Settings
) -> Iterator[Row]:
    """What goes with AtP's error, head by head."""
    ap = data.columns[PATCHED]
    error = np.abs(data.columns["atp"] - ap)
    relative = np.divide(error, np.abs(ap), out=np.full(ap.shape, np.nan), where=ap != 0)
    k = min(settings.top_k, ap.shape[1])
    for name in known:
        of = relative if name in SIGNS_OF_RELATIVE_ERROR else error
        values = _over_heads(data, "spearman", data.columns[name], of, settings)
        yield _row(data, "atp", f"error_and_{name}", values, (-1.0, 1.0), drawn, settings, k)


def _row(
    data: Panel,
    score: str,
    quantity: str,
    values: Float[np.ndarray, " pair"],
    bounds: tuple[float, float],
    drawn: Float[np.ndarray, "sample pair"],
    settings: Settings,
    k: int,
) -> Row:
    interval = resampling.study_interval(
        values, None, drawn, settings.confidence, bounds, clusters_of(data, settings)
    )
    return {
        "direction": data.direction,
        "score": score,
        "quantity": quantity,
        "checks": np.nan,
        "estimate": float(interval.estimate),
        "ci_low": float(interval.low),
        "ci_high": float(interval.high),
        "chance": np.nan,
        "k": k,
        "pairs": int(np.isfinite(values).sum()),
        "heads": data.columns[PATCHED].shape[1],
    }


def _over_heads(
    data: Panel,
    method: str,
    first: Float[np.ndarray, "pair head"],
    second: Float[np.ndarray, "pair head"],
    settings: Settings,
) -> Float[np.ndarray, " pair"]:
    """The coefficient over the heads of each pair, without those at the floor."""
    found = np.full(len(data.pairs), np.nan)
    for pair in range(len(data.pairs)):
        keep = np.isfinite(first[pair]) & np.isfinite(second[pair])
        if not settings.include_floor:
            keep &= ~data.at_floor[pair]
        if keep.sum() >= MINIMUM_HEADS:
            x, y = first[pair][keep][None], second[pair][keep][None]
            whole = np.ones((1, int(keep.sum())))
            found[pair] = coefficients.coefficients(method, x, y, whole)[0, 0, 0]
    return found
