"""Every bad input is refused with one message that names its place, and nothing is changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from counterpoint.errors import UserError
from counterpoint.models.fetch import fetch_model
from counterpoint.models.tokenizers.tokenizer import load_tokenizer
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import count_rows, read_pairs
from counterpoint.workflow.command_line import configuration_files, cores, further_arguments
from tests.bad_inputs.cases import Case, contents, read_as_the_snakefile, set_up
from tests.bad_inputs.commands import CHOICES, WORDS, Choice, Words
from tests.bad_inputs.configurations import CONFIGURATIONS
from tests.bad_inputs.models import MODELS as BAD_MODELS
from tests.bad_inputs.models import BadModel
from tests.bad_inputs.pair_files import PAIR_FILES, PairFile
from tests.helpers.small_study import make_model, write_pairs


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and pairs that are as they should be."""
    folder = tmp_path_factory.mktemp("tiny")
    make_model(folder / "tiny")
    write_pairs(folder / "small.csv")
    return folder


@pytest.fixture
def here(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    (tmp_path / "tiny").mkdir()
    for path in (tiny / "tiny").iterdir():
        (tmp_path / "tiny" / path.name).write_bytes(path.read_bytes())
    write_pairs(tmp_path / "small.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_study_is_right_without_a_change(here: Path) -> None:
    case = Case("good", [])
    set_up(case, here)
    assert list(read_as_the_snakefile(case).studies) == ["small"]


@pytest.mark.parametrize("case", CONFIGURATIONS, ids=lambda case: case.name)
def test_a_configuration(here: Path, case: Case) -> None:
    set_up(case, here)
    before = contents(here)
    with pytest.raises(UserError) as caught:
        read_as_the_snakefile(case)
    message = str(caught.value)
    for told in case.told:
        assert told in message
    assert "Traceback" not in message
    assert contents(here) == before


@pytest.fixture(scope="session")
def tokenizer(tiny: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny / "tiny")


@pytest.mark.parametrize("case", PAIR_FILES, ids=lambda case: case.name)
def test_a_file_of_pairs(here: Path, tokenizer: PreTrainedTokenizerBase, case: PairFile) -> None:
    path = here / f"bad{case.suffix}"
    path.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode())
    before = contents(here)
    with pytest.raises(UserError) as caught:
        count_rows(path.name)
        validate_pairs(
            read_pairs(path.name), tokenizer, max_length=64, source=path.name, **case.settings
        )
    message = str(caught.value)
    for told in (path.name, *case.told):
        assert told in message
    assert contents(here) == before


@pytest.mark.parametrize("case", BAD_MODELS, ids=lambda case: case.name)
def test_a_model(here: Path, monkeypatch: pytest.MonkeyPatch, case: BadModel) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    (here / "page.html").write_text("<html>")
    if case.spoil is not None:
        case.spoil(here / "tiny")
    path = "tiny/bad.gguf" if (here / "tiny" / "bad.gguf").exists() else "tiny"
    target = here / "resources" / "models" / "old"
    target.mkdir(parents=True)
    (target / "provenance.json").write_text("of before")
    before = contents(here)
    specification = case.specification
    if specification is None:
        specification = {"source": "local", "path": path}
    with pytest.raises(UserError) as caught:
        fetch_model(specification, target)
    message = str(caught.value)
    for told in case.told:
        assert told in message
    assert contents(here) == before


@pytest.mark.parametrize("case", CHOICES, ids=lambda case: case.name)
def test_what_make_is_told(here: Path, case: Choice) -> None:
    set_up(Case(case.name, [], files=case.files), here)
    before = contents(here)
    environment = {f"COUNTERPOINT_{name}": text for name, text in case.variables.items()}
    with pytest.raises(UserError) as caught:
        cores({"COUNTERPOINT_CORES": "1", **environment})
        further_arguments(environment)
        files = configuration_files(environment)
        read_as_the_snakefile(Case(case.name, []), files)
    message = str(caught.value)
    for told in case.told:
        assert told in message
    own = {name for name in contents(here) if name.startswith(".snakemake/counterpoint/command-")}
    assert {name: held for name, held in contents(here).items() if name not in own} == before


@pytest.mark.parametrize("case", WORDS, ids=lambda case: case.name)
def test_what_snakemake_is_told(here: Path, case: Words) -> None:
    told = Case(case.name, case.told, values=case.values, arguments=case.arguments)
    set_up(told, here)
    with pytest.raises(UserError) as caught:
        read_as_the_snakefile(told)
    for each in case.told:
        assert each in str(caught.value)


def test_there_are_enough_cases_and_no_two_alike() -> None:
    corpus = [CONFIGURATIONS, PAIR_FILES, BAD_MODELS, CHOICES, WORDS]
    for cases in corpus:
        names = [case.name for case in cases]
        assert len(set(names)) == len(names)
    assert sum(map(len, corpus)) >= 120
