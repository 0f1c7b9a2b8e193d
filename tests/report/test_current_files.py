"""What an earlier configuration has left in a study's folder is told from what is of this one."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

import pytest

from counterpoint.report import current_files
from counterpoint.workflow.provenance import collect
from counterpoint.workflow.schema import complete


def small_study(**changes: Any) -> dict[str, Any]:
    study = complete({"studies": {"small": {"pairs": "small.csv", **changes}}})["studies"]["small"]
    return dict(study)


SEARCHES = {"targets": [[1, 2]], "methods": ["descent"], "seeds": [0, 3]}
BENCHMARKS = {
    "merge_scores": True,
    "compute_curves/0": True,
    "compute_curves/1": True,
    "compute_curves/2": False,
    "compute_mlp_curves/0": False,
    "merge_mlps": False,
    "measure_roles/0": False,
    "merge_roles": False,
    "record_patterns": False,
    "patch_positions/0": False,
    "merge_positions": False,
    "compare_beginnings": False,
    "score_baselines/0": False,
    "compare_scores": False,
    "measure_answers": False,
    "search_atlas/atlas.0": False,
    "search_counterfactuals/1.2.descent.0": True,
    "search_counterfactuals/1.2.descent.3": True,
    "search_counterfactuals/1.2.descent.1": False,
    "search_counterfactuals/1.2.random_swaps.0": False,
    "search_counterfactuals/0.2.descent.0": False,
    "merge_searches/1.2.descent": True,
    "merge_searches/1.2.fluent": False,
    "validate_counterfactuals/1.2.descent": True,
    "validate_counterfactuals/1.2.fluent": False,
    "validate_counterfactuals/2.1.descent": False,
    "merge_validations/1.2": True,
    "merge_validations/2.1": False,
}


def test_durations_are_those_of_this_configuration(tmp_path: Path) -> None:
    for name in BENCHMARKS:
        path = tmp_path / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("s\tmax_rss\n1.0\t7\n")
    for name in ("model", "beginning"):
        (tmp_path / f"{name}.json").write_text("{}")

    def found(settings: dict[str, Any], shards: int | None) -> dict[str, int]:
        record = collect(
            "small",
            settings,
            model_provenance=tmp_path / "model.json",
            benchmarks=tmp_path / "benchmarks",
            checkout=tmp_path,
            beginning=tmp_path / "beginning.json",
            shards=shards,
        )
        return {rule: int(entry["jobs"]) for rule, entry in record["durations"].items()}

    expected: dict[str, int] = {}
    for name, counts in BENCHMARKS.items():
        rule = name.split("/")[0]
        expected[rule] = expected.get(rule, 0) + counts
    kept = {rule: jobs for rule, jobs in expected.items() if jobs}
    assert found(small_study(counterfactuals=SEARCHES), 2) == kept
    # A notebook by hand, which is given no settings, counts all.
    everything = sum(found({"device": "cpu"}, None).values())
    assert everything == len(BENCHMARKS)


@pytest.mark.parametrize("wanted", [{"top": 1}, {"random": 2}])
def test_heads_that_the_settings_do_not_name_are_read(tmp_path: Path, wanted: Any) -> None:
    settings = small_study(counterfactuals={"targets": wanted})
    assert current_files.targets(tmp_path, settings) is None
    (tmp_path / "counterfactuals").mkdir()
    (tmp_path / "counterfactuals" / "targets.json").write_text(json.dumps([[0, 1], [2, 3]]))
    assert current_files.targets(tmp_path, settings) == {(0, 1), (2, 3)}
    search = PurePath("search_counterfactuals", "0.1.fluent.0.tsv")
    assert current_files.is_current(search, settings, 1, {(0, 1)})
    assert not current_files.is_current(search, settings, 1, {(2, 3)})
    assert current_files.is_current(search, settings, 1, None)
