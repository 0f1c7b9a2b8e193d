"""`pairs`: prompt pairs however a caller has them, as the one table that everything here takes.

The table is the one that `pair_files.read_pairs` makes of a file. What is wrong with a row in a
model's tokenizer (answers of several tokens, prompts of unequal length) only a model can say: it is
checked where one is at hand, as by `counterpoint.measure`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.errors import UserError, did_you_mean
from counterpoint.files.artifacts import is_file, user_path
from counterpoint.files.shipped_files import shipped_file
from counterpoint.pairs import hub
from counterpoint.pairs.pair_files import (
    COLUMNS,
    MALFORMED,
    PAIR_COLUMNS,
    pairs_of,
    read_pairs,
)

Answer = str | Sequence[str]
"""One answer, or several that stand for the mean of their logits."""

FILES = (".csv", ".jsonl", ".ndjson", ".parquet")

SHIPPED = "resources/pairs"

FORMS = (
    "a list of (clean, corrupted, correct, incorrect), a list of dicts or a DataFrame with these"
    " columns, the path of a CSV, JSONL or Parquet file, hf://datasets/owner/name/file.csv, or the"
    " name of a shipped set"
)


def pairs(
    source: str
    | os.PathLike[str]
    | pd.DataFrame
    | Mapping[str, Answer]
    | Iterable[Sequence[Answer] | Mapping[str, Any]],
) -> pd.DataFrame:
    """Take pairs of prompts in any form and give them as one table.

    A *pair* is a clean and a corrupted prompt with a correct and an incorrect answer. Answers are
    written as the model would write them, usually with a leading space; an answer may be a list of
    answers, which stand for the mean of their logits.

    Args:
        source: One of

            * tuples ``(clean, corrupted, correct, incorrect)``, or one such tuple;
            * dicts with these keys, or one such dict; other keys travel along as text;
            * a DataFrame with these columns, such as one that this function gave, or an archive of
              `counterpoint.compose`;
            * the path of a CSV, JSONL or Parquet file;
            * ``hf://datasets/owner/name@revision/file.csv`` on the Hugging Face hub;
            * the name of a set that comes with the package: ``"ioi"``, ``"greater-than"``,
              ``"capital-country"``, ``"gendered-pronoun"``, ``"subject-verb-agreement"`` (made for
              the default model's tokenizer), and ``"ioi.default"``, the pairs of the default study.

    Returns:
        A table with the columns ``row`` (from 1), ``clean``, ``corrupted``, ``correct``,
        ``incorrect`` and those of the source, all but ``row`` as text; several answers are a JSON
        list. Where rows of a file are malformed, ``malformed`` says how. Parts of it, as in
        ``table[:10]``, are pairs as well.

    Raises:
        UserError: With what was expected: for another type, a missing column, no row, a row whose
            prompts or answers are no text, a file that is missing or not well-formed, a data set
            that cannot be fetched, and an unknown name.
    """
    if isinstance(source, str | os.PathLike):
        table = _of_name(os.fspath(source))
    elif isinstance(source, pd.DataFrame):
        table = _of_table(source)
    else:
        table = _of_rows(source)
    return table if (table[MALFORMED] != "").any() else table.drop(columns=MALFORMED)


def shipped_sets() -> list[str]:
    """The names of the sets that come with the package."""
    return sorted(path.stem for path in shipped_file(SHIPPED).glob("*.csv"))


def _of_name(text: str) -> pd.DataFrame:
    if hub.is_hub_file(text):
        wanted = hub.parse(text)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, Path(wanted.file or "converted.parquet").name)
            # The hub's own cache keeps what was downloaded.
            hub.fetch(wanted, copy, progress=lambda line: None)
            return read_pairs(copy)
    path = user_path(text)
    if not is_file(path) and text in shipped_sets():
        return read_pairs(shipped_file(SHIPPED) / f"{text}.csv")
    near = did_you_mean(text, shipped_sets())
    is_name = not path.suffix or (bool(near) and path.suffix.lower() not in FILES)
    if is_name and not path.exists():
        raise UserError(
            f"pairs: {text!r} is neither a file nor a set that comes with the package;"
            f"{near} expected {FORMS} ({', '.join(shipped_sets())})."
        )
    if not is_file(path):
        what = "is a folder" if path.is_dir() else "is not there"
        if path.suffix.lower() in FILES or path.is_dir():
            raise UserError(
                f"There is no file of pairs {text} ({path.absolute()} {what}); expected {FORMS}."
            )
    return read_pairs(path)


def _of_table(table: pd.DataFrame) -> pd.DataFrame:
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise UserError(
            f"the DataFrame of pairs has the column {twice[0]} more than once. Rename one of them."
        )
    if {"row", MALFORMED} <= set(table.columns) or (*table.columns[:5],) == ("row", *COLUMNS):
        # One of ours, or a part of one: its rows keep their numbers.
        _refuse_other_cells(table)
        if table.empty:
            raise UserError("the pairs: none are left; expected at least one row.")
        return table.assign(**{MALFORMED: table.get(MALFORMED, "")}).reset_index(drop=True)
    # What a study or a search has added is not the source's own.
    own = [name for name in table.columns if name in COLUMNS or name not in PAIR_COLUMNS]
    return _of_objects(
        [
            {str(name): _plain(value) for name, value in zip(own, row, strict=True)}
            for row in table[own].itertuples(index=False, name=None)
        ],
        "the DataFrame of pairs",
    )


def _plain(value: Any) -> Any:
    """A cell as JSON knows it: missing ones as None, arrays and tuples as lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, tuple):
        return list(value)
    if not isinstance(value, str | list | dict) and pd.isna(value):
        return None
    return value


