"""Whole answers by whole passes with plain hooks: what the engine's sum over readings must equal.

Each answer is put behind both prompts, and one pass of all of it gives the log-probability of every
one of its tokens. What is patched is patched in that pass, at all its positions. The other helpers
that patch by whole passes read one logit for each answer: here they are made to read that sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd
import pytest
import torch
from torch import Tensor

from counterpoint.engine.activations import Prompt, TokenPairs
from counterpoint.models.load import LanguageModel
from tests.helpers import role_passes, whole_passes
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import VOCABULARY

Key = TypeVar("Key")


@dataclass(frozen=True)
class Answered:
    """Pairs whose prompts end where the answers begin, and both answers [pair, token]."""

    pairs: TokenPairs
    correct: Tensor
    incorrect: Tensor

    def behind(self, answer: Tensor) -> TokenPairs:
        """The prompts with all tokens of an answer but the last; what is read is column 0."""
        rows = len(self.pairs)
        prompts = (
            torch.cat([prompt, answer[:, :-1]], dim=1)
            for prompt in (self.pairs.clean, self.pairs.corrupted)
        )
        return TokenPairs(*prompts, ((0,),) * rows, ((1,),) * rows, self.pairs.number)

    def answers(self, metric: str) -> list[tuple[float, Tensor]]:
        """The answers that a metric is made of, with their signs."""
        both = [(1.0, self.correct), (-1.0, self.incorrect)]
        return both if metric == "logit_difference" else both[:1]

    def table(self, beginning: int) -> pd.DataFrame:
        """Rows as in `pairs.parquet` of a study of whole answers."""
        rows = []
        for place, number in enumerate(self.pairs.number):
            correct, incorrect = self.correct[place].tolist(), self.incorrect[place].tolist()
            rows.append(
                {
                    "pair": number,
                    "clean_tokens": self.pairs.clean[place].tolist() + correct[:beginning],
                    "corrupted_tokens": self.pairs.corrupted[place].tolist() + correct[:beginning],
                    "correct_tokens": [correct[beginning]],
                    "incorrect_tokens": [incorrect[beginning]],
                    "length": self.pairs.length + beginning,
                    "first_difference": self.pairs.first_difference,
                    "answer_beginning": beginning,
                    "correct_rest": correct[beginning + 1 :],
                    "incorrect_rest": incorrect[beginning + 1 :],
                    "read_whole": True,
                }
            )
        return pd.DataFrame(rows)


def random_answers(
    seed: int, *, beginning: int = 1, correct: int = 3, incorrect: int = 4, **shape: int
) -> Answered:
    """Random pairs with answers of these numbers of tokens, the first ``beginning`` in common."""
    pairs = random_pairs(seed, **shape)
    generator = torch.Generator().manual_seed(seed + 1)
    shape_of = len(pairs), max(correct, incorrect)
    answers = [torch.randint(5, VOCABULARY, shape_of, generator=generator) for _ in range(2)]
    first, second = answers[0][:, :correct], answers[1][:, :incorrect].clone()
    second[:, :beginning] = first[:, :beginning]
    second[:, beginning] = (first[:, beginning] - 5 + 9) % (VOCABULARY - 5) + 5
    return Answered(pairs, first, second)


@contextmanager
def reading_whole(answer: Tensor) -> Iterator[None]:
    """Let helpers of whole passes read, for each row's pair, log p of its whole answer."""

    def logits(model: LanguageModel, tokens: Tensor) -> Tensor:
        output: Tensor = model.hf(input_ids=tokens, use_cache=False).logits
        return read(output, answer)

    with pytest.MonkeyPatch.context() as patch:
        for module in (whole_passes, role_passes):
            patch.setattr(module, "logits", logits)
        yield


def read(logits: Tensor, answer: Tensor) -> Tensor:
    """Column 0 is log p of the answer, whose last token is read at the last position."""
    every = logits[:, -answer.shape[1] :].log_softmax(-1)
    found = every.gather(2, answer.unsqueeze(2)).sum((1, 2))
    return torch.stack([found, torch.zeros_like(found)], dim=1)


@torch.no_grad()
def unpatched(model: LanguageModel, answered: Answered, prompt: Prompt, metric: str) -> Tensor:
    """The metric of every pair's own run."""
    total = torch.zeros(len(answered.pairs), dtype=model.dtype)
    for sign, answer in answered.answers(metric):
        tokens = getattr(answered.behind(answer), prompt)
        output = model.hf(input_ids=tokens, use_cache=False).logits
        total = total + sign * read(output, answer)[:, 0]
    return total


def added_up(
    answered: Answered,
    metric: str,
    effects: Callable[[TokenPairs], Mapping[Key, Any]],
) -> dict[Key, Any]:
    """Effects by whole passes of the prompts with each answer, added up with the answers' signs."""
    total: dict[Key, Any] = {}
    for sign, answer in answered.answers(metric):
        with reading_whole(answer):
            for place, effect in effects(answered.behind(answer)).items():
                total[place] = total.get(place, 0.0) + sign * effect
    return total
