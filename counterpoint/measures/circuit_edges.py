"""The edges that a circuit may be made of: from every sender into everything that reads it.

Senders are the nodes of `circuit_nodes`. *Receivers* are what reads the residual stream: the query,
the key and the value of every head, every MLP, and the logits. An edge goes from each sender to
each receiver above it; an MLP is above the heads of its own layer, unless both read the same stream
(`parallel`). Under grouped queries a key or value is counted once for every query head that reads
it, as in `edges` and in the circuits of the Mechanistic Interpretability Benchmark (MIB, arXiv
2504.13151), whose names they have: ``input->a0.h0<q>``, ``a3.h7->m3``, ``m5->logits``.

Edges stand in one order: receiver by receiver (layer by layer the queries, keys and values of its
heads, and its MLP; the logits last), and in each the senders as nodes stand. A set of edges is a
mask over all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from counterpoint.measures.circuit_nodes import Nodes

Array = np.ndarray

HEAD_ROLES = ("query", "key", "value")
ROLES = (*HEAD_ROLES, "mlp", "logits")
"""What an edge goes into, by its names in tables."""


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges between the ``nodes`` of a model.

    ``parallel`` says that an MLP reads what the attention of its layer reads.
    """

    nodes: Nodes
    parallel: bool
    exists: Bool[Array, "node receiver"] = field(init=False)
    sender: Int[Array, " edge"] = field(init=False)
    """The node that each edge goes from."""
    receiver: Int[Array, " edge"] = field(init=False)
    """The receiver that it goes into."""

    def __post_init__(self) -> None:
        nodes, n_heads = self.nodes, self.nodes.n_heads
        senders = Nodes(nodes.n_layers, n_heads, nodes.head_layers, nodes.mlp_layers).candidates
        exists = np.zeros((len(nodes), self.n_receivers), dtype=bool)
        for layer in range(nodes.n_layers):
            if layer in nodes.head_layers:
                below = self.heads(layer).start
                exists[:below, self.readers(layer)] = senders[:below, None]
            if layer in nodes.mlp_layers:
                heads = self.heads(layer)
                below = heads.start if self.parallel else heads.stop
                exists[:below, self.mlp_reader(layer)] = senders[:below]
        exists[:, -1] = senders
        receiver, sender = np.nonzero(exists.T)
        for name, value in (("exists", exists), ("sender", sender), ("receiver", receiver)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.sender)

    # -- places ---------------------------------------------------------------------------------

    @property
    def n_receivers(self) -> int:
        return self.nodes.n_layers * self._readers_of_layer + 1

    @property
    def _readers_of_layer(self) -> int:
        return len(HEAD_ROLES) * self.nodes.n_heads + 1

    def heads(self, layer: int) -> slice:
        """The nodes that are a layer's heads; its MLP is the next one."""
        first = 1 + layer * (self.nodes.n_heads + 1)
        return slice(first, first + self.nodes.n_heads)

    def readers(self, layer: int) -> slice:
        """The receivers that are a layer's queries, keys and values, in this order."""
        first = layer * self._readers_of_layer
        return slice(first, first + self._readers_of_layer - 1)

    def mlp_reader(self, layer: int) -> int:
        """The receiver that is a layer's MLP."""
        return self.readers(layer).stop

    # -- sets -----------------------------------------------------------------------------------

    @property
    def empty(self) -> Bool[Array, " edge"]:
        return np.zeros(len(self), dtype=bool)

    @property
    def full(self) -> Bool[Array, " edge"]:
        return np.ones(len(self), dtype=bool)

    def firsts(
        self, order: Int[Array, " rank"], sizes: Iterable[int]
    ) -> Bool[Array, "circuit edge"]:
        """The circuits of the first so many edges of an order."""
        listed = [int(size) for size in sizes]
        found = np.tile(self.empty, (len(listed), 1))
        for circuit, size in zip(found, listed, strict=True):
            circuit[order[:size]] = True
        return found

    def from_nodes(self, inside: Bool[Array, " node"]) -> Bool[Array, " edge"]:
        """All edges from some nodes: with these the answer is that of the circuit of the nodes."""
        return inside[self.sender]

    def matrix(self, circuits: Bool[Array, "circuit edge"]) -> Bool[Array, "circuit node receiver"]:
        """Sets of edges by sender and receiver."""
        found = np.zeros((len(circuits), *self.exists.shape), dtype=bool)
        found[:, self.sender, self.receiver] = circuits
        return found

    def ranked(self, importance: Float[Array, " edge"], *, absolute: bool) -> Int[Array, " rank"]:
        """All edges, most important first: by value, or by size; of equal ones the first."""
        value = np.abs(importance) if absolute else importance
        return np.argsort(-value, kind="stable")

    # -- names ----------------------------------------------------------------------------------

    def keys(self, edges: Int[Array, " row"]) -> pd.DataFrame:
        """Sender, receiver and role of each edge, as in the table of edges."""
        senders = self.nodes.keys(self.sender[edges])
        layer, place = np.divmod(self.receiver[edges], self._readers_of_layer)
        role, head = np.divmod(place, self.nodes.n_heads)
        # The logits are the one receiver above the last layer.
        role = np.where(layer == self.nodes.n_layers, ROLES.index("logits"), role)
        return pd.DataFrame(
            {
                "sender_layer": senders["layer"].to_numpy(),
                "sender_head": senders["head"].to_numpy(),
                "receiver_layer": layer,
                "receiver_head": np.where(role < len(HEAD_ROLES), head, -1),
                "role": np.array(ROLES, dtype=object)[role],
            }
        )

    def names(self) -> list[str]:
        """The names that the benchmark has for them."""
        senders = np.array(self.nodes.names(), dtype=object)[self.sender]
        keys = self.keys(np.arange(len(self)))
        receivers = [
            "logits"
            if role == "logits"
            else f"m{layer}"
            if role == "mlp"
            else f"a{layer}.h{head}<{role[0]}>"
            for layer, head, role in keys[["receiver_layer", "receiver_head", "role"]].itertuples(
                index=False
            )
        ]
        return [f"{sender}->{name}" for sender, name in zip(senders, receivers, strict=True)]
