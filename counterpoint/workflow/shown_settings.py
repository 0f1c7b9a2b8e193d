"""Where the settings of searches are shown: parts of config.schema.yaml and config.yaml.

Their source are the dataclasses of `counterfactuals` whose fields `setting_fields` made.
The two files stay plain ones that people and editors read; between two marks, such as ::

    # begin: FluentSettings (python -m counterpoint.workflow.shown_settings)
    # end: FluentSettings

stands what is written here. The command writes all such parts anew; a test fails where they differ
from the source. Imports no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from counterpoint.counterfactuals.methods.method_settings import (
    DescentSettings,
    EvolutionSettings,
    FluentSettings,
    VariantSettings,
)
from counterpoint.counterfactuals.problem import AtlasBudget, Budget, Settings
from counterpoint.counterfactuals.setting_fields import json_schema
from counterpoint.counterfactuals.validation.validation_depth import Depth
from counterpoint.workflow.schema import SCHEMA_FILE

COMMAND = "python -m counterpoint.workflow.shown_settings"

SOURCES: dict[str, type] = {
    source.__name__: source
    for source in (
        FluentSettings,
        EvolutionSettings,
        DescentSettings,
        VariantSettings,
        Budget,
        AtlasBudget,
        Settings,
        Depth,
    )
}
"""The dataclasses by the name in the marks."""

CALLED = {"Depth": {"pairs": "validated"}}
"""What a field is called in a configuration, where that is not its own name."""

FILES = (SCHEMA_FILE, SCHEMA_FILE.with_name("config.yaml"))

_PART = re.compile(
    r"(?P<begin>^(?P<indent> *)# begin: (?P<name>\w+) \(.*\)\n)"
    r"(?:.*\n)*?"
    r"(?P<end> *# end: (?P=name)$)",
    re.MULTILINE,
)


def in_configuration(name: str) -> dict[str, dict[str, Any]]:
    """The JSON schema of each setting of a source, by what a configuration calls it."""
    called = CALLED.get(name, {})
    return {called.get(key, key): node for key, node in json_schema(SOURCES[name]).items()}


def shown(text: str, *, schema: bool) -> str:
    """A file's text with every part between marks as the source has it.

    ``schema``: the parts describe the settings; else they give the defaults. Raises KeyError for a
    mark that names no source.
    """

    def part(found: re.Match[str]) -> str:
        lines = [
            f"{found['indent']}{key}: {_flow(node) if schema else _scalar(node['default'])}\n"
            for key, node in in_configuration(found["name"]).items()
        ]
        return found["begin"] + "".join(lines) + found["end"]

    return _PART.sub(part, text)


def write() -> list[Path]:
    """Write the parts of both files anew; the files that changed."""
    changed = []
    for path in FILES:
        old = path.read_text(encoding="utf-8")
        new = shown(old, schema=path == SCHEMA_FILE)
        if new != old:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def _flow(node: Mapping[str, Any]) -> str:
    """A node of the schema on one line of YAML."""
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in node.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """A value as YAML; text as it is, in quotes where YAML would read it otherwise."""
    if isinstance(value, str):
        with suppress(yaml.YAMLError):
            if yaml.safe_load(f"[{value}]") == [value]:
                return value
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    print("\n".join(map(str, write())) or "nothing to write")
