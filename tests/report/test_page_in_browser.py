"""The page as readers have it: on a wide and on a narrow screen, in the dark, on paper, by key.

Skipped, saying why, where there is no chromium; `make test-page` installs it (Debian, root).
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pypdf import PdfReader

from counterpoint import report
from tests.helpers import browser
from tests.helpers.full_study import SETTINGS, draw_full_study, write_full_study

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "build" / "screenshots"
"""What the page looks like, to be looked at."""

LIMIT = 1_400_000
"""Bytes of a page of 8 pairs: as base64, in Snakemake's report, it is below Chromium's 2 MB."""

TALLEST = 300
"""Pixels of a row of a table on a narrow screen."""

OPEN_ALL = "document.querySelectorAll('details:not(.table-tools)').forEach(one => one.open = true)"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_full_study(tmp_path_factory.mktemp("study"))
    draw_full_study(folder)
    parameters = {
        "study": "made-up",
        "folder": str(folder),
        "title": "A study <of> eight pairs",
        "settings": SETTINGS,
        "card": str(ROOT / "resources" / "pairs" / "capital-country.md"),
    }
    html = folder / "report.html"
    report.render_report(ROOT / "reports" / "report.ipynb", parameters, folder / "r.ipynb", html)
    return html


@pytest.fixture
def wide(chromium: browser.Browser, path: Path) -> Iterator[browser.Opened]:
    with chromium.opened(path) as one:
        one.page.wait_for_selector("html[data-explorer=ready]")
        yield one
        assert one.said == [] and one.asked == [path.as_uri()]


@pytest.fixture
def narrow(chromium: browser.Browser, path: Path) -> Iterator[browser.Opened]:
    with chromium.opened(path, width=390) as one:
        one.page.wait_for_selector("html[data-explorer=ready]")
        one.page.evaluate(OPEN_ALL)
        yield one
        assert one.said == [] and one.asked == [path.as_uri()]


def shot(one: browser.Opened, name: str) -> Image.Image:
    """Keep a picture of the page as it is now, and return it."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    content = one.page.screenshot(path=str(SHOTS / f"{name}.png"))
    return Image.open(io.BytesIO(content)).convert("RGB")


def test_the_page_of_eight_pairs_is_small_enough_for_an_address(path: Path) -> None:
    assert path.stat().st_size <= LIMIT
    assert 4 / 3 * path.stat().st_size < 2 * 2**20


# ---------------------------------------------------------------------------------------- on paper


