"""GradDrop, the part of AtP* that is defined for the outputs of heads.

AtP misses a head whose direct and indirect effects cancel in the gradient. AtP* (Kramár and others
2024, arXiv 2403.00745) takes, for each layer ℓ in turn, the gradient with everything that layer ℓ
adds to the residual stream held at its background's value, and averages the sizes of the AtP so
made: Σ_ℓ |AtP_ℓ| / (L − 1), with L the number of layers. A head's own layer gives 0, hence L − 1.
The score is a size and has no sign.

AtP*'s other part, the QK fix (attention computed anew where a query or a key changes), is defined
for queries and keys as what is patched, and says nothing of a head's output: for head outputs AtP*
is AtP with GradDrop, and this is its score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.engine.activations import Direction
from counterpoint.engine.replay import first_of, hidden_states_of, with_first
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.suffix_gradients import scores_of, suffix_run

Array = np.ndarray


def gradient_dropout_scores(
    engine: SuffixEngine,
    direction: Direction,
    *,
    advance: Callable[[int], object] | None = None,
) -> Float[Array, "layer pair head"]:
    """AtP* of every head's output. Not a number in layers without heads.

    Raises UserError where a block's addition to the residual stream is not defined, or the model
    has a single layer.
    """
    model, n_pairs = engine.model, len(engine.activations.pairs)
    kind = type(model.hf).__name__
    if engine.activations.clean.residual.shape[-1] == 0:
        raise UserError(
            f"model architecture {kind}: its blocks carry several residual streams, so that what a"
            " layer adds to one is not defined. Leave atp_star out of baselines."
        )
    if model.n_layers < 2:
        raise UserError(
            f"model architecture {kind}: it has a single layer, and GradDrop divides by the number"
            " of layers − 1. Leave atp_star out of baselines."
        )

    def scored(rows: slice) -> Tensor:
        pair = torch.arange(rows.start, rows.stop, device=model.device)
        return _sizes_summed(engine, direction, pair) / (model.n_layers - 1)

    found = engine.in_batches(n_pairs, scored, differentiate=True, advance=advance)
    return found.transpose(0, 1).double().cpu().numpy()


def _sizes_summed(
    engine: SuffixEngine, direction: Direction, pair: Int[Tensor, " row"]
) -> Float[Tensor, "row layer head"]:
    """Σ_ℓ |AtP_ℓ| of every head, from one run.

    The way back is the same as without a dropped layer down to that layer, and passes it by through
    the residual connection: what arrives at its output goes on at its input.
    """
    model = engine.model
    with torch.enable_grad(), _followed_stream(engine) as (inputs, outputs):
        run = suffix_run(engine, direction, pair)
        layers = list(run.shifts)
        found = torch.autograd.grad(
            run.metric.sum(), [*run.shifts.values(), *outputs], retain_graph=True
        )
        plain = scores_of(
            engine, direction, pair, dict(zip(layers, found[: len(layers)], strict=True))
        ).abs()
        # Of heads above a dropped layer nothing changes; those of the layer itself give 0.
        below = torch.arange(model.n_layers, device=model.device).view(1, -1, 1)
        total = plain * below
        for dropped, arriving in enumerate(found[len(layers) :]):
            lower = [layer for layer in layers if layer < dropped]
            if not lower:
                continue
            gradients = torch.autograd.grad(
                inputs[dropped],
                [run.shifts[layer] for layer in lower],
                grad_outputs=arriving,
                retain_graph=True,
            )
            score = scores_of(
                engine, direction, pair, dict(zip(lower, gradients, strict=True))
            ).abs()
            total[:, lower] += score[:, lower]
    return total


@contextmanager
def _followed_stream(engine: SuffixEngine) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """The residual stream before each block, and zeros added to it after each block."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        # The blocks are called once more for the logits (`engine.unembedding`). A copy: blocks may
        # change in place what they are given.
        if len(inputs) == len(engine.model.blocks):
            return
        inputs.append(hidden_states_of(args, kwargs)[0].clone())

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        if len(outputs) == len(engine.model.blocks):
            return output
        value = first_of(output)
        outputs.append(torch.zeros_like(value).requires_grad_())
        return with_first(output, value + outputs[-1])

    with ExitStack() as hooks:
        for block in engine.model.blocks:
            hooks.callback(block.register_forward_pre_hook(before, with_kwargs=True).remove)
            hooks.callback(block.register_forward_hook(after).remove)
        yield inputs, outputs
