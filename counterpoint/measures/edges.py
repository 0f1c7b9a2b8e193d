"""Edges, exact: what a sender does through one head's query, key or value, or to the logits.

Path patching (Wang et al. 2022, "Interpretability in the Wild", arXiv 2211.00593; Goldowsky-Dill et
al. 2023, arXiv 2304.05969). In the background run the sender's output goes to the other prompt's
value; the change it makes in the residual stream (`engine.sender_changes`) is added to the input of
the receiver's block, for the receiver's query, key or value alone. The norm before the attention is
computed anew; all else of the receiver, and every part between the two, stays as in the background.
The receiver's output changes by Δz W_O, and with this change in place everything downstream is
computed anew: the effect of the edge is the metric of that run less the background's.

Under grouped queries a key or value serves several query heads; here the one head alone sees the
changed one. The *logits* are a receiver too: the sender's change is added to the last block's
output at the last position, and the final norm is computed anew. That is the sender's direct
effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt
from counterpoint.engine.attention_parts import AttentionParts, Parts
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.frozen_norms import FrozenNorms
from counterpoint.engine.head_outputs import head_outputs
from counterpoint.engine.suffix import SuffixEngine

Array = np.ndarray
Role = Literal["query", "key", "value"]
ROLES: tuple[Role, Role, Role] = ("query", "key", "value")
LOGITS = "logits"
"""The role of the logits as a receiver."""
Norms = Literal["recomputed", "frozen"]
NORMS: tuple[Norms, Norms] = ("recomputed", "frozen")


@torch.no_grad()
def edge_effects(
    attention: AttentionParts,
    direction: Direction,
    pair: int,
    layer: int,
    heads: Sequence[int],
    roles: Sequence[Role],
    changes: Float[Tensor, "sender suffix d_model"],
    *,
    frozen: FrozenNorms | None = None,
) -> Float[Array, "head role sender"]:
    """The effect of each sender through each role of each of a layer's ``heads``, on one pair.

    ``pair`` is the place in the bucket, ``changes`` are `sender_changes` of senders below the
    layer. With ``frozen`` the norm before the attention keeps the scale that it has in the
    background.
    """
    engine = attention.engine
    model, prompt = engine.model, background_prompt(direction)
    one = torch.tensor([pair], device=changes.device)
    residual = engine.activations.run(prompt).residual[layer][one]
    background = attention.of_residual(layer, residual, one)

    def metric(chosen: slice) -> Tensor:
        few = changes[chosen]
        of_row = one.expand(len(few))
        with frozen.before_attention(layer, residual) if frozen else nullcontext():
            changed = attention.of_residual(layer, residual + few, of_row)
        held = background[torch.zeros(len(few), dtype=torch.long, device=few.device)]
        found = []
        z = {role: replaced(attention, held, changed, role) - held.z for role in roles}
        for head in heads:
            which = torch.full((len(few),), head, device=few.device)
            for role in roles:
                shift = head_outputs(model, layer, z[role], which)
                rows = Rows(of_row, (layer,) * len(few), shift)
                found.append(engine.evaluate(rows, direction))
        return torch.stack(found, dim=1)

    start = engine.unpatched(prompt)[pair]
    found = engine.in_batches(len(changes), metric) - start
    return found.T.reshape(len(heads), len(roles), len(changes)).double().cpu().numpy()


def replaced(
    attention: AttentionParts, held: Parts, changed: Parts, role: Role
) -> Float[Tensor, "row suffix z"]:
    """z of every head when its ``role`` alone is that of ``changed``."""
    if role == "query":
        return attention.mixed(held, query=changed.query)
    if role == "key":
        return attention.mixed(held, key=changed.key)
    return attention.mixed(held, value=changed.value)


@torch.no_grad()
def direct_effects(
    engine: SuffixEngine,
    direction: Direction,
    pair: int,
    changes: Float[Tensor, "sender suffix d_model"],
    *,
    frozen: FrozenNorms | None = None,
) -> Float[Array, " sender"]:
    """The effect of each sender straight on the logits of one pair, past all blocks above it."""
    prompt = background_prompt(direction)
    final = engine.activations.run(prompt).final[pair : pair + 1]
    of_row = torch.full((len(changes),), pair, device=changes.device)
    with frozen.before_unembedding(final) if frozen else nullcontext():
        logits = engine.logits(final + changes[:, -1], engine.metric.vocabulary)
    found = engine.metric(logits, of_row) - engine.unpatched(prompt)[pair]
    return found.double().cpu().numpy()
