"""Which code a rule depends on: a digest of its script and of all that the script imports.

The workflow puts this digest among a rule's parameters, so that an edited module reruns the rules
that use it and no others. Dependencies are computed from the imports, by grimp, never listed by
hand. Comments, docstrings and layout do not count: the digest is of the syntax tree. Nor does where
a module stands: an import counts with the contents of what it names, so that nothing is made again
because a file was moved. The package's own `__init__` does not count either: it holds the version
and the public names, which a program outside the workflow calls, and no result hangs on them.

What a file's syntax tree comes to is remembered by the digest of the file's contents, since parsing
all of them takes seconds and every start of the workflow, on a cluster that of every job too, asks
for it. What is remembered may be lost or damaged at any time: it is made anew.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import grimp

from counterpoint.files.artifacts import write_text

PACKAGE = "counterpoint"
ROOT = Path(__file__).parents[2]

MEMORY = Path(".snakemake", "counterpoint", "syntax.json")


class Syntax(NamedTuple):
    """What counts of a file, apart from the contents of the modules that it imports."""

    tree: str
    """Digest of the syntax tree in which statements `from … import …` are left blank."""

    imported_from: list[tuple[str, list[tuple[str, str | None]]]]
    """Of each of these the module, and the names with what they are called instead."""

    imported: list[str]
    """The modules of statements `import …`."""


def code_version(script: str | Path) -> str:
    """Digest of ``script`` (.py or .ipynb; relative to the project's root) and what it imports."""
    modules = {_tree_digest(_file(module)) for module in imported_modules(script) - {PACKAGE}}
    parts = [_tree_digest(ROOT / script), *sorted(modules)]
    _remember()
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def imported_modules(script: str | Path) -> set[str]:
    """All modules of this package and all neighbouring scripts that ``script`` needs, by name.

    Imports are found wherever they stand, inside functions too; those under ``if TYPE_CHECKING:``
    are not followed, since nothing runs through them. A neighbour is named ``scripts.name``.
    """
    path = ROOT / script
    found: set[str] = set()
    waiting = set(_direct_imports(path))
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        if module.startswith(PACKAGE):
            waiting |= _graph().find_upstream_modules(module)
            # Importing a module runs the __init__ of each package above it.
            if "." in module:
                waiting.add(module.rpartition(".")[0])
        else:
            waiting |= set(_direct_imports(_file(module)))
    return found


def look_again() -> None:
    """Look at all files anew, which may have changed since this process first looked."""
    for looked_up in (_graph, _tree_digest, _contents, _syntax, _remembered):
        looked_up.cache_clear()


@cache
def _graph() -> grimp.ImportGraph:
    # grimp would keep its cache in the folder from which the workflow is started.
    return grimp.build_graph(PACKAGE, cache_dir=None, exclude_type_checking_imports=True)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _direct_imports(path: Path) -> Iterator[str]:
    """Modules of the package, and scripts beside ``path``, that its own import statements name."""
    modules, syntax = _graph().modules, _syntax(path)
    named = list(syntax.imported)
    for module, names in syntax.imported_from:
        # "from package import name" may name a module or something inside one.
        named += [module, *(f"{module}.{name}" for name, _ in names)]
    for name in named:
        if name in modules:
            yield name
        elif "." not in name and path.with_name(f"{name}.py").is_file():
            yield f"{path.parent.relative_to(ROOT)}.{name}"


# Most modules are part of many scripts, and none changes while the workflow starts.
@cache
def _tree_digest(path: Path) -> str:
    """Digest of what counts of a file, its imports from the package named by their contents."""
    return _digest(_syntax(path), _contents)


@cache
def _contents(module: str) -> str:
    """A name that goes with the contents of a module of the package; of another module its own.

    Within it modules of the package have no name, which ends the recursion: imports may go round.
    """
    if not _is_own(module):
        return module
    return _digest(_syntax(_file(module)), lambda name: "" if _is_own(name) else name)


def _is_own(module: str) -> bool:
    return module != PACKAGE and module in _graph().modules


def _digest(syntax: Syntax, name_of: Callable[[str], str]) -> str:
    """Digest of a file with its modules named by ``name_of``, and so wherever they stand."""
    imports = []
    for module, names in syntax.imported_from:
        called = []
        for name, other in names:
            whole = f"{module}.{name}"
            called.append((name_of(whole), other or name) if _is_own(whole) else (name, other))
        imports.append((name_of(module), called))
    return hashlib.sha256((syntax.tree + json.dumps(imports)).encode()).hexdigest()


@cache
def _syntax(path: Path) -> Syntax:
    """What counts of a file: remembered where its contents are, else read."""
    name, source = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    contents = hashlib.sha256(source.encode()).hexdigest()
    known = _remembered().get(name)
    if known is not None and known[0] == contents:
        return known[1]
    read = _read_syntax(path.suffix, source)
    _remembered()[name] = contents, read
    _new.append(name)
    return read


def _read_syntax(suffix: str, source: str) -> Syntax:
    tree = ast.parse(_code(suffix, source))
    imported: list[str] = []
    imported_from: list[tuple[str, list[tuple[str, str | None]]]] = []
    for node in ast.walk(tree):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            rest = node.body[1:]
            node.body = rest or ([] if isinstance(node, ast.Module) else [ast.Pass()])
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [(alias.name, alias.asname) for alias in node.names]
            imported_from.append((str(node.module), names))
            node.module, node.names = "", []
    text = ast.dump(tree)
    if suffix == ".ipynb":
        # A notebook's own words are part of the report that it makes.
        cells = json.loads(source)["cells"]
        text += "".join("".join(c["source"]) for c in cells if c["cell_type"] != "code")
    return Syntax(hashlib.sha256(text.encode()).hexdigest(), imported_from, imported)


def _code(suffix: str, source: str) -> str:
    """The Python of a file: of a notebook, its cells of code."""
    if suffix != ".ipynb":
        return source
    cells = json.loads(source)["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


# What is remembered.

_new: list[str] = []
"""Files that were read since what is remembered was last written."""


@cache
def _remembered() -> dict[str, tuple[str, Syntax]]:
    """Of files, by their place in the project, their contents' digest and what counts of them."""
    try:
        stored = json.loads(MEMORY.read_text(encoding="utf-8"))
        if stored["read_by"] != _reader():
            return {}
        return {str(name): _stored(*value) for name, value in stored["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _stored(contents: str, tree: str, imported_from: Any, imported: Any) -> tuple[str, Syntax]:
    """An entry as it was; raises ValueError or TypeError for one that is none."""
    pairs = [
        (str(module), [(str(name), other and str(other)) for name, other in names])
        for module, names in imported_from
    ]
    return str(contents), Syntax(str(tree), pairs, [str(name) for name in imported])


def _remember() -> None:
    if not _new:
        return
    _new.clear()
    files = {name: (contents, *syntax) for name, (contents, syntax) in _remembered().items()}
    # A folder that cannot be written to costs time, not results.
    with suppress(OSError):
        write_text(json.dumps({"read_by": _reader(), "files": files}), MEMORY)


@cache
def _reader() -> str:
    """What a tree's text depends on besides the file: this module, and Python's own version."""
    own = Path(__file__).read_bytes() + repr(sys.version_info[:3]).encode()
    return hashlib.sha256(own).hexdigest()
