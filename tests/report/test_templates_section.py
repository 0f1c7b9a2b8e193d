"""The part of the report on templates, variance components and how many pairs are needed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from counterpoint import report
from counterpoint.figures import theme
from counterpoint.figures.sample_size_figures import sample_size_curves
from counterpoint.figures.variance_figures import variance_shares
from counterpoint.statistics.sample_sizes import sample_sizes
from counterpoint.statistics.templates import with_templates
from counterpoint.statistics.variance_components import variance_components
from tests.helpers.synthetic import QUICK, Shape, write_study
from tests.report.test_study_report import SETTINGS, Page

PAIRS = 15


def study_of(folder: Path, n_templates: int | None, **statistics: object) -> report.Results:
    """A made-up study whose pairs are of so many templates, its tables computed with them."""
    write_study(folder, Shape(pairs=PAIRS))
    pairs = pd.read_parquet(folder / "pairs.parquet")
    if n_templates is not None:
        pairs["template"] = [f"<i>t{pair % n_templates}</i>" for pair in range(PAIRS)]
        pairs.to_parquet(folder / "pairs.parquet", index=False)
    heads = with_templates(pd.read_parquet(folder / "heads.parquet"), pairs)
    for name, table in (
        ("variance", variance_components(heads, settings=QUICK)),
        ("sample_sizes", sample_sizes(heads, settings=QUICK)),
    ):
        table.to_csv(folder / f"{name}.csv", index=False)
    settings = SETTINGS | {"statistics": SETTINGS.get("statistics", {}) | statistics}
    return report.load_results("made-up", folder, settings)


def test_templates_are_told(tmp_path):
    results = study_of(tmp_path, 5)
    assert results.drawn == "templates"
    part = report.templates(results)
    text = Page(part).text
    assert "How many pairs do the first heads take?" in text
    assert "of the first" in text and "by all 15" in text
    assert "pairs of one template share" in text
    assert "from template to template" in text
    assert "over both directions" in text and "the two directions on one pair" in text
    assert "and claims) draw templates, each with all its pairs" in text
    assert "5 templates" in text
    assert "<i>" not in part
    assert "interval over templates" in Page(report.heads(results)).text


@pytest.mark.parametrize(
    ("n_templates", "statistics", "said"),
    [
        (None, {}, "the pairs name no templates"),
        (PAIRS, {}, "each template has one pair"),
        (1, {}, "all pairs are of one template"),
        (3, {}, "templates are drawn where there are at least 5"),
        (5, {"resample": "pairs"}, "draw pairs, as the setting says"),
    ],
)
def test_what_is_not_drawn_or_not_identified_is_said(tmp_path, n_templates, statistics, said):
    results = study_of(tmp_path, n_templates, **statistics)
    assert results.drawn == "pairs"
    assert said in Page(report.templates(results)).text
    assert "interval over pairs" in Page(report.heads(results)).text


def test_figures_of_tables_without_numbers_are_sentences(tmp_path):
    write_study(tmp_path, Shape(pairs=1))
    heads = pd.read_parquet(tmp_path / "heads.parquet")
    sizes, variance = sample_sizes(heads, settings=QUICK), variance_components(heads)
    for figure in (sample_size_curves(sizes), variance_shares(variance)):
        assert not figure.axes
        assert theme.figure_svg(figure).startswith(b"<?xml")
    text = Page(report.templates(report.load_results("one", tmp_path, SETTINGS))).text
    assert "Not defined: one pair" in text
