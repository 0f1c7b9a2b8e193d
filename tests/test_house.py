"""The house is in order: a reader finds by its name what is asked for, and no room is a heap."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.conftest import LONGEST

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "counterpoint"
TESTS = ROOT / "tests"

LINES = 400
"""So long may a module be; a longer one says why in its docstring."""
EXCUSE = "Above 400 lines because"

NO_ROOM = {"helpers", "package", "studies", "bad_inputs"}
"""Folders of tests that are no room's: what tests share, the public names and the package that
holds them, whole studies run by Snakemake, and inputs that are wrong."""

ROOMS = sorted(path.parent for path in HOUSE.rglob("__init__.py") if path.parent != HOUSE)
TEST_FILES = sorted(TESTS.rglob("test_*.py"))


def names_of(room: Path) -> Iterator[str]:
    """The modules and rooms in a room."""
    for path in sorted(room.iterdir()):
        if path.suffix == ".py" and path.stem != "__init__":
            yield path.stem
        elif (path / "__init__.py").is_file():
            yield path.name


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def twice(paths: Iterable[Path]) -> dict[str, list[str]]:
    """The names that several paths have, with these."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_name[path.stem].append(str(path.relative_to(ROOT)))
    return {name: where for name, where in by_name.items() if len(where) > 1}


def rooms_imported(path: Path) -> set[str]:
    """The rooms that a file imports from, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names):
                modules = [module, *(f"{module}.{alias.name}" for alias in names)]
            case _:
                continue
        parts = [module.split(".") for module in modules]
        found |= {name[1] for name in parts if name[0] == "counterpoint" and len(name) > 1}
    return found & {room.name for room in ROOMS if room.parent == HOUSE}


def test_no_name_stands_twice_in_the_house() -> None:
    modules = [path for path in HOUSE.rglob("*.py") if path.stem != "__init__"]
    assert twice([*modules, *ROOMS]) == {}


def test_no_name_stands_twice_among_the_tests() -> None:
    fixed = {"__init__", "conftest"}  # by Python and by pytest
    assert twice(path for path in TESTS.rglob("*.py") if path.stem not in fixed) == {}


def test_modules_are_short_or_say_why_not() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in sorted(HOUSE.rglob("*.py"))
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES
        and not any(line.startswith(EXCUSE) for line in docstring(path).splitlines())
    }
    assert long == {}


@pytest.mark.parametrize("room", ROOMS, ids=[str(room.relative_to(HOUSE)) for room in ROOMS])
def test_a_room_says_what_is_in_it(room: Path) -> None:
    """In the docstring of its `__init__`, with the name of every module and room in backticks, or,
    of many that end alike, their ending (`*_section`)."""
    said = docstring(room / "__init__.py")
    assert said, "a room says what it is for, what it may import and in which order to read it"
    endings = tuple(re.findall(r"`\*(_\w+)`", said))
    unsaid = [name for name in names_of(room) if not name.endswith(endings)]
    assert [name for name in unsaid if f"`{name}`" not in said] == []


@pytest.mark.parametrize("path", TEST_FILES, ids=[path.stem for path in TEST_FILES])
def test_a_test_stands_in_the_room_of_what_it_tests(path: Path) -> None:
    """It imports that room. Beside the workflow's modules stand the tests of rules and scripts,
    which import none; directly under tests/ those of the whole."""
    room, imported = path.parent.name, rooms_imported(path)
    if path.parent == TESTS or room in NO_ROOM:
        return
    assert path.parent.parent == TESTS
    assert (HOUSE / room).is_dir(), f"there is no room {room}"
    assert room in imported or (room == "workflow" and not imported)


def test_the_longest_files_of_tests_are_there() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []
