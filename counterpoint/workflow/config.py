"""Configuration: checked against ``config.schema.yaml``, completed with its defaults, resolved.

All mistakes of a configuration are reported at once, each with its file, key, what was expected and
a remedy.
Nothing here imports torch, since every start of the workflow passes through it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoint.counterfactuals.methods.method_settings import SETTINGS_SHARED_WITH
from counterpoint.errors import UserError, did_you_mean
from counterpoint.files.artifacts import is_file, user_path
from counterpoint.models.known_models import specified
from counterpoint.pairs import hub
from counterpoint.workflow.config_mistakes import mistakes_of
from counterpoint.workflow.equal_lengths import needing_equal_lengths
from counterpoint.workflow.schema import accepts, complete, schema
from counterpoint.workflow.whole_answer_settings import not_of_whole_answers

#: Command-line keys that stand in for a key of the chosen study.
OVERRIDES = ("pairs", "model", "on_bad_pair", "max_pairs")


@dataclass(frozen=True)
class Configuration:
    """The studies to make and the models they use, with every setting filled in.

    ``studies[name]`` holds the schema's keys of a study; its ``model`` is a key of ``models``.
    """

    studies: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]
    keep_activations: int


def resolve(
    raw: Mapping[str, Any],
    *,
    source: str,
    folder: Path | None = None,
    is_named: bool | None = None,
) -> Configuration:
    """Check ``raw``, fill defaults in, apply the command line's overrides, pick the studies.

    ``raw`` is what the YAML files and the command line hold together, ``source`` names them in
    messages, and relative paths of the configuration are seen from ``folder`` (default: here).
    ``is_named`` says whether the command line names the study (by default: whether anything does);
    with other pairs or another model than its own, an unnamed study becomes one of its own.

    Raises UserError listing every mistake.
    """
    # The command line's numbers and YAML's mappings come as they are: a copy as plain JSON values.
    config = json.loads(json.dumps(raw, default=str))
    _refuse([*mistakes_of(config), *_not_finite(config)], source)
    config = complete(config)
    is_named = config["study"] is not None if is_named is None else is_named
    chosen = _chosen_studies(config, source, folder or Path(), is_named)
    for study in chosen.values():
        for key in OVERRIDES:
            if config[key] is not None:
                study[key] = config[key]
    models = dict(config["models"])
    for study in chosen.values():
        study["model"] = _model_key(study["model"], models, folder or Path())
    _refuse(
        [
            *_missing(chosen, models, folder or Path()),
            *not_of_whole_answers(chosen),
            *_incomparable(chosen),
            *needing_equal_lengths(chosen),
        ],
        source,
    )
    used = {study["model"] for study in chosen.values()}
    return Configuration(
        chosen, {name: models[name] for name in sorted(used)}, config["keep_activations"]
    )


def search_settings(counterfactuals: Mapping[str, Any], method: str) -> dict[str, Any]:
    """What the searches of a study (its key ``counterfactuals``) by one method depend on.

    ``own`` holds the settings of that method alone, so that another method's rerun nothing here; a
    baseline without settings has none.
    """
    shared = ("budget", "start", "answers", "answer_in_prompt")
    own = counterfactuals["settings"].get(SETTINGS_SHARED_WITH.get(method, method), {})
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


# Resolution


def _not_finite(value: Any, path: str = "") -> Iterator[str]:
    """Numbers that are none: YAML's .nan and .inf, which every limit of the schema lets pass."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: {value} is not allowed; expected a finite number"
    children = value.items() if isinstance(value, dict) else ()
    for key, each in enumerate(value) if isinstance(value, list) else children:
        yield from _not_finite(each, f"{path}.{key}" if path else str(key))


def _chosen_studies(
    config: Mapping[str, Any], source: str, folder: Path, is_named: bool
) -> dict[str, dict[str, Any]]:
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
            study = deepcopy(studies[name])
            replaced = _replaced(study, config, folder)
            if replaced:
                # It told of another task, or of another model.
                study["report"]["title"] = None
            # What nobody named is a study of its own: the one it stems from keeps its results.
            new = name
            if replaced and not is_named:
                new = _name_of(name, study, config, replaced, folder)
            chosen[new] = study
        elif config["pairs"] is not None:
            # A study that only the command line knows: the schema's defaults and its pairs.
            new_study = complete({"studies": {name: {"pairs": config["pairs"]}}})
            chosen[name] = new_study["studies"][name]
        else:
            raise UserError(
                f"study: {source} has no study {name};{did_you_mean(name, list(studies))} it has "
                f"{', '.join(studies)}; for a new one give its file of pairs too, as in "
                f"study={name} pairs=FILE (make: STUDY={name} PAIRS=FILE)"
            )
    return chosen


