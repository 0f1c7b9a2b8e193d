"""Runs in which every edge outside a circuit carries the other prompt's value of its sender.

Every receiver reads a residual stream of its own: the other run's, and for each edge inside that
goes into it what its sender gives in *this* run less what it gave in the other. The norm before the
receiver is computed anew on that sum. So a head whose query, key and value have no edge inside
computes what it did in the other run, whatever others do.

What a block does to its heads' outputs on the way into the stream is done anew for each receiver.
Where that is a sum (`adds_heads_apart`) a head's share is the same for all; where a norm reads all
heads of the layer together (Gemma 2), each receiver sees the norm of the mixture that its own edges
make. An MLP of a sequential block reads such a mixture, too.

Receivers that read the same are computed once, and those whose sender nobody hears not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.head_outputs import head_outputs
from counterpoint.engine.linear import through_onednn
from counterpoint.engine.receiver_inputs import mlp_of_own_stream, z_of_own_streams
from counterpoint.engine.sender_changes import added_to_stream, adds_heads_apart
from counterpoint.measures.circuit_edges import HEAD_ROLES, Edges

Array = np.ndarray


class HeldEdges:
    """Runs circuits of edges on the pairs of a bucket, in one direction."""

    def __init__(self, attention: AttentionParts, direction: Direction, edges: Edges) -> None:
        self.attention, self.edges = attention, edges
        self.engine = attention.engine
        self.model = self.engine.model
        activations = self.engine.activations
        self.background = activations.run(background_prompt(direction))
        self.other = activations.run(other_prompt(direction))
        layers = range(self.model.n_layers)
        self.normed = [layer for layer in layers if not adds_heads_apart(self.engine, layer)]
        """The layers whose heads a norm reads together."""

    @torch.no_grad()
    def final(
        self, pair: Int[Tensor, " row"], inside: Bool[Array, "row node receiver"]
    ) -> Float[Tensor, "row d_model"]:
        """The last block's output at the last position, as the logits read it."""
        embeddings = self.background.residual[0] - self.other.residual[0]
        wide = torch.promote_types(embeddings.dtype, torch.float32)
        shape = len(pair), len(self.edges.nodes), *embeddings.shape[1:]
        sent = embeddings.new_zeros(shape, dtype=wide)
        sent[:, 0] = embeddings[pair].to(wide)
        state = _Sent(pair, inside, np.any(inside, axis=2), sent)
        with through_onednn(self.model.submodules_of_blocks):
            for layer in range(self.model.n_layers):
                heads = self._run_heads(state, layer)
                self._run_mlp(state, layer, heads)
        every = np.arange(len(pair))
        return self._streams(state, self.model.n_layers, every, inside[:, :, -1])[:, 0]

    def _run_heads(self, state: _Sent, layer: int) -> Tensor | None:
        """Compute what a layer's heads send; return their outputs less those of the other run.

        None where no head both hears and is heard.
        """
        own, readers = self.edges.heads(layer), self.edges.readers(layer)
        masks = state.inside[:, : own.start, readers].swapaxes(1, 2)
        by_role = masks.reshape(len(masks), len(HEAD_ROLES), self.model.n_heads, -1)
        works = state.heard[:, own] & np.any(by_role, axis=(1, 3))
        rows = np.flatnonzero(works.any(1))
        if not len(rows):
            return None
        masks = (by_role[rows] & works[rows][:, None, :, None]).reshape(-1, own.start)
        reader = np.repeat(np.arange(len(rows)), len(HEAD_ROLES) * self.model.n_heads)
        first, reads = _distinct(reader, masks)
        of_row, device = rows[reader[first]], state.pair.device
        streams = self._streams(state, layer, of_row, masks[first])
        z = z_of_own_streams(
            self.attention,
            layer,
            streams,
            state.pair[torch.as_tensor(of_row, device=device)],
            torch.as_tensor(reads, device=device).view(len(rows), len(HEAD_ROLES), -1),
        )
        row, head = (torch.as_tensor(axis, device=device) for axis in np.nonzero(works[rows]))
        chosen = torch.as_tensor(rows, device=device)
        change = z - self.other.z[layer, state.pair[chosen]]
        outputs = head_outputs(self.model, layer, change[row], head)
        found = outputs.new_zeros(len(state.pair), self.model.n_heads, *outputs.shape[1:])
        found[chosen[row], head] = outputs
        shares = outputs
        if layer not in self.normed:
            nothing = torch.zeros_like(outputs)
            shares = self._added(layer, outputs, nothing) - self._added(layer, nothing[:1], None)
        state.sent[chosen[row], own.start + head] = shares.to(state.sent.dtype)
        return found

    def _run_mlp(self, state: _Sent, layer: int, heads: Tensor | None) -> None:
        """Compute what a layer's MLP sends."""
        own, reader = self.edges.heads(layer), self.edges.mlp_reader(layer)
        mask = state.inside[:, : own.stop, reader]
        rows = np.flatnonzero(state.heard[:, own.stop] & mask.any(1))
        if not len(rows):
            return
        chosen = torch.as_tensor(rows, device=state.pair.device)
        pair = state.pair[chosen]
        attention = self.other.attention[layer, pair]
        if heads is not None:
            hears = torch.as_tensor(mask[rows, own], device=pair.device).to(heads.dtype)
            attention = attention + torch.einsum("bh,bhpd->bpd", hears, heads[chosen])
        stream = self._streams(state, layer, rows, mask[rows, : own.start])
        mlp = mlp_of_own_stream(self.engine, layer, stream, attention)
        before = self.other.mlp[layer, pair]
        nothing = torch.zeros_like(mlp)
        change = self._added(layer, nothing, mlp) - self._added(layer, nothing, before)
        state.sent[chosen, own.stop] = change.to(state.sent.dtype)

    def _streams(
        self,
        state: _Sent,
        layer: int,
        row: Int[Array, " stream"],
        masks: Bool[Array, "stream node_below"],
    ) -> Float[Tensor, "stream position d_model"]:
        """The residual stream before a layer as receivers read it that hear those of ``masks``.

        ``row`` is each stream's row, ascending. Above the last layer at the last position alone.
        """
        ends = layer == self.model.n_layers
        at = slice(-1, None) if ends else slice(None)
        pair = state.pair[torch.as_tensor(row, device=state.pair.device)]
        start = self.other.final[pair].unsqueeze(1) if ends else self.other.residual[layer, pair]
        apart = masks.copy()
        normed = [below for below in self.normed if below < layer]
        for below in normed:
            apart[:, self.edges.heads(below)] = False
        found = start + state.summed(row, apart, slice(0, masks.shape[1]), at)
        for below in normed:
            heads = self.edges.heads(below)
            if masks[:, heads].any():
                before = self.other.attention[below, pair][:, at]
                mixture = (before + state.summed(row, masks[:, heads], heads, at)).to(before.dtype)
                found = found + self._added(below, mixture, None) - self._added(below, before, None)
        return found.to(start.dtype)

    def _added(self, layer: int, attention: Tensor, mlp: Tensor | None) -> Tensor:
        nothing = torch.zeros_like(attention) if mlp is None else mlp
        return added_to_stream(self.engine, layer, attention, nothing)


