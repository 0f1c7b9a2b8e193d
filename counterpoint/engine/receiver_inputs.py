"""What heads and MLPs compute where everything that reads the stream reads one of its own.

In a model all queries, keys and values of a layer, and its MLP, read one residual stream. Here each
head's query, key and value reads a stream that is given for it, and so does an MLP. The norms
before them are the block's own, computed anew on what each reads. Under grouped queries each query
head sees a key and a value of its own, made of what it alone reads.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.linear import through_onednn
from counterpoint.engine.replay import by_row, first_of
from counterpoint.engine.sender_changes import returning
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError


def check_attention_is_whole(attention: AttentionParts) -> None:
    """Raise UserError where something besides queries, keys and values reads the stream."""
    model = attention.engine.model
    for layer in model.head_layers:
        if not attention.is_whole(layer):
            raise UserError(
                f"model architecture {type(model.hf).__name__}: what the heads of layer {layer} say"
                " depends on more than their queries, keys and values (such as a gate that reads"
                " the residual stream as well), so that edges into these three are not all there"
                " are. Set `level: nodes` under `circuit:`, or choose another model."
            )


def z_of_own_streams(
    attention: AttentionParts,
    layer: int,
    streams: Float[Tensor, "stream suffix d_model"],
    pair: Int[Tensor, " stream"],
    reads: Int[Tensor, "row role head"],
) -> Float[Tensor, "row suffix z"]:
    """The values of a layer's heads where every query, key and value reads its own stream.

    ``pair`` is the place in the bucket of each stream's pair, and ``reads`` the stream that each
    head's query, key and value of each row reads. Differentiable with respect to ``streams``.
    """
    parts = attention.of_residual(layer, streams, pair)
    n_heads, group = attention.engine.model.n_heads, parts.group
    head = torch.arange(n_heads, device=streams.device)
    query = parts.query[reads[:, 0], head]
    key = parts.key[reads[:, 1], head // group]
    value = parts.value[reads[:, 2], head // group]
    of_members = []
    for member in range(group):
        # The heads that stand at this place of their groups, one of each group.
        own = slice(member, None, group)
        z = attention.mixed(parts, query=query, key=key[:, own], value=value[:, own])
        of_members.append(z.unflatten(-1, (n_heads, -1))[:, :, own])
    return torch.stack(of_members, dim=3).flatten(2)


def mlp_of_own_stream(
    engine: SuffixEngine,
    layer: int,
    stream: Float[Tensor, "row suffix d_model"],
    attention: Float[Tensor, "row suffix d_model"],
) -> Float[Tensor, "row suffix d_model"]:
    """The output of a layer's MLP where its block is given ``stream``, and its attention returns
    ``attention``. Differentiable with respect to both."""
    model, arguments = engine.model, engine.arguments[layer]
    kept: list[Tensor] = []
    handle = model.mlp(layer).register_forward_hook(
        lambda module, args, output: kept.append(by_row(first_of(output), len(stream)))
    )
    with (
        through_onednn(model.blocks[layer].modules()),
        returning(model.attention(layer), attention, arguments.attention_arity),
    ):
        try:
            arguments.call(model.blocks[layer], stream, None)
        finally:
            handle.remove()
    return kept[0]
