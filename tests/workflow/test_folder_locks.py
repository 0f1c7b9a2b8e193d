"""Contents of files decide, and a killed run's locks are told from a living one's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from counterpoint.files import digests
from counterpoint.files.digests import digest_of
from counterpoint.workflow import folder_locks
from tests.helpers.small_study import ROOT


@pytest.fixture(params=["read at every start", "remembered"])
def memory(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where digests are remembered: of no file, or of every one."""
    if request.param == "remembered":
        monkeypatch.setattr(digests, "SMALL", -1)
        monkeypatch.setattr(digests, "SETTLED_SECONDS", -60.0)
    return tmp_path / "memory.json"


def test_an_older_file_in_its_place_is_another_one(tmp_path: Path, memory: Path) -> None:
    path, other = tmp_path / "a.csv", tmp_path / "other.csv"
    path.write_text("one")
    before = digest_of([path], memory)
    assert digest_of([path], memory) == before
    for replace in (shutil.copy2, os.replace):
        # Of the same size, and last written long ago.
        other.write_text("two")
        os.utime(other, (1.6e9, 1.6e9))
        times = path.stat()
        replace(other, path)
        assert digest_of([path], memory) != before
        path.write_text("one")
        assert digest_of([path], memory) == before
        path.write_text("two")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert digest_of([path], memory) != before
        path.write_text("one")


def test_what_leaves_the_contents_leaves_the_digest(tmp_path: Path, memory: Path) -> None:
    path = tmp_path / "weights"
    path.write_text("one")
    before = digest_of([path], memory)
    path.touch()
    assert digest_of([path], memory) == before
    os.link(path, tmp_path / "link")
    assert digest_of([path], memory) == before
    memory.write_text('{"damaged": 1')
    assert digest_of([path], memory) == before
    memory.write_text('["other"]')
    assert digest_of([path], memory) == before
    (tmp_path / "elsewhere").mkdir()
    path.rename(tmp_path / "elsewhere" / "weights")
    assert digest_of([tmp_path / "elsewhere" / "weights"], memory) == before


def test_names_order_and_absence(tmp_path: Path, memory: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    both = digest_of([one, two], memory)
    assert digest_of([two, one], memory) == both
    assert digest_of([one], memory) != both
    assert digest_of([], memory) != digest_of([tmp_path / "none"], memory)
    one.write_text("2")
    two.write_text("1")
    assert digest_of([one, two], memory) != both


def test_large_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SMALL", 2)
    monkeypatch.setattr(digests, "SETTLED_SECONDS", -60.0)
    read = []
    plain = digests.sha256
    monkeypatch.setattr(digests, "sha256", lambda path: read.append(path.name) or plain(path))
    for name, text in (("large", "content"), ("small", "c")):
        (tmp_path / name).write_text(text)
    paths = [tmp_path / "large", tmp_path / "small"]
    found = {digest_of(paths, tmp_path / "memory.json") for _ in range(3)}
    assert len(found) == 1
    assert sorted(read) == ["large", "small", "small", "small"]


def test_a_file_of_this_moment_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SMALL", -1)
    (tmp_path / "a").write_text("a")
    digest_of([tmp_path / "a"], tmp_path / "memory.json")
    assert not (tmp_path / "memory.json").exists()


# ------------------------------------------------------------------------------------------ locks

HOLDING = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from counterpoint.workflow.folder_locks import enter
print(enter(Path(sys.argv[2])), flush=True)
time.sleep(60)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    """A run at work in ``folder``, which has locked it."""
    command = [sys.executable, "-c", HOLDING, str(ROOT), str(folder)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline().strip() == "None"
    lock = folder / "locks" / "0.input.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("small.csv\n")
    return run


def left(folder: Path) -> bool:
    return any((folder / "locks").glob("*.lock"))


def test_the_lock_of_a_killed_run_goes_and_that_of_a_living_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_locks, "_held", [])
    run = start(tmp_path)
    try:
        said = folder_locks.enter(tmp_path)
        assert said is not None and "another run is at work" in said and "make unlock" in said
        assert left(tmp_path)
    finally:
        run.kill()
        run.communicate()
    # This process has said that it is at work, too.
    for stream in folder_locks._held:
        stream.close()
    assert folder_locks.enter(tmp_path) == "the lock of a run that was killed is removed"
    assert not left(tmp_path)
    assert folder_locks.enter(tmp_path) is None


@pytest.mark.parametrize("host", ["another-machine", ""])
def test_the_lock_of_another_machines_run_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(folder_locks, "_held", [])
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "0.output.lock").write_text("results\n")
    (tmp_path / "counterpoint").mkdir()
    (tmp_path / "counterpoint" / "running").write_text(host)
    for _ in range(2):
        said = folder_locks.enter(tmp_path)
        assert said is not None and host in said and "make unlock" in said
        assert left(tmp_path)
        for stream in folder_locks._held:
            stream.close()


def test_a_folder_that_cannot_be_written_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "counterpoint").write_text("a file where a folder is to be")
    started = time.monotonic()
    assert folder_locks.enter(tmp_path) is None
    assert time.monotonic() - started < 5
