"""Templates: what is drawn whole, of what AP varies, and how many pairs the first heads take."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.statistics import resampling, sample_sizes, stability, templates
from counterpoint.statistics import variance_components as module
from counterpoint.statistics.correlations import correlations
from counterpoint.statistics.panel import panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.templates import with_templates
from counterpoint.statistics.variance_components import components, variance_components
from tests.helpers.simulated_heads import table_of_heads

QUICK = Settings(bootstrap_samples=200, permutations=200, top_k=3)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def both_directions(noising: np.ndarray, denoising: np.ndarray) -> pd.DataFrame:
    """A table of heads from the AP [pair, head] of both directions."""
    return pd.concat(
        [
            table_of_heads({"ap": ap}, direction=name)
            for name, ap in (("noising", noising), ("denoising", denoising))
        ],
        ignore_index=True,
    )


def named(heads: pd.DataFrame, groups: np.ndarray) -> pd.DataFrame:
    pairs = pd.DataFrame(
        {"pair": range(len(groups)), "template": [f"t{group}" for group in groups]}
    )
    return with_templates(heads, pairs)


def balanced(values: np.ndarray, n_groups: int) -> tuple[float, float]:
    """REML of a balanced one-way layout in closed form (analysis of variance).

    Rows stand group by group. Where the groups' mean square is below that within, the variance
    between groups is 0 and all rows have one variance.
    """
    table = values.reshape(n_groups, -1)
    size = table.shape[1]
    within = ((table - table.mean(axis=1, keepdims=True)) ** 2).sum() / (n_groups * (size - 1))
    between = size * table.mean(axis=1).var(ddof=1)
    if between <= within:
        return 0.0, values.var(ddof=1)
    return (between - within) / size, within


class TestDraws:
    def test_pairs_alone_are_drawn_as_ever(self):
        plain = resampling.draws(np.random.default_rng(0), 50, 7)
        alone = resampling.draws(np.random.default_rng(0), 50, 7, np.arange(7) * 3)
        np.testing.assert_array_equal(plain, alone)

    @given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 99))
    @limits(max_examples=40, deadline=None)
    def test_a_cluster_is_drawn_whole_and_as_many_as_there_are(self, groups, seed):
        groups = np.array(groups)
        drawn = resampling.draws(np.random.default_rng(seed), 20, len(groups), groups)
        assert drawn.shape == (20, len(groups))
        first = [np.flatnonzero(groups == group)[0] for group in np.unique(groups)]
        assert (drawn[:, first].sum(axis=1) == len(first)).all()
        for group, place in zip(np.unique(groups), first, strict=True):
            assert (drawn[:, groups == group] == drawn[:, [place]]).all()

    def test_templates_cover_where_pairs_do_not(self):
        random = np.random.default_rng(1)
        n_groups, size, studies = 8, 18, 300
        groups = np.repeat(np.arange(n_groups), size)
        values = np.sqrt(0.3) * random.normal(size=(studies, n_groups))[:, groups]
        values += np.sqrt(0.7) * random.normal(size=(studies, len(groups)))
        covered = {}
        for name, clusters in (("pairs", None), ("templates", groups)):
            drawn = resampling.draws(random, 500, len(groups), clusters)
            found = resampling.study_interval(values.T, None, drawn, 0.95, clusters=clusters)
            covered[name] = np.mean((found.low < 0) & (found.high > 0))
        # 0.57 and 0.95 over 1,000 studies (docs/statistics.md).
        assert covered["pairs"] < 0.7
        assert 0.91 <= covered["templates"] <= 0.99

    def test_an_interval_needs_two_clusters(self):
        one = np.zeros(6, dtype=int)
        drawn = resampling.draws(np.random.default_rng(0), 20, 6, one)
        found = resampling.study_interval(np.arange(6.0), None, drawn, 0.95, clusters=one)
        assert np.isnan(found.low) and np.isnan(found.high)


class TestWhatIsDrawn:
    def table(self, n_groups: int, n_pairs: int) -> pd.DataFrame:
        heads = table_of_heads({"ap": np.random.default_rng(0).normal(size=(n_pairs, 6))})
        return named(heads, np.arange(n_pairs) % n_groups)

    @pytest.mark.parametrize(
        ("n_groups", "n_pairs", "resample", "drawn"),
        [
            (5, 12, "auto", 5),
            (4, 12, "auto", 12),  # too few
            (12, 12, "auto", 12),  # each pair has its own
            (5, 12, "pairs", 12),
            (2, 12, "templates", 2),
        ],
    )
    def test_templates_are_drawn_where_there_are_enough(self, n_groups, n_pairs, resample, drawn):
        data = panel(self.table(n_groups, n_pairs), "noising", ["ap"])
        found = templates.clusters_of(data, Settings(resample=resample))
        assert len(np.unique(found)) == drawn

    def test_nothing_changes_where_templates_are_not_drawn(self):
        heads = self.table(4, 12)
        plain = heads.drop(columns="template")
        for compute in (stability.stability, correlations):
            pd.testing.assert_frame_equal(
                compute(heads, settings=QUICK), compute(plain, settings=QUICK)
            )
        # Each pair of a template of its own: the same resamples, digit by digit.
        alone = named(plain, np.arange(12))
        pd.testing.assert_frame_equal(
            stability.stability(alone, settings=Settings(bootstrap_samples=200, top_k=3)),
            stability.stability(plain, settings=Settings(bootstrap_samples=200, top_k=3)),
        )

    def test_templates_widen_the_interval_of_a_head(self):
        random = np.random.default_rng(3)
        groups = np.repeat(np.arange(6), 10)
        ap = 5 + random.normal(size=(6, 4))[groups] + 0.1 * random.normal(size=(60, 4))
        heads = named(table_of_heads({"ap": ap}), groups)
        widths = {}
        for resample in ("pairs", "templates"):
            found = stability.ranking(heads, "ap", settings=Settings(resample=resample))
            widths[resample] = (found["ci_high"] - found["ci_low"]).mean()
        assert widths["templates"] > 2 * widths["pairs"]

    def test_one_template_for_a_pair_and_two_at_least(self):
        heads = table_of_heads({"ap": np.ones((4, 3))})
        torn = heads.assign(template=[f"t{row}" for row in range(len(heads))])
        with pytest.raises(UserError, match="more than one template for pair 0"):
            panel(torn, "noising", ["ap"])
        asked = Settings(resample="templates", bootstrap_samples=20, permutations=20)
        with pytest.raises(UserError, match="no column template"):
            stability.stability(heads, settings=asked)
        with pytest.raises(UserError, match="at least 2 templates"):
            stability.stability(named(heads, np.zeros(4, dtype=int)), settings=asked)
        with pytest.raises(UserError, match="resample is 'rows'"):
            Settings(resample="rows")

    def test_templates_are_found_by_pair_by_row_and_by_order(self):
        heads = table_of_heads({"ap": np.ones((3, 2))})
        table = pd.DataFrame({"template": ["a", "b", "c", "d"], "row": [1, 2, 3, 4]})
        heads.attrs = {"row": [1, 3, 4]}
        found = with_templates(heads, table)
        assert found.groupby("pair")["template"].first().tolist() == ["a", "c", "d"]
        assert found.attrs == heads.attrs
        heads.attrs = {}
        by_order = with_templates(heads, table)
        assert by_order.groupby("pair")["template"].first().tolist() == ["a", "b", "c"]
        numbered = table.assign(pair=[2, 1, 0, 3])
        assert with_templates(heads, numbered).groupby("pair")["template"].first().tolist() == [
            "c",
            "b",
            "a",
        ]
        with pytest.raises(UserError, match="lacks pair 2"):
            with_templates(heads, table.head(2))
        assert with_templates(heads, table.drop(columns="template")) is heads

    def test_pairs_without_a_name_are_templates_of_their_own(self):
        names = pd.Series(["a", "", "a", ""], index=[0, 1, 2, 3])
        assert templates.labels(names, np.arange(4)).tolist() == [0, 1, 0, 2]
        assert templates.named(names) == 1

    def test_mean_of_two_compares_the_copies_of_a_template_within_each(self):
        values = np.array([[1, 0.9, 0.2], [0.9, 1, 0.4], [0.2, 0.4, 1]])
        clusters = np.array([0, 0, 1])
        # Template 0 twice: two comparisons of its own pairs, four with template 1 in no copy.
        drawn = np.array([[2.0, 2, 0], [1, 1, 1], [0, 0, 2]])
        seen = []
        original = resampling.percentiles
        try:
            resampling.percentiles = lambda draws, confidence: (seen.append(draws), (0, 0))[1]
            # Three clusters are needed for an interval: a third, never drawn.
            wide = np.pad(values, (0, 1)) + np.diag([0, 0, 0, 1.0])
            stability.mean_of_two(
                wide, np.pad(drawn, ((0, 0), (0, 1))), QUICK, 0.0, np.append(clusters, 2)
            )
        finally:
            resampling.percentiles = original
        widen = resampling.widening(3, QUICK.confidence)
        mean = 2 * (0.9 + 0.2 + 0.4) / 12
        expected = [mean + widen * (number - mean) for number in (0.9, (0.9 + 0.2 + 0.4) / 3)]
        np.testing.assert_allclose(seen[0], expected)


class TestVariance:
    @pytest.mark.parametrize("truth", [1.0, 0.3, 0.02, 0.0])
    @pytest.mark.parametrize("scale", [1.0, 1e-6, 1e4])
    def test_balanced_layouts_have_the_closed_form(self, truth, scale):
        random = np.random.default_rng(0)
        groups = np.repeat(np.arange(6), 9)
        for _ in range(8):
            values = truth * random.normal(size=6)[groups] + random.normal(size=len(groups))
            values = scale * (values + 3)
            found = components(values[None], groups)
            expected = balanced(values, 6)
            np.testing.assert_allclose(
                [found.template, found.pair], expected, atol=2e-4 * values.var(), rtol=2e-4
            )

    def test_both_directions_are_the_whole_mixed_model(self):
        """Beside statsmodels' own fit of all three components to the numbers of both directions."""
        from statsmodels.regression.mixed_linear_model import MixedLM

        random = np.random.default_rng(5)
        sizes = [7, 4, 9, 6, 8]  # not balanced
        groups = np.repeat(np.arange(5), sizes)
        n = len(groups)
        for pair_part in (0.8, 0.0):
            shared = 0.9 * random.normal(size=5)[groups] + pair_part * random.normal(size=n)
            own = shared + 0.5 * random.normal(size=(2, n)) + np.array([[2.0], [1.0]])
            found = components(own, groups)
            frame = pd.DataFrame(
                {
                    "y": own.ravel(),
                    "direction": np.repeat([0, 1], n),
                    "group": np.tile(groups, 2),
                    "pair": np.tile(np.arange(n), 2),
                }
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                whole = MixedLM.from_formula(
                    "y ~ C(direction)",
                    frame,
                    groups="group",
                    re_formula="1",
                    vc_formula={"p": "0 + C(pair)"},
                ).fit(reml=True)
            expected = [whole.cov_re.iloc[0, 0], whole.vcomp[0], whole.scale]
            np.testing.assert_allclose(
                [found.template, found.pair, found.rest], expected, atol=4e-3
            )

    def test_known_components_are_recovered(self):
        random = np.random.default_rng(2)
        n_heads, n_groups, size = 40, 12, 10
        groups = np.tile(np.arange(n_groups), size)
        n = len(groups)
        level = random.normal(size=n_heads)
        shared = level + 0.6 * random.normal(size=(n_groups, n_heads))[groups]
        shared = shared + 0.5 * random.normal(size=(n, n_heads))
        noising, denoising = (shared + 0.4 * random.normal(size=(n, n_heads)) for _ in range(2))
        table = variance_components(named(both_directions(-noising, denoising), groups))
        assert list(table.columns) == list(module.COLUMNS)
        means = table.groupby("direction")[
            ["variance_template", "variance_pair", "variance_rest"]
        ].mean()
        np.testing.assert_allclose(means.loc["both"], [0.36, 0.25, 0.16], rtol=0.1)
        for direction in ("noising", "denoising"):
            np.testing.assert_allclose(means.loc[direction].iloc[:2], [0.36, 0.25 + 0.16], rtol=0.1)
            assert np.isnan(means.loc[direction, "variance_rest"])
        assert (table["p_permutation"] < 0.01).mean() > 0.95
        assert (table["n_templates"] == n_groups).all() and (table["n_pairs"] == n).all()
        both = table[table["direction"] == "both"]
        np.testing.assert_allclose(both["mean"], level, atol=0.6)

    def test_p_is_uniform_where_templates_do_not_differ(self):
        random = np.random.default_rng(7)
        groups = np.repeat(np.arange(5), 6)
        heads = table_of_heads({"ap": random.normal(size=(30, 200))}, layers=10)
        table = variance_components(named(heads, groups), settings=QUICK)
        assert np.mean(table["p_permutation"] <= 0.1) == pytest.approx(0.1, abs=0.06)
        assert table["p_permutation"].mean() == pytest.approx(0.5, abs=0.06)
        # Half of such variances are 0, which is the edge of what can be fitted, and no failure.
        assert 0.3 < (table["variance_template"] == 0).mean() < 0.8
        assert (table["note"] == "").all()

    @given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.floats(-50, 50))
    @limits(max_examples=15, deadline=None)
    def test_components_scale_and_do_not_shift(self, seed, factor, shift):
        random = np.random.default_rng(seed)
        groups = np.repeat(np.arange(4), [3, 5, 2, 6])
        values = random.normal(size=4)[groups] + random.normal(size=(2, len(groups)))
        plain, moved = (components(one, groups) for one in (values, factor * values + shift))
        first, second = (np.array([one.template, one.pair, one.rest]) for one in (plain, moved))
        assert (first >= 0).all()
        np.testing.assert_allclose(second, factor**2 * first, rtol=1e-2, atol=1e-3 * factor**2)
        order = random.permutation(len(groups))
        again = components(values[:, order], groups[order])
        np.testing.assert_allclose(
            [again.template, again.pair, again.rest], first, rtol=1e-2, atol=1e-3
        )

    def test_what_is_not_identified_is_said(self):
        random = np.random.default_rng(0)
        ap = random.normal(size=(8, 5))
        ap[:, 1] = 0.7  # the same on every pair
        heads = both_directions(-ap, ap + 0.1 * random.normal(size=ap.shape))
        small = heads["head"] == 2
        heads.loc[small, ["ap", "output_range_closed"]] = 1e-7
        for table, why in (
            (heads, module.NO_TEMPLATES),
            (named(heads, np.arange(8)), module.ONE_PAIR_EACH),
            (named(heads, np.zeros(8, dtype=int)), module.ONE_TEMPLATE),
        ):
            found = variance_components(table, settings=QUICK)
            assert found["variance_template"].isna().all()
            assert found["p_permutation"].isna().all()
            notes = found.set_index(["direction", "head"])["note"]
            assert notes["noising", 0] == why
            assert notes["noising", 1] == module.CONSTANT
            assert (notes.xs(2, level="head") == module.BELOW_FLOOR).all()
            numbers = found.set_index(["direction", "head"])
            assert numbers.loc[("noising", 0), "variance_pair"] == pytest.approx(
                ap[:, 0].var(ddof=1)
            )
            assert numbers.loc[("both", 0), "variance_rest"] < 0.02
        two = variance_components(heads[heads["pair"] < 2], settings=QUICK)
        assert set(two["note"]) == {module.TOO_FEW, module.BELOW_FLOOR} - {module.BELOW_FLOOR}

    def test_a_table_with_ap_alone_will_do(self):
        keys = ["pair", "direction", "layer", "head", "ap"]
        heads = table_of_heads({"ap": np.random.default_rng(0).normal(size=(6, 3))})[keys]
        assert variance_components(heads, settings=QUICK)["variance_pair"].notna().all()


