"""Spans: what a cell may say, which tokens it names, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from counterpoint.errors import UserError
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import read_pairs
from counterpoint.pairs.spans import (
    END,
    SpanError,
    locate,
    parse_spans,
    span_tokens,
    spans_of_positions,
)
from tests.helpers.pair_tables import CLEAN, PAIR, WRITERS, table_of
from tests.helpers.tiny_tokenizers import make_tokenizer

SPANS = "IO=John; S1=Mary; S2=Mary#2; thing=a milk"
# <bos> After John and Mary went to the shop , Mary gave a milk to
NAMES = ["", "", "IO", "", "S1", *[""] * 5, "S2", "", "thing", "thing", END]


def names_of(spans: str | None, tokenizer: PreTrainedTokenizerFast, **kwargs: Any) -> list[str]:
    pair = PAIR if spans is None else PAIR | {"spans": spans}
    valid, _ = validate_pairs(table_of(pair), tokenizer, **kwargs)
    return spans_of_positions(valid.iloc[0].to_dict(), tokenizer)


def test_words_name_their_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert names_of(SPANS, tokenizer) == NAMES
    # Without a beginning-of-sequence token everything stands one place earlier.
    assert names_of(SPANS, tokenizer, prepend_bos=False) == NAMES[1:]


def test_without_a_cell_only_the_last_position_has_a_name(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    for cell in (None, "", "  "):
        assert names_of(cell, tokenizer) == [""] * 14 + [END]


def test_another_span_may_have_the_last_position(tokenizer: PreTrainedTokenizerFast) -> None:
    assert names_of("question=milk to", tokenizer)[-2:] == ["question", "question"]


def test_json_may_count_characters(tokenizer: PreTrainedTokenizerFast) -> None:
    begin = CLEAN.index("shop")
    cell = f'{{"IO": "John", "S2": "Mary #2", "place": [{begin}, {begin + 2}]}}'
    found = names_of(cell, tokenizer)
    assert found[8] == "place"
    assert [found[2], found[10]] == ["IO", "S2"]


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_has_them(
    name: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    forms: list[Any] = [SPANS]
    if not name.endswith("csv"):
        begin = CLEAN.index("a milk")
        place = [begin, begin + len("a milk")]
        forms.append({"IO": "John", "S1": "Mary", "S2": "Mary#2", "thing": place})
    for form in forms:
        path = WRITERS[name](tmp_path / name, [PAIR | {"spans": form}])
        valid, _ = validate_pairs(read_pairs(path), tokenizer)
        assert spans_of_positions(valid.iloc[0].to_dict(), tokenizer) == NAMES


def test_whole_words_come_before_parts_of_words() -> None:
    assert locate("Anna saw Ann", "who", "Ann") == (9, 12)
    assert locate("Anna saw Ann", "who", "Ann#1") == (9, 12)
    # Scripts that set no words apart.
    assert locate("東京は大きい", "city", "京") == (1, 2)
    assert locate("it was 5#3 then", "text", [7, 10]) == (7, 10)


def test_characters_over_several_tokens_are_in_the_span() -> None:
    tokenizer = make_tokenizer([])  # of bytes alone

    def decode(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    text = "ab é 🙂 c"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    found = span_tokens("eye=é; face=🙂", text, ids, decode)
    assert decode([ids[k] for k in found["eye"]]) == "é"
    assert decode([ids[k] for k in found["face"]]) == "🙂"


BAD = {
    "John": "spans holds 'John', expected name=words, as in subject=Mary; again=Mary#2",
    "=John": "spans holds '=John', expected name=words",
    "IO=John; IO=Mary": "spans names 'IO' twice",
    '{"IO": "John", "IO": "Mary"}': "spans names 'IO' twice",
    "IO=Zoe": "the span 'IO' is 'Zoe', and the clean prompt does not hold it",
    "IO=John#2": "the span 'IO' is 'John#2', and the clean prompt holds it once",
    "S=Mary#3": "the span 'S' is 'Mary#3', and the clean prompt holds it 2 times",
    '{"S": [3, 999]}': "the span 'S' is [3, 999], expected [first, end] with 0 ≤ first < end ≤ ",
    '{"S": [5, 5]}': "the span 'S' is [5, 5], expected [first, end]",
    '{"S": 3}': "the span 'S' is 3, expected words of the clean prompt or [first, end]",
    '{"S": ': "is not JSON",
    '{"": "John"}': "spans has a span without a name",
    "a=John and; b=and Mary": "the spans 'a' and 'b' share the token ' and'",
}


@pytest.mark.parametrize("cell", BAD)
def test_mistakes_name_row_and_span(cell: str, tokenizer: PreTrainedTokenizerFast) -> None:
    table = table_of(PAIR | {"spans": "IO=John"}, {**PAIR, "correct": " Tom", "spans": cell})
    with pytest.raises(UserError) as told:
        validate_pairs(table, tokenizer, source="my.csv")
    message = str(told.value)
    assert "my.csv: 1 of 2 rows cannot be used (spans 1)" in message
    assert f"row 2: {BAD[cell]}" in message or BAD[cell] in message.partition("row 2: ")[2]
    good, dropped = validate_pairs(table, tokenizer, on_bad_pair="drop")
    assert (len(good), len(dropped)) == (1, 1)


def test_cells_of_either_form_are_told_apart() -> None:
    assert parse_spans(" a = b c ;; d=e ") == {"a": "b c", "d": "e"}
    assert parse_spans(' {"a ": "b"}') == {"a": "b"}
    with pytest.raises(SpanError, match="is not JSON"):
        parse_spans("{a=b}")


def test_missing_cells_of_a_table_are_no_spans(tokenizer: PreTrainedTokenizerFast) -> None:
    table = table_of(PAIR).assign(spans=[float("nan")])
    valid, _ = validate_pairs(table, tokenizer)
    assert spans_of_positions(valid.iloc[0].to_dict(), tokenizer)[-1] == END
    assert isinstance(valid, pd.DataFrame)
