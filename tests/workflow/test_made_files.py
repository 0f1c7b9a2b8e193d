"""Records of what was made: every damage is seen, nothing else is, and what is gone is found."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.workflow.made_files import (
    damaged_files,
    lost_files,
    put_aside,
    record_made,
    refuse_damaged,
    told_damaged,
)

HEADS = "results/s/heads.parquet"
SHARD = "results/s/shards/0/curves.parquet"
PAGE = "results/s/report.html"
CHAIN = {SHARD: [], HEADS: [SHARD], PAGE: [HEADS]}


def write(path: str, content: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page made of a table made of a shard, with their records."""
    monkeypatch.chdir(tmp_path)
    for path, of in CHAIN.items():
        write(path, f"what {path} holds".encode())
        record_made([path], [*of, "resources/models/m/provenance.json", "/somewhere/pairs.csv"])


def flipped(path: str) -> None:
    """One bit flipped, in place, with size and times as before."""
    state, content = Path(path).stat(), bytearray(Path(path).read_bytes())
    content[len(content) // 2] ^= 1
    with Path(path).open("r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def emptied(path: str) -> None:
    Path(path).write_bytes(b"")


def replaced_by_a_folder(path: str) -> None:
    Path(path).unlink()
    Path(path).mkdir()


@pytest.mark.usefixtures("chain")
def test_what_was_made_is_whole_however_it_is_touched_moved_or_linked() -> None:
    os.utime(HEADS)
    os.link(SHARD, "another_name")
    write("copy", Path(PAGE).read_bytes())
    Path("copy").replace(PAGE)
    refuse_damaged(CHAIN)
    assert damaged_files() == []


@pytest.mark.usefixtures("chain")
@pytest.mark.parametrize("damage", [flipped, emptied, replaced_by_a_folder])
@pytest.mark.parametrize("path", CHAIN)
def test_damage_is_noticed_named_and_put_aside(damage: Callable[[str], None], path: str) -> None:
    expected = json.loads(record_of(path).read_text())["sha256"]
    damage(path)
    with pytest.raises(UserError, match=f"{path} is not what was made.*{expected}.*Run again"):
        refuse_damaged([*CHAIN])
    assert damaged_files() == [path]
    put_aside(path)
    assert not os.path.lexists(path)
    assert damaged_files() == []
    assert lost_files([PAGE], lambda _: True) == [path]


def record_of(path: str) -> Path:
    parts = Path(path).parts
    return Path(*parts[:2], ".made", *parts[2:-1], f"{parts[-1]}.json")


@pytest.mark.usefixtures("chain")
def test_a_damage_that_changed_no_status_is_found_by_a_job_and_then_by_the_start() -> None:
    # As by a failing disk: the record says that the file's status is that of today.
    flipped(HEADS)
    record = json.loads(record_of(HEADS).read_text())
    state = Path(HEADS).stat()
    record["stat"] = f"{state.st_size}.{state.st_ino}.{state.st_mtime_ns}.{state.st_ctime_ns}"
    record_of(HEADS).write_text(json.dumps(record))
    assert damaged_files() == []
    with pytest.raises(UserError):
        refuse_damaged([HEADS])
    assert damaged_files() == [HEADS]


@pytest.mark.usefixtures("chain")
def test_a_file_put_aside_twice_leaves_the_newer_one() -> None:
    for text in (b"first", b"second"):
        write(HEADS, text)
        put_aside(HEADS)
    assert Path(f"{HEADS}.damaged").read_bytes() == b"second"


@pytest.mark.usefixtures("chain")
def test_lost_files_are_those_that_the_wanted_ones_were_made_of() -> None:
    Path(SHARD).unlink()
    write("results/s/other.csv", b"1")
    record_made(["results/s/other.csv"], [])
    Path("results/s/other.csv").unlink()
    assert lost_files([PAGE], lambda _: True) == [SHARD]
    assert lost_files([PAGE], lambda path: path != SHARD) == []
    assert lost_files(["results/s/never.csv"], lambda _: True) == []


@pytest.mark.usefixtures("chain")
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"sha256": 1, "stat": "", "of": []}'])
def test_a_record_that_cannot_be_read_is_none(text: str) -> None:
    record_of(HEADS).write_text(text)
    flipped(HEADS)
    refuse_damaged([HEADS])
    assert damaged_files() == []


def test_a_folder_is_known_by_all_that_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = "results/s/figures/sections"
    write(f"{folder}/a.svg", b"a")
    write(f"{folder}/b.svg", b"b")
    record_made([folder], [])
    write(f"{folder}/.snakemake_timestamp", b"")
    refuse_damaged([folder])
    flipped(f"{folder}/b.svg")
    assert damaged_files() == [folder]
    put_aside(folder)
    assert Path(f"{folder}.damaged/a.svg").exists()


def test_only_files_of_studies_have_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = ["resources/models/m/provenance.json", "results/alone", "results/../up/x"]
    elsewhere += [str(tmp_path / "results" / "s" / "x"), ".snakemake/storage/s3/b/results/s/x"]
    (tmp_path / "results").mkdir()
    for path in elsewhere:
        write(path, b"x")
    record_made(elsewhere, [])
    assert not list(tmp_path.rglob(".made"))


def test_what_is_said_names_every_file() -> None:
    assert "a, b; they are put aside" in told_damaged(["a", "b"], put_aside=True)
    assert "a; the next run makes" in told_damaged(["a"], put_aside=False)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(min_size=1, max_size=200), data=st.data())
def test_any_other_content_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    other = data.draw(st.binary(max_size=200).filter(lambda each: each != content))
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("any"))
    try:
        write(HEADS, content)
        record_made([HEADS], [])
        assert damaged_files() == []
        write(HEADS, other)
        assert damaged_files() == [HEADS]
        with pytest.raises(UserError):
            refuse_damaged([HEADS])
    finally:
        os.chdir(before)
