"""The manual of the searches: its example is what it says, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from counterpoint.counterfactuals.methods.search import METHODS
from counterpoint.workflow import config
from tests.workflow.test_config import laid_over

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "counterfactuals.md"
PAGES = [MANUAL, ROOT / "docs" / "validation.md", *sorted((ROOT / "docs" / "lab").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:")):
            continue
        file, _, anchor = target.partition("#")
        other = (page.parent / file).resolve() if file else page
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other), target


def test_the_example_composes_for_head_5_1() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    whole = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    found = config.resolve(
        laid_over(whole, yaml.safe_load(snippet)), source="mine.yaml", folder=ROOT
    )
    (name,) = found.studies
    wanted = found.studies[name]["counterfactuals"]
    assert wanted["targets"] == [[5, 1]] and wanted["methods"] == ["fluent"]
    for file in ("fluent.parquet", "validation.parquet"):
        assert f"`results/{name}/counterfactuals/5.1/{file}`" in text


def test_every_method_is_explained() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    for name in METHODS:
        assert f"### `{name}`" in text or f"* `{name}`: " in text, name


def test_every_note_is_listed_and_the_manual_holds_no_diary() -> None:
    notes = {path.name for path in PAGES if path.parent.name == "lab"} - {"index.md"}
    listed = (ROOT / "docs" / "lab" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", listed)) == notes
    assert "<!-- measured" not in MANUAL.read_text(encoding="utf-8")
