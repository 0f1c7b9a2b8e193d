"""The atlas in the report: classes, counts, the map, and how it is read without a mouse."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint import report
from counterpoint.counterfactuals.atlas.atlas_classes import CLASSES, KEYS, atlas_class
from counterpoint.figures import theme
from counterpoint.figures.atlas_figures import atlas_map
from counterpoint.figures.counterfactual_figures import archive_scatter
from tests.helpers.synthetic import Shape, make_atlas, write_study
from tests.report.test_study_report import ROOT, SETTINGS, Page


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> report.Results:
    folder = write_study(tmp_path_factory.mktemp("atlas"), Shape(pairs=1))
    make_atlas().to_parquet(folder / "atlas.parquet", index=False)
    return report.load_results("made-up", folder, SETTINGS)


class Cells(HTMLParser):
    """The links of the map: (href, class, label, text)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[list[str]] = []
        self._inside = False
        self.feed(str(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "a" and str(named.get("class", "")).startswith("cell "):
            self.found.append(
                [str(named["href"]), str(named["class"])[5:], str(named["aria-label"]), ""]
            )
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1][3] += data


def test_classes_of_a_known_atlas() -> None:
    kinds = atlas_class(make_atlas(2, 3)).tolist()
    assert kinds == ["clear", "fluent", "first", "first", "behind", "none"]


@given(
    rank=st.one_of(st.none(), st.integers(1, 300)),
    margin=st.floats(0, 5),
    change=st.floats(-1, 5),
    fluent=st.sampled_from([True, False, None]),
)
def test_classes_are_steps(
    rank: int | None, margin: float, change: float, fluent: bool | None
) -> None:
    row = {"clean": "a b", "rank": rank, "margin": margin, "ld_change": change, "fluent": fluent}
    better = {**row, "rank": 1, "margin": margin + 2, "ld_change": change + 2, "fluent": True}
    kind, best = (KEYS.index(atlas_class(pd.DataFrame([one]))[0]) for one in (row, better))
    assert best <= kind
    if kind <= KEYS.index("fluent"):
        assert rank == 1 and fluent and change >= 0.5
    assert (kind == KEYS.index("none")) == (rank is None)


def test_every_head_has_a_cell_with_a_label_that_leads_to_its_pair(results) -> None:
    shown = report.atlas(results)
    read = Page(shown)
    cells = Cells(shown).found
    assert len(cells) == 12
    assert [href for href, *_ in cells] == [f"#atlas-{i // 3}-{i % 3}" for i in range(12)]
    assert {href.removeprefix("#") for href, *_ in cells} <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))
    assert [kind for _, kind, _, _ in cells[:6]] == atlas_class(make_atlas(2, 3)).tolist()
    assert [text for *_, text in cells[:6]] == ["1", "1", "1", "1", "4", "·"]
    assert "Head 0.0: first, fluent, margin at least 1.5" in cells[0][2]
    assert "rank 4, margin 0.50, LD change 1.00" in cells[4][2]
    assert cells[5][2] == "Head 1.2: no pair found"


def test_counts_are_told_in_words(results) -> None:
    text = re.sub(r"\s+", " ", Page(report.atlas(results)).text)
    assert "Of the 12 heads, 4 own a fluent pair on which they come first" in text
    assert "on 2 of these the effect is at least 1 and the margin at least 1.5" in text
    assert "8 come first on their pair, 2 do not, and for 2 no pair was found" in text
    assert "perplexity of at most 30.0 (3.40 nats per token)" in text
    assert "Pairs of 10 heads" in text
    shown = str(report.atlas(results))
    counts = shown[shown.index("Counts by layer") :]
    (layer_1,) = re.findall(r"<tr><th[^>]*>1</th>(.*?)</tr>", counts)
    assert re.findall(r">(\d+)<", layer_1) == ["3", "2", "0"]
    assert "No pair was found for 1.2, 3.2." in text


def test_prompts_are_marked_and_escaped(results) -> None:
    shown = report.atlas(results)
    assert "<mark>&lt;i&gt;baker&lt;/i&gt;</mark>" in shown
    assert "<i>" not in shown and "0.<1>" not in shown and "script" not in Page(shown).tags
    assert not Page(shown).handlers


def test_an_atlas_that_found_nothing(results, tmp_path) -> None:
    folder = write_study(tmp_path, Shape(pairs=1))
    empty = make_atlas().iloc[[5, 11]].reset_index(drop=True)
    empty.to_parquet(folder / "atlas.parquet", index=False)
    text = Page(report.atlas(report.load_results("made-up", folder, SETTINGS))).text
    assert "0 come first on their pair, 0 do not, and for 2 no pair was found" in text


def test_the_style_has_every_class_in_the_figures_colours() -> None:
    style = (ROOT / "reports" / "template" / "counterpoint" / "style.css").read_text("utf-8")
    for one in CLASSES:
        assert f".cell.{one.key} {{ background: {one.colour}; color: {one.ink}; }}" in style


def test_text_on_every_class_can_be_read() -> None:
    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    for one in CLASSES:
        dark, light = sorted([luminance(one.colour), luminance(one.ink)])
        assert (light + 0.05) / (dark + 0.05) >= 4.5, one.key


@pytest.mark.parametrize("size", [(1, 1), (30, 9), (4, 40)])
def test_the_figure_is_drawn_for_any_size(size: tuple[int, int], tmp_path) -> None:
    svg, png = theme.save_figure(atlas_map(make_atlas(*size)), tmp_path, "atlas")
    assert png.stat().st_size
    assert svg.read_bytes() == theme.figure_svg(atlas_map(make_atlas(*size)))


def test_the_scatter_marks_what_is_dominated_and_draws_the_cap() -> None:
    archive = pd.DataFrame(
        {
            "ld_change": [1.0, 2.0, 0.5],
            "perplexity": [20.0, 40.0, 30.0],
            "non_dominated": [True, True, False],
        }
    )
    (ax,) = archive_scatter({"fluent": archive, "descent": archive.iloc[:0]}, cap=25.0).axes
    filled, hollow = ax.collections
    assert filled.get_offsets().tolist() == [[40.0, 2.0], [20.0, 1.0]]
    assert hollow.get_offsets().tolist() == [[30.0, 0.5]]
    assert len(filled.get_facecolors()) == 1 and len(hollow.get_facecolors()) == 0
    assert 25.0 in ax.lines[0].get_xdata()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["fluent", "fluency cap"]
