"""Checks of pairs: every reason for which a row cannot be used, and what a usable one has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from counterpoint.errors import UserError
from counterpoint.files.artifacts import read_table, write_table
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import (
    DROPPED_COLUMNS,
    PAIR_COLUMNS,
    count_rows,
    read_pairs,
)
from tests.helpers.pair_tables import (
    CLEAN,
    CORRUPTED,
    NAMES,
    PAIR,
    WORDS,
    WRITERS,
    table_of,
    write_csv,
    write_jsonl,
)
from tests.helpers.tiny_tokenizers import make_tokenizer


def test_the_columns_of_a_valid_pair(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    valid, dropped = validate_pairs(table_of(PAIR | {"template": "shop"}), tokenizer)
    assert list(valid.columns) == [*PAIR_COLUMNS, "template"]
    assert list(dropped.columns) == list(DROPPED_COLUMNS)
    assert len(dropped) == 0
    row = valid.iloc[0]
    assert row["clean_tokens"].dtype == np.int32
    assert row["clean_tokens"][0] == tokenizer.bos_token_id
    assert tokenizer.decode(row["clean_tokens"][1:]) == CLEAN
    assert tokenizer.decode(row["corrupted_tokens"][1:]) == CORRUPTED
    assert tokenizer.decode(row["correct_tokens"]) == " John"
    # <bos> After John and Mary went to the shop , Mary gave a milk to
    assert (row["length"], row["first_difference"]) == (15, 10)
    for table, name in ((valid, "pairs.parquet"), (dropped, "dropped.csv")):
        write_table(table, tmp_path / name)
    back = read_table(tmp_path / "pairs.parquet")
    assert back.loc[0, "clean_tokens"].dtype == np.int32
    assert list(back.columns) == list(valid.columns)
    assert (tmp_path / "dropped.csv").read_text() == ",".join(DROPPED_COLUMNS) + "\n"


@pytest.mark.parametrize("has_bos", [True, False])
def test_without_a_beginning_of_sequence_token(has_bos: bool) -> None:
    tokenizer = make_tokenizer(WORDS, bos=has_bos)
    valid, _ = validate_pairs(table_of(PAIR), tokenizer, prepend_bos=not has_bos)
    assert (valid.loc[0, "length"], valid.loc[0, "first_difference"]) == (14, 9)
    assert tokenizer.decode(valid.loc[0, "clean_tokens"]) == CLEAN


def test_a_list_of_answers_has_several_ids(tokenizer: PreTrainedTokenizerFast) -> None:
    pair = PAIR | {"correct": '[" John", " Tom"]', "incorrect": '[" Mary"]'}
    valid, _ = validate_pairs(table_of(pair), tokenizer)
    assert [tokenizer.decode([id_]) for id_ in valid.loc[0, "correct_tokens"]] == [" John", " Tom"]
    assert len(valid.loc[0, "incorrect_tokens"]) == 1


REMEDY = "(with `unequal_lengths: align` such a pair is aligned, best by a column spans)"
LONG = " and".join(["After", *[" John"] * 9])
BAD: dict[str, tuple[dict[str, str], str]] = {
    "empty prompt": ({"clean": ""}, "clean is empty"),
    "blank prompt": ({"corrupted": " \n"}, "corrupted is empty"),
    "empty answer": ({"incorrect": ""}, "incorrect is empty"),
    "two empty": ({"clean": "", "correct": ""}, "clean is empty; correct is empty"),
    "unequal": (
        {"corrupted": "After John and Mary went to the shop, John gave a milk and bread to"},
        f"clean has 14 tokens, corrupted has 16 {REMEDY}",
    ),
    "multi-token answer": (
        {"correct": " John Tom"},
        "correct ' John Tom' is 2 tokens (' John', ' Tom'), expected one; `answer_tokens: "
        "first_difference` or `answer_tokens: whole` takes several",
    ),
    "leading space missing": (
        {"incorrect": "Mary"},
        "incorrect 'Mary' is 4 tokens ('M', 'a', 'r', 'y'), expected one; ' Mary' is one: "
        "a leading space is likely missing",
    ),
    "space too many": (
        {"incorrect": " After"},
        "incorrect ' After' is 2 tokens (' ', 'After'), expected one; 'After' is one: "
        "a space is likely too many",
    ),
    "two spaces": (
        {"incorrect": "  Mary"},
        "incorrect '  Mary' is 2 tokens (' ', ' Mary'), expected one; ' Mary' is one: "
        "a space is likely too many",
    ),
    "empty list": ({"correct": "[]"}, "correct is an empty list"),
    "answer in a list": (
        {"correct": '[" John", " Zoe"]'},
        "correct ' Zoe' is 4 tokens (' ', 'Z', 'o', 'e'), expected one",
    ),
    "answer twice": ({"correct": '[" John", " John"]'}, "correct names ' John' twice"),
    "same answer": ({"incorrect": " John"}, "correct and incorrect are both ' John'"),
    "shared answer": (
        {"incorrect": '[" Mary", " John"]'},
        "correct and incorrect are both ' John'",
    ),
    "special answer": ({"correct": "<eos>"}, "correct '<eos>' is a special token"),
    "same prompts": ({"corrupted": CLEAN}, "clean and corrupted are the same 14 tokens"),
    "special token": (
        {"clean": CLEAN.replace(" milk", "<eos>")},
        "clean holds the special token '<eos>'",
    ),
    "too long": (
        {"clean": LONG, "corrupted": LONG.replace("John", "Mary", 1)},
        "clean has 20 tokens, the model's context holds 18; "
        "corrupted has 20 tokens, the model's context holds 18",
    ),
    "several at once": (
        {"corrupted": "After", "incorrect": " John"},
        f"correct and incorrect are both ' John'; clean has 14 tokens, corrupted has 1 {REMEDY}",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_every_kind_of_bad_row(tokenizer: PreTrainedTokenizerFast, kind: str) -> None:
    changes, reason = BAD[kind]
    table = table_of(PAIR, PAIR | changes)
    valid, dropped = validate_pairs(table, tokenizer, on_bad_pair="drop", max_length=18)
    assert valid["row"].tolist() == [1]
    assert dropped["row"].tolist() == [2]
    assert dropped["reason"].tolist() == [reason]
    assert dropped.loc[0, "clean"] == table.loc[1, "clean"]
    with pytest.raises(UserError) as caught:
        validate_pairs(table, tokenizer, max_length=18, source="my.csv")
    assert f"row 2: {reason}" in str(caught.value)
    assert "my.csv: 1 of 2 rows" in str(caught.value)
    assert "on_bad_pair: drop" in str(caught.value)


def test_a_repeated_row_names_the_first(tokenizer: PreTrainedTokenizerFast) -> None:
    other = PAIR | {"correct": " Tom"}
    table = table_of(PAIR, other, PAIR, other, other)
    valid, dropped = validate_pairs(table, tokenizer, on_bad_pair="drop")
    assert valid["row"].tolist() == [1, 2]
    assert valid["pair"].tolist() == [0, 1]
    assert dropped["reason"].tolist() == [f"the same as row {row}" for row in (1, 2, 2)]


def test_text_that_changes_in_the_tokenizer() -> None:
    from tokenizers import normalizers

    tokenizer = make_tokenizer(WORDS)
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    pair = PAIR | {"clean": f"{CLEAN} cafe\u0301", "corrupted": f"{CORRUPTED} cafe\u0301"}
    _, dropped = validate_pairs(table_of(PAIR, pair), tokenizer, on_bad_pair="drop")
    assert dropped.loc[0, "reason"].startswith("clean comes back from its tokens as 'ilk to caf")


def test_malformed_rows_are_bad_rows(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    write_csv(path, [PAIR])
    with path.open("a") as stream:
        stream.write("After John, Mary, John, John, Mary,x\nshort,row\n")
    _, dropped = validate_pairs(read_pairs(path), tokenizer, on_bad_pair="drop")
    assert dropped["reason"].tolist() == [
        "6 cells where the header has 4 (a text that holds a comma stands in double quotes)",
        "2 cells where the header has 4; correct is empty; incorrect is empty",
    ]
    lines = write_jsonl(
        tmp_path / "pairs.jsonl",
        [PAIR, PAIR | {"clean": 3}, PAIR | {"correct": [1]}, {"clean": CLEAN}, PAIR | {"note": 5}],
    )
    table = read_pairs(lines)
    assert table.loc[4, "note"] == "5"
    _, dropped = validate_pairs(table.head(4), tokenizer, on_bad_pair="drop")
    assert dropped["reason"].tolist() == [
        "clean is 3, expected text in quotes",
        "correct is [1], expected a text or a list of texts in quotes",
        "corrupted is empty; correct is empty; incorrect is empty",
    ]


def test_a_broken_line_of_jsonl_is_a_bad_row(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "pairs.jsonl", [PAIR, PAIR | {"correct": " Tom"}])
    good = path.read_text().splitlines()
    path.write_text("\n".join([good[0], "", '{"clean": ', "[1]", "[" * 100_000, good[1]]))
    table = read_pairs(path)
    assert count_rows(path) == len(table) == 5
    valid, dropped = validate_pairs(table, tokenizer, on_bad_pair="drop")
    assert valid["row"].tolist() == [1, 5]
    assert dropped["row"].tolist() == [2, 3, 4]
    assert dropped["reason"].tolist()[:2] == [
        "line 3, column 11 is not JSON: Expecting value",
        "line 4: [1] is not an object {...}",
    ]
    assert dropped["reason"].tolist()[2].startswith("line 5")
    with pytest.raises(UserError, match=r"3 of 5 rows[\s\S]*row 2: line 3[\s\S]*row 4: line 5"):
        validate_pairs(table, tokenizer)


def test_no_pair_left(tokenizer: PreTrainedTokenizerFast) -> None:
    table = table_of(PAIR | {"clean": ""})
    with pytest.raises(UserError, match="no pair is left") as caught:
        validate_pairs(table, tokenizer, on_bad_pair="drop")
    assert "row 1: clean is empty" in str(caught.value)
    with pytest.raises(UserError, match="no pairs"):
        validate_pairs(table.head(0), tokenizer)


def test_only_the_first_good_pairs(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [PAIR | {"correct": f" {name}", "incorrect": " Rosa"} for name in NAMES[:5]]
    rows[1]["clean"] = ""
    rows[4]["clean"] = ""
    valid, dropped = validate_pairs(table_of(*rows), tokenizer, on_bad_pair="drop", max_pairs=3)
    assert valid["row"].tolist() == [1, 3, 4]
    assert dropped["row"].tolist() == [2]  # row 5 is not looked at
    valid, _ = validate_pairs(table_of(*rows), tokenizer, max_pairs=1)
    assert valid["row"].tolist() == [1]


@pytest.fixture(scope="module")
def thousand() -> tuple[list[dict[str, Any]], dict[int, str]]:
    """A thousand rows, 37 of them bad in every way; and the bad rows' reasons."""
    rows: list[dict[str, Any]] = []
    for number in range(1000):
        first, second = NAMES[number % 6], NAMES[(number // 6 + number % 6 + 1) % 6]
        if first == second:
            second = NAMES[(number + 1) % 6]
        filler = " and".join(f" {NAMES[(number // 6**place) % 6]}" for place in range(4))
        start = f"After {first} and {second} went to{filler}"
        rows.append(
            {
                "clean": f"{start}, {second} gave a milk to",
                "corrupted": f"{start}, {first} gave a milk to",
                "correct": f" {first}",
                "incorrect": f" {second}",
                "note": str(number),
            }
        )
    kinds = [kind for kind in BAD if kind not in {"too long", "several at once", "same prompts"}]
    reasons = {}
    for place in range(35):
        row = 13 + 27 * place
        changes, reasons[row] = BAD[kinds[place % len(kinds)]]
        bad = PAIR | {"note": f"bad {place}"} | changes
        place_name = f" {NAMES[place // len(kinds)]}"  # so that no two of them are the same
        rows[row - 1] = {name: text.replace(" shop", place_name) for name, text in bad.items()}
    rows[989] = rows[399]
    reasons[990] = "the same as row 400"
    rows[999] = rows[499]
    reasons[1000] = "the same as row 500"
    return rows, reasons


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl", "pairs.parquet"])
def test_a_thousand_rows_with_37_bad_ones(
    tokenizer: PreTrainedTokenizerFast,
    thousand: tuple[list[dict[str, Any]], dict[int, str]],
    tmp_path: Path,
    name: str,
) -> None:
    rows, reasons = thousand
    assert len(reasons) == 37
    path = WRITERS[name](tmp_path / name, rows)
    assert count_rows(path) == 1000
    table = read_pairs(path)
    valid, dropped = validate_pairs(table, tokenizer, on_bad_pair="drop")
    assert len(valid) == 963
    assert dict(zip(dropped["row"], dropped["reason"], strict=True)) == reasons
    with pytest.raises(UserError) as caught:
        validate_pairs(table, tokenizer, on_bad_pair="error", source=str(path))
    message = str(caught.value)
    assert "37 of 1000 rows" in message
    for row, reason in reasons.items():
        assert f"\n  row {row}: {reason}\n" in message


def test_very_many_bad_rows_are_all_numbered_by_what_is_wrong(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    rows = [PAIR | {"clean": "", "note": str(number)} for number in range(200)] + [PAIR]
    rows[120] = PAIR | {"correct": " Tom"}
    rows[150] = PAIR | {"correct": " John Mary", "note": "two tokens"}
    with pytest.raises(UserError) as caught:
        validate_pairs(table_of(*rows), tokenizer)
    message = str(caught.value)
    assert "  row 50: clean is empty" in message
    assert "and 149 more:\n    empty cell: rows 51-120, 122-150, 152-200\n" in message
    assert "    answer tokens: rows 151\n" in message
    assert "empty cell 198, answer tokens 1" in message


@pytest.mark.filterwarnings("ignore:the pairs, rows")
@given(
    st.lists(st.sampled_from([*WORDS, "<eos>", "é", " ", "7"]), min_size=1, max_size=8), st.data()
)
@settings(max_examples=80, deadline=None)
def test_what_is_valid_keeps_its_promises(words: list[str], data: st.DataObject) -> None:
    """Whatever the texts, a row is either good, and then all is as promised, or has a reason."""
    tokenizer = make_tokenizer(WORDS)
    other = data.draw(st.permutations(words))
    answers = data.draw(st.lists(st.sampled_from([" John", " Mary", "x", "xy", ""]), min_size=2))
    row = {
        "clean": "".join(words),
        "corrupted": "".join(other),
        "correct": answers[0],
        "incorrect": answers[1],
    }
    table = table_of(PAIR, row)
    valid, dropped = validate_pairs(table, tokenizer, on_bad_pair="drop")
    assert len(valid) + len(dropped) == 2
    assert all(dropped["reason"])
    for good in valid.to_dict("records"):
        clean, corrupted = good["clean_tokens"], good["corrupted_tokens"]
        assert len(clean) == len(corrupted) == good["length"]
        first = good["first_difference"]
        assert (clean[:first] == corrupted[:first]).all()
        assert clean[first] != corrupted[first]
        assert tokenizer.decode(clean[1:]) == good["clean"]
        assert len(good["correct_tokens"]) == len(good["incorrect_tokens"]) == 1
        assert good["correct_tokens"] != good["incorrect_tokens"]


@pytest.mark.parametrize("name", ["clean", "corrupted", "correct", "incorrect"])
def test_the_cell_whose_token_is_beyond_the_embedding_is_named(name: str) -> None:
    words = ["a", "b", " one", " two"]
    tokenizer = make_tokenizer(words)
    tokenizer.add_tokens([" new"])
    new = len(tokenizer) - 1
    cells = {"clean": "a", "corrupted": "b", "correct": " one", "incorrect": " two"}
    cells[name] = f"{cells[name]} new" if name in ("clean", "corrupted") else " new"
    if name == "clean":
        cells["corrupted"] = "b one"
    if name == "corrupted":
        cells["clean"] = "a one"
    valid, _ = validate_pairs(table_of(cells), tokenizer, vocabulary=new + 1)
    assert len(valid) == 1
    with pytest.raises(UserError) as error:
        validate_pairs(table_of(cells), tokenizer, vocabulary=new, source="my.csv")
    said = f"holds the token ' new' with the id {new}, the model's embedding has {new} rows"
    assert re.search(rf"row 1: {name}\b.*{re.escape(said)}", str(error.value))
    assert "my.csv" in str(error.value)
    good = {"clean": "a", "corrupted": "b", "correct": " one", "incorrect": " two"}
    valid, dropped = validate_pairs(
        table_of(cells, good), tokenizer, vocabulary=new, on_bad_pair="drop"
    )
    assert (list(valid["row"]), list(dropped["row"])) == ([2], [1])


def test_a_beginning_beyond_the_embedding_is_an_error_of_the_model() -> None:
    tokenizer = make_tokenizer(WORDS)
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"bos_token": "<|begin|>"})
    said = rf"beginning-of-sequence token '<\|begin\|>' has the id {rows}, but .* has {rows} rows"
    with pytest.raises(UserError, match=said):
        validate_pairs(table_of(PAIR), tokenizer, vocabulary=rows, on_bad_pair="drop")
    # Not put in front, it does not matter.
    valid, _ = validate_pairs(table_of(PAIR), tokenizer, vocabulary=rows, prepend_bos=False)
    assert len(valid) == 1
    valid, _ = validate_pairs(table_of(PAIR), tokenizer, vocabulary=rows + 1)
    assert valid.loc[0, "clean_tokens"][0] == rows
