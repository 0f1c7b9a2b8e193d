"""Pair files: every format is read, and what is wrong with a file as a whole is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_table
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import (
    COLUMNS,
    count_rows,
    parse_answers,
    read_pairs,
)
from tests.helpers.pair_tables import (
    CLEAN,
    CORRUPTED,
    PAIR,
    WRITERS,
    write_csv,
    write_jsonl,
)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_table(tmp_path: Path, name: str) -> None:
    rows = [PAIR | {"template": "shop"}, PAIR | {"correct": " Anna", "template": "NA"}]
    path = WRITERS[name](tmp_path / name, rows)
    table = read_pairs(path)
    assert list(table.columns) == ["row", *COLUMNS, "template", "malformed"]
    assert table["row"].tolist() == [1, 2]
    assert table["template"].tolist() == ["shop", "NA"]
    assert table[list(COLUMNS)].to_dict("records") == [
        {name: row[name] for name in COLUMNS} for row in rows
    ]
    assert count_rows(path) == 2


@pytest.mark.parametrize("name", WRITERS)
def test_a_list_of_answers(tmp_path: Path, name: str) -> None:
    answers: Any = [" John", " Tom"]
    cell = json.dumps(answers) if name.endswith("csv") else answers
    table = read_pairs(WRITERS[name](tmp_path / name, [PAIR | {"correct": cell}]))
    assert parse_answers(table.loc[0, "correct"]) == answers
    assert table.loc[0, "malformed"] == ""


@pytest.mark.parametrize("cell", ["[", "[1, 2]", "[John]", "John", "", '{"a": 1}', " ["])
def test_an_answer_that_is_no_json_list_is_itself(cell: str) -> None:
    assert parse_answers(cell) == [cell]


def test_texts_that_look_like_missing_values_stay_texts(tmp_path: Path) -> None:
    rows = [PAIR | {"correct": "NA", "incorrect": "null"}, PAIR | {"clean": "None", "correct": "1"}]
    table = read_pairs(write_csv(tmp_path / "pairs.csv", rows))
    assert table["correct"].tolist() == ["NA", "1"]
    assert table["incorrect"].tolist() == ["null", " Mary"]


def test_byte_order_mark_blank_lines_and_line_breaks_in_quotes(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    body = (
        "\ufeff\r\n clean , corrupted ,correct,incorrect,\r\n\r\n"
        '"one\r\n\r\ntwo","a ""b"", c", x, y,\r\n   \r\n"three",four, x, y,\r\n\r\n'
    )
    path.write_bytes(body.encode("utf-8"))
    table = read_pairs(path)
    assert table["clean"].tolist() == ["one\r\n\r\ntwo", "three"]
    assert table.loc[0, "corrupted"] == 'a "b", c'
    assert table["row"].tolist() == [1, 2]
    assert count_rows(path) == 2
    lines = tmp_path / "pairs.jsonl"
    lines.write_bytes(b"\xef\xbb\xbf\r\n" + json.dumps(PAIR).encode() + b"\r\n\n  \n")
    assert count_rows(lines) == len(read_pairs(lines)) == 1


def test_columns_with_our_names_are_kept_under_another(tmp_path: Path) -> None:
    rows = [PAIR | {"row": "7", "length": "3", "malformed": "no"}]
    table = read_pairs(write_csv(tmp_path / "pairs.csv", rows))
    assert table.loc[0, ["row", "given_row", "given_length", "given_malformed"]].tolist() == [
        *(1, "7", "3", "no")
    ]


@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=12)] * 4),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_reading_returns_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("written")
    records = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    for name, write in WRITERS.items():
        path = write(folder / name, records)
        table = read_pairs(path)
        assert table[list(COLUMNS)].to_dict("records") == records
        assert count_rows(path) == len(table)
        assert set(table["malformed"]) == {""}


def unreadable(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_pairs(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_column(tmp_path: Path, name: str) -> None:
    row = {"clean": "x", "right": " y", "incorrect": " z"}
    message = unreadable(WRITERS[name](tmp_path / name, [row]))
    assert "lacks the columns corrupted, correct" in message
    assert "found    clean, right, incorrect" in message
    assert "expected clean, corrupted, correct, incorrect" in message


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_recognised(tmp_path: Path, separator: str, name: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(separator.join(COLUMNS) + "\n" + separator.join("abcd") + "\n")
    assert name in unreadable(path)


def test_a_missing_file_an_unknown_suffix_and_a_folder(tmp_path: Path) -> None:
    assert "PAIRS=" in unreadable(tmp_path / "none.csv")
    assert ".parquet" in unreadable(tmp_path / "pairs.xlsx")
    (tmp_path / "folder.csv").mkdir()
    assert "no file of pairs" in unreadable(tmp_path / "folder.csv")
    for name in ("none.csv", "pairs.xlsx"):
        with pytest.raises(UserError):
            count_rows(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_csv(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(content)
    assert "empty" in unreadable(path)
    with pytest.raises(UserError):
        count_rows(path)


def test_a_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("clean,corrupted,correct,incorrect\n\n")
    assert "no pairs" in unreadable(path)
    assert count_rows(path) == 0
    (tmp_path / "pairs.jsonl").write_text("\n")
    assert "no pairs" in unreadable(tmp_path / "pairs.jsonl")


def test_text_that_is_not_utf_8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes("clean,corrupted,correct,incorrect\na,b,c,d\nné,b,c,d\n".encode("latin-1"))
    assert "line 3" in unreadable(path)
    with pytest.raises(UserError, match="UTF-8"):
        count_rows(path)


@pytest.mark.parametrize("row", ['"a" b,c,d,e', '"a,b,c,d\ne,f,g,h'])
def test_csv_that_is_not_well_formed_names_the_line(tmp_path: Path, row: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(f"clean,corrupted,correct,incorrect\na,b,c,d\n{row}\n")
    assert "begins in line 3" in unreadable(path)
    with pytest.raises(UserError, match="line 3"):
        count_rows(path)


def test_a_column_named_twice(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("clean,corrupted,correct,incorrect,clean\na,b,c,d,e\n")
    assert "names clean more than once" in unreadable(path)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
def test_a_file_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    path = WRITERS[name](tmp_path / name, [PAIR])
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert unreadable(path) == f"{path} cannot be read: Permission denied."


def test_a_column_named_twice_in_parquet(tmp_path: Path) -> None:
    cells = [pa.array([PAIR[name]]) for name in (*COLUMNS, "corrupted")]
    pq.write_table(pa.table(cells, names=[*COLUMNS, "clean"]), tmp_path / "pairs.parquet")
    assert "its schema names clean more than once" in unreadable(tmp_path / "pairs.parquet")


@pytest.mark.parametrize("order", [["pair", "given_pair"], ["given_pair", "pair"]])
def test_no_two_columns_come_to_one_name(tmp_path: Path, order: list[str]) -> None:
    row = PAIR | {name: f"my {name}" for name in order}
    table = read_pairs(write_csv(tmp_path / "pairs.csv", [row]))
    assert table.columns.is_unique
    assert table.loc[0, "given_pair"] == "my given_pair"
    assert table.loc[0, "given_given_pair"] == "my pair"


def test_a_key_of_jsonl_that_stands_twice_is_a_bad_row(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    twice = json.dumps(PAIR)[:-1] + f', "clean": {json.dumps(CORRUPTED)}}}'
    path.write_text(f"{json.dumps(PAIR)}\n{twice}\n", encoding="utf-8")
    good, bad = validate_pairs(read_pairs(path), tokenizer, on_bad_pair="drop")
    assert len(good) == 1
    expected = "line 2: the key 'clean' stands twice, only the last would count"
    assert bad["reason"].tolist() == [expected]


def test_half_a_character_is_a_bad_row_and_no_traceback(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    half = "\ud83d"
    rows = [PAIR | {"note": half, half: "x"}, PAIR | {"clean": CLEAN + half}]
    rows += [PAIR | {"incorrect": half}, PAIR | {"incorrect": [" Mary", half]}]
    path = write_jsonl(tmp_path / "pairs.jsonl", rows)
    good, bad = validate_pairs(read_pairs(path), tokenizer, on_bad_pair="drop")
    write_table(good, tmp_path / "good.parquet")
    write_table(bad, tmp_path / "bad.csv")
    assert good["note"].tolist() == ["\\ud83d"]
    assert len(bad) == 3 and bad["reason"].str.contains("holds half of a character").all()


def test_a_file_without_a_single_json_object_names_every_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"clean": \n\n[1]\n')
    message = unreadable(path)
    assert "line 1, column 11 is not JSON: Expecting value" in message
    assert "line 3: [1] is not an object" in message
    path.write_text("[\n" * 70)
    assert "and 20 more" in unreadable(path)


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    path.write_bytes(b"PAR1 but not really")
    assert "not a whole Parquet file" in unreadable(path)
    with pytest.raises(UserError):
        count_rows(path)


def test_importing_this_module_imports_no_torch() -> None:
    code = "import sys, counterpoint.pairs.pair_files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
