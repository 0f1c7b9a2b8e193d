"""Pairs: reading them, checking them in the model's tokenizer, and putting them into batches.

A *pair* is a clean and a corrupted prompt of equal token length, with a correct and an incorrect
answer. An answer is one token, or a list of one-token answers that stand for the mean of their
logits. Prompts and answers are tokenised as they are written: where words begin with a space, an
answer does too (`" John"`).

Files are CSV, JSONL or Parquet with the columns `clean, corrupted, correct, incorrect`; other
columns travel along as text. A list of answers is a JSON list, in a CSV cell as well. Rows are
numbered from 1 below the header, blank lines not counted. What is wrong with a file as a whole is
an error at once; what is wrong with a row is that row's *reason*, and all of them are reported
together.

Everything here works without torch; the tokenizer is an object that is passed in.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
import pandas as pd

from counterpoint.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS = ("clean", "corrupted", "correct", "incorrect")
PROMPTS = ("clean", "corrupted")
ANSWERS = ("correct", "incorrect")
TOKENS = ("clean_tokens", "corrupted_tokens", "correct_tokens", "incorrect_tokens")
PAIR_COLUMNS = ("pair", "row", *COLUMNS, *TOKENS, "length", "first_difference")
"""The columns of pairs.parquet; a file's own columns follow them."""
DROPPED_COLUMNS = ("row", *COLUMNS, "reason")
"""The columns of dropped.csv."""

MALFORMED = "malformed"
"""Column of a table that was read: what is wrong with the row's form, or an empty text."""

SHOWN_IN_FULL = 50
"""Bad rows whose reasons an error message spells out; of further ones it gives the numbers."""
SHOWN_CHARACTERS = 60
TOKENISED_AT_ONCE = 1024

_RESERVED = {*PAIR_COLUMNS, MALFORMED, "reason"} - set(COLUMNS)
_READERS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


# ----------------------------------------------------------------------------------------- reading


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
    columns, records = _records(file)
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise UserError(_explain_missing(file, columns, missing))
    renamed = _renamed(columns)
    rows: list[dict[str, Any]] = []
    for number, (cells, malformed) in enumerate(records, start=1):
        row = {"row": number} | {renamed[name]: cells.get(name, "") for name in columns}
        rows.append(row | {MALFORMED: malformed})
    if not rows:
        raise UserError(f"{file} holds no pairs: expected at least one row below the header.")
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
            answers = json.loads(cell)
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
        value = json.loads(line, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        where = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        return f"line {number}{where} is not JSON: {getattr(error, 'msg', error)}"
    if twice:
        return f"line {number}: the key {_quote(twice[0])} stands twice, only the last would count"
    if isinstance(value, dict):
        return value
    return f"line {number}: {_shorten(value)} is not an object {{...}}"


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
                malformed.append(f"{name} is {_shorten(value)}, expected {expected} in quotes")
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
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file} is not a whole Parquet file: {error}") from None
    _refuse_twice(file, "its schema", opened.schema_arrow.names)
    return opened


def _explain_missing(file: Path, columns: Sequence[str], missing: Sequence[str]) -> str:
    message = (
        f"{file} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}.\n"
        f"  expected {', '.join(COLUMNS)}\n  found    {', '.join(columns) or 'none'}\n"
    )
    for name, separator in (("semicolons", ";"), ("tabs", "\t")):
        if len(columns) == 1 and separator in columns[0]:
            return message + f"The file's columns stand apart by {name}: save it with commas."
    return message + "Rename the columns, in the file's first line for CSV."


# -------------------------------------------------------------------------------------- validation


class Problem(NamedTuple):
    """One thing that is wrong with a row: its kind, for counting, and the whole reason."""

    kind: str
    reason: str


