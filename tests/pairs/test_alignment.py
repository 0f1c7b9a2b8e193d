"""Which positions of two prompts of unequal length belong together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from counterpoint.errors import UserError
from counterpoint.measures.tables.shards import token_pairs
from counterpoint.models.beginning_token import describe, without_beginning
from counterpoint.pairs.alignment import UNALIGNED, align, first_difference
from counterpoint.pairs.buckets import buckets, shard
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.spans import SpanError, spans_of_positions
from tests.helpers.pair_tables import PAIR, table_of

# <bos> After John and Mary went to the shop , Mary gave a milk to
LONGER = "After John and Mary went to the shop, John gave a milk and bread to"

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=9)


@st.composite
def cut(draw: st.DrawFn) -> tuple[list[int], list[int], dict[str, tuple[range, range]]]:
    """Two prompts and spans that stand in one order in both."""
    prompts = draw(tokens), draw(tokens)
    borders = (
        sorted(draw(st.lists(st.integers(0, len(one)), max_size=6, unique=True))) for one in prompts
    )
    places = [
        [range(start, stop) for start, stop in zip(own[::2], own[1::2], strict=False)]
        for own in borders
    ]
    both = zip(*places, strict=False)
    return *prompts, {str(number): (own, other) for number, (own, other) in enumerate(both)}


@given(cut())
@settings(max_examples=300, deadline=None)
def test_partners_rise_and_the_last_belongs_to_the_last(
    prompts: tuple[list[int], list[int], dict[str, tuple[range, range]]],
) -> None:
    clean, corrupted, spans = prompts
    try:
        found = align(clean, corrupted, spans)
    except SpanError:
        return
    assert len(found) == len(clean)
    assert found[-1] == len(corrupted) - 1
    partners = [place for place in found if place != UNALIGNED]
    assert partners == sorted(set(partners))
    assert min(partners) >= 0
    if len(clean) == len(corrupted):
        assert found == list(range(len(clean)))
        return
    first = first_difference(clean, corrupted)
    assert found[:first] == list(range(first))
    assert clean[:first] == corrupted[:first]
    # The other way round it is the same alignment.
    back = align(corrupted, clean, {name: (b, a) for name, (a, b) in spans.items()})
    assert [(a, b) for a, b in enumerate(found) if b >= 0] == [
        (a, b) for b, a in enumerate(back) if a >= 0
    ]
    for own, other in spans.values():
        inside = [found[place] for place in own[:-1] if place >= first]
        if len(own) != len(other):
            assert all(place == UNALIGNED for place in inside)


@given(tokens, tokens, tokens)
@settings(max_examples=200, deadline=None)
def test_without_spans_the_common_beginning_and_end_are_aligned(
    begin: list[int], inserted: list[int], end: list[int]
) -> None:
    # What is put in shares no token with what is around it.
    clean, corrupted = begin + end, begin + [token + 10 for token in inserted] + end
    count = len(inserted)
    expected = list(range(len(begin))) + [k + count for k in range(len(begin), len(clean))]
    assert align(clean, corrupted) == expected


def test_spans_cut_the_prompts_into_parts() -> None:
    a, b, c, d, e, x, y, z = range(8)
    clean = [a, b, c, d, e, x, a]
    corrupted = [a, y, z, d, c, e, y, a]
    # Without spans only the two ends.
    assert align(clean, corrupted) == [0, -1, -1, -1, -1, -1, 7]
    # A span of one token in both; what is before and after it has another number of tokens.
    one = {"s": (range(2, 3), range(4, 5))}
    assert align(clean, corrupted, one) == [0, -1, 4, -1, -1, -1, 7]
    # A first span of two tokens, then two tokens against three that begin and end alike.
    two = {"s": (range(1, 3), range(1, 3)), "t": (range(5, 6), range(6, 7))}
    assert align(clean, corrupted, two) == [0, 1, 2, 3, 5, 6, 7]
    # A span of another number of tokens is not aligned; as many stand after it in both.
    assert align(clean, corrupted, {"s": (range(1, 2), range(1, 3))}) == [0, -1, 3, 4, 5, 6, 7]


def test_the_last_position_is_the_partner_of_the_last_alone() -> None:
    # One prompt ends in its span, the other goes on.
    assert align([1, 2, 3], [1, 2, 3, 4], {"s": (range(2, 3), range(2, 3))}) == [0, 1, 3]
    assert align([1], [5, 6, 7]) == [2]
    assert align([1, 2, 3], [1, 2, 3, 4, 5]) == [0, 1, 4]
    assert align([5, 6, 7], [1]) == [-1, -1, 0]


def test_spans_in_another_order_are_refused() -> None:
    spans = {"IO": (range(1, 2), range(3, 4)), "S": (range(3, 4), range(1, 2))}
    with pytest.raises(SpanError, match="'IO' and 'S' stand in another order"):
        align([1, 2, 3, 4, 5, 6], [1, 4, 3, 2, 5], spans)


def test_a_span_that_the_common_beginning_takes_apart_is_refused() -> None:
    with pytest.raises(SpanError, match="'S' lies in the tokens that the prompts begin with"):
        align([1, 1, 2, 3], [1, 2, 3], {"S": (range(1, 2), range(0, 1))})


def checked(tokenizer: PreTrainedTokenizerFast, **cells: str) -> dict[str, Any]:
    valid, _ = validate_pairs(table_of(PAIR | cells), tokenizer, unequal_lengths="align")
    row: dict[str, Any] = valid.iloc[0].to_dict()
    return row


def test_the_table_of_pairs_says_what_belongs_together(tokenizer: PreTrainedTokenizerFast) -> None:
    row = checked(tokenizer, corrupted=LONGER)
    assert (row["length"], len(row["corrupted_tokens"]), row["first_difference"]) == (15, 17, 10)
    # <bos> to the comma, then nothing of "Mary gave a milk" but the last word.
    assert list(row["aligned_with"]) == [*range(10), *[-1] * 4, 16]
    row = checked(tokenizer, corrupted=LONGER, spans="S=gave; thing=milk")
    # As many tokens stand before "gave", between the two, and not after the second.
    assert list(row["aligned_with"]) == [*range(14), 16]
    # Equal prompts are aligned position by position whatever the spans.
    assert list(checked(tokenizer, spans="S2=Mary#2")["aligned_with"]) == list(range(15))


def test_corrupted_spans_name_other_words(tokenizer: PreTrainedTokenizerFast) -> None:
    cells = {
        "corrupted": LONGER,
        "spans": "S2=Mary#2; thing=a milk",
        "corrupted_spans": "S2=John#2; thing=a milk",
    }
    row = checked(tokenizer, **cells)
    assert list(row["aligned_with"]) == [*range(14), 16]
    names = spans_of_positions(row, tokenizer, "corrupted")
    assert [(k, name) for k, name in enumerate(names) if name] == [
        (10, "S2"),
        (12, "thing"),
        (13, "thing"),
        (16, "end"),
    ]
    assert spans_of_positions(row, tokenizer)[-1] == "end"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (
            {"spans": "S2=Mary#2"},
            "the corrupted prompt holds it once; name its words in",
        ),
        ({"corrupted_spans": "S2=John#2"}, "corrupted_spans is given without spans"),
        (
            {"spans": "S2=Mary#2; thing=milk", "corrupted_spans": "S2=John#2"},
            "the span 'thing' is named in spans and not in corrupted_spans",
        ),
        (
            {"spans": "S2=Mary#2", "corrupted_spans": "S2=John#2; thing=milk"},
            "the span 'thing' is named in corrupted_spans and not in spans",
        ),
        ({"spans": '{"place": [0, 5]}'}, "a range of characters of the clean prompt"),
        (
            {"spans": "S=John; T=Mary", "corrupted_spans": "S=John#2; T=Mary"},
            "stand in another order",
        ),
    ],
)
def test_spans_that_do_not_align_are_a_reason(
    tokenizer: PreTrainedTokenizerFast, cells: dict[str, str], reason: str
) -> None:
    bad = PAIR | {"corrupted": LONGER} | cells
    with pytest.raises(UserError, match="alignment 1") as error:
        validate_pairs(table_of(bad), tokenizer, unequal_lengths="align")
    assert reason in str(error.value)


def test_without_the_setting_they_are_refused_and_told_of_it(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    table = table_of(PAIR, PAIR | {"corrupted": LONGER})
    valid, dropped = validate_pairs(table, tokenizer, on_bad_pair="drop")
    assert len(valid) == 1
    assert dropped["reason"].tolist() == [
        "clean has 14 tokens, corrupted has 16 (with `unequal_lengths: align` such a pair is"
        " aligned, best by a column spans)"
    ]


def test_without_the_first_token_partners_stand_one_earlier(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    table = table_of(PAIR | {"corrupted": LONGER, "spans": "thing=milk"}, PAIR)
    both = [
        validate_pairs(table, tokenizer, prepend_bos=bos, unequal_lengths="align")[0]
        for bos in (True, False)
    ]
    shorter = without_beginning(both[0], describe(tokenizer, True), "tiny")
    assert shorter["aligned_with"].map(list).tolist() == both[1]["aligned_with"].map(list).tolist()


def test_buckets_part_pairs_by_both_lengths(tokenizer: PreTrainedTokenizerFast) -> None:
    valid, _ = validate_pairs(
        table_of(PAIR, PAIR | {"corrupted": LONGER}), tokenizer, unequal_lengths="align"
    )
    equal, unequal = buckets(shard(valid, 0, 64))
    assert equal.aligned_with is None
    assert (equal.pairs, unequal.pairs) == ([0], [1])
    assert unequal.aligned_with == [[*range(10), *[-1] * 4, 16]]
    assert (unequal.length, len(unequal.corrupted[0])) == (15, 17)


def test_what_both_answers_begin_with_stands_behind_prompts_of_unequal_length(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    # The whole clean prompt is the beginning of the corrupted one, until " John" is behind both.
    pair = {
        "clean": "After John and Mary",
        "corrupted": "After John and Mary went",
        "correct": " John Tom",
        "incorrect": " John Mary",
    }
    valid, _ = validate_pairs(
        table_of(pair), tokenizer, unequal_lengths="align", answer_tokens="first_difference"
    )
    row = valid.iloc[0]
    assert list(row["aligned_with"]) == [0, 1, 2, 3, 4, 6]
    assert (row["length"], row["first_difference"]) == (6, 5)
    (bucket,) = buckets(valid)
    pairs = token_pairs(bucket)
    assert pairs.first_difference == 5 and pairs.length_of("corrupted") == 7
