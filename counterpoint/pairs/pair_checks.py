"""Checking pairs, row by row, in the model's tokenizer: which can be used, and why not the others.

What is wrong with a row is that row's *reason*; all reasons are reported together. The tokenizer is
an object that is passed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd

from counterpoint.errors import UserError
from counterpoint.pairs.alignment import first_difference, partners_in_row
from counterpoint.pairs.answer_tokens import SETTING, AnswerPlaces, AnswerTokens, SeveralTokens
from counterpoint.pairs.bad_rows import explain_bad, joined
from counterpoint.pairs.pair_files import (
    ANSWER_COLUMNS,
    ANSWERS,
    COLUMNS,
    DROPPED_COLUMNS,
    MALFORMED,
    PAIR_COLUMNS,
    PROMPTS,
    parse_answers,
)
from counterpoint.pairs.quoting import Problem, quoted
from counterpoint.pairs.spans import SPANS, SpanError, span_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


TOKENISED_AT_ONCE = 1024

UnequalLengths = Literal["refuse", "align"]
"""What becomes of a pair whose prompts differ in their number of tokens."""


def validate_pairs(
    table: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    *,
    prepend_bos: bool = True,
    max_length: int | None = None,
    max_pairs: int | None = None,
    vocabulary: int | None = None,
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    unequal_lengths: UnequalLengths = "refuse",
    align_by: str = "`unequal_lengths: align`",
    source: str = "the pairs",
    several: str | None = SETTING,
    drop: str = "`on_bad_pair: drop` (ON_BAD_PAIR=drop)",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tokenise and check the pairs of `read_pairs`; return the good ones and the dropped ones.

    The good ones have the columns `PAIR_COLUMNS` and then the file's own: `pair` counts them from
    0 in the file's order; `*_tokens` are int32 arrays (prompts with the beginning-of-sequence token
    where `prepend_bos` asks for it and the tokenizer has one); `length` is the number of tokens of
    the clean prompt and `first_difference` the first position at which they differ, both with that
    token counted; `aligned_with` is the partner of each token of the clean prompt. The dropped ones
    have `DROPPED_COLUMNS`.

    A row is bad when a cell is empty or malformed, the prompts do not differ, or in token length
    (unless `unequal_lengths` is "align" and `pairs.alignment` can align them), an answer is not one
    token, an answer stands on both sides, a prompt holds a special token, does not come back from
    its tokens unchanged or is longer than `max_length` tokens, a token's id is not among the
    `vocabulary` rows of the model's embedding, a column `spans` does not name parts of the clean
    prompt (`pairs.spans`), or an earlier row is the same. With `max_pairs`, rows are looked at only
    until so many are good.
    Where `answer_tokens` takes answers of several tokens (`pairs.answer_tokens`), there are the
    columns `ANSWER_COLUMNS` too, the prompts' tokens end with those that both answers begin with,
    and a row is bad when its answers have no first difference, or are other tokens behind a prompt.
    `source` is the name of the file in messages; `drop`, `several` and `align_by` are how whoever
    reads them leaves rows out, takes such answers, and has prompts of unequal length aligned, the
    last two empty or None where that is not offered.

    Raises UserError, listing all bad rows at once, when there is one and `on_bad_pair` is
    "error", when no good pair is left, or when the beginning-of-sequence token has no row in the
    embedding. Good pairs that are likely meant otherwise are found by `pairs.doubtful_pairs`.
    """
    checker = PairChecker(
        tokenizer,
        prepend_bos,
        max_length,
        vocabulary,
        answer_tokens,
        several,
        unequal_lengths,
        align_by,
    )
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
        raise UserError(explain_bad(source, len(good) + len(bad), bad, on_bad_pair, drop))
    if not good:
        raise UserError(f"{source} holds no pairs: expected at least one row.")
    others = [name for name in table.columns if name not in {"row", *COLUMNS, MALFORMED}]
    read = [] if answer_tokens == "one" else ANSWER_COLUMNS
    valid = pd.DataFrame(good, columns=[*PAIR_COLUMNS, *read, *others])
    reasons = [{**row, "reason": joined(problems)} for row, problems in bad]
    return valid, pd.DataFrame(reasons, columns=list(DROPPED_COLUMNS))


