"""Pages of the API from the sources as they stand: nothing is imported, so nothing is installed.

Every module of a room has a section with its docstring and, of all that bears a public name, the
signature and the docstring. Docstrings are read as Markdown.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "counterpoint"

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Module:
    """A module by its dotted name, and its source as a tree."""

    name: str
    tree: ast.Module

    @property
    def docstring(self) -> str:
        """Its docstring, without the indentation."""
        return ast.get_docstring(self.tree) or ""


def module_at(path: Path) -> Module:
    """The module of a file below the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    name = ".".join(part for part in parts if part != "__init__")
    return Module(name, ast.parse(path.read_text(encoding="utf-8")))


def rooms() -> list[str]:
    """The rooms of the package: its folders that hold modules."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def modules_of(room: str) -> list[Module]:
    """The modules of a room and of the rooms within it; a room before what it holds."""
    files = sorted(
        (PACKAGE / room).rglob("*.py"),
        key=lambda path: (path.parent.parts, path.name != "__init__.py", path.name),
    )
    return [module_at(path) for path in files]


def outside_rooms() -> list[Module]:
    """Modules that stand in no room."""
    return [module_at(path) for path in sorted(PACKAGE.glob("*.py")) if path.stem != "__init__"]


def top_module() -> Module:
    """The package itself, whose public names have a page of their own."""
    found = module_at(PACKAGE / "__init__.py")
    return Module(found.name, ast.Module([found.tree.body[0]], []))


def page(title: str, modules: list[Module]) -> str:
    """The page of a room."""
    parts = [f"# {title}\n"]
    first, *others = modules
    parts += [f"```{{py:module}} {first.name}\n```\n", _text(first.docstring), *_members(first)]
    for module in others:
        short = module.name.removeprefix("counterpoint.")
        parts += [f"## `{short}`\n", f"```{{py:module}} {module.name}\n```\n"]
        parts += [_text(module.docstring), *_members(module)]
    return "\n".join(parts)


def public_names() -> dict[str, str]:
    """Where each public name of the package is defined, as `counterpoint/__init__.py` tells types.

    A room that is itself a public name stands for itself.
    """
    top = module_at(PACKAGE / "__init__.py").tree
    homes = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(top)
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0
        for alias in node.names
        if node.module.partition(".")[0] == PACKAGE.name
    }
    listed = next(
        ast.literal_eval(node.value)
        for node in top.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return {name: homes[name] for name in listed if not name.startswith("__")}


def is_room(name: str) -> bool:
    """Whether a dotted name is that of a package."""
    return name.startswith("counterpoint.") and (ROOT / Path(*name.split("."))).is_dir()


def object_at(home: str, shown: str) -> str:
    """The entry of one object by the dotted name of its ``home``, called ``shown`` there."""
    module, _, wanted = home.rpartition(".")
    path = ROOT / Path(*module.split("."))
    found = module_at(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
    for node in found.tree.body:
        if isinstance(node, Definition) and node.name == wanted:
            return _definition(node, "", shown)
        if isinstance(node, ast.ImportFrom) and node.module:
            # Defined elsewhere, and handed on.
            for alias in node.names:
                if (alias.asname or alias.name) == wanted:
                    return object_at(f"{node.module}.{alias.name}", shown)
    raise LookupError(f"{module} defines no public {wanted}, which counterpoint/__init__.py names")


def _members(module: Module) -> Iterator[str]:
    for node, docstring in _public(module.tree.body):
        if isinstance(node, Definition):
            yield _definition(node, "")
        else:
            yield _data(node, docstring, "")


def _public(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Definitions and described constants of a module, with the constants' descriptions."""
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, Definition):
            overloaded = any(ast.unparse(one).endswith("overload") for one in node.decorator_list)
            if not node.name.startswith("_") and not overloaded:
                yield node, ""
            continue
        target = None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        if isinstance(target, ast.Name) and not target.id.startswith("_"):
            described = _string(following)
            if described:
                yield node, described


