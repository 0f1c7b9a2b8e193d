"""The claims: known worlds get the verdicts that they deserve."""

from __future__ import annotations

import io
import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from counterpoint.statistics.claim_quantities import OVERALL, QUANTITIES
from counterpoint.statistics.claim_verdicts import (
    DESCRIBED,
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    Rule,
    combined,
)
from counterpoint.statistics.claims import COLUMNS, claims
from counterpoint.statistics.disagreement import concordance, roc_area, weighted_median
from counterpoint.statistics.meta_analysis import COLUMNS as ACROSS_COLUMNS
from counterpoint.statistics.meta_analysis import claims_across, random_effects
from counterpoint.statistics.resampling import Settings, draws
from counterpoint.statistics.score_faithfulness import area, areas
from tests.helpers.simulated_heads import table_of_heads

QUICK = Settings(bootstrap_samples=200, permutations=99)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def world(
    random: np.random.Generator,
    *,
    pairs: int = 6,
    heads: int = 80,
    noise: float = 0.05,
    per_movement: float = 0.0,
    per_return: float = 0.0,
    per_saturation: float = 0.0,
) -> pd.DataFrame:
    """A table of heads whose IG joint misses AP by a random amount of a known size.

    The size is `noise`, plus the given multiples of the output range, of the excess range and of
    saturation times the output range.
    """
    effect = random.standard_normal(heads) * np.exp(random.standard_normal(heads) - 1)
    excess = np.exp(random.standard_normal(heads) - 2)
    wobble = np.exp(0.2 * random.standard_normal((2, pairs, heads)))
    ap, excess = effect * wobble[0], excess * wobble[1]
    movement = np.abs(ap) + excess
    saturation = np.where(random.random((pairs, heads)) < 0.5, random.random((pairs, heads)), 0.0)
    size = noise + per_movement * movement + per_return * excess
    size = size + per_saturation * saturation * movement
    return table_of_heads(
        {
            "ap": ap,
            "ig_joint": ap + size * random.standard_normal((pairs, heads)),
            "ig_own": ap + 1e-6 * random.standard_normal((pairs, heads)),
            "output_range_closed": movement,
            "saturation": saturation,
            "gradient_range": 3 * movement * wobble[0],
        }
    )


def verdict_of(table: pd.DataFrame, quantity: str) -> str:
    return table.set_index("quantity").loc[quantity, "verdict"]


def overall(table: pd.DataFrame) -> list[str]:
    return table.loc[table["quantity"] == OVERALL, "verdict"].tolist()


class TestRules:
    def test_verdicts(self):
        at_most, at_least = Rule("at_most", 0.1), Rule("at_least", 0.9)
        positive = Rule("positive", 0.1)
        nan = np.nan
        for rule, numbers, expected in (
            (at_most, (0.1, nan, nan), SUPPORTED),
            (at_most, (0.2, nan, nan), REFUTED),
            (at_most, (nan, nan, nan), UNDECIDED),
            (at_least, (0.95, 0.9, 0.99), SUPPORTED),
            (at_least, (0.95, 0.8, 0.99), UNDECIDED),
            (at_least, (0.7, 0.6, 0.89), REFUTED),
            (positive, (0.3, 0.05, 0.5), SUPPORTED),
            (positive, (0.05, 0.01, 0.2), UNDECIDED),
            (positive, (0.3, -0.1, 0.6), UNDECIDED),
            (positive, (0.05, 0.01, 0.09), REFUTED),
            (positive, (0.3, nan, nan), UNDECIDED),
        ):
            assert rule.verdict(*numbers) == expected, (rule, numbers)

    @given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.99))
    @settings(max_examples=100, deadline=None)
    def test_a_wider_interval_never_decides_more(self, estimate, below, above, threshold):
        for kind in ("at_least", "positive"):
            rule = Rule(kind, threshold)
            narrow = rule.verdict(estimate, estimate - below, estimate + above)
            wide = rule.verdict(estimate, estimate - 2 * below, estimate + 2 * above)
            assert wide in (narrow, UNDECIDED)

    def test_combined(self):
        assert combined([SUPPORTED, SUPPORTED]) == SUPPORTED
        assert combined([SUPPORTED, UNDECIDED]) == UNDECIDED
        assert combined([SUPPORTED, UNDECIDED, REFUTED]) == REFUTED
        assert combined([]) == UNDECIDED

    def test_every_verdict_that_a_rule_can_give_is_put_in_words(self):
        for quantity in QUANTITIES:
            if quantity.rule is None:
                expected = {DESCRIBED}
            elif quantity.rule.kind == "at_most":
                expected = {SUPPORTED, REFUTED}
            else:
                expected = {SUPPORTED, REFUTED, UNDECIDED}
            assert set(quantity.says) == expected, quantity.name


