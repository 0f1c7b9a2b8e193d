"""Whether a pair is text that a reader would accept, and no short cut.

Everything is read from plain runs of the model, one prompt at a time and without a cache, and from
the tokens themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from counterpoint.counterfactuals.language.perplexity import plain_logits, prompt_losses
from counterpoint.models.load import LanguageModel


def readability(
    model: LanguageModel,
    clean: list[int],
    corrupted: list[int],
    answers: tuple[int, int],
    logits: Mapping[str, Float[Tensor, "position vocabulary"]] | None = None,
) -> dict[str, object]:
    """Perplexity, surprise, repetition and flags of one pair, by their columns.

    ``logits`` are `perplexity.plain_logits` of both prompts, where they are known already.

    ``surprise`` is the largest loss of one token in either prompt, in nats, ``surprising_token``
    that token; ``repetition`` the larger share, of the two prompts, of token pairs that stood
    there before.
    """
    prompts = {"clean": clean, "corrupted": corrupted}
    if logits is None:
        logits = {name: plain_logits(model, tokens) for name, tokens in prompts.items()}
    losses = {name: prompt_losses(logits[name], tokens) for name, tokens in prompts.items()}
    worst = max(prompts, key=lambda name: float(losses[name].max()))
    place = 1 + int(losses[worst].argmax())
    changed = {
        token
        for one, other in zip(clean, corrupted, strict=True)
        if one != other
        for token in (one, other)
    }
    spoken = [_word(model, answer) for answer in answers]
    likeliest = tuple(int(logits[name][-1].argmax()) for name in prompts)
    return {
        **{
            f"perplexity_{name}_again": math.exp(float(losses[name].double().mean()))
            for name in prompts
        },
        "surprise": float(losses[worst].max()),
        "surprising_token": model.decode([prompts[worst][place]]),
        "repetition": max(repetition(tokens) for tokens in prompts.values()),
        "round_trip": all(
            model.encode(model.decode(tokens)) == tokens for tokens in prompts.values()
        ),
        "answer_in_prompt": _among(model, spoken, {*clean, *corrupted}),
        "answer_changed": _among(model, spoken, changed),
        "special_tokens": _any_special(model, clean, corrupted, answers),
        "punctuation_answer": any(
            not any(letter.isalnum() for letter in model.decode([answer])) for answer in answers
        ),
        "answers_moved": likeliest != answers,
    }


def repetition(tokens: list[int]) -> float:
    """Share of neighbouring pairs of tokens that stood in the prompt before."""
    neighbours = list(pairwise(tokens))
    return 1 - len(set(neighbours)) / len(neighbours) if neighbours else 0.0


def _word(model: LanguageModel, token: int) -> str | int:
    """What all forms of a word share, with or without space or capital; else the token itself."""
    return model.decode([token]).strip().lower() or token


def _among(model: LanguageModel, words: list[str | int], tokens: set[int]) -> bool:
    return not {_word(model, token) for token in tokens}.isdisjoint(words)


def _any_special(
    model: LanguageModel, clean: list[int], corrupted: list[int], answers: tuple[int, int]
) -> bool:
    """Whether a special token stands anywhere but as the beginning of a sequence."""
    begin = 0 if model.beginning_of_sequence is None else 1
    special = set(model.tokenizer.all_special_ids)
    return not special.isdisjoint([*clean[begin:], *corrupted[begin:], *answers])
