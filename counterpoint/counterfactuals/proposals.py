"""What the model itself would write: likely tokens at a position, sampled sentences and tails.

Every row that is run counts as an evaluation once, however many tokens it is extended by: with the
key-value cache each of its positions is run once.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.cache_utils import DynamicCache

from counterpoint.counterfactuals.evaluation import Evaluator

LIKELIEST = 40
"""Sampling draws from this many likeliest tokens."""


class Proposals:
    """Proposals from the model of ``evaluator``, on its ledger; random draws from ``generator``."""

    def __init__(self, evaluator: Evaluator, generator: torch.Generator) -> None:
        self.evaluator, self.generator = evaluator, generator

    @torch.no_grad()
    def log_probabilities(
        self, tokens: Int[Tensor, "row length"]
    ) -> Float[Tensor, "row length token"]:
        """log p of every token that may be written, after each position; −inf for the others."""
        logits = self.evaluator.model.hf(input_ids=tokens, use_cache=False).logits
        self.evaluator.ledger.evaluations += len(tokens)
        return self.writable(logits)

    def writable(self, logits: Float[Tensor, "*row token"]) -> Float[Tensor, "*row token"]:
        return logits.log_softmax(-1).masked_fill(~self.evaluator.vocabulary.allowed, -torch.inf)

    @torch.no_grad()
    def continue_together(
        self, prompts: Int[Tensor, "prompt length"], count: int, steps: int
    ) -> Int[Tensor, "count steps"]:
        """``count`` continuations by ``steps`` tokens that all ``prompts`` find likely.

        Each token is drawn from the normalised geometric mean of the prompts' distributions, cut to
        the `LIKELIEST` tokens: for one prompt these are the model's own samples.
        """
        model, n_prompts = self.evaluator.model, len(prompts)
        rows = prompts.repeat(count, 1)
        cache = DynamicCache()
        tails = []
        for _ in range(steps):
            logits = model.hf(
                input_ids=rows, past_key_values=cache, use_cache=True, logits_to_keep=1
            ).logits[:, -1]
            shared = self.writable(logits).unflatten(0, (count, n_prompts)).mean(1)
            best = shared.topk(min(LIKELIEST, model.d_vocab))
            drawn = self.draw(best.values)
            chosen = best.indices.gather(1, drawn[:, None])
            tails.append(chosen)
            rows = chosen.repeat_interleave(n_prompts, 0)
        self.evaluator.ledger.evaluations += count * n_prompts
        return torch.cat(tails, 1)

    @torch.no_grad()
    def continue_each(
        self, rows: Int[Tensor, "row length"], steps: int
    ) -> Int[Tensor, "row steps"]:
        """Each row's own continuation, drawn from the `LIKELIEST` tokens at every step."""
        cache = DynamicCache()
        tails = []
        for _ in range(steps):
            logits = self.evaluator.model.hf(
                input_ids=rows, past_key_values=cache, use_cache=True, logits_to_keep=1
            ).logits[:, -1]
            best = self.writable(logits).topk(min(LIKELIEST, logits.shape[-1]))
            rows = best.indices.gather(1, self.draw(best.values)[:, None])
            tails.append(rows)
        self.evaluator.ledger.evaluations += len(rows)
        return torch.cat(tails, 1)

    def draw(self, scores: Float[Tensor, "row choice"], count: int = 1) -> Int[Tensor, " row"]:
        """One choice for each row with probability softmax(scores)."""
        noise = torch.rand(scores.shape, generator=self.generator).to(scores)
        gumbel = -(-noise.clamp(1e-12, 1 - 1e-7).log()).log()
        return (scores + gumbel).argmax(-1)

    def number(self, stop: int) -> int:
        """A random number from 0 to stop − 1."""
        return int(torch.randint(stop, (1,), generator=self.generator))

    def chance(self) -> float:
        return float(torch.rand(1, generator=self.generator))


def without(
    scores: Float[Tensor, " token"], banned: Bool[Tensor, " token"] | Tensor
) -> Float[Tensor, " token"]:
    """Scores with the banned tokens at −inf; ``banned`` is a mask or a tensor of ids."""
    scores = scores.clone()
    scores[banned] = -torch.inf
    return scores
