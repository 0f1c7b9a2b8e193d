"""What a circuit of edges answers: the other edges carry the other prompt's values.

The run has the background's prompt, the clean one in `noising`. An edge inside the circuit carries
what its sender gives in this run, an edge outside what it gave in the other prompt's own run, so
that every receiver reads a stream of its own (`held_edges`). All edges give the background run, and
none the other run; all but one differ from the background run by the effect of that edge
(`measures.edges`), with the sign that it has in the same direction; and all edges from some nodes
are the circuit of these nodes (`circuit_evaluation`).

In `noising` this is the evaluation of edges of the Mechanistic Interpretability Benchmark (MIB,
arXiv 2504.13151) with patching from the counterfactual prompt, and that of ACDC (Conmy et al. 2023,
arXiv 2304.14997). A sender to which no path inside leads from the embeddings computes what it did
in the other run, so that edges which the benchmark prunes as unconnected change no answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from counterpoint.engine.activations import Direction
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.receiver_inputs import check_attention_is_whole
from counterpoint.engine.sender_changes import check_blocks_add
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.circuit_edges import Edges
from counterpoint.measures.circuit_evaluation import has_parallel_mlps, nodes_of
from counterpoint.measures.circuit_nodes import NODE_KINDS
from counterpoint.measures.held_edges import HeldEdges
from counterpoint.measures.known_circuits import KnownCircuits

Array = np.ndarray


def edges_of(engine: SuffixEngine) -> Edges:
    """The edges of an engine's model."""
    return Edges(nodes_of(engine.model, NODE_KINDS), has_parallel_mlps(engine))


def attention_of(engine: SuffixEngine) -> AttentionParts:
    """The attentions of an engine's model, which circuits of edges need taken apart.

    Raises UserError, with the reason, where they cannot be, where something besides queries, keys,
    values and MLPs reads the stream, or where blocks do more than add to it.
    """
    check_blocks_add(engine)
    attention = AttentionParts(engine)
    check_attention_is_whole(attention)
    return attention


class EdgeCircuitRuns(KnownCircuits):
    """Runs circuits of edges on all pairs of some buckets in one direction.

    Raises UserError where the full circuit is not the background run, or the empty one not the
    other run.
    """

    def __init__(
        self, attentions: Sequence[AttentionParts], direction: Direction, edges: Edges
    ) -> None:
        super().__init__([attention.engine for attention in attentions], direction)
        self.edges = edges
        self._held = {
            id(attention.engine): HeldEdges(attention, direction, edges) for attention in attentions
        }
        ends = self.metric(np.stack([edges.empty, edges.full]))
        self.check_ends(ends, "edge", "edges between embeddings, heads, MLPs and logits")

    def metric(self, circuits: Bool[Array, "circuit edge"]) -> Float[Array, "circuit pair"]:
        """The metric of each circuit on each pair."""
        return self._found(
            circuits, lambda engine, new: run_edge_circuits(self._held[id(engine)], circuits[new])
        )


@torch.no_grad()
def run_edge_circuits(
    held: HeldEdges, circuits: Bool[Array, "circuit edge"]
) -> Float[Array, "circuit pair"]:
    """The metric of each circuit on each pair of a bucket, in batches over both."""
    engine, n_pairs = held.engine, len(held.engine.activations.pairs)
    device = engine.model.device
    circuit = np.repeat(np.arange(len(circuits)), n_pairs)
    pair = torch.arange(n_pairs, device=device).repeat(len(circuits))

    def run(rows: slice) -> Tensor:
        found = []
        for few in pieces(rows, readers_of_layer(held.edges)):
            final = held.final(pair[few], held.edges.matrix(circuits[circuit[few]]))
            found.append(engine.metric(engine.logits(final, engine.metric.vocabulary), pair[few]))
        return torch.cat(found)

    found = engine.in_batches(len(pair), run)
    return found.double().cpu().numpy().reshape(len(circuits), n_pairs)


def readers_of_layer(edges: Edges) -> int:
    """How many receivers a layer has: as many streams at once as a row may need."""
    return edges.mlp_reader(0) + 1


def pieces(rows: slice, share: int) -> list[slice]:
    """A batch of rows in parts of which each is a ``share``-th, and one row at least."""
    size = max(1, (rows.stop - rows.start) // share)
    starts = range(rows.start, rows.stop, size)
    return [slice(start, min(start + size, rows.stop)) for start in starts]