def _of_rows(source: Any) -> pd.DataFrame:
    if isinstance(source, Mapping):
        source = [source]
    if isinstance(source, Set):
        raise UserError(f"pairs: a set was given, which has no order; expected {FORMS}.")
    if not isinstance(source, Iterable):
        raise UserError(f"pairs: a {type(source).__name__} was given; expected {FORMS}.")
    rows = list(source)
    if len(rows) == len(COLUMNS) and all(isinstance(row, str) for row in rows[:2]):
        rows = [tuple(rows)]
    if not rows:
        raise UserError(f"pairs: an empty list was given; expected at least one pair: {FORMS}.")
    objects = [_object(number, row) for number, row in enumerate(rows, start=1)]
    return _of_objects(objects, "the list of pairs")


def _object(number: int, row: Any) -> dict[str, Any]:
    if isinstance(row, pd.Series):
        row = row.to_dict() if set(COLUMNS) <= set(row.index) else row.to_list()
    elif isinstance(row, np.ndarray):
        row = row.tolist()
    if isinstance(row, Mapping):
        return {str(name): _plain(value) for name, value in row.items()}
    if isinstance(row, str | bytes) or not isinstance(row, Sequence):
        raise UserError(
            f"the list of pairs, row {number}: {_shown(row)} is no pair; expected (clean,"
            " corrupted, correct, incorrect), or a dict with these keys."
        )
    if len(row) != len(COLUMNS):
        raise UserError(
            f"the list of pairs, row {number}: {len(row)} parts; expected four: (clean, corrupted,"
            " correct, incorrect)."
        )
    return dict(zip(COLUMNS, map(_plain, row), strict=True))


def _of_objects(objects: list[dict[str, Any]], described: str) -> pd.DataFrame:
    """As `pairs_of`; what a caller's own code got wrong in a row is said at once."""
    if not objects:
        raise UserError(f"{described} is empty; expected at least one row.")
    table = pairs_of(objects, described)
    for row in table[table[MALFORMED] != ""].itertuples():
        raise UserError(f"{described}, row {row.row}: {getattr(row, MALFORMED)}.")
    return table


def _refuse_other_cells(table: pd.DataFrame) -> None:
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise UserError(f"the DataFrame of pairs lacks the column {missing[0]}.")
    for name in COLUMNS:
        for number, value in zip(table["row"], table[name], strict=True):
            if not isinstance(value, str):
                raise UserError(
                    f"the DataFrame of pairs, row {number}: {name} is {_shown(value)}; expected"
                    " text (several answers as a JSON list). Make it anew with counterpoint.pairs."
                )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
