"""What the report says of scores of other papers, and that it says nothing where there are none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from counterpoint import report
from counterpoint.figures.score_agreement_figures import found_by_checks
from counterpoint.files.artifacts import write_table
from counterpoint.glossary import COLUMNS, WORDS
from counterpoint.report.baselines_section import SIGNS
from counterpoint.report.baselines_section import WORDS as OF_SCORES
from counterpoint.statistics.one_direction_heads import one_direction_heads
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.score_agreement import SCORES, score_agreement
from tests.helpers.scored_heads import scored_heads
from tests.helpers.synthetic import Shape, write_study

SETTINGS: dict[str, Any] = {"statistics": {"top_k": 3}, "baselines": ["eap_ig"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(tmp_path_factory.mktemp("scored"), Shape(pairs=2))
    settings = Settings(bootstrap_samples=50, top_k=3)
    heads = scored_heads()
    write_table(score_agreement(heads, settings=settings), folder / "score_agreement.csv")
    write_table(one_direction_heads(heads, settings=settings), folder / "one_direction_heads.csv")
    return folder


def test_every_score_is_told_with_its_numbers(folder: Path) -> None:
    page = str(report.baselines(report.load_results("made-up", folder, SETTINGS)))
    assert ('id="baselines"' in page and "<svg" in page) or "data:image" in page
    for name in ("AtP", "AtP, second order", "EAP-IG", "AtP*"):
        assert f">{name}<" in page, name
    links = set(re.findall(r'href="#word-([a-z-]+)"', page))
    assert links <= WORDS.keys() and {"exact-checks", "one-direction"} <= links
    assert "denoising only" in page and "0.0" in page
    assert "second term ÷ AtP" in page and "found with 6" in page


def test_a_study_without_baselines_says_nothing(folder: Path) -> None:
    """Also where an earlier configuration has left its tables."""
    results = report.load_results("made-up", folder, {**SETTINGS, "baselines": []})
    assert results.score_agreement is None and str(report.baselines(results)) == ""


def test_every_score_and_sign_has_its_words() -> None:
    assert set(OF_SCORES) == set(SCORES)
    assert set(OF_SCORES.values()) <= WORDS.keys()
    said = COLUMNS["score_agreement.csv"]["quantity"].says
    assert set(SIGNS) == {name for name in said if name.startswith("error_and_")}


def test_the_figure_has_a_line_for_every_score() -> None:
    agreement = score_agreement(scored_heads(), settings=Settings(bootstrap_samples=20, top_k=3))
    figure = found_by_checks(agreement)
    assert len(figure.axes) == 2
    # One of each score, that of a random order, and the line at 1.
    assert len(figure.axes[0].lines) == agreement["score"].nunique() + 2
