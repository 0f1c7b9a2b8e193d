"""Settings of searches: written once, in dataclasses, and shown in two files as they are."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from counterpoint.counterfactuals.problem import Settings
from counterpoint.counterfactuals.setting_fields import json_schema, setting
from counterpoint.errors import UserError
from counterpoint.workflow import config
from counterpoint.workflow.schema import SCHEMA_FILE, schema
from counterpoint.workflow.shown_settings import COMMAND, FILES, SOURCES, shown

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Few:
    """One setting of each type, and one that is not shown."""

    count: int = setting(3, "How many, at most.", minimum=1, maximum=5)
    share: float = setting(0.5, "A share: of all.", above=0, below=1)
    limit: float | None = setting(None, "A limit.")
    way: Literal["one", "other"] = setting("one", "A way.")
    whole: bool = setting(True, "Whether.")
    word: str = setting("on", "A word that YAML reads otherwise.")
    hidden: int = 7


@dataclass(frozen=True)
class Fewer(Few):
    """Another default alone, and another meaning."""

    count: int = 2
    way: Literal["one", "other"] = setting("other", "The way back.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_files_show_the_settings_as_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert shown(text, schema=path == SCHEMA_FILE) == text, f"run `{COMMAND}`"


def test_every_source_is_shown_in_the_schema() -> None:
    text = SCHEMA_FILE.read_text(encoding="utf-8")
    for name in SOURCES:
        assert text.count(f"# begin: {name} ({COMMAND})\n") == 1, name
        assert text.count(f"# end: {name}\n") == 1, name


def test_a_changed_default_or_a_line_written_by_hand_is_seen() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        for old, new in (("patience", "patent"), ("momentum", "moment")):
            assert shown(text.replace(old, new), schema=path == SCHEMA_FILE) == text


def test_a_setting_in_the_schema() -> None:
    found = json_schema(Few)
    assert "hidden" not in found
    assert found == {
        "count": {
            "description": "How many, at most.",
            "type": "integer",
            "minimum": 1,
            "maximum": 5,
            "default": 3,
        },
        "share": {
            "description": "A share: of all.",
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "default": 0.5,
        },
        "limit": {"description": "A limit.", "type": ["number", "null"], "default": None},
        "way": {"description": "A way.", "enum": ["one", "other"], "default": "one"},
        "whole": {"description": "Whether.", "type": "boolean", "default": True},
        "word": {
            "description": "A word that YAML reads otherwise.",
            "type": "string",
            "default": "on",
        },
    }
    fewer = json_schema(Fewer)
    assert fewer["count"] == {**found["count"], "default": 2}
    assert fewer["way"] == {**found["way"], "description": "The way back.", "default": "other"}
    assert [fewer[key] for key in ("share", "limit", "whole", "word")] == [
        found[key] for key in ("share", "limit", "whole", "word")
    ]
    with pytest.raises(TypeError, match="not the type of a setting"):

        @dataclass(frozen=True)
        class Wrong:
            names: bytes = setting(b"", "Names.")

        json_schema(Wrong)


def test_what_is_written_reads_as_it_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "Few", Few)
    text = f"of:\n  # begin: Few ({COMMAND})\n  old: 1\n  # end: Few\nend: 1\n"
    described = yaml.safe_load(shown(text, schema=True))
    assert described == {"of": json_schema(Few), "end": 1}
    plain = yaml.safe_load(shown(text, schema=False))
    assert plain["of"] == {f.name: f.default for f in fields(Few) if f.metadata}


def test_no_text_of_the_schema_is_cut_at_a_comma() -> None:
    """In YAML's flow style an unquoted comma ends a text, and what follows is a key of nothing."""

    def visit(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, child in node.items():
                assert child is not None or key == "default", f"{path}.{key}"
                visit(child, f"{path}.{key}")
        elif isinstance(node, list):
            for child in node:
                visit(child, path)

    visit(schema(), "")


def test_answers_have_one_default() -> None:
    """They are no plain setting: their schema is a list of alternatives."""
    study = schema()["$defs"]["study"]["properties"]["counterfactuals"]["properties"]
    assert study["answers"]["default"] is Settings().answers


@pytest.mark.parametrize(
    ("method", "key", "value", "expected"),
    [
        ("fluent", "changes", 3, "expected a whole number, at least 1, at most 2 (The most tokens"),
        ("fluent", "suffix", 1, "(Positions from the first that differs to the end, at most)"),
        ("descent", "aggregator", "mdga", "did you mean mgda? expected one of upgrad, mgda"),
        ("descent", "momentum", 1, "expected a number, at least 0, below 1 (The share"),
        ("evolution", "populaton", 8, "unknown key; did you mean population?"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed_and_meant(
    method: str, key: str, value: Any, expected: str
) -> None:
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    raw["studies"]["ioi"]["counterfactuals"]["settings"][method] = {key: value}
    with pytest.raises(UserError) as error:
        config.resolve(raw, source="config.yaml", folder=ROOT)
    assert f"counterfactuals.settings.{method}.{key}: " in str(error.value)
    assert expected in str(error.value)


def test_the_settings_are_read_without_torch() -> None:
    code = "import sys, counterpoint.workflow.shown_settings; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
