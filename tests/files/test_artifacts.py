"""Artifacts are whole or absent, and never a pickle."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pandas as pd
import pytest
import torch

from counterpoint.errors import UserError
from counterpoint.files import artifacts


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    artifacts.write_text("old", target)
    with pytest.raises(RuntimeError, match="killed"), artifacts.atomic(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_the_target_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "file.txt"
    with artifacts.atomic(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_tables_come_back(tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame({"pair": [0, 1], "ap": [0.5, -1.25]})
    artifacts.write_table(table, tmp_path / f"table{suffix}")
    pd.testing.assert_frame_equal(artifacts.read_table(tmp_path / f"table{suffix}"), table)


def test_damage_of_a_parquet_file_is_told_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "heads.parquet"
    numbers = torch.arange(300.0)
    table = pd.DataFrame({"pair": numbers.int(), "ap": numbers.sin().numpy()})
    artifacts.write_table(table, path)
    whole = path.read_bytes()
    metadata = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    generator = random.Random(0)
    places = generator.sample(range(metadata), 200) + generator.sample(
        range(metadata, len(whole)), 50
    )
    n_silent = 0
    for place in places:
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        )
        try:
            n_silent += not artifacts.read_table(path).equals(table) and place < metadata
        except UserError as error:
            assert "heads.parquet is not a whole Parquet file" in str(error)
    # The checksums are of pages; for the metadata behind them there is none in the format.
    assert n_silent == 0
    for text in (b"", b"PAR1", whole[: len(whole) // 2]):
        path.write_bytes(text)
        with pytest.raises(UserError, match=r"heads\.parquet is not a whole"):
            artifacts.read_table(path)
    with pytest.raises(FileNotFoundError):
        artifacts.read_table(tmp_path / "none.parquet")


TEXTS = ["None", "null", "NA", "nan", "N/A", "", "1.0", "007", "1e3", "TRUE", "2024-01-01", " x "]
TEXTS += ["a\rb", "a\r\nb", 'a\n"b', "\r"]


def test_texts_of_csv_tables_stay_what_they_are(tmp_path: Path) -> None:
    table = pd.DataFrame(dict.fromkeys(sorted(artifacts.TEXT_COLUMNS), TEXTS))
    table["estimate"] = [0.5, math.nan, math.inf, *[1.0] * (len(TEXTS) - 3)]
    table["score"] = ["NA", "ap"] * (len(TEXTS) // 2)
    artifacts.write_table(table, tmp_path / "table.csv")
    read = artifacts.read_table(tmp_path / "table.csv")
    for name in artifacts.TEXT_COLUMNS:
        assert read[name].tolist() == TEXTS
    assert read["score"].tolist() == table["score"].tolist()
    pd.testing.assert_series_equal(read["estimate"], table["estimate"])
    # A text column of numbers alone is text too, and an empty table has its columns.
    artifacts.write_table(table.iloc[6:8], tmp_path / "table.csv")
    assert artifacts.read_table(tmp_path / "table.csv")["study"].tolist() == ["1.0", "007"]
    artifacts.write_table(table[:0], tmp_path / "table.csv")
    assert list(artifacts.read_table(tmp_path / "table.csv").columns) == list(table.columns)


def test_other_kinds_of_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.parquet or \.csv"):
        artifacts.write_table(pd.DataFrame(), tmp_path / "table.pkl")
    assert list(tmp_path.iterdir()) == []


def test_tensors_come_back_and_others_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "curves.safetensors"
    tensor = torch.arange(6.0).view(2, 3).T
    artifacts.write_tensors({"output": tensor}, path)
    assert torch.equal(artifacts.read_tensors(path)["output"], tensor)
    reference = tmp_path / "plain"
    reference.write_text("")
    assert path.stat().st_mode == reference.stat().st_mode


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        artifacts.write_json({"x": math.nan}, tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_text_is_read_as_it_is_written(tmp_path: Path) -> None:
    odd = ["007", "1e3", "NA", "None", "null", "nan", "true", " x ", "-"]
    numbers = [1.5, math.nan, *range(7)]
    for column in ("study", "title", "model", "first", "correct", "clean"):
        table = pd.DataFrame({column: odd, "note": odd[::-1], "estimate": numbers})
        artifacts.write_table(table, tmp_path / "table.csv")
        pd.testing.assert_frame_equal(artifacts.read_table(tmp_path / "table.csv"), table)
        numeric = pd.DataFrame({column: ["007", "010"], "estimate": [1.0, 2.0]})
        artifacts.write_table(numeric, tmp_path / "table.csv")
        pd.testing.assert_frame_equal(artifacts.read_table(tmp_path / "table.csv"), numeric)


@pytest.mark.parametrize("metadata", [None, {}, {"a": "b"}])
def test_a_file_of_no_tensors_can_be_read(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    artifacts.write_tensors({}, tmp_path / "none.safetensors", metadata)
    assert artifacts.read_tensors(tmp_path / "none.safetensors") == {}
