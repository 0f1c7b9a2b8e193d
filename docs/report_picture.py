"""report.png: the beginning of a report, as the documents show it.

`python docs/report_picture.py results/ioi/report.html` (or `make picture`) takes it with the
machine's chromium, on a screen as wide as a laptop's, after the explorer has begun.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "report.png"
WIDTH, HEIGHT = 1280, 1240


def take(page: Path, picture: Path = PICTURE) -> None:
    """Write a picture of the first screen of ``page``, with the explorer ready."""
    sys.path.insert(0, str(ROOT))
    from tests.helpers.browser import browser

    with browser() as running, running.opened(page.resolve(), width=WIDTH) as opened:
        opened.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        opened.page.wait_for_selector("html[data-explorer=ready]")
        opened.page.screenshot(path=str(picture))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit(
            "usage: python docs/report_picture.py results/STUDY/report.html (a page that is there)"
        )
    take(Path(sys.argv[1]))
