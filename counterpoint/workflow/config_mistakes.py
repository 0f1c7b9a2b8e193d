"""What a mistake of a configuration is told: its key, what was expected there, a remedy."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from jsonschema.exceptions import ValidationError

from counterpoint.errors import did_you_mean
from counterpoint.files.allowed_names import NAMES
from counterpoint.workflow.schema import accepts, deref, validator


def mistakes_of(config: Any) -> list[str]:
    """Every mistake that the schema finds in a configuration of plain JSON values, in order."""
    return sorted(
        {
            f"{path}: {text}"
            for error in _leaves(validator().iter_errors(config))
            for path, text in _explain(error)
        }
    )


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
                    f"unknown key;{did_you_mean(str(key), known)} known here: {', '.join(known)}",
                )
        case "required" if isinstance(error.instance, dict):
            # jsonschema reports each missing key in an error of its own.
            key = str(error.message).split("'")[1]
            meaning = _describe(deref(node.get("properties", {}).get(key, {})))
            yield _dotted([*error.absolute_path, key]), f"missing; give {meaning}"
        case _:
            got = json.dumps(error.instance, ensure_ascii=False)
            got = got if len(got) < 80 else got[:76] + " ..."
            hint = did_you_mean(str(error.instance), _choices(node))
            meant = _number_meant(error.instance, node)
            if meant:
                kind = "text" if isinstance(error.instance, str) else "a number with a fraction"
                hint = f" YAML reads {error.instance} as {kind}; write {meant};"
            yield path, f"{got} is not allowed;{hint} expected {_describe(node)}"


def _number_meant(given: Any, node: Mapping[str, Any]) -> str | None:
    """The number that was probably meant, as YAML reads it as one and the schema allows it."""
    is_text = isinstance(given, str) and re.fullmatch(
        r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*", given
    )
    if not (is_text or (isinstance(given, float) and math.isfinite(given))):
        return None
    number = float(given)
    if math.isinf(number):
        return None
    if number.is_integer() and accepts(node, int(number)):
        return str(int(number))
    return _yaml_number(str(given)) if is_text and accepts(node, number) else None


def _yaml_number(text: str) -> str:
    number = float(text)
    if number.is_integer() and "e" not in text.lower():
        return str(int(number))
    mantissa, exponent = f"{number:e}".split("e")
    return f"{float(mantissa)}e{int(exponent):+d}"


def _dotted(path: Any) -> str:
    return ".".join(str(part) for part in path) or "(top level)"


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
    node = deref(node)
    expected = _allowed(node)
    description = node.get("description")
    return f"{expected} ({description.strip().rstrip('.')})" if description else expected


def _allowed(node: Mapping[str, Any]) -> str:
    node = deref(node)
    if "enum" in node:
        # As in YAML: true and null, not True and None.
        values = [each if isinstance(each, str) else json.dumps(each) for each in node["enum"]]
        return f"one of {', '.join(values)}"
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
            ("maxLength", "characters at most"),
            ("pattern", "of the form"),
        )
        if key in node
    ]
    if "format" in node:
        limits.append(f"namely {NAMES[node['format']][1]}")
    if node.get("uniqueItems"):
        limits.append("no two of them the same")
    return f"{words or 'a value'}{', ' if limits else ''}{', '.join(limits)}"