def validate_pairs(
    table: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    *,
    prepend_bos: bool = True,
    max_length: int | None = None,
    max_pairs: int | None = None,
    vocabulary: int | None = None,
    on_bad_pair: Literal["error", "drop"] = "error",
    source: str = "the pairs",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tokenise and check the pairs of `read_pairs`; return the good ones and the dropped ones.

    The good ones have the columns `PAIR_COLUMNS` and then the file's own: `pair` counts them from
    0 in the file's order; `*_tokens` are int32 arrays (prompts with the beginning-of-sequence token
    where `prepend_bos` asks for it and the tokenizer has one); `length` is the number of tokens of
    either prompt and `first_difference` the first position at which they differ, both with that
    token counted. The dropped ones have `DROPPED_COLUMNS`.

    A row is bad when a cell is empty or malformed, the prompts differ in token length or not at
    all, an answer is not one token, an answer stands on both sides, a prompt holds a special
    token, does not come back from its tokens unchanged or is longer than `max_length` tokens, a
    token's id is not among the `vocabulary` rows of the model's embedding, or an earlier row is the
    same. With `max_pairs`, rows are looked at only until so many are good.
    `source` is the name of the file in messages.

    Raises UserError, listing all bad rows at once, when there is one and `on_bad_pair` is
    "error", when no good pair is left, or when the beginning-of-sequence token has no row in the
    embedding. Good pairs that are likely meant otherwise are found by `pairs.doubtful_pairs`.
    """
    checker = PairChecker(tokenizer, prepend_bos, max_length, vocabulary)
    good: list[dict[str, Any]] = []
    bad: list[tuple[dict[str, Any], list[Problem]]] = []
    for row, outcome in checker.check(table):
        if max_pairs is not None and len(good) == max_pairs:
            break
        if isinstance(outcome, list):
            bad.append((row, outcome))
        else:
            good.append({"pair": len(good), **row, **outcome})
    if bad and (on_bad_pair == "error" or not good):
        raise UserError(_explain_bad(source, len(good) + len(bad), bad, on_bad_pair))
    if not good:
        raise UserError(f"{source} holds no pairs: expected at least one row.")
    others = [name for name in table.columns if name not in {"row", *COLUMNS, MALFORMED}]
    valid = pd.DataFrame(good, columns=[*PAIR_COLUMNS, *others])
    reasons = [{**row, "reason": _join(problems)} for row, problems in bad]
    return valid, pd.DataFrame(reasons, columns=list(DROPPED_COLUMNS))


@dataclass
class PairChecker:
    """The checks of a row in one tokenizer, and the rows seen so far (as `validate_pairs` says)."""

    tokenizer: PreTrainedTokenizerBase
    prepend_bos: bool = True
    max_length: int | None = None
    vocabulary: int | None = None
    seen: dict[tuple[str, ...], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bos = self.tokenizer.bos_token_id if self.prepend_bos else None
        self.first = [] if bos is None else [int(bos)]
        if self.beyond(self.first):
            raise UserError(self.explain_first())
        added = self.tokenizer.added_tokens_decoder
        # A token that is named for padding, say, and is an ordinary one may stand in a prompt; the
        # beginning of a sequence may not, whatever it is.
        named = set(self.tokenizer.all_special_ids)
        self.special = {n for n, token in added.items() if token.special or n in named}
        self.special |= {self.tokenizer.bos_token_id} - {None}

    def check(
        self, table: pd.DataFrame
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any] | list[Problem]]]:
        """Yield each row with its tokens, or with its problems."""
        rows = cast("list[dict[str, Any]]", table.to_dict("records"))
        for begin in range(0, len(rows), TOKENISED_AT_ONCE):
            some = rows[begin : begin + TOKENISED_AT_ONCE]
            tokens = self.tokenise([str(row[name]) for row in some for name in PROMPTS])
            for number, row in enumerate(some):
                yield row, self.check_row(row, tokens[2 * number], tokens[2 * number + 1])

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [list(ids) for ids in encoded]

    def check_row(
        self, row: dict[str, Any], clean: list[int], corrupted: list[int]
    ) -> dict[str, Any] | list[Problem]:
        problems = []
        if row.get(MALFORMED):
            problems.append(Problem("malformed row", row[MALFORMED]))
            if not any(row[name] for name in COLUMNS):
                return problems  # a line that could not be read: what it lacks says nothing more
        empty = [name for name in COLUMNS if row[name] == ""]
        empty += [name for name in PROMPTS if row[name] and not row[name].strip()]
        for name in empty:
            problems.append(Problem("empty cell", f"{name} is empty"))
        if problems:
            return problems  # what is not there cannot be tokenised
        key = tuple(row[name] for name in COLUMNS)
        answers = {}
        for name in ANSWERS:
            answers[name], wrong = self.check_answers(name, row[name])
            problems += wrong
        for id_ in sorted(set(answers["correct"]) & set(answers["incorrect"])):
            shared = f"correct and incorrect are both {self.show([id_])}"
            problems.append(Problem("same answer", shared))
        for name, ids in (("clean", clean), ("corrupted", corrupted)):
            problems += self.check_prompt(name, row[name], ids)
        if clean == corrupted:
            same = f"clean and corrupted are the same {len(clean)} tokens"
            problems.append(Problem("no difference", same))
        elif len(clean) != len(corrupted):
            lengths = f"clean has {len(clean)} tokens, corrupted has {len(corrupted)}"
            problems.append(Problem("unequal length", lengths))
        earlier = self.seen.setdefault(key, row["row"])
        if earlier != row["row"]:
            problems.append(Problem("duplicate", f"the same as row {earlier}"))
        if problems:
            return problems
        differs = np.array(clean) != np.array(corrupted)
        return {
            "clean_tokens": _ids(self.first + clean),
            "corrupted_tokens": _ids(self.first + corrupted),
            "correct_tokens": _ids(answers["correct"]),
            "incorrect_tokens": _ids(answers["incorrect"]),
            "length": len(self.first) + len(clean),
            "first_difference": len(self.first) + int(differs.argmax()),
        }

    def beyond(self, ids: list[int]) -> list[int]:
        """The ids that are not rows of the model's embedding."""
        return [] if self.vocabulary is None else [id_ for id_ in ids if id_ >= self.vocabulary]

    def explain_first(self) -> str:
        return (
            f"The model's beginning-of-sequence token {self.tokenizer.bos_token!r} has the id"
            f" {self.first[0]}, but the model's embedding has {self.vocabulary} rows (ids 0 to"
            f" {(self.vocabulary or 0) - 1}): the tokenizer has a token that the model was not"
            " made with. Use the model's own tokenizer files (bos_token in tokenizer_config.json),"
            " or set `prepend_bos: false`."
        )

    def explain_beyond(self, name: str, id_: int) -> Problem:
        reason = (
            f"{name} holds the token {self.tokenizer.convert_ids_to_tokens(id_)!r} with the id"
            f" {id_}, the model's embedding has {self.vocabulary} rows (ids 0 to"
            f" {(self.vocabulary or 0) - 1})"
        )
        return Problem("token beyond the embedding", reason)

    def check_prompt(self, name: str, text: str, ids: list[int]) -> list[Problem]:
        problems = [self.explain_beyond(name, id_) for id_ in self.beyond(ids)[:1]]
        special = [id_ for id_ in ids if id_ in self.special]
        if special:
            held = f"{name} holds the special token {self.show(special[:1])}"
            problems.append(Problem("special token", held))
        elif (back := self.decode(ids)) != text:
            changed = f"{name} comes back from its tokens as {_around(back, text)}"
            problems.append(Problem("tokenisation", changed))
        length = len(self.first) + len(ids)
        if self.max_length is not None and length > self.max_length:
            long = f"{name} has {length} tokens, the model's context holds {self.max_length}"
            problems.append(Problem("too long", long))
        return problems

    def check_answers(self, name: str, cell: str) -> tuple[list[int], list[Problem]]:
        """Return the ids of a cell's answers, and what is wrong with them."""
        texts, ids, problems = parse_answers(cell), [], []
        if not texts:
            problems.append(Problem("empty cell", f"{name} is an empty list"))
        for text, tokens in zip(texts, self.tokenise(texts) if texts else [], strict=True):
            if len(tokens) != 1:
                problems.append(self.explain_answer(name, text, tokens))
            elif tokens[0] in self.special:
                held = f"{name} {_quote(text)} is a special token"
                problems.append(Problem("special token", held))
            elif self.beyond(tokens):
                problems.append(self.explain_beyond(f"{name} {_quote(text)}", tokens[0]))
            elif tokens[0] in ids:
                problems.append(Problem("same answer", f"{name} names {_quote(text)} twice"))
            else:
                ids.append(tokens[0])
        return ids, problems

    def explain_answer(self, name: str, text: str, tokens: list[int]) -> Problem:
        reason = f"{name} {_quote(text)} is {len(tokens)} tokens"
        if tokens:
            reason += f" ({', '.join(self.show([id_]) for id_ in tokens[:8])})"
        reason += ", expected one"
        few, many = "a leading space is likely missing", "a space is likely too many"
        for other, hint in (
            (f" {text.strip()}", many if text[:1].isspace() else few),
            (text.strip(), many),
        ):
            if other and other != text and len(self.tokenise([other])[0]) == 1:
                return Problem("answer tokens", f"{reason}; {_quote(other)} is one: {hint}")
        return Problem("answer tokens", reason)

    def show(self, ids: list[int]) -> str:
        return _quote(self.decode(ids))

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def _explain_bad(
    source: str, seen: int, bad: list[tuple[dict[str, Any], list[Problem]]], on_bad_pair: str
) -> str:
    """List all bad rows: the first ones with their reasons, any further ones by what is wrong."""
    kinds = Counter(problem.kind for _, problems in bad for problem in problems)
    counts = ", ".join(f"{kind} {times}" for kind, times in kinds.most_common())
    none_left = len(bad) == seen
    head = f"{source}: {len(bad)} of {seen} rows cannot be used"
    lines = [f"{head}{', so no pair is left' if none_left else ''} ({counts}):"]
    lines += [f"  row {row['row']}: {_join(found)}" for row, found in bad[:SHOWN_IN_FULL]]
    further: dict[str, list[int]] = {}
    for row, found in bad[SHOWN_IN_FULL:]:
        for kind in dict.fromkeys(problem.kind for problem in found):
            further.setdefault(kind, []).append(row["row"])
    if further:
        lines.append(f"  and {len(bad) - SHOWN_IN_FULL} more:")
        lines += [f"    {kind}: rows {ranges(rows)}" for kind, rows in further.items()]
    remedy = "Rows count from 1 below the header. Correct them"
    if on_bad_pair == "error" and not none_left:
        remedy += ", or leave them out with `on_bad_pair: drop` (ON_BAD_PAIR=drop)"
    return "\n".join([*lines, remedy + "."])


