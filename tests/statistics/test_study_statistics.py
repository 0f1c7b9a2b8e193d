"""Statistics of many pairs: sums of any parts, samples, and the plain computation of all."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.synthetic_study import Shape, tables
from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_table
from counterpoint.files.tables_of_pairs import TableOfPairs, blocks_of_pairs
from counterpoint.statistics import coefficients, disagreement, resampling
from counterpoint.statistics.claims import claims
from counterpoint.statistics.correlations import correlations
from counterpoint.statistics.drawn_coefficients import KendallWeights, drawn, spearman_matrix
from counterpoint.statistics.means_over_pairs import DrawnPairs, MeansOverPairs
from counterpoint.statistics.pair_coefficients import pair_coefficients
from counterpoint.statistics.pair_disagreement import NUMBERS, PairDisagreement
from counterpoint.statistics.panel import panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.sample_sizes import sample_sizes
from counterpoint.statistics.sampled_pairs import ranked, ranked_rows, sampled
from counterpoint.statistics.stability import stability
from counterpoint.statistics.study_statistics import Part, StudyPairs, study_statistics
from counterpoint.statistics.templates import of_pairs, with_templates
from counterpoint.statistics.variance_components import variance_components
from tests.helpers.plain_statistics import NUMBERS as PLAIN_NUMBERS
from tests.helpers.plain_statistics import plain_claims, plain_correlations

QUICK = Settings(bootstrap_samples=40, permutations=40)
LAYERS = np.repeat([0, 1, 2], 3)
COLUMNS = arrays.arrays(float, (4, 9), elements=st.integers(-3, 3).map(float))
TIMES = arrays.arrays(int, (5, 9), elements=st.integers(0, 3))


def close(found, expected):
    np.testing.assert_allclose(
        np.asarray(found, float), np.asarray(expected, float), rtol=0, atol=1e-9
    )


def study(pairs: int = 6, templates: int = 0, gaps: bool = False) -> dict[str, pd.DataFrame]:
    """A made-up study of 4 layers of 3 heads, some of whose columns are alike or have gaps."""
    made = tables(Shape(pairs, 4, 3, templates=templates))
    heads = made["heads"]
    if gaps:
        heads.loc[heads["pair"] == 1, "saturation"] = 0.25
        heads.loc[(heads["pair"] == 2) & (heads["head"] == 0), "monotonicity"] = np.nan
        heads.loc[(heads["pair"] == 3) & (heads["layer"] > 0), "output_range_closed"] = 0.0
    made["heads"] = with_templates(heads, made["pairs"])
    return made


class TestManyResamples:
    @pytest.mark.parametrize("method", ["pearson", "spearman"])
    @given(columns=COLUMNS, times=TIMES, layers=st.permutations(LAYERS.tolist()))
    @settings(max_examples=60, deadline=None)
    def test_equal_the_coefficients_one_by_one(self, method, columns, times, layers):
        x, y, groups = columns[:2], columns[2:], np.array(layers)
        plain, within = drawn(method, x, y, times.astype(float), groups)
        close(plain, coefficients.coefficients(method, x, y, times))
        close(within, coefficients.coefficients(method, x, y, times, groups))

    @given(columns=COLUMNS, times=TIMES)
    @settings(max_examples=30, deadline=None)
    def test_every_two_columns_by_ranks(self, columns, times):
        expected = coefficients.coefficients("spearman", columns, columns, times)
        close(spearman_matrix(columns, times.astype(float)), expected)

    def test_one_large_head_that_is_not_drawn_costs_no_digits(self):
        random = np.random.default_rng(0)
        columns = random.normal(size=(4, 9))
        columns[:, 0] = 1e9
        times = random.integers(0, 3, (50, 9)).astype(float)
        times[::2, 0] = 0
        plain, within = drawn("pearson", columns[:2], columns[2:], times, LAYERS)
        both = columns[:2], columns[2:], times
        close(plain, coefficients.coefficients("pearson", *both))
        close(within, coefficients.coefficients("pearson", *both, LAYERS))

    def test_neighbouring_numbers_keep_their_order(self):
        x = 0.49 + np.arange(9)[None] * np.spacing(0.49)
        x[0, -1] = 0.9
        y = np.random.default_rng(2).normal(size=(1, 9))
        times = np.ones((1, 9))
        assert (np.diff(x[0] / x.max()) == 0).any()
        close(
            drawn("spearman", x, y, times, LAYERS)[0],
            coefficients.coefficients("spearman", x, y, times),
        )

    def test_more_weights_than_single_precision_holds(self):
        random = np.random.default_rng(1)
        columns, times = random.normal(size=(4, 9)), random.integers(0, 2000, (8, 9))
        plain, _ = drawn("spearman", columns[:2], columns[2:], times.astype(float), LAYERS)
        close(plain, coefficients.coefficients("spearman", columns[:2], columns[2:], times))

    @given(
        columns=arrays.arrays(float, (3, 4, 9), elements=st.integers(-3, 3).map(float)),
        keep=arrays.arrays(bool, (3, 9)),
        times=TIMES,
    )
    @settings(max_examples=40, deadline=None)
    def test_kendall_of_several_pairs(self, columns, keep, times):
        found = KendallWeights(times.astype(float), LAYERS).of_pairs(
            columns[:, :2], columns[:, 2:], keep
        )
        for pair, kept in enumerate(keep):
            part = columns[pair][:2, kept], columns[pair][2:, kept], times[:, kept].astype(float)
            close(found[0][pair], coefficients.coefficients("kendall", *part))
            close(found[1][pair], coefficients.coefficients("kendall", *part, LAYERS[kept]))


class TestEveryPair:
    @pytest.mark.parametrize("method", ["pearson", "spearman"])
    @given(
        columns=arrays.arrays(
            float, (4, 4, 9), elements=st.one_of(st.integers(-3, 3).map(float), st.just(np.nan))
        ),
        keep=arrays.arrays(bool, (4, 9)),
    )
    @settings(max_examples=60, deadline=None)
    def test_equals_the_coefficients_of_one_pair(self, method, columns, keep):
        x, y = columns[:, :2], columns[:, 2:]
        plain, within = pair_coefficients(method, x, y, keep, LAYERS)
        for pair, i, j in np.ndindex(plain.shape):
            kept = keep[pair] & np.isfinite(x[pair, i]) & np.isfinite(y[pair, j])
            if kept.sum() < 4:
                assert math.isnan(plain[pair, i, j])
                continue
            part = x[pair, i : i + 1, kept].T, y[pair, j : j + 1, kept].T, np.ones((1, kept.sum()))
            close(plain[pair, i, j], coefficients.coefficients(method, *part)[0, 0, 0])
            close(
                within[pair, i, j], coefficients.coefficients(method, *part, LAYERS[kept])[0, 0, 0]
            )

    def test_numbers_of_claims_equal_those_of_one_pair(self):
        heads = study()["heads"]
        data = panel(heads, "noising", disagreement.USED, 1e-4)
        keep = ~data.at_floor
        found = PairDisagreement.of(data, keep)
        for pair, kept in enumerate(keep):
            values = {name: data.columns[name][pair, kept] for name in disagreement.USED}
            expected = disagreement._in_pair(values, np.ones((1, kept.sum())))
            assert list(expected) and set(expected) == set(NUMBERS)
            own = found.values[pair]  # noqa: PD011 - no DataFrame
            close(own, [expected[name][0] for name in NUMBERS])


class TestMeans:
    @given(
        values=arrays.arrays(
            float, (7, 2), elements=st.one_of(st.floats(-1, 1), st.just(float("nan")))
        ),
        labels=st.lists(st.integers(0, 3), min_size=7, max_size=7),
        first=arrays.arrays(bool, 7),
    )
    @settings(max_examples=60, deadline=None)
    def test_the_interval_is_that_of_all_pairs_at_once(self, values, labels, first):
        names = np.unique(labels, return_inverse=True)[1]
        pairs = DrawnPairs.of(np.arange(7), names)
        parts = [pairs.sums(pairs.pairs[some], values[some], QUICK) for some in (first, ~first)]
        together = parts[0].plus(parts[1])
        found = together.interval(None, together.draws(np.random.default_rng(0), 40), 0.95)
        draws = resampling.draws(np.random.default_rng(0), 40, 7, names)
        expected = resampling.study_interval(values, None, draws, 0.95, clusters=names)
        for name in ("estimate", "low", "high"):
            close(getattr(found, name), getattr(expected, name))

    def test_the_mean_of_very_many_is_normal(self):
        values = np.random.default_rng(0).exponential(size=(3000, 1))
        labels = np.arange(3000)
        many = MeansOverPairs.of_labels(values, labels, Settings(ranked_pairs=2999))
        few = MeansOverPairs.of_labels(values, labels, Settings(ranked_pairs=3000))
        assert many.total.shape == (1, 1)
        assert few.total.shape == (3000, 1)
        widths = []
        for means in (many, few):
            interval = means.interval(None, means.draws(np.random.default_rng(1), 4000), 0.95)
            close(interval.estimate, values.mean(axis=0))
            widths.append(float(interval.high[0] - interval.low[0]))
        assert widths[0] == pytest.approx(widths[1], rel=0.06)


class TestPlainComputation:
    @pytest.mark.parametrize("templates", [0, 5])
    @pytest.mark.parametrize("include_floor", [False, True])
    def test_correlations_equal_it(self, templates, include_floor):
        chosen = Settings(
            bootstrap_samples=10, permutations=10, include_floor=include_floor, floor=2e-3
        )
        heads = study(7 if templates else 4, templates, gaps=True)["heads"]
        expected = plain_correlations(heads, chosen)
        found = correlations(heads, settings=chosen)
        keys = ["scope", "pair", "direction", "measure", "score", "method"]
        both = found.merge(expected.astype({"pair": "Int64"}), on=keys, suffixes=("", "_plain"))
        assert len(both) == len(found) == len(expected)
        for name in PLAIN_NUMBERS:
            close(both[name], both[f"{name}_plain"])
        assert both["estimate"].notna().any()
        assert both["estimate"].isna().any()

    @pytest.mark.parametrize("templates", [0, 5])
    def test_claims_equal_it(self, templates):
        heads = study(7, templates, gaps=True)["heads"]
        found = claims(heads, settings=QUICK)
        for direction in ("noising", "denoising"):
            expected = plain_claims(heads, direction, QUICK)
            own = found[found["direction"] == direction].set_index("quantity").loc[expected.index]
            for name in expected.columns:
                close(own[name], expected[name])


def streamed(made: dict[str, pd.DataFrame], blocks: list[list[int]], chosen: Settings):
    """The tables of a study whose pairs come in blocks."""
    numbers = np.unique(made["heads"]["pair"])
    heads = made["heads"]
    rows = ranked_rows(heads, chosen)
    whole = StudyPairs.of(numbers, rows, of_pairs(made["pairs"], numbers), chosen)

    def part(pairs: list[int]) -> Part:
        names = ("heads", "faithfulness", "interaction")
        return Part(*(made[name][made[name]["pair"].isin(pairs)] for name in names))

    return study_statistics((part(block) for block in blocks), whole, chosen)


def of_tables(made: dict[str, pd.DataFrame], chosen: Settings) -> dict[str, pd.DataFrame]:
    """The same by the functions of single tables."""
    heads = made["heads"]
    return {
        "correlations": correlations(heads, settings=chosen),
        "claims": claims(heads, made["faithfulness"], made["interaction"], settings=chosen),
        "stability": stability(heads, settings=chosen),
        "sample_sizes": sample_sizes(heads, settings=chosen),
        "variance": variance_components(heads, settings=chosen),
    }


def assert_equal(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    assert list(found) == list(expected)
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, rtol=0, atol=1e-9, obj=name)


class TestParts:
    @given(marks=st.lists(st.integers(0, 3), min_size=5, max_size=5), turn=st.randoms())
    @settings(max_examples=5, deadline=None)
    def test_any_split_gives_the_same(self, marks, turn):
        made = study(5, gaps=True)
        blocks = [[pair for pair in range(5) if marks[pair] == mark] for mark in set(marks)]
        turn.shuffle(blocks)
        chosen = Settings(bootstrap_samples=10, permutations=10)
        assert_equal(streamed(made, blocks, chosen), of_tables(made, chosen))

    def test_templates_may_lie_in_several_parts(self):
        made = study(7, 5)
        chosen = Settings(bootstrap_samples=10, permutations=10)
        assert_equal(streamed(made, [[0, 1, 6], [2, 3], [4, 5]], chosen), of_tables(made, chosen))

    def test_the_sums_of_normal_means_do_too(self):
        made = study(9)
        chosen = Settings(bootstrap_samples=12, permutations=12, sampled_pairs=3, ranked_pairs=5)
        once = streamed(made, [list(range(9))], chosen)
        assert_equal(streamed(made, [[4, 8], [0, 1, 2, 3], [5, 6, 7]], chosen), once)
        assert set(once["stability"]["pairs"]) == {5}
        assert set(once["variance"]["n_pairs"]) == {5}

    def test_no_part_is_told(self):
        made = study(3)
        with pytest.raises(UserError, match="no rows"):
            streamed(made, [], QUICK)


class TestSample:
    def test_what_is_read_from_it_and_what_is_not(self):
        heads = study(9)["heads"]
        chosen = Settings(bootstrap_samples=40, permutations=40, sampled_pairs=4)
        some, all_pairs = correlations(heads, settings=chosen), correlations(heads, settings=QUICK)
        assert set(some["pair"].dropna()) == set(sampled(range(9), chosen))
        keys = ["direction", "measure", "score", "method"]
        one, other = (
            table[table["scope"] == "study"].set_index(keys) for table in (some, all_pairs)
        )
        sums = one.index.get_level_values("method") != "kendall"
        close(one["estimate"][sums], other["estimate"][sums])
        assert (one["pairs"][sums] == other["pairs"][sums]).all()
        assert set(one["pairs"][sums]) >= {9}
        assert one["pairs"][~sums].max() == 4
        own = some[(some["scope"] == "pair") & (some["method"] == "kendall")]
        mean = own.groupby(keys)["estimate"].mean()
        close(one["estimate"][~sums], mean.reindex(one.index[~sums]))
        # Those of single pairs are what they are without a sample.
        both = some[some["scope"] == "pair"].merge(all_pairs, on=["scope", "pair", *keys])
        close(both["ci_low_x"], both["ci_low_y"])

    def test_drawn_by_the_seed_and_one_within_the_other(self):
        chosen = Settings(sampled_pairs=5, ranked_pairs=20)
        first, second = sampled(range(100), chosen), ranked(range(100), chosen)
        assert (len(first), len(second)) == (5, 20)
        assert set(first) < set(second)
        assert list(first) == sorted(first)
        assert list(sampled(range(99, -1, -1), chosen)) == list(first)
        other = Settings(sampled_pairs=5, ranked_pairs=20, seed=1)
        assert list(sampled(range(100), other)) != list(first)
        assert list(sampled(range(4), chosen)) == [0, 1, 2, 3]

    def test_more_are_sampled_than_ranked_is_refused(self):
        with pytest.raises(UserError, match="ranked_pairs is 5; give at least sampled_pairs"):
            Settings(sampled_pairs=6, ranked_pairs=5)


class TestTablesOfPairs:
    def test_a_file_and_a_folder_read_like_pandas(self, tmp_path):
        heads = tables(Shape(12, 4, 3))["heads"]
        write_table(heads, tmp_path / "heads.parquet")
        for start in range(0, 12, 5):
            part = heads[heads["pair"].between(start, start + 4)]
            write_table(part, tmp_path / "parts" / f"{start:06}.parquet")
        for path in (tmp_path / "heads.parquet", tmp_path / "parts"):
            table = TableOfPairs(path)
            assert list(table.pairs()) == list(range(12))
            assert table.rows() == len(heads)
            expected = heads[heads["pair"].between(3, 6)].reset_index(drop=True)
            pd.testing.assert_frame_equal(table.between(3, 6), expected)
            expected = heads[heads["pair"].isin([2, 7])].reset_index(drop=True)
            pd.testing.assert_frame_equal(table.of_pairs([7, 2]), expected)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "parts"), heads)
        some = TableOfPairs(tmp_path / "parts").columns(["pair", "template", "ap"])
        pd.testing.assert_frame_equal(some, heads[["pair", "ap"]])

    @given(pairs=st.lists(st.integers(0, 200), min_size=1, unique=True), size=st.integers(1, 50))
    @settings(max_examples=40, deadline=None)
    def test_blocks_hold_every_pair_once(self, pairs, size):
        numbers = np.sort(pairs)
        blocks = list(blocks_of_pairs(numbers, 3 * len(pairs), size))
        held = [pair for low, high in blocks for pair in numbers if low <= pair <= high]
        assert held == list(numbers)
        assert all(
            3 * sum(low <= pair <= high for pair in numbers) <= max(size, 3) for low, high in blocks
        )
