"""Areas equal hand calculation; faithfulness is a ratio of means; intervals over pairs."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.statistics import circuit_areas
from counterpoint.statistics.circuit_areas import SHARES
from counterpoint.statistics.resampling import Settings

FEW = Settings(bootstrap_samples=400)


def test_sizes_round_down_as_the_benchmark_does() -> None:
    # SmolLM2's 301 nodes: none at the two smallest shares; GPT-2's 157.
    assert circuit_areas.sizes(301).tolist() == [0, 0, 1, 3, 6, 15, 30, 60, 150, 301]
    assert circuit_areas.sizes(157).tolist() == [0, 0, 0, 1, 3, 7, 15, 31, 78, 157]


def test_areas_equal_a_calculation_by_hand() -> None:
    full, empty = np.array([2.0, 4.0]), np.array([0.0, -2.0])
    heights = np.array([0, 0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.5, 1.5, 1.0])
    metric = empty + np.outer(heights, full - empty)
    found = circuit_areas.areas(metric, full, empty, FEW)
    # Trapezoids by hand: (0.002-0.001)*0 + 0.003*0.25 + (0.05-0.005)*0.5 + 0.05*0.75
    # + 0.1*1.25 + 0.3*1.5 + 0.5*1.25
    cpr = 0.003 * 0.25 + 0.045 * 0.5 + 0.05 * 0.75 + 0.1 * 1.25 + 0.3 * 1.5 + 0.5 * 1.25
    cmd = 0.001 * 1 + 0.003 * 0.75 + 0.045 * 0.5 + 0.05 * 0.25 + 0.1 * 0.25 + 0.3 * 0.5 + 0.5 * 0.25
    assert found["cpr"].estimate == pytest.approx(cpr)
    assert found["cmd"].estimate == pytest.approx(cmd)
    # Pairs agree wholly, so nothing depends on which are drawn.
    assert found["cpr"].low == pytest.approx(cpr) and found["cpr"].high == pytest.approx(cpr)


def test_the_best_areas() -> None:
    every = np.ones(len(SHARES))
    assert circuit_areas.circuit_performance_ratio(every) == pytest.approx(0.999)
    assert circuit_areas.circuit_model_distance(every) == 0


def test_faithfulness_is_a_ratio_of_means() -> None:
    full, empty = np.array([1.0, 10.0]), np.array([0.0, 0.0])
    found = circuit_areas.faithfulness(np.array([[1.0, 0.0], [0.0, 10.0]]), full, empty, FEW)
    assert found.estimate == pytest.approx([1 / 11, 10 / 11])
    assert (found.low <= found.estimate).all() and (found.high >= found.estimate).all()


def test_one_pair_has_no_interval_and_no_change_no_faithfulness() -> None:
    one = circuit_areas.faithfulness(np.array([[1.0]]), np.array([2.0]), np.array([0.0]), FEW)
    assert one.estimate == pytest.approx([0.5]) and np.isnan(one.low).all()
    same = np.array([1.0, 2.0])
    none = circuit_areas.faithfulness(np.array([[1.0, 3.0]]), same, same, FEW)
    assert np.isnan(none.estimate).all()


def test_intervals_cover_the_truth() -> None:
    """95 % intervals of 10 pairs, over 200 draws of pairs."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        whole = random.normal(5, 1, 10)
        share = random.normal(0.6, 0.2, 10)
        found = circuit_areas.faithfulness((share * whole)[None], whole, np.zeros(10), FEW)
        covered += bool(found.low[0] <= 0.6 <= found.high[0])
    assert covered >= 180
