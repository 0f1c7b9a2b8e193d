"""The schema of configurations: read once, asked what it allows, and the defaults it holds.

``config.schema.yaml`` is the one place where keys, allowed values and defaults are written down,
but for the settings of searches, which are written into it (`workflow.shown_settings`), and the
kinds of names that its keyword `format` asks for (`files.allowed_names`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators

from counterpoint.files.allowed_names import NAMES
from counterpoint.files.shipped_files import shipped_file

SCHEMA_FILE = shipped_file("config.schema.yaml")


@cache
def schema() -> dict[str, Any]:
    """The schema, read once."""
    # libyaml's reader, where PyYAML was built with it: each start of the workflow reads the file.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = yaml.load(SCHEMA_FILE.read_text(encoding="utf-8"), loader)
    return loaded


@cache
def validator() -> Any:
    def is_integer(_: Any, value: Any) -> bool:
        # 2.0 would pass as an integer by JSON Schema and then fail as a count.
        return isinstance(value, int) and not isinstance(value, bool)

    def pattern(_: Any, wanted: str, value: Any, __: Any) -> Iterator[ValidationError]:
        # In a schema $ is the end; to Python it may also stand before a last line break.
        if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", wanted), value):
            yield ValidationError(f"{value!r} does not match {wanted!r}")

    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    formats = FormatChecker(formats=())
    for kind, (is_allowed, _) in NAMES.items():
        formats.checks(kind)(_of_texts(is_allowed))
    kind = validators.extend(Draft202012Validator, {"pattern": pattern}, type_checker=types)
    return kind(schema(), format_checker=formats)


def _of_texts(is_allowed: Callable[[str], bool]) -> Callable[[object], bool]:
    """A format says nothing of what is no text."""
    return lambda value: not isinstance(value, str) or is_allowed(value)


def accepts(node: Mapping[str, Any], value: Any) -> bool:
    """Whether a part of the schema allows a value."""
    allowed: bool = validator().evolve(schema=node).is_valid(value)
    return allowed


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a valid configuration in which every key with a default is present."""
    whole: dict[str, Any] = _fill(schema(), deepcopy(dict(config)))
    return whole


def deref(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a part of the schema refers to, or the part itself."""
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/$defs/")
        definition: Mapping[str, Any] = schema()["$defs"][name]
        return definition
    return node


def _fill(node: Mapping[str, Any], value: Any) -> Any:
    node = deref(node)
    if not isinstance(value, dict):
        return value
    for key, child in node.get("properties", {}).items():
        child = deref(child)
        if key not in value and "default" in child:
            value[key] = deepcopy(child["default"])
        if key in value:
            value[key] = _fill(child, value[key])
    extra = node.get("additionalProperties")
    if isinstance(extra, Mapping):
        for key in value.keys() - node.get("properties", {}).keys():
            value[key] = _fill(extra, value[key])
    for branch in node.get("allOf", []):
        if "if" in branch and validator().evolve(schema=branch["if"]).is_valid(value):
            value = _fill(branch["then"], value)
    # In the schema's order, so that what is written in another order is the same configuration.
    order = {key: place for place, key in enumerate(node.get("properties", {}))}
    return dict(sorted(value.items(), key=lambda item: order.get(item[0], len(order))))
