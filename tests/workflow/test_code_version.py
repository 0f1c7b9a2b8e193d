"""Which code a rule depends on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from counterpoint.workflow import code_version as module


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project: a script that needs a, which needs b; c stands apart."""
    files = {
        "planet/__init__.py": "",
        "planet/a.py": '"""About a."""\nfrom planet.deep.b import f\n',
        "planet/deep/__init__.py": "",
        "planet/deep/b.py": "def f():\n    return 1\n",
        "planet/c.py": "x = 1\n",
        "scripts/_shared.py": "y = 1\n",
        "scripts/one.py": "from _shared import y\n\ndef main():\n    from planet import a\n",
        "scripts/two.py": "import json\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "PACKAGE", "planet")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "MEMORY", tmp_path / "run" / "syntax.json")
    module.look_again()
    yield tmp_path
    module.look_again()


def version_after(project: Path, name: str, text: str, script: str = "scripts/one.py") -> str:
    (project / name).write_text(text)
    module.look_again()
    return module.code_version(script)


def test_imports_are_followed_through_functions_packages_and_neighbours(project: Path) -> None:
    assert module.imported_modules("scripts/one.py") == {
        "planet",
        "planet.a",
        "planet.deep",
        "planet.deep.b",
        "scripts._shared",
    }
    assert module.imported_modules("scripts/two.py") == set()


def test_only_what_is_used_counts(project: Path) -> None:
    before = module.code_version("scripts/one.py")
    assert version_after(project, "planet/c.py", "x = 2\n") == before
    assert version_after(project, "planet/deep/b.py", "def f():\n    return 2\n") != before


def test_a_neighbouring_script_counts(project: Path) -> None:
    before = module.code_version("scripts/one.py")
    assert version_after(project, "scripts/_shared.py", "y = 2\n") != before


def test_words_and_layout_do_not_count(project: Path) -> None:
    before = module.code_version("scripts/one.py")
    text = 'def f():\n    """Say one."""\n    # because\n    return (1)\n'
    assert version_after(project, "planet/deep/b.py", text) == before


def test_a_moved_module_does_not_count(project: Path) -> None:
    before = module.code_version("scripts/one.py")
    (project / "planet/high").mkdir()
    (project / "planet/high/__init__.py").write_text('"""Another room."""\n')
    (project / "planet/deep/b.py").rename(project / "planet/high/b.py")
    text = '"""About a."""\nfrom planet.high.b import f\n'
    assert version_after(project, "planet/a.py", text) == before


def test_another_function_of_the_same_name_counts(project: Path) -> None:
    """Both modules are imported before and after; which of them gives the name has changed."""
    (project / "planet/c.py").write_text("def f():\n    return 3\n")
    both = "from planet.deep.b import f\nfrom planet.c import f as other\n"
    before = version_after(project, "planet/a.py", both)
    swapped = "from planet.c import f\nfrom planet.deep.b import f as other\n"
    assert version_after(project, "planet/a.py", swapped) != before


def test_a_module_imported_by_name_counts_by_its_contents(project: Path) -> None:
    before = version_after(project, "planet/a.py", "from planet.deep import b\n")
    assert version_after(project, "planet/a.py", "from planet import c as b\n") != before


def test_imports_for_types_alone_are_not_followed(project: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import planet.c\n"
    version_after(project, "planet/deep/b.py", text)
    assert "planet.c" not in module.imported_modules("scripts/one.py")


def test_a_notebook_counts_with_its_words(project: Path) -> None:
    def notebook(words: str) -> str:
        return json.dumps(
            {
                "cells": [
                    {"cell_type": "markdown", "source": [words]},
                    {"cell_type": "code", "source": ["from planet import c\n", "c.x"]},
                ]
            }
        )

    first = version_after(project, "report.ipynb", notebook("one"), "report.ipynb")
    assert module.imported_modules("report.ipynb") == {"planet", "planet.c"}
    assert version_after(project, "report.ipynb", notebook("two"), "report.ipynb") != first


def test_what_is_remembered_changes_no_version(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    of_source = module._read_syntax
    monkeypatch.setattr(
        module,
        "_read_syntax",
        lambda suffix, source: read.append(source) or of_source(suffix, source),
    )

    def again() -> str:
        read.clear()
        module.look_again()
        return module.code_version("scripts/one.py")

    first = again()
    assert read
    memory = module.MEMORY.read_text()
    assert again() == first and not read
    # Whatever becomes of it, and of what it was read by.
    other = json.loads(memory) | {"read_by": "another"}
    damaged = json.loads(memory)
    damaged["files"]["planet/a.py"] = damaged["files"]["planet/a.py"][:2]
    for text in ("", "[]", "{}", memory[:-9], json.dumps(other), json.dumps(damaged)):
        module.MEMORY.write_text(text)
        assert again() == first and read
        assert module.MEMORY.read_text() == memory
    # A file is known by its contents, and not by its place or its time.
    before = (project / "planet/deep/b.py").stat()
    (project / "planet/deep/b.py").write_text("def f():\n    return 2\n")
    os.utime(project / "planet/deep/b.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert again() != first and len(read) == 1


def test_a_folder_that_cannot_be_written_to_costs_time_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = module.code_version("scripts/one.py")
    (project / "file").write_text("")
    monkeypatch.setattr(module, "MEMORY", project / "file" / "syntax.json")
    module.look_again()
    assert module.code_version("scripts/one.py") == first


def test_the_real_scripts_are_all_found() -> None:
    for path in sorted((module.ROOT / "scripts").glob("[a-z]*.py")):
        assert "counterpoint.errors" in module.imported_modules(path.relative_to(module.ROOT))
