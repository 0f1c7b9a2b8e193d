"""Attention patterns: how much of each position's value each head takes, at every position.

A pattern is what multiplies the values (`engine.attention_parts`): the weights after the softmax,
with whatever mask, cap or sink the model has. A row sums to 1, or to less where a sink takes a
share. Prompts are run whole, so that the positions of the common prefix are there, too.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.engine.attention_parts import intercepted_attention, weights_of_values
from counterpoint.engine.library_errors import library_errors
from counterpoint.engine.rounding import COARSEST_CHECK, computed_eps
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel

PATTERN_TOLERANCE = 100.0
"""How far a pattern times the values may be from what the attention gives, relative to its largest
value, in units of the computed format's epsilon. SmolLM2 leaves 3 in float32."""


@torch.no_grad()
def attention_patterns(
    model: LanguageModel, tokens: Int[Tensor, "row length"]
) -> Float[Tensor, "row layer head query key"]:
    """The pattern of every head on whole prompts; not a number in layers without heads.

    Raises UserError, with the reason, where a layer computes its attention in code of its own, or
    no pattern times the values is what its attention gives.
    """
    rows, length = tokens.shape
    layer_of = {part: layer for layer in model.head_layers for part in _modules(model, layer)}
    with library_errors(model, "looking at the format it computes in"):
        allowed = min(PATTERN_TOLERANCE * computed_eps(model), COARSEST_CHECK)
    found = torch.full((rows, model.n_layers, model.n_heads, length, length), torch.nan)

    def intercept(
        function: Any,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *rest: Any,
        **named: Any,
    ) -> Any:
        output = function(module, query, key, value, *rest, **named)
        layer = layer_of.get(module)
        if layer is None:
            return output
        if not found[:, layer].isnan().all() or query.shape[:3] != (rows, model.n_heads, length):
            raise _refusal(model, f"layer {layer} computes its attention in several steps")
        pattern = weights_of_values(
            lambda *parts: function(module, *parts, *rest, **named), query, key, value
        )
        group = torch.arange(model.n_heads, device=value.device) * value.shape[1] // model.n_heads
        given = output[0].transpose(1, 2)
        size = given.abs().amax().clamp_min(torch.finfo(given.dtype).tiny)
        missed = (pattern @ value[:, group] - given).abs().amax() / size
        if not missed <= allowed:
            raise _refusal(
                model,
                f"layer {layer}'s pattern times its values differs from what its attention gives by"
                f" {float(missed):.1e} of its size (at most {allowed:.0e} is allowed)",
            )
        found[:, layer] = pattern.to(found)
        return output

    with library_errors(model, "running a prompt"), intercepted_attention(model.hf, intercept):
        model.hf(input_ids=tokens.to(model.device), use_cache=False, logits_to_keep=1)
    unseen = [layer for layer in model.head_layers if found[:, layer].isnan().all()]
    if unseen:
        raise _refusal(model, f"layer {unseen[0]} computes its attention in code of its own")
    return found


def _modules(model: LanguageModel, layer: int) -> list[nn.Module]:
    return list(model.attention(layer).modules())


def _refusal(model: LanguageModel, reason: str) -> UserError:
    return UserError(
        f"model architecture {type(model.hf).__name__}: what its heads attend to cannot be seen:"
        f" {reason}. Set `pairs: none` under `patterns:`, or choose another model."
    )
