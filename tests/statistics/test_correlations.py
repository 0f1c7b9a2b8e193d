"""Correlations of measures with scores: coefficients, intervals, permutations, the table."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from counterpoint.errors import UserError
from counterpoint.statistics import resampling
from counterpoint.statistics.coefficients import METHODS, coefficients, kendall_spread, partial
from counterpoint.statistics.correlations import COLUMNS, correlations
from counterpoint.statistics.false_discovery import false_discovery_rate
from counterpoint.statistics.panel import MEASURES, SCORES, panel, value
from counterpoint.statistics.resampled_coefficients import null_coefficients
from counterpoint.statistics.resampling import Settings
from tests.helpers.simulated_heads import table_of_heads, two_way

SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
QUICK = Settings(bootstrap_samples=60, permutations=60)
ANY_COLUMN = arrays.arrays(float, 9, elements=st.integers(-4, 4).map(float))


@pytest.fixture(autouse=True)
def _no_warnings():
    """A storm of warnings hides the one that matters: statistics must not give any."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def one(method: str, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    weights = np.ones((1, len(x))) if weights is None else weights[None]
    return float(coefficients(method, x[None], y[None], weights)[0, 0, 0])


class TestCoefficients:
    @pytest.mark.parametrize("method", METHODS)
    @given(x=ANY_COLUMN, y=ANY_COLUMN, times=arrays.arrays(int, 9, elements=st.integers(0, 3)))
    @settings(max_examples=80, deadline=None)
    def test_equal_scipy_on_repeated_data(self, method, x, y, times):
        long_x, long_y = np.repeat(x, times), np.repeat(y, times)
        found = one(method, x, y, times.astype(float))
        if len(set(long_x)) < 2 or len(set(long_y)) < 2:
            assert math.isnan(found)
        else:
            assert found == pytest.approx(SCIPY[method](long_x, long_y).statistic, abs=1e-9)

    @pytest.mark.parametrize("method", METHODS)
    @given(x=ANY_COLUMN, y=ANY_COLUMN)
    @settings(max_examples=40, deadline=None)
    def test_invariants(self, method, x, y):
        found = one(method, x, y)
        if math.isnan(found):
            return
        assert -1 <= found <= 1
        assert one(method, y, x) == pytest.approx(found, abs=1e-9)
        assert one(method, -x, y) == pytest.approx(-found, abs=1e-9)
        assert one(method, 1e-7 * x + 3, y) == pytest.approx(found, abs=1e-6)
        assert one(method, x, x) == pytest.approx(1)
        if method != "pearson":
            assert one(method, np.exp(x), y**3) == pytest.approx(found, abs=1e-9)

    def test_by_hand(self):
        x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])
        # One of six comparisons is in the opposite order; the squared rank differences sum to 2.
        assert one("kendall", x, y) == pytest.approx((5 - 1) / 6)
        assert one("spearman", x, y) == pytest.approx(1 - 6 * 2 / (4 * 15))

    @pytest.mark.parametrize("method", METHODS)
    def test_many_columns_at_once_equal_one_by_one(self, method):
        random = np.random.default_rng(0)
        x, y = random.normal(size=(3, 20)), random.normal(size=(2, 20))
        weights = resampling.draws(random, 70, 20)
        together = coefficients(method, x, y, weights)
        assert together.shape == (70, 3, 2)
        for sample, i, j in ((0, 0, 0), (33, 2, 1), (69, 1, 0)):
            assert together[sample, i, j] == pytest.approx(one(method, x[i], y[j], weights[sample]))

    @pytest.mark.parametrize("method", METHODS)
    def test_constant_but_for_rounding_is_undefined(self, method):
        y = np.random.default_rng(0).normal(size=30)
        assert math.isnan(one(method, np.full(30, 0.1), y))
        if method == "pearson":
            assert math.isnan(one(method, 0.1 + 1e-17 * y, y))

    @pytest.mark.parametrize("method", ["pearson", "spearman"])
    def test_given_layer_equals_pingouin(self, method):
        random = np.random.default_rng(1)
        layer = np.repeat([0, 1, 2, 3], [9, 7, 9, 5])
        x = random.normal(size=30) + layer
        y = random.normal(size=30) + 0.5 * x + layer**2
        table = pd.DataFrame({"x": x, "y": y, **{f"l{i}": layer == i for i in (1, 2, 3)}}) * 1.0
        expected = pingouin.partial_corr(table, "x", "y", ["l1", "l2", "l3"], method=method)
        found = coefficients(method, x[None], y[None], np.ones((1, 30)), layer)
        assert found.item() == pytest.approx(expected["r"].iloc[0], abs=1e-9)

    def test_kendall_given_layer_compares_within_layers_only(self):
        layer = np.array([0, 0, 0, 1, 1, 1])
        x = np.array([1.0, 2, 3, 11, 12, 13])
        y = np.array([3.0, 2, 1, 33, 32, 34])
        # Within layer 0 all 3 comparisons are opposite, within layer 1 one of 3.
        found = coefficients("kendall", x[None], y[None], np.ones((1, 6)), layer)
        assert found.item() == pytest.approx((2 - 4) / 6)
        assert one("kendall", x, y) > 0

    @pytest.mark.parametrize("method", ["pearson", "spearman"])
    def test_partial_equals_pingouin(self, method):
        random = np.random.default_rng(2)
        table = pd.DataFrame(random.normal(size=(40, 3)) @ random.normal(size=(3, 3)))
        table.columns = ["x", "y", "z"]
        rho = table.corr(method=method)
        found = partial(*(np.array(rho.loc[a, b]) for a, b in ("xy", "xz", "yz")))
        expected = pingouin.partial_corr(table, "x", "y", "z", method=method)["r"].iloc[0]
        assert found == pytest.approx(expected, abs=1e-9)

    def test_unknown_method(self):
        with pytest.raises(ValueError, match="pearson"):
            one("cosine", np.arange(4.0), np.arange(4.0))

    @pytest.mark.parametrize("x", [np.arange(6.0), np.array([0.0, 0, 1, 1, 1, 2])])
    def test_spread_of_kendall_is_that_of_all_permutations(self, x):
        y = np.array([0.0, 1, 2, 2, 4, 5])
        taus = [stats.kendalltau(x, y[list(p)]).statistic for p in itertools.permutations(range(6))]
        assert kendall_spread(x[None], y[None]).item() == pytest.approx(np.std(taus), rel=1e-9)


