"""The configuration: defaults, choices, and what a mistake is told."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from counterpoint.errors import UserError
from counterpoint.files.artifacts import user_path
from counterpoint.workflow import config
from counterpoint.workflow.schema import complete, deref, schema

ROOT = Path(__file__).parents[2]


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def resolve(raw: dict[str, Any], folder: Path = ROOT) -> config.Configuration:
    return config.resolve(raw, source="config.yaml", folder=folder)


def changed(**changes: Any) -> dict[str, Any]:
    """The default configuration with values put at dotted paths (written with __)."""
    raw = load("config.yaml")
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = raw
        for key in parents:
            node = node[key]
        node[last] = value
    return raw


def message(raw: dict[str, Any], folder: Path = ROOT) -> str:
    with pytest.raises(UserError) as caught:
        resolve(raw, folder)
    return str(caught.value)


def laid_over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """What Snakemake makes of two configuration files."""
    merged = deepcopy(base)
    for key, value in top.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = laid_over(merged[key], value)
        else:
            merged[key] = value
    return merged


def test_the_default_configuration_shows_every_setting_with_the_schemas_default() -> None:
    raw = load("config.yaml")
    study = raw["studies"]["ioi"]
    bare = {"studies": {"ioi": {"pairs": study["pairs"]}}}
    defaults = complete(bare)["studies"]["ioi"]
    # The heading is the default study's own.
    study["report"]["title"] = None
    # Off unless a study asks for them, as this one does of all but what takes minutes for a pair.
    for name in [name for name, own in study.items() if isinstance(own, dict) and "pairs" in own]:
        assert defaults[name].pop("pairs") == "none"
        is_off = study[name].pop("pairs") == "none"
        assert is_off == (name in ("circuit", "position_curves"))
    # Switched on here, and off where a study says nothing.
    assert study.pop("baselines") and not defaults.pop("baselines")
    assert study == defaults


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("config.*.yaml")))
def test_every_shipped_configuration_is_valid(name: str) -> None:
    if name == "config.schema.yaml":
        pytest.skip("the schema itself")
    resolve(laid_over(load("config.yaml"), load(name)))


def test_every_key_of_the_schema_is_described_and_every_setting_has_a_default() -> None:
    def visit(node: dict[str, Any], path: str, optional: bool) -> None:
        node = deref(node)
        for key, child in node.get("properties", {}).items():
            child = deref(child)
            if not child:
                continue
            assert "description" in child, f"{path}.{key} has no description"
            if optional and key not in node.get("required", []):
                assert "default" in child, f"{path}.{key} has no default"
            visit(child, f"{path}.{key}", optional)

    visit(schema()["$defs"]["study"], "study", True)
    visit(schema(), "config", False)
    for branch in schema()["$defs"]["model"]["allOf"]:
        visit(branch["then"], "model", False)


def test_defaults_are_filled_in_without_touching_the_input() -> None:
    raw = {"studies": {"ioi": {"pairs": "p.csv", "curves": {"nodes": "adaptive"}}}}
    before = deepcopy(raw)
    study = complete(raw)["studies"]["ioi"]
    assert raw == before
    assert study["curves"]["tolerance"] == 1e-4
    assert study["statistics"]["bootstrap_samples"] == 2000
    assert study["counterfactuals"]["budget"]["seconds"] is None


def test_the_order_of_keys_does_not_matter() -> None:
    def turned(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: turned(node[key]) for key in reversed(node)}
        return node

    raw = load("config.yaml")
    for key, name in (("studies", "ioi"), ("models", "gpt2")):
        found, expected = (complete(each)[key][name] for each in (turned(raw), raw))
        assert repr(found) == repr(expected)


def test_all_mistakes_are_reported_at_once_with_file_key_expectation_and_remedy() -> None:
    text = message(
        changed(
            studies__ioi__curvs={},
            studies__ioi__curves__nodes="adaptve",
            studies__ioi__max_pairs="three",
            studies__ioi__statistics__confidence=2,
        )
    )
    assert text.startswith("config.yaml: 4 mistakes")
    assert "studies.ioi.curvs: unknown key; did you mean curves?" in text
    assert 'studies.ioi.curves.nodes: "adaptve" is not allowed; did you mean adaptive?' in text
    assert "studies.ioi.max_pairs" in text and "expected a whole number or null" in text
    assert "studies.ioi.statistics.confidence: 2 is not allowed" in text and "below 1" in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"studie": {}}, "studie: unknown key; did you mean studies?"),
        ({"studies": None}, "studies: null is not allowed; expected a mapping"),
        ({"studies__ioi__max_pairs": 2.0}, "studies.ioi.max_pairs: 2.0 is not allowed"),
        ({"studies__ioi__max_pairs": True}, "studies.ioi.max_pairs: true is not allowed"),
        ({"studies__ioi__curves__tolerance": "1e-4"}, "YAML reads 1e-4 as text; write 1.0e-4"),
        ({"studies__ioi__curves__tolerance": "1e400"}, 'tolerance: "1e400" is not allowed; exp'),
        ({"studies__ioi__statistics__top_k": "1e3"}, "YAML reads 1e3 as text; write 1000;"),
        ({"studies__ioi__statistics__top_k": 20.0}, "a number with a fraction; write 20;"),
        ({"studies__ioi__curves__max_nodes": 65.0}, "max_nodes: 65.0 is not allowed"),
        ({"studies__ioi__prepend_bos": "true"}, "expected one of true, false, both ("),
        ({"studies__ioi__on_bad_pair": None}, "on_bad_pair: null is not allowed"),
        ({"on_bad_pair": "x"}, "expected one of error, drop, null ("),
        ({"study": "a" * 201}, "200 characters at most"),
        ({"pairs": "a" * 5000}, "studies.aaaa"),
        ({"model": "a" * 5000}, "nor an existing folder"),
        ({"models__gpt2": {"source": "local", "path": "a" * 5000}, "model": "gpt2"}, "gpt2.path"),
        ({"studies__ioi__counterfactuals__seeds": [2**63]}, "seeds.0: 9223372036854775808 is not"),
        ({"model": "no/such/file.bin"}, "nor a .gguf or .safetensors file"),
        ({"studies__ioi__directions": []}, "studies.ioi.directions: []"),
        ({"studies__ioi__components": ["mlp"]}, "studies.ioi.components"),
        ({"studies__ioi__counterfactuals__targets": [[1]]}, "counterfactuals.targets: [[1]]"),
        (
            {"studies__ioi__counterfactuals__methods": ["fluint"]},
            'counterfactuals.methods.0: "fluint" is not allowed; did you mean fluent?',
        ),
        (
            {"studies__ioi__counterfactuals__budget": {"evaluations": 0}},
            "counterfactuals.budget.evaluations: 0 is not allowed; expected a whole number",
        ),
        ({"studies__ioi__counterfactuals__start": ""}, 'counterfactuals.start: "" is not allowed'),
        ({"studies__ioi__counterfactuals__start": []}, "counterfactuals.start: [] is not allowed"),
        (
            {"studies__ioi__counterfactuals__answers": [" John"]},
            'counterfactuals.answers: [" John"] is not allowed',
        ),
        (
            {"studies__ioi__counterfactuals__settings__fluent__suprise": 1},
            "counterfactuals.settings.fluent.suprise: unknown key; did you mean surprise?",
        ),
        (
            {"studies__ioi__counterfactuals__settings__evolutoin": {}},
            "counterfactuals.settings.evolutoin: unknown key; did you mean evolution?",
        ),
        ({"studies__ioi__device": "gpu"}, 'studies.ioi.device: "gpu" is not allowed'),
        ({"models__gpt2__source": "pypy"}, 'models.gpt2.source: "pypy"'),
        ({"models__gpt2__source": "pypy"}, "did you mean pypi?"),
        ({"models__gpt2__repository": "gpt2"}, "organisation/name"),
        ({"models__gpt2": {"source": "pypi"}}, "models.gpt2.package: missing"),
        ({"models__gpt2__sha265": "0"}, "models.gpt2.sha265: unknown key"),
        ({"studies": {"a b": {"pairs": "x"}}}, '"a b" is not allowed'),
        ({"study": "oii"}, "no study oii; did you mean ioi?"),
        ({"model": "gtp2"}, "did you mean gpt2?"),
        ({"pairs": "none.csv"}, "there is no file none.csv"),
        ({"models__gpt2": {"source": "local", "path": "x"}, "model": "gpt2"}, "models.gpt2.path"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], expected: str) -> None:
    assert expected in message(changed(**changes))


def test_the_command_line_makes_a_study_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("clean,corrupted,correct,incorrect\n")
    (tmp_path / "a model").mkdir()
    (tmp_path / "a model" / "config.json").write_text("{}")
    raw = changed(study="mine", pairs="my.csv", model="a model", on_bad_pair="drop")
    found = resolve(raw, tmp_path)
    assert list(found.studies) == ["mine"]
    study = found.studies["mine"]
    assert (study["pairs"], study["on_bad_pair"]) == ("my.csv", "drop")
    assert found.models[study["model"]] == {"source": "local", "path": "a model"}
    assert study["model"].startswith("a-model-")


def test_models_by_key_and_by_repository() -> None:
    assert list(resolve(changed(model="gpt2")).models) == ["gpt2"]
    found = resolve(changed(model="EleutherAI/pythia-70m"))
    assert found.models == {
        "EleutherAI--pythia-70m": {
            "source": "huggingface",
            "repository": "EleutherAI/pythia-70m",
            "revision": "main",
        }
    }


@pytest.mark.parametrize("name", ["a.gguf", "A.GGUF", "model.safetensors"])
def test_a_model_may_be_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    found = resolve(one_study(tmp_path, model=name), tmp_path)
    assert list(found.models.values()) == [{"source": "local", "path": name}]


def test_a_link_to_itself_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    assert "there is no file loop.csv" in message(one_study(tmp_path, pairs="loop.csv"), tmp_path)


def test_a_mistake_is_told_once() -> None:
    text = message(changed(studies__ioi__statistics__top_k=0.5))
    assert text.startswith("config.yaml: a mistake in the configuration")


def test_overrides_want_one_study() -> None:
    raw = load("config.yaml")
    raw["studies"]["second"] = raw["studies"]["ioi"]
    raw["on_bad_pair"] = "drop"
    assert "one study only" in message(raw)
    raw["study"] = "second"
    assert resolve(raw).studies["second"]["on_bad_pair"] == "drop"


def test_heads_out_of_range() -> None:
    key = "studies.ioi.counterfactuals.targets"
    config.check_heads([[29, 8]], n_layers=30, n_heads=9, key=key)
    with pytest.raises(UserError, match=r"\[30, 0\], \[0, 9\].*0 to 29.*0 to 8"):
        config.check_heads([[30, 0], [1, 1], [0, 9]], n_layers=30, n_heads=9, key=key)


def test_what_needs_prompts_of_equal_length_is_refused_with_the_reason() -> None:
    # The default study asks for most of it.
    text = message(
        changed(
            studies__ioi__unequal_lengths="align",
            studies__ioi__circuit__pairs=1,
            studies__ioi__counterfactuals__atlas__seeds=[0],
        )
    )
    assert "7 mistakes" in text
    for key, reason, remedy in (
        ("roles.pairs", "a query, key or pattern belongs to a position", "set it to none"),
        ("patterns.pairs", "have no difference", "set it to none"),
        ("edges.pairs", "queries and keys of positions", "set it to none"),
        ("circuit.pairs", "positions without a partner do not have", "set it to none"),
        ("baselines", "defined, in their papers, on prompts of equal length", "set it to []"),
        ("counterfactuals.start", "starts at the pairs of the study", "set targets to []"),
        ("counterfactuals.atlas.start", "starts at the pairs of the study", "set seeds to []"),
    ):
        (line,) = [line for line in text.splitlines() if f"studies.ioi.{key}: " in line]
        assert "not with unequal_lengths: align, since" in line
        assert reason in line and remedy in line


def test_what_is_defined_for_prompts_of_unequal_length_may_be_asked_for() -> None:
    raw = changed(
        studies__ioi__unequal_lengths="align",
        studies__ioi__baselines=[],
        studies__ioi__counterfactuals__start="Then John and Mary went to",
        **{f"studies__ioi__{key}__pairs": "none" for key in ("roles", "patterns", "edges")},
    )
    study = resolve(raw).studies["ioi"]
    assert study["positions"]["pairs"] == 1 and study["answers"]["pairs"] == "all"


def counterfactuals_schema() -> dict[str, Any]:
    return schema()["$defs"]["study"]["properties"]["counterfactuals"]["properties"]


def test_the_schema_allows_every_method_that_exists() -> None:
    from counterpoint.counterfactuals.methods.search import METHODS

    assert set(schema()["$defs"]["method"]["enum"]) == METHODS.keys()
    for key in ("methods", "in_depth"):
        assert counterfactuals_schema()[key]["items"] == {"$ref": "#/$defs/method"}


def test_the_schema_has_the_methods_own_settings_with_their_defaults() -> None:
    from counterpoint.counterfactuals.methods.method_settings import OWN_SETTINGS

    methods = counterfactuals_schema()["settings"]["properties"]
    assert methods.keys() == OWN_SETTINGS.keys()
    for name, node in methods.items():
        defaults = {key: child["default"] for key, child in node["properties"].items()}
        assert defaults == asdict(OWN_SETTINGS[name]()), name
        assert node["additionalProperties"] is False


def test_the_schema_has_the_settings_of_the_atlas() -> None:
    from counterpoint.counterfactuals.methods.method_settings import VariantSettings

    study = schema()["$defs"]["study"]["properties"]
    node = study["counterfactuals"]["properties"]["atlas"]["properties"]["settings"]
    defaults = {key: child["default"] for key, child in node["properties"].items()}
    assert defaults == asdict(VariantSettings())
    assert node["additionalProperties"] is False


def test_a_search_gets_the_settings_of_its_method_alone() -> None:
    from counterpoint.counterfactuals.methods.method_settings import DescentSettings, FluentSettings
    from counterpoint.counterfactuals.problem import Start
    from counterpoint.workflow.search_settings import settings_of, starts_of

    raw = changed(
        studies__ioi__counterfactuals__settings={"fluent": {"surprise": 0.7}},
        studies__ioi__counterfactuals__answers=[" John", " Mary"],
        studies__ioi__counterfactuals__budget={"evaluations": 7},
    )
    wanted = resolve(raw).studies["ioi"]["counterfactuals"]
    found = {
        method: settings_of(config.search_settings(wanted, method), method, 500)
        for method in ("fluent", "proposal_only", "descent", "random_swaps")
    }
    assert found["fluent"].method == FluentSettings(surprise=0.7) == found["proposal_only"].method
    assert found["descent"].method == DescentSettings()
    assert found["random_swaps"].method is None
    for one in found.values():
        assert one.answers == (" John", " Mary")
        assert one.answer_in_prompt == "unwritten"
        assert (one.budget.evaluations, one.budget.seconds, one.memory_mb) == (7, None, 500)
    raw["studies"]["ioi"]["counterfactuals"]["settings"]["fluent"]["surprise"] = 0.8
    other = resolve(raw).studies["ioi"]["counterfactuals"]
    for method, same in (("fluent", False), ("proposal_only", False), ("descent", True)):
        one, two = (config.search_settings(each, method) for each in (wanted, other))
        assert (one == two) is same

    pairs = pd.DataFrame({"pair": [1, 0], "clean": ["c", "a"], "corrupted": ["d", "b"]})
    for start, expected in (
        (None, [Start("a", "b"), Start("c", "d")]),
        ("one", [Start("one")]),
        (["one", "two"], [Start("one"), Start("two")]),
    ):
        assert starts_of({"start": start}, pairs) == expected


# ------------------------------------------- what the command line gives in place of a study's own


def pairs_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("clean,corrupted,correct,incorrect\n")
    return path


def one_study(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    pairs_file(tmp_path / "ioi.default.csv")
    return changed(studies__ioi__pairs="ioi.default.csv", **changes)


@pytest.mark.parametrize(
    ("pairs", "model", "name"),
    [
        ("my.csv", None, "my"),
        ("sub/my.jsonl", None, "my"),
        ("two words.CSV", None, "two-words"),
        ("a.b.parquet", None, "a.b"),
        ("my.csv", "gpt2", "my-in-gpt2"),
        ("my.csv", "models/tiny", "my-in-tiny"),
        ("my.csv", "models/tiny/", "my-in-tiny"),
        ("my.csv", "tiny.gguf", "my-in-tiny"),
        (None, "models/tiny", "ioi-in-tiny"),
        (None, "EleutherAI/pythia-70m", "ioi-in-pythia-70m"),
        ("2024.csv", None, "2024"),
        ("sub/../my.csv", None, "my"),
        ("link.csv", None, "link"),
        ("hf://datasets/owner/name/test.csv", None, "test"),
    ],
)
def test_what_nobody_named_is_a_study_of_its_own(
    tmp_path: Path, pairs: str | None, model: str | None, name: str
) -> None:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "models" / "tiny" / "config.json").write_text("{}")
    (tmp_path / "tiny.gguf").write_text("")
    pairs_file(tmp_path / "sub" / "linked-to.csv")
    if pairs == "link.csv":
        (tmp_path / pairs).symlink_to(tmp_path / "sub" / "linked-to.csv")
    elif pairs is not None and "://" not in pairs:
        pairs_file(tmp_path / pairs)
    raw = one_study(tmp_path, pairs=pairs, model=model, max_pairs=3)
    (found,) = resolve(raw, tmp_path).studies.items()
    assert found[0] == name
    assert found[1]["report"]["title"] is None
    assert found[1]["pairs"] == (pairs or "ioi.default.csv")
    assert found[1]["max_pairs"] == 3


def made(folder: Path, name: str, pairs: str, model: str) -> None:
    """The record of a study that was made from these pairs and this model."""
    path = folder / "results" / name / "provenance.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"settings": {"pairs": pairs, "model": model}}))


def test_files_of_one_name_do_not_take_each_others_results(tmp_path: Path) -> None:
    own = load("config.yaml")["studies"]["ioi"]["model"]
    for folder in ("a", "b"):
        pairs_file(tmp_path / folder / "my.csv")
        (tmp_path / folder / "tiny").mkdir()
        (tmp_path / folder / "tiny" / "config.json").write_text("{}")

    def name(**changes: Any) -> str:
        (found,) = resolve(one_study(tmp_path, **changes), tmp_path).studies
        return found

    assert name(pairs="a/my.csv") == name(pairs="b/my.csv") == "my"
    made(tmp_path, "my", "a/my.csv", own)
    # However it is spelt, the same file keeps its name, and another one does not get it.
    assert name(pairs="a/my.csv") == name(pairs=str(tmp_path / "a" / "my.csv")) == "my"
    other = name(pairs="b/my.csv")
    assert other == name(pairs="b/my.csv") and other.startswith("my-")
    made(tmp_path, other, "b/my.csv", own)
    assert name(pairs="b/my.csv") == other
    assert name(pairs="hf://datasets/o/n/my.csv", max_pairs=3) not in ("my", other)

    (model,) = resolve(one_study(tmp_path, model="a/tiny"), tmp_path).models
    made(tmp_path, "ioi-in-tiny", "ioi.default.csv", model)
    assert name(model="a/tiny") == name(model="a/tiny/") == "ioi-in-tiny"
    assert name(model="b/tiny").startswith("ioi-in-tiny-")
    # Another model of the configuration's own study makes another one, too.
    made(tmp_path, "my", "a/my.csv", "gpt2")
    third = name(pairs="a/my.csv")
    assert third.startswith("my-") and third != other
    assert name(pairs="a/my.csv", studies__ioi__model="EleutherAI/pythia-70m") not in ("my", third)
    # What a study is called by its user stays, and a record that says nothing is none.
    assert name(study="my", pairs="b/my.csv") == "my"
    (tmp_path / "results" / "my" / "provenance.json").write_text("[]")
    assert name(pairs="b/my.csv") == "my"


@pytest.mark.parametrize("pairs", ["ioi.csv", "logs.csv", "comparison.csv", "数据.csv", "_.csv"])
def test_a_name_that_is_taken_or_none_gets_a_digest(tmp_path: Path, pairs: str) -> None:
    pairs_file(tmp_path / pairs)
    pairs_file(tmp_path / "sub" / pairs)
    names = [
        *resolve(one_study(tmp_path, pairs=pairs), tmp_path).studies,
        *resolve(one_study(tmp_path, pairs=f"sub/{pairs}"), tmp_path).studies,
    ]
    assert len(set(names)) == 2
    for name in names:
        assert name not in ("ioi", Path(pairs).stem)
        # It is a name that a study may have.
        complete({"studies": {name: {"pairs": pairs}}})
        assert resolve(one_study(tmp_path, study=name, pairs=pairs), tmp_path).studies.keys() == {
            name
        }


def test_a_file_may_choose_the_study_that_the_command_line_does_not_name(tmp_path: Path) -> None:
    pairs_file(tmp_path / "my.csv")
    raw = one_study(tmp_path, study="ioi", pairs="my.csv")
    for is_named, name in ((False, "my"), (True, "ioi"), (None, "ioi")):
        found = config.resolve(raw, source="here", folder=tmp_path, is_named=is_named).studies
        assert list(found) == [name]
        assert found[name]["report"]["title"] is None


@pytest.mark.parametrize(
    "same",
    [
        {"pairs": "ioi.default.csv"},
        {"pairs": "./ioi.default.csv"},
        {"model": "smollm2-135m-instruct"},
        {"max_pairs": 3, "on_bad_pair": "drop"},
    ],
)
def test_what_a_study_has_already_leaves_it_its_name_and_title(
    tmp_path: Path, same: dict[str, Any]
) -> None:
    found = resolve(one_study(tmp_path, **same), tmp_path).studies
    assert list(found) == ["ioi"]
    assert found["ioi"]["report"]["title"].startswith("Indirect object")


def test_several_studies_want_a_name_for_other_pairs(tmp_path: Path) -> None:
    raw = one_study(tmp_path, pairs="my.csv")
    raw["studies"]["second"] = raw["studies"]["ioi"]
    assert "one study only, but ioi, second are to be made" in message(raw, tmp_path)


@pytest.mark.parametrize("name", ["a{b}.csv", "it's.csv", "a b #1: $HOME`x`.csv", "~tilde.csv"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    pairs_file(tmp_path / name)
    raw = one_study(tmp_path, study="mine", pairs=name)
    assert resolve(raw, tmp_path).studies["mine"]["pairs"] == name


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pairs_file(tmp_path / "my.csv")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    found = resolve(changed(pairs="~/my.csv", model="~/model"))
    assert list(found.studies) == ["my-in-model"]
    assert user_path("~/my.csv") == tmp_path / "my.csv"
    # A home that nobody has.
    assert user_path("~nobody-at-all/my.csv") == Path("~nobody-at-all/my.csv")
    assert "there is no file" in message(changed(pairs="~nobody-at-all/my.csv"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("answers", [" Mary", " Mary"]),
        ("methods", []),
        ("methods", ["fluent", "fluent"]),
        ("seeds", [1, 1]),
        ("targets", [[1, 2], [1, 2]]),
    ],
)
def test_what_would_only_fail_later_is_told_at_once(key: str, value: Any) -> None:
    text = message(changed(**{f"studies__ioi__counterfactuals__{key}": value}))
    assert f"studies.ioi.counterfactuals.{key}: " in text
    assert "no two of them the same" in text


def test_what_is_not_made_of_whole_answers_is_told() -> None:
    """Each of those settings with its reason; with the first difference all of them go."""
    whole: dict[str, Any] = {"studies__ioi__answer_tokens": "whole"}
    with pytest.raises(UserError) as error:
        resolve(changed(**whole, studies__ioi__metric="kl_divergence",
                        studies__ioi__baselines=["relp", "atp_star"],
                        studies__ioi__position_curves__pairs=1,
                        studies__ioi__circuit__pairs=1))  # fmt: skip
    message = str(error.value)
    assert message.startswith("config.yaml: 6 mistakes in the configuration")
    for said in (
        "studies.ioi.metric: kl_divergence is of the predictions at one position",
        "studies.ioi.positions.pairs: 1 is not measured with `answer_tokens: whole`",
        "studies.ioi.position_curves.pairs: 1 is not",
        "studies.ioi.circuit.pairs: 1 is not",
        "studies.ioi.answers.pairs: all is not",
        "studies.ioi.baselines: atp_star is a sum of sizes",
        "give none, or `answer_tokens: first_difference`",
    ):
        assert said in message, said
    none = {f"studies__ioi__{name}__pairs": "none" for name in ("positions", "circuit", "answers")}
    study = resolve(changed(**whole, **none)).studies["ioi"]
    assert study["answer_tokens"] == "whole"
    resolve(changed(studies__ioi__answer_tokens="first_difference"))
