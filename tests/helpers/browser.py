"""A browser of the machine's own that opens a page as a reader would: from a file, offline.

Chromium is driven by playwright, which brings no browser. What a page says on its console, what it
asks the network for, and what axe finds in it are kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing() -> str:
    """Why no browser can be had here; empty where one can."""
    if not any(map(shutil.which, PROGRAMS)):
        return f"none of {', '.join(PROGRAMS)} is installed (make test-page installs chromium)"
    return ""


@dataclass
class Opened:
    """A page that is open, with what it has said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def clipboard(self) -> str:
        """What was copied last."""
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    def open_folds(self) -> None:
        """Open every fold of the page; those that others make when they open stay shut."""
        self.page.evaluate(
            "() => { for (const fold of document.querySelectorAll('details')) fold.open = true; }"
        )

    def findings(self) -> list[str]:
        """What axe finds: rule, and the elements that break it."""
        import axe_playwright_python.sync_playwright as axe

        found = axe.Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {json.dumps([node['html'][:120] for node in one['nodes'][:5]])}"
            for one in found
        ]


class Browser:
    """A running browser."""

    def __init__(self, running: Any) -> None:
        self._running = running

    @contextmanager
    def opened(
        self,
        path: Path,
        fragment: str = "",
        *,
        width: int = 1280,
        dark: bool = False,
        **options: Any,
    ) -> Iterator[Opened]:
        """Open a file; ``options`` are playwright's of a context."""
        context = self._running.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            **options,
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        # What a page does not show by then it does not show.
        context.set_default_timeout(8000)
        one = Opened(context.new_page())
        one.page.on("console", lambda message: one.said.append(message.text))
        one.page.on("pageerror", lambda error: one.said.append(str(error)))
        one.page.on("request", lambda request: one.asked.append(request.url))
        try:
            one.page.goto(f"{path.as_uri()}{fragment}")
            yield one
        finally:
            context.close()


@contextmanager
def browser() -> Iterator[Browser]:
    """Start chromium and end it."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, PROGRAMS)))
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        try:
            yield Browser(running)
        finally:
            running.close()