class TestNumbers:
    def test_concordance(self):
        x, y = np.array([1.0, 2, 3]), np.array([2.0, 3, 4])
        weights = np.ones((1, 3))
        # Equal but for an offset of 1; variances are 2/3.
        assert concordance(x, y, weights).item() == pytest.approx((4 / 3) / (4 / 3 + 1))
        assert concordance(x, x, weights).item() == pytest.approx(1)
        assert concordance(x, -x, weights).item() < 0
        repeated = concordance(x, y**2, np.array([[2.0, 0, 1]]))
        long_x, long_y = np.array([1.0, 1, 3]), np.array([4.0, 4, 16])
        covariance = np.cov(long_x, long_y, bias=True)
        expected = 2 * covariance[0, 1] / (np.trace(covariance) + (long_x.mean() - 8) ** 2)
        assert repeated.item() == pytest.approx(expected)

    @given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=3, max_size=12))
    @settings(max_examples=60, deadline=None)
    def test_roc_area_equals_scikit_learn(self, rows):
        sign = np.array([float(row[0]) for row in rows])
        positive = np.array([row[1] for row in rows])
        times = draws(np.random.default_rng(0), 3, len(rows))
        for weights, found in zip(times, roc_area(sign, positive, times), strict=True):
            whole = weights.astype(int)
            if len(set(np.repeat(positive, whole))) < 2:
                assert np.isnan(found)
            else:
                expected = roc_auc_score(np.repeat(positive, whole), np.repeat(sign, whole))
                assert found == pytest.approx(expected)

    def test_weighted_median_is_that_of_repeated_values(self):
        random = np.random.default_rng(0)
        values, weights = random.normal(size=9), draws(random, 20, 9)
        for row, found in zip(weights, weighted_median(values, weights), strict=True):
            assert found == pytest.approx(np.median(np.repeat(values, row.astype(int))))

    def test_area_is_the_mean_height(self):
        assert area(np.array([2, 0, 10]), np.array([0.5, 0.0, 1.0])) == pytest.approx(
            (0.25 * 2 + 0.75 * 8) / 10
        )
        assert area(np.array([3]), np.array([0.7])) == pytest.approx(0.7)


