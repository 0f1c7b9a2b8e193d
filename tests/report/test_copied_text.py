"""What a reader selects on a page and copies is read by a program as it stands.

Skipped, saying why, where there is no chromium; `make test-page` installs it (Debian, root).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from counterpoint import report
from tests.helpers import browser
from tests.report.test_one_word_one_number import SETTINGS, whole_study
from tests.report.test_readable_page import PROVENANCE

TEMPLATE = Path(__file__).parents[2] / "reports" / "template"
ASKED = SETTINGS | {"pairs": "resources/pairs/ioi.default.csv"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> report.Results:
    folder = whole_study(tmp_path_factory.mktemp("copied"))
    loaded = report.load_results("made-up", folder, ASKED)
    return replace(loaded, provenance=PROVENANCE)


@pytest.fixture(scope="module")
def path(results: report.Results) -> Path:
    parts = [
        report.headline(results, "A title"), report.heads(results), report.claims(results),
        report.reasons(results), report.limits(results), '<h2 id="exactness">Exactness</h2>',
        report.exactness(results), '<h2 id="provenance">Provenance</h2>',
        report.provenance(results), report.cite(results), report.glossary([results.metric]),
    ]  # fmt: skip
    notebook = nbformat.v4.new_notebook()
    for part in parts:
        cell = nbformat.v4.new_code_cell("")
        cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": str(part)})]
        notebook.cells.append(cell)
    page = results.folder / "report.html"
    page.write_text(report.notebook_to_html(notebook, TEMPLATE), encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def opened(chromium: browser.Browser, path: Path) -> Iterator[browser.Opened]:
    with chromium.opened(path) as one:
        yield one
        assert one.said == []
        assert one.asked == [path.as_uri()]


def copied(one: browser.Opened, element: Any) -> str:
    """Select an element as a reader would and press the keys that copy it."""
    element.evaluate("element => getSelection().selectAllChildren(element)")
    one.page.keyboard.press("Control+C")
    return one.clipboard()


def test_a_number_in_a_table_is_copied_as_a_program_reads_it(opened, results) -> None:
    page = opened.page
    (layer, head) = map(
        int, page.locator("table").first.locator("tbody th").first.inner_text().split(".")
    )
    cell = page.locator("table").first.locator("tbody tr").first.locator("td").first
    text = copied(opened, cell)
    mean = results.means["noising", layer, head]["ap"]
    assert float(text.split()[0]) == pytest.approx(mean, abs=6e-3)
    low, high = (float(end) for end in re.findall(r"-?\d+\.\d+", text)[1:])
    assert low < mean < high


def test_no_number_on_the_page_has_a_sign_or_a_space_that_no_program_reads(opened) -> None:
    opened.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    text = copied(opened, opened.page.locator("main"))
    assert len(text) > 5000 and re.search(r"-\d\.\d", text)
    assert not re.findall(r".{0,20}[\u2212\u2010\u2013]\d.{0,10}", text)
    assert not re.findall(r"\d[\u202f\u2009\u00a0,]\d{3}\b", text)


def test_the_blocks_are_copied_as_they_are(opened, results) -> None:
    page = opened.page
    assert yaml.safe_load(copied(opened, page.locator("#rerun-config"))) == {
        "study": "made-up",
        "models": {"tiny": {"source": "huggingface", "repository": "some/model",
                            "revision": "0123456"}},
        "studies": {"made-up": PROVENANCE["settings"]},
    }  # fmt: skip
    command = copied(opened, page.locator("#rerun-command"))
    assert command.splitlines() == [f"git checkout {PROVENANCE['commit'][:40]}",
                                    "make report CONFIG=rerun.yaml"]  # fmt: skip
    bibtex = copied(opened, page.locator("#bibtex"))
    assert bibtex.startswith("@misc{counterpoint,\n  author = {") and bibtex.count("\n}") > 5


def test_links_of_the_headline_lead_somewhere(opened) -> None:
    page = opened.page
    for words, anchor in (("What this does not show", "limits"), ("Cite and rerun", "cite"),
                          ("How exact the numbers are", "exactness")):  # fmt: skip
        page.locator("main").get_by_role("link", name=words).first.click()
        assert page.url.endswith(f"#{anchor}")
        assert page.locator(f"h2#{anchor}").count() == 1


def test_axe_finds_nothing_in_the_sections(opened) -> None:
    assert opened.findings() == []