class TestPermutations:
    def test_first_return_is_uniform_and_keeps_to_the_common_shuffle(self):
        shuffles = resampling.permutations(np.random.default_rng(0), 6000, 5)
        keep = np.array([True, True, False, True, False])
        found = resampling.restricted(shuffles, keep)
        assert (np.sort(found, axis=1) == np.arange(3)).all()
        counts = np.unique(found, axis=0, return_counts=True)[1]
        assert len(counts) == 6
        assert stats.chisquare(counts).pvalue > 0.01
        inside = keep[shuffles[:, 0]]
        number = np.cumsum(keep) - 1
        assert (found[inside, 0] == number[shuffles[inside, 0]]).all()
        assert (resampling.restricted(shuffles, np.ones(5, bool)) == shuffles).all()

    @pytest.mark.parametrize("method", METHODS)
    def test_null_spread_and_p_agree_with_brute_force(self, method):
        random = np.random.default_rng(3)
        x = random.normal(size=14)
        y = np.round(0.5 * x + random.normal(size=14), 1)
        shuffles = resampling.permutations(random, 4000, 14)
        null = null_coefficients(method, x[None], y[None], shuffles)[:, 0, 0]
        brute = np.array([SCIPY[method](x, y[order]).statistic for order in shuffles[:1500]])
        observed = SCIPY[method](x, y).statistic
        p = resampling.permutation_p(np.array(observed), null)
        expected = (np.abs(brute) >= abs(observed)).mean()
        assert p == pytest.approx(expected, abs=4 * math.sqrt(expected / 1500) + 0.005)
        if method == "kendall":
            # Spearman's draws in tau's units: the same spread, and nearly the same draws.
            assert np.std(null) == pytest.approx(np.std(brute), rel=0.05)
            assert np.corrcoef(null[:1500], brute)[0, 1] > 0.97
        else:
            np.testing.assert_allclose(null[:1500], brute, atol=1e-9)

    def test_p_counts_hits(self):
        null = np.array([0.1, -0.5, 0.3, 0.0])
        assert resampling.permutation_p(np.array(0.3), null) == pytest.approx(3 / 5)
        assert np.isnan(resampling.permutation_p(np.array(np.nan), null))