class TestKnownWorlds:
    def test_columns_and_order(self):
        table = claims(world(np.random.default_rng(0)), settings=QUICK)
        assert tuple(table.columns) == COLUMNS
        first = table.groupby("claim", sort=False).head(1)
        assert first["quantity"].tolist() == [OVERALL] * 3
        assert table["claim"].tolist() == sorted(table["claim"])
        assert set(table["verdict"]) <= {SUPPORTED, REFUTED, UNDECIDED, DESCRIBED}
        assert (table["explanation"].str.len() > 0).all()
        assert table.loc[table["quantity"] != OVERALL, "estimate"].notna().all()

    def test_agreement(self):
        table = claims(world(np.random.default_rng(1), noise=0.01), settings=QUICK)
        assert overall(table)[0] == SUPPORTED
        assert verdict_of(table, "concordance") == SUPPORTED

    def test_no_agreement(self):
        table = claims(world(np.random.default_rng(2), noise=2.0), settings=QUICK)
        assert overall(table)[0] == REFUTED
        assert verdict_of(table, "own_path_error") == SUPPORTED
        assert verdict_of(table, "concordance") == REFUTED

    def test_broken_identities(self):
        heads = world(np.random.default_rng(3), noise=0.01)
        heads.loc[7, "ig_own"] += 2e-4
        table = claims(heads, settings=QUICK).set_index("quantity")
        assert table.loc["own_path_error", "verdict"] == REFUTED
        assert table.loc["own_path_error", "estimate"] == pytest.approx(2e-4, rel=0.05)
        heads = world(np.random.default_rng(3), noise=0.01)
        heads.loc[7, "output_range_closed"] = abs(heads.loc[7, "ap"]) - 1e-3
        assert verdict_of(claims(heads, settings=QUICK), "range_shortfall") == REFUTED

    def test_a_missing_number_does_not_pass_for_a_kept_identity(self):
        heads = world(np.random.default_rng(3))
        heads.loc[7, "ig_own"] = np.nan
        assert verdict_of(claims(heads, settings=QUICK), "own_path_error") == UNDECIDED

    def test_disagreement_that_goes_with_movement_is_not_put_down_to_returning(self):
        heads = world(np.random.default_rng(4), pairs=8, heads=270, noise=0, per_movement=0.3)
        table = claims(heads, settings=QUICK)
        assert verdict_of(table, "returning_given_effect") == SUPPORTED
        assert verdict_of(table, "returning_given_movement") == REFUTED
        assert verdict_of(table, "auc_gain_over_movement") == REFUTED
        assert overall(table)[1] == REFUTED

    def test_disagreement_that_goes_with_returning_is_found(self):
        heads = world(np.random.default_rng(5), noise=0, per_return=0.5)
        table = claims(heads, settings=QUICK)
        assert overall(table)[1] == SUPPORTED
        assert verdict_of(table, "auc_gain_over_effect") == SUPPORTED

    @pytest.mark.parametrize(("strength", "expected"), [(0.0, REFUTED), (0.6, SUPPORTED)])
    def test_saturation(self, strength, expected):
        heads = world(
            np.random.default_rng(6),
            pairs=8,
            heads=270,
            noise=0,
            per_movement=0.05,
            per_saturation=strength,
        )
        table = claims(heads, settings=QUICK)
        assert overall(table)[2] == expected
        assert verdict_of(table, "relative_error_gap") == expected
        explanations = table.loc[table["quantity"] == OVERALL, "explanation"]
        assert explanations.str.contains("No faithfulness table").tolist() == [False, False, True]

    def test_floor_heads_count_for_identities_only(self):
        heads = world(np.random.default_rng(7))
        small = heads.assign(output_range_closed=heads["output_range_closed"] * 1e-9)
        small = small.assign(ap=small["ap"] * 1e-9, ig_own=small["ig_own"] * 1e-9)
        table = claims(small, settings=QUICK).set_index("quantity")
        assert table.loc["own_path_error", "n"] == len(heads)
        assert table.loc["concordance", "n"] == 0
        assert np.isnan(table.loc["concordance", "estimate"])
        assert table.loc["concordance", "explanation"].startswith("Not defined")
        assert table.loc[OVERALL, "verdict"].tolist() == [UNDECIDED] * 3

    def test_directions_must_agree(self):
        good = world(np.random.default_rng(8), noise=0.01)
        bad = world(np.random.default_rng(9), noise=2.0).assign(direction="denoising")
        table = claims(pd.concat([good, bad]), settings=QUICK)
        assert overall(table)[0] == REFUTED
        assert "concordance of IG joint and AP (denoising)" in table["explanation"].iloc[0]

    def test_deterministic_and_bounded(self):
        heads = world(np.random.default_rng(10))
        first = claims(heads, settings=QUICK)
        pd.testing.assert_frame_equal(first, claims(heads.sample(frac=1), settings=QUICK))
        known = first.dropna(subset=["ci_low"])
        assert (
            (known["ci_low"] <= known["estimate"]) & (known["estimate"] <= known["ci_high"])
        ).all()
        assert known[["ci_low", "ci_high"]].abs().max().max() <= 2
        assert first["p_value"].dropna().between(1 / 100, 1).all()

    def test_p_values_are_uniform_where_nothing_goes_together(self):
        random = np.random.default_rng(11)
        names = ["returning", "returning_given_movement", "saturation_given_movement"]
        names += ["auc_excess_range", "auc_abs_ap"]
        p = []
        for seed in range(120):
            heads = world(random, pairs=3, heads=30, noise=1.0)
            table = claims(heads, settings=Settings(1, 99, seed=seed)).set_index("quantity")
            p.append(table.loc[names, "p_value"])
        for name, values in pd.DataFrame(p).items():
            assert stats.kstest(values, "uniform").pvalue > 0.01, name


