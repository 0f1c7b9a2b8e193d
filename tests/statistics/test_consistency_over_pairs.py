"""How steady heads are over pairs, and which of the first ones an estimate misses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from counterpoint.errors import MissingColumn, UserError
from counterpoint.statistics.consistency_over_pairs import estimates_of_first, pair_by_pair
from counterpoint.statistics.resampling import Settings

SETTINGS = Settings(bootstrap_samples=300, top_k=2)


def table(ap: list[list[float]], **scores: list[list[float]]) -> pd.DataFrame:
    """A table of heads in one direction and layer from arrays [pair, head]."""
    shape = np.shape(ap)
    pairs, heads = np.indices(shape)
    columns = {"ap": ap, **scores}
    return pd.DataFrame(
        {
            "pair": pairs.ravel(),
            "direction": "noising",
            "layer": 0,
            "head": heads.ravel(),
            **{name: np.ravel(values) for name, values in columns.items()},
        }
    )


def test_places_and_signs_are_counted_pair_by_pair() -> None:
    heads = table([[3.0, -1.0, 0.1], [2.0, 1.0, -5.0], [4.0, -2.0, 0.1]])
    found = pair_by_pair(heads, first=2)
    assert found["among_first"].tolist() == [3, 2, 1]
    assert found["same_sign"].tolist() == [3, 2, 1]
    assert found["pairs"].tolist() == [3, 3, 3]


def test_an_estimate_that_is_off_by_more_than_half_misses() -> None:
    ap = [[-2.0, 1.0, 0.1], [-2.2, 1.1, 0.1], [-1.8, 0.9, 0.1], [-2.0, 1.0, 0.1]]
    atp = [[-0.1, 0.8, 9.0], [-0.2, 0.9, 9.0], [0.0, 0.7, 9.0], [-0.1, 0.8, 9.0]]
    found = estimates_of_first(table(ap, atp=atp), "atp", settings=SETTINGS)
    assert found["head"].tolist() == [0, 1]  # the first two; the third is none of them
    assert found["misses"].tolist() == [True, False]
    row = found.iloc[0]
    assert row["difference"] == pytest.approx(1.9) and row["ap"] == pytest.approx(-2.0)
    assert row["score"] == pytest.approx(-0.1) and row["ci_low"] > 0


def test_an_unsure_difference_misses_nothing() -> None:
    ap = [[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]]
    atp = [[6.0, 0.0], [-1.0, 0.0], [5.0, 0.0]]
    found = estimates_of_first(table(ap, atp=atp), "atp", settings=SETTINGS)
    assert found["difference"].tolist() == [pytest.approx(4 / 3)]  # the other is below the floor
    assert not found["misses"].any()
    one = estimates_of_first(table(ap[:1], atp=atp[:1]), "atp", settings=SETTINGS)
    assert one["misses"].tolist() == [True] and np.isnan(one["ci_low"]).all()


def test_what_is_no_table_of_heads_is_refused() -> None:
    with pytest.raises(UserError, match="DataFrame"):
        pair_by_pair([1, 2])  # type: ignore[arg-type]
    with pytest.raises(MissingColumn, match="relp"):
        estimates_of_first(table([[1.0, 2.0]]), "relp", settings=SETTINGS)
