"""Snakemake's own report, as one file and as a zip, opened by a reader: it shows the study's page.

The page is as large as one of eight pairs may be, since Chromium shows none in the one file whose
address is longer than 2 MB. Snakemake packs what is there; nothing is measured for this.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from counterpoint import report
from tests.helpers import browser
from tests.helpers.full_study import SETTINGS, draw_full_study, write_full_study
from tests.helpers.small_study import (
    ROOT,
    configuration,
    make_model,
    project_copy,
    snakemake,
    write_configuration,
    write_pairs,
)

pytestmark = pytest.mark.workflow

TITLE = "A study of eight pairs"

LARGEST = 1_400_000
"""Bytes that a page of eight pairs may have."""


@pytest.fixture(scope="module")
def project(chromium: browser.Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which a study stands as if it had been made."""
    folder = project_copy(tmp_path_factory.mktemp("project"))
    make_model(folder / "tiny", num_hidden_layers=4)  # of the target, 3.2
    write_pairs(folder / "small.csv")
    config = configuration()
    config["studies"]["small"] |= {
        "circuit": {"pairs": "none"},
        "answers": {"pairs": "none"},
        "patterns": {"pairs": "none"},
        "edges": {"pairs": "none"},
        "position_curves": {"pairs": "none"},
        "baselines": [],
        "counterfactuals": {"targets": [[3, 2]], "methods": ["descent"]},
    }
    write_configuration(folder, config)
    results = write_full_study(folder / "results" / "small")
    draw_full_study(results)
    reports = folder / "reports"
    parameters = {"study": "small", "folder": str(results), "title": TITLE, "settings": SETTINGS}
    page = results / "report.html"
    report.render_report(reports / "report.ipynb", parameters, results / "report.ipynb", page)
    # As large as such a page may be.
    room = LARGEST - page.stat().st_size
    assert room > 7
    with page.open("ab") as stream:
        stream.write(b"<!--" + b" " * (room - 7) + b"-->")
    return folder


def go_to(page: Any, subcategory: str) -> None:
    """Open what there is of one kind of the only study."""
    page.get_by_text("Results", exact=True).click()
    page.locator("li").get_by_text(subcategory, exact=True).click()


def check(chromium: browser.Browser, path: Path) -> None:
    with chromium.opened(path, width=1600) as one:
        go_to(one.page, "Report")
        row = one.page.locator("tr", has=one.page.get_by_text("The whole report", exact=True))
        row.locator("a").first.click()
        inside = one.page.frame_locator("iframe")
        assert inside.locator("h1").inner_text() == TITLE
        assert inside.locator("main figure img").first.bounding_box()["height"] > 100


def test_the_one_file_shows_the_page(project: Path, chromium: browser.Browser) -> None:
    done = snakemake(project, "--report", "report.html")
    assert done.returncode == 0, done.stdout
    check(chromium, project / "report.html")


def test_the_zip_shows_the_page(project: Path, chromium: browser.Browser, tmp_path: Path) -> None:
    done = snakemake(project, "--report", "report.zip")
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(project / "report.zip") as packed:
        packed.extractall(tmp_path)
    check(chromium, next(tmp_path.glob("*/report.html")))


@pytest.mark.parametrize(
    ("subcategory", "labels"),
    [
        ("Tables", ["Heads", "Pairs", "Faithfulness of the scores", "The three claims"]),
        ("Generated pairs", ["Pairs by descent", "What they are worth"]),
        ("Figures", ["Heat maps of four measures", "Faithfulness", "Generated 3.2 curves"]),
    ],
)
def test_results_stand_under_their_kinds(
    project: Path, chromium: browser.Browser, subcategory: str, labels: list[str]
) -> None:
    with chromium.opened(project / "report.html", width=1600) as one:
        go_to(one.page, subcategory)
        for label in labels:
            assert one.page.get_by_text(label, exact=True).count() == 1, label


def test_every_caption_is_used_and_there() -> None:
    captions = {path.stem for path in (ROOT / "reports" / "captions").glob("*.rst")}
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    rules += (ROOT / "Snakefile").read_text(encoding="utf-8")
    used = set(re.findall(r"captions/(\w+)\.rst", rules))
    figures = set(
        re.findall(r'^    "(\w+)": "', rules.partition("\nFIGURES = {")[2].partition("}")[0], re.M)
    )
    assert captions == used | figures