class TestSimulation:
    """Data of known law: intervals must hold the truth, p-values must be uniform under the null."""

    SETS = 200

    def coverage(self, pairs: int, heads: int, between_pairs: float, seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        rows = []
        for number in range(self.SETS):
            x, y = two_way(
                random, pairs, heads, correlation=0.5, between_pairs=between_pairs, head_part=0.7
            )
            table = correlations(
                table_of_heads({"gradient_range": x, "ig_joint": y}),
                measures=["gradient_range"],
                scores=["ig_joint"],
                methods=METHODS if between_pairs == 0 else ["pearson"],
                settings=Settings(bootstrap_samples=250, permutations=1, seed=number),
            )
            rows.append(table[(table["scope"] == "study") | (table["pair"] == 0)])
        return pd.concat(rows)

    def at_least_nominal(self, hits: pd.Series) -> bool:
        """Not fewer hits than an interval that covers in 95 % would have in 999 of 1,000 tests."""
        return hits.sum() >= stats.binom.ppf(0.001, len(hits), 0.95)

    def test_intervals_cover_at_their_nominal_rate(self):
        table = self.coverage(pairs=6, heads=50, between_pairs=0.0, seed=0)
        truth = {
            "pearson": 0.5,
            "spearman": 6 / math.pi * math.asin(0.25),
            "kendall": 2 / math.pi * math.asin(0.5),
        }
        for (scope, method), rows in table.groupby(["scope", "method"]):
            inside = (rows["ci_low"] <= truth[method]) & (truth[method] <= rows["ci_high"])
            assert self.at_least_nominal(inside), (scope, method, inside.mean())
            # A useless interval would cover always.
            assert (rows["ci_high"] - rows["ci_low"]).median() < 0.5

    def test_intervals_cover_where_the_correlation_varies_between_pairs(self):
        table = self.coverage(pairs=5, heads=50, between_pairs=0.4, seed=1)
        z = np.random.default_rng(0).standard_normal(200_000)
        within = np.tanh(np.arctanh(0.5) + 0.4 * z).mean()
        truth = (0.49 * 0.5 + within) / 1.49
        rows = table[table["scope"] == "study"]
        assert self.at_least_nominal((rows["ci_low"] <= truth) & (truth <= rows["ci_high"]))

    def test_p_values_are_uniform_under_the_null(self):
        random = np.random.default_rng(2)
        parts = []
        for number in range(self.SETS):
            x, y = two_way(random, 4, 30, head_part=2.0)
            movement = np.where(random.random((4, 30)) < 0.1, 0.0, 1.0)
            parts.append(
                correlations(
                    table_of_heads(
                        {"gradient_range": x, "ig_joint": y, "output_range_closed": movement}
                        | {"ap": np.ones_like(x)}
                    ),
                    measures=["gradient_range"],
                    scores=["ig_joint"],
                    settings=Settings(bootstrap_samples=1, permutations=199, seed=number),
                )
            )
        table = pd.concat(parts)
        for scope, rows in table[table["pair"].isna() | (table["pair"] == 0)].groupby("scope"):
            for method, own in rows.groupby("method"):
                p = own["p_permutation"]
                assert stats.kstest(p, "uniform").pvalue > 0.01, (scope, method)

    def test_shuffling_each_pair_by_itself_would_find_what_is_not_there(self):
        """Why heads are shuffled once for all pairs: heads keep their character."""
        random = np.random.default_rng(3)
        false = 0
        for _ in range(100):
            x, y = two_way(random, 6, 30, head_part=3.0)
            nulls = [
                null_coefficients(
                    "pearson", x[[p]], y[[p]], resampling.permutations(random, 99, 30)
                )
                for p in range(6)
            ]
            observed = np.mean([one("pearson", x[p], y[p]) for p in range(6)])
            false += resampling.permutation_p(observed, np.mean(nulls, axis=0).ravel()) <= 0.05
        assert false > 25  # 5 would be right

    def test_cluster_bootstrap_is_wider_than_the_naive_one(self):
        random = np.random.default_rng(4)
        x, y = two_way(random, 8, 100, correlation=0.4, between_pairs=0.6, head_part=0.0)
        table = correlations(
            table_of_heads({"gradient_range": x, "ig_joint": y}),
            measures=["gradient_range"],
            scores=["ig_joint"],
            methods=["spearman"],
            settings=Settings(bootstrap_samples=500, permutations=1),
        )
        row = table[table["scope"] == "study"].iloc[0]
        flat_x, flat_y = (np.concatenate(stats.rankdata(v, axis=1))[None] for v in (x, y))
        naive = coefficients("pearson", flat_x, flat_y, resampling.draws(random, 500, 800))
        low, high = resampling.percentiles(naive[:, 0, 0], 0.95)
        assert row["ci_high"] - row["ci_low"] > 2 * (high - low)


class TestIntervals:
    def test_widening(self):
        # Student's t with 3 degrees of freedom has its 97.5 % point at 3.182.
        assert resampling.widening(4, 0.95) == pytest.approx(
            math.sqrt(4 / 3) * 3.182 / 1.960, rel=1e-3
        )
        assert resampling.widening(1, 0.95) == 0
        assert resampling.widening(10_000, 0.95) == pytest.approx(1, abs=1e-3)

    def test_study_interval_by_hand(self):
        drawn = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]] * 40)
        found = resampling.study_interval(np.array([0.2, 0.4]), None, drawn, 0.5)
        # Draws are 0.2, 0.3, 0.4 before widening; the middle half ends in the outer thirds.
        reach = 0.1 * resampling.widening(2, 0.5)
        assert found.estimate == pytest.approx(0.3)
        assert (found.low, found.high) == pytest.approx((0.3 - reach, 0.3 + reach))

    def test_undefined_pairs_are_left_out(self):
        drawn = resampling.draws(np.random.default_rng(0), 50, 3)
        found = resampling.study_interval(np.array([0.2, np.nan, 0.4]), None, drawn, 0.9)
        assert found.estimate == pytest.approx(0.3)
        nothing = resampling.study_interval(np.full(3, np.nan), None, drawn, 0.9)
        assert np.isnan([nothing.estimate, nothing.low, nothing.high]).all()

    def test_interval_needs_most_resamples_to_be_defined(self):
        drawn = np.arange(100.0)
        drawn[:5] = np.nan
        assert resampling.percentiles(drawn, 0.9)[0] == pytest.approx(np.nanquantile(drawn, 0.05))
        drawn[5] = np.nan
        assert np.isnan(resampling.percentiles(drawn, 0.9)).all()

    @pytest.mark.parametrize(
        ("key", "wrong"),
        [
            ("bootstrap_samples", 0),
            ("permutations", 0),
            ("top_k", 0),
            ("seed", -1),
            ("confidence", 1.0),
            ("confidence", 0.0),
            ("floor", -1e-3),
            ("floor", math.nan),
        ],
    )
    def test_settings_refuse_nonsense(self, key, wrong):
        with pytest.raises(UserError, match=key):
            Settings(**{key: wrong})


