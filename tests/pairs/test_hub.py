"""Pairs from data sets on the hub: what is named, what is fetched, what a mistake is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import errors

from counterpoint.errors import UserError
from counterpoint.pairs import hub
from counterpoint.pairs.pair_files import read_pairs
from counterpoint.workflow import config

ROOT = Path(__file__).parents[2]
PAIRS = "clean,corrupted,correct,incorrect\na b,a c, d, e\n"


@pytest.mark.parametrize(
    ("text", "repository", "revision", "file"),
    [
        ("hf://datasets/o/n/a.csv", "o/n", None, "a.csv"),
        ("hf://datasets/o/n.v-2/x/y.parquet", "o/n.v-2", None, "x/y.parquet"),
        ("hf://datasets/o/n@main/a.jsonl", "o/n", "main", "a.jsonl"),
        (
            "hf://datasets/o/n@refs/convert/parquet/d/train/0.parquet",
            "o/n",
            "refs/convert/parquet",
            "d/train/0.parquet",
        ),
        ("hf://datasets/o/n", "o/n", None, None),
        ("hf://datasets/o/n/", "o/n", None, None),
    ],
)
def test_what_is_named(text: str, repository: str, revision: str | None, file: str | None) -> None:
    assert hub.is_hub_file(text)
    assert hub.parse(text) == hub.HubFile(repository, revision, file)


@pytest.mark.parametrize(
    "text",
    [
        "hf://models/o/n/a.csv",
        "hf://datasets/o",
        "hf://datasets/o/n/a.txt",
        "hf://datasets/o/n/../../a.csv",
        "hf://datasets/o/n@/a.csv",
        "hf://datasets/../n/a.csv",
        "hf://datasets/o/n//tmp/a.csv",
        "hf://datasets/o/n/x//a.csv",
        "hf://datasets/o/n@main//a.csv",
    ],
)
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(UserError, match="pairs: hf://"):
        hub.parse(text)


def test_copies_of_different_files_stand_apart() -> None:
    names = (
        "o/n/a.csv",
        "o/n@r/a.csv",
        "o/n@b/a.csv",
        "o/n/b/a.csv",
        "o/n@refs/pr/1/a.csv",
        "o/n",
        "o/n/a{b}.csv",
    )
    places = [hub.parse(f"hf://datasets/{name}").local for name in names]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(hub.FOLDER) for place in places)
    assert all(place.suffix in hub.SUFFIXES for place in places)
    assert not any("{" in str(place) for place in places)


class Hub:
    """Stands in for the hub: files by data set, revision and path; or an error."""

    def __init__(self, folder: Path, files: dict[tuple[str, str | None], list[str]]) -> None:
        self.folder, self.files = folder, files
        self.error: Exception | None = None

    def download(self, name: str, file: str, *, revision: str | None, repo_type: str) -> str:
        assert repo_type == "dataset"
        if self.error is not None:
            raise self.error
        assert file in self.files[name, revision]
        path = self.folder / "cached"
        path.write_text(PAIRS)
        return str(path)

    def listing(self, name: str, *, revision: str, repo_type: str) -> list[str]:
        assert repo_type == "dataset"
        if self.error is not None:
            raise self.error
        return self.files[name, revision]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    one = Hub(
        tmp_path,
        {
            ("o/n", None): ["a.csv"],
            ("o/n", hub.CONVERTED): ["default/train/0000.parquet"],
            ("o/many", hub.CONVERTED): ["x/test/0.parquet", "x/train/0.parquet", "readme.md"],
            ("o/none", hub.CONVERTED): ["readme.md"],
        },
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", one.download)
    monkeypatch.setattr(
        huggingface_hub.HfApi, "list_repo_files", lambda self, *a, **k: one.listing(*a, **k)
    )
    return one


@pytest.mark.parametrize("text", ["hf://datasets/o/n/a.csv", "hf://datasets/o/n"])
def test_the_file_is_copied(served: Hub, tmp_path: Path, text: str) -> None:
    said: list[str] = []
    target = tmp_path / "there" / "pairs.csv"
    hub.fetch(hub.parse(text), target, progress=said.append)
    assert len(read_pairs(target)) == 1
    assert said and all("o/n" in line for line in said)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "o/many",
            r"has 2 files.*x/test/0\.parquet, x/train/0\.parquet.*as in hf://datasets/o/many@",
        ),
        ("o/none", "has 0 files"),
    ],
)
def test_a_name_alone_must_mean_one_file(
    served: Hub, tmp_path: Path, name: str, expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        hub.fetch(hub.parse(f"hf://datasets/{name}"), tmp_path / "x.parquet", progress=print)
    assert not (tmp_path / "x.parquet").exists()


def http(kind: type[Exception]) -> Exception:
    """An error as the hub's library makes it of an answer."""
    made: Any = kind
    return made("no", response=httpx.Response(404, request=httpx.Request("GET", "http://x")))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (http(errors.GatedRepoError), "is gated: accept its terms"),
        (http(errors.RepositoryNotFoundError), "no public data set 'o/n'"),
        (http(errors.RevisionNotFoundError), "has no revision None"),
        (http(errors.RemoteEntryNotFoundError), r"has no file a\.csv; look at"),
        (errors.LocalEntryNotFoundError("no"), "cannot be reached"),
        (ConnectionError("no"), "cannot be reached"),
    ],
)
def test_what_goes_wrong_is_told_with_a_remedy(
    served: Hub, tmp_path: Path, error: Exception, expected: str
) -> None:
    served.error = error
    with pytest.raises(UserError, match=expected):
        hub.fetch(hub.parse("hf://datasets/o/n/a.csv"), tmp_path / "x.csv", progress=print)


def test_a_data_set_that_the_hub_does_not_convert(served: Hub, tmp_path: Path) -> None:
    served.error = http(errors.RevisionNotFoundError)
    with pytest.raises(UserError, match="Name one of its files"):
        hub.fetch(hub.parse("hf://datasets/o/n"), tmp_path / "x.parquet", progress=print)


def resolve(**study: Any) -> config.Configuration:
    raw = {"studies": {"s": {"model": "org/name", **study}}}
    return config.resolve(raw, source="config.yaml", folder=ROOT)


def test_a_study_of_the_hub_needs_its_number_of_pairs() -> None:
    study = resolve(pairs="hf://datasets/o/n/a.csv", max_pairs=50).studies["s"]
    assert study["pairs"] == "hf://datasets/o/n/a.csv"
    with pytest.raises(UserError, match=r"studies\.s\.max_pairs: missing.*MAX_PAIRS=100"):
        resolve(pairs="hf://datasets/o/n/a.csv")
    with pytest.raises(UserError, match=r"2 mistakes[\s\S]*studies\.s\.pairs: hf://x is not under"):
        resolve(pairs="hf://x")


def test_the_number_of_pairs_can_be_given_on_the_command_line() -> None:
    raw = {"studies": {"s": {"model": "org/name", "pairs": "hf://datasets/o/n"}}, "max_pairs": 7}
    found = config.resolve(raw, source="config.yaml", folder=ROOT)
    assert found.studies["s"]["max_pairs"] == 7
