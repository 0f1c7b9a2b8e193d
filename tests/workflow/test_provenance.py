"""The record of where results come from."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from counterpoint.workflow import provenance

SETTINGS = {
    "device": "cpu",
    "statistics": {"seed": 3},
    "counterfactuals": {"seeds": [1, 2], "targets": {"random": 2, "seed": 5}},
}


def test_the_record_is_plain_json_and_names_the_seeds(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"source": "local"}')
    (tmp_path / "beginning.json").write_text('{"token": "<s>", "id": 0}')
    record = provenance.collect(
        "ioi",
        SETTINGS,
        model_provenance=tmp_path / "model.json",
        benchmarks=tmp_path,
        checkout=tmp_path,
        beginning=tmp_path / "beginning.json",
    )
    assert record["beginning_of_sequence"] == {"token": "<s>", "id": 0}
    assert json.loads(json.dumps(record)) == record
    assert record["seeds"] == {
        "statistics.seed": 3,
        "counterfactuals.seeds": [1, 2],
        "counterfactuals.targets.seed": 5,
    }
    assert record["model"] == {"source": "local"}
    assert record["commit"] is None


def test_durations_are_added_up_per_rule(tmp_path: Path) -> None:
    header = "s\th:m:s\tmax_rss\n"
    (tmp_path / "merge_scores.tsv").write_text(header + "1.5\t0:00:01\tNA\n")
    (tmp_path / "compute_curves").mkdir()
    (tmp_path / "compute_curves" / "0.tsv").write_text(header + "2.25\t0:00:02\t100.0\n")
    (tmp_path / "compute_curves" / "1.tsv").write_text(header + "3.5\t0:00:03\t90.0\n")
    assert provenance.durations(tmp_path) == {
        "compute_curves": {"jobs": 2, "seconds": 5.75, "memory_mb": 100.0},
        "merge_scores": {"jobs": 1, "seconds": 1.5, "memory_mb": 0.0},
    }


def test_the_commit_says_whether_files_differ(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        named = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *named, *arguments], check=True)

    assert provenance.git_commit(tmp_path) is None
    git("init", "--quiet")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "-m", "one")
    commit = provenance.git_commit(tmp_path)
    assert commit is not None and len(commit) == 40
    (tmp_path / "file").write_text("two")
    assert provenance.git_commit(tmp_path) == f"{commit}+changes"
    (tmp_path / "copy").mkdir()
    assert provenance.git_commit(tmp_path / "copy") is None
