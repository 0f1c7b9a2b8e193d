"""Pairs that were probably meant otherwise: found on every answer, side and prompt, and counted."""

from __future__ import annotations

import pandas as pd
import pytest

from counterpoint.pairs.doubtful_pairs import (
    JOINED,
    MIXED,
    NOT_LOWER,
    NOT_RARER,
    SHOWN_ROWS,
    SPACED,
    WRONG,
    doubtful_answers,
    doubtful_texts,
    lines,
    spaced_letter,
)
from counterpoint.pairs.pair_checks import validate_pairs
from tests.helpers.pair_tables import CLEAN, CORRUPTED, NAMES, PAIR, WORDS, table_of
from tests.helpers.tiny_tokenizers import Style, make_tokenizer

KNOWN = [*WORDS, *NAMES, "John", "Mary", "Tom"]
SAID = CLEAN + ' he said "'


def doubts(*rows: dict[str, str], style: Style = "bytes, single digits") -> pd.DataFrame:
    tokenizer = make_tokenizer(KNOWN, style=style)
    pairs, dropped = validate_pairs(table_of(*rows), tokenizer)
    assert dropped.empty
    return doubtful_texts(pairs, tokenizer)


@pytest.mark.parametrize(
    ("correct", "incorrect", "named"),
    [
        ("John", "Mary", "correct 'John', incorrect 'Mary'"),
        (" John", "Mary", "incorrect 'Mary'"),
        ("John", " Mary", "correct 'John'"),
        ('[" John", "Tom"]', " Mary", "correct 'Tom'"),
        (" John", '[" Mary", " Tom", "John"]', "incorrect 'John'"),
    ],
)
def test_any_answer_that_would_join_the_last_word(correct: str, incorrect: str, named: str) -> None:
    found = doubts(PAIR, PAIR | {"correct": correct, "incorrect": incorrect})
    assert set(found["kind"]) == {JOINED} and set(found["row"]) == {2}
    # Both prompts end in a word.
    assert [text.split(" … ")[0] for text in found["text"]] == ["clean", "corrupted"]
    assert found["text"].str.endswith(named).all()
    (line,) = lines(found, "my.csv")
    assert line.startswith("my.csv: 1 of 2 pairs, row 2: an answer would join the prompt's last")


def test_only_one_of_the_prompts_may_end_in_a_word() -> None:
    pair = {"clean": CLEAN + ".", "corrupted": CORRUPTED + ".", "correct": "John"}
    assert set(doubts(PAIR | pair)["kind"]) == {MIXED}
    pair["corrupted"] = CORRUPTED + " a"
    found = doubts(PAIR | pair | {"clean": CLEAN + "."})
    assert found["text"].tolist() == [
        f"corrupted … {pair['corrupted'][-20:]!r} then correct 'John'"
    ]


def test_what_is_meant_as_it_stands_is_no_doubt() -> None:
    assert doubts(PAIR).empty
    for clean, corrupted, correct, incorrect in (
        (CLEAN + " 17", CORRUPTED + " 17", "4", "2"),  # the rest of a number
        (SAID, SAID.replace("Mary", "Tom"), "John", "Mary"),  # after a quotation mark
        (CLEAN + " ", CORRUPTED + " ", "4", "2"),  # a digit that has no token with its space
        (CLEAN, CORRUPTED, " John", "."),  # a mark needs no space
    ):
        row = {"clean": clean, "corrupted": corrupted, "correct": correct, "incorrect": incorrect}
        assert doubts(row).empty, row


def test_scripts_without_spaces_join_rightly() -> None:
    assert all(spaced_letter(letter) for letter in "aÄжλא")
    assert not any(spaced_letter(letter) for letter in '我のカ한ไ1." ')


def test_a_tokenizer_that_puts_the_space_itself_joins_nothing() -> None:
    row = PAIR | {"correct": "John", "incorrect": "Mary"}
    assert doubts(row, style="sentencepiece").empty
    assert set(doubts(row, style="bytes")["kind"]) == {JOINED}


@pytest.mark.parametrize("sides", [("clean",), ("corrupted",), ("clean", "corrupted")])
def test_a_prompt_that_ends_in_a_space(sides: tuple[str, ...]) -> None:
    ends = {name: text + (" " if name in sides else ".") for name, text in
            (("clean", CLEAN), ("corrupted", CORRUPTED))}  # fmt: skip
    found = doubts(PAIR | ends)
    assert set(found["kind"]) == {SPACED}
    assert [text.split(" … ")[0] for text in found["text"]] == list(sides)


def test_rows_are_counted_and_the_first_ones_named() -> None:
    rows = [
        PAIR | {"correct": "John", "incorrect": f" {one}", "clean": f"{two} {CLEAN}",
                "corrupted": f"{two} {CORRUPTED}"}
        for one in NAMES if one != "John" for two in NAMES
    ]  # fmt: skip
    (line,) = lines(doubts(*rows), "a.csv")
    more = len(rows) - SHOWN_ROWS
    assert more > 0
    assert f"{len(rows)} of {len(rows)} pairs, rows 1-{SHOWN_ROWS} and {more} more:" in line


def baseline(clean: list[float], corrupted: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pair": range(len(clean)),
            "metric_clean": 0.0,  # whatever the metric: a KL divergence is 0 here
            "logit_difference_clean": clean,
            "logit_difference_corrupted": corrupted,
        }
    )


def test_the_models_answers_are_doubted_by_the_logit_difference() -> None:
    found = doubtful_answers(baseline([-1.0, 2.0, 0.0, 3.0], [-2.0, 2.0, -1.0, 4.0]), [1, 3, 4, 6])
    assert found[found["kind"] == WRONG]["row"].tolist() == [1, 4]
    assert found[found["kind"] == NOT_LOWER]["row"].tolist() == [3, 6]
    told = lines(found, "s")
    assert told[0].startswith("s: 2 of 4 pairs, rows 1, 4: the model prefers the incorrect answer")
    assert told[1].startswith("s: 2 of 4 pairs, rows 3, 6: the logit difference on the corrupted")


def test_a_few_wrong_answers_are_usual() -> None:
    assert doubtful_answers(baseline([-1.0, 2.0, 1.0], [-2.0, -2.0, -1.0])).empty
    assert doubtful_answers(baseline([1.0], [-2.0]).drop(columns="logit_difference_clean")).empty
    told = lines(doubtful_answers(baseline([-1.0], [-2.0])), "s")
    assert told[0].startswith("s: 1 of 1 pair, pair number 0: ")


def test_a_log_probability_that_rises_where_the_logit_difference_falls_is_told() -> None:
    table = baseline([1.0, 2.0, 3.0], [-1.0, -2.0, -3.0])
    table = table.assign(metric_clean=[-3.0, -1.0, -2.0], metric_corrupted=[-2.0, -4.0, -2.0])
    found = doubtful_answers(table, [1, 2, 3], "log_probability")
    assert set(found["kind"]) == {NOT_RARER} and found["row"].tolist() == [1, 3]
    (told,) = lines(found, "s")
    assert told.startswith("s: 2 of 3 pairs, rows 1, 3: the correct answer is no less probable on")
    for metric in ("logit_difference", "kl_divergence"):
        assert doubtful_answers(table, [1, 2, 3], metric).empty
