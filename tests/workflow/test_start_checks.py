"""What is known before a run is told before it: in the tokenizer, of devices and of folders."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from counterpoint.errors import UserError
from counterpoint.workflow import start_checks
from counterpoint.workflow.config import resolve
from counterpoint.workflow.start_checks import Question, check, check_folders, searched
from counterpoint.workflow.tokenizer_checks import mistakes_of
from tests.bad_inputs.cases import configured
from tests.helpers.small_study import make_model, write_pairs

SETTINGS = {
    "prepend_bos": True,
    "on_bad_pair": "error",
    "answer_tokens": "one",
    "unequal_lengths": "refuse",
    "max_pairs": None,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model, with pairs that are good and some that are not beside it."""
    folder = tmp_path_factory.mktemp("tiny")
    make_model(folder / "model")
    good = write_pairs(folder / "good.csv").read_text()
    (folder / "bad.csv").write_text(good + "When John left,When Mary and John left, John, Mary\n")
    return folder


def asked(tiny: Path, **changes: Any) -> Question:
    given = {"settings": SETTINGS, **changes}
    return Question("small", str(tiny / "model"), **given)


def test_what_is_good_is_not_mentioned(tiny: Path) -> None:
    start, answers = "When John and Mary met", [" John", " Mary"]
    pairs = str(tiny / "good.csv")
    assert not list(mistakes_of(asked(tiny, pairs=pairs, starts=[start], answers=answers)))
    check([asked(tiny, pairs=pairs, starts=[start], answers=answers, device="cpu")])
    check([])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pairs": "bad.csv"}, "bad.csv: 1 of 4 rows cannot be used (unequal length 1)"),
        ({"starts": ["When"]}, "small.counterfactuals.start: 'When' has 2 tokens; expected at"),
        ({"starts": [" Mary" * 70]}, "the model's context holds 64. Write a shorter start"),
        ({"answers": [" Mary", " Peter"]}, "small.counterfactuals.answers: ' Peter' is"),
        ({"device": "cuda:99"}, "studies.small.device: device 'cuda:99' was asked for"),
    ],
)
def test_each_mistake(tiny: Path, changes: dict[str, Any], told: str) -> None:
    if "pairs" in changes:
        changes = {"pairs": str(tiny / changes["pairs"])}
    (mistake,) = mistakes_of(asked(tiny, **changes))
    assert told in mistake


def test_all_are_told_by_the_process_of_its_own(tiny: Path) -> None:
    questions = [asked(tiny, starts=["When"]), asked(tiny, answers=[" Mary", " Peter"])]
    with pytest.raises(UserError) as caught:
        check(questions)
    one, two, last = str(caught.value).splitlines()
    assert "start: 'When'" in one and "answers: ' Peter'" in two
    assert last == "Nothing was started; what was there is there."


def test_a_process_that_fails_is_left_to_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, stdout="")
    monkeypatch.setattr(start_checks.subprocess, "run", lambda *_, **__: failed)
    check([Question("small", "none", starts=["a"])])


@pytest.mark.parametrize(
    ("changes", "starts", "answers"),
    [
        ({}, [], []),
        ({"start": "a"}, ["a"], []),
        ({"start": ["a", "b"], "answers": ["c", "d"]}, ["a", "b"], ["c", "d"]),
        # What nothing uses is not asked for.
        ({"start": "a", "answers": ["c", "d"], "targets": []}, [], []),
        ({"targets": [], "atlas": {"seeds": [0], "start": ["e"]}}, ["e"], []),
        ({"targets": [], "atlas": {"seeds": [], "start": ["e"]}}, [], []),
    ],
)
def test_what_searches_declare(
    tiny: Path, changes: dict[str, Any], starts: list[str], answers: list[str]
) -> None:
    dotted = {f"small.counterfactuals.{key}": value for key, value in changes.items()}
    config = configured({**dotted, "small.pairs": "good.csv", "models.tiny.path": "model"})
    study = resolve(config, source="here", folder=tiny).studies["small"]
    assert searched(study) == {"starts": starts, "answers": answers}


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("none")
    (tmp_path / "there").mkdir()
    check_folders([tmp_path / "there", tmp_path / "new" / "deep"], written=True)
    with pytest.raises(UserError, match="file is a file, and files are to be made"):
        check_folders([tmp_path / "there", tmp_path / "file" / "deep"])
    with pytest.raises(UserError, match="link is a link that leads nowhere"):
        check_folders([tmp_path / "link" / "deep"])


@pytest.mark.parametrize("name", ["there", "there/new/deep"])
def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "there").mkdir()
    # Whoever runs the tests may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path / "there")
    check_folders([tmp_path / name])
    with pytest.raises(UserError, match="there cannot be written to"):
        check_folders([tmp_path / name], written=True)
