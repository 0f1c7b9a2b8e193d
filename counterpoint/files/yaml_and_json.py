"""YAML and JSON files as they are written: no key twice, and the text of every scalar kept.

YAML reads `2024` as a number, `on` as true, `2024-01-01` as a date and `NA` as text, while a study
may have any of these as its name. So a scalar that YAML does not take for text is kept together
with its text, and who knows what is expected at its place chooses (`workflow.config_layers`).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from counterpoint.errors import UserError

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Written:
    """A scalar that is not text to YAML, and the text that stands in the file."""

    value: Any
    text: str


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which refuses keys that stand twice and keeps what is written."""

    def compose_mapping_node(self, anchor: dict[str, Any]) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is a list or a mapping", key.start_mark
                )
            line = key.start_mark.line + 1
            # What is merged in (<<) may come from several places.
            if key.value in lines and key.tag != "tag:yaml.org,2002:merge":
                raise UserError(
                    f"the key {key.value} stands twice, in lines {lines[key.value]} and {line}, "
                    "and only the last one would count; remove one, or give it another name"
                )
            lines[key.value] = line
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except ValueError:
            if not isinstance(node, yaml.ScalarNode):
                raise
            # 2024-99-99, or a number of thousands of digits: Snakemake ends over it in a traceback.
            kind = "date" if node.tag.endswith(":timestamp") else "number"
            shown = node.value if len(node.value) <= 40 else f"{node.value[:40]}…"
            raise UserError(
                f"line {node.start_mark.line + 1}: YAML takes {shown} for a {kind}, and there is "
                "none such; put it in quotes if it is text"
            ) from None
        if isinstance(node, yaml.ScalarNode) and not isinstance(value, str):
            return Written(value, node.value)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return {k.text if isinstance(k, Written) else k: v for k, v in mapping.items()}


def read_mapping(path: PathLike) -> dict[str, Any]:
    """The mapping that a YAML or JSON file holds, its keys as text, other scalars as `Written`.

    Raises UserError naming the file for one that is missing, no file, not UTF-8, neither YAML nor
    JSON, not a mapping, or has a key twice (with the lines of both).
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; check the name, seen from here") from None
    except IsADirectoryError:
        raise UserError(f"{path} cannot be read: it is a folder; name the file in it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    try:
        found = _json(text)
        if found is None:
            found = yaml.load(text, _Loader)
        # A mapping that holds itself has no end.
        plain(found)
    except UserError as mistake:
        raise UserError(f"{path}: {mistake}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not YAML: {_where(error)}") from None
    if isinstance(found, dict):
        return found
    kind = "empty" if plain(found) is None else "a list" if isinstance(found, list) else "one text"
    raise UserError(
        f"{path} is {kind}: expected keys with their values, as in\n    studies:\n      mine:\n"
        "        pairs: my.csv"
    )


def parsed_json(text: str, **ways: Any) -> Any:
    """What a text of JSON holds; ``ways`` are those of `json.loads`.

    Raises ValueError for what is none, and for what is nested deeper than Python follows.
    """
    try:
        return json.loads(text, **ways)
    except RecursionError:
        raise ValueError("it is nested without end") from None


def whole_text(text: str, key: str) -> str:
    """The text, where it is one that UTF-8 can hold.

    Raises UserError, naming the ``key`` that it belongs to, for half of a character ("\\ud83d") and
    for what stands in Python for bytes that are no UTF-8, as in the name of a file.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
        raise UserError(
            f"{key or '(top level)'}: {shown} holds bytes that are no UTF-8, or half of a "
            "character; write it otherwise, or rename the file that it names"
        ) from None
    return text


def plain(value: Any) -> Any:
    """The same with every scalar as YAML reads it."""
    if isinstance(value, Written):
        return value.value
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def _json(text: str) -> Any:
    """What a text of JSON holds, or None if it is none; JSON's tabs are not YAML's."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in items]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            places = [
                number
                for number, line in enumerate(text.splitlines(), start=1)
                for _ in range(line.count(json.dumps(twice, ensure_ascii=False)))
            ]
            raise UserError(
                f"the key {twice} stands twice in one mapping (it is in lines "
                f"{', '.join(map(str, places))}); remove one, or give it another name"
            )
        return dict(items)

    try:
        return json.loads(
            text,
            object_pairs_hook=pairs,
            parse_int=lambda number: Written(int(number), number),
            parse_float=lambda number: Written(float(number), number),
        )
    except (ValueError, RecursionError):
        return None


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    if isinstance(error, RecursionError):
        return "it is nested without end"
    if mark is None:
        return problem
    return (
        f"line {mark.line + 1}, column {mark.column + 1}: {problem}. Indent with spaces, and put "
        "text that holds a colon, # or a bracket in quotes"
    )