def _string(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        value = node.value.value
        return textwrap.dedent(value).strip() if isinstance(value, str) else ""
    return ""


def _data(node: ast.stmt, docstring: str, prefix: str, colons: int = 6) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target  # type: ignore[attr-defined]
    options = []
    if isinstance(node, ast.AnnAssign):
        options.append(f":type: {_one_line(node.annotation)}")
    value = getattr(node, "value", None)
    if value is not None and len(_one_line(value)) <= 60 and "\\" not in _one_line(value):
        options.append(f":value: {_one_line(value)}")
    return _directive("py:data", f"{prefix}{target.id}", docstring, colons, options)  # type: ignore[union-attr]


def _definition(node: Definition, prefix: str, shown: str | None = None) -> str:
    docstring = ast.get_docstring(node) or ""
    if isinstance(node, ast.ClassDef):
        inner = [_text(docstring)]
        fields = []
        for member, described in _public(node.body):
            if isinstance(member, Definition):
                if isinstance(member, ast.ClassDef):
                    continue
                inner.append(_function(member, "", 6, method=True))
            else:
                fields.append(_data(member, described, "", 6).replace("py:data", "py:attribute", 1))
        body = "\n".join([*inner[:1], *fields, *inner[1:]])
        name = shown or f"{prefix}{node.name}"
        return _directive("py:class", f"{name}{_constructor(node)}", body, 7, [])
    return _function(node, prefix, 6, shown=shown)


def _constructor(node: ast.ClassDef) -> str:
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return _arguments(member, skip_first=True)
    return ""


def _function(
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    prefix: str,
    colons: int,
    *,
    method: bool = False,
    shown: str | None = None,
) -> str:
    decorators = {ast.unparse(one) for one in node.decorator_list}
    kind, options = "py:function", []
    bound = method and "staticmethod" not in decorators
    if method:
        kind = "py:method"
        options = [f":{one}:" for one in ("classmethod", "staticmethod") if one in decorators]
        if decorators & {"property", "cached_property", "functools.cached_property"}:
            kind = "py:property"
            options = [f":type: {_one_line(node.returns)}"] if node.returns else []
    signature = "" if kind == "py:property" else _arguments(node, skip_first=bound)
    returns = f" -> {_one_line(node.returns)}" if node.returns and kind != "py:property" else ""
    docstring = ast.get_docstring(node) or ""
    name = shown or f"{prefix}{node.name}"
    if is_room(name):
        # A room that can be called: its own page has the name.
        options.append(":no-index:")
    return _directive(kind, f"{name}{signature}{returns}", docstring, colons, options)


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef, *, skip_first: bool) -> str:
    given = node.args
    if skip_first and (given.posonlyargs or given.args):
        positional = given.posonlyargs or given.args
        first = positional[0].arg
        if first in ("self", "cls"):
            copy = ast.parse(f"def f({ast.unparse(given)}): pass").body[0]
            assert isinstance(copy, ast.FunctionDef)
            given = copy.args
            (given.posonlyargs or given.args).pop(0)
    return f"({' '.join(ast.unparse(given).split())})"


def _one_line(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _directive(kind: str, signature: str, body: str, colons: int, options: list[str]) -> str:
    fence = ":" * colons
    head = "\n".join([f"{fence}{{{kind}}} {signature}", *options])
    return f"{head}\n\n{_text(body)}\n{fence}\n"


SECTIONS = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Yields": "Yields",
    "Raises": "Raises",
}
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):\n((?:(?: {{4}}.*)?(?:\n|$))+)", re.MULTILINE)


def _text(docstring: str) -> str:
    """A docstring as Markdown: its sections become lists, and what a double colon introduces is
    indented code there, too."""
    text = _SECTION.sub(_section, f"{docstring}\n")
    # Not the colons that close an entry within this one: it would take in all that follow.
    return re.sub(r"(?<=[^:\n])::$", ":", text, flags=re.MULTILINE)


def _section(match: re.Match[str]) -> str:
    body = textwrap.dedent(match[2]).strip("\n")
    if match[1] not in ("Returns", "Yields"):
        # An entry's name begins a line; what belongs to it is indented by four.
        body = re.sub(r"^([\w*][\w.*, ]*):(?=\s)", r"- `\1`:", body, flags=re.MULTILINE)
        body = re.sub(r"^ {4}", "  ", body, flags=re.MULTILINE)
    return f"**{SECTIONS[match[1]]}**\n\n{body}\n\n"
