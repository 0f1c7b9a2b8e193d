"""The site lacks nothing, its links hold, and its picture is that of the import contracts.

The site itself is built and checked by `make docs`; what can be known of it without Sphinx is
tested here. What must be there is read otherwise than by the modules that make the pages.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import counterpoint
from counterpoint.glossary import COLUMNS, TABLES, WORDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = sorted(
    path
    for folder in ("", "docs", "docs/how-to", "docs/lab", "findings", "resources/pairs")
    for path in (ROOT / folder).glob("*.md")
)


@pytest.fixture(scope="module", autouse=True)
def modules_of_docs() -> Iterator[None]:
    """docs/ is on the path, as it is for Sphinx."""
    sys.path.insert(0, str(DOCS))
    yield
    sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    return importlib.import_module("generated_pages")


@pytest.fixture(scope="module")
def links() -> ModuleType:
    return importlib.import_module("repository_links")


@pytest.fixture(scope="module")
def written(pages: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages that are made from something else."""
    folder = tmp_path_factory.mktemp("generated")
    pages.write_all(folder)
    return folder


def keys(node: Any) -> Iterator[str]:
    """Every name that stands under `properties` anywhere in the schema."""
    if isinstance(node, Mapping):
        properties = node.get("properties", {})
        if isinstance(properties, Mapping):
            yield from properties
        for child in node.values():
            yield from keys(child)
    elif isinstance(node, list):
        for child in node:
            yield from keys(child)


def test_every_key_of_the_schema_is_on_its_page(written: Path) -> None:
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text(encoding="utf-8"))
    page = (written / "configuration.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`", page))))
    assert set(keys(schema)) - shown == set()


def test_a_key_is_shown_with_its_default_and_meaning(written: Path) -> None:
    page = (written / "configuration.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", page, re.MULTILINE))
    assert rows["curves.max_nodes"].split(" | ")[1] == "`65`"
    assert rows["statistics.confidence"].startswith("number > 0, &lt; 1 | `0.95` |")
    assert rows["pairs"].split(" | ")[1] == "required"
    assert all(meaning.rpartition(" | ")[2] for meaning in rows.values())


def test_every_column_and_word_is_on_its_page(written: Path) -> None:
    page = (written / "outputs.md").read_text(encoding="utf-8")
    parts = re.split(r"^## ", page, flags=re.MULTILINE)
    by_table = {part.partition("\n")[0].strip("`"): part for part in parts}
    for path in TABLES:
        missing = [name for name in COLUMNS[path] if f"| `{name}` |" not in by_table[path]]
        assert missing == [], path
    words = (written / "words.md").read_text(encoding="utf-8")
    assert [key for key in WORDS if f"(word-{key})=" not in words] == []


def test_every_public_name_is_on_its_page(written: Path) -> None:
    page = (written / "api" / "index.md").read_text(encoding="utf-8")
    public = [name for name in counterpoint.__all__ if not name.startswith("__")]
    assert public
    missing = [name for name in public if not re.search(rf"counterpoint\.{name}\b", page)]
    assert missing == []


def test_every_room_and_module_is_on_its_page(written: Path) -> None:
    package = Path(counterpoint.__file__).parent
    rooms = [path.parent.name for path in package.glob("*/__init__.py")]
    contents = (written / "api" / "index.md").read_text(encoding="utf-8")
    for room in rooms:
        assert re.search(rf"^{room}$", contents, re.MULTILINE), room
        page = (written / "api" / f"{room}.md").read_text(encoding="utf-8")
        for path in (package / room).rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            assert f"{{py:module}} {name}\n" in page


