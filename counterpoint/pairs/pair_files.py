"""Reading files of pairs, in every format: CSV, JSONL and Parquet.

A *pair* is a clean and a corrupted prompt, of equal token length unless they can be aligned
(`pairs.alignment`), with a correct and an incorrect answer. An answer is one token, a list of
one-token answers that stand for the mean of their logits, or, where the study's `answer_tokens`
says so, several tokens. Prompts and answers are tokenised as they are written: where words begin
with a space, an answer does too (`" John"`).

Files are CSV, JSONL or Parquet with the columns `clean, corrupted, correct, incorrect`; other
columns travel along as text. A list of answers is a JSON list, in a CSV cell as well. Rows are
numbered from 1 below the header, blank lines not counted. What is wrong with a file as a whole is
an error at once; what is wrong with the form of a row is noted beside it, and told with what
`pair_checks` finds wrong with it in the model's tokenizer.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoint.errors import UserError
from counterpoint.files.yaml_and_json import parsed_json
from counterpoint.pairs.quoting import SHOWN_IN_FULL, quoted, shortened

COLUMNS = ("clean", "corrupted", "correct", "incorrect")
PROMPTS = ("clean", "corrupted")
ANSWERS = ("correct", "incorrect")
TOKENS = ("clean_tokens", "corrupted_tokens", "correct_tokens", "incorrect_tokens")

PAIR_COLUMNS = ("pair", "row", *COLUMNS, *TOKENS, "length", "first_difference", "aligned_with")
"""The columns of pairs.parquet; a file's own columns follow them."""

ANSWER_COLUMNS = ("answer_beginning", "correct_rest", "incorrect_rest", "read_whole")
"""Those that follow `PAIR_COLUMNS` where a study takes answers of several tokens."""

DROPPED_COLUMNS = ("row", *COLUMNS, "reason")
"""The columns of dropped.csv."""

MALFORMED = "malformed"
"""Column of a table that was read: what is wrong with the row's form, or an empty text."""

