"""What a user of make writes reaches Snakemake as written; what is said to be made is made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoint.errors import UserError
from counterpoint.workflow import command_line
from counterpoint.workflow.command_line import (
    configuration_files,
    cores,
    described,
    further_arguments,
    makes_nothing,
)
from counterpoint.workflow.config import resolve
from counterpoint.workflow.config_layers import read_layers
from tests.helpers.small_study import ROOT

TEXTS = (
    *("2024", "007", "1.10", "1_000", "1e3", "NA", "null", "true", "on", "2024-01-01"),
    *("a b", "it's", 'say "x"', "a`touch BAD`b", "$HOME", "a$b", "$(shell touch BAD)", "$$x"),
    *("#1: x", "a{b}.csv", "~/my.csv", "[x]", "{a: b}", "back\\slash", "é数", "'x'", "-n"),
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", TEXTS)
def test_choices_are_read_back_as_they_are_written(here: Path, text: str) -> None:
    wanted = {"COUNTERPOINT_STUDY": text, "COUNTERPOINT_PAIRS": text, "COUNTERPOINT_MODEL": text}
    (file,) = configuration_files({**wanted, "COUNTERPOINT_MAX_PAIRS": "12"})
    assert read_layers([file]) == {"study": text, "pairs": text, "model": text, "max_pairs": 12}
    assert described(file) == described(here / file) == "the command line"
    assert command_line.names_study([file], {})
    # The same choices have the same file; others another one.
    assert configuration_files({**wanted, "COUNTERPOINT_MAX_PAIRS": "12"}) == [file]
    assert configuration_files(wanted) != [file]


def test_nothing_chosen_and_files_chosen(here: Path) -> None:
    assert configuration_files({"COUNTERPOINT_STUDY": "", "HOME": "x"}) == []
    (here / "one.yaml").write_text("study: a\n")
    (here / "two.yaml").write_text("study: b\n")
    environment = {"COUNTERPOINT_CONFIG": "one.yaml two.yaml", "COUNTERPOINT_ON_BAD_PAIR": "drop"}
    *files, choices = configuration_files(environment)
    assert files == ["one.yaml", "two.yaml"]
    assert not command_line.names_study([*files, choices], {})
    assert command_line.names_study(files, {"study": "c"})
    assert described(here / "one.yaml") == "one.yaml"


def test_a_file_of_config_may_have_any_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "home").mkdir()
    for name in ("it's my $x {a} *.yaml", "home/a.yaml", "home/b c.yaml", "b.yaml"):
        (here / name).write_text("study: a\n")
    for text, expected in (
        ("it's my $x {a} *.yaml", ["it's my $x {a} *.yaml"]),
        ("~/a.yaml b.yaml", [str(here / "home" / "a.yaml"), "b.yaml"]),
        ("~/b c.yaml", [str(here / "home" / "b c.yaml")]),
    ):
        assert configuration_files({"COUNTERPOINT_CONFIG": text}) == expected
        done = make(here, "report", f"CONFIG={text}", HOME=str(here / "home"))
        assert done.returncode == 0, done.stdout
        assert called(here)[0][-len(expected) :] == expected
    many = " ".join(["b.yaml"] * 60)
    assert configuration_files({"COUNTERPOINT_CONFIG": many}) == ["b.yaml"] * 60
    name = b"\xff.csv".decode("utf-8", "surrogateescape")
    with pytest.raises(UserError, match=r"^PAIRS: \\udcff\.csv holds bytes that are no UTF-8"):
        configuration_files({"COUNTERPOINT_PAIRS": name})
    done = make(here, "report", "CONFIG=b.yaml no*.yaml", HOME=str(here / "home"))
    assert done.stdout.startswith("error: CONFIG: there is no file no*.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no file"),
        ("", "is empty"),
        ("- a", "is a list"),
        ("a: [", "is not YAML"),
        ("a: 1\na: 2", "stands twice"),
    ],
)
def test_a_file_of_config_is_looked_at_first(
    here: Path, content: str | None, expected: str
) -> None:
    if content is not None:
        (here / "x.yaml").write_text(content)
    with pytest.raises(UserError, match=rf"^CONFIG: .*x\.yaml.*{expected}|^CONFIG: {expected}"):
        configuration_files({"COUNTERPOINT_CONFIG": "x.yaml"})


def test_a_broken_configuration_of_the_workflow_is_told_with_its_line(here: Path) -> None:
    (here / "config.yaml").write_text("studies:\n  a: [1\n")
    with pytest.raises(UserError, match=r"^config\.yaml is not YAML: line 3, column 1"):
        configuration_files({})


def test_a_number_that_is_none_is_told_with_its_key(here: Path) -> None:
    (file,) = configuration_files({"COUNTERPOINT_MAX_PAIRS": "many"})
    with pytest.raises(UserError, match='max_pairs: "many" is not allowed; expected'):
        resolve(read_layers([ROOT / "config.yaml", file]), source="here", folder=ROOT)


def test_cores() -> None:
    for good in ("1", "16", "all", " 2 "):
        assert cores({"COUNTERPOINT_CORES": good}) == good.strip()
    for bad in ("", "0", "-1", "two", "1.5", "1e3", "00"):
        with pytest.raises(UserError, match=r"CORES: .*make report CORES=4"):
            cores({"COUNTERPOINT_CORES": bad})


@pytest.mark.parametrize("arguments", ["-n", "--dry-run", "--dryrun", "-np", "--unlock", "--lint"])
def test_runs_that_make_nothing(arguments: str) -> None:
    assert makes_nothing([arguments])
    assert makes_nothing(["--quiet", arguments])
    assert not makes_nothing(["--quiet", "rules", "-p", "--keep-going", "-j2", "-k", "none"])


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make in ``folder`` with a Python that says what Snakemake would be called with."""
    fake = folder / "venv" / "bin" / "python"
    if not fake.exists():
        fake.parent.mkdir(parents=True)
        fake.write_text(f'#!/bin/bash\nexec {sys.executable} {folder / "fake.py"} "$@"\n')
        fake.chmod(0o755)
        (folder / "fake.py").write_text(
            "import json, os, sys\n"
            f"sys.path.insert(0, {str(ROOT)!r})\n"
            "from counterpoint.workflow import command_line\n"
            "calls = open('calls', 'a')\n"
            "os.execv = lambda path, words: print(json.dumps(words[3:]), file=calls)\n"
            "command_line.say_what_is_made = lambda words: print('Made:', words)\n"
            "sys.argv = sys.argv[2:]\n"
            "command_line.main() if 'counterpoint' in sys.argv[0] else None\n"
        )
        for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
            (folder / name).write_text("")
            (folder / "venv" / name).write_text("")
        (folder / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (folder / "calls").unlink(missing_ok=True)
    known = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", "--no-print-directory", "VENV=venv", "CORES=3", *arguments],
        cwd=folder,
        env={**known, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def called(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


@pytest.mark.parametrize(
    "texts",
    [
        ("007", "it's a$b", "a`touch BAD`b"),
        ('say "x"', "$(shell touch BAD)", "$(touch BAD)"),
        ("#1: x", "~/a{b}.csv", "$$x $HOME back\\slash 'y'"),
    ],
)
def test_make_hands_over_what_is_written(tmp_path: Path, texts: tuple[str, str, str]) -> None:
    chosen = dict(zip(("study", "pairs", "model"), texts, strict=True))
    variables = [f"{name.upper()}={text}" for name, text in chosen.items()]
    done = make(tmp_path, "report", "ARGS=-n -q", *variables)
    assert done.returncode == 0, done.stdout
    (words,) = called(tmp_path)
    assert words[:5] == ["-n", "-q", "--cores", "3", "--configfile"]
    assert json.loads((tmp_path / words[5]).read_text()) == chosen
    assert not (tmp_path / "BAD").exists()
    assert "Made:" not in done.stdout


def test_every_target_that_runs_snakemake(tmp_path: Path) -> None:
    for name in ("my.yaml", "config.compare.yaml"):
        (tmp_path / name).write_text("study: x\n")
    methods = ["methods", "--keep-going", "--max-jobs-per-timespan", "1000/10s", "-n"]
    methods += ["--cores", "3"]
    for target, words in (
        (["plan"], ["plan", "--cores", "3"]),
        (["unlock"], ["--unlock", "--cores", "3"]),
        (["report", "CONFIG=my.yaml"], ["--cores", "3", "--configfile", "my.yaml"]),
        (["report"], ["--cores", "3"]),
        (["plan", "ARGS=--config 'study=a b'"], ["plan", "--config", "study=a b", "--cores", "3"]),
        (["compare", "ARGS=-n"], [*methods, "--configfile", "config.compare.yaml"]),
    ):
        done = make(tmp_path, *target)
        assert done.returncode == 0, done.stdout
        assert called(tmp_path)[0] == words
        assert ("Made:" in done.stdout) == (target[0] == "report")
    done = make(tmp_path, "report", STUDY="from the environment", MODEL="$x")
    assert done.returncode == 0, done.stdout
    stored = json.loads((tmp_path / called(tmp_path)[0][-1]).read_text())
    assert stored == {"study": "from the environment", "model": "$x"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["CORES=0"], "error: CORES: 0 is no number of cores"),
        (["CORES="], "error: CORES: nothing is no number of cores"),
        (["CORES=$(shell touch BAD)"], "error: CORES: $(shell touch BAD) is no number of cores"),
        (["CORES=`touch BAD`"], "error: CORES: `touch BAD` is no number of cores"),
        (["ARGS=--config study='a"], "error: ARGS: --config study='a does not end as it begins"),
        (
            ["ARGS=--config '`touch BAD`", "STUDY=$(shell touch BAD)"],
            "error: ARGS: --config '`touch",
        ),
        (["CONFIG=-none.yaml"], "error: CONFIG: there is no file -none.yaml"),
        (["CONFIG=none.yaml"], "error: CONFIG: there is no file none.yaml"),
        (["CONFIG=list.yaml"], "error: CONFIG: list.yaml is a list"),
    ],
)
def test_make_tells_a_mistake_in_one_line(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    (tmp_path / "list.yaml").write_text("- a\n")
    done = make(tmp_path, "report", *arguments)
    assert done.returncode != 0
    assert done.stdout.startswith(expected), done.stdout
    assert "Traceback" not in done.stdout and "Made:" not in done.stdout
    assert not (tmp_path / "BAD").exists()


@pytest.mark.parametrize("name", ["VENV", "PYTHON"])
@pytest.mark.parametrize("value", ["a b", "$(shell touch BAD)", ""])
def test_the_programs_that_make_runs_are_one_word(tmp_path: Path, name: str, value: str) -> None:
    done = make(tmp_path, "report", f"{name}={value}")
    assert done.returncode != 0
    assert "VENV and PYTHON are one word each" in done.stdout
    assert not (tmp_path / "BAD").exists()


def test_words_of_args_are_split_as_a_shell_does() -> None:
    for text, expected in (
        ("", []),
        ("-n  --quiet rules", ["-n", "--quiet", "rules"]),
        ("--config 'a=b c' d=\\$HOME`x`", ["--config", "a=b c", "d=$HOME`x`"]),
    ):
        assert further_arguments({"COUNTERPOINT_ARGS": text}) == expected


def test_a_file_whose_name_begins_as_an_option_is_none(here: Path) -> None:
    (here / "-x.yaml").write_text("study: a\n")
    assert configuration_files({"COUNTERPOINT_CONFIG": "-x.yaml"}) == ["./-x.yaml"]


def test_only_what_is_there_is_said_to_be_made(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = "output_file\tdate\nresults/a/report.html\t-\nresults/a/x.csv\t-\nresults/a/b/c\t-\n"
    answer = subprocess.CompletedProcess([], 0, stdout=summary)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    command_line.say_what_is_made([])
    assert capsys.readouterr().out == ""
    (here / "results" / "a").mkdir(parents=True)
    (here / "results" / "a" / "report.html").write_text("")
    command_line.say_what_is_made([])
    made = "\nMade:\n  results/a/report.html\nRead: results/a/report.html\n"
    assert capsys.readouterr().out == made
