"""Alignment: which positions of two prompts of unequal length belong together.

A head's output at a position can be replaced by the other prompt's where it is known which position
of the other prompt is meant. Prompts of equal length are aligned position by position. Of prompts
of unequal length `align` aligns the tokens that they begin with in common, spans that are named in
both (`spans`) and of as many tokens, the text between the same two spans, and the last position; a
position that has no partner is *not aligned*, and nothing is ever put there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from counterpoint.pairs.quoting import quoted
from counterpoint.pairs.spans import (
    CORRUPTED_SPANS,
    SPANS,
    SpanError,
    cell_of,
    parse_spans,
    span_tokens,
)

UNALIGNED = -1
"""In place of a position's partner, where it has none."""


def first_difference(clean: Sequence[int], corrupted: Sequence[int]) -> int:
    """How many tokens two prompts begin with in common, the last one of either not counted.

    Both runs are the same up to there, and each prompt has at least one position from there on.
    """
    least = min(len(clean), len(corrupted)) - 1
    return next((k for k in range(least) if clean[k] != corrupted[k]), least)


def align(
    clean: Sequence[int],
    corrupted: Sequence[int],
    spans: Mapping[str, tuple[range, range]] | None = None,
) -> list[int]:
    """The partner in ``corrupted`` of every position of ``clean``, or `UNALIGNED`.

    Both are token ids of at least one token; ``spans`` are, by their names, the places of a span
    in the first and in the second. Partners never cross, no two positions share one, and the
    partner of the last position is the last position.

    1. Prompts of equal length: each position is its own partner, whatever the spans.
    2. The tokens that both begin with (up to `first_difference`) are their own partners.
    3. The borders of the spans cut both prompts into as many parts. Parts of as many tokens, spans
       or what is between them, are aligned one by one. Of what is between two spans (or before the
       first, or after the last) and has not as many, the tokens are aligned that both parts begin
       with in common, and then those that both end with. A span of other numbers is not aligned.
    4. The last position belongs to the last one, whatever the tokens there, and to no other; the
       common end of the last part is counted before it.

    What 2 and 4 say goes before 3. Raises SpanError for spans that stand in another order in the
    second prompt, and for one that lies in the common beginning of one prompt alone.
    """
    if len(clean) == len(corrupted):
        return list(range(len(clean)))
    named = sorted((spans or {}).items(), key=lambda item: item[1][0].start)
    for (one, (_, before)), (other, (_, after)) in pairwise(named):
        if before.stop > after.start:
            raise SpanError(
                f"the spans {quoted(one)} and {quoted(other)} stand in another order in the"
                " corrupted prompt, so that the prompts cannot be aligned by both"
            )
    first, last = first_difference(clean, corrupted), (len(clean) - 1, len(corrupted) - 1)
    pairs: list[tuple[int, int]] = []
    start = (0, 0)
    for name, (mine, its) in named:
        pairs += _between(clean, corrupted, start, (mine.start, its.start))
        if len(mine) == len(its):
            together = list(zip(mine, its, strict=True))
            if any(a != b and min(a, b) < first for a, b in together):
                raise SpanError(
                    f"the span {quoted(name)} lies in the tokens that the prompts begin with in"
                    " common, but not at the same place in both, so that it cannot be aligned"
                )
            pairs += together
        start = (mine.stop, its.stop)
    pairs += _between(clean, corrupted, start, last)
    partner = [UNALIGNED] * len(clean)
    for a, b in pairs:
        if min(a, b) >= first and a < last[0] and b < last[1]:
            partner[a] = b
    partner[:first] = range(first)
    partner[last[0]] = last[1]
    return partner


def _between(
    clean: Sequence[int], corrupted: Sequence[int], start: tuple[int, int], stop: tuple[int, int]
) -> list[tuple[int, int]]:
    """The aligned positions of two parts without spans, the first of each and the end of each."""
    own, other = (range(a, max(a, b)) for a, b in zip(start, stop, strict=True))
    if len(own) == len(other):
        return list(zip(own, other, strict=True))
    least = min(len(own), len(other))
    head = next((k for k in range(least) if clean[own[k]] != corrupted[other[k]]), least)
    least -= head
    tail = next((k for k in range(least) if clean[own[-1 - k]] != corrupted[other[-1 - k]]), least)
    same = [(own[k], other[k]) for k in range(head)]
    return same + [(own[k - tail], other[k - tail]) for k in range(tail)]


def spans_in_both(
    row: Mapping[str, Any],
    clean: Sequence[int],
    corrupted: Sequence[int],
    decode: Callable[[list[int]], str],
) -> dict[str, tuple[range, range]]:
    """The places of the spans of a row among the tokens of both prompts.

    In the corrupted prompt they are found by the column `CORRUPTED_SPANS`, or, without it, by the
    words of the column `spans`. Raises SpanError where one prompt has a span that the other has
    not, and for a range of characters that is given for the clean prompt alone.
    """
    own, other = cell_of(row), cell_of(row, "corrupted")
    if not other:
        return {}
    if not own:
        raise SpanError(f"{CORRUPTED_SPANS} is given without {SPANS}, the same of the clean prompt")
    found = span_tokens(own, row["clean"], clean, decode)
    same = other == own
    if same:
        ranges = [name for name, place in parse_spans(own).items() if isinstance(place, list)]
        if ranges:
            raise SpanError(
                f"the span {quoted(ranges[0])} is a range of characters of the clean prompt, which"
                " need not hold in a corrupted prompt of another length; give that of the"
                f" corrupted prompt in the column {CORRUPTED_SPANS}"
            )
    try:
        partners = span_tokens(other, row["corrupted"], corrupted, decode, "corrupted")
    except SpanError as error:
        hint = f"; name its words in the column {CORRUPTED_SPANS}"
        raise SpanError(f"{error}{hint if same else ''}") from None
    alone = [name for name in (*found, *partners) if (name in found) != (name in partners)]
    if alone:
        where, missing = (SPANS, CORRUPTED_SPANS) if alone[0] in found else (CORRUPTED_SPANS, SPANS)
        raise SpanError(f"the span {quoted(alone[0])} is named in {where} and not in {missing}")
    return {name: (found[name], partners[name]) for name in found}
