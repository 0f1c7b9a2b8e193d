"""Pairs in any form are one table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import counterpoint
from counterpoint.pairs.pair_files import COLUMNS, read_pairs

PAIR = ("After John and Mary met, Mary", "After John and Mary met, John", " John", " Mary")
SEVERAL = (*PAIR[:2], [" John", " Jon"], " Mary")


def test_tuples_dicts_tables_and_files_give_the_same_table(tmp_path: Path) -> None:
    rows = [PAIR, (PAIR[1], PAIR[0], " Mary", " John")]
    expected = counterpoint.pairs(rows)
    assert list(expected.columns) == ["row", *COLUMNS]
    assert expected["row"].tolist() == [1, 2]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    files = [tmp_path / f"pairs{suffix}" for suffix in (".csv", ".jsonl", ".parquet")]
    table.to_csv(files[0], index=False)
    table.to_json(files[1], orient="records", lines=True)
    table.to_parquet(files[2])
    dicts = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    for source in (dicts, iter(rows), np.array(rows).tolist(), table, expected, *files):
        pd.testing.assert_frame_equal(counterpoint.pairs(source), expected)
    pd.testing.assert_frame_equal(counterpoint.pairs(str(files[0])), expected)
    pd.testing.assert_frame_equal(counterpoint.pairs(PAIR), expected[:1])


def test_several_answers_and_other_columns_travel_along() -> None:
    found = counterpoint.pairs([{**dict(zip(COLUMNS, SEVERAL, strict=True)), "template": 3}])
    assert found["correct"].tolist() == ['[" John", " Jon"]']
    assert found["template"].tolist() == ["3"]
    table = pd.DataFrame([SEVERAL], columns=list(COLUMNS))
    assert counterpoint.pairs(table)["correct"].tolist() == ['[" John", " Jon"]']


def test_shipped_sets_are_known_by_name_and_parts_keep_their_rows() -> None:
    found = counterpoint.pairs("ioi")
    file = Path(__file__).parents[2] / "resources/pairs/ioi.csv"
    pd.testing.assert_frame_equal(found, read_pairs(file).drop(columns="malformed"))
    assert counterpoint.pairs(found[3:5])["row"].tolist() == [4, 5]


def test_rows_of_a_file_that_are_malformed_are_kept_for_the_model_to_tell(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("clean,corrupted,correct,incorrect\na,b,c\na,b,c,d\n")
    assert counterpoint.pairs(file)["malformed"].tolist() == ["3 cells where the header has 4", ""]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (3, "a int was given; expected a list of"),
        (None, "a NoneType was given"),
        ([], "an empty list was given"),
        ([3], "row 1: 3 is no pair"),
        ([PAIR, PAIR[:2]], "row 2: 2 parts; expected four"),
        ([(1, *PAIR[1:])], "row 1: clean is 1, expected text"),
        ([(*PAIR[:2], [" a", 3], " b")], "row 1: correct is"),
        ([{"clean": "a"}], "lacks the columns corrupted, correct, incorrect"),
        (pd.DataFrame(), "the DataFrame of pairs is empty"),
        (pd.DataFrame({"clean": ["a"]}), "lacks the columns"),
        ("iio", "did you mean ioi?"),
        ("ioi.defualt", "did you mean ioi.default?"),
        ("missing.csv", "There is no file of pairs missing.csv"),
        ("pairs.xlsx", "cannot be read as pairs"),
        ("hf://nothing", "is not understood"),
    ],
)
def test_what_is_no_pair_is_told_with_the_remedy(source: object, said: str) -> None:
    with pytest.raises(counterpoint.UserError) as error:
        counterpoint.pairs(source)
    assert said in str(error.value)
