"""First-order scores of all heads at once, from one way back through the whole suffix.

The model runs the suffix of the background as it is, or as a caller has changed it inside the block
(`input_path_gradients` its embeddings, `relevance` and `gradient_dropout` its way back). A head's
score is what the gradient with respect to the values z of its layer says of its own change:
⟨∂m/∂z, z_other − z_background⟩ over all positions and the head's own dimensions. The attention's
output is linear in z, so that this is the same as the gradient with respect to the head's output
times the change of that output. Without a change of the way back it is AtP.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.head_outputs import packed
from counterpoint.engine.replay import by_row, first_of, last_of
from counterpoint.engine.suffix import SuffixEngine


def first_order_scores(
    engine: SuffixEngine, direction: Direction, pair: Int[Tensor, " row"]
) -> tuple[Float[Tensor, " row"], Float[Tensor, "row layer head"]]:
    """The metric of each row and the score of every head there, in one batch.

    A row is a run of the background's tokens of its ``pair``. Not a number in layers without heads.
    """
    model, activations = engine.model, engine.activations
    other, own = activations.run(other_prompt(direction)), background_prompt(direction)
    background, rows = activations.run(own), len(pair)
    shifts: dict[int, Tensor] = {}
    final: list[Tensor] = []

    def shifted(layer: int) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            # A leaf of zeros, since some blocks change in place what their parts have returned.
            shifts[layer] = torch.zeros_like(args[0]).requires_grad_()
            return (args[0] + shifts[layer], *args[1:])

        return hook

    with ExitStack() as hooks, torch.enable_grad():
        for layer in model.head_layers:
            projection = model.output_projection(layer)
            hooks.callback(projection.register_forward_pre_hook(shifted(layer)).remove)
        hooks.callback(
            model.blocks[-1]
            .register_forward_hook(lambda m, args, out: final.append(last_of(model, first_of(out))))
            .remove
        )
        engine.run_suffix(activations.tokens(own)[pair], pair)
        metric = engine.metric(engine.logits(final[0], engine.metric.vocabulary), pair)
        gradients = torch.autograd.grad(metric.sum(), list(shifts.values()))
    dtype = torch.promote_types(model.dtype, torch.float32)
    score = torch.full(
        (rows, model.n_layers, model.n_heads), torch.nan, dtype=dtype, device=model.device
    )
    for layer, gradient in zip(shifts, gradients, strict=True):
        change = packed(model, layer, other.z[layer, pair] - background.z[layer, pair])
        terms = by_row(gradient, rows).to(dtype) * change.to(dtype)
        score[:, layer] = terms.unflatten(-1, (model.n_heads, -1)).sum((1, 3))
    return metric.detach().to(dtype), score
