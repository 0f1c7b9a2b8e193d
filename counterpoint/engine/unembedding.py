"""From the last block's output to logits: the model's own final norm, unembedding and caps."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from counterpoint.engine.replay import (
    BlockArguments,
    Forward,
    as_output,
    replaced_forward,
)
from counterpoint.models.load import LanguageModel

ALIKE = 1e-2
"""How alike logits must be, over their spread, to be the same numbers added in another order, in
any format; those of another token are off by order one."""


def logits(
    model: LanguageModel,
    arguments: Sequence[BlockArguments],
    final: Float[Tensor, "row d_model"],
    vocabulary: Int[Tensor, " token"] | None = None,
) -> Float[Tensor, "row token"]:
    """Logits of ``vocabulary``, by default of every token, from the last block's output.

    ``arguments`` are what each block is given (`replay.block_arguments`). The model's forward pass
    runs with its blocks handing ``final`` through, so whatever it does after them (a projection, a
    scale, soft-capping) is done here too.
    """
    if vocabulary is not None and not _tokens_stand_alone(model, arguments, final):
        return logits(model, arguments, final)[:, vocabulary]
    unembedding = model.hf.get_output_embeddings()
    with contextlib.ExitStack() as replaced:
        for block, own in zip(model.blocks, arguments, strict=True):
            given = as_output(final, own.streams)
            replaced.enter_context(replaced_forward(block, _handing_through(given, own.arity)))
        if vocabulary is not None:
            replaced.enter_context(
                replaced_forward(
                    cast(nn.Module, unembedding), _only_tokens(unembedding, vocabulary)
                )
            )
        tokens = torch.zeros(len(final), 1, dtype=torch.long, device=final.device)
        return model.hf(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[:, -1]


def _tokens_stand_alone(
    model: LanguageModel, arguments: Sequence[BlockArguments], final: Float[Tensor, "row d_model"]
) -> bool:
    """Whether logits of chosen tokens can be had without those of all others.

    Not where the model does something to certain tokens by their place among all (Chameleon
    forbids those of pictures). Seen once, on all tokens in turned order.
    """
    kept = model.__dict__
    if "_tokens_stand_alone" not in kept:
        kept["_tokens_stand_alone"] = True
        with torch.no_grad():
            known = logits(model, arguments, final[:1].detach())
            turned = torch.arange(known.shape[1] - 1, -1, -1, device=known.device)
            found = logits(model, arguments, final[:1].detach(), turned)
        # Forbidden tokens have logits of minus infinity, or nearly.
        said = known[known > torch.finfo(known.dtype).min / 2]
        apart = float(said.amax() - said.amin()) if len(said) else 0.0
        kept["_tokens_stand_alone"] = found.shape == known.shape and torch.allclose(
            found[:, turned], known, rtol=ALIKE, atol=ALIKE * apart, equal_nan=True
        )
    return bool(kept["_tokens_stand_alone"])


def _handing_through(given: Tensor, arity: int) -> Any:
    def make(original: Forward) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            return (given, *(None,) * (arity - 1)) if arity else given

        return forward

    return make


def _only_tokens(unembedding: Any, vocabulary: Tensor) -> Any:
    def make(original: Forward) -> Forward:
        def forward(hidden: Tensor) -> Tensor:
            bias = getattr(unembedding, "bias", None)
            return functional.linear(
                hidden, unembedding.weight[vocabulary], None if bias is None else bias[vocabulary]
            )

        return forward

    return make
