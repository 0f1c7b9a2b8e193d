"""Configuration: checked against ``config.schema.yaml``, completed with its defaults, resolved.

The schema is the one place where keys, allowed values and defaults are written down. All mistakes
of a configuration are reported at once, each with its file, key, what was expected and a remedy.
Nothing here imports torch, since every start of the workflow passes through it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from counterpoint import hub
from counterpoint.errors import UserError

SCHEMA_FILE = Path(__file__).parent.parent / "config.schema.yaml"

#: Command-line keys that stand in for a key of the chosen study.
OVERRIDES = ("pairs", "model", "on_bad_pair", "max_pairs")

#: Ways of searching whose settings are those of another one.
SETTINGS_OF = {"proposal_only": "fluent"}


@dataclass(frozen=True)
class Configuration:
    """The studies to make and the models they use, with every setting filled in.

    ``studies[name]`` holds the schema's keys of a study; its ``model`` is a key of ``models``.
    """

    studies: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]
    keep_activations: int


@cache
def schema() -> dict[str, Any]:
    """The schema, read once."""
    loaded: dict[str, Any] = yaml.safe_load(SCHEMA_FILE.read_text(encoding="utf-8"))
    return loaded


@cache
def _validator() -> Any:
    def is_integer(_: Any, value: Any) -> bool:
        # 2.0 would pass as an integer by JSON Schema and then fail as a count.
        return isinstance(value, int) and not isinstance(value, bool)

    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    return validators.extend(Draft202012Validator, type_checker=types)(schema())


def resolve(raw: Mapping[str, Any], *, source: str, folder: Path | None = None) -> Configuration:
    """Check ``raw``, fill defaults in, apply the command line's overrides, pick the studies.

    ``raw`` is what the YAML files and the command line hold together, ``source`` names them in
    messages, and relative paths of the configuration are seen from ``folder`` (default: here).

    Raises UserError listing every mistake.
    """
    # The command line's numbers and YAML's mappings come as they are: a copy as plain JSON values.
    config = json.loads(json.dumps(raw))
    mistakes = sorted(
        f"{path}: {text}"
        for error in _leaves(_validator().iter_errors(config))
        for path, text in _explain(error)
    )
    _refuse(mistakes, source)
    config = complete(config)
    chosen = _chosen_studies(config, source)
    for study in chosen.values():
        for key in OVERRIDES:
            if config[key] is not None:
                study[key] = config[key]
    models = dict(config["models"])
    for study in chosen.values():
        study["model"] = _model_key(study["model"], models, folder or Path())
    _refuse([*_missing(chosen, models, folder or Path()), *_incomparable(chosen)], source)
    used = {study["model"] for study in chosen.values()}
    return Configuration(
        chosen, {name: models[name] for name in sorted(used)}, config["keep_activations"]
    )


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a valid configuration in which every key with a default is present."""
    whole: dict[str, Any] = _fill(schema(), deepcopy(dict(config)))
    return whole


def search_settings(counterfactuals: Mapping[str, Any], method: str) -> dict[str, Any]:
    """What the searches of a study (its key ``counterfactuals``) by one method depend on.

    ``own`` holds the settings of that method alone, so that another method's rerun nothing here; a
    baseline without settings has none.
    """
    shared = ("budget", "start", "answers", "answer_in_prompt")
    own = counterfactuals["settings"].get(SETTINGS_OF.get(method, method), {})
    return {key: counterfactuals[key] for key in shared} | {"own": own}


def number_of_targets(wanted: Sequence[Sequence[int]] | Mapping[str, Any]) -> int:
    """How many heads the setting `targets` asks for, known before it is known which."""
    if not isinstance(wanted, Mapping):
        return len(wanted)
    return int(wanted["top"] if "top" in wanted else wanted["random"])


def check_heads(heads: Sequence[Sequence[int]], *, n_layers: int, n_heads: int, key: str) -> None:
    """Raise UserError naming ``key`` when a [layer, head] does not exist in the model."""
    wrong = [head for head in heads if head[0] >= n_layers or head[1] >= n_heads]
    if wrong:
        shown = ", ".join(f"[{layer}, {head}]" for layer, head in wrong)
        raise UserError(
            f"{key}: the model has no head {shown}; its layers go from 0 to {n_layers - 1} and its "
            f"heads from 0 to {n_heads - 1}"
        )


def _refuse(mistakes: Sequence[str], source: str) -> None:
    if mistakes:
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise UserError("\n  ".join([f"{source}: {count} in the configuration", *mistakes]))


# Defaults