def _replaced(study: Mapping[str, Any], config: Mapping[str, Any], folder: Path) -> list[str]:
    """Which of pairs and model the command line gives a study another one of."""
    found = []
    for key in ("pairs", "model"):
        own, other = study[key], config[key]
        if other is None or other == own:
            continue
        if key != "pairs" or not _same_file(own, other, folder):
            found.append(key)
    return found


def _same_file(one: str, other: str, folder: Path) -> bool:
    """Whether two texts name one file of pairs."""
    if hub.is_hub_file(one) or hub.is_hub_file(other):
        return one == other
    # Not Path.resolve, which fails for links that lead to themselves.
    return len({os.path.realpath(user_path(each, folder)) for each in (one, other)}) == 1


def _name_of(
    name: str,
    study: Mapping[str, Any],
    config: Mapping[str, Any],
    replaced: Sequence[str],
    folder: Path,
) -> str:
    """A name for a study that nobody named, from its files: `my`, `my-in-model`, `ioi-in-gpt2`.

    ``study`` has its settings, before what is ``replaced`` in it.
    """
    parts, is_whole = [], True
    for key in ("pairs", "model"):
        if key not in replaced:
            parts.append(name if key == "pairs" else "")
            continue
        text = config[key].rstrip("/")
        # As it is written: a link may lead to a name that says nothing.
        path = os.path.normpath(user_path(text).absolute())
        last = text if text in config["models"] else Path(path).name
        stem = re.sub(r"\.(csv|jsonl|ndjson|parquet|gguf)$", "", last, flags=re.IGNORECASE)
        part = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:80]
        is_whole &= bool(part) and stem.isascii()
        parts.append(part or key)
    found = "-in-".join(part for part in parts if part)
    allowed = accepts(schema()["$defs"]["study_name"], found)
    given = {key: config[key] if key in replaced else study[key] for key in ("pairs", "model")}
    is_taken = found in config["studies"] or _holds_another(found, given, config["models"], folder)
    if is_taken or not allowed or not is_whole:
        # The digest keeps it apart from the study that has this name.
        found += f"-{hashlib.sha256(json.dumps(given).encode()).hexdigest()[:8]}"
    return found


def _holds_another(
    name: str, given: Mapping[str, str], models: Mapping[str, Any], folder: Path
) -> bool:
    """Whether the results of this name are of other pairs or another model: `a/my.csv` and
    `b/my.csv` have one name, and the second must not take the place of the first."""
    try:
        record = (folder / "results" / name / "provenance.json").read_text(encoding="utf-8")
        made = json.loads(record)["settings"]
        pairs, model = str(made["pairs"]), str(made["model"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    same = _same_file(pairs, given["pairs"], folder)
    return not same or model != _model_key(given["model"], dict(models), folder)


def _model_key(wanted: str, models: dict[str, dict[str, Any]], folder: Path) -> str:
    """The key of what a study calls its model; folders and repositories are added to ``models``."""
    key, models[key] = specified(wanted, models, folder)
    return key


def _missing(
    studies: Mapping[str, Mapping[str, Any]], models: Mapping[str, Mapping[str, Any]], folder: Path
) -> list[str]:
    """Files and folders that the configuration names and that are not there."""
    mistakes = []
    for name, study in studies.items():
        path = user_path(study["pairs"], folder)
        if hub.is_hub_file(study["pairs"]):
            mistakes += _hub_mistakes(name, study)
        elif not is_file(path):
            mistakes.append(
                f"studies.{name}.pairs: there is no file {study['pairs']} (looked for at "
                f"{path.absolute()}); give the path of a CSV, JSONL or Parquet file with the "
                "columns clean, corrupted, correct, incorrect"
            )
        spec = models[study["model"]]
        if spec["source"] == "local":
            path = user_path(spec["path"], folder)
            if not any(map(is_file, (path, path / "config.json"))):
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
