"""The pages of the site that are made from something else, so that they cannot say otherwise.

`_generated/configuration.md` is made from config.schema.yaml, `outputs.md` and `words.md` from
`counterpoint.glossary`, `api/` from the sources, `tutorial.md` from the notebook.
"""

from __future__ import annotations

import base64
import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import repository_links
import source_pages
import yaml

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "tutorial.ipynb"
EXECUTED = ROOT / "build" / "tutorial.ipynb"
"""What `make tutorial` leaves: the notebook with its outputs."""


def version() -> str:
    """The version that the package gives itself."""
    text = (ROOT / "counterpoint" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__(?:: str)? = "([^"]+)"', text, re.MULTILINE)
    return found[1] if found else "unknown"


def write_all(folder: Path) -> None:
    """Write every generated page below ``folder``, in place of what stands there."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = {
        "configuration.md": configuration(),
        "outputs.md": outputs(),
        "words.md": words(),
        "tutorial.md": tutorial(folder),
        **{
            Path(page).name: copied(name, folder)
            for name, page in repository_links.PAGES.items()
            if name.endswith(".md") and page.startswith("_generated/")
        },
        **{f"api/{name}": text for name, text in api().items()},
    }
    for name, text in pages.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def copied(name: str, folder: Path) -> str:
    """A document from the repository's root, with links that hold from ``folder``."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return repository_links.for_site(text, folder / "page.md", ROOT / name)


# --------------------------------------------------------------------------------- configuration


def configuration() -> str:
    """Every key of the schema: type, what is allowed, default, description."""
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text(encoding="utf-8"))
    definitions = schema["$defs"]
    parts = [
        "# Configuration",
        "Made from `config.schema.yaml`, against which every configuration is checked. A key that "
        "is left out has its default; [config.yaml](../../config.yaml) shows them all in their "
        "places. `CONFIG=other.yaml` lays a file over it key by key.",
        "## The whole file",
        _table(_rows(schema, definitions)),
        "## A model",
        "Keys of an entry of `models`, by its `source`.",
        _table(_model_rows(definitions)),
        "## A study",
        "Keys of an entry of `studies`. A dot stands for one level of indentation.",
        _table(_rows(definitions["study"], definitions)),
        "## Names",
        f"A study's name: {_kind(definitions['study_name'], definitions)}.",
        "## Methods of searching",
        ", ".join(f"`{name}`" for name in definitions["method"]["enum"])
        + " ([Counterfactual searches](../counterfactuals.md#the-methods)).",
    ]
    return "\n\n".join(parts) + "\n"


def schema_keys(schema: Mapping[str, Any]) -> list[str]:
    """Every key of the schema, dotted, as the page shows it."""
    definitions = schema["$defs"]
    rows = [
        *_rows(schema, definitions),
        *_model_rows(definitions),
        *_rows(definitions["study"], definitions),
    ]
    return [row[0].strip("`") for row in rows]


def _model_rows(definitions: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    model = definitions["model"]
    rows = list(_rows(model, definitions))
    for branch in model["allOf"]:
        source = branch["if"]["properties"]["source"]["const"]
        required = branch["then"].get("required", [])
        for key, node in branch["then"]["properties"].items():
            if node:
                default = _default(node) or ("required" if key in required else "")
                rows.append(
                    (f"`{source}: {key}`", _kind(node, definitions), default, _sentence(node))
                )
    return rows


def _rows(
    node: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, str, str]]:
    required = node.get("required", [])
    for key, child in node.get("properties", {}).items():
        whole = _deref(child, definitions)
        default = _default(whole) or ("required" if key in required else "")
        inner = "properties" in whole
        yield (
            f"`{prefix}{key}`",
            "" if inner else _kind(whole, definitions),
            "" if inner else default,
            _sentence(whole),
        )
        if inner:
            yield from _rows(whole, definitions, f"{prefix}{key}.")