@dataclass
class _Sent:
    """What the senders of some rows have sent so far."""

    pair: Int[Tensor, " row"]
    inside: Bool[Array, "row node receiver"]
    heard: Bool[Array, "row node"]
    sent: Float[Tensor, "row node suffix d_model"]
    """What each sender adds to the stream, less what it added in the other run. Of heads that a
    norm reads together their outputs, before the norm. In float32 at least: they are added up."""

    def summed(
        self, row: Int[Array, " stream"], masks: Bool[Array, "stream some"], nodes: slice, at: slice
    ) -> Float[Tensor, "stream position d_model"]:
        """The sum over those of ``nodes`` that each stream hears."""
        sent = self.sent[:, nodes, at]
        parts = [
            torch.as_tensor(masks[own], device=sent.device).to(sent.dtype) @ sent[number].flatten(1)
            for number, own in _runs(row)
        ]
        return torch.cat(parts).view(len(row), *sent.shape[2:])


def _runs(row: Int[Array, " stream"]) -> Iterator[tuple[int, slice]]:
    """The rows that there are, each with the slice of its streams; ``row`` is ascending."""
    numbers, starts = np.unique(row, return_index=True)
    stops = [*starts[1:], len(row)]
    for number, start, stop in zip(numbers, starts, stops, strict=True):
        yield int(number), slice(int(start), int(stop))


def _distinct(
    row: Int[Array, " reader"], masks: Bool[Array, "reader node"]
) -> tuple[Int[Array, " stream"], Int[Array, " reader"]]:
    """A reader of each different set of a row, rows ascending; and which of them each reader is."""
    numbers = row.astype(">u4").view(np.uint8).reshape(len(row), 4)
    rows = np.concatenate([numbers, np.packbits(masks, axis=1)], axis=1)
    _, first, place = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, place.reshape(-1)
