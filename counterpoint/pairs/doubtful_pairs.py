"""Pairs that pass every check and were probably meant otherwise: `warnings.csv`.

Nothing here stops a study. Each doubt is one row of a table, with the number of its row in the file
of pairs, its kind and what was seen, so that it can be counted, told on the terminal and shown in
the report. Two looks are taken: at the texts, as soon as there are tokens (`doubtful_texts`), and
at the model's own answers, as soon as both prompts were run (`doubtful_answers`).

A table of doubts has the columns `COLUMNS`; `rows` is the number of pairs that were looked at.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from counterpoint.pairs.pair_files import ANSWERS, PROMPTS, parse_answers
from counterpoint.pairs.quoting import ranges

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS = ("row", "pair", "kind", "text", "rows")
"""The columns of warnings.csv: what was seen on one pair, and of how many pairs."""

JOINED, SPACED, MIXED = "joined", "trailing space", "mixed spaces"
WRONG, NOT_LOWER, NOT_RARER = "wrong answer", "no fall", "no less probable"

KINDS = {
    JOINED: "an answer would join the prompt's last word. Answers that are words of their own "
    'begin with a space: " John".',
    SPACED: "a prompt ends in a space that the answer's own token begins with. Leave it out of the "
    "prompt.",
    MIXED: "some answers of the pair begin with a space and others do not, so that they are not "
    "alternatives in one place.",
    WRONG: "the model prefers the incorrect answer on the clean prompt (logit difference at most "
    "0), so what is measured is not how it solves the task.",
    NOT_LOWER: "the logit difference on the corrupted prompt is not below that on the clean one, "
    "so the prompts do not turn the answer as meant, and what is said of signs need not hold.",
    NOT_RARER: "the correct answer is no less probable on the corrupted prompt than on the clean "
    "one, so what is said of the signs of its log-probability need not hold.",
}
"""What each kind says, after the count of its rows."""

MANY = 0.5
"""Wrong answers are warned of from this share of the pairs on: any task has some."""

SHOWN_ROWS = 20
"""Rows that a line on the terminal names."""

_UNSPACED = (
    "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR",
    "TIBETAN", "JAVANESE", "BALINESE", "YI ",
)  # fmt: skip
"""Scripts in which words, or their endings, follow each other without a space."""


def doubtful_texts(pairs: pd.DataFrame, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """The doubts about the texts of validated pairs, by row: every answer, side and prompt.

    `pairs` is the first result of `counterpoint.pairs.pair_checks.validate_pairs`.
    """
    doubts = [
        (row["row"], row["pair"], kind, text)
        for row in cast("list[dict[str, Any]]", pairs.to_dict("records"))
        for kind, text in _of_row(row, tokenizer)
    ]
    return _table(doubts, len(pairs))


def doubtful_answers(
    baseline: pd.DataFrame, rows: Sequence[int] | None = None, metric: str = "logit_difference"
) -> pd.DataFrame:
    """The doubts about how the model answers, from the table `baseline` (one row per pair).

    `rows` are the pairs' rows in their file, in the order of the pairs' numbers; without them a
    pair's row is left unsaid (-1). The logit difference decides whatever the study's ``metric`` is;
    a log-probability is looked at, too, since it may rise where the logit difference falls.
    Wrong answers count only from the share `MANY` of the pairs on.
    """
    clean, corrupted = (_difference(baseline, prompt) for prompt in PROMPTS)
    if clean is None or corrupted is None:
        return _table([], len(baseline))
    wrong = clean <= 0
    if wrong.mean() < MANY:
        wrong[:] = False
    doubts = []
    for place, pair in enumerate(baseline["pair"].astype(int)):
        row = -1 if rows is None else int(rows[pair])
        if wrong.iloc[place]:
            doubts.append((row, pair, WRONG, f"logit difference {clean.iloc[place]:.4g}"))
        if corrupted.iloc[place] >= clean.iloc[place]:
            text = f"clean {clean.iloc[place]:.4g}, corrupted {corrupted.iloc[place]:.4g}"
            doubts.append((row, pair, NOT_LOWER, text))
        if metric == "log_probability":
            own = baseline[[f"metric_{prompt}" for prompt in PROMPTS]].iloc[place]
            if own.iloc[1] >= own.iloc[0]:
                text = f"log-probability {own.iloc[0]:.4g}, on the corrupted one {own.iloc[1]:.4g}"
                doubts.append((row, pair, NOT_RARER, text))
    return _table(doubts, len(baseline))


def lines(doubts: pd.DataFrame, source: str) -> list[str]:
    """One sentence per kind: how many pairs of how many of `source`, the first rows, what, why."""
    return [
        f"{source}: {counted(rows)}: {said} First: {rows['text'].iloc[0]}."
        for said, rows in by_kind(doubts)
    ]


def by_kind(doubts: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The doubts of each kind that there is, with what it says, in the order of `KINDS`."""
    for kind, said in KINDS.items():
        rows = doubts[doubts["kind"] == kind]
        if len(rows):
            yield said, rows


