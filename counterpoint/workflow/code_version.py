"""Which code a rule depends on: a digest of its script and of all that the script imports.

The workflow puts this digest among a rule's parameters, so that an edited module reruns the rules
that use it and no others. Dependencies are computed from the imports, by grimp, never listed by
hand. Comments, docstrings and layout do not count: the digest is of the syntax tree. Nor does where
a module stands: an import counts with the contents of what it names, so that nothing is made again
because a file was moved. The package's own `__init__` does not count either: it holds the version
and the public names, which a program outside the workflow calls, and no result hangs on them.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp

PACKAGE = "counterpoint"
ROOT = Path(__file__).parents[2]


def code_version(script: str | Path) -> str:
    """Digest of ``script`` (.py or .ipynb; relative to the project's root) and what it imports."""
    modules = {_tree_digest(_file(module)) for module in imported_modules(script) - {PACKAGE}}
    parts = [_tree_digest(ROOT / script), *sorted(modules)]
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


@cache
def _graph() -> grimp.ImportGraph:
    # grimp would keep its cache in the folder from which the workflow is started.
    return grimp.build_graph(PACKAGE, cache_dir=None, exclude_type_checking_imports=True)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _direct_imports(path: Path) -> Iterator[str]:
    """Modules of the package, and scripts beside ``path``, that its own import statements name."""
    modules = _graph().modules
    for node in ast.walk(_parse(path)):
        match node:
            case ast.Import(names=names):
                candidates = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                # "from package import name" may name a module or something inside one.
                candidates = [module, *(f"{module}.{alias.name}" for alias in names)]
            case _:
                continue
        for name in candidates:
            if name in modules:
                yield name
            elif "." not in name and path.with_name(f"{name}.py").is_file():
                yield f"{path.parent.relative_to(ROOT)}.{name}"


def _parse(path: Path) -> ast.Module:
    return ast.parse(_code(path.suffix, path.read_text(encoding="utf-8")), filename=str(path))


def _code(suffix: str, source: str) -> str:
    """The Python of a file: of a notebook, its cells of code."""
    if suffix != ".ipynb":
        return source
    cells = json.loads(source)["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def _tree_digest(path: Path) -> str:
    return _digest(path.suffix, path.read_text(encoding="utf-8"), by_contents=True)


# Most modules are part of many scripts.
@cache
def _digest(suffix: str, source: str, *, by_contents: bool) -> str:
    """Digest of a file's syntax tree, in which the package's own modules are named by their
    contents, or (which ends the recursion, since imports may go round) not at all."""
    tree = ast.parse(_code(suffix, source))
    for node in ast.walk(tree):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            rest = node.body[1:]
            node.body = rest or ([] if isinstance(node, ast.Module) else [ast.Pass()])
        if isinstance(node, ast.ImportFrom) and _is_own(node.module):
            _name_by_contents(node, by_contents=by_contents)
    text = ast.dump(tree)
    if suffix == ".ipynb":
        # A notebook's own words are part of the report that it makes.
        cells = json.loads(source)["cells"]
        text += "".join("".join(c["source"]) for c in cells if c["cell_type"] != "code")
    return hashlib.sha256(text.encode()).hexdigest()


def _is_own(module: str | None) -> bool:
    return module is not None and module.split(".")[0] == PACKAGE


def _name_by_contents(node: ast.ImportFrom, *, by_contents: bool) -> None:
    """Put contents for names: of the module that is imported from, and of those imported."""
    parent, known = str(node.module), _graph().modules
    for alias in node.names:
        if f"{parent}.{alias.name}" in known:
            alias.asname = alias.asname or alias.name
            alias.name = _contents(f"{parent}.{alias.name}") if by_contents else ""
    node.module = _contents(parent) if by_contents else ""


def _contents(module: str) -> str:
    if module == PACKAGE or module not in _graph().modules:
        return module
    path = _file(module)
    return _digest(path.suffix, path.read_text(encoding="utf-8"), by_contents=False)
