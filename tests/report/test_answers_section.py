"""Heads × answers in the report: means, both ends of the vocabulary, odd tokens, nothing."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from counterpoint import report
from counterpoint.figures import theme
from counterpoint.figures.answer_figures import answer_map, answer_means, shown_text
from counterpoint.measures.tables.answer_table import ANSWER_COLUMNS, CHANGES, TOKEN_COLUMNS
from tests.figures.test_study_figures import drawn_text
from tests.helpers.synthetic import Shape, write_study
from tests.report.test_study_report import SETTINGS, Page

HEADS = [(3, 2), (0, 1)]
ODD = [" a", "<b>&amp;", "\n", "$x_1$", "\ufffd", " Zoë"]


def made_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two pairs, two heads; the changes are the answer's id over ten, less in denoising."""
    answers, tokens = [], []
    for pair in (0, 1):
        for place, direction in enumerate(("noising", "denoising")):
            for layer, head in HEADS:
                base: dict[str, Any] = {
                    "pair": pair, "direction": direction, "layer": layer, "head": head
                }  # fmt: skip
                for id_, text in enumerate(ODD):
                    role = {0: "correct", 1: "incorrect"}.get((id_ + pair) % 4, "candidate")
                    change = (id_ - 2) / 10 - place
                    row = {"answer": id_, "text": text, "role": role, "logit_change": change}
                    answers.append(base | row | dict.fromkeys(CHANGES, change))
    for pair in (-1, 0, 1):
        for direction in ("noising", "denoising"):
            for layer, head in HEADS:
                base = {"pair": pair, "direction": direction, "layer": layer, "head": head}
                for by, side in itertools.product(("logit", "probability"), ("raised", "lowered")):
                    for rank, text in enumerate(ODD, start=1):
                        row = {"by": by, "side": side, "rank": rank, "token": rank, "text": text}
                        tokens.append(base | row | dict.fromkeys(CHANGES, -0.5))
    return (
        pd.DataFrame(answers)[list(ANSWER_COLUMNS)],
        pd.DataFrame(tokens)[list(TOKEN_COLUMNS)],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_study(tmp_path, Shape(pairs=2))
    answers, tokens = made_tables()
    answers.to_parquet(tmp_path / "answers.parquet", index=False)
    tokens.to_parquet(tmp_path / "answer_tokens.parquet", index=False)
    return tmp_path


def test_means_are_over_pairs_and_own_answers_come_first() -> None:
    means = answer_means(made_tables()[0])
    assert list(means.columns[:2]) == ["correct", "incorrect"]
    own = means.loc[("noising", 3, 2)]
    # Pair 0: answers 0 and 4 are correct; pair 1: answer 3.
    assert own["correct"] == pytest.approx(np.mean([-0.2, 0.2, 0.1]))
    assert own["text: a"] == pytest.approx(-0.2)
    # Texts by the size of the largest mean: 1.2 of id 0 in denoising first.
    assert means.columns[2] == "text: a"
    assert set(means.columns[2:]) == {f"text:{text}" for text in ODD}


def test_odd_tokens_are_spelt_out() -> None:
    assert shown_text("\n") == r"'\n'" and shown_text(" a") == "' a'"
    assert len(shown_text("x" * 99)) == 16
    text = drawn_text(answer_map(made_tables()[0]))
    assert r"'\n'" in text and "'$x_1$'" in text and "3.2" in text
    assert theme.figure_svg(answer_map(made_tables()[0].head(0))).startswith(b"<?xml")


def test_the_section_says_both_tables_and_escapes_tokens(folder: Path) -> None:
    part = report.answers(report.load_results("made-up", folder, SETTINGS))
    page = Page(part)
    assert {"answers", "answer-tokens"} <= set(page.ids)
    assert "<b>" not in part and "'<b>&amp;'" in page.text
    assert "mean over all 2 pairs" in page.text and "On the first pair" in page.text
    assert r"'\n'" in page.text and "(p 0.607)" in page.text
    assert "3.2" in page.text and "0.1" in page.text


def test_a_study_without_them_has_no_section(folder: Path) -> None:
    off = report.load_results("m", folder, SETTINGS | {"answers": {"pairs": "none"}})
    assert off.answers is None and off.answer_tokens is None
    assert report.answers(off) == ""
    (folder / "answer_tokens.parquet").unlink()
    part = report.answers(report.load_results("m", folder, SETTINGS))
    assert "answers" in Page(part).ids and "answer-tokens" not in Page(part).ids
