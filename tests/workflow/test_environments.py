"""The environments for conda hold what the lock holds."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
PIN = re.compile(r"([A-Za-z0-9._-]+)(\[[a-z0-9,-]+\])?==(\S+)")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    """Package to version; every line but comments must be an exact one."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            match = PIN.fullmatch(line)
            assert match, f"{path.name}: {line!r} is no exact version"
            found[normal(match[1])] = match[3]
    return found


LOCK = pins(ROOT / "requirements.lock")


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_pins_what_the_lock_pins(path: Path) -> None:
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    listed = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    for requirement in listed:
        match = PIN.fullmatch(requirement)
        assert match, f"{requirement!r} is no exact version"
        assert LOCK[normal(match[1])] == match[3]


def test_the_environments_are_as_the_lock_would_have_them() -> None:
    """Versions, and what packages need in their turn; `python envs/pin.py` mends a difference."""
    source = importlib.util.spec_from_file_location("pin", ROOT / "envs" / "pin.py")
    assert source is not None
    assert source.loader is not None
    pin = importlib.util.module_from_spec(source)
    source.loader.exec_module(pin)
    for path in ENVIRONMENTS:
        text = path.read_text(encoding="utf-8")
        assert pin.pinned(text) == text, path.name


def test_every_rule_uses_an_environment_that_exists() -> None:
    named = {
        match
        for path in (ROOT / "rules").glob("*.smk")
        for match in re.findall(r"\.\./envs/(\w+\.yaml)", path.read_text(encoding="utf-8"))
    }
    assert named == {path.name for path in ENVIRONMENTS}


def test_the_lock_pins_what_is_required_and_no_local_builds() -> None:
    wanted = [
        re.match(r"[A-Za-z0-9._-]+", line)
        for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert {normal(match[0]) for match in wanted if match} <= LOCK.keys()
    assert LOCK["torch"] == "2.13.0"
    assert not [version for version in LOCK.values() if "+" in version]


def test_the_development_lock_only_adds() -> None:
    added = pins(ROOT / "requirements-dev.lock")
    assert not added.keys() & LOCK.keys()
    assert {"pytest", "ruff", "snakefmt", "mypy", "import-linter"} <= added.keys()