@dataclass
class PairChecker:
    """The checks of a row in one tokenizer, and the rows seen so far (as `validate_pairs` says)."""

    tokenizer: PreTrainedTokenizerBase
    prepend_bos: bool = True
    max_length: int | None = None
    vocabulary: int | None = None
    answer_tokens: AnswerTokens = "one"
    several: str | None = None
    unequal_lengths: UnequalLengths = "refuse"
    align_by: str = ""
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
        reader = SeveralTokens(self.tokenise, self.decode, self.explain_tokens)
        several = self.answer_tokens != "one" and reader.stand_in(row)
        answers = {}
        for name in () if several else ANSWERS:
            answers[name], wrong = self.check_answers(name, row[name])
            problems += wrong
        for id_ in sorted(set(answers.get("correct", ())) & set(answers.get("incorrect", ()))):
            shared = f"correct and incorrect are both {self.show([id_])}"
            problems.append(Problem("same answer", shared))
        for name, ids in (("clean", clean), ("corrupted", corrupted)):
            problems += self.check_prompt(name, row[name], ids)
        if clean == corrupted:
            same = f"clean and corrupted are the same {len(clean)} tokens"
            problems.append(Problem("no difference", same))
        elif len(clean) != len(corrupted) and self.unequal_lengths == "refuse":
            lengths = f"clean has {len(clean)} tokens, corrupted has {len(corrupted)}"
            if self.align_by:
                lengths += f" (with {self.align_by} such a pair is aligned, best by a column spans)"
            problems.append(Problem("unequal length", lengths))
        problems += self.check_spans(row, clean)
        common: list[int] = []
        read = self.read_once(answers)
        if several and not problems:
            places = reader.of_row(row, {"clean": clean, "corrupted": corrupted})
            if isinstance(places, list):
                problems += places
            else:
                common, read = places.beginning, self.read_several(places)
                problems += self.check_length(max(len(clean), len(corrupted)), places)
        partners: list[int] = []
        if not problems:
            try:
                partners = partners_in_row(row, clean, corrupted, common, self.decode)
            except SpanError as error:
                problems.append(Problem("alignment", str(error)))
        earlier = self.seen.setdefault(key, row["row"])
        if earlier != row["row"]:
            problems.append(Problem("duplicate", f"the same as row {earlier}"))
        if problems:
            return problems
        before = len(self.first)
        return {
            "clean_tokens": _ids(self.first + clean + common),
            "corrupted_tokens": _ids(self.first + corrupted + common),
            **read,
            "length": before + len(clean) + len(common),
            "first_difference": before + first_difference(clean + common, corrupted + common),
            "aligned_with": _ids(
                [*range(before), *(k + before if k >= 0 else k for k in partners)]
            ),
        }

    def read_once(self, answers: dict[str, list[int]]) -> dict[str, Any]:
        """What is read of answers of one token each."""
        found: dict[str, Any] = {f"{name}_tokens": _ids(ids) for name, ids in answers.items()}
        if self.answer_tokens != "one":
            found |= {"answer_beginning": 0, "read_whole": False}
            found |= {f"{name}_rest": _ids([]) for name in ANSWERS}
        return found

    def read_several(self, places: AnswerPlaces) -> dict[str, Any]:
        """What is read of answers of several tokens."""
        whole = self.answer_tokens == "whole"
        return {
            "correct_tokens": _ids([places.correct]),
            "incorrect_tokens": _ids([places.incorrect]),
            "answer_beginning": len(places.beginning),
            "correct_rest": _ids(places.correct_rest if whole else []),
            "incorrect_rest": _ids(places.incorrect_rest if whole else []),
            "read_whole": whole,
        }

    def check_length(self, prompt: int, places: AnswerPlaces) -> list[Problem]:
        """Of a prompt of so many tokens with all of an answer's behind it but the last one read."""
        rest = max(len(places.correct_rest), len(places.incorrect_rest))
        read = len(places.beginning) + (rest if self.answer_tokens == "whole" else 0)
        length = len(self.first) + prompt + read
        if self.max_length is None or length <= self.max_length:
            return []
        reason = (
            f"the prompts with their answers, up to the last token read, have {length} tokens, the"
            f" model's context holds {self.max_length}"
        )
        return [Problem("too long", reason)]

    def explain_tokens(self, name: str, ids: list[int]) -> Problem | None:
        """What is wrong with these tokens of a text, if anything is."""
        special = [id_ for id_ in ids if id_ in self.special]
        if special:
            return Problem(
                "special token", f"{name} holds the special token {self.show(special[:1])}"
            )
        beyond = self.beyond(ids)
        return self.explain_beyond(name, beyond[0]) if beyond else None

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
                problems.append(self.explain_answer(name, text, tokens, len(texts) == 1))
            elif tokens[0] in self.special:
                held = f"{name} {quoted(text)} is a special token"
                problems.append(Problem("special token", held))
            elif self.beyond(tokens):
                problems.append(self.explain_beyond(f"{name} {quoted(text)}", tokens[0]))
            elif tokens[0] in ids:
                problems.append(Problem("same answer", f"{name} names {quoted(text)} twice"))
            else:
                ids.append(tokens[0])
        return ids, problems

    def check_spans(self, row: dict[str, Any], clean: list[int]) -> list[Problem]:
        cell = row.get(SPANS)
        if not isinstance(cell, str) or not cell.strip():
            return []
        try:
            span_tokens(cell, row["clean"], clean, self.decode)
        except SpanError as error:
            return [Problem("spans", str(error))]
        return []

    def explain_answer(self, name: str, text: str, tokens: list[int], alone: bool) -> Problem:
        reason = f"{name} {quoted(text)} is {len(tokens)} tokens"
        if tokens:
            reason += f" ({', '.join(self.show([id_]) for id_ in tokens[:8])})"
        reason += ", expected one"
        few, many = "a leading space is likely missing", "a space is likely too many"
        for other, hint in (
            (f" {text.strip()}", many if text[:1].isspace() else few),
            (text.strip(), many),
        ):
            if other and other != text and len(self.tokenise([other])[0]) == 1:
                return Problem("answer tokens", f"{reason}; {quoted(other)} is one: {hint}")
        if self.several and alone and len(tokens) > 1:
            reason += f"; {self.several} takes several"
        return Problem("answer tokens", reason)

    def show(self, ids: list[int]) -> str:
        return quoted(self.decode(ids))

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def _ids(ids: list[int]) -> np.ndarray:
    return np.array(ids, dtype=np.int32)


def _around(found: str, expected: str) -> str:
    """Show `found` where it parts from `expected`."""
    parts = (a != b for a, b in zip(found, expected, strict=False))
    same = next((place for place, parted in enumerate(parts) if parted), len(expected))
    piece = slice(max(0, same - 10), same + 20)
    return f"{quoted(found[piece])} where {quoted(expected[piece])} was written"
