"""Pairs of a few words, as tables and as files of every format."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

NAMES = ["John", "Mary", "Tom", "Anna", "Paul", "Rosa"]
WORDS = [
    *("After", " and", " went", " to", " the", " shop", " gave", " a", " milk", ",", " bread"),
    *(f" {name}" for name in NAMES),
]
CLEAN = "After John and Mary went to the shop, Mary gave a milk to"
CORRUPTED = "After John and Mary went to the shop, John gave a milk to"
PAIR = {"clean": CLEAN, "corrupted": CORRUPTED, "correct": " John", "incorrect": " Mary"}


def table_of(*rows: dict[str, Any]) -> pd.DataFrame:
    """What read_pairs gives for these rows."""
    return pd.DataFrame([{"row": n, **row, "malformed": ""} for n, row in enumerate(rows, 1)])


def write_csv(path: Path, rows: list[dict[str, Any]], columns: list[str] | None = None) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], Path]] = {
    "pairs.csv": write_csv,
    "pairs.jsonl": write_jsonl,
    "pairs.ndjson": write_jsonl,
    "pairs.parquet": write_parquet,
}
