"""An executed notebook as one HTML page, which holds everything it needs.

No script, no font, no style and no image is loaded from anywhere, and a content security policy in
its head forbids it: only the styles and scripts that stand beside the template are allowed, by
their digests, so that nothing else that gets into a page can run. The template is ours, since those
that come with nbconvert load scripts from the network.

Here, too, headings become links to themselves, and what scrolls sideways gets a name: the section
that it stands in, with its number.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

PathLike = str | os.PathLike[str]

CONTENTS = "<!--contents-->"
TEMPLATE = "counterpoint"
EXPLORER = 'id="explorer-data"'
"""What a page has that needs the explorer's script."""

ARRANGED = re.compile(
    r'<h(?P<level>[23]) id="(?P<anchor>[^"]*)">(?P<title>.*?)</h(?P=level)>'
    r'|<div class="scroll">(?=<(?P<holds>table|img))',
    re.DOTALL,
)
"""Headings with an anchor, and boxes that may scroll."""


def notebook_to_html(notebook: Any, template_folder: PathLike) -> str:
    """Return an executed notebook (an nbformat node) as one page, code hidden."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name=TEMPLATE,
        extra_template_basedirs=[str(template_folder)],
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    page, _ = exporter.from_notebook_node(notebook)
    page = slim(arranged(page))
    folder = Path(template_folder) / TEMPLATE
    explored = EXPLORER in page
    style = _read(folder / "style.css") + (_read(folder / "explorer.css") if explored else "")
    style = re.sub(r"/\*.*?\*/|(?<=[{};,:])\s+|\s+(?=[{}])", "", style, flags=re.DOTALL)
    script = _read(folder / "page.js") + (_read(folder / "explorer.js") if explored else "")
    parts = {
        "<!--policy-->": '<meta http-equiv="Content-Security-Policy" '
        f'content="{content_policy(style, script)}">',
        "<!--style-->": f"<style>{style}</style>",
        CONTENTS: str(contents(page)),
        "<!--script-->": f"<script>{script}</script>",
    }
    head, found, rest = page.partition("</head>")
    for mark in ("<!--policy-->", "<!--style-->"):
        head = head.replace(mark, parts[mark], 1)
    rest = rest.replace(CONTENTS, parts[CONTENTS], 1)
    before, _, after = rest.rpartition("<!--script-->")
    return head + found + before + parts["<!--script-->"] + after


def content_policy(style: str, script: str) -> str:
    """Return the policy that allows images of the page itself, this style and this script alone."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    """A text's digest, as a policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _read(path: Path) -> str:
    # As a browser reads it: line ends are those of the file.
    return path.read_text(encoding="utf-8")


def arranged(page: str) -> str:
    """Return the page with its headings as links to themselves and with names for what scrolls."""
    section, numbers = "the beginning", Counter[tuple[str, str]]()

    def said(found: re.Match[str]) -> str:
        nonlocal section
        if found["holds"]:
            kind = "Table" if found["holds"] == "table" else "Figure"
            numbers[section, kind] += 1
            name = escape(f"{kind} {numbers[section, kind]} of {section}")
            return f'<div class="scroll" role="group" aria-label="{name}">'
        section = Markup(found["title"]).striptags()
        title = found["title"]
        if "<a " not in title:
            title = f'<a class="permalink" href="#{found["anchor"]}">{title}</a>'
        return f'<h{found["level"]} id="{found["anchor"]}">{title}</h{found["level"]}>'

    return ARRANGED.sub(said, page)


SLIM = {
    '<td class="number">': "<td>",
    '<td class="text">': "<td class=t>",
    # As nbconvert leaves them, whose parser sorts attributes.
    '<th class="number" scope="row">': "<th class=n>",
    '<th class="text" scope="row">': "<th>",
    '<th class="number" scope="col">': "<th>",
    '<th class="text" scope="col">': "<th class=t>",
    '<code class="prompt short">': "<code class=short>",
    **dict.fromkeys(("</td>", "</th>", "</tr>", "</tbody>", "</thead>", "</dd>", "</dt>"), ""),
}
"""What a page says often, and the same in fewer letters: HTML lets the ends of cells and rows be
left out, a `th` among others heads a column and one before cells its row, a cell that is not text
is a number, and what heads a row is text."""

INTERVAL = re.compile(r'<span class="interval">([^<]*)</span>')
"""An interval, which becomes a `bdi` (it means nothing else here); page.js gives it its class."""

PICTURE = re.compile(r'(?<=src="data:image/svg\+xml,)[^"]*')
"""An SVG as nbconvert leaves it, with marks escaped that in an attribute need not be."""


def slim(page: str) -> str:
    """Return the page with the marks of its tables as short as HTML allows.

    Prompts hold none of these: what could be read as a mark is escaped in them.
    """
    page = PICTURE.sub(lambda found: found[0].replace("&lt;", "<").replace("&gt;", ">"), page)
    page = INTERVAL.sub(r"<bdi>\1</bdi>", page)
    for long, short in SLIM.items():
        page = page.replace(long, short)
    return page


class _Headings(HTMLParser):
    """Collects (level, anchor, text) of the h2 and h3 headings that have an id."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, str, str]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        anchor = dict(attrs).get("id")
        if tag in ("h2", "h3") and anchor:
            self.found.append((int(tag[1]), anchor, ""))
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h2", "h3"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            level, anchor, text = self.found[-1]
            self.found[-1] = (level, anchor, text + data)


def contents(page: str) -> Markup:
    """Return the list of a page's sections (its h2 headings) as links, in order."""
    reader = _Headings()
    reader.feed(page)
    links = Markup("").join(
        Markup('<li><a href="#{}">{}</a></li>').format(escape(anchor), escape(text.strip()))
        for level, anchor, text in reader.found
        if level == 2
    )
    return Markup('<nav aria-label="Contents"><p>Contents</p><ol>{}</ol></nav>').format(links)
