"""Configuration files laid over each other, as the schema understands them.

A file's keys are laid over those of the file before it, and the command line's over both. Two
things are replaced as a whole instead: a mapping that is one of several kinds (the targets of a
search, where a model comes from), since the keys of two kinds do not go together, and a list.

What YAML does not take for text is what is written, where only text is expected: a study may be
named `2024`, `007` or `on`, a package have the version 1.10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from counterpoint.errors import UserError
from counterpoint.files.yaml_and_json import PathLike, Written, plain, read_mapping, whole_text
from counterpoint.workflow.schema import accepts, deref, schema

MISREAD = r"[-+]?(0[0-7_]*[0-7]|[0-9_]+(:[0-5]?[0-9])+(\.[0-9_]*)?)"
"""How octal numbers and those to the base of 60 are written in YAML."""

TEXTS = ("study", "pairs", "model", "on_bad_pair")
"""Keys of the command line that are text."""


def read_layers(
    files: Sequence[PathLike], command_line: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What ``files`` hold together, the last on top, with the values of the command line over it.

    Raises UserError, naming the file, for one that cannot be read or has a key twice.
    """
    whole: dict[str, Any] = {}
    for layer in [*map(read_mapping, files), dict(command_line or {})]:
        whole = _lay(schema(), whole, _without_old_titles(whole, layer))
    settled: dict[str, Any] = settle(whole)
    return settled


