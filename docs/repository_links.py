"""Links between documents of the repository, as they stand on GitHub and as the site needs them.

A document is read in both places, so it links as GitHub wants it: by relative paths, also to files
that are no pages. On the site such a file is offered as it is, and a folder, or a document that is
no page, is only named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent

FENCE = re.compile(r"^ {0,3}(```+|~~~+|:::+).*?^ {0,3}\1[ \t]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^()\s]+)\)")
ELSEWHERE = ("http://", "https://", "mailto:", "hf://")

PAGES = {
    "notebooks/tutorial.ipynb": "_generated/tutorial.md",
    "CONTRIBUTING.md": "_generated/contributing.md",
    "CHANGELOG.md": "_generated/changelog.md",
    "CODE_OF_CONDUCT.md": "_generated/code_of_conduct.md",
    "SECURITY.md": "_generated/security.md",
    "README.md": "index.md",
    "config.schema.yaml": "_generated/configuration.md",
}
"""Files of the repository that have a page of the site in their place."""


def without_code(text: str) -> str:
    """``text`` with the contents of fenced code and of code spans blanked out."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group())

    text = FENCE.sub(lambda match: match[0] if match[1][0] == ":" else blank(match), text)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", blank, text)


def links(text: str) -> Iterator[tuple[str, str]]:
    """The text and the target of each Markdown link outside code."""
    for match in LINK.finditer(without_code(text)):
        yield match["text"], match["target"]


def anchors(text: str) -> set[str]:
    """The names that GitHub and MyST give to the headings of a document."""
    found: set[str] = set()
    outside = re.sub(FENCE, lambda match: "\n" * match.group().count("\n"), text)
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", outside, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number, name = 0, slug
        while name in found:
            number += 1
            name = f"{slug}-{number}"
        found.add(name)
    return found


def broken(document: Path) -> list[str]:
    """What the links of a document of the repository lead to that is not there."""
    wrong = []
    for _, target in links(document.read_text(encoding="utf-8")):
        if target.startswith(ELSEWHERE):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists():
            wrong.append(f"{target}: there is no such file")
        elif not file.is_relative_to(ROOT):
            wrong.append(f"{target}: leads out of the repository")
        elif anchor and file.suffix == ".md":
            if anchor not in anchors(file.read_text(encoding="utf-8")):
                wrong.append(f"{target}: no heading of that name")
        elif anchor:
            wrong.append(f"{target}: an anchor in a file that is no document")
    return wrong


def for_site(text: str, source: Path, origin: Path | None = None) -> str:
    """``text`` of the page at ``source``, with links that hold on the site.

    ``origin`` is the document that the text was written in, where it is another.
    """
    origin = origin or source
    visible = without_code(text)
    pieces, end = [], 0
    for match in LINK.finditer(visible):
        pieces += [text[end : match.start()], _link(match, text, source, origin)]
        end = match.end()
    return "".join([*pieces, text[end:]])


def _link(match: re.Match[str], text: str, source: Path, origin: Path) -> str:
    whole = text[match.start() : match.end()]
    shown = text[match.start("text") : match.end("text")]
    target = match["target"]
    if target.startswith((*ELSEWHERE, "#")):
        return whole
    path, _, anchor = target.partition("#")
    file = (origin.parent / path).resolve()
    if not file.is_relative_to(ROOT):
        return whole
    page = PAGES.get(file.relative_to(ROOT).as_posix())
    if page:
        file = DOCS / page
    elif not file.exists():
        return whole
    if file.is_dir() or (file.suffix == ".md" and not file.is_relative_to(DOCS)):
        return shown
    relative = _relative(file, source.parent)
    is_page = file.suffix == ".md" and file.is_relative_to(DOCS)
    return f"[{shown}]({relative}{'#' + anchor if anchor and is_page else ''})"


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file, folder)).as_posix()
