"""Spans: names for parts of a pair's prompts, by which positions of different prompts compare.

A file of pairs may have a column `spans`. Its cells name words of the clean prompt::

    IO=John; S1=Mary; S2=Mary#2

`Mary#2` is the second time that the word stands there; without a number it is the first. Where the
words hold a `;`, or are easier to count than to write, the cell is a JSON object, in CSV as well,
whose values are words or a range of characters, from 0 and without its end::

    {"S2": "Mary#2", "place": [26, 35]}

A span is every token that has a character of it: positions, which hold for both prompts where
these have as many tokens. In a corrupted prompt of another length the same words are looked for, or
those of its own column `corrupted_spans`. The last position is the span `end`, unless another one
has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from counterpoint.files.yaml_and_json import parsed_json
from counterpoint.pairs.quoting import quoted, shortened

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPANS = "spans"
"""The column of a file of pairs that names spans."""

CORRUPTED_SPANS = "corrupted_spans"
"""The column that names the same spans in the corrupted prompt, where that has another length."""

END = "end"
"""The span of the last position, where no other has it."""

_NUMBERED = re.compile(r"(.*\S)\s*#\s*(\d+)", re.DOTALL)


class SpanError(ValueError):
    """A cell that does not name spans of its prompt; the message says how."""


def parse_spans(cell: str) -> dict[str, str | list[Any]]:
    """The spans that a cell names, as they are written: words, or a range of characters.

    Raises SpanError for a cell in neither form, and for a name that stands twice.
    """
    twice: list[str] = []
    if cell.lstrip().startswith("{"):

        def once(items: list[tuple[str, Any]]) -> dict[str, Any]:
            names = [name.strip() for name, _ in items]
            twice.extend(name for name in names if names.count(name) > 1)
            return {name.strip(): value for name, value in items}

        try:
            found = parsed_json(cell, object_pairs_hook=once)
        except ValueError as error:
            raise SpanError(f"{SPANS} {quoted(cell)} is not JSON: {error}") from None
    else:
        found = {}
        for part in filter(str.strip, cell.split(";")):
            name, equals, words = (each.strip() for each in part.partition("="))
            if not (name and equals and words):
                raise SpanError(
                    f"{SPANS} holds {quoted(part.strip())}, expected name=words, as in"
                    " subject=Mary; again=Mary#2 (a column that means something else is to be"
                    " renamed)"
                )
            if name in found:
                twice.append(name)
            found[name] = words
    if twice:
        raise SpanError(f"{SPANS} names {quoted(twice[0])} twice")
    if "" in found:
        raise SpanError(f"{SPANS} has a span without a name")
    return found


def locate(text: str, name: str, place: Any, prompt: str = "clean") -> tuple[int, int]:
    """Where a span stands in ``text``, a ``prompt``: its first character and the one after its
    last.

    Raises SpanError where it does not stand there.
    """
    if isinstance(place, list):
        whole = all(isinstance(each, int) and not isinstance(each, bool) for each in place)
        if len(place) != 2 or not whole or not 0 <= place[0] < place[1] <= len(text):
            raise SpanError(
                f"the span {quoted(name)} is {shortened(place)}, expected [first, end] with 0 ≤"
                f" first < end ≤ {len(text)}, the characters of the {prompt} prompt"
            )
        return place[0], place[1]
    if not isinstance(place, str) or not place.strip():
        raise SpanError(
            f"the span {quoted(name)} is {shortened(place)}, expected words of the {prompt} prompt"
            " or [first, end]"
        )
    words, number = place.strip(), 1
    numbered = _NUMBERED.fullmatch(words)
    if numbered:
        words, number = numbered[1], int(numbered[2])
    # Whole words, in scripts that set them apart; "Ann" is not found in "Anna".
    exact = re.escape(words)
    found = list(re.finditer(rf"(?<!\w){exact}(?!\w)", text)) or list(re.finditer(exact, text))
    if not 1 <= number <= len(found):
        times = {0: "does not hold it", 1: "holds it once"}.get(
            len(found), f"holds it {len(found)} times"
        )
        raise SpanError(
            f"the span {quoted(name)} is {quoted(place)}, and the {prompt} prompt {times}"
        )
    return found[number - 1].span()


def span_tokens(
    cell: str,
    text: str,
    ids: Sequence[int],
    decode: Callable[[list[int]], str],
    prompt: str = "clean",
) -> dict[str, range]:
    """The places among ``ids``, the tokens of ``text``, of every span that a cell names.

    ``prompt`` says in messages which prompt it is.

    Raises SpanError where the cell is wrong, and where two spans share a token.
    """
    edges = [decode(list(ids[:count])) for count in range(len(ids) + 1)]
    # A part of a character decodes to a sign that does not stand in the text.
    starts = [_shared(edge, text) for edge in edges[:-1]]
    stops = [min(len(edge), len(text)) for edge in edges[1:]]
    found: dict[str, range] = {}
    owner: dict[int, str] = {}
    for name, place in parse_spans(cell).items():
        first, end = locate(text, name, place, prompt)
        tokens = [k for k in range(len(ids)) if starts[k] < end and stops[k] > first]
        if not tokens:
            raise SpanError(f"the span {quoted(name)} has no token of its own")
        found[name] = range(tokens[0], tokens[-1] + 1)
        for token in found[name]:
            if token in owner:
                raise SpanError(
                    f"the spans {quoted(owner[token])} and {quoted(name)} share the token"
                    f" {quoted(decode([int(ids[token])]))}"
                )
            owner[token] = name
    return found


def cell_of(row: Mapping[str, Any], prompt: str = "clean") -> str:
    """What a row says of the spans of one prompt; empty where it says nothing."""
    names = [CORRUPTED_SPANS, SPANS] if prompt == "corrupted" else [SPANS]
    cells = (row.get(name) for name in names)
    return next((cell for cell in cells if isinstance(cell, str) and cell.strip()), "")


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with that are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def spans_of_positions(
    row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, prompt: str = "clean"
) -> list[str]:
    """The span of every position of a row of `pairs.parquet`; empty where there is none.

    Those of a corrupted ``prompt`` of another length than the clean one are found in it by the
    column `CORRUPTED_SPANS`, or by the same words.
    """

    def decode(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    if len(row["corrupted_tokens"]) == len(row["clean_tokens"]):
        prompt = "clean"
    ids = [int(token) for token in row[f"{prompt}_tokens"]]
    # A prompt holds no special token of its own.
    before = 1 if ids[0] == tokenizer.bos_token_id else 0
    names = [""] * len(ids)
    cell = cell_of(row, prompt)
    if cell:
        for name, tokens in span_tokens(cell, row[prompt], ids[before:], decode, prompt).items():
            for token in tokens:
                names[before + token] = name
    names[-1] = names[-1] or END
    return names
