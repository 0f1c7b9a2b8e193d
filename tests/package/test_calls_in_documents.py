"""Calls of public names in documents have arguments that these take."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest

import counterpoint

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("how-to/*.md")),
    ROOT / "notebooks" / "tutorial.ipynb",
]
FENCED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"counterpoint\.([\w.]+)")
INLINE = re.compile(r"`(counterpoint\.\w+\([^`]*\))`")


def pieces_of_code(path: Path) -> Iterator[str]:
    """What stands in blocks and calls of a document, and in the cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from FENCED.findall(text)
        yield from INLINE.findall(text)
    else:
        for cell in json.loads(text)["cells"]:
            if cell["cell_type"] == "code":
                yield "".join(cell["source"])


def check(code: str) -> int:
    """Count the calls of public names; raises TypeError for arguments that are not taken."""
    found = 0
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and (called := NAME.fullmatch(ast.unparse(node.func))):
            function = reduce(getattr, called[1].split("."), counterpoint)
            if any(isinstance(one, ast.Starred) for one in node.args) or None in [
                one.arg for one in node.keywords
            ]:
                continue
            given = {one.arg: one.value for one in node.keywords if one.arg}
            inspect.signature(function).bind(*node.args, **given)
            found += 1
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_calls_in_a_document_are_taken(path: Path) -> None:
    for code in pieces_of_code(path):
        check(code)


def test_calls_are_found_and_wrong_ones_told() -> None:
    assert sum(check(code) for code in pieces_of_code(ROOT / "docs" / "package.md")) > 10
    for wrong in ("compose(model, (5, 1))", "measure(model, pairs, seed=0)"):
        with pytest.raises(TypeError):
            check(f"counterpoint.{wrong}")
