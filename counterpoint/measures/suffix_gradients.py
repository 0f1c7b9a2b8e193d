"""First-order scores of all heads at once, from one way back through the whole suffix.

The model runs the suffix of the background as it is, or as a caller has changed it inside the block
(`input_path_gradients` its embeddings, `relevance` its way back; `gradient_dropout` takes ways back
of its own). A head's
score is what the gradient with respect to the values z of its layer says of its own change:
⟨∂m/∂z, z_other − z_background⟩ over all positions and the head's own dimensions. The attention's
output is linear in z, so that this is the same as the gradient with respect to the head's output
times the change of that output. Without a change of the way back it is AtP.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.head_outputs import packed
from counterpoint.engine.replay import by_row, first_of, last_of
from counterpoint.engine.suffix import SuffixEngine


@dataclass(frozen=True, eq=False)
class SuffixRun:
    """A run of the background of some pairs that can be differentiated, in one batch."""

    metric: Float[Tensor, " row"]
    final: Float[Tensor, "row d_model"]
    """The last block's output at the last position, of which any answer's logit is made."""
    shifts: dict[int, Tensor]
    """Zeros that were added to the values z of each layer that has heads."""


def suffix_run(engine: SuffixEngine, direction: Direction, pair: Int[Tensor, " row"]) -> SuffixRun:
    """Run the background's tokens of each row's ``pair``. Gradients must be enabled."""
    model, own = engine.model, background_prompt(direction)
    shifts: dict[int, Tensor] = {}
    final: list[Tensor] = []

    def shifted(layer: int) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            # A leaf of zeros, since some blocks change in place what their parts have returned.
            shifts[layer] = torch.zeros_like(args[0]).requires_grad_()
            return (args[0] + shifts[layer], *args[1:])

        return hook

    with ExitStack() as hooks:
        for layer in model.head_layers:
            projection = model.output_projection(layer)
            hooks.callback(projection.register_forward_pre_hook(shifted(layer)).remove)
        hooks.callback(
            model.blocks[-1]
            .register_forward_hook(lambda m, args, out: final.append(last_of(model, first_of(out))))
            .remove
        )
        engine.run_suffix(engine.activations.tokens(own)[pair], pair)
    metric = engine.metric(engine.logits(final[0], engine.metric.vocabulary), pair)
    return SuffixRun(metric, final[0], shifts)


def scores_of(
    engine: SuffixEngine,
    direction: Direction,
    pair: Int[Tensor, " row"],
    gradients: Mapping[int, Tensor],
) -> Float[Tensor, "row layer head"]:
    """The change of every head times the gradient with respect to its layer's values.

    Not a number in layers without a gradient.
    """
    model, rows = engine.model, len(pair)
    background, other = (
        engine.activations.run(side(direction)) for side in (background_prompt, other_prompt)
    )
    dtype = torch.promote_types(model.dtype, torch.float32)
    score = torch.full(
        (rows, model.n_layers, model.n_heads), torch.nan, dtype=dtype, device=model.device
    )
    for layer, gradient in gradients.items():
        change = packed(model, layer, other.z[layer, pair] - background.z[layer, pair])
        terms = by_row(gradient, rows).to(dtype) * change.to(dtype)
        score[:, layer] = terms.unflatten(-1, (model.n_heads, -1)).sum((1, 3))
    return score


def first_order_scores(
    engine: SuffixEngine, direction: Direction, pair: Int[Tensor, " row"]
) -> tuple[Float[Tensor, " row"], Float[Tensor, "row layer head"]]:
    """The metric of each row and the score of every head there, in one batch.

    Not a number in layers without heads.
    """
    with torch.enable_grad():
        run = suffix_run(engine, direction, pair)
        gradients = torch.autograd.grad(run.metric.sum(), list(run.shifts.values()))
    by_layer = dict(zip(run.shifts, gradients, strict=True))
    return run.metric.detach(), scores_of(engine, direction, pair, by_layer)
