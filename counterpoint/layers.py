"""Configuration files laid over each other, as the schema understands them.

A file's keys are laid over those of the file before it, and the command line's over both. Two
things are replaced as a whole instead: a mapping that is one of several kinds (the targets of a
search, where a model comes from), since the keys of two kinds do not go together, and a list.

What YAML does not take for text is what is written, where only text is expected: a study may be
named `2024`, `007` or `on`, a package have the version 1.10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from counterpoint.errors import UserError
from counterpoint.schema import accepts, deref, schema
from counterpoint.written import PathLike, Written, plain, read_mapping

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


def settle(value: Any, node: Mapping[str, Any] | None = None) -> Any:
    """The same with every scalar either as YAML reads it or as it is written, whichever the schema
    allows at its place (``node``, by default the whole schema)."""
    node = deref(schema() if node is None else node)
    if isinstance(value, Mapping):
        return {key: settle(each, _child(node, key, value)) for key, each in value.items()}
    if isinstance(value, list):
        return [settle(each, _items(node)) for each in value]
    if not isinstance(value, Written):
        return value
    if accepts(node, value.value) or not value.text:
        return value.value
    is_json = value.value is None or isinstance(value.value, int | float)
    return value.text if accepts(node, value.text) or not is_json else value.value


def from_command_line(values: Mapping[str, Any], arguments: Sequence[str] = ()) -> dict[str, Any]:
    """What Snakemake made of ``--config key=value``, with numbers and the like as they are written.

    Snakemake reads `2024` as a number and `007` as 7; ``arguments`` are those of the command line,
    which hold what was written. Raises UserError where a text did not survive, with the remedy.
    """
    written = dict(each.split("=", 1) for each in arguments if "=" in each)
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
        else:
            found[key] = _scalars(value)
    return found


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
    have below it speaks of what they were."""
    before, after = (each.get("studies") for each in (below, layer))
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return dict(layer)
    studies = dict(after)
    for name, study in after.items():
        old = before.get(name)
        if not (isinstance(old, Mapping) and isinstance(study, Mapping)):
            continue
        report = study.get("report", {})
        is_another = any(
            key in study and _text(study[key]) != _text(old.get(key)) for key in ("pairs", "model")
        )
        if is_another and isinstance(report, Mapping) and "title" not in report:
            studies[name] = {**study, "report": {**report, "title": None}}
    return {**layer, "studies": studies}


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