@pytest.fixture(scope="module")
def heads() -> pd.DataFrame:
    random = np.random.default_rng(5)
    parts = []
    for direction in ("noising", "denoising"):
        x, y = two_way(random, 3, 24, correlation=0.6)
        movement = np.abs(y) + 0.2
        movement[0, :5] = 1e-6
        parts.append(
            table_of_heads(
                {
                    "ap": y,
                    "ig_joint": y + 0.3 * x,
                    "output_range_closed": movement,
                    "gradient_range": np.exp(x),
                    "saturation": np.round(random.random((3, 24)), 1),
                },
                layers=4,
                direction=direction,
            )
        )
    return pd.concat(parts, ignore_index=True)


class TestTable:
    def test_shape_and_columns(self, heads):
        table = correlations(heads, settings=QUICK)
        assert tuple(table.columns) == COLUMNS
        assert len(table) == 2 * len(MEASURES) * len(SCORES) * 3 * (3 + 2)
        assert not table.duplicated(
            ["scope", "pair", "direction", "measure", "score", "method"]
        ).any()
        whole = table.dropna(subset=["ci_low"])
        assert (whole["ci_low"] <= whole["ci_high"]).all()
        assert whole[["ci_low", "ci_high", "estimate"]].abs().to_numpy().max() <= 1
        tested = table.dropna(subset=["p_permutation"])
        assert (tested["p_adjusted"] >= tested["p_permutation"] - 1e-12).all()
        assert (table["note"] != "")[table["estimate"].isna()].all()

    @pytest.mark.parametrize("method", METHODS)
    def test_estimates_against_scipy(self, heads, method):
        table = correlations(
            heads, measures=["gradient_range"], scores=["abs_ap"], methods=[method], settings=QUICK
        )
        rows = heads[(heads["direction"] == "noising") & (heads["output_range_closed"] >= 1e-4)]
        by_pair = [
            SCIPY[method](own["gradient_range"], own["ap"].abs()).statistic
            for _, own in rows.groupby("pair")
        ]
        own = table[table["direction"] == "noising"]
        np.testing.assert_allclose(own[own["scope"] == "pair"]["estimate"], by_pair, atol=1e-9)
        study = own[own["scope"] == "study"].iloc[0]
        assert study["estimate"] == pytest.approx(np.mean(by_pair))
        assert (study["n"], study["pairs"], study["floor_excluded"]) == (67, 3, 5)
        means = heads[heads["direction"] == "noising"].assign(a=lambda t: t["ap"].abs())
        means = means.groupby(["layer", "head"])[["gradient_range", "a"]].mean()
        mean = own[own["scope"] == "pair_mean"].iloc[0]
        expected = SCIPY[method](means["gradient_range"], means["a"]).statistic
        assert mean["estimate"] == pytest.approx(expected)

    def test_floor_heads_can_be_kept(self, heads):
        kept = correlations(
            heads,
            measures=["gradient_range"],
            scores=["ap"],
            settings=Settings(bootstrap_samples=20, permutations=20, include_floor=True),
        )
        assert (kept["floor_excluded"] == 0).all()
        assert (kept.loc[kept["scope"] == "pair", "n"] == 24).all()

    def test_a_sign_makes_a_difference(self, heads):
        table = correlations(
            heads,
            measures=["output_range_closed"],
            scores=["ap", "abs_ap"],
            methods=["pearson"],
            settings=QUICK,
        )
        study = table[(table["scope"] == "study") & (table["direction"] == "noising")]
        by_score = study.set_index("score")["estimate"]
        assert by_score["abs_ap"] == pytest.approx(1)
        assert abs(by_score["ap"]) < 0.6

    def test_deterministic_and_independent_of_what_else_is_asked(self, heads):
        first = correlations(heads, settings=QUICK)
        shuffled = heads.sample(frac=1, random_state=0)
        again = correlations(shuffled[shuffled["direction"] == "noising"], settings=QUICK)
        alone = correlations(
            heads, measures=["saturation"], scores=["ig_joint"], methods=["kendall"], settings=QUICK
        )
        keys = ["scope", "pair", "direction", "measure", "score", "method"]
        numbers = [*keys, "estimate", "ci_low", "ci_high", "p_permutation", "partial_ci_low"]
        for part in (again, alone):
            both = part[numbers].merge(first[numbers], on=keys, suffixes=("", "_first"))
            assert len(both) == len(part)
            for name in numbers[len(keys) :]:
                np.testing.assert_allclose(both[name], both[f"{name}_first"], atol=1e-12)
        other = correlations(
            heads, settings=Settings(bootstrap_samples=60, permutations=60, seed=1)
        )
        assert not np.allclose(other["ci_low"], first["ci_low"], equal_nan=True)

    def test_constant_column_gives_no_number_and_a_reason(self, heads):
        flat = heads.assign(saturation=0.25)
        table = correlations(flat, measures=["saturation"], scores=["ap"], settings=QUICK)
        assert table[["estimate", "ci_low", "p_permutation", "p_adjusted"]].isna().all().all()
        assert table["note"].str.contains("saturation is constant").all()

    def test_mostly_constant_column_gives_no_interval_and_a_reason(self, heads):
        rare = heads.assign(saturation=np.where(heads["head"] + heads["layer"] == 0, 0.5, 0.0))
        table = correlations(rare, measures=["saturation"], scores=["ap"], settings=QUICK)
        rows = table[table["scope"] == "pair_mean"]
        assert rows["estimate"].notna().all()
        assert rows["ci_low"].isna().all()
        assert (rows["note"] == "no interval: constant in too many resamples").all()

    def test_gaps_cost_only_the_column_that_has_them(self, heads):
        gaps = heads.assign(
            monotonicity=heads["monotonicity"].where((heads["layer"] > 0) | (heads["pair"] > 0))
        )
        table = correlations(
            gaps,
            measures=["monotonicity", "gradient_range"],
            scores=["ap"],
            methods=["spearman"],
            settings=QUICK,
        )
        rows = table[(table["pair"] == 0) & (table["direction"] == "noising")]
        assert dict(zip(rows["measure"], rows["n"], strict=True)) == {
            "monotonicity": 18,  # layer 0 is missing, and five of its heads are at the floor
            "gradient_range": 19,
        }

    def test_too_few_heads(self):
        table = correlations(
            table_of_heads({"ap": np.array([[1.0, 2, 3]])}),
            measures=["gradient_range"],
            scores=["ap"],
            settings=QUICK,
        )
        assert table["estimate"].isna().all()
        assert table["note"].str.contains("3 heads above the floor, fewer than").all()

    def test_one_pair_says_that_its_interval_is_over_heads(self, heads):
        table = correlations(
            heads[heads["pair"] == 1], measures=["gradient_range"], scores=["ap"], settings=QUICK
        )
        pair, study = (table[table["scope"] == scope] for scope in ("pair", "study"))
        assert study["note"].str.contains("over heads alone").all()
        for name in ("estimate", "ci_low", "ci_high", "p_permutation"):
            np.testing.assert_allclose(study[name], pair[name])

    def test_unknown_column_names_what_is_there(self, heads):
        with pytest.raises(KeyError, match=r"curliness.*gradient_range"):
            correlations(heads, measures=["curliness"], settings=QUICK)

    def test_repeated_row(self, heads):
        with pytest.raises(ValueError, match="twice"):
            correlations(pd.concat([heads, heads.iloc[:1]]), settings=QUICK)

    def test_false_discovery_rate_by_hand(self):
        p = pd.Series([0.01, np.nan, 0.04, 0.03])
        # Of three: 0.01*3/1, 0.03*3/2, 0.04*3/3, made monotone from the largest down.
        np.testing.assert_allclose(
            false_discovery_rate(p), [0.03, np.nan, 0.04, 0.04], equal_nan=True
        )


class TestPanel:
    def test_derived_columns(self, heads):
        assert value(heads, "abs_disagreement").equals((heads["ig_joint"] - heads["ap"]).abs())
        assert value(heads, "non_monotonicity").equals(1 - heads["monotonicity"])

    def test_missing_rows_are_gaps(self, heads):
        short = heads.drop(heads[(heads["pair"] == 1) & (heads["layer"] == 2)].index)
        found = panel(short, "noising", ["ap"])
        assert found.columns["ap"].shape == (3, 24)
        assert np.isnan(found.columns["ap"]).sum() == 6
        assert not found.at_floor[np.isnan(found.columns["ap"])].any()

    def test_unknown_direction(self, heads):
        with pytest.raises(ValueError, match="sideways"):
            panel(heads, "sideways", ["ap"])