def faithfulness_table(
    gain: float, pairs: int = 6, random: np.random.Generator | None = None
) -> pd.DataFrame:
    """Recovery curves in which IG over the unsaturated part is better by `gain` at every k."""
    random = random or np.random.default_rng(0)
    base = {"ap": 0.05, "ig_joint": 0.0, "ig_unsaturated": gain}
    wobble = 0.01 * random.standard_normal((pairs, 3))
    return pd.DataFrame(
        {
            "pair": pair,
            "direction": "noising",
            "score": score,
            "k": k,
            "recovered": k / 20 + extra + wobble[pair, place],
        }
        for pair in range(pairs)
        for place, (score, extra) in enumerate(base.items())
        for k in (1, 2, 5, 10)
    )


class TestFaithfulness:
    @pytest.mark.parametrize(("gain", "expected"), [(0.2, SUPPORTED), (0.0, REFUTED)])
    def test_decides_with_the_saturation(self, gain, expected):
        heads = world(np.random.default_rng(6), noise=0, per_movement=0.02, per_saturation=0.6)
        table = claims(heads, faithfulness_table(gain), settings=QUICK)
        rows = table.set_index("quantity")
        assert rows.loc["faithfulness_gain_of_unsaturated", "verdict"] == expected
        assert rows.loc["faithfulness_loss_of_ig", "verdict"] == SUPPORTED
        assert overall(table)[2] == expected
        assert not table["explanation"].str.contains("No faithfulness table").any()
        # The mean of k/20 over k from 1 to 10 is 5.5/20.
        assert rows.loc["faithfulness_ig_joint", "estimate"] == pytest.approx(0.275, abs=0.02)

    def test_too_much_is_as_far_from_faithful_as_too_little(self):
        table = faithfulness_table(0.0)
        more = table.assign(recovered=2 - table["recovered"])
        pd.testing.assert_frame_equal(areas(table), areas(more))

    def test_p_value_is_the_exact_sign_flip(self):
        statistics = pytest.importorskip("transformer_lens.utilities.statistics")
        torch = pytest.importorskip("torch")
        table = faithfulness_table(0.004)
        wide = areas(table).pivot_table(index="pair", columns="score", values="area")
        difference = (wide["ig_unsaturated"] - wide["ig_joint"]).to_numpy()
        expected = statistics.sign_flip_permutation_pvalue(torch.tensor(difference)).item()
        found = claims(world(np.random.default_rng(0)), table, settings=QUICK)
        row = found.set_index("quantity").loc["faithfulness_gain_of_unsaturated"]
        assert row["p_value"] == pytest.approx(expected)
        flips = [
            np.abs(np.dot(signs, difference)) for signs in itertools.product((1, -1), repeat=6)
        ]
        assert expected == pytest.approx(
            np.mean(np.array(flips) >= abs(difference.sum()) * (1 - 1e-9))
        )

    def test_scores_may_be_missing(self):
        table = faithfulness_table(0.1)
        found = claims(
            world(np.random.default_rng(0)), table[table["score"] == "ap"], settings=QUICK
        )
        names = found["quantity"].tolist()
        assert "faithfulness_ap" in names
        assert "faithfulness_gain_of_unsaturated" not in names
        last = found.loc[found["quantity"] == OVERALL, "explanation"].iloc[2]
        assert "lacks IG joint or IG joint, unsaturated part" in last

    def test_bad_tables(self):
        heads, table = world(np.random.default_rng(0)), faithfulness_table(0.1)
        with pytest.raises(KeyError, match="recovered"):
            claims(heads, table.drop(columns="recovered"), settings=QUICK)
        with pytest.raises(ValueError, match="two rows"):
            claims(heads, pd.concat([table, table]), settings=QUICK)
        with pytest.raises(ValueError, match="different k"):
            claims(heads, table.iloc[:-1], settings=QUICK)


