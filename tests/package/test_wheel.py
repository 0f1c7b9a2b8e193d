"""The wheel, in an environment with nothing else, gives the default study's numbers.

`make test-wheel`. Takes minutes, most of them to install torch and to measure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import counterpoint
from tests.helpers.default_model import default_model as default_model

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
TORCH = "torch==2.13.0"

THREE_LINES = """
import json, sys, time
began = time.monotonic()
import counterpoint
assert "torch" not in sys.modules
seconds = {"import": time.monotonic() - began}
model = counterpoint.load("smollm2-135m-instruct")
seconds["model"] = time.monotonic() - began
pairs = counterpoint.pairs("ioi.default")[:1]
heads = counterpoint.measure(model, pairs)
seconds["table"] = time.monotonic() - began
heads.to_parquet("heads.parquet")
from counterpoint.workflow.schema import schema
assert schema()["properties"]
import torch
told = {"file": counterpoint.__file__, "seconds": seconds, "threads": torch.get_num_threads()}
print(json.dumps(told))
"""


def run(*command: str | Path, **settings: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=settings.pop("cwd", ROOT),
        env={**os.environ, **{name: str(value) for name, value in settings.items()}},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_three_lines_in_an_empty_environment(default_model: Path, tmp_path: Path) -> None:
    wheels, python = tmp_path / "wheels", tmp_path / "venv" / "bin" / "python"
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(sys.executable, *build, "--wheel-dir", wheels, ".")
    (wheel,) = wheels.glob("counterpoint-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", TORCH, wheel)
    run(python, "-m", "pip", "check")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    told = run(
        python,
        "-c",
        THREE_LINES,
        cwd=elsewhere,
        COUNTERPOINT_CACHE=tmp_path / "cache",
        PYTHONPATH="",
    )
    said = json.loads(told.splitlines()[-1])
    assert Path(said["file"]).is_relative_to(tmp_path / "venv")
    print("\nseconds since the start:", said["seconds"])
    # Other numbers of threads add up in other orders, which moves AP here by 2e-5.
    torch.set_num_threads(said["threads"])
    pairs = counterpoint.pairs("ioi.default")[:1]
    expected = counterpoint.measure(counterpoint.load(default_model), pairs)
    found = pd.read_parquet(elsewhere / "heads.parquet")
    keys = ["pair", "direction", "layer", "head"]
    pd.testing.assert_frame_equal(found[keys], expected[keys], check_dtype=False)
    for name in ("ap", "atp", "ig_joint", "ig_own", "output_range", "total_variation"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5, rtol=1e-5)
