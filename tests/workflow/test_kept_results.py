"""What was there before a run that fails, or is killed, is there after it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.workflow import kept_results
from counterpoint.workflow.kept_results import KeptResults, Output, put_back_of_killed_runs, told
from tests.helpers.small_study import LEFT_OUT, prepare, snakemake

STATES = ("as it was", "removed", "begun", "made anew")


def outputs(folder: Path, count: int) -> list[Output]:
    """Files of a study as a run before left them, every other one with its record."""
    found = []
    for number in range(count):
        path = folder / "results" / "a" / f"{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"old {number}")
        record, marker = folder / "records" / str(number), folder / "markers" / str(number)
        for place in (record, marker):
            place.parent.mkdir(exist_ok=True)
        if number % 2:
            record.write_text(f"made with old settings {number}")
        found.append(Output(str(path), str(record), str(marker)))
    return found


def run(output: Output, state: str) -> None:
    """What Snakemake does to a file whose job fails, is killed, or succeeds."""
    path, record, marker = map(Path, (output.path, output.record, output.marker))
    if state == "as it was":
        return
    path.unlink()
    record.write_text("made with new settings")
    if state == "begun":
        marker.write_text("{}")
    if state != "removed":
        path.write_text("new")


@given(st.lists(st.sampled_from(STATES), min_size=1, max_size=12))
@settings(deadline=None, max_examples=40)
def test_what_is_not_made_is_put_back_with_its_record(
    tmp_path_factory: pytest.TempPathFactory, states: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    files = outputs(folder, len(states))
    kept = KeptResults(folder / "kept")
    kept.keep([*files, Output(str(folder / "results/a/none.csv"), "none", "none")])
    for output, state in zip(files, states, strict=True):
        run(output, state)
    lost = [
        output.path
        for output, state in zip(files, states, strict=True)
        if state in ("removed", "begun")
    ]
    assert kept.put_back() == lost
    for number, (output, state) in enumerate(zip(files, states, strict=True)):
        is_new = state == "made anew"
        assert Path(output.path).read_text() == ("new" if is_new else f"old {number}")
        record = Path(output.record)
        if is_new:
            assert record.read_text() == "made with new settings"
        else:
            assert record.exists() == bool(number % 2)
            assert not record.exists() or record.read_text().endswith(f"old settings {number}")
        assert not Path(output.marker).exists()
    assert not list((folder / "kept").iterdir())
    assert kept.put_back() == []


@pytest.mark.parametrize("can_link", [True, False])
def test_folders_and_links_are_kept_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool
) -> None:
    if not can_link:

        def refused(*_: object, **__: object) -> None:
            raise OSError("no links here")

        monkeypatch.setattr(kept_results.os, "link", refused)
    folder = tmp_path / "results" / "a" / "sections"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "one.svg").write_text("one")
    (folder / "two.svg").symlink_to("deep/one.svg")
    kept = KeptResults(tmp_path / "kept")
    kept.keep([Output(str(folder), str(tmp_path / "record"), str(tmp_path / "marker"))])
    (folder / "deep" / "one.svg").unlink()
    (folder / "three.svg").write_text("new")
    (tmp_path / "marker").write_text("")
    assert kept.put_back() == [str(folder)]
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    assert names == ["deep", "deep/one.svg", "two.svg"]
    assert (folder / "two.svg").is_symlink() and (folder / "two.svg").read_text() == "one"


def test_a_run_that_ends_well_leaves_nothing(tmp_path: Path) -> None:
    (output,) = outputs(tmp_path, 1)
    kept = KeptResults(tmp_path / "kept")
    kept.keep([output])
    run(output, "made anew")
    kept.release()
    assert put_back_of_killed_runs(tmp_path / "kept") == []
    assert Path(output.path).read_text() == "new"
    assert not list((tmp_path / "kept").iterdir())


def test_what_a_living_run_keeps_is_left_alone(tmp_path: Path) -> None:
    (output,) = outputs(tmp_path, 1)
    kept = KeptResults(tmp_path / "kept")
    kept.keep([output])
    run(output, "removed")
    assert put_back_of_killed_runs(tmp_path / "kept") == []
    assert not Path(output.path).exists()
    # The process ends, and with it its lock.
    assert kept._held is not None
    kept._held.close()
    assert put_back_of_killed_runs(tmp_path / "kept") == [output.path]
    assert Path(output.path).read_text() == "old 0"


def test_results_that_a_user_removed_stay_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "a").mkdir(parents=True)
    (tmp_path / "results" / "a" / "x.csv").write_text("old")
    kept = KeptResults()
    kept.keep([Output("results/a/x.csv", "record", "marker")])
    (tmp_path / "results" / "a" / "x.csv").unlink()
    (tmp_path / "results" / "a").rmdir()
    assert kept.put_back() == []
    assert not (tmp_path / "results" / "a").exists()


def test_a_run_that_was_killed_while_it_kept_has_changed_nothing(tmp_path: Path) -> None:
    (output,) = outputs(tmp_path, 1)
    kept = KeptResults(tmp_path / "kept")
    kept.keep([output])
    (kept.folder / "kept.jsonl").rename(kept.folder / "kept.partial")
    assert kept._held is not None
    kept._held.close()
    run(output, "removed")
    assert put_back_of_killed_runs(tmp_path / "kept") == []
    assert not list((tmp_path / "kept").iterdir())


def test_a_full_disk_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (output,) = outputs(tmp_path, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_results.os, "link", full)
    monkeypatch.setattr(kept_results.shutil, "copy2", full)
    kept = KeptResults(tmp_path / "kept")
    with pytest.raises(OSError, match="No space left"):
        kept.keep([output])
    assert not list((tmp_path / "kept").iterdir())


def test_what_is_said() -> None:
    assert told(["a"]) == "a is back, as it was before the run that did not end well"
    assert told(list("abcde")).startswith("a, b, c and 2 more are back")


# --------------------------------------------------------------------------- with Snakemake itself

TARGET = "results/small/pairs.parquet"
MAIN = "def main(snakemake: Any) -> None:\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study up to its pairs."""
    folder = prepare(tmp_path_factory.mktemp("made"), **LEFT_OUT)
    done = snakemake(folder, TARGET)
    assert done.returncode == 0, done.stdout
    return folder