class TestAcross:
    def tables(self, noises: list[float]) -> dict[str, pd.DataFrame]:
        return {
            f"study{number}": claims(
                world(np.random.default_rng(20 + number), pairs=4, noise=noise), settings=QUICK
            )
            for number, noise in enumerate(noises)
        }

    def test_one_study_stands_for_itself(self):
        tables = self.tables([0.01])
        found = claims_across(tables)
        assert tuple(found.columns) == ACROSS_COLUMNS
        own = tables["study0"].set_index("quantity")
        across = found.set_index("quantity")
        for name in ("concordance", "returning_given_effect", "own_path_error"):
            for column in ("estimate", "ci_low", "ci_high"):
                assert across.loc[name, column] == pytest.approx(own.loc[name, column], nan_ok=True)
        assert found["verdict"].tolist() == tables["study0"]["verdict"].tolist()

    def test_studies_that_agree_and_one_that_does_not(self):
        good = claims_across(self.tables([0.01, 0.01, 0.01]))
        assert verdict_of(good, "concordance") == SUPPORTED
        assert overall(good)[0] == SUPPORTED
        mixed = claims_across(self.tables([0.01, 0.01, 2.0])).set_index("quantity")
        row = mixed.loc["concordance"]
        assert (row["studies"], row["supported"], row["refuted"]) == (3, 2, 1)
        assert row["verdict"] == UNDECIDED
        assert row["heterogeneity"] > 0.9
        assert row["lowest"] < row["estimate"] < row["highest"]
        assert "refuted: study2" in mixed["explanation"].iloc[0]

    def test_the_worst_study_counts_for_an_identity(self):
        tables = self.tables([0.01, 0.01])
        tables["study1"].loc[tables["study1"]["quantity"] == "own_path_error", "estimate"] = 3e-4
        row = claims_across(tables).set_index("quantity").loc["own_path_error"]
        assert row["estimate"] == 3e-4
        assert row["verdict"] == REFUTED

    def test_tables_survive_being_written_and_read(self):
        tables = self.tables([0.01, 0.5])
        read = {
            name: pd.read_csv(io.StringIO(table.to_csv(index=False)))
            for name, table in tables.items()
        }
        pd.testing.assert_frame_equal(claims_across(read), claims_across(tables))

    def test_random_effects(self):
        # Equal errors: the plain mean; no spread beyond chance: I^2 is zero.
        mean, low, high, heterogeneity = random_effects(
            np.array([0.1, 0.2, 0.3]), np.full(3, 0.2), 0.95
        )
        assert mean == pytest.approx(0.2)
        half = stats.t.ppf(0.975, 2) * 0.2 / np.sqrt(3)
        assert (low, high) == pytest.approx((0.2 - half, 0.2 + half))
        assert heterogeneity == 0
        assert random_effects(np.full(3, 0.5), np.zeros(3), 0.95)[0] == pytest.approx(0.5)

    def test_no_tables(self):
        with pytest.raises(ValueError, match="no table"):
            claims_across({})
