"""Answers of several tokens: the *readings* of which the probability of a whole answer is made.

The log-probability of an answer is the sum, over its tokens, of the log-probability of each behind
the prompt and the answer's tokens before it (teacher forcing). So it is read several times, each
time at the last position of the prompt with a beginning of the answer. The kinds of readings are

- *beginning*: the tokens with which both answers begin, one reading each. In a difference of the
  two answers these cancel.
- *first*: the first tokens at which the answers differ, read at the same position. Their
  log-probabilities differ by as much as their logits do.
- *correct*, *incorrect*: the tokens of one answer behind its first differing one.

Each reading has a pair of prompts of its own, of equal length, that differ where the pair's do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from counterpoint.engine.activations import PROMPTS, Activations, Run, TokenPairs
from counterpoint.errors import UserError

Kind = Literal["beginning", "first", "correct", "incorrect"]

NOT_WHOLE = (
    "This is not measured of whole answers of several tokens. Leave it out, or set answer_tokens to"
    " first_difference, which reads the first token at which the answers differ"
    " (docs/answer-tokens.md)."
)

_USED: Mapping[str, Mapping[Kind, tuple[float, str]]] = {
    "logit_difference": {
        "first": (1.0, "logit_difference"),
        "correct": (1.0, "log_probability"),
        "incorrect": (-1.0, "log_probability"),
    },
    "log_probability": {
        "beginning": (1.0, "log_probability"),
        "first": (1.0, "log_probability"),
        "correct": (1.0, "log_probability"),
    },
}
"""Of each metric the kinds of readings that it is a sum of, their sign, and what is read there."""

WHOLE_METRICS = tuple(_USED)
"""The metrics that are defined for whole answers."""


def reading_pairs(
    pairs: TokenPairs,
    beginning: int,
    correct_rest: Int[Tensor, "pair rest"],
    incorrect_rest: Int[Tensor, "pair rest_"],
) -> list[tuple[Kind, TokenPairs]]:
    """The prompts of every reading, and the token that is read behind each.

    The prompts of ``pairs`` end with the ``beginning`` tokens that both answers have in common, and
    their answers are the first differing tokens; the rests are what follows these.
    """
    found: list[tuple[Kind, TokenPairs]] = []
    for place in range(pairs.length - beginning, pairs.length):
        prompts = pairs.clean[:, :place], pairs.corrupted[:, :place]
        found.append(("beginning", _read(*prompts, pairs.clean[:, place], pairs.number)))
    found.append(("first", pairs))
    kinds: tuple[tuple[Kind, Tensor], ...] = (
        ("correct", correct_rest),
        ("incorrect", incorrect_rest),
    )
    for kind, rest in kinds:
        first = torch.tensor([ids[0] for ids in getattr(pairs, kind)], device=pairs.clean.device)
        answer = torch.cat([first.unsqueeze(1), rest.to(first)], dim=1)
        for count in range(1, answer.shape[1]):
            clean, corrupted = (
                torch.cat([getattr(pairs, prompt), answer[:, :count]], dim=1) for prompt in PROMPTS
            )
            found.append((kind, _read(clean, corrupted, answer[:, count], pairs.number)))
    return found


def _read(
    clean: Tensor, corrupted: Tensor, token: Int[Tensor, " pair"], number: tuple[int, ...]
) -> TokenPairs:
    """Pairs of which one token's log-probability is read, so that it stands on either side."""
    answers = tuple((int(one),) for one in token)
    return TokenPairs(clean, corrupted, answers, answers, number)


@dataclass(frozen=True)
class AnswerReadings:
    """The activations of every reading of one bucket's pairs."""

    readings: tuple[tuple[Kind, Activations], ...]

    @property
    def pairs(self) -> TokenPairs:
        """The pairs as they are read first: up to the first tokens at which answers differ."""
        return next(one.pairs for kind, one in self.readings if kind == "first")

    def used_by(self, metric: str) -> list[tuple[float, str, Activations]]:
        """The readings that ``metric`` is a sum of: sign, what is read, and activations.

        Raises UserError for a metric that is not defined for whole answers.
        """
        if metric not in _USED:
            raise UserError(
                f"metric {metric} is of the predictions at one position and not defined for whole"
                f" answers. Set `metric` to {' or '.join(WHOLE_METRICS)}, or"
                " `answer_tokens: first_difference`."
            )
        used = _USED[metric]
        return [(*used[kind], one) for kind, one in self.readings if kind in used]

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors, the form in which it is stored."""
        return {
            f"{place}.{kind}/{name}": tensor
            for place, (kind, one) in enumerate(self.readings)
            for name, tensor in one.tensors().items()
        }

    @classmethod
    def from_tensors(
        cls, named: Mapping[str, Tensor], device: torch.device | str = "cpu"
    ) -> AnswerReadings:
        """The inverse of `tensors`, on ``device``."""
        by_reading: dict[tuple[int, Kind], dict[str, Tensor]] = {}
        for name, tensor in named.items():
            reading, _, own = name.partition("/")
            place, _, kind = reading.partition(".")
            by_reading.setdefault((int(place), _kind(kind)), {})[own] = tensor
        return cls(
            tuple(
                (kind, Activations.from_tensors(tensors, device))
                for (_, kind), tensors in sorted(by_reading.items())
            )
        )


def _kind(text: str) -> Kind:
    for kind in ("beginning", "first", "correct", "incorrect"):
        if kind == text:
            return kind
    raise ValueError(f"{text!r} is no kind of reading")


@dataclass(frozen=True, eq=False)
class JoinedActivations(Activations):
    """The runs of several readings with their positions side by side, in the order of readings.

    A change of a component is linear at each position by itself, so that differences, shifts and
    their products with gradients are taken over all readings at once. Nothing can be *run* on it.
    """

    @classmethod
    def of(cls, readings: Sequence[Activations], pairs: TokenPairs) -> JoinedActivations:
        clean, corrupted = (
            _side_by_side([one.run(prompt) for one in readings]) for prompt in PROMPTS
        )
        return cls(pairs, None, clean, corrupted)

    @property
    def start(self) -> int:
        raise UserError(NOT_WHOLE)


def _side_by_side(runs: Sequence[Run]) -> Run:
    found = {
        name: torch.cat([getattr(run, name) for run in runs], dim=2)
        for name in vars(runs[0])
        if name != "final"
    }
    # Of several last positions there is no one output: whoever reads one is to fail.
    final = runs[0].final
    return Run(**found, final=final.new_empty(len(final), 0))