def counted(doubts: pd.DataFrame) -> str:
    """How many pairs of how many, and the first `SHOWN_ROWS` of their rows: "2 of 3 pairs, ..."."""
    known = bool((doubts["row"] > 0).all())
    numbers = sorted({int(number) for number in doubts["row" if known else "pair"]})
    more = len(numbers) - SHOWN_ROWS
    shown = ranges(numbers) if more <= 0 else f"{ranges(numbers[:SHOWN_ROWS])} and {more} more"
    name = "row" if known else "pair number"
    of = int(doubts["rows"].iloc[0])
    return (
        f"{len(numbers)} of {of} {'pair' if of == 1 else 'pairs'}, "
        f"{name}{'' if len(numbers) == 1 else 's'} {shown}"
    )


def _table(doubts: Iterable[tuple[int, int, str, str]], rows: int) -> pd.DataFrame:
    table = pd.DataFrame(list(doubts), columns=list(COLUMNS[:-1]))
    table["rows"] = rows
    return table.astype({"row": int, "pair": int, "rows": int})[list(COLUMNS)]


def _of_row(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[str, str]]:
    """The doubts about one pair; one of each kind and prompt is enough."""
    answers = [
        (side, text, int(token))
        for side in ANSWERS
        for text, token in zip(parse_answers(row[side]), row[f"{side}_tokens"], strict=True)
    ]
    joined = False
    for prompt in PROMPTS:
        text = row[prompt]
        found = [
            f"{side} {answer!r}"
            for side, answer, token in answers
            if _joins(text, answer, [*row[f"{prompt}_tokens"], token], tokenizer)
        ]
        if found:
            joined = True
            yield JOINED, f"{prompt} … {text[-20:]!r} then {', '.join(found)}"
        found = [
            f"{side} {answer!r}"
            for side, answer, _ in answers
            if text[-1] == " " and _takes_space(answer, tokenizer)
        ]
        if found:
            yield SPACED, f"{prompt} … {text[-20:]!r} then {', '.join(found)}"
    spaced = {answer[0].isspace() for _, answer, _ in answers if answer.lstrip()[:1].isalnum()}
    if len(spaced) == 2 and not joined:
        yield MIXED, ", ".join(f"{side} {answer!r}" for side, answer, _ in answers)


def _joins(
    prompt: str, answer: str, tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> bool:
    """Whether the answer's letters would go on with the word in which the prompt ends.

    ``tokens`` are the prompt's and the answer's, of a long one the first at least.
    """
    if not (spaced_letter(prompt[-1]) and spaced_letter(answer[0])):
        return False
    # Some tokenizers put the space themselves, so what counts is what the tokens read.
    read = tokenizer.decode([int(token) for token in tokens], clean_up_tokenization_spaces=False)
    return any(str(read).endswith(prompt + answer[:end]) for end in range(1, len(answer) + 1))


def _takes_space(answer: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether an answer has its own space, or is one token with it too (digits often are not)."""
    if answer[0].isspace():
        return True
    spaced = tokenizer([f" {answer}"], add_special_tokens=False)["input_ids"][0]
    return len(spaced) == 1


def spaced_letter(character: str) -> bool:
    """Whether it is a letter of a script that puts spaces between words."""
    return character.isalpha() and not unicodedata.name(character, "").startswith(_UNSPACED)


def _difference(baseline: pd.DataFrame, prompt: str) -> pd.Series | None:
    """The logit difference of each pair on a prompt, where the table has it."""
    name = f"logit_difference_{prompt}"
    return baseline[name].astype(float) if name in baseline else None
