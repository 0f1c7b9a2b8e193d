"""The pipeline's benchmark: what it reads, what it leaves out, how it goes on, and a small run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pipeline
from counterpoint.errors import UserError
from counterpoint.workflow.config import resolve
from tests.helpers import small_study


def write_job(folder: Path, rule: str, name: str, seconds: float, end: float) -> None:
    path = folder / rule / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t-\n", encoding="utf-8")
    os.utime(path, (end, end))


def test_a_rules_span_is_from_its_first_start_to_its_last_end(tmp_path: Path) -> None:
    write_job(tmp_path, "search", "one", 30.0, 1030.0)
    write_job(tmp_path, "search", "two", 20.0, 1025.0)
    write_job(tmp_path, "merge", "all", 2.0, 1040.0)
    found = pipeline.rules_of(tmp_path)
    assert found["search"] == pipeline.Rule(2, 50.0, 30.0)
    assert found["merge"] == pipeline.Rule(1, 2.0, 2.0)


def run(seconds: float, **rules: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "rate": 2e11,
        "date": "2026-12-01T00:00:00+00:00",
        "rules": {name: {"jobs": 1, "seconds": s, "span": s} for name, s in rules.items()},
    }


OLD_RULES = {
    "compute_curves": 100.0,
    "measure_faithfulness": 60.0,
    "find_partners": 40.0,
    "integrate_gradients": 60.0,
    "gone": 7.0,
}


def kept(*new: float) -> dict[str, Any]:
    turns = [
        {
            "old": run(800.0, **OLD_RULES),
            "same": run(800 / r, **{n: s / r for n, s in OLD_RULES.items() if n != "gone"}),
            "whole": run(1600 / r, **{"compute_curves": 100.0, "score_baselines": 9.0}),
        }
        for r in new
    ]
    what = {"old": "0" * 40, "new": "1" * 40, "study": "ioi", "cores": 2, "machine": "here"}
    return {**what, "turns": turns}


def test_ratios_are_medians_over_complete_turns() -> None:
    three = kept(2.0, 4.0, 3.0)
    three["turns"].append({"old": run(1.0)})
    found = pipeline.ratios(three)
    assert found["pipeline_ratio"] == pytest.approx(3.0)
    assert found["pipeline_ratio_as_is"] == pytest.approx(1.5)
    assert found["rule_ratio_faithfulness_partners"] == pytest.approx(3.0)
    # Neither side validated anything: no ratio, rather than one of something else.
    assert "rule_ratio_validate" not in found
    assert pipeline.ratios({"turns": [{"old": run(1.0)}]}) == {}


def test_rules_of_one_side_are_listed_and_in_no_ratio() -> None:
    text = pipeline.section(kept(2.0))
    assert "| `compute_curves` | 100.0 | 50.0 | 2.00 × |" in text
    assert "`gone` (old, 7 s)" in text
    assert "`score_baselines` (new, 9 s)" in text
    assert "| `gone` |" not in text


def test_the_old_side_is_asked_for_nothing_that_it_does_not_know() -> None:
    given = {"studies": {"ioi": {"max_pairs": 2, "roles": {"pairs": 2}}}}
    runs = pipeline.configurations(given, "ioi")
    assert runs["old"]["studies"]["ioi"] == {"max_pairs": 2}
    assert runs["same"]["studies"]["ioi"] == {"max_pairs": 2, **pipeline.LEFT_OUT}
    assert runs["whole"]["studies"]["ioi"] == given["studies"]["ioi"]
    assert pipeline.configurations({}, "ioi")["old"] == {"study": "ioi"}


def test_a_given_configuration_is_read_as_plain_values(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("studies: {ioi: {max_pairs: 2, dtype: float64}}\n")
    given = pipeline.plain(tmp_path / "own.yaml")
    assert json.loads(json.dumps(pipeline.configurations(given, "ioi")))["whole"] == {
        "study": "ioi",
        **given,
    }
    with pytest.raises(UserError, match=r"other\.yaml"):
        pipeline.plain(tmp_path / "other.yaml")


def test_what_is_left_out_is_known_and_leaves_its_rules_out(tmp_path: Path) -> None:
    """The settings are this commit's own, and each takes something out of the study."""
    raw = small_study.configuration()
    small_study.make_model(tmp_path / "tiny")
    raw["models"]["tiny"]["path"] = str(tmp_path / "tiny")
    pairs = str(small_study.write_pairs(tmp_path / "small.csv"))
    raw["studies"]["small"] |= {**pipeline.LEFT_OUT, "pairs": pairs}
    settings = resolve(raw, source="here").studies["small"]
    for key, value in pipeline.LEFT_OUT.items():
        off = settings[key] if isinstance(value, list) else settings[key]["pairs"]
        assert off == ([] if isinstance(value, list) else "none")


def test_turns_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "KEPT", tmp_path / "pipeline.json")
    made: list[str] = []

    def measured(side: str, configuration: Any, study: str, cores: int) -> dict[str, Any]:
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(side)
        return run(1.0)

    monkeypatch.setattr(pipeline, "measured", measured)
    sides: Any = {name: name for name in pipeline.RUNS}
    what = {"old": "a", "new": "b", "study": "ioi", "cores": 2}
    with pytest.raises(KeyboardInterrupt):
        pipeline.run_turns(what, sides, sides, 2)
    assert made == ["old", "same", "whole", "old"]
    made.clear()
    found = pipeline.run_turns(what, sides, sides, 2)
    assert made == ["same", "whole"]
    assert len(pipeline.complete(found)) == 2
    assert json.loads((tmp_path / "pipeline.json").read_text()) == found
    # Of another commit nothing is mixed in.
    made.clear()
    again = pipeline.run_turns({**what, "new": "c"}, sides, sides, 1)
    assert made == ["old", "same", "whole"]
    assert len(again["turns"]) == 1


def test_keys_join_the_other_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "KEPT", tmp_path / "pipeline.json")
    assert pipeline.with_ratios({"ap_ratio": 1.0}) == {"ap_ratio": 1.0}
    (tmp_path / "pipeline.json").write_text(json.dumps(kept(2.0)))
    found = pipeline.with_ratios({"ap_ratio": 1.0})
    assert found["ap_ratio"] == 1.0
    assert found["pipeline_ratio"] == pytest.approx(2.0)
    assert found["pipeline_date"] == "2026-12-01"


@pytest.mark.workflow
def test_a_small_study_is_measured(tmp_path: Path) -> None:
    small_study.prepare(tmp_path, **small_study.LEFT_OUT, counterfactuals={"targets": []})
    side = pipeline.Side(tmp_path, Path(sys.executable))
    (tmp_path / "results" / "mine").mkdir(parents=True)
    configuration = small_study.configuration()
    study = configuration["studies"]["small"]
    study |= {**small_study.LEFT_OUT, "counterfactuals": {"targets": []}}
    found = pipeline.measured(side, configuration, "small", 2)
    # Results of before are not reused, and the model is no part of what is timed.
    assert not (tmp_path / "results" / "mine").exists()
    assert {"cache_activations", "compute_curves", "render_report"} <= set(found["rules"])
    assert found["rules"]["compute_curves"]["jobs"] == 2
    assert "fetch_model" not in found["rules"]
    assert found["seconds"] > max(rule["span"] for rule in found["rules"].values())