def settle(value: Any, node: Mapping[str, Any] | None = None, path: str = "") -> Any:
    """The same with every scalar either as YAML reads it or as it is written, whichever the schema
    allows at its place (``node``, by default the whole schema; ``path`` is its dotted key).

    Raises UserError for a number that YAML reads as another one than a reader (010 is 8 to it, and
    1:30 is 90), and for text that no file can hold.
    """
    node = deref(schema() if node is None else node)
    within = f"{path}." if path else ""
    if isinstance(value, Mapping):
        return {
            whole_text(key, path): settle(each, _child(node, key, value), f"{within}{key}")
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [settle(each, _items(node), f"{within}{n}") for n, each in enumerate(value)]
    if isinstance(value, str):
        return whole_text(value, path)
    if not isinstance(value, Written):
        return value
    if accepts(node, value.value) or not value.text:
        _refuse_misread(value, path)
        return value.value
    is_json = value.value is None or isinstance(value.value, int | float)
    if accepts(node, value.text) or not is_json:
        return value.text
    _refuse_misread(value, path)
    return value.value


def _refuse_misread(value: Written, path: str) -> None:
    """Raise UserError for a number that is written in a way that means another one to YAML."""
    is_number = isinstance(value.value, int | float) and not isinstance(value.value, bool)
    if not (is_number and re.fullmatch(MISREAD, value.text)):
        return
    plainly = value.text.replace("_", "").lstrip("+0") or "0"
    if plainly != str(value.value):
        either = f", or {plainly} if that is meant" if plainly.isdigit() else ""
        raise UserError(
            f"{path}: YAML reads {value.text} as the number {value.value}; write "
            f"{value.value}{either}"
        )


def from_command_line(values: Mapping[str, Any], arguments: Sequence[str] = ()) -> dict[str, Any]:
    """What Snakemake made of ``--config key=value``, with numbers and the like as they are written.

    Snakemake reads `2024` as a number and `007` as 7; ``arguments`` are those of the command line,
    which hold what was written. Raises UserError where a text did not survive, and where something
    stands twice of which Snakemake takes the last alone, with the remedy.
    """
    written = _as_written(arguments)
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in TEXTS and isinstance(value, list) and len(value) == 1:
            # The way to write a text that is read as something else: key='["007"]'.
            (found[key],) = value
        elif key in TEXTS and value is not None and not isinstance(value, list):
            text = written.get(key, str(value)).strip("'\"")
            if text != str(value):
                raise UserError(
                    f"{key}: Snakemake reads {text} on its command line as {value!r}; write "
                    f"{key}='[\"{text}\"]', or let make pass it: make report {key.upper()}=..., or "
                    "put it into a file: --configfile FILE"
                )
            found[key] = text
        elif value is None and written.get(key):
            raise UserError(
                f"{key}: Snakemake reads nothing in {written[key]} (# begins a remark to it); let "
                f"make pass it: make report {key.upper()}=..., or put it into a file: --configfile "
                "FILE"
            )
        else:
            found[key] = _scalars(value)
    return found


def _as_written(arguments: Sequence[str]) -> dict[str, str]:
    """The keys and values of ``--config`` among the arguments of Snakemake's command line."""
    given: dict[str, list[list[str]]] = {"--config": [], "--configfile": []}
    words: list[str] = []
    for each in arguments:
        if each.startswith("-"):
            name, _, value = each.partition("=")
            # Alone, with what follows at once, or behind others that take nothing: -C, -Cx=1, -nC.
            short = re.fullmatch(r"-[nkpF]*C=?(.*)", each)
            if short:
                name, value = "--config", short[1]
            name = {"--configfiles": "--configfile"}.get(name, name)
            words = [value] if value else []
            if name in given:
                given[name].append(words)
        else:
            words.append(each)
    for name, groups in given.items():
        if len(groups) > 1:
            example = " ".join(word for group in groups for word in group)
            raise UserError(
                f"{name} stands {len(groups)} times on the command line, and Snakemake takes the "
                f"last alone; write {name} {example}"
                + (" (make: name all files in CONFIG)" if name == "--configfile" else "")
            )
    written: dict[str, str] = {}
    for word in (word for group in given["--config"] for word in group if "=" in word):
        key, text = word.split("=", 1)
        if key in written:
            raise UserError(
                f"{key} stands twice after --config ({key}={written[key]}, {key}={text}), and "
                "Snakemake takes the last alone; remove one"
            )
        written[key] = text
    return written


def _scalars(value: Any) -> Any:
    """Snakemake keeps the scalars within a list or mapping of the command line as text."""
    if isinstance(value, Mapping):
        return {str(key): _scalars(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_scalars(each) for each in value]
    if not isinstance(value, str):
        return Written(value, "" if value is None else str(value))
    try:
        read = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        return value
    return value if isinstance(read, str | list | dict) else Written(read, value)


def _without_old_titles(below: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """The layer, with no title for studies that it gives another task or model: the title that they
    have below it speaks of what they were. A model is another one where its entry is replaced."""
    before, after = _mapping(below.get("studies")), layer.get("studies", {})
    if not isinstance(after, Mapping):
        return dict(layer)
    studies = dict(after)
    models = _mapping(below.get("models"))
    # A list: what stands where a name is expected may be anything.
    replaced = [
        name
        for name, entry in _mapping(layer.get("models")).items()
        if name in models and plain(models[name]) != plain(entry)
    ]
    for name, old in before.items():
        study = studies.get(name, {})
        if not (isinstance(old, Mapping) and isinstance(study, Mapping)):
            continue
        report = study.get("report", {})
        is_another = (
            any(
                key in study and _text(study[key]) != _text(old.get(key, _default(key)))
                for key in ("pairs", "model")
            )
            or _text(old.get("model", _default("model"))) in replaced
        )
        told = "title" in _mapping(old.get("report"))
        if is_another and told and isinstance(report, Mapping) and "title" not in report:
            studies[name] = {**study, "report": {**report, "title": None}}
    return {**layer, "studies": studies} if studies else dict(layer)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _default(key: str) -> Any:
    """What a study has where it does not have the key."""
    return schema()["$defs"]["study"]["properties"][key].get("default")


def _text(value: Any) -> Any:
    return value.text if isinstance(value, Written) else value


def _lay(node: Mapping[str, Any], below: Any, above: Any) -> Any:
    node = deref(node)
    mappings = isinstance(below, Mapping) and isinstance(above, Mapping)
    if not mappings or _is_either_or(node):
        return above
    return {
        key: _lay(_child(node, key, above), below[key], above[key])
        if key in below and key in above
        else (above if key in above else below)[key]
        for key in [*below, *(key for key in above if key not in below)]
    }


def _is_either_or(node: Mapping[str, Any]) -> bool:
    """Whether a mapping at this place is one of several kinds."""
    kinds = [
        *node.get("anyOf", []),
        *(branch for branch in node.get("allOf", []) if "if" in branch),
    ]
    return any("if" in kind or deref(kind).get("type") == "object" for kind in kinds)


def _child(node: Mapping[str, Any], key: str, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the schema says of a key of a mapping; nothing where it does not know the key."""
    for branch in node.get("allOf", []):
        if "if" in branch and accepts(branch["if"], plain(dict(mapping))):
            found = branch["then"].get("properties", {}).get(key)
            if found:
                return dict(found)
    for kind in [node, *map(deref, node.get("anyOf", []))]:
        if key in kind.get("properties", {}):
            return dict(kind["properties"][key])
    extra = node.get("additionalProperties")
    return extra if isinstance(extra, Mapping) else {}


def _items(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the schema says of the items of a list."""
    for kind in [node, *map(deref, node.get("anyOf", []))]:
        if "items" in kind:
            return dict(kind["items"])
    return {}
