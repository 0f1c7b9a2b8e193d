"""Checks of the built site: links, anchors, nothing from elsewhere, everything there.

    python docs/check_site.py build/docs

Every link within the site must lead to a file and an anchor of it; no page may load anything from
another host (links that a reader follows may lead anywhere and are not asked); every key of the
schema, column of a table, word, public name, room and module must be on its page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import generated_pages
import source_pages
import yaml

LOADING = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
LOADED_RELATIONS = {"stylesheet", "icon", "preload", "modulepreload", "manifest"}


class Page(HTMLParser):
    """What a page links to and loads, and the anchors and text that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag says."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADING and LOADING[tag] in given:
            relations = set(given.get("rel", "").split())
            if tag != "link" or relations & LOADED_RELATIONS:
                self.loads.append(given[LOADING[tag]])

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.text.append(data)


def _pages_of(site: Path) -> list[Path]:
    """Its pages, without the theme's own templates."""
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


def problems(site: Path) -> Iterator[str]:
    """What is wrong with the site."""
    pages = {path: Page(path) for path in _pages_of(site)}
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.loads:
            if urlsplit(target).netloc:
                yield f"{name}: loads {target}"
        for target in [*page.links, *page.loads]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if file.is_dir():
                file /= "index.html"
            if not file.exists():
                yield f"{name}: {target}: no such file"
            elif file in pages and unquote(parts.fragment) not in {"", *pages[file].anchors}:
                yield f"{name}: {target}: no such anchor"
    for path in site.rglob("*.css"):
        for target in re.findall(r"url\(\s*['\"]?([^'\")]+)", path.read_text(encoding="utf-8")):
            if target.startswith(("http:", "https:", "//")):
                yield f"{path.relative_to(site)}: loads {target}"
    yield from _missing(site, pages)


def _missing(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    made = site / "_generated"

    def lacks(page: str, wanted: list[str]) -> Iterator[str]:
        path = made / page
        if path not in pages:
            yield f"the site has no page {page}"
            return
        text, anchors = "".join(pages[path].text), pages[path].anchors
        for one in dict.fromkeys(wanted):
            if one not in anchors and not re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text):
                yield f"{page}: {one} is missing"

    schema = (source_pages.ROOT / "config.schema.yaml").read_text(encoding="utf-8")
    yield from lacks("configuration.html", generated_pages.schema_keys(yaml.safe_load(schema)))
    known = generated_pages.glossary()
    columns = [name for table in known.COLUMNS.values() for name in table]
    yield from lacks("outputs.html", [*known.TABLES, *columns])
    yield from lacks("words.html", [f"word-{key}" for key in known.WORDS])
    names = [f"counterpoint.{name}" for name in source_pages.public_names()]
    yield from lacks("api/index.html", names)
    for room in source_pages.rooms():
        modules = [module.name for module in source_pages.modules_of(room)]
        yield from lacks(f"api/{room}.html", [f"module-{name}" for name in modules])


if __name__ == "__main__":
    found = list(problems(Path(sys.argv[1]).resolve()))
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