def _deref(node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/$defs/")
        definition: Mapping[str, Any] = schema()["$defs"][name]
        return definition
    return node


def _fill(node: Mapping[str, Any], value: Any) -> Any:
    node = _deref(node)
    if not isinstance(value, dict):
        return value
    for key, child in node.get("properties", {}).items():
        child = _deref(child)
        if key not in value and "default" in child:
            value[key] = deepcopy(child["default"])
        if key in value:
            value[key] = _fill(child, value[key])
    extra = node.get("additionalProperties")
    if isinstance(extra, Mapping):
        for key in value.keys() - node.get("properties", {}).keys():
            value[key] = _fill(extra, value[key])
    for branch in node.get("allOf", []):
        if "if" in branch and _validator().evolve(schema=branch["if"]).is_valid(value):
            value = _fill(branch["then"], value)
    # In the schema's order, so that what is written in another order is the same configuration.
    order = {key: place for place, key in enumerate(node.get("properties", {}))}
    return dict(sorted(value.items(), key=lambda item: order.get(item[0], len(order))))


# Messages


def _leaves(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    """Errors inside an anyOf are not told one by one: its alternatives are listed instead."""
    for error in errors:
        if error.validator in ("allOf", "if", "$ref") and error.context:
            yield from _leaves(iter(error.context))
        else:
            yield error


def _explain(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Key paths and texts of one schema violation."""
    path = _dotted(error.absolute_path)
    node = cast("Mapping[str, Any]", error.schema)
    match error.validator:
        case "additionalProperties" if isinstance(error.instance, dict):
            known = list(node["properties"])
            for key in error.instance.keys() - set(known):
                yield (
                    _dotted([*error.absolute_path, key]),
                    f"unknown key;{_did_you_mean(str(key), known)} known here: {', '.join(known)}",
                )
        case "required" if isinstance(error.instance, dict):
            # jsonschema reports each missing key in an error of its own.
            key = str(error.message).split("'")[1]
            meaning = _describe(_deref(node.get("properties", {}).get(key, {})))
            yield _dotted([*error.absolute_path, key]), f"missing; give {meaning}"
        case _:
            got = json.dumps(error.instance, ensure_ascii=False)
            got = got if len(got) < 80 else got[:76] + " ..."
            hint = _did_you_mean(str(error.instance), _choices(node))
            text = error.instance
            if (
                isinstance(text, str)
                and _accepts_number(node)
                and re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", text)
            ):
                hint = f" YAML reads {text} as text; write {_yaml_number(text)};"
            yield path, f"{got} is not allowed;{hint} expected {_describe(node)}"


def _yaml_number(text: str) -> str:
    number = float(text)
    if number == int(number) and "e" not in text.lower():
        return str(int(number))
    mantissa, exponent = f"{number:e}".split("e")
    return f"{float(mantissa)}e{int(exponent):+d}"


def _accepts_number(node: Mapping[str, Any]) -> bool:
    allowed = node.get("type", [])
    return bool({"number", "integer"} & set([allowed] if isinstance(allowed, str) else allowed))


def _dotted(path: Any) -> str:
    return ".".join(str(part) for part in path) or "(top level)"


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" did you mean {near[0]}?" if near else ""


def _choices(node: Mapping[str, Any]) -> list[str]:
    return [value for value in node.get("enum", []) if isinstance(value, str)]


_TYPE_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def _describe(node: Mapping[str, Any]) -> str:
    """What a schema node allows, in words, with its description."""
    node = _deref(node)
    expected = _allowed(node)
    description = node.get("description")
    return f"{expected} ({description.strip().rstrip('.')})" if description else expected


def _allowed(node: Mapping[str, Any]) -> str:
    node = _deref(node)
    if "enum" in node:
        return "one of " + ", ".join("null" if v is None else str(v) for v in node["enum"])
    if "const" in node:
        return json.dumps(node["const"])
    if "anyOf" in node:
        return ", or ".join(_allowed(branch) for branch in node["anyOf"])
    types = node.get("type", [])
    words = " or ".join(_TYPE_WORDS[t] for t in ([types] if isinstance(types, str) else types))
    if "properties" in node and "anyOf" not in node:
        words += f" with {', '.join(node['properties'])}"
    if "items" in node:
        words += f", each {_allowed(node['items'])}"
    limits = [
        f"{text} {node[key]}"
        for key, text in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
            ("minItems", "items at least"),
            ("maxItems", "items at most"),
            ("minLength", "characters at least"),
            ("pattern", "of the form"),
        )
        if key in node
    ]
    return f"{words or 'a value'}{', ' if limits else ''}{', '.join(limits)}"


# Resolution


def _chosen_studies(config: Mapping[str, Any], source: str) -> dict[str, dict[str, Any]]:
    studies, wanted = config["studies"], config["study"]
    names = list(studies) if wanted is None else [wanted] if isinstance(wanted, str) else wanted
    overridden = [key for key in OVERRIDES if config[key] is not None]
    if overridden and len(names) > 1:
        raise UserError(
            f"{', '.join(overridden)} on the command line can stand in for one study only, but "
            f"{', '.join(names)} are to be made; name one, as in study=NAME (make: STUDY=NAME)"
        )
    chosen = {}
    for name in names:
        if name in studies:
            chosen[name] = deepcopy(studies[name])
        elif config["pairs"] is not None:
            # A study that only the command line knows: the schema's defaults and its pairs.
            new = complete({"studies": {name: {"pairs": config["pairs"]}}})
            chosen[name] = new["studies"][name]
        else:
            raise UserError(
                f"study: {source} has no study {name};{_did_you_mean(name, list(studies))} it has "
                f"{', '.join(studies)}; for a new one give its file of pairs too, as in "
                f"study={name} pairs=FILE (make: STUDY={name} PAIRS=FILE)"
            )
    return chosen


def _model_key(wanted: str, models: dict[str, dict[str, Any]], folder: Path) -> str:
    """The key of what a study calls its model; folders and repositories are added to ``models``."""
    if wanted in models:
        return wanted
    path = folder / Path(wanted).expanduser()
    if path.is_dir() or path.suffix == ".gguf":
        # The digest keeps two folders of the same name apart.
        digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
        key = f"{_slug(path.resolve().name)}-{digest}"
        models[key] = {"source": "local", "path": wanted}
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", wanted) and not wanted.startswith("."):
        key = _slug(wanted.replace("/", "--"))
        models[key] = {"source": "huggingface", "repository": wanted, "revision": "main"}
    else:
        raise UserError(
            f"model: {wanted} is neither a key of models ({', '.join(models) or 'none'}), nor "
            "an existing folder, nor a GGUF file, nor a Hugging Face repository written "
            "organisation/name;"
            f"{_did_you_mean(wanted, list(models))} check the spelling or add it under models"
        )
    return key


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "model"


def _missing(
    studies: Mapping[str, Mapping[str, Any]], models: Mapping[str, Mapping[str, Any]], folder: Path
) -> list[str]:
    """Files and folders that the configuration names and that are not there."""
    mistakes = []
    for name, study in studies.items():
        path = folder / Path(study["pairs"]).expanduser()
        if hub.is_hub_file(study["pairs"]):
            mistakes += _hub_mistakes(name, study)
        elif not path.is_file():
            mistakes.append(
                f"studies.{name}.pairs: there is no file {study['pairs']} (looked for at "
                f"{path.absolute()}); give the path of a CSV, JSONL or Parquet file with the "
                "columns clean, corrupted, correct, incorrect"
            )
        spec = models[study["model"]]
        if spec["source"] == "local":
            path = folder / Path(spec["path"]).expanduser()
            if not (path.is_file() or (path / "config.json").is_file()):
                mistakes.append(
                    f"models.{study['model']}.path: {path.absolute()} is neither a folder with a "
                    "config.json nor a file; give the folder of a Hugging Face model (config.json, "
                    "*.safetensors, tokenizer) or a GGUF file"
                )
    return mistakes


def _hub_mistakes(name: str, study: Mapping[str, Any]) -> list[str]:
    mistakes = []
    try:
        hub.parse(study["pairs"])
    except UserError as mistake:
        mistakes.append(f"studies.{name}.{mistake}")
    if study["max_pairs"] is None:
        mistakes.append(
            f"studies.{name}.max_pairs: missing; give a number: how many rows a data set on the "
            "hub has is not known before it is fetched, but the number of jobs depends on it "
            "(make: MAX_PAIRS=100)"
        )
    return mistakes


def _incomparable(studies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Settings in which studies that are made together, and so compared, must not differ."""
    levels = {name: study["statistics"]["confidence"] for name, study in studies.items()}
    first, expected = next(iter(levels.items()))
    return [
        f"studies.{name}.statistics.confidence: {level} differs from the {expected} of study "
        f"{first}, and intervals of different levels cannot be averaged; give all studies the same "
        "level, or make them one at a time (study=NAME, make: STUDY=NAME)"
        for name, level in levels.items()
        if level != expected
    ]
