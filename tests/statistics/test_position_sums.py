"""AP by position, summed over positions and spans."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from counterpoint.statistics.position_sums import (
    SPAN_COLUMNS,
    SUM_COLUMNS,
    UNIT,
    position_sums,
    span_effects,
    spans_in_order,
)
from counterpoint.statistics.resampling import Settings
from tests.helpers.synthetic import Shape, make_positions

QUICK = Settings(bootstrap_samples=200)


def test_the_interaction_is_what_the_sum_leaves() -> None:
    table = make_positions()
    sums = position_sums(table)
    assert list(sums.columns) == list(SUM_COLUMNS)
    assert len(sums) == len(table) / 5
    assert sums["interaction"].to_numpy() == pytest.approx(-0.25 * sums["layer"].to_numpy())


def test_spans_add_up_to_the_sum_over_positions() -> None:
    table = make_positions()
    effects = span_effects(table, QUICK)
    assert list(effects.columns) == list(SPAN_COLUMNS)
    total = effects.groupby(UNIT)["ap"].sum()
    expected = position_sums(table).groupby(UNIT)["ap_sum"].mean()
    assert total.sort_index().to_numpy() == pytest.approx(expected.sort_index().to_numpy())
    assert (effects["ci_low"] <= effects["ap"]).all() and (
        effects["ap"] <= effects["ci_high"]
    ).all()
    assert set(effects["pairs"]) == {4}


def test_spans_are_in_the_order_of_the_prompts_and_the_rest_is_last() -> None:
    assert spans_in_order(make_positions()) == ["subject", "<i>place</i>", "end", ""]


def test_pairs_without_a_span_are_not_counted_in_it() -> None:
    table = make_positions()
    lacks = (table["pair"] == 2) & (table["span"] == "subject")
    table.loc[lacks, "span"] = ""
    effects = span_effects(table, QUICK).set_index([*UNIT, "span"])
    row = effects.loc[("noising", "mlp", 1, -1, "subject")]
    assert row["pairs"] == 3
    own = table[
        (table["direction"] == "noising")
        & (table["component"] == "mlp")
        & (table["layer"] == 1)
        & (table["span"] == "subject")
    ]
    assert row["ap"] == pytest.approx(own.groupby("pair")["ap"].sum().mean())


def test_one_pair_has_no_interval_and_no_row_no_effect() -> None:
    effects = span_effects(make_positions(Shape(pairs=1)), QUICK)
    assert effects["ap"].notna().all() and effects["ci_low"].isna().all()
    nothing = make_positions().head(0)
    assert span_effects(nothing).empty and position_sums(nothing).empty
    assert isinstance(effects, pd.DataFrame) and np.isfinite(effects["ap"]).all()
