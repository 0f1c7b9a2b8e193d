"""Answers of several tokens: which tokens are read, and which pairs cannot be used."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from counterpoint.errors import UserError
from counterpoint.pairs.answer_tokens import taken_apart
from counterpoint.pairs.buckets import buckets
from counterpoint.pairs.doubtful_pairs import JOINED, doubtful_texts
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import ANSWER_COLUMNS, PAIR_COLUMNS
from tests.helpers.pair_tables import CLEAN, CORRUPTED, PAIR, WORDS, table_of
from tests.helpers.tiny_tokenizers import make_tokenizer

SEVERAL = PAIR | {"correct": " John and Tom", "incorrect": " John and Mary gave"}


def read(row: dict[str, Any], tokenizer: PreTrainedTokenizerFast, how: Any, **given: Any) -> Any:
    valid, _ = validate_pairs(table_of(row), tokenizer, answer_tokens=how, **given)
    return valid.iloc[0]


def reason(row: dict[str, Any], tokenizer: PreTrainedTokenizerFast, how: Any, **given: Any) -> str:
    table = table_of(PAIR, row)
    _, dropped = validate_pairs(table, tokenizer, answer_tokens=how, on_bad_pair="drop", **given)
    (found,) = dropped["reason"]
    return str(found)


def test_one_token_is_expected_and_the_setting_named(tokenizer: PreTrainedTokenizerFast) -> None:
    said = reason(SEVERAL, tokenizer, "one")
    assert said.startswith(
        "correct ' John and Tom' is 3 tokens (' John', ' and', ' Tom'), expected one;"
        " `answer_tokens: first_difference` or `answer_tokens: whole` takes several"
    )
    # Where a space is missing, that is the remedy.
    missing = reason(PAIR | {"correct": "Tom"}, tokenizer, "one")
    assert "a leading space is likely missing" in missing and "answer_tokens" not in missing


@pytest.mark.parametrize("how", ["first_difference", "whole"])
def test_prompts_end_with_what_both_answers_begin_with(
    tokenizer: PreTrainedTokenizerFast, how: str
) -> None:
    valid, _ = validate_pairs(table_of(SEVERAL), tokenizer, answer_tokens=how)
    assert list(valid.columns) == [*PAIR_COLUMNS, *ANSWER_COLUMNS]
    row = valid.iloc[0]
    assert tokenizer.decode(row["clean_tokens"][1:]) == f"{CLEAN} John and"
    assert tokenizer.decode(row["corrupted_tokens"][1:]) == f"{CORRUPTED} John and"
    assert tokenizer.decode(row["correct_tokens"]) == " Tom"
    assert tokenizer.decode(row["incorrect_tokens"]) == " Mary"
    assert (row["length"], row["first_difference"], row["answer_beginning"]) == (17, 10, 2)
    whole = how == "whole"
    assert bool(row["read_whole"]) is whole
    assert tokenizer.decode(row["incorrect_rest"]) == (" gave" if whole else "")
    assert len(row["correct_rest"]) == 0


@pytest.mark.parametrize("how", ["first_difference", "whole"])
def test_answers_of_one_token_are_what_they_were(
    tokenizer: PreTrainedTokenizerFast, how: str
) -> None:
    lists = PAIR | {"correct": '[" John", " Tom"]', "incorrect": '[" Mary"]'}
    table = table_of(PAIR, lists)
    plain, _ = validate_pairs(table, tokenizer)
    valid, _ = validate_pairs(table, tokenizer, answer_tokens=how)
    pd.testing.assert_frame_equal(valid[list(PAIR_COLUMNS)], plain)
    assert valid["answer_beginning"].eq(0).all() and not valid["read_whole"].any()
    assert buckets(valid) == buckets(plain)


BAD: dict[str, tuple[dict[str, str], str]] = {
    "the same": (
        {"correct": " John and", "incorrect": " John and"},
        "correct and incorrect are the same 2 tokens",
    ),
    "a beginning": (
        {"correct": " John", "incorrect": " John and"},
        "correct ' John' is the beginning of incorrect ' John and', so that there is no token at"
        " which they differ",
    ),
    "a list": (
        {"correct": '[" John and", " Tom"]'},
        "correct is a list of 2 answers, expected one where an answer of the pair is several"
        " tokens",
    ),
    "special": (
        {"correct": " John<eos>"},
        "correct ' John<eos>' holds the special token '<eos>'",
    ),
}


@pytest.mark.parametrize("how", ["first_difference", "whole"])
@pytest.mark.parametrize("kind", BAD)
def test_answers_that_cannot_be_read(
    tokenizer: PreTrainedTokenizerFast, kind: str, how: str
) -> None:
    change, expected = BAD[kind]
    assert reason(PAIR | change, tokenizer, how) == expected


def test_answers_that_join_the_prompt() -> None:
    """The tokens of the whole text are to be the prompt's and then the answer's."""
    tokenizer = make_tokenizer([*WORDS, " together"])
    joined = reason(PAIR | {"correct": "gether"}, tokenizer, "whole")
    assert joined == (
        "correct 'gether' joins the clean prompt: together they are not the prompt's tokens and"
        " then the answer's"
    )
    # Letters that follow a word without joining it are doubted.
    row, _ = validate_pairs(
        table_of(PAIR | {"correct": "xyz", "incorrect": "xzz"}),
        tokenizer,
        answer_tokens="first_difference",
    )
    assert JOINED in set(doubtful_texts(row, tokenizer)["kind"])


def test_the_context_must_hold_what_is_read(tokenizer: PreTrainedTokenizerFast) -> None:
    # 15 tokens, 2 of the beginning, and the first of the longer answer's last two.
    assert len(read(SEVERAL, tokenizer, "whole", max_length=18)["incorrect_rest"]) == 1
    assert read(SEVERAL, tokenizer, "first_difference", max_length=17)["length"] == 17
    for how, most in (("whole", 17), ("first_difference", 16)):
        assert reason(SEVERAL, tokenizer, how, max_length=most) == (
            "the prompts with their answers, up to the last token read, have"
            f" {most + 1} tokens, the model's context holds {most}"
        )


def test_a_token_beyond_the_embedding_is_told(tokenizer: PreTrainedTokenizerFast) -> None:
    last = max(tokenizer(" Rosa", add_special_tokens=False)["input_ids"])
    row = PAIR | {"correct": " John Rosa", "incorrect": " Mary Tom"}
    with pytest.raises(UserError, match="correct ' John Rosa' holds the token"):
        validate_pairs(table_of(row), tokenizer, answer_tokens="whole", vocabulary=last)


def test_pairs_of_a_bucket_are_read_alike(tokenizer: PreTrainedTokenizerFast) -> None:
    other = SEVERAL | {"correct": " Tom and Tom and", "incorrect": " Mary"}
    table = table_of(SEVERAL, other, PAIR, SEVERAL | {"incorrect": " John and Paul milk"})
    valid, _ = validate_pairs(table, tokenizer, answer_tokens="whole")
    found = buckets(valid)
    assert sorted(bucket.pairs for bucket in found) == [[0, 3], [1], [2]]
    (both,) = (bucket for bucket in found if bucket.pairs == [0, 3])
    assert (both.beginning, both.read_whole) == (2, True)
    assert [len(rest) for rest in both.incorrect_rest] == [1, 1]
    (plain,) = (bucket for bucket in found if bucket.pairs == [2])
    assert not plain.read_whole and plain.beginning == 0


TOKENS = st.lists(st.integers(0, 3), max_size=6)


@given(TOKENS, TOKENS, TOKENS)
def test_answers_are_taken_apart_and_put_together(
    beginning: list[int], correct: list[int], incorrect: list[int]
) -> None:
    first, second = beginning + correct, beginning + incorrect
    places = taken_apart(first, second)
    if places is None:
        shorter = min(first, second, key=len)
        assert first[: len(shorter)] == second[: len(shorter)]
        return
    assert [*places.beginning, places.correct, *places.correct_rest] == first
    assert [*places.beginning, places.incorrect, *places.incorrect_rest] == second
    assert places.correct != places.incorrect