_RESERVED = {*PAIR_COLUMNS, *ANSWER_COLUMNS, MALFORMED, "reason"} - set(COLUMNS)
_READERS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def read_pairs(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a file of pairs.

    Returns a table with `row` (1-based), the four columns and the file's own ones, all as text,
    and `malformed`, which `validate_pairs` reports. A list of answers is kept as JSON; see
    `parse_answers`. A column of the file whose name Counterpoint uses for something else is
    prefixed with `given_`.

    Raises UserError for a missing file, an unknown suffix, a missing column, an empty file, text
    that is not UTF-8 and files that are not well-formed: CSV whose quotes do not match, JSONL in
    which no line is an object, a damaged Parquet file. A single line that is no JSON object is a
    malformed row.
    """
    file = Path(path)
    return _table(file, *_records(file))


def pairs_of(objects: Sequence[Mapping[str, Any]], described: str) -> pd.DataFrame:
    """The table that `read_pairs` would give for a file whose rows are ``objects``.

    ``described`` names them in messages. Raises UserError for a missing column and without a row.
    """
    return _table(described, *_object_records([dict(each) for each in objects]))


def _table(
    described: str | Path, columns: Sequence[str], records: Iterable[Record]
) -> pd.DataFrame:
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise UserError(_explain_missing(described, columns, missing))
    renamed = _renamed(columns)
    rows: list[dict[str, Any]] = []
    for number, (cells, malformed) in enumerate(records, start=1):
        row = {"row": number} | {renamed[name]: cells.get(name, "") for name in columns}
        rows.append(row | {MALFORMED: malformed})
    if not rows:
        raise UserError(f"{described} holds no pairs: expected at least one row below the header.")
    others = [renamed[name] for name in columns if name not in COLUMNS]
    return pd.DataFrame(rows, columns=["row", *COLUMNS, *others, MALFORMED])


def count_rows(path: str | os.PathLike[str]) -> int:
    """Return the number of rows that `read_pairs` would read, without keeping them.

    Raises UserError where `read_pairs` does, missing columns excepted.
    """
    file = Path(path)
    match _kind(file):
        case "csv":
            return sum(1 for _ in _csv_lines(file)) - 1
        case "jsonl":
            return sum(1 for line in _text(file).split("\n") if line.strip())
        case _:
            return int(_parquet(file).metadata.num_rows)


def parse_answers(cell: str) -> list[str]:
    """Return the answers that a cell holds: those of a JSON list of texts, else the cell itself."""
    if cell.lstrip().startswith("["):
        try:
            answers = parsed_json(cell)
        except ValueError:
            return [cell]
        if isinstance(answers, list) and all(isinstance(answer, str) for answer in answers):
            return answers
    return [cell]


def _renamed(columns: Sequence[str]) -> dict[str, str]:
    """What each column of a file is called here, no two alike."""
    found: dict[str, str] = {}
    for name in columns:
        new = f"given_{name}" if name in _RESERVED else name
        while new in found.values() or (new != name and new in columns):
            new = f"given_{new}"
        found[name] = new
    return found


Record = tuple[dict[str, str], str]
"""The cells of a row by column, and what is wrong with its form."""


def _records(file: Path) -> tuple[list[str], Iterable[Record]]:
    match _kind(file):
        case "csv":
            return _csv_records(file)
        case "jsonl":
            return _json_records(file)
        case _:
            try:
                return _object_records(_parquet(file).read().to_pylist())
            except (OSError, ValueError) as error:
                raise UserError(f"{file} is a damaged Parquet file: {error}") from None


def _kind(file: Path) -> str:
    kind = _READERS.get(file.suffix.lower())
    if kind is None:
        raise UserError(
            f"{file} cannot be read as pairs: expected a name that ends in {', '.join(_READERS)}."
        )
    if not file.is_file():
        raise UserError(
            f"There is no file of pairs {file} (looked for {file.absolute()}). Correct `pairs:` in "
            "the configuration, or PAIRS=."
        )
    return kind


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8. Save the file as "
            "UTF-8 (in a spreadsheet: 'CSV UTF-8')."
        ) from None


def _csv_lines(file: Path) -> Iterator[list[str]]:
    """The header and the rows of a CSV file, without its blank lines."""
    reader = csv.reader(io.StringIO(_text(file), newline=""), strict=True)
    begins, found = 1, False
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                found = True
                yield cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{file}: the row that begins in line {begins} is not well-formed CSV ({error}). A "
            'text that holds a comma, a quote or a line break stands in double quotes, "like '
            'this", and a double quote inside it is written twice.'
        ) from None
    if not found:
        raise UserError(f"{file} is empty: expected a header line with {', '.join(COLUMNS)}.")


def _csv_records(file: Path) -> tuple[list[str], Iterable[Record]]:
    lines = _csv_lines(file)
    header = [name.strip() for name in next(lines)]
    _refuse_twice(file, "the header", header)

    def records() -> Iterator[Record]:
        for cells in lines:
            malformed = ""
            if len(cells) != len(header):
                malformed = f"{len(cells)} cells where the header has {len(header)}"
                if len(cells) > len(header):
                    malformed += " (a text that holds a comma stands in double quotes)"
            yield dict(zip(header, cells, strict=False)), malformed

    return [name for name in header if name], records()


def _refuse_twice(file: Path, where: str, names: Sequence[str]) -> None:
    twice = sorted(name for name, times in Counter(names).items() if name and times > 1)
    if twice:
        raise UserError(f"{file}: {where} names {', '.join(twice)} more than once.")


def _json_records(file: Path) -> tuple[list[str], Iterable[Record]]:
    """The rows of a JSONL file: a line that is no object is malformed; if all are, the file is."""
    lines: list[dict[str, Any] | str] = []
    for number, line in enumerate(_text(file).split("\n"), start=1):
        if line.strip():
            lines.append(_json_object(line, number))
    objects = [line for line in lines if isinstance(line, dict)]
    if lines and not objects:
        wrong = "\n".join(f"  {line}" for line in lines[:SHOWN_IN_FULL])
        more = len(lines) - SHOWN_IN_FULL
        raise UserError(
            f"{file} is not JSONL, which has one JSON object on each line:\n{wrong}"
            + (f"\n  and {more} more" if more > 0 else "")
        )
    records = (({}, line) if isinstance(line, str) else _object_record(line) for line in lines)
    return _object_columns(objects), records


def _json_object(line: str, number: int) -> dict[str, Any] | str:
    """The object on a line, or what is wrong with the line."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.extend(key for key, times in Counter(key for key, _ in items).items() if times > 1)
        return {_whole(key): value for key, value in items}

    try:
        value = parsed_json(line, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        where = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        return f"line {number}{where} is not JSON: {getattr(error, 'msg', error)}"
    if twice:
        return f"line {number}: the key {quoted(twice[0])} stands twice, only the last would count"
    if isinstance(value, dict):
        return value
    return f"line {number}: {shortened(value)} is not an object {{...}}"


def _object_columns(objects: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for each in objects for name in each)) or list(COLUMNS)


def _object_records(objects: list[dict[str, Any]]) -> tuple[list[str], Iterable[Record]]:
    return _object_columns(objects), (_object_record(each) for each in objects)


def _object_record(values: dict[str, Any]) -> Record:
    cells, malformed = {}, []
    for name, value in values.items():
        if isinstance(value, str):
            cells[name] = value
        elif value is None:
            cells[name] = ""
        else:
            cells[name] = json.dumps(value, ensure_ascii=False, default=str)
            texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
            if name in PROMPTS or (name in ANSWERS and not texts):
                expected = "text" if name in PROMPTS else "a text or a list of texts"
                malformed.append(f"{name} is {shortened(value)}, expected {expected} in quotes")
        whole = _whole(cells[name])
        if whole != cells[name] and name in COLUMNS:
            malformed.append(f"{name} holds half of a character (a lone surrogate)")
        cells[name] = whole
    return cells, "; ".join(malformed)


def _whole(text: str) -> str:
    """The text with halves of characters spelt out, which JSON can write and no file can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _parquet(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(file)
        names = opened.schema_arrow.names
    # ValueError: names that are no text.
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{file} is not a whole Parquet file: {error}") from None
    _refuse_twice(file, "its schema", names)
    return opened


def _explain_missing(file: str | Path, columns: Sequence[str], missing: Sequence[str]) -> str:
    message = (
        f"{file} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}.\n"
        f"  expected {', '.join(COLUMNS)}\n  found    {', '.join(columns) or 'none'}\n"
    )
    for name, separator in (("semicolons", ";"), ("tabs", "\t")):
        if len(columns) == 1 and separator in columns[0]:
            return message + f"The file's columns stand apart by {name}: save it with commas."
    return message + "Rename the columns, in the file's first line for CSV."
