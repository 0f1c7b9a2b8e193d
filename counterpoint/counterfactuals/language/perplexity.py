"""How surprising a prompt is: its loss per predicted token, in nats; perplexity is its exponential.

The first token (the beginning-of-sequence token where there is one) is predicted by nothing and
does not count.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.models.load import LanguageModel

TOKENS_AT_ONCE = 512
"""Tokens of one pass, whose logits over a vocabulary of 50,000 are 100 MB of float32."""


def token_losses(
    logits: Float[Tensor, "row position vocabulary"], tokens: Int[Tensor, "row position"]
) -> Float[Tensor, "row position"]:
    """−log p of each token, from the logits of the position before it."""
    chosen = logits.gather(-1, tokens.unsqueeze(-1))[..., 0].float()
    return logits.float().logsumexp(-1) - chosen


@torch.no_grad()
def plain_logits(model: LanguageModel, tokens: list[int]) -> Float[Tensor, "position vocabulary"]:
    """Logits after each token of a prompt, from one whole pass of batch 1 without a cache."""
    inputs = torch.tensor([tokens], device=model.device)
    return model.hf(input_ids=inputs, use_cache=False).logits[0]


def prompt_losses(
    logits: Float[Tensor, "position vocabulary"], tokens: list[int]
) -> Float[Tensor, " predicted"]:
    """`token_losses` of a whole prompt, from the logits after each of its tokens."""
    following = torch.tensor([tokens[1:]], device=logits.device)
    return token_losses(logits[None, :-1], following)[0]


def mean_loss(model: LanguageModel, tokens: list[int]) -> float:
    """Mean loss per predicted token of a prompt, by a whole pass of its own."""
    return float(prompt_losses(plain_logits(model, tokens), tokens).mean())


@torch.no_grad()
def mean_losses(model: LanguageModel, prompts: Sequence[Sequence[int]]) -> list[float]:
    """`mean_loss` of many prompts, those of one length in passes of `TOKENS_AT_ONCE` together."""
    found = [0.0] * len(prompts)
    for length in sorted(set(map(len, prompts))):
        alike = [place for place, tokens in enumerate(prompts) if len(tokens) == length]
        at_once = max(1, TOKENS_AT_ONCE // length)
        for start in range(0, len(alike), at_once):
            places = alike[start : start + at_once]
            rows = torch.tensor([list(prompts[place]) for place in places], device=model.device)
            logits = model.hf(input_ids=rows, use_cache=False).logits[:, :-1]
            means = token_losses(logits, rows[:, 1:]).mean(1)
            for place, mean in zip(places, means.tolist(), strict=True):
                found[place] = mean
    return found


def mean_over(model: LanguageModel, prompts: Sequence[Sequence[int]]) -> float:
    """The mean of `mean_loss` over prompts: what the caps of fluency are seen from."""
    losses = mean_losses(model, prompts)
    return sum(losses) / len(losses)
