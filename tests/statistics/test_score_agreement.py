"""Scores against exact patching on made-up heads of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from counterpoint.statistics.one_direction_heads import one_direction_heads
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.score_agreement import checks, score_agreement
from tests.helpers.scored_heads import scored_heads

SETTINGS = Settings(bootstrap_samples=200, top_k=3)


def test_numbers_are_those_of_scipy_and_of_counting() -> None:
    heads = scored_heads()
    whole = score_agreement(heads, settings=SETTINGS)
    table = whole[(whole["direction"] == "noising") & (whole["score"] == "atp")]
    table = table.set_index("quantity")
    of = heads[heads["direction"] == "noising"]
    for quantity, function in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        expected = [function(one["atp"], one["ap"])[0] for _, one in of.groupby("pair")]
        found = table.loc[quantity]
        assert found["estimate"] == pytest.approx(np.mean(expected))
        assert found["ci_low"] <= found["estimate"] <= found["ci_high"]
    errors = [
        (one["atp"] - one["ap"]).abs().mean() / one["ap"].abs().mean()
        for _, one in of.groupby("pair")
    ]
    assert table.loc["error", "estimate"] == pytest.approx(np.mean(errors))
    found = table.loc["found"].set_index("checks")
    for number in (3, 6, 12):
        shares = []
        for _, one in of.groupby("pair"):
            true = set(one["ap"].abs().nlargest(3).index)
            shares.append(len(true & set(one["atp"].abs().nlargest(number).index)) / 3)
        assert found.loc[number, "estimate"] == pytest.approx(np.mean(shares))
        assert found.loc[number, "chance"] == number / 24


def test_a_perfect_score_finds_all_at_once_and_an_opposite_one_nothing() -> None:
    table = score_agreement(scored_heads(), settings=SETTINGS)
    found = table[table["quantity"] == "found"].set_index(["score", "checks"])["estimate"]
    assert (found["atp_hvp"] == 1).all() and (found["atp_star"] == 1).all()
    assert found["eap_ig"].loc[12].max() <= 1 / 3
    error = table[table["quantity"] == "error"].set_index("score")["estimate"]
    assert (error["atp_hvp"] == 0).all()
    assert "atp_star" not in error.index


def test_what_goes_with_the_error_is_found() -> None:
    table = score_agreement(scored_heads(), settings=SETTINGS)
    signs = table.groupby("quantity")["estimate"].mean()
    assert signs["error_and_gradient_range_closed"] == pytest.approx(1)
    assert signs["error_and_second_term"] == pytest.approx(1)
    assert signs["error_and_atp_reliability"] == pytest.approx(1)
    assert abs(signs["error_and_saturation"]) < 0.3


def test_checks_double_up_to_the_number_of_heads() -> None:
    assert checks(10, 270) == [10, 20, 40, 80, 160]
    assert checks(10, 8) == [8]


def test_a_single_pair_has_no_interval() -> None:
    table = score_agreement(scored_heads(1), settings=SETTINGS)
    assert table["ci_low"].isna().all() and table["estimate"].notna().any()


def test_heads_of_one_direction_are_named() -> None:
    """Denoising is ten times noising here, with the sign of a carrier in both."""
    table = one_direction_heads(scored_heads(), settings=SETTINGS)
    assert table["difference"].abs().is_monotonic_decreasing
    first = table.iloc[0]
    assert (first["layer"], first["head"], first["matters_in"]) == (0, 0, "denoising")
    assert first["noising"] == pytest.approx(first["denoising"] / 10, rel=0.2)
    assert first["ci_low"] <= first["difference"] <= first["ci_high"] < 0
    alone = scored_heads()
    assert one_direction_heads(alone[alone["direction"] == "noising"]).empty


def test_heads_that_matter_in_both_are_not_named() -> None:
    heads = scored_heads()
    heads["ap_normalised"] = np.where(heads["direction"] == "noising", -1, 1) * heads["ap"]
    assert set(one_direction_heads(heads, settings=SETTINGS)["matters_in"]) == {"both"}
