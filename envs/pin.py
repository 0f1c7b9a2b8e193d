"""Write exact versions into the environments of this folder: python envs/pin.py

Each environment names, in its first block, the packages that its scripts import. This puts the
version of requirements.lock behind each and, in a second block, all that these need in their turn,
so that an environment is made the same whenever it is made. What needs what is read from the
packages that are installed, hence from an environment in which the lock is (`make lock` does it).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parent
LOCK = HERE.parent / "requirements.lock"
FIRST = "      # What the scripts import."
SECOND = "      # What these need, written by envs/pin.py."


def normal(name: str) -> str:
    """A package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: Path = LOCK) -> dict[str, str]:
    """The lines of the lock by the package they pin."""
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line]
    return {normal(line.partition("==")[0]): line for line in lines}


def needed(names: Iterable[str]) -> set[str]:
    """All packages that these need here, those of their extras included; not pip's own tools."""
    waiting = [Requirement(name) for name in names]
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            if (key := (normal(wanted.name), extra)) in seen:
                continue
            try:
                listed = requires(wanted.name) or ()
            except PackageNotFoundError:
                continue
            seen.add(key)
            for line in listed:
                further = Requirement(line)
                if further.marker is None or further.marker.evaluate({"extra": extra}):
                    waiting.append(further)
    return {name for name, _ in seen}


def pinned(text: str) -> str:
    """The text of an environment with its versions, and all that it needs, as in the lock."""
    lock = locked()
    head, _, rest = text.partition(FIRST)
    names = [
        line.strip().removeprefix("- ").partition("==")[0]
        for line in rest.partition(SECOND)[0].splitlines()
        if line.strip()
    ]
    direct = {normal(Requirement(name).name): name for name in names}
    others = sorted((needed(names) & lock.keys()) - direct.keys())
    first = [f"      - {name}=={lock[key].partition('==')[2]}" for key, name in direct.items()]
    second = [f"      - {lock[key]}" for key in others]
    return "\n".join([head + FIRST, *first, SECOND, *second]) + "\n"


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.yaml")):
        path.write_text(pinned(path.read_text(encoding="utf-8")), encoding="utf-8")
