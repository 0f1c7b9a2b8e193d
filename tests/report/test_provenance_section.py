"""The steps of a study stand in order of cost, with their sum and shares."""

from __future__ import annotations

from dataclasses import replace

import pytest

from counterpoint import report
from tests.helpers.page_tables import Shown
from tests.helpers.synthetic import Shape, write_study

STEPS = {
    "merge_scores": {"jobs": 1, "seconds": 0.5, "memory_mb": 0.0},
    "compute_curves": {"jobs": 3, "seconds": 70.25, "memory_mb": 812.4},
    "search_counterfactuals": {"jobs": 12, "seconds": 29.25, "memory_mb": 1500.0},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = write_study(tmp_path_factory.mktemp("steps"), Shape(pairs=1, layers=1, heads=2))
    return report.load_results("s", folder, {"model": "m"})


def steps_of(results: report.Results, **record):
    page = Shown(report.provenance(replace(results, provenance=record)))
    return [table for table in page.tables if table.header[0] == "step"], page


def test_steps_stand_in_order_of_cost_with_total_and_share(results) -> None:
    (table,), _ = steps_of(results, durations=STEPS)
    assert table.header == ["step", "jobs", "seconds", "% of all", "peak memory, MB"]
    assert table.rows == [
        ["compute curves", "3", "70.2", "70.2", "812"],
        ["search counterfactuals", "12", "29.2", "29.2", "1500"],
        ["merge scores", "1", "0.5", "0.5", "—"],
        ["all steps", "16", "100.0", "100.0", "1500"],
    ]
    assert "order of cost" in table.caption
    assert 'id="durations"' in report.provenance(replace(results, provenance={"durations": STEPS}))


def test_two_measurements_have_two_tables(results) -> None:
    tables, page = steps_of(
        results, durations=STEPS, durations_without_bos={"a_b": STEPS["merge_scores"]}
    )
    assert [table.rows[-1][2] for table in tables] == ["100.0", "0.5"]
    assert "durations_without_bos" not in page.prose


def test_records_of_seconds_alone_and_of_no_time(results) -> None:
    (table,), _ = steps_of(results, durations={"curves": 12.5})
    assert table.rows == [
        ["curves", "—", "12.5", "100.0", "—"],
        ["all steps", "—", "12.5", "100.0", "—"],
    ]
    (table,), _ = steps_of(
        results, durations={"quick": {"jobs": 1, "seconds": 0.0, "memory_mb": 0}}
    )
    assert table.rows[-1] == ["all steps", "1", "0.0", "—", "—"]
    assert not steps_of(results, durations={})[0]
