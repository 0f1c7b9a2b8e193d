"""What a reader sees of a page: its text without code and markup, and its tables cell by cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

HIDDEN = ("style", "script", "template", "title")
CODE = ("code", "pre", "kbd", "samp")


@dataclass
class ShownTable:
    """A table: its caption, its header, and its rows, all as texts."""

    caption: str = ""
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class Shown(HTMLParser):
    """Reads a page or a part of one: ``text``, ``prose`` (``text`` less code) and ``tables``."""

    def __init__(self, page: object) -> None:
        super().__init__()
        self.text = ""
        self.prose = ""
        self.tables: list[ShownTable] = []
        self._open: list[str] = []
        self._cell: list[str] | None = None
        self._in_head = False
        self.feed(str(page))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in (*HIDDEN, *CODE, "caption"):
            self._open.append(tag)
        if tag == "table":
            self.tables.append(ShownTable())
        elif tag == "thead":
            self._in_head = True
        elif tag == "tr" and not self._in_head:
            self.tables[-1].rows.append([])
        elif tag in ("th", "td"):
            self._cell = []
        if tag == "br" and self._cell is not None:
            self._cell.append("\n")
        if tag in ("p", "li", "td", "th", "tr", "div", "h1", "h2", "h3", "br", "summary", "pre"):
            self.text += "\n"
            self.prose += "\n"

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            self._open.remove(tag)
        if tag == "thead":
            self._in_head = False
        elif tag in ("th", "td") and self._cell is not None:
            cell = "".join(self._cell)
            (self.tables[-1].header if self._in_head else self.tables[-1].rows[-1]).append(cell)
            self._cell = None

    def handle_data(self, data: str) -> None:
        if any(tag in HIDDEN for tag in self._open):
            return
        self.text += data
        if not any(tag in CODE for tag in self._open):
            self.prose += data
        if "caption" in self._open:
            self.tables[-1].caption += data
        elif self._cell is not None:
            self._cell.append(data)
