"""The explorer of many pairs: sizes, seconds, and curves from the file beside the page."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from counterpoint import report
from counterpoint.report.explorer import explorer_data, pair_choice
from tests.helpers.explorer_pages import (
    READY,
    SETTINGS,
    SHAPE,
    Reader,
    many_pairs,
    page_of,
    write,
    write_page,
)
from tests.helpers.synthetic import Shape

SECONDS = 3.0
"""From opening the file to the explorer's answering, of 64 pairs of 270 heads."""

REST = 800_000
"""Bytes of a page without its explorer's data: figures, tables, script."""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("few"), SHAPE)


@pytest.fixture(scope="module")
def sixty_four(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many_pairs(few, tmp_path_factory.mktemp("sixty-four"), 8)


@pytest.fixture(scope="module")
def page_of_64(sixty_four: Path) -> Path:
    return page_of(sixty_four)


def test_64_pairs_answer_soon(chromium, page_of_64) -> None:
    took = []
    for _ in range(3):
        with chromium.opened(page_of_64) as one:
            one.page.wait_for_selector(READY)
            took.append(one.page.evaluate("performance.now()"))
            assert one.said == [] and one.asked == [page_of_64.as_uri()]
    assert min(took) < 1000 * SECONDS


def alone(folder: Path) -> Path:
    """A page of the explorer alone."""
    results = report.load_results("made-up", folder, SETTINGS)
    return write_page(folder / "alone.html", [report.explore(results)])


def data_size(page: Path) -> int:
    (text,) = re.findall(r'id="explorer-data"[^>]*>([^<]*)<', page.read_text(encoding="utf-8"))
    return len(text)


def test_8_and_64_pairs_fit_a_page(few, page_of_64) -> None:
    assert data_size(page_of(few)) < 1_400_000 - REST
    assert data_size(page_of_64) < 4_000_000 - REST


def test_a_thousand_pairs_fit_a_page(chromium, tmp_path) -> None:
    """Of few heads: what stands on a page is bound by the number of values, whoever's they are."""
    few = write(tmp_path / "few", Shape(pairs=8, layers=7, heads=3))
    folder = many_pairs(few, tmp_path / "thousand", 125)
    page = alone(folder)
    assert data_size(page) < 7_000_000 - REST
    with chromium.opened(page) as one:
        one.page.wait_for_selector(READY)
        assert one.page.evaluate("performance.now()") < 1000 * SECONDS
        shown = Reader(one.page).find("6.2")
        assert "mean over 1000 pairs" in shown.locator("thead").first.inner_text()
        assert "Lines: 619 of 1000 pairs" in shown.inner_text()
        assert "Of 1000 pairs 952" in one.page.locator(".explorer-sample").inner_text()
        assert one.page.locator("#explorer-pair option").count() == 952 + 5
        assert one.page.locator("#explorer-file").count() == 1
        assert one.said == [] and one.asked == [page.as_uri()]


def test_quantiles_are_those_of_all_pairs(chromium, sixty_four, monkeypatch) -> None:
    """Of a page on which a sample of the pairs stands, and of one on which all do."""
    table = pd.read_parquet(sixty_four / "heads.parquet")
    rows = table[table["direction"] == "noising"].groupby(["layer", "head"])["ap"]
    for most in (pair_choice.MOST_SCORES, 2 * 270 * 16):
        monkeypatch.setattr(explorer_data, "MOST_SCORES", most)
        with chromium.opened(alone(sixty_four)) as one:
            one.page.wait_for_selector(READY)
            for view, at in (("median", 0.5), ("q5", 0.05), ("q95", 0.95)):
                one.page.get_by_label("pair", exact=True).select_option(view)
                one.page.get_by_role("button", name="copy map as CSV").click()
                copied = pd.read_csv(io.StringIO(one.clipboard())).set_index(["layer", "head"])
                exact = rows.quantile(at).reindex(copied.index)
                np.testing.assert_allclose(copied["ap"], exact, rtol=2e-6, atol=1e-7)
            assert one.said == []


@pytest.fixture
def sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of 8 pairs on whose page 4 have numbers and 2 have curves."""
    shape = Shape(pairs=8, layers=3, heads=2)
    monkeypatch.setattr(explorer_data, "MOST_SCORES", 4 * 2 * 6)
    monkeypatch.setattr(explorer_data, "MOST_CURVES", 2 * 2 * 6)
    folder = write(tmp_path / "sampled", shape)
    page_of(folder)
    return folder


def lines(of: Any, direction: str = "noising") -> str:
    return str(of.locator(f".explorer-curves.{direction} .explorer-lines").first.get_attribute("d"))


def test_curves_come_from_the_file_beside_the_page(chromium, sampled) -> None:
    page = sampled / "report.html"
    with chromium.opened(page) as one:
        one.page.wait_for_selector(READY)
        reader = Reader(one.page)
        shown = reader.find("2.1")
        assert lines(shown).count("M") == 2
        assert "Lines: 2 of 8 pairs" in shown.locator(".explorer-curve-note").inner_text()
        label = "curves of all 8 pairs: open curves.safetensors"
        one.page.get_by_label(label).set_input_files(sampled / "curves.safetensors")
        shown.get_by_text("Lines: 8 of 8 pairs").wait_for()
        drawn = lines(shown)
        assert drawn.count("M") == 8
        # Of pair 7, which has no number on the page, too: f is drawn from the file.
        stored = load_file(sampled / "curves.safetensors")
        start = pd.read_parquet(sampled / "baseline.parquet")["metric_clean"]
        points = [np.array(re.findall(r"([\d.]+),([\d.]+)", part), float) for part in
                  drawn.split("M")[1:]]  # fmt: skip
        exact = [stored["output"][pair, 0, 2, 1] - start[pair] for pair in range(8)]
        # The line of a shown pair has both ends, of another only the beginning.
        own = [part[1:51, 1] for part in points]
        slope, offset = np.polyfit(np.concatenate(exact), np.concatenate(own), 1)
        for curve, line in zip(exact, own, strict=True):
            assert np.abs(slope * curve + offset - line).max() < 0.15
        # A pair without its curve on the page has it now.
        one.page.get_by_label("pair", exact=True).select_option("2")
        one.page.wait_for_selector(".explorer-line")
        note = shown.locator(".explorer-curve-note").inner_text()
        assert "pair 2 as curves.safetensors has it" in note
        assert one.said == [] and one.asked == [page.as_uri()]


def test_another_file_is_refused_in_words(chromium, sampled, tmp_path) -> None:
    other = write(tmp_path / "other", Shape(pairs=8, layers=3, heads=2))
    stored = load_file(other / "curves.safetensors")
    save_file({**stored, "output": stored["output"] + 1}, other / "moved.safetensors")
    save_file({**stored, "output": stored["output"][:, :1]}, other / "one.safetensors")
    (other / "short.safetensors").write_bytes(b"abc")
    (other / "text.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0no json!")
    with chromium.opened(sampled / "report.html") as one:
        one.page.wait_for_selector(READY)
        given = one.page.locator("#explorer-file")
        for name, words in (
            ("moved", "of another study"), ("one", "of another study"),
            ("short", "no file of curves"), ("text", "no file of curves"),
        ):  # fmt: skip
            given.set_input_files(other / f"{name}.safetensors")
            status = one.page.locator("#explorer > .explorer-status")
            status.filter(has_text=f"{name}.safetensors").wait_for()
            assert words in status.inner_text(), name
        assert one.said == []


def test_a_study_that_keeps_some_curves_shows_those(chromium, tmp_path, monkeypatch) -> None:
    folder = write(tmp_path / "some", Shape(pairs=8, layers=3, heads=2))
    stored = load_file(folder / "curves.safetensors")
    kept = {"alphas": stored["alphas"]} | {
        name: stored[name][5:7] for name in ("pairs", "output", "gradient")
    }
    save_file(kept, folder / "curves.safetensors")
    monkeypatch.setattr(explorer_data, "MOST_SCORES", 4 * 2 * 6)
    with chromium.opened(page_of(folder)) as one:
        one.page.wait_for_selector(READY)
        shown = Reader(one.page).find("1.0")
        assert lines(shown).count("M") == 2
        assert one.page.locator("#explorer-file").count() == 0  # all that there are stand here
        assert one.said == []
