"""Saturation: one share of the largest slope, whatever path is looked at."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from counterpoint.measures import saturation as module
from counterpoint.measures.saturation import CELLS, JOINT_CELLS, SHARE, saturated, saturation

MEASURES = Path(module.__file__).parent


def test_a_ramp_is_saturated_as_far_as_the_share() -> None:
    found = saturation(np.stack([CELLS, 2 - CELLS]), np.ones(2))
    assert found == pytest.approx([SHARE, 0], abs=1 / len(CELLS))


def test_a_constant_curve_is_saturated_throughout() -> None:
    assert saturation(np.zeros((1, len(CELLS))), np.zeros(1)) == [1.0]


def test_paths_of_any_shape_are_judged_each_by_its_own_largest_slope() -> None:
    steep = np.array([[[1.0, 0.06, 0.04]], [[100.0, 6.0, 4.0]]])
    assert (saturated(steep) == [[[False, False, True]], [[False, False, True]]]).all()


@given(arrays(float, (2, 40), elements=st.floats(0, 1e6)), st.floats(1e-3, 1e3))
def test_the_unit_of_the_metric_changes_nothing(sizes: np.ndarray, unit: float) -> None:
    # Away from the threshold, where rounding decides.
    near = np.isclose(sizes, SHARE * sizes.max(1, keepdims=True), rtol=1e-9)
    assert (saturated(sizes) == saturated(sizes * unit))[~near].all()


def test_cells_lie_inside_the_path() -> None:
    for cells in (CELLS, JOINT_CELLS):
        assert np.diff(cells) == pytest.approx(1 / len(cells))
        assert cells[0] == pytest.approx(1 / (2 * len(cells)))


def test_no_other_measure_has_a_share_of_its_own() -> None:
    """The number of `SHARE` stands in no other module of the measures."""
    others = [
        path.name
        for path in MEASURES.rglob("*.py")
        if path.stem != "saturation"
        and any(
            isinstance(node, ast.Constant) and node.value == SHARE
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert others == []