@contextmanager
def edited(folder: Path, line: str, script: str = "prepare_pairs") -> Iterator[None]:
    """A script that does something else first."""
    path = folder / "scripts" / f"{script}.py"
    text = path.read_text()
    path.write_text(text.replace(MAIN, f"{MAIN}    {line}\n"))
    try:
        yield
    finally:
        path.write_text(text)


def state(folder: Path) -> dict[str, str]:
    """Digests of the results and of Snakemake's records, and what of a run is left."""
    files = [path for path in (folder / "results" / "small").glob("*") if path.is_file()]
    for name in ("metadata", "incomplete", "locks", "counterpoint/kept"):
        place = folder / ".snakemake" / name
        files += [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else []
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.mark.workflow
def test_a_job_that_fails_costs_nothing_that_was_there(made: Path) -> None:
    before = state(made)
    write = "Path(snakemake.output.dropped).write_text('half'); raise ValueError('broken')"
    with edited(made, write):
        done = snakemake(made, TARGET)
    assert done.returncode != 0
    assert "failed: ValueError: broken" in done.stdout
    said = f"{TARGET}, results/small/dropped.csv, results/small/beginning.json and 1 more are back"
    assert said in done.stdout
    assert state(made) == before
    # And what is there counts as what it is: of the settings of before, not of those that failed.
    assert "Nothing to be done" in snakemake(made, TARGET).stdout
    with edited(made, "pass"):
        assert "prepare_pairs" in snakemake(made, TARGET, "--dry-run").stdout


@pytest.mark.workflow
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_costs_nothing_that_was_there(made: Path, way: int) -> None:
    before = state(made)
    waiting = made / "waiting"
    write = (
        "Path(snakemake.output.dropped).write_text('half'); Path('waiting').touch();"
        " __import__('time').sleep(60)"
    )
    command = [sys.executable, "-m", "snakemake", TARGET, "--configfile", "small.yaml"]
    with edited(made, write):
        run = subprocess.Popen(
            [*command, "--cores", "1"],
            cwd=made,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ends = time.monotonic() + 120
        while not waiting.exists() and run.poll() is None and time.monotonic() < ends:
            time.sleep(0.1)
        assert waiting.exists()
        assert not (made / TARGET).exists()
        os.killpg(run.pid, way)
        run.wait(60)
    waiting.unlink()
    done = snakemake(made, TARGET)
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in done.stdout
    if way == signal.SIGKILL:
        assert f"{TARGET}, results/small/dropped.csv" in done.stdout
        assert "are back, as they were before the run that did not end well" in done.stdout
    assert state(made) == before


@pytest.mark.workflow
def test_what_the_tokenizer_refuses_is_told_before_anything_is_removed(made: Path) -> None:
    before, pairs = state(made), made / "small.csv"
    good = pairs.read_text()
    try:
        pairs.write_text(good + "When John left,When Mary and John left, John, Mary\n")
        done = snakemake(made, TARGET)
    finally:
        pairs.write_text(good)
    assert done.returncode != 0
    assert "error: small.csv: 1 of 4 rows cannot be used (unequal length 1)" in done.stdout
    assert done.stdout.rstrip().endswith("Nothing was started; what was there is there.")
    assert "Checking and tokenising" not in done.stdout
    assert state(made) == before