def test_an_entry_of_the_api_ends_before_the_next(written: Path) -> None:
    """An end that is shorter than its beginning ends nothing, and what follows stands within."""
    for path in (written / "api").glob("*.md"):
        open_ones: list[str] = []
        for colons, entry in re.findall(
            r"^(:{6,})(\{.*)?$", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            if entry:
                assert not open_ones or len(open_ones[-1]) > len(colons), f"{path.name}: {entry}"
                open_ones.append(colons)
            else:
                assert open_ones and open_ones.pop() == colons, path.name
        assert open_ones == []


def test_the_notebook_is_a_page_and_has_no_outputs(written: Path) -> None:
    notebook = json.loads((ROOT / "notebooks" / "tutorial.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    page = (written / "tutorial.md").read_text(encoding="utf-8")
    assert all("".join(cell["source"]) in page for cell in code)


def test_outputs_of_an_executed_notebook_are_shown(pages: ModuleType, tmp_path: Path) -> None:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["said\n"]},
        {"output_type": "stream", "name": "stderr", "text": ["a warning\n"]},
        {"output_type": "display_data", "data": {"image/png": "aGVsbG8=", "text/plain": ["<F>"]}},
        {"output_type": "execute_result", "data": {"text/html": ["<b>t</b>"], "text/plain": ["t"]}},
    ]
    cell = {"cell_type": "code", "source": ["f()"], "outputs": outputs}
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    page = pages.notebook_page(path, tmp_path)
    assert "```text\nsaid\n```" in page and "warning" not in page
    assert (tmp_path / "cell-0-2.png").read_bytes() == b"hello"
    assert "```{raw} html\n<b>t</b>\n```" in page


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_document_lead_to_files_and_headings(links: ModuleType, path: Path) -> None:
    assert links.broken(path) == []


def test_links_of_the_notebook_lead_to_files(links: ModuleType) -> None:
    path = ROOT / "notebooks" / "tutorial.ipynb"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            for _, target in links.links("".join(cell["source"])):
                assert (path.parent / target.partition("#")[0]).exists(), target


def test_a_broken_link_is_found(links: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(links, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# Other\n\n## A `b` (c)\n\n## A b c\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#a-b-c) [b](other.md#a-b-c-1) [c](gone.md) [d](other.md#gone)"
        " `[e](code.md)` [f](../up.md)\n\n```\n[g](fence.md)\n```\n",
        encoding="utf-8",
    )
    found = [line.partition(": ")[0] for line in links.broken(page)]
    assert found == ["gone.md", "other.md#gone", "../up.md"]


def test_links_are_rewritten_for_the_site(links: ModuleType) -> None:
    source = DOCS / "how-to" / "page.md"
    text = (
        "[s](../../config.schema.yaml) [c](../../config.yaml) [p](../../resources/pairs)"
        " [e](../engine.md#rounding) [w](https://example.org/a.md) `[k](../../config.yaml)`"
    )
    assert links.for_site(text, source) == (
        "[s](../_generated/configuration.md) [c](../../config.yaml) p"
        " [e](../engine.md#rounding) [w](https://example.org/a.md) `[k](../../config.yaml)`"
    )


def test_every_page_is_in_the_contents() -> None:
    trees = re.findall(
        r"^```\{toctree\}\n(.*?)^```", (DOCS / "index.md").read_text(encoding="utf-8"), re.M | re.S
    )
    listed = {
        re.sub(r".*<(.*)>", r"\1", line)
        for tree in trees
        for line in tree.splitlines()
        if line and not line.startswith(":")
    }
    for path in [*DOCS.glob("*.md"), *DOCS.glob("how-to/*.md"), *DOCS.glob("lab/*.md")]:
        name = path.relative_to(DOCS).with_suffix("").as_posix()
        assert name == "index" or any(fnmatch(name, entry) for entry in listed), name


def test_the_picture_is_that_of_the_import_contracts() -> None:
    picture = importlib.import_module("architecture_picture")
    drawn = picture.PICTURE.read_text(encoding="utf-8")
    assert drawn == picture.picture(), "python docs/architecture_picture.py draws it anew"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    for layer in layers:
        for name in layer.split(":"):
            assert re.search(rf">{name.strip()}(/|\.py)<", drawn)
    assert set(picture.WAY) <= {
        path.parent.name for path in ROOT.glob("counterpoint/*/__init__.py")
    }
