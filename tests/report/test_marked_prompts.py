"""Pairs of unequal length in the report: what has no partner is told apart, and counted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from counterpoint import report
from counterpoint.report.html import marked_alignment
from counterpoint.report.prompt_tokens import Tokens, is_unequal
from tests.helpers.synthetic import Shape, write_study
from tests.report.test_study_report import SETTINGS, Page

WORDS = ["<s>", "A", "Ġ<b>", "Ġbig", "Ġold", "Ġcat", "Ġdog", "Ġsat", "Ġran", "?"]
ROW = {
    "clean": "A big old cat sat",
    "corrupted": "A <b> dog sat",
    "clean_tokens": [0, 1, 3, 4, 5, 7],
    "corrupted_tokens": [0, 1, 2, 6, 7],
    "first_difference": 2,
    "length": 6,
    "aligned_with": [0, 1, -1, -1, 3, 4],
}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    tokenizer = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="?")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return Tokens(tmp_path / "tokenizer.json")


def test_tokens_without_a_partner_are_told_apart(tokens: Tokens) -> None:
    clean, corrupted = tokens.difference(ROW)
    none = '<span class="unaligned">{}</span>'
    assert clean == (
        f'<code class="prompt">A {none.format("big")} {none.format("old")} <mark>cat</mark> sat'
        "</code>"
    )
    assert corrupted == (
        f'<code class="prompt">A {none.format("&lt;b&gt;")} <mark>dog</mark> sat</code>'
    )


def test_prompts_that_cannot_be_shown_token_by_token_are_compared_by_words() -> None:
    clean, corrupted = Tokens().difference(ROW)
    assert "unaligned" not in clean + corrupted
    assert "<mark>&lt;b&gt;</mark>" in corrupted and " sat" in clean


def test_prompts_of_equal_length_have_no_alignment_to_show() -> None:
    assert not is_unequal({"clean": "a", "corrupted": "b"})
    assert not is_unequal({**ROW, "corrupted_tokens": ROW["clean_tokens"]})
    first, second = marked_alignment(["a", " b"], ["a", " c"], [0, 1])
    assert "unaligned" not in first + second and " <mark>c</mark>" in second


def test_the_report_counts_aligned_positions(tmp_path: Path) -> None:
    folder = write_study(tmp_path, Shape(pairs=3))
    pairs = pd.read_parquet(folder / "pairs.parquet")
    equal = Page(report.pairs(report.load_results("made", folder, SETTINGS)))
    assert "have not as many tokens" not in equal.text
    pairs["aligned_with"] = [list(range(length)) for length in pairs["length"]]
    for name in ROW:
        pairs[name] = [ROW[name], *pairs[name][1:]]
    pairs.to_parquet(folder / "pairs.parquet")
    page = Page(report.pairs(report.load_results("made", folder, SETTINGS)))
    assert "In 1 of 3 pairs the prompts have not as many tokens" in page.text
    assert "aligned positions only: 2 from the first difference on" in page.text
    assert "their own output: 2 of the clean prompts and 1 of the corrupted ones" in page.text
    assert "6 / 5" in page.text
    assert "#word-alignment" in page.links
