"""Answers of several tokens: which they are behind a prompt, and where two answers first differ.

The setting `answer_tokens` says what becomes of a pair whose answers are not one token each:

- `one`: it cannot be used;
- `first_difference`: the tokens with which both answers begin are put behind both prompts, and the
  first token at which the answers differ is the answer;
- `whole`: all tokens of both answers count, each behind the prompt and the tokens before it.

An answer's tokens are those that the tokenizer gives for the prompt with the answer behind it. They
must be the prompt's own, then the answer's, the same behind both prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from counterpoint.pairs.pair_files import ANSWERS, PROMPTS, parse_answers
from counterpoint.pairs.quoting import Problem, quoted

AnswerTokens = Literal["one", "first_difference", "whole"]
ANSWER_TOKENS: tuple[AnswerTokens, ...] = ("one", "first_difference", "whole")

SETTING = "`answer_tokens: first_difference` or `answer_tokens: whole`"
"""How a study takes pairs whose answers are several tokens."""


class AnswerPlaces(NamedTuple):
    """Two answers taken apart: what both begin with, where they differ first, and what follows."""

    beginning: list[int]
    correct: int
    incorrect: int
    correct_rest: list[int]
    incorrect_rest: list[int]


def taken_apart(correct: Sequence[int], incorrect: Sequence[int]) -> AnswerPlaces | None:
    """Take two answers apart at the first token in which they differ.

    None where they do not: they are equal, or one is the beginning of the other.
    """
    both = enumerate(zip(correct, incorrect, strict=False))
    place = next((place for place, (one, other) in both if one != other), None)
    if place is None:
        return None
    return AnswerPlaces(
        list(correct[:place]),
        correct[place],
        incorrect[place],
        list(correct[place + 1 :]),
        list(incorrect[place + 1 :]),
    )


@dataclass(frozen=True)
class SeveralTokens:
    """What a row's answers of several tokens are in one tokenizer, or what is wrong with them."""

    tokenise: Callable[[list[str]], list[list[int]]]
    decode: Callable[[list[int]], str]
    explain: Callable[[str, list[int]], Problem | None]
    """What is wrong with the tokens of a named text: special ones, or such as the model lacks."""

    def stand_in(self, row: dict[str, Any]) -> bool:
        """Whether an answer of a row is more than one token by itself."""
        texts = [text for name in ANSWERS for text in parse_answers(row[name])]
        return any(len(ids) > 1 for ids in (self.tokenise(texts) if texts else []))

    def of_row(
        self, row: dict[str, Any], prompts: dict[str, list[int]]
    ) -> AnswerPlaces | list[Problem]:
        """The answers of a row behind its ``prompts``, whose tokens are given."""
        problems: list[Problem] = []
        tokens: dict[str, list[int]] = {}
        for name in ANSWERS:
            texts = parse_answers(row[name])
            if len(texts) != 1:
                reason = (
                    f"{name} is a list of {len(texts)} answers, expected one where an answer of the"
                    " pair is several tokens"
                )
                problems.append(Problem("answer tokens", reason))
                continue
            found: list[list[int]] = []
            for prompt in PROMPTS:
                behind = self._behind(name, texts[0], prompt, row[prompt], prompts[prompt])
                if isinstance(behind, Problem):
                    problems.append(behind)
                    break
                found.append(behind)
            if len(found) == len(PROMPTS) and found[0] != found[1]:
                reason = f"{name} {quoted(texts[0])} is other tokens behind clean than corrupted"
                problems.append(Problem("tokenisation", reason))
            tokens[name] = found[0] if found else []
        if problems:
            return problems
        places = taken_apart(tokens["correct"], tokens["incorrect"])
        return places or [Problem("same answer", self._no_difference(tokens))]

    def _behind(
        self, name: str, text: str, prompt: str, before: str, ids: list[int]
    ) -> list[int] | Problem:
        """The tokens of an answer behind a prompt of these tokens, or what is wrong with them."""
        (both,) = self.tokenise([before + text])
        found = both[len(ids) :]
        if not found or both[: len(ids)] != ids or self.decode(both) != before + text:
            reason = (
                f"{name} {quoted(text)} joins the {prompt} prompt: together they are not the"
                " prompt's tokens and then the answer's"
            )
            return Problem("tokenisation", reason)
        return self.explain(f"{name} {quoted(text)}", found) or found

    def _no_difference(self, tokens: dict[str, list[int]]) -> str:
        correct, incorrect = (tokens[name] for name in ANSWERS)
        if correct == incorrect:
            return f"correct and incorrect are the same {len(correct)} tokens"
        short, long = ANSWERS if len(correct) < len(incorrect) else ANSWERS[::-1]
        return (
            f"{short} {quoted(self.decode(tokens[short]))} is the beginning of {long}"
            f" {quoted(self.decode(tokens[long]))}, so that there is no token at which they differ"
        )