def _deref(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in node:
        found: Mapping[str, Any] = definitions[node["$ref"].removeprefix("#/$defs/")]
        return found
    return node


def _kind(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What values a key may have, in words."""
    if node.get("$ref") == "#/$defs/study_name":
        return "a study's name"
    node = _deref(node, definitions)
    if "enum" in node:
        return " or ".join(f"`{_yaml(value)}`" for value in node["enum"])
    if "const" in node:
        return f"`{_yaml(node['const'])}`"
    if "anyOf" in node:
        return "; or ".join(_kind(one, definitions) for one in node["anyOf"])
    kinds = node.get("type", "any")
    words = [
        _of_type(kind, node, definitions) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    ]
    return " or ".join(words)


def _of_type(kind: str, node: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if kind == "null":
        return "`null`"
    if kind == "array":
        items = _kind(node["items"], definitions) if "items" in node else "any"
        count = node.get("minItems")
        exact = f"{count} " if count and count == node.get("maxItems") else ""
        least = f", at least {count}" if count and not exact else ""
        return f"list of {exact}({items}){least}"
    if kind == "object":
        keys = [
            f"`{key}`: {_kind(one, definitions)}" for key, one in node.get("properties", {}).items()
        ]
        return "mapping" + (f" of {', '.join(keys)}" if keys else "")
    limits = [
        f"{sign} {node[key]}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in node and kind in ("integer", "number")
    ]
    name = {"string": "text", "boolean": "`true` or `false`"}.get(kind, kind)
    if kind == "string" and "format" in node:
        return f"text: {_ours('files.allowed_names').NAMES[node['format']][1]}"
    pattern = f" that matches `{node['pattern']}`" if kind == "string" and "pattern" in node else ""
    return " ".join([name, ", ".join(limits)]).strip() + pattern


def _default(node: Mapping[str, Any]) -> str:
    return f"`{_yaml(node['default'])}`" if "default" in node else ""


def _yaml(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _sentence(node: Mapping[str, Any]) -> str:
    text = " ".join(str(node.get("description", "")).split())
    return text if not text or text.endswith((".", ")")) else f"{text}."


def _table(
    rows: Iterable[tuple[str, ...]],
    head: tuple[str, ...] = ("key", "allowed", "default", "meaning"),
) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    return "\n".join([line(head), line("---" for _ in head), *map(line, rows)])


def _cell(text: str) -> str:
    """A table's cell: bars are escaped, and what MyST would take for a formula is none."""
    text = " ".join(text.split())
    code = re.split(r"(`[^`]*`)", text)
    plain = [
        part
        if part.startswith("`")
        else part.replace("$", r"\$").replace("<", "&lt;").replace("*", r"\*")
        for part in code
    ]
    return "".join(plain).replace("|", r"\|")


# ---------------------------------------------------------------------------- words and outputs


def glossary() -> ModuleType:
    """`counterpoint.glossary`, which needs nothing that is not in Python."""
    return _ours("glossary")


def _ours(name: str) -> ModuleType:
    """A module of `counterpoint` that needs no more than is in the site's own environment."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(f"counterpoint.{name}")


def words() -> str:
    """Every word: what it means, its formula, its unit, what computes it."""
    known = glossary()
    parts = [
        "# Words",
        "Made from `counterpoint.glossary`, which the report reads as well. The formulas in their "
        "context stand in [Concepts](../concepts.md).",
    ]
    for word in known.WORDS.values():
        parts += [f"(word-{word.key})=", f"## {_plain(word.name)}", _words_linked(word.meaning)]
        if word.formula:
            parts.append(f"$$\n{word.formula}\n$$")
        facts = []
        if word.unit:
            facts.append(f"Unit: {_plain(known.UNITS[word.unit])}.")
        if word.computed_by:
            facts.append(f"Computed by `{word.computed_by}`.")
        if facts:
            parts.append(" ".join(facts))
    return "\n\n".join(parts) + "\n"


def outputs() -> str:
    """Every column of every table of a study: unit and definition."""
    known = glossary()
    parts = [
        "# Outputs",
        "Made from `counterpoint.glossary`, which the report reads as well. Paths are below "
        "`results/{study}/`, or below `results/` for what compares studies; names in braces stand "
        "for many files. Tables open with `pandas.read_parquet` or `pandas.read_csv`, tensors with "
        "`safetensors`.",
        "## Units",
        _table(
            [(f"`{unit}`" if unit else "none", meaning) for unit, meaning in known.UNITS.items()],
            ("unit", "stands for"),
        ),
    ]
    for path, table in known.TABLES.items():
        rows = [
            (f"`{one.name}`", f"`{one.unit}`" if one.unit else "", _of_column(one))
            for one in table.columns
        ]
        parts += [f"## `{path}`", _words_linked(table.holds)]
        if rows:
            parts.append(_table(rows, ("column", "unit", "meaning")))
        if table.open:
            parts.append("Columns of your own pairs follow.")
    return "\n\n".join(parts) + "\n"


def _of_column(column: Any) -> str:
    values = [f"`{value}`: {meaning}" for value, meaning in column.says.items()]
    meaning = column.meaning + (f" {'; '.join(values)}." if values else "")
    return _words_linked(meaning, column.word)


def _words_linked(text: str, of: str = "") -> str:
    """A text of the glossary, whose ``(#key)`` lead to words; with a link to the word ``of``."""
    linked = re.sub(r"\]\(#([\w-]+)\)", r"](words.md#word-\1)", text)
    return f"{linked} [→](words.md#word-{of})" if of else linked


def _plain(text: str) -> str:
    return text.replace("*", r"\*").replace("$", r"\$")


# ------------------------------------------------------------------------------------------- API


def api() -> dict[str, str]:
    """The public names, then a page for each room, by file name."""
    pages = {
        f"{room}.md": source_pages.page(f"`counterpoint.{room}`", source_pages.modules_of(room))
        for room in source_pages.rooms()
    }
    pages["outside_rooms.md"] = source_pages.page(
        "Outside the rooms",
        [source_pages.top_module(), *source_pages.outside_rooms()],
    )
    contents = "\n".join(name.removesuffix(".md") for name in pages)
    pages["index.md"] = (
        f"# API\n\n{public_names()}\n"
        "## Rooms\n\nEverything that bears a public name, room by room. What is not listed above "
        "may change between versions.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{contents}\n```\n"
    )
    return pages


def public_names() -> str:
    """The entries of the package's public names, in the order of ``__all__``."""
    parts = [
        "## Public names",
        "Documented, stable and few. Each is an attribute of `counterpoint`.",
    ]
    for name, home in source_pages.public_names().items():
        if source_pages.is_room(home):
            parts.append(f"`counterpoint.{name}`: the room [{name}]({name}.md).")
        else:
            parts.append(source_pages.object_at(home, f"counterpoint.{name}"))
    return "\n\n".join(parts) + "\n"


# -------------------------------------------------------------------------------------- tutorial


def tutorial(folder: Path) -> str:
    """The notebook as a page: with its outputs where `make tutorial` has left them."""
    return notebook_page(EXECUTED if _is_current() else NOTEBOOK, folder)


def _is_current() -> bool:
    """Whether what was executed is the notebook as it stands."""
    return EXECUTED.exists() and _sources(EXECUTED) == _sources(NOTEBOOK)


def _sources(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells]


def notebook_page(path: Path, folder: Path) -> str:
    """A notebook as Markdown; pictures go into ``folder``."""
    parts = []
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(repository_links.for_site(source, folder / "page.md", NOTEBOOK))
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            for place, output in enumerate(cell.get("outputs", [])):
                parts += _output(output, folder, f"cell-{number}-{place}.png")
    return "\n\n".join(parts) + "\n"


def _output(output: Mapping[str, Any], folder: Path, name: str) -> Iterator[str]:
    data = output.get("data", {})
    if output["output_type"] == "stream" and output["name"] == "stdout":
        yield f"```text\n{''.join(output['text']).rstrip()}\n```"
    elif "image/png" in data:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(base64.b64decode(data["image/png"]))
        yield f"![output of the cell above]({name})"
    elif "text/html" in data:
        yield f"```{{raw}} html\n{''.join(data['text/html'])}\n```"
    elif "text/plain" in data:
        yield f"```text\n{''.join(data['text/plain'])}\n```"
