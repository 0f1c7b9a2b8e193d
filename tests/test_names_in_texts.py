"""Names of modules, functions and files of code that texts bear in backticks are there.

Texts are documents, docstrings, comments and settings. No two modules have one name, so that
`curve_tracing.trace` and `measures.curve_tracing.trace` are found alike.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "counterpoint"
FOLDERS = ("benchmarks", "counterpoint", "docs", "findings", "resources/pairs", "rules", "scripts")

BELOW = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "Snakefile")),
    *sorted(ROOT.glob("*.yaml")),
    *(path for path in BELOW if path.suffix in (".md", ".py", ".smk", ".yaml")),
]
TEXTS = [path for path in TEXTS if "_generated" not in path.parts]
CODE = [
    path.relative_to(ROOT).as_posix()
    for path in [*BELOW, *(ROOT / "tests").rglob("*")]
    if path.suffix in (".py", ".smk") or path.name == "costs.json"
]

DOTTED = re.compile(r"(?<!`)`([a-z]\w*(?:\.[A-Za-z]\w*)+)(?:\(\))?`(?!`)")
FILE = re.compile(r"(?<!`)`([\w./-]+\.(?:py|smk)|[\w./-]*costs\.json)`(?!`)")
NO_NAME = re.compile(
    r"\.(csv|html|ini|ipynb|json|lock|md|parquet|py|safetensors|svg|toml|txt|yaml)$"
)
"""Files, which look like dotted names; those of code are looked for by themselves."""

ELSEWHERE = {
    "statistics.floor",
    "tokenizer.ggml",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.token_type",
    "tokenizer.model",
    "tokenizers.Tokenizer",
}
"""Settings, keys of GGUF files and names of libraries that begin like a module of the house."""


@cache
def modules() -> dict[str, Path]:
    """Every room and module of the house by its name, and the house itself."""
    files = HOUSE.rglob("*.py")
    return {(path.parent if path.stem == "__init__" else path).stem: path for path in files}


@cache
def names(path: Path) -> set[str]:
    """What a module names: definitions, constants, fields, arguments, imports, texts of a word."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name.rpartition(".")[2])
            case ast.Attribute(attr=name) | ast.arg(arg=name):
                found.add(name)
            case ast.Constant(value=str(name)):
                found.add(name)
    return found


def unknown(text: str) -> Iterator[str]:
    """The names in a text that begin in the house and end nowhere, and the files that are not."""
    for name in DOTTED.findall(text):
        if NO_NAME.search(name) or name in ELSEWHERE or name.split(".")[0] not in modules():
            continue
        parts = name.split(".")
        place = modules()[parts[0]]
        for part in parts[1:]:
            room = place.parent if place.stem == "__init__" else None
            if room and ((room / part).is_dir() or (room / f"{part}.py").exists()):
                place = modules()[part]
            elif part in names(place):
                break
            else:
                yield name
                break
    for path in FILE.findall(text):
        if not any(f"/{known}".endswith(f"/{path}") for known in CODE):
            yield path


@pytest.mark.parametrize("path", TEXTS, ids=[str(path.relative_to(ROOT)) for path in TEXTS])
def test_names_in_a_text_are_those_of_the_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name == "architecture.md":
        # Recipes make files of their own, and a test follows them.
        text = re.sub(r"^New file .*$|^```\w+\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert list(unknown(text)) == []


def test_a_name_that_is_not_there_is_found() -> None:
    text = (
        "`curves.output_curves` `measures.curves` `counterpoint.load()` `heads.parquet`"
        " `torch.vmap` `measures/curves.py` `measures.gone` `curves.gone` `counterpoint.gone.load`"
        " `measures/gone.py` ``curves.gone``"
    )
    assert list(unknown(text)) == [
        "measures.gone",
        "curves.gone",
        "counterpoint.gone.load",
        "measures/gone.py",
    ]