def squeezed(text: str) -> str:
    """Text as it can be compared: a PDF has spaces where it likes, and letters joined."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


WITHOUT_TOOLS = """all => all.map(one => {
  const copy = one.cloneNode(true);
  copy.querySelectorAll(".table-tools").forEach(tools => tools.remove());
  return copy.textContent;
})"""


@pytest.mark.parametrize("script", [True, False])
def test_folds_are_open_on_paper(chromium: browser.Browser, path: Path, script: bool) -> None:
    with chromium.opened(path, java_script_enabled=script) as one:
        if script:
            one.page.evaluate(
                "document.querySelectorAll('details[open]').forEach(one => one.open = false)"
            )
        folded = one.page.locator("main details:not(.table-tools, #explorer *)")
        wanted = [squeezed(text)[-40:] for text in folded.evaluate_all(WITHOUT_TOOLS)]
        printed = one.page.pdf(format="A4")
        if script:
            assert one.page.locator("main details[open]").count() == 0
    read = squeezed("".join(page.extract_text() for page in PdfReader(io.BytesIO(printed)).pages))
    assert len(wanted) > 5
    missing = [text for text in wanted if text not in read]
    assert not missing
    assert "sort,filter,copy" not in read


def test_paper_holds_the_figures_and_no_explorer(wide: browser.Opened) -> None:
    wide.page.emulate_media(media="print")
    shown = wide.page.locator("main figure img")
    assert shown.count() > 10
    for place in range(shown.count()):
        box = shown.nth(place).evaluate(
            "one => { const box = one.getBoundingClientRect(); return [box.width, box.height] }"
        )
        assert min(box) > 50, place
    assert not wide.page.locator("#explorer").is_visible()
    shot(wide, "print")


# ------------------------------------------------------------------------------------ wide, narrow


def test_contents_stand_at_the_side_of_a_wide_screen_and_above_on_a_narrow_one(
    wide: browser.Opened, narrow: browser.Opened
) -> None:
    def boxes(one: browser.Opened) -> tuple[Any, Any]:
        return tuple(one.page.locator(name).bounding_box() for name in ("nav", "main"))

    nav, main = boxes(wide)
    assert nav["x"] + nav["width"] <= main["x"] and main["width"] > 900
    wide.page.evaluate("scrollTo({top: 3000, behavior: 'instant'})")
    assert wide.page.evaluate("scrollY") > 1000
    assert wide.page.locator("nav").bounding_box()["y"] == 0
    nav, main = boxes(narrow)
    assert nav["y"] + nav["height"] <= main["y"] + 1


def test_a_narrow_screen_scrolls_boxes_and_not_the_page(narrow: browser.Opened) -> None:
    page = narrow.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    figures = page.locator("main figure > .scroll > img")
    sizes = figures.evaluate_all(
        "all => all.map(one => [one.naturalWidth, one.clientWidth, one.parentElement.clientWidth])"
    )
    assert len(sizes) > 10
    for natural, shown, box in sizes:
        # Its padding is not counted as content.
        assert abs(shown - 16 - natural) <= 2 and box <= 390


def test_the_first_column_stays(narrow: browser.Opened) -> None:
    moved = narrow.page.locator("main .scroll:has(> table)").evaluate_all(
        """all => all.filter(box => box.scrollWidth > box.clientWidth + 60).map(box => {
            box.scrollLeft = 60;
            const [head, other] = box.querySelectorAll("tbody tr:first-child > *");
            const left = box.getBoundingClientRect().left;
            const row = [head.getBoundingClientRect().left - left, box.scrollLeft];
            const seen = getComputedStyle(head).backgroundColor;
            box.scrollLeft = 0;
            return [...row, seen];
        })"""
    )
    assert len(moved) > 5
    for offset, scrolled, ground in moved:
        assert scrolled == 60 and abs(offset) <= 1
        assert ground not in ("rgba(0, 0, 0, 0)", "transparent")


def test_no_row_of_a_narrow_table_is_taller_than_can_be_read(narrow: browser.Opened) -> None:
    rows = narrow.page.locator("main .scroll > table tr").evaluate_all(
        "all => all.map(one => [one.getBoundingClientRect().height, one.textContent.slice(0, 60)])"
    )
    assert len(rows) > 100
    assert [row for row in rows if row[0] > TALLEST] == []
    captions = narrow.page.locator("main .scroll caption").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().right)"
    )
    assert len(captions) > 5 and max(captions) <= 390
    shot(narrow, "390")


# --------------------------------------------------------------------------------------- the dark


def test_figures_follow_into_the_dark(chromium: browser.Browser, path: Path) -> None:
    def corner(dark: bool) -> tuple[int, int, int]:
        with chromium.opened(path, dark=dark) as one:
            one.page.wait_for_selector("html[data-explorer=ready]")
            shot(one, "dark" if dark else "1280")
            figure = one.page.locator("main figure img").first
            figure.scroll_into_view_if_needed()
            SHOTS.mkdir(parents=True, exist_ok=True)
            name = SHOTS / f"figure-{'dark' if dark else 'light'}.png"
            picture = Image.open(io.BytesIO(figure.screenshot(path=str(name)))).convert("RGB")
            return picture.getpixel((10, 10))

    assert min(corner(False)) > 240
    assert max(corner(True)) < 60


# ----------------------------------------------------------------------------------------- by key


@pytest.mark.parametrize("width", [390, 1280])
def test_what_scrolls_is_named_and_reached_by_key_and_nothing_else_is(
    chromium: browser.Browser, path: Path, width: int
) -> None:
    with chromium.opened(path, width=width) as one:
        one.page.wait_for_selector("html[data-explorer=ready]")
        one.page.evaluate(OPEN_ALL)
        one.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
        boxes = one.page.locator("main .scroll").evaluate_all(
            """all => all.map(box => [box.scrollWidth > box.clientWidth + 1, box.tabIndex === 0,
                                     box.getAttribute("role"), box.getAttribute("aria-label")])"""
        )
    assert len(boxes) > 20
    assert all(scrolls == reached for scrolls, reached, *_ in boxes)
    assert any(scrolls for scrolls, *_ in boxes)
    names = [name for *_, role, name in boxes if role == "group"]
    assert len(names) == len(boxes) == len(set(names)) and all(names)
    assert "Figure 1 of The heads of largest effect" in names


def test_the_first_key_skips_the_contents(wide: browser.Opened) -> None:
    wide.page.keyboard.press("Tab")
    assert wide.page.evaluate("document.activeElement.textContent") == "Skip to the report"
    box = wide.page.locator(".skip-link").bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0
    wide.page.keyboard.press("Enter")
    assert wide.page.evaluate("document.activeElement.id") == "main"


def test_every_heading_leads_to_itself(wide: browser.Opened) -> None:
    headings = wide.page.locator("main :is(h2, h3)[id]:not(#explorer *)")
    links = headings.evaluate_all("all => all.map(one => [one.id, one.querySelector('a')?.hash])")
    assert len(links) > 15 and all(hash == f"#{anchor}" for anchor, hash in links)
    wide.page.locator("h2#claims a.permalink").click()
    assert wide.page.evaluate("location.hash") == "#claims"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_axe_finds_nothing(chromium: browser.Browser, path: Path, width: int, dark: bool) -> None:
    with chromium.opened(path, width=width, dark=dark) as one:
        one.page.wait_for_selector("html[data-explorer=ready]")
        one.page.evaluate(OPEN_ALL)
        one.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
        assert one.findings() == []


def test_without_script_everything_but_the_explorer_is_there(
    chromium: browser.Browser, path: Path
) -> None:
    with chromium.opened(path, java_script_enabled=False) as one:
        assert one.page.locator("#explorer-note").is_visible()
        figure = one.page.locator("main figure img").first
        assert figure.bounding_box()["height"] > 100
        assert one.page.locator("h2#claims").is_visible()
        assert one.said == [] and one.asked == [path.as_uri()]
