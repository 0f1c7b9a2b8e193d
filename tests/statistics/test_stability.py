"""Rankings of heads: how they are compared, and how far they hold."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from counterpoint.statistics import stability as module
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.stability import ranking, stability
from tests.helpers.simulated_heads import table_of_heads

QUICK = Settings(bootstrap_samples=200, permutations=1, top_k=3)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def ranks_of(*orders: list[int]) -> np.ndarray:
    """Places of the heads 0..n-1 in each order, which lists the heads from the first on."""
    return np.argsort(np.array(orders), axis=1) + 1


class TestComparisons:
    def test_rank_positions_put_the_largest_first_and_ties_in_order(self):
        size = np.array([[0.5, 2.0, 0.5, 1.0]])
        assert module.rank_positions(size).tolist() == [[3, 1, 4, 2]]

    def test_jaccard_by_hand(self):
        first, second = ranks_of([0, 1, 2, 3, 4]), ranks_of([0, 4, 1, 2, 3])
        assert module.jaccard(first, second, 1) == 1
        assert module.jaccard(first, second, 2) == pytest.approx(1 / 3)
        assert module.jaccard(first, second, 3) == pytest.approx(2 / 4)

    def test_rank_biased_overlap_by_hand(self):
        # Two heads in opposite order: overlaps 0 and 2, so p^2 + (1 - p)/p (0 + p^2) = p.
        assert module.rank_biased_overlap(ranks_of([0, 1]), ranks_of([1, 0]), 0.8) == (
            pytest.approx(0.8)
        )

    @given(st.permutations(range(7)), st.permutations(range(7)), st.floats(0, 0.98))
    @settings(max_examples=60, deadline=None)
    def test_rank_biased_overlap_is_its_definition(self, left, right, p):
        overlaps = [len(set(left[:d]) & set(right[:d])) for d in range(1, 8)]
        expected = overlaps[-1] / 7 * p**7 + sum(
            (1 - p) * p ** (d - 1) * overlap / d for d, overlap in enumerate(overlaps, start=1)
        )
        found = module.rank_biased_overlap(ranks_of(left), ranks_of(right), p)
        assert found == pytest.approx(expected)
        assert found == pytest.approx(
            module.rank_biased_overlap(ranks_of(right), ranks_of(left), p)
        )
        assert -1e-12 <= found <= 1 + 1e-12
        assert module.rank_biased_overlap(ranks_of(left), ranks_of(left), p) == pytest.approx(1)

    def test_spearman_equals_scipy(self):
        random = np.random.default_rng(0)
        first, second = (module.rank_positions(random.random((1, 30))) for _ in range(2))
        expected = stats.spearmanr(first[0], second[0]).statistic
        assert module.spearman(first, second) == pytest.approx(expected)

    def test_kendall_w_is_its_definition_and_the_mean_spearman(self):
        size = np.random.default_rng(1).random((4, 9))
        ranks = stats.rankdata(size, axis=1)
        spread = ((ranks.sum(axis=0) - ranks.sum(axis=0).mean()) ** 2).sum()
        expected = 12 * spread / (4**2 * (9**3 - 9))
        assert module.kendall_w(size) == pytest.approx(expected)
        rho = stats.spearmanr(size.T).statistic[np.triu_indices(4, 1)].mean()
        assert module.kendall_w(size) == pytest.approx((1 + 3 * rho) / 4)

    def test_chance_is_the_mean_over_random_rankings(self):
        random = np.random.default_rng(2)
        first, second = (module.rank_positions(random.random((4000, 12))) for _ in range(2))
        found = module.jaccard(first, second, 4)
        assert module.chance_jaccard(12, 4) == pytest.approx(found.mean(), abs=0.01)
        found = module.rank_biased_overlap(first, second, 0.75)
        assert module.chance_rank_biased_overlap(12, 0.75) == pytest.approx(found.mean(), abs=0.01)


class TestTable:
    def numbers(self, ap: np.ndarray) -> pd.DataFrame:
        table = stability(table_of_heads({"ap": ap}), scores=["ap"], settings=QUICK)
        return table.set_index(["between", "agreement"])

    def test_equal_rankings_agree_wholly(self):
        ap = np.outer([1.0, 2, 5, 3], np.linspace(-1, 1.5, 12))
        table = self.numbers(ap)
        np.testing.assert_allclose(table[["estimate", "ci_low", "ci_high"]], 1.0)
        assert len(table) == 7

    def test_unrelated_rankings_agree_as_chance_does(self):
        table = self.numbers(np.random.default_rng(3).normal(size=(12, 40))).loc["pairs"]
        assert (table["ci_low"] <= table["chance"]).all()
        assert (table["chance"] <= table["ci_high"]).all()
        # Each ranking took part in the mean that the resampled ones are compared with.
        assert (
            self.numbers(np.random.default_rng(3).normal(size=(12, 40))).loc[
                ("resamples", "spearman"), "estimate"
            ]
            > 0.3
        )

    def test_estimates_by_hand(self):
        ap = np.array([[4.0, -3, 2, 1, 0.5], [4, 1, 2, -3, 0.5], [-4, 3, 2, 1, 0.5]])
        table = self.numbers(ap).loc["pairs"]["estimate"]
        # Top threes: {0,1,2}, {0,3,2}, {0,1,2}: two heads of four shared, twice; all, once.
        assert table["jaccard"] == pytest.approx((0.5 + 0.5 + 1) / 3)
        rho = 1 - 6 * (2**2 + 2**2) / (5 * 24)
        assert table["spearman"] == pytest.approx((1 + 2 * rho) / 3)
        assert table["kendall_w"] == pytest.approx((1 + 2 * table["spearman"]) / 3)

    @given(st.integers(3, 7), st.integers(0, 2**16))
    @settings(max_examples=20, deadline=None)
    def test_the_interval_is_that_of_all_drawn_two(self, n_pairs, seed):
        """Against every two different pairs of every resample, written out."""
        random = np.random.default_rng(seed)
        ranks = module.rank_positions(random.normal(size=(n_pairs, 9)))
        drawn = random.multinomial(n_pairs, np.full(n_pairs, 1 / n_pairs), size=60).astype(float)
        left, right = np.triu_indices(n_pairs, 1)
        matrices = module.agreement_matrices(ranks, 3)
        for name, values in module.agreements(ranks[left], ranks[right], 3).items():
            np.testing.assert_array_equal(matrices[name][left, right], values)
            np.testing.assert_allclose(np.diag(matrices[name]), 1)
            weights = drawn[:, left] * drawn[:, right]
            total = weights.sum(axis=1)
            means = (weights @ values)[total > 0] / total[total > 0]
            widen = module.resampling.widening(n_pairs, 0.95)
            mean = values.mean()
            low, high = module.resampling.percentiles(mean + widen * (means - mean), 0.95)
            found = module.mean_of_two(matrices[name], drawn, Settings(), -9.0)
            assert found == pytest.approx((float(mean), float(low), min(float(high), 1.0)))

    def test_of_many_pairs_some_are_compared(self, monkeypatch):
        ap = np.random.default_rng(6).normal(size=(30, 12)) + np.arange(12)
        whole = self.numbers(ap).loc["pairs"]
        monkeypatch.setattr(module, "COMPARED", 20)
        part = self.numbers(ap).loc["pairs"]
        pd.testing.assert_frame_equal(part, self.numbers(ap).loc["pairs"])
        assert (part["pairs"] == 30).all()
        assert (part["estimate"] != whole["estimate"]).all()
        np.testing.assert_allclose(part["estimate"], whole["estimate"], atol=0.1)
        assert part.loc["kendall_w", "estimate"] == pytest.approx(
            (1 + 19 * part.loc["spearman", "estimate"]) / 20
        )

    def test_one_pair_has_nothing_to_compare(self):
        table = self.numbers(np.arange(6.0)[None])
        assert table["estimate"].isna().all()
        assert table["note"].str.startswith("one pair").all()

    def test_two_pairs_have_no_interval(self):
        table = self.numbers(np.random.default_rng(0).normal(size=(2, 8)))
        assert table["estimate"].notna().all()
        assert table.loc["pairs", "ci_low"].isna().all()

    def test_deterministic(self):
        heads = table_of_heads({"ap": np.random.default_rng(4).normal(size=(4, 10))})
        pd.testing.assert_frame_equal(
            stability(heads, scores=["ap"], settings=QUICK),
            stability(heads.sample(frac=1, random_state=1), scores=["ap"], settings=QUICK),
        )

    def test_missing_score(self):
        heads = table_of_heads({"ap": np.array([[1.0, np.nan, 2], [1, 2, 3]])})
        with pytest.raises(ValueError, match=r"pair 0, head 0\.1"):
            stability(heads, scores=["ap"], settings=QUICK)


class TestRanking:
    def test_by_hand(self):
        ap = np.array([[1.0, -4, 0.0, 2], [3.0, -2, 0.0, 2]])
        heads = table_of_heads(
            {"ap": ap, "output_range_closed": np.where(ap == 0, 1e-6, 5.0)}, layers=2
        )
        found = ranking(heads, "ap", settings=Settings(bootstrap_samples=400, top_k=1))
        assert list(zip(found["layer"], found["head"], strict=True)) == [
            (0, 1),
            (0, 0),
            (1, 1),
            (1, 0),
        ]
        assert found["rank"].tolist() == [1, 2, 3, 4]
        assert found["mean_absolute"].tolist() == [3, 2, 2, 0]
        assert found["mean"].tolist() == [-3, 2, 2, 0]
        assert found["mean_rank"].tolist() == [1.5, 2, 2.5, 4]
        assert found["median_rank"].tolist() == [1.5, 2, 2.5, 4]
        assert found["best_rank"].tolist() == [1, 1, 2, 4]
        assert found["worst_rank"].tolist() == [2, 3, 3, 4]
        assert found["floor_share"].tolist() == [0, 0, 0, 1]
        # Head 0.0 leads when pair 1 alone is drawn, one resample in four.
        assert found["top_k_share"].iloc[1] == pytest.approx(0.25, abs=0.07)
        assert found["top_k_share"].sum() == pytest.approx(1)
        assert (found["ci_low"] <= found["mean_absolute"]).all()
        assert (found["ci_low"] >= 0).all()

    def test_one_pair_has_no_interval(self):
        found = ranking(table_of_heads({"ap": np.arange(5.0)[None]}), "ap", settings=QUICK)
        assert found["rank"].tolist() == [1, 2, 3, 4, 5]
        assert found[["ci_low", "ci_high", "top_k_share"]].isna().all().all()

    def test_derived_scores_and_directions(self):
        ap = np.random.default_rng(5).normal(size=(3, 6))
        heads = pd.concat(
            [table_of_heads({"ap": ap, "ig_joint": 2 * ap}, direction=d) for d in ("a", "b")]
        )
        found = ranking(heads, "disagreement", settings=QUICK)
        assert found["direction"].tolist() == ["a"] * 6 + ["b"] * 6
        top = found[found["rank"] == 1].iloc[0]
        assert top["mean_absolute"] == pytest.approx(np.abs(ap).mean(axis=0).max())
