"""The small study under a real SLURM, with the profile that is shipped (make test-slurm)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.helpers import slurm_cluster
from tests.helpers.same_results import assert_same_results, files
from tests.helpers.slurm_cluster import NODE, call, node_state, wait_for
from tests.helpers.small_study import (
    LEFT_OUT,
    MODEL_RULES,
    prepare,
    snakemake,
    told,
)

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("slurm")]

SECONDS_FOR_A_RUN = 600


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A SLURM that runs while the tests of this module do."""
    if reason := slurm_cluster.reason_to_skip() or slurm_cluster.install():
        pytest.skip(reason)
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm") / "cluster"):
        yield


class Run:
    """Snakemake with the profile for SLURM, in the background."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        environment = {**os.environ, "NO_COLOR": "1"}
        for name in ("HF_HUB_OFFLINE", "OMP_NUM_THREADS"):
            environment.pop(name, None)
        # Each run's own, since they are compared afterwards.
        self.log = folder / f"slurm.{len(list(folder.glob('slurm.*')))}.output"
        self._stream = self.log.open("w")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm"),
                *("--configfile", "small.yaml"),
                # Jobs of seconds are looked at sooner than jobs of hours.
                *("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5"),
                *("--set-threads", *(f"{rule}=1" for rule in MODEL_RULES)),
                *arguments,
            ],
            cwd=folder,
            env=environment,
            stdout=self._stream,
            stderr=subprocess.STDOUT,
        )

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def defects(self) -> str:
        """The output, and what the failed jobs have said; the logs of the others are deleted."""
        logs = (self.log.parent / ".snakemake" / "slurm_logs").rglob("*.log")
        return "\n".join([self.output, *(path.read_text() for path in sorted(logs))])

    def end(self) -> int:
        """Wait for the end; the exit status."""
        try:
            return self.process.wait(SECONDS_FOR_A_RUN)
        finally:
            self._stream.close()

    def submitted(self) -> int:
        return len(re.findall(r"has been submitted with SLURM jobid", self.output))

    def running_job(self, rule: str) -> str:
        """Wait until a job of ``rule`` is running; its number in SLURM."""
        found: list[str] = []

        def is_running() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"the run has ended before: {self.output}")
            lines = call("squeue", "--noheader", "--states=RUNNING", "--format=%i|%k").split("\n")
            found.extend(line.split("|")[0] for line in lines if f"|rule_{rule}_" in line)
            return bool(found)

        wait_for(is_running, f"a running job of {rule}", 300)
        return found[0]


def made(results: Path) -> dict[Path, int]:
    """When each result was written."""
    return {name: (results / name).stat().st_mtime_ns for name in files(results)}


def test_a_study_under_slurm_survives_lost_jobs_and_equals_the_local_one(
    slurm: None, tmp_path: Path
) -> None:
    started = time.monotonic()
    # Of what a study may leave out, one, with a job for each shard.
    chosen = LEFT_OUT | {"roles": {"pairs": "all"}}
    local, far = (prepare(tmp_path / name, **chosen) for name in ("local", "far"))
    results = far / "results" / "small"

    # A job is killed while it runs. Whatever does not need it is made all the same.
    first = Run(far)
    job = first.running_job("compute_curves")
    asked = call("scontrol", "show", "job", job)
    call("scancel", job)
    assert "MinMemoryNode=4501M" in asked, asked
    assert "TimeLimit=04:00:00" in asked, asked
    assert first.end() != 0
    assert re.search(rf"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'", first.output)
    after_kill = made(results)
    assert not (results / "heads.parquet").exists()
    assert not [name for name in after_kill if "partial" in name.name]
    assert {Path("shards/0/integrated_gradients.parquet"), Path("pairs.parquet")} <= set(after_kill)
    print(f"\nA job is cancelled while it runs:\n{told(first.output)}")
    curves = [Path(f"shards/{shard}/curves.parquet") for shard in (0, 1)]
    assert sum(name in after_kill for name in curves) == 1

    # The node is lost while that job runs again.
    second = Run(far)
    second.running_job("compute_curves")
    call("scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=test")
    assert second.end() != 0
    assert "SLURM status is: 'NODE_FAIL'" in second.output, second.output
    assert second.submitted() == 1, second.output
    print(f"The node is set down while it runs again:\n{told(second.output)}")
    assert made(results) == after_kill
    call("scontrol", "update", f"NodeName={NODE}", "State=RESUME")
    wait_for(lambda: node_state() == "idle", "the node to be back", 60)

    # The next start makes what is missing, and nothing else.
    third = Run(far)
    done = snakemake(local)
    assert done.returncode == 0, done.stdout
    assert third.end() == 0, third.defects
    assert {name: made(results)[name] for name in after_kill} == after_kill
    # Each job was submitted once, but for the one that was lost, in the first run and the second;
    # the model is fetched where Snakemake runs.
    jobs = len(re.findall(r"^Job \d+:", done.stdout, re.MULTILINE))
    assert first.submitted() + third.submitted() == jobs - 1 + 1
    again = Run(far)
    assert again.end() == 0, again.defects
    assert "Nothing to be done" in again.output
    print(f"Started again:\n{told(third.output)}\nOnce more:\n{told(again.output)}")

    compared = assert_same_results(local / "results" / "small", results)
    took = time.monotonic() - started
    print(f"{compared} files agree with those of a run without SLURM; {took:.0f} s")


def test_a_gpu_is_asked_for_where_the_device_is_cuda(slurm: None, tmp_path: Path) -> None:
    folder = prepare(tmp_path, device="cuda", **LEFT_OUT)
    run = Run(folder, "--until", "cache_activations", "--keep-incomplete")
    asked = call("scontrol", "--details", "show", "job", run.running_job("cache_activations"))
    # Not ended in an orderly way, which waits for the next look at the jobs; the cluster ends them.
    run.process.kill()
    run.end()
    assert re.search(r"TresPerJob=gres:gpu:1", asked), asked
    assert re.search(rf"Nodes={NODE} .*GRES=gpu:1", asked), asked


def test_the_profile_names_no_site() -> None:
    profile = Path(slurm_cluster.__file__).parents[2] / "profiles" / "slurm" / "config.yaml"
    options = yaml.safe_load(profile.read_text(encoding="utf-8"))
    assert "default-resources" not in options
    assert "set-resources" not in options
