"""Each environment of envs/, built from what it lists and nothing else, runs its scripts.

`make test-envs`. The versions are installed by pip into plain virtual environments: conda itself
and its channels have no part in this.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers.small_study import ROOT, configuration, prepare, snakemake, write_configuration
from tests.workflow.test_environments import ENVIRONMENTS, PIN, normal

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("environments")]

NOT_RUN = {
    "fetch_pairs.py",  # fetches from a hub of data sets
    "generate_pairs.py",  # needs the vocabulary of a real tokenizer
}

ALLOWED = re.compile(r"pip|setuptools|wheel|nvidia-.*|cuda-.*|triton")
"""What may be installed besides: pip's own tools, and the libraries that torch's builds for GPUs
pin themselves."""


def environment_of_scripts() -> dict[str, str]:
    """The environment that a script's rule names."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    pattern = r'conda:\s*"\.\./envs/(\w+)\.yaml"(?:(?!\nrule ).)*?"\.\./scripts/(\w+\.py)"'
    return {script: name for name, script in re.findall(pattern, text, re.DOTALL)}


def build(path: Path, folder: Path) -> Path:
    """A new virtual environment with what the file lists; fails if anything else comes in."""
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    (listed,) = (entry["pip"] for entry in dependencies if isinstance(entry, dict))
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "install", "--quiet", *listed],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    freeze = subprocess.run([*pip, "list", "--format=json"], capture_output=True, check=True)
    found = {normal(each["name"]): each["version"] for each in json.loads(freeze.stdout)}
    pins = {normal(match[1]): match[3] for line in listed if (match := PIN.fullmatch(line))}
    others = {name for name in found.keys() - pins.keys() if not ALLOWED.fullmatch(name)}
    assert not others, f"{path.name} does not pin {sorted(others)}"
    assert {name: found[name].partition("+")[0] for name in pins} == pins
    return folder


def two_studies() -> dict:
    """The small study with MLPs, a target by rank and an atlas, and a second one to compare it
    with."""
    config = configuration()
    study = config["studies"]["small"]
    study["components"] = ["head", "mlp"]
    study["counterfactuals"]["targets"] = {"top": 1}
    study["shard_size"] = 64
    config["studies"]["other"] = {**study, "directions": ["noising"], "components": ["head"]}
    study["counterfactuals"] = study["counterfactuals"] | {
        "atlas": {"seeds": [0], "budget": {"evaluations": 200}}
    }
    return {**config, "study": ["small", "other"]}


def test_every_script_runs_in_its_environment_alone(tmp_path: Path) -> None:
    assert sys.version_info[:2] == (3, 11), "envs/*.yaml name Python 3.11"
    scripts = environment_of_scripts()
    public = {path.name for path in (ROOT / "scripts").glob("[!_]*.py")}
    assert scripts.keys() == public
    folders = {path.stem: build(path, tmp_path / "envs" / path.stem) for path in ENVIRONMENTS}

    folder = prepare(tmp_path / "study")
    write_configuration(folder, two_studies())
    shutil.copy2(ROOT / "tests" / "relayed_job.py", folder / "scripts" / "_job.py")
    plan = {
        "scripts": scripts,
        "folders": {name: str(path) for name, path in folders.items()},
        "driver": str(ROOT / "tests" / "relay_driver.py"),
        "originals": str(ROOT / "scripts"),
        "ran": str(tmp_path / "ran.txt"),
    }
    (folder / "scripts" / "environments.json").write_text(json.dumps(plan))
    done = snakemake(folder, "all", "methods", "plan")
    assert done.returncode == 0, done.stdout
    assert (folder / "results" / "comparison" / "report.html").is_file()
    ran = dict(line.split() for line in (tmp_path / "ran.txt").read_text().splitlines())
    assert ran == {name: place for name, place in scripts.items() if name not in NOT_RUN}
