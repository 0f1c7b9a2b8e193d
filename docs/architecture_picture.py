"""architecture.svg: the rooms in the order of their imports, and a pair's way through them.

Rows and boxes come from the import contract in pyproject.toml, their texts from the rooms'
docstrings; what is written down here is only which step of a pair's way is made in which room.
`python docs/architecture_picture.py` draws it anew; a test compares.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
CONTRACT = "From room to room imports point downward"

WAY = {
    "pairs": "rows of a file, checked and tokenised: pairs.parquet",
    "models": "a model, its weights and modules known: LanguageModel",
    "engine": "both runs of each pair kept; a change run from where it is",
    "measures": "f, g, AP, IG of every head: heads.parquet, curves",
    "statistics": "correlations, claims, stability: *.csv",
    "counterfactuals": "pairs composed for a head, and checked",
    "figures": "figures/*.svg",
    "report": "report.html",
}
"""The rooms in which a pair becomes a page, in that order, with what each makes of it."""

WIDTH, LEFT, GAP, PADDING, LINE = 760, 8, 10, 8, 16
CHARACTER, LEAST = 6.9, 13
"""How wide a character is on average, and for how many a box has room at least. The picture is not
much wider than the text of a page is on a screen, so that its letters stay legible there."""

INK, GREY, EDGE, FILL, MARK = "#111827", "#4b5563", "#9ca3af", "#f8fafc", "#0072B2"


def layers() -> list[list[str]]:
    """The rooms and modules of the contract between rooms, from the top layer down."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    rows = next(one["layers"] for one in contracts if one["name"] == CONTRACT)
    return [[name.strip() for name in row.split(":")] for row in rows]


def purpose(name: str) -> str:
    """The first sentence of a room's docstring."""
    room = ROOT / "counterpoint" / name
    file = room / "__init__.py" if room.is_dir() else room.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def picture() -> str:
    """The picture as SVG."""
    parts: list[str] = []
    y = 36
    for row in layers():
        widths = _widths(row)
        fits = [int((width - 2 * PADDING) / CHARACTER) for width in widths]
        texts = [textwrap.wrap(purpose(name), fit) for name, fit in zip(row, fits, strict=True)]
        ways = [
            textwrap.wrap(WAY.get(name, ""), fit - 3) for name, fit in zip(row, fits, strict=True)
        ]
        lines = max(len(text) + len(way) for text, way in zip(texts, ways, strict=True))
        height = PADDING + LINE * (lines + 1) + PADDING
        x: float = LEFT
        for name, width, text, way in zip(row, widths, texts, ways, strict=True):
            parts += _box(x, y, width, height, name, text, way)
            x += width + GAP
        y += height + GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8}" role="img" '
        f'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12">'
    )
    title = (
        "<title>The rooms of the package: each imports those below it; numbers are a pair's way"
        "</title>"
    )
    caption = (
        f'<text x="{LEFT}" y="20" fill="{GREY}">A room imports rooms below it and never one above. '
        f"Numbers: how a pair becomes a page.</text>"
    )
    background = f'<rect width="{WIDTH}" height="{y + 8}" fill="white"/>'
    return "\n".join([head, title, background, caption, *parts, "</svg>"]) + "\n"


def _widths(row: list[str]) -> list[float]:
    """The boxes' widths: equal, but for names that need more room."""
    needs = [max(len(name) + len(".py"), LEAST) for name in row]
    room = WIDTH - 2 * LEFT - (len(row) - 1) * GAP
    return [round(room * need / sum(needs), 1) for need in needs]


def _box(
    x: float, y: float, width: float, height: float, name: str, text: list[str], way: list[str]
) -> list[str]:
    room = (ROOT / "counterpoint" / name).is_dir()
    parts = [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" fill="{FILL}" '
        f'stroke="{EDGE}"/>',
        _text(x + PADDING, y + PADDING + 10, name + ("/" if room else ".py"), INK, "bold"),
    ]
    line = y + PADDING + 10
    for one in text:
        line += LINE
        parts.append(_text(x + PADDING, line, one, GREY))
    for place, one in enumerate(way):
        line += LINE
        if not place:
            number = list(WAY).index(name) + 1
            parts += [
                f'<circle cx="{x + PADDING + 7:g}" cy="{line - 4:g}" r="7.5" fill="{MARK}"/>',
                f'<text x="{x + PADDING + 7:g}" y="{line:g}" fill="white" text-anchor="middle" '
                f'font-weight="bold">{number}</text>',
            ]
        parts.append(_text(x + PADDING + 20, line, one, MARK))
    return parts


def _text(x: float, y: float, text: str, colour: str, weight: str = "normal") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}" font-weight="{weight}">{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
