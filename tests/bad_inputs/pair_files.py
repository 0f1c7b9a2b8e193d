"""Files of pairs that are wrong, as a whole or in a row."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

HEADER = "clean,corrupted,correct,incorrect\n"
CLEAN = "When John and Mary met , Mary gave a book to"
CORRUPTED = "When John and Mary met , John gave a book to"
GOOD = f'"{CLEAN}","{CORRUPTED}", John, Mary\n'


@dataclass(frozen=True)
class PairFile:
    """A file, what its message has to say, and settings of the study."""

    name: str
    told: Sequence[str]
    content: str | bytes
    suffix: str = ".csv"
    settings: dict[str, Any] = field(default_factory=dict)


def of_row(name: str, row: str, *told: str, **settings: Any) -> PairFile:
    """A good row, then one of CSV that is bad: row 2 is told."""
    return PairFile(name, ["row 2", *told], HEADER + GOOD + row + "\n", settings=settings)


def of_object(name: str, changes: dict[str, Any], *told: str, **settings: Any) -> PairFile:
    """The same in JSONL."""
    good = {"clean": CLEAN, "corrupted": CORRUPTED, "correct": " John", "incorrect": " Mary"}
    bad = {key: each for key, each in {**good, **changes}.items() if each is not ...}
    text = f"{json.dumps(good)}\n{json.dumps(bad)}\n"
    return PairFile(name, ["row 2", *told], text, ".jsonl", settings)


def parquet(**columns: Sequence[Any]) -> bytes:
    """A Parquet file of these columns."""
    stream = io.BytesIO()
    pd.DataFrame(columns).to_parquet(stream)
    return stream.getvalue()


WHOLE = [
    PairFile("empty", ["is empty", "clean, corrupted"], ""),
    PairFile("line-breaks-alone", ["is empty"], "\n\n\n"),
    PairFile("header-alone", ["holds no pairs", "at least one row"], HEADER),
    PairFile("no-header", ["lacks the columns", "expected clean"], GOOD),
    PairFile("a-column-short", ["lacks the column incorrect"], "clean,corrupted,correct\na,b,c\n"),
    PairFile("a-column-in-capitals", ["lacks the columns"], HEADER.upper() + GOOD),
    PairFile("a-column-twice", ["clean more than once"], "clean," + HEADER + "a," + GOOD),
    PairFile("semicolons", ["apart by semicolons"], HEADER.replace(",", ";") + "a;b;c;d\n"),
    PairFile("tabs", ["apart by tabs"], HEADER.replace(",", "\t") + "a\tb\tc\td\n"),
    PairFile("latin-1", ["line 2", "UTF-8"], (HEADER + "é,b, c, d\n").encode("latin-1")),
    PairFile("utf-16", ["UTF-8"], (HEADER + GOOD).encode("utf-16")),
    PairFile("compressed", ["UTF-8"], b"\x1f\x8b\x08" + bytes(range(256))),
    PairFile("an-open-quote", ["row that begins in line 2"], HEADER + '"a,b, c, d\n'),
    PairFile("a-quote-inside", ["row that begins in line 2"], HEADER + '"a"b,b, c, d\n'),
    PairFile("a-cell-too-long", ["row that begins in line 2"], HEADER + "a" * 200_000 + ",b,c,d\n"),
    PairFile("a-page", ["lacks the columns"], "<html><body>404</body></html>\n"),
    PairFile("an-array", ["is not JSONL", "line 1"], json.dumps([{"clean": "a"}]), ".jsonl"),
    PairFile("words", ["is not JSONL", "line 1"], "clean corrupted\n", ".jsonl"),
    PairFile("empty-jsonl", ["holds no pairs", "at least one row"], "", ".jsonl"),
    PairFile("jsonl-deep", ["is not JSONL"], "[" * 5000, ".jsonl"),
    PairFile("other-keys", ["lacks the columns", "prompt"], '{"prompt": "a"}\n', ".jsonl"),
    PairFile("no-parquet", ["is not a whole Parquet file"], HEADER + GOOD, ".parquet"),
    PairFile("parquet-cut", ["not a whole Parquet file"], parquet(clean=["a"])[:-20], ".parquet"),
    PairFile("parquet-columns", ["lacks the columns"], parquet(clean=["a"]), ".parquet"),
    PairFile(
        "parquet-empty",
        ["holds no pairs"],
        parquet(clean=[], corrupted=[], correct=[], incorrect=[]),
        ".parquet",
    ),
    PairFile(
        "parquet-of-numbers",
        ["row 1", "clean is 1, expected text"],
        parquet(clean=[1], corrupted=[2], correct=[3], incorrect=[4]),
        ".parquet",
    ),
    PairFile("a-sheet", ["cannot be read as pairs"], b"PK\x03\x04", ".xlsx"),
    PairFile("no-suffix", ["cannot be read as pairs"], HEADER + GOOD, ""),
    PairFile("all-rows-bad", ["1 of 1 rows"], HEADER + "a,a, John, Mary\n", ".csv"),
    PairFile(
        "all-rows-dropped",
        ["1 of 1 rows", "row 1"],
        HEADER + "a,a, John, Mary\n",
        settings={"on_bad_pair": "drop"},
    ),
]

ROWS = [
    of_row("unequal", f'When John met,"{CORRUPTED}", John, Mary', "corrupted has", "align"),
    of_row("same-prompts", f'"{CLEAN}","{CLEAN}", John, John', "same"),
    of_row("no-difference", f'"{CORRUPTED}","{CORRUPTED}", John, Mary', "the same 11 tokens"),
    of_row("empty-prompt", f',"{CORRUPTED}", John, Mary', "clean is empty"),
    of_row("a-prompt-of-spaces", f'"  ","{CORRUPTED}", John, Mary', "clean is empty"),
    of_row("empty-answer", f'"{CLEAN}","{CORRUPTED}",, Mary', "correct is empty"),
    of_row("no-cells", ",,,", "clean is empty"),
    of_row("a-cell-short", f'"{CLEAN}","{CORRUPTED}", John', "3 cells where the header has 4"),
    of_row("a-comma-too-many", f"{CLEAN},{CORRUPTED}, John, Mary", "double quotes"),
    of_row("an-answer-of-tokens", f'"{CLEAN}","{CORRUPTED}", Jonathan, Mary', "expected one"),
    of_row("an-answer-without-space", f'"{CLEAN}","{CORRUPTED}",John, Mary', "a leading space"),
    of_row("one-answer-twice", f'"{CLEAN}","{CORRUPTED}", John, John', "are both ' John'"),
    of_row("a-special-token", f'"{CLEAN}<s>","{CORRUPTED}<s>", John, Mary', "the special token"),
    of_row("a-special-answer", f'"{CLEAN}","{CORRUPTED}",</s>, Mary', "is a special token"),
    of_row("twice", GOOD.strip(), "the same as row 1"),
    of_row(
        "too-long",
        f'"{"Mary " * 70}to","{"John " * 70}to", John, Mary',
        "tokens, the model's context holds 64",
    ),
    of_row("an-empty-list", f'"{CLEAN}","{CORRUPTED}",[], Mary', "correct is an empty list"),
    of_row(
        "a-list-on-both-sides",
        f'"{CLEAN}","{CORRUPTED}","["" John""]","["" Mary"","" John""]"',
        "are both ' John'",
    ),
    of_row(
        "whole-answers-the-same",
        f'"{CLEAN}","{CORRUPTED}", Mary John, Mary John',
        "correct and incorrect",
        answer_tokens="whole",
    ),
    of_row("a-list-without-end", f'"{CLEAN}","{CORRUPTED}",{"[" * 9000}, Mary', "expected one"),
    of_object("spans-without-end", {"spans": '{"a":' * 9000}, "span"),
    of_object("a-number", {"clean": 3}, "clean is 3, expected text"),
    of_object("null", {"clean": None}, "clean is empty"),
    of_object("a-key-short", {"clean": ...}, "clean is empty"),
    of_object("a-list-of-numbers", {"correct": [1, 2]}, "expected a text or a list of texts"),
    of_object("half-a-character", {"clean": "\ud83d" + CLEAN}, "half of a character"),
    of_object("unknown-span", {"spans": '{"name": "Peter"}'}, "span"),
    of_object("spans-of-nothing", {"spans": "name"}, "span"),
    PairFile(
        "a-line-that-is-none",
        ["row 2", "line 2", "is not JSON"],
        json.dumps({"clean": "a", "corrupted": "b", "correct": "c", "incorrect": "d"}) + "\n{a}\n",
        ".jsonl",
    ),
]

PAIR_FILES = [*WHOLE, *ROWS]
