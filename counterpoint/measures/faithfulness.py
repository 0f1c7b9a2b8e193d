"""Faithfulness of a score: what patching its first k heads together recovers of the metric.

The first k heads by the size of a score get the other prompt's values, all at once, in the
background run; everything else is computed anew. *Recovered* is the change of the metric so made
over the whole change between the two runs: 0 for nothing, 1 for all of it, and outside where heads
overshoot. A score that is faithful recovers much with few heads (the same question as of circuits:
Wang et al. 2022, "Interpretability in the Wild"; Hanna, Pezzelle & Belinkov 2024, "Have Faith in
Faithfulness"). `tables.faithfulness_table` is the table of what each score recovers, and
`statistics.score_faithfulness` makes of it how faithful a score is, over pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.head_outputs import packed
from counterpoint.engine.replay import by_row, first_of, last_of
from counterpoint.engine.suffix import SuffixEngine

Array = np.ndarray

FIRST_HEADS = (1, 2, 3, 5, 8, 13, 21, 34)
"""The numbers k of heads that are patched together."""


@torch.no_grad()
def patch_heads_together(
    engine: SuffixEngine,
    direction: Direction,
    pair: Int[Tensor, " row"],
    chosen: Bool[Tensor, "row layer head"],
) -> Float[Tensor, " row"]:
    """The metric of background runs where the ``chosen`` heads have the other prompt's values."""
    first, *rest = (sign * _of_one(part, direction, pair, chosen) for part, sign in engine.parts)
    return sum(rest, start=first)


def _of_one(
    engine: SuffixEngine,
    direction: Direction,
    pair: Int[Tensor, " row"],
    chosen: Bool[Tensor, "row layer head"],
) -> Float[Tensor, " row"]:
    """The same of an engine that reads one position."""
    model, activations = engine.model, engine.activations
    background, other = background_prompt(direction), activations.run(other_prompt(direction))
    tokens = activations.tokens(background)

    def patched(rows: slice) -> Tensor:
        of_row, taken = pair[rows], chosen[rows]
        final: list[Tensor] = []

        def replace(layer: int) -> Any:
            def hook(module: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                z = by_row(args[0], len(of_row))
                width = z.shape[-1] // model.n_heads
                mask = taken[:, layer].repeat_interleave(width, 1).unsqueeze(1)
                new = torch.where(mask, packed(model, layer, other.z[layer, of_row]), z)
                return (new.view_as(args[0]), *args[1:])

            return hook

        with ExitStack() as hooks:
            for layer in taken.any(2).any(0).nonzero().flatten().tolist():
                projection = model.output_projection(layer)
                hooks.callback(projection.register_forward_pre_hook(replace(layer)).remove)
            hooks.callback(
                model.blocks[-1]
                .register_forward_hook(
                    lambda m, args, out: final.append(last_of(model, first_of(out)))
                )
                .remove
            )
            engine.run_suffix(tokens[of_row], of_row)
        return engine.metric(engine.logits(final[0], engine.metric.vocabulary), of_row)

    return engine.in_batches(len(pair), patched)


def recovered(
    engine: SuffixEngine,
    direction: Direction,
    scores: Mapping[str, Float[Array, "layer pair head"]],
    first_heads: Sequence[int] = FIRST_HEADS,
) -> Float[Array, "score pair k"]:
    """The share of the metric's change recovered by the first k heads by |score|, for each pair.

    A head without a score (NaN: its layer has no heads) is never taken. Scores are in the order of
    the mapping, k in that of ``first_heads``; a k above the number of heads takes all. Not a number
    where the two runs have the same metric.
    """
    model, n_pairs = engine.model, len(engine.activations.pairs)
    n_heads = model.n_layers * model.n_heads
    masks = []
    for score in scores.values():
        size = np.abs(score).transpose(1, 0, 2).reshape(n_pairs, n_heads)
        place = np.argsort(np.argsort(-size, axis=1, kind="stable"), axis=1)
        place[np.isnan(size)] = n_heads
        masks.append(np.stack([place < k for k in first_heads], axis=1))
    chosen = torch.as_tensor(np.stack(masks), device=model.device)
    pair = torch.arange(n_pairs, device=model.device).view(1, -1, 1).expand(chosen.shape[:3])
    metric = patch_heads_together(
        engine,
        direction,
        pair.reshape(-1),
        chosen.reshape(-1, model.n_layers, model.n_heads),
    )
    start, end = (
        engine.unpatched(side(direction)).double().cpu().numpy()
        for side in (background_prompt, other_prompt)
    )
    change = metric.double().cpu().numpy().reshape(chosen.shape[:3]) - start[:, None]
    whole = (end - start)[:, None]
    return np.divide(change, whole, out=np.full_like(change, np.nan), where=whole != 0)
