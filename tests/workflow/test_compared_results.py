"""Two folders of results: what differs is told with its place, its tolerance and its cause."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from counterpoint.workflow import compared_results
from counterpoint.workflow.allowed_differences import KINDS, OTHER, allowed, kind_of
from counterpoint.workflow.compared_artifacts import gaps_of
from counterpoint.workflow.made_files import record_made
from counterpoint.workflow.provenance_differences import UNEXPLAINED, causes, likely
from tests.helpers.small_study import ROOT

RECORD: dict[str, Any] = {
    "study": "ioi",
    "date": "2026-01-01",
    "counterpoint": "0.1.0",
    "commit": "abc",
    "settings": {
        "pairs": "pairs.csv",
        "curves": {"nodes": "adaptive", "tolerance": 1e-4},
        "integrated_gradients": {"tolerance": 1e-3},
    },
    "model": {"sha256": "1234"},
    "device": "cpu",
    "machine": {"system": "Linux", "processor": "one", "cores": 2},
    "python": "3.12",
    "packages": {"torch": "2.13"},
    "durations": {"curves": {"seconds": 1}},
}


def heads() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pair": [0, 0, 1, 1],
            "direction": ["noising", "denoising"] * 2,
            "layer": 3,
            "head": 1,
            "ap": [0.5, 0.25, np.nan, -1.0],
            "ig_joint": [0.5, 0.25, 0.1, -1.0],
            "nodes": [5, 9, 5, 5],
            "resolved": [True, True, False, True],
        }
    )


def claims() -> pd.DataFrame:
    return pd.DataFrame({"claim": [1, 2], "verdict": ["holds", "does not hold"], "note": ["", "x"]})


def write(folder: Path, record: dict[str, Any] | None = None) -> Path:
    folder.mkdir()
    heads().to_parquet(folder / "heads.parquet", index=False)
    claims().to_csv(folder / "claims.csv", index=False)
    tokens = pd.DataFrame({"pair": [0], "clean": ["a"], "clean_tokens": [[1, 2]]})
    tokens.to_parquet(folder / "pairs.parquet", index=False)
    curves = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    save_file({"output": curves, "pairs": np.arange(2)}, folder / "curves.safetensors")
    (folder / "targets.json").write_text('{"heads": [[3, 1]], "score": 0.5}')
    record = {**RECORD, "date": folder.name} if record is None else record
    (folder / "provenance.json").write_text(json.dumps(record))
    for name in ("logs", "benchmarks"):
        (folder / name).mkdir()
        (folder / name / "x.json").write_text(folder.name)
    (folder / "report.html").write_text(folder.name)
    (folder / ".x.1.partial.parquet").write_text("half")
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "a"), write(tmp_path / "b")


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*folders: Path) -> tuple[int, str, str]:
        status = compared_results.main([str(each) for each in folders])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def change(folder: Path, column: str, row: int, value: object) -> None:
    table = heads()
    table.loc[row, column] = value
    table.to_parquet(folder / "heads.parquet", index=False)


def last(text: str) -> str:
    return text.splitlines()[-1]


def test_equal_folders(two: tuple[Path, Path], run: Run) -> None:
    status, out, err = run(*two)
    assert (status, err) == (0, "")
    assert last(out) == "5 artifacts: 5 equal in every bit, 0 within tolerance, 0 differ, 0 missing"
    assert "the same code, packages, model, settings and machine" in out
    for kind in (*KINDS, OTHER):
        assert kind.reason in out


def test_other_bytes_and_another_order_are_equal_values(two: tuple[Path, Path], run: Run) -> None:
    heads().iloc[::-1].to_parquet(two[1] / "heads.parquet", index=False, compression="gzip")
    (two[1] / "targets.json").write_text('{"score":0.5,"heads":[[3,1]]}')
    status, out, _ = run(*two)
    assert status == 0
    assert out.count("equal in every value, in other bytes") == 2
    assert "rows stand in another order" in out and "likely cause" not in out
    assert last(out) == "5 artifacts: 3 equal in every bit, 2 within tolerance, 0 differ, 0 missing"


@pytest.mark.parametrize(
    ("column", "value", "status", "told"),
    [
        ("ap", -1.0 + 1e-6, 0, "ap: 1e-06 (patching: 2e-06 allowed)"),
        ("ap", -1.0 + 1e-5, 1, "ap: 1e-05 (patching: 2e-06 allowed, beyond)"),
        ("ap", np.nan, 1, "ap: differs (patching: 2e-06 allowed, beyond)"),
        ("ig_joint", -1.0019, 0, "ig_joint: 0.0019 (integrated gradients: 0.002 allowed)"),
        ("ig_joint", -1.0021, 1, "ig_joint: 0.0021 (integrated gradients: 0.002 allowed, beyond)"),
        ("nodes", 9, 1, "nodes: 4 (exact: 0 allowed, beyond)"),
        ("resolved", False, 1, "resolved: 1 (exact: 0 allowed, beyond)"),
    ],
)
def test_the_largest_difference_of_a_column(
    two: tuple[Path, Path], run: Run, column: str, value: object, status: int, told: str
) -> None:
    change(two[1], column, 3, value)
    found, out, _ = run(*two)
    assert found == status
    assert f"    {told} at pair 1, direction denoising" in out
    assert "1 unequal" in out
    assert f"likely cause: {UNEXPLAINED}" in out


def test_a_verdict_that_differs(two: tuple[Path, Path], run: Run) -> None:
    table = claims()
    table.loc[1, "verdict"] = "holds"
    table.to_csv(two[1] / "claims.csv", index=False)
    status, out, _ = run(*two)
    assert status == 1
    assert "verdict: differs (exact: 0 allowed, beyond) at claim 2: does not hold | holds" in out


def test_rows_and_columns_of_one_side(two: tuple[Path, Path], run: Run) -> None:
    # The first row is gone; those that follow it are found all the same.
    table = heads().iloc[1:].rename(columns={"nodes": "knots"})
    table.to_parquet(two[1] / "heads.parquet", index=False)
    status, out, _ = run(*two)
    assert status == 1
    assert "rows only in A: pair 0, direction noising, layer 3, head 1\n" in out
    assert "column only in A: nodes\n" in out and "column only in B: knots\n" in out
    assert "ap:" not in out


def test_tensors(two: tuple[Path, Path], run: Run) -> None:
    curves = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    curves[1, 0, 2] += 0.5
    save_file({"output": curves, "more": curves}, two[1] / "curves.safetensors")
    status, out, _ = run(*two)
    assert status == 1
    assert "output: 0.5 (curves: 0.0002 allowed, beyond) at index [1, 0, 2]: 8.0 | 8.5" in out
    assert "tensor only in A: pairs" in out and "tensor only in B: more" in out
    save_file({"output": curves[:1], "pairs": np.arange(2)}, two[1] / "curves.safetensors")
    assert "output has shape [2, 2, 3] in A, [1, 2, 3] in B" in run(*two)[1]


def test_json_and_lists(two: tuple[Path, Path], run: Run) -> None:
    (two[1] / "targets.json").write_text('{"heads": [[3, 2]], "score": 0.50001}')
    pairs = pd.DataFrame({"pair": [0], "clean": ["b"], "clean_tokens": [[1, 3]]})
    pairs.to_parquet(two[1] / "pairs.parquet", index=False)
    status, out, _ = run(*two)
    assert status == 1
    assert "heads: 1 (exact: 0 allowed, beyond) at heads.0.1: 1 | 2; 1 unequal" in out
    assert "score: 1e-05 (other numbers: 6e-05 allowed) at score: 0.5 | 0.50001" in out
    assert "clean: differs" in out and "clean_tokens: 1 (exact" in out
    assert out.count("likely cause: pairs (pairs.parquet: the pairs themselves differ)") == 2


def test_what_is_missing(two: tuple[Path, Path], run: Run) -> None:
    (two[0] / "claims.csv").unlink()
    (two[1] / "provenance.json").unlink()
    status, out, _ = run(*two)
    assert status == 1
    assert "not in A" in out and "not in B" in out
    assert "likely cause: not known: a provenance.json is missing" in out
    assert last(out) == "6 artifacts: 4 equal in every bit, 0 within tolerance, 0 differ, 2 missing"


@pytest.mark.parametrize(
    ("path", "value", "within", "expected"),
    [
        ("commit", "def", False, "code (commit: abc | def)"),
        ("packages.torch", "2.14", False, "packages (packages.torch: 2.13 | 2.14)"),
        ("python", "3.13", True, "packages (python: 3.12 | 3.13)"),
        ("machine.cores", 4, True, "cores (machine.cores: 2 | 4)"),
        ("machine.cores", 4, False, "never seen to do so much"),
        ("machine.processor", "two", True, "machine (machine.processor: one | two)"),
        ("device", "cuda", False, "device (device: cpu | cuda)"),
        ("model.sha256", "5678", False, "model (model.sha256: 1234 | 5678)"),
        ("settings.pairs", "x.csv", False, "pairs (settings.pairs: pairs.csv | x.csv)"),
        ("settings.curves.nodes", "x", False, "settings (settings.curves.nodes: adaptive | x)"),
        ("date", "later", False, UNEXPLAINED),
    ],
)
def test_causes(path: str, value: object, within: bool, expected: str) -> None:
    other = copy.deepcopy(RECORD)
    *above, key = path.split(".")
    place = other
    for step in above:
        place = place[step]
    place[key] = value
    assert expected in likely(causes(RECORD, other), within=within)


def test_the_likeliest_cause_comes_first() -> None:
    other = {**RECORD, "commit": "def", "machine": {**RECORD["machine"], "cores": 4}}
    found = causes(RECORD, other)
    assert likely(found, within=True).startswith("cores")
    assert likely(found, within=False).startswith("code")
    changed = {**RECORD, "commit": "abc+changes"}
    assert "may be other changes" in likely(causes(changed, changed), within=False)


def test_tolerances() -> None:
    curves, joint = kind_of("output_range"), kind_of("ig_joint")
    settings = RECORD["settings"]
    assert allowed(curves, (settings, settings)) == pytest.approx(2e-4)
    assert allowed(joint, (settings, {})) == pytest.approx(1.1e-3)
    given = {"curves": {"nodes": "gauss-legendre-50", "tolerance": 1}}
    assert allowed(curves, (given, given)) == 6e-5
    assert kind_of("what is new") is OTHER
    names = [name for kind in KINDS for name in kind.columns]
    assert len(names) == len(set(names))


def test_gaps() -> None:
    a = np.array([np.nan, np.nan, np.inf, np.inf, 1.0])
    b = np.array([np.nan, 1.0, np.inf, -np.inf, 1.5])
    assert gaps_of(a, b).tolist() == [0, np.inf, 0, np.inf, 0.5]
    assert gaps_of(np.array([2**60]), np.array([2**60 + 1])).tolist() == [1]


@pytest.mark.parametrize(
    "name", ["heads.parquet", "claims.csv", "curves.safetensors", "targets.json", "provenance.json"]
)
def test_a_damaged_file_is_named(two: tuple[Path, Path], run: Run, name: str) -> None:
    content = (two[0] / name).read_bytes()
    (two[1] / name).write_bytes(b"" if name == "claims.csv" else content[: len(content) // 2])
    status, out, err = run(*two)
    assert (status, out) == (2, "")
    said = "is not a whole Parquet file" if name.endswith("parquet") else "cannot be read"
    assert err.startswith(f"error: {two[1] / name} {said} (")
    assert err.count("\n") == 1


def test_texts_that_are_none_are_damage(two: tuple[Path, Path], run: Run) -> None:
    offsets, letters = np.array([0, 2], dtype=np.int32), b"a\xff"
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(offsets), pa.py_buffer(letters))
    table = pa.table({"pair": pa.array([0]), "clean": broken})
    pq.write_table(table, two[1] / "pairs.parquet")
    status, _, err = run(*two)
    assert status == 2
    assert err.startswith(f"error: {two[1] / 'pairs.parquet'} cannot be read (")


def test_bad_calls(two: tuple[Path, Path], run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folders, expected in (
        ((two[0],), "name two folders, as in: make verify A="),
        ((two[0], two[1], two[1]), "name two folders"),
        ((two[0], tmp_path / "none"), f"B: there is no folder {tmp_path / 'none'}"),
        ((tmp_path / "empty", two[1]), f"{tmp_path / 'empty'} holds no results"),
    ):
        status, out, err = run(*folders)
        assert (status, out) == (2, "")
        assert err.startswith(f"error: {expected}") and err.count("\n") == 1


def test_make_hands_over_names_as_they_are(tmp_path: Path) -> None:
    a, b = write(tmp_path / "it's a $(touch BAD) one"), write(tmp_path / 'say "b"')
    fake = tmp_path / "venv" / "bin" / "python"
    fake.parent.mkdir(parents=True)
    fake.write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    fake.chmod(0o755)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
        (tmp_path / "venv" / name).write_text("")
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    known = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}

    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", "VENV=venv", "verify", *arguments],
            cwd=tmp_path,
            env={**known, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = make(f"A={a.name}", f"B={b}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"A: {a.name}\nB: {b}\n")
    assert not (tmp_path / "BAD").exists()
    change(b, "nodes", 0, 9)
    assert "Error 1" in make(f"A={a.name}", f"B={b}").stderr
    assert make(f"A={a.name}").stderr.startswith("error: name two folders")


def test_no_torch_is_imported(two: tuple[Path, Path]) -> None:
    change(two[1], "ap", 0, 0.7)
    program = (
        "import sys; from counterpoint.workflow.compared_results import main; "
        f"main({[str(each) for each in two]!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


def test_without_folders_all_results_are_compared_with_their_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("A", "B"):
        monkeypatch.delenv(f"COUNTERPOINT_{name}", raising=False)
    assert compared_results.main([]) == 2
    assert "no results with checksums" in capsys.readouterr().err
    paths = [Path("results/s", name) for name in ("a.csv", "b.csv", "c.csv")]
    paths[0].parent.mkdir(parents=True)
    for path in paths:
        path.write_text("1")
    record_made(map(str, paths), [])
    assert compared_results.main([]) == 0
    assert capsys.readouterr().out == "3 files as they were made, 0 damaged, 0 gone\n"
    paths[1].write_text("2")
    paths[2].unlink()
    assert compared_results.main([]) == 1
    said = capsys.readouterr().out
    assert "results/s/b.csv  DAMAGED" in said and "results/s/c.csv  gone" in said
    assert said.endswith("1 files as they were made, 1 damaged, 1 gone\n")
