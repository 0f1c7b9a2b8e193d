"""Studies side by side: shares, overlaps of rankings with a known truth, averages over studies."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from counterpoint.errors import UserError
from counterpoint.statistics.meta_analysis import correlations_across
from counterpoint.statistics.ranking_overlaps import (
    OVERLAP_COLUMNS,
    interval_between,
    overlaps,
    separation_p,
)
from counterpoint.statistics.resampling import Settings, draws
from counterpoint.statistics.stability import stability
from counterpoint.statistics.studies import HEAD_COLUMNS, Study, heads_across, studies_side_by_side
from tests.helpers.simulated_heads import table_of_heads

QUICK = Settings(bootstrap_samples=200, permutations=200, top_k=5)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def study(
    name: str,
    ap: np.ndarray,
    *,
    model: str = "m",
    clean: float = 3.0,
    corrupted: float = -1.0,
    direction: str = "noising",
) -> Study:
    """A study whose heads have the given AP [pair, head]."""
    pairs = len(ap)
    baseline = pd.DataFrame(
        {
            "pair": range(pairs),
            "metric_clean": clean,
            "metric_corrupted": corrupted,
            "correct": [True] * (pairs - 1) + [False],
        }
    )
    heads = table_of_heads({"ap": ap, "output_range_closed": np.abs(ap)}, direction=direction)
    return Study(name, name.title(), model, "logit_difference", heads, baseline)


def scores(seed: int, pairs: int, heads: int = 40, *, task: int = 0, noise: float = 0.3):
    """AP of heads whose sizes belong to the task, with noise from pair to pair."""
    own = np.exp(1.5 * np.random.default_rng(task).standard_normal(heads))
    return own * (1 + noise * np.random.default_rng([1, seed]).standard_normal((pairs, heads)))


class TestHeads:
    def test_shares_are_of_the_whole_change_and_positive_where_a_head_carries(self):
        ap = np.array([[-1.0, 0.5, -0.2]])
        noising = heads_across([study("a", ap)], settings=QUICK)
        assert noising["share"].tolist() == pytest.approx([0.25, -0.125, 0.05])
        denoising = heads_across([study("a", -ap, direction="denoising")], settings=QUICK)
        assert denoising["share"].tolist() == pytest.approx([0.25, -0.125, 0.05])

    def test_no_change_at_all_has_no_shares(self):
        table = heads_across([study("a", np.ones((2, 3)), clean=1, corrupted=1)], settings=QUICK)
        assert table["share"].isna().all()

    def test_counts_studies_of_the_same_model_alone(self):
        ap = np.array([[3.0, 2.0, 1.0, 0.5]])
        few = Settings(bootstrap_samples=20, permutations=1, top_k=1)
        table = heads_across(
            [study("a", ap), study("b", ap), study("c", ap[:, ::-1]), study("d", ap, model="n")],
            settings=few,
        )
        counted = table.drop_duplicates(["model", "head"]).set_index(["model", "head"])
        assert counted["studies_in_top_k"].tolist() == [2, 0, 0, 1, 1, 0, 0, 0]
        assert counted["studies"].tolist() == [3] * 4 + [1] * 4
        assert list(table["study"][:3]) == ["a", "b", "c"]
        assert list(table.columns) == list(HEAD_COLUMNS)


class TestOverlaps:
    def test_tasks_with_other_heads_are_told_from_one_task_split_in_two(self):
        studies = [
            study("one", scores(0, 8)),
            study("again", scores(1, 8)),
            study("other", scores(2, 8, task=1)),
        ]
        table = overlaps(studies, settings=QUICK, scores=["ap"])
        assert list(table.columns) == list(OVERLAP_COLUMNS)
        pairs = table[(table["of"] == "pairs") & (table["agreement"] == "rank_biased_overlap")]
        pairs = pairs.set_index(["first", "second"])
        assert pairs.loc[("one", "again"), "p_permutation"] > 0.05
        assert pairs.loc[("one", "other"), "p_permutation"] < 0.01
        assert pairs.loc[("one", "other"), "p_adjusted"] < 0.05
        assert pairs.loc[("one", "other"), "ci_high"] < pairs.loc[("one", "one"), "ci_low"]
        whole = table[(table["of"] == "studies")].set_index(["first", "second", "agreement"])
        assert whole.loc[("one", "again", "jaccard"), "estimate"] > 0.6
        assert whole.loc[("one", "other", "spearman"), "estimate"] < 0.5

    def test_within_a_study_they_are_the_stability(self):
        one = study("one", scores(0, 6))
        found = overlaps([one, study("two", scores(1, 6))], settings=QUICK, scores=["ap"])
        own = found[(found["first"] == "one") & (found["second"] == "one")]
        expected = stability(one.heads, scores=["ap"], settings=QUICK)
        expected = expected[expected["between"] == "pairs"].set_index("agreement")
        for row in own.itertuples():
            assert row.estimate == pytest.approx(expected.loc[row.agreement, "estimate"])
            assert row.chance == pytest.approx(expected.loc[row.agreement, "chance"])

    def test_between_by_hand(self):
        first = study("a", np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]]))
        second = study("b", np.array([[3.0, 1.0, 2.0]]))
        few = Settings(bootstrap_samples=20, permutations=20, top_k=1)
        table = overlaps([first, second], settings=few, scores=["ap"])
        row = table[(table["second"] == "b") & (table["agreement"] == "jaccard")]
        row = row[(row["first"] == "a") & (row["of"] == "pairs")].iloc[0]
        assert row["estimate"] == 0.5
        assert np.isnan(row["ci_low"]) and np.isnan(row["p_permutation"])
        assert "one pair" in row["note"]

    def test_models_and_directions_are_kept_apart(self):
        ap = scores(0, 3)
        table = overlaps(
            [study("a", ap), study("b", ap, model="n"), study("c", ap, direction="denoising")],
            settings=QUICK,
        )
        assert table.empty and list(table.columns) == list(OVERLAP_COLUMNS)

    def test_the_same_seed_gives_the_same_table(self):
        studies = [study("a", scores(0, 4)), study("b", scores(1, 4))]
        one, two = (overlaps(studies, settings=QUICK) for _ in range(2))
        pd.testing.assert_frame_equal(one, two)

    def test_other_weights_under_the_same_name_are_refused(self):
        with pytest.raises(UserError, match=r"different numbers of heads \(a has 40, b has 39\)"):
            overlaps([study("a", scores(0, 2)), study("b", scores(0, 2, 39))], settings=QUICK)

    def test_p_is_uniform_when_the_studies_are_one_population(self):
        p = []
        for seed in range(200):
            random = np.random.default_rng(seed)
            position = random.standard_normal(10)
            matrix = np.exp(-np.abs(position[:, None] - position[None]))
            p.append(separation_p(matrix, 5, random, 99))
        assert abs(np.mean(p) - 0.5) < 0.06
        assert np.mean(np.array(p) <= 0.1) < 0.16

    def test_separation_by_hand(self):
        # Two groups of two: of the three ways to split four pairs in two, one is the true one.
        matrix = np.full((4, 4), 0.1)
        matrix[:2, :2] = matrix[2:, 2:] = 0.9
        p = separation_p(matrix, 2, np.random.default_rng(0), 3000)
        assert p == pytest.approx(1 / 3, abs=0.03)

    def test_intervals_between_cover_at_their_rate(self):
        """The table of agreements of 8 and 6 pairs, with effects of rows, columns and cells."""
        covered, times = 0, 300
        for seed in range(times):
            random = np.random.default_rng(seed)
            rows, columns = random.standard_normal(8), random.standard_normal(6)
            values = 0.3 + rows[:, None] + 0.7 * columns + 0.5 * random.standard_normal((8, 6))
            low, high = interval_between(values, draws(random, 400, 8), draws(random, 400, 6), 0.95)
            covered += low <= 0.3 <= high
        assert 0.91 <= covered / times <= 0.99


class TestAverages:
    def table(self, estimate: float, half: float, score: str = "ap") -> pd.DataFrame:
        return pd.DataFrame(
            {
                "scope": ["study", "pair"],
                "direction": "noising",
                "measure": "output_range",
                "score": score,
                "method": "pearson",
                "estimate": [estimate, 0.0],
                "ci_low": [estimate - half, 0.0],
                "ci_high": [estimate + half, 0.0],
            }
        )

    def test_equal_studies_average_to_themselves(self):
        found = correlations_across({name: self.table(0.5, 0.1) for name in "abc"}).iloc[0]
        assert found["estimate"] == pytest.approx(0.5)
        assert (found["studies"], found["above_zero"], found["below_zero"]) == (3, 3, 0)
        assert found["ci_low"] < 0.5 < found["ci_high"]

    def test_studies_that_differ_widen_the_interval(self):
        found = correlations_across(
            {"a": self.table(0.9, 0.02), "b": self.table(-0.2, 0.02), "c": self.table(0.1, 0.02)}
        ).iloc[0]
        assert found["ci_high"] - found["ci_low"] > 1
        assert (found["lowest"], found["highest"]) == (-0.2, 0.9)
        assert found["heterogeneity"] > 0.9
        assert (found["above_zero"], found["below_zero"]) == (2, 1)

    def test_undefined_ones_do_not_count(self):
        undefined = self.table(0.5, 0.1).assign(estimate=np.nan)
        found = correlations_across({"a": self.table(0.5, 0.1), "b": undefined})
        assert found["studies"].tolist() == [1]

    def test_a_study_is_one_row(self):
        ap = scores(0, 4)
        table = studies_side_by_side([study("a", ap), study("b", ap)], settings=QUICK)
        assert table["accuracy"].tolist() == [0.75, 0.75]
        assert table["right"].tolist() == [3, 3]
        assert (table["heads"] == 40).all() and (table["at_floor"] == 0).all()
