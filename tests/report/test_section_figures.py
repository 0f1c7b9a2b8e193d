"""Every picture of the page also stands in the study's folder, and the page shows that one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from counterpoint import report
from counterpoint.figures import theme
from counterpoint.report import section_figures as section_figures_module
from counterpoint.report.section_figures import SECTIONS, section_figures
from tests.helpers.full_study import SETTINGS, write_full_study
from tests.helpers.synthetic import Shape, make_atlas, make_position_curves

ROOT = Path(__file__).parents[2]
SHAPE = Shape(pairs=3, layers=4, heads=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_full_study(tmp_path_factory.mktemp("study"), SHAPE)
    make_position_curves(SHAPE).to_parquet(folder / "position_curves.parquet", index=False)
    make_atlas().to_parquet(folder / "atlas.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> report.Results:
    return report.load_results("made-up", folder, SETTINGS)


def test_as_many_figures_are_gathered_as_pictures_are_shown(results: report.Results) -> None:
    found = section_figures(results)
    assert {"faithfulness", "interaction", "roles", "positions", "atlas"} <= set(found)
    composed = {name for name in found if name.startswith("generated_3.2_")}
    assert composed == {f"generated_3.2_{kind}" for kind in ("pairs", "curves", "searches")}
    shown = [str(section(results)) for section in SECTIONS]
    assert sum(text.count("<img ") for text in shown) == len(found)
    alts = [alt for text in shown for alt in re.findall(r'<img src="[^"]*" alt="([^"]*)"', text)]
    assert [str(report.html.Fragment.escape(one.title)) for one in found.values()] == alts


def test_every_section_that_draws_is_asked() -> None:
    """A section that draws and is not asked would have pictures without a file."""
    asked = {section.__module__ for section in SECTIONS}
    drawing = set()
    for path in (ROOT / "counterpoint" / "report").glob("*_section.py"):
        if "drawn_here(" in path.read_text(encoding="utf-8"):
            drawing.add(f"counterpoint.report.{path.stem}")
    # Its figures are asked for by the section on generated pairs.
    drawing.remove("counterpoint.report.methods_section")
    assert drawing == asked
    assert section_figures_module.SECTIONS is SECTIONS


def test_the_page_shows_the_file_where_there_is_one(
    folder: Path, results: report.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = section_figures(results)["faithfulness"]
    svg, png = theme.save_figure(one.draw(), folder / "figures" / "sections", "faithfulness")
    assert png.read_bytes().startswith(b"\x89PNG") and b"<text" in svg.read_bytes()
    svg.write_bytes(svg.read_bytes().replace(b"</svg>", b"<title>kept</title></svg>"))
    try:
        assert "<title>kept</title>" in report.reasons(results)
    finally:
        svg.unlink()
    assert "<title>kept</title>" not in report.reasons(results)


def test_nothing_is_drawn_while_figures_are_gathered(
    results: report.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> bytes:
        raise AssertionError("drawn")

    monkeypatch.setattr("counterpoint.report.section_parts.figure_svg", refuse)
    assert section_figures(results)