# ----------------------------------------------------------------------------- shards and buckets


@dataclass(frozen=True)
class Bucket:
    """Pairs that can share a batch: equal token length and equal first differing position.

    The lists run over the pairs: their numbers in the study, the token ids of their prompts
    (`length` each) and of their answers (one or more each).
    """

    length: int
    first_difference: int
    pairs: list[int]
    clean: list[list[int]]
    corrupted: list[list[int]]
    correct: list[list[int]]
    incorrect: list[list[int]]


def buckets(table: pd.DataFrame) -> list[Bucket]:
    """Group validated pairs by (length, first_difference), in ascending order of both.

    Every pair of `table`, the first result of `validate_pairs` or a part of it, is in exactly
    one bucket; within a bucket the table's order is kept.
    """
    grouped: Any = table.groupby(["length", "first_difference"], sort=True)
    return [
        Bucket(
            int(length),
            int(first),
            [int(pair) for pair in group["pair"]],
            *([[int(id_) for id_ in ids] for ids in group[name]] for name in TOKENS),
        )
        for (length, first), group in grouped
    ]


def shard(table: pd.DataFrame, index: int, size: int) -> pd.DataFrame:
    """Return the rows of one shard of validated pairs; past the end, an empty table.

    Shard `index` holds rows [index × size, (index + 1) × size) of the pairs in the order
    (length, first_difference, pair), so that pairs which can share a batch stand together.
    """
    if index < 0 or size < 1:
        raise ValueError(f"shard {index} of size {size}: expected index >= 0 and size >= 1")
    ordered = table.sort_values(["length", "first_difference", "pair"], kind="stable")
    return ordered.iloc[index * size : (index + 1) * size].reset_index(drop=True)


# -------------------------------------------------------------------------------------- small ones


def _ids(ids: list[int]) -> np.ndarray:
    return np.array(ids, dtype=np.int32)


def _join(problems: Iterable[Problem]) -> str:
    return "; ".join(problem.reason for problem in problems)


def _quote(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…")


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _around(found: str, expected: str) -> str:
    """Show `found` where it parts from `expected`."""
    parts = (a != b for a, b in zip(found, expected, strict=False))
    same = next((place for place, parted in enumerate(parts) if parted), len(expected))
    piece = slice(max(0, same - 10), same + 20)
    return f"{_quote(found[piece])} where {_quote(expected[piece])} was written"


def ranges(numbers: Sequence[int]) -> str:
    """Write ascending numbers as `3, 7-9, 12`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
