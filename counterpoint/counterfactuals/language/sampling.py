"""Drawing tokens: with Gumbel noise, and sentences from the model's own distribution.

Adding Gumbel noise to log-probabilities and taking the greatest draws a token by its probability;
taking the k greatest draws k without replacement (Kool, van Hoof & Welling 2019).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.cache_utils import DynamicCache

from counterpoint.engine.activation_caching import reuses_prefix
from counterpoint.models.load import LanguageModel

LIKELIEST = 40
"""Sampling draws from this many likeliest tokens."""


def perturbed(
    scores: Float[Tensor, "*choice"], generator: torch.Generator
) -> Float[Tensor, "*choice"]:
    """``scores``, logarithms of weights, with Gumbel noise added."""
    noise = torch.rand(scores.shape, generator=generator).to(scores)
    return scores - (-noise.clamp(1e-12, 1 - 1e-7).log()).log()


@torch.no_grad()
def continuations(
    model: LanguageModel,
    groups: Int[Tensor, "group prompt length"],
    steps: int,
    allowed: Bool[Tensor, " token"],
    generator: torch.Generator,
    logits: list[Float[Tensor, "row position token"]] | None = None,
) -> Int[Tensor, "group steps"]:
    """For each group of prompts one continuation by ``steps`` tokens that all of them find likely.

    Each token is drawn from the normalised geometric mean of the group's distributions over the
    ``allowed`` tokens, cut to the `LIKELIEST`: for groups of one prompt these are the model's own
    samples. With ``logits`` what was drawn last is run too, and the list takes the logits of every
    position, in as many parts as there were passes.
    """
    n_groups, n_prompts, _ = groups.shape
    rows = groups.flatten(0, 1)
    cache = DynamicCache()
    if not reuses_prefix(model, rows.shape[1] + steps):
        # With what the model's own generation would cache: the states of other layers too.
        cache = DynamicCache(config=model.hf.config)
    drawn = [groups[:, 0, :0]]

    def run() -> Float[Tensor, "row position token"]:
        found: Tensor = model.hf(
            input_ids=rows,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1 if logits is None else 0,
        ).logits
        if logits is not None:
            logits.append(found)
        return found

    for _ in range(steps):
        shared = run()[:, -1].log_softmax(-1).masked_fill(~allowed, -torch.inf)
        best = (
            shared.unflatten(0, (n_groups, n_prompts))
            .mean(1)
            .topk(min(LIKELIEST, shared.shape[-1]))
        )
        chosen = perturbed(best.values, generator).argmax(-1)
        drawn.append(best.indices.gather(1, chosen[:, None]))
        rows = drawn[-1].repeat_interleave(n_prompts, 0)
    if logits is not None:
        run()
    return torch.cat(drawn, 1)
