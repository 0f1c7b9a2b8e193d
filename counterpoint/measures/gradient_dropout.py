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
from counterpoint.measures.suffix_gradients import first_order_scores

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
    pair = torch.arange(n_pairs, device=model.device).repeat_interleave(model.n_layers)
    dropped = torch.arange(model.n_layers, device=model.device).repeat(n_pairs)

    def scored(rows: slice) -> Tensor:
        with dropped_gradients(engine, dropped[rows]):
            _, score = first_order_scores(engine, direction, pair[rows])
        return score.abs()

    found = engine.in_batches(len(pair), scored, differentiate=True, advance=advance)
    by_layer = found.view(n_pairs, model.n_layers, model.n_layers, model.n_heads)
    total = by_layer.sum(1) / (model.n_layers - 1)
    return total.transpose(0, 1).double().cpu().numpy()


@contextmanager
def dropped_gradients(engine: SuffixEngine, dropped: Int[Tensor, " row"]) -> Iterator[None]:
    """Let no gradient pass through what the block ``dropped`` of each row adds to the stream.

    The values stay as they are; the gradient goes on through the residual connection alone.
    """
    given: dict[int, Tensor] = {}

    def before(layer: int) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            given[layer], _ = hidden_states_of(args, kwargs)

        return hook

    def after(layer: int) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            value, stream = first_of(output), given.pop(layer)
            is_dropped = (dropped == layer).view(-1, 1, 1)
            # 0 in value; in gradient the way around the block instead of the way through it.
            detour = (stream - stream.detach()) - (value - value.detach())
            return with_first(output, value + torch.where(is_dropped, detour, 0.0))

        return hook

    with ExitStack() as hooks:
        for layer, block in enumerate(engine.model.blocks):
            hooks.callback(
                block.register_forward_pre_hook(before(layer), with_kwargs=True).remove
            )
            hooks.callback(block.register_forward_hook(after(layer)).remove)
        yield