class TestSampleSizes:
    def test_numbers_of_pairs(self):
        assert sample_sizes.numbers_of_pairs(20, 10) == [1, 2, 3, 5, 8, 10, 13]
        assert sample_sizes.numbers_of_pairs(1, 1) == [1]

    def test_equal_pairs_share_all_and_unrelated_ones_as_chance_does(self):
        equal = np.outer(np.ones(9), np.arange(1.0, 31))
        table = sample_sizes.sample_sizes(table_of_heads({"ap": equal}), settings=QUICK)
        assert (table[["overlap", "low", "high"]] == 3).all().all()
        noise = np.random.default_rng(1).normal(size=(40, 30))
        table = sample_sizes.sample_sizes(
            table_of_heads({"ap": noise}), settings=Settings(bootstrap_samples=1000, top_k=3)
        )
        rest = table[(table["compared_with"] == "rest") & (table["n"] == 1)]
        assert rest["overlap"].item() == pytest.approx(rest["chance"].item(), abs=0.35)
        assert rest["chance"].item() == pytest.approx(3 * 3 / 30)

    def test_by_hand(self):
        # Pairs 0 and 1 rank heads 0, 1 first, pair 2 heads 2, 3 and by so much that all do.
        ap = np.array([[2.0, 1, 0, 0], [2, 1, 0, 0], [0, 0, 9, 8]])
        table = sample_sizes.sample_sizes(
            table_of_heads({"ap": ap}), settings=Settings(bootstrap_samples=3000, top_k=2)
        ).set_index(["compared_with", "n"])
        # One pair of three agrees wholly with all of them, the other two not at all.
        assert table.loc[("all", 1), "overlap"] == pytest.approx(2 / 3, abs=0.08)
        # Against the rest: pairs 0 and 1 meet pair 2 in it, pair 2 meets pairs 0 and 1.
        assert table.loc[("rest", 1), "overlap"] == 0
        # Two of three pairs hold pair 2 in two of three cases.
        assert table.loc[("all", 2), "overlap"] == pytest.approx(4 / 3, abs=0.08)
        assert table.loc[("all", 2), ["low", "high"]].tolist() == [0, 2]

    def test_more_pairs_find_more_and_one_template_fewer(self):
        random = np.random.default_rng(4)
        groups = np.repeat(np.arange(6), 12)
        level = np.exp(random.normal(size=60))
        ap = level * (1 + 0.7 * random.normal(size=(6, 60))[groups])
        ap = ap + 0.3 * random.normal(size=ap.shape)
        heads = named(table_of_heads({"ap": ap}), groups)
        settings = Settings(bootstrap_samples=400, top_k=10)
        table = sample_sizes.sample_sizes(heads, settings=settings)
        lines = table.set_index(["drawn_from", "compared_with", "n"])["overlap"].sort_index()
        assert (np.diff(lines["pairs", "all"]) > -0.1).all()
        assert lines["pairs", "all"].iloc[-1] > lines["pairs", "all"].iloc[0] + 1
        assert lines["one_template", "rest", 12] < lines["pairs", "rest", 13] - 0.5
        least = sample_sizes.fewest(table, 0.8)
        assert lines["pairs", "all", least] >= 8
        assert sample_sizes.fewest(table.assign(overlap=0.0), 0.8) is None

    @given(st.integers(1, 9), st.integers(3, 12), st.integers(1, 14), st.integers(0, 99))
    @limits(max_examples=25, deadline=None)
    def test_bounds(self, n_pairs, n_heads, k, seed):
        ap = np.random.default_rng(seed).normal(size=(n_pairs, n_heads))
        found = sample_sizes.sample_sizes(
            table_of_heads({"ap": ap}), settings=Settings(bootstrap_samples=30, top_k=k)
        )
        assert list(found.columns) == list(sample_sizes.COLUMNS)
        if n_pairs == 1:
            assert found["overlap"].isna().all() and (found["note"] != "").all()
            return
        assert ((found["low"] <= found["overlap"]) | (found["overlap"] <= found["k"])).all()
        assert found["overlap"].between(0, min(k, n_heads)).all()
        assert (found["n"] < n_pairs).all() or n_pairs == 2
        rest = found[found["compared_with"] == "rest"]
        assert (2 * rest["n"] <= n_pairs).all()
