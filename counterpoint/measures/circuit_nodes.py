"""The nodes that a circuit is made of: the embeddings, every head and every MLP.

Nodes stand in one order everywhere: the embeddings, then layer by layer the heads and the MLP. That
is the order, and these are the names, of the circuits of the Mechanistic Interpretability Benchmark
(MIB: Mueller et al. 2025, arXiv 2504.13151): ``input``, ``a3.h7``, ``m3``. The embeddings are what
the first block is given; a circuit without them computes everything from the other prompt.

A set of nodes is a mask over all of them. What is no *candidate* is in every circuit: nodes that a
layer does not have, and components that a study leaves out (as in the benchmark, where nodes
without a score stay).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from counterpoint.errors import UserError

Array = np.ndarray

NODE_KINDS = ("embedding", "head", "mlp")
"""The components that nodes are of, by their names in settings and tables."""


@dataclass(frozen=True)
class Nodes:
    """The nodes of a model of so many layers and heads.

    ``head_layers`` and ``mlp_layers`` are the layers that have some; ``kinds`` are the components
    that circuits are chosen from.

    Raises UserError for kinds that are none, or where no candidate is left.
    """

    n_layers: int
    n_heads: int
    head_layers: tuple[int, ...]
    mlp_layers: tuple[int, ...]
    kinds: tuple[str, ...] = NODE_KINDS

    def __post_init__(self) -> None:
        wrong = [kind for kind in self.kinds if kind not in NODE_KINDS]
        if wrong or not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise UserError(
                f"circuit: nodes is {list(self.kinds)!r}; give one or more of"
                f" {', '.join(NODE_KINDS)}, each once."
            )
        if self.candidates.sum() - self.candidates[0] < 1:
            raise UserError(
                f"circuit: the model has no node of the kinds {', '.join(self.kinds)} that a"
                " circuit could be chosen from; add head or mlp to the setting nodes."
            )

    def __len__(self) -> int:
        return 1 + self.n_layers * (self.n_heads + 1)

    @property
    def candidates(self) -> Bool[Array, " node"]:
        """The nodes that a circuit may hold or not."""
        found = np.zeros(len(self), dtype=bool)
        found[0] = "embedding" in self.kinds
        blocks = found[1:].reshape(self.n_layers, self.n_heads + 1)
        if "head" in self.kinds:
            blocks[list(self.head_layers), : self.n_heads] = True
        if "mlp" in self.kinds:
            blocks[list(self.mlp_layers), self.n_heads] = True
        return found

    @property
    def empty(self) -> Bool[Array, " node"]:
        """The circuit without any candidate."""
        return ~self.candidates

    @property
    def full(self) -> Bool[Array, " node"]:
        return np.ones(len(self), dtype=bool)

    def firsts(
        self, order: Int[Array, " rank"], sizes: Iterable[int]
    ) -> Bool[Array, "circuit node"]:
        """The circuits of the first so many nodes of an order of candidates."""
        listed = [int(size) for size in sizes]
        found = np.tile(self.empty, (len(listed), 1))
        for circuit, size in zip(found, listed, strict=True):
            circuit[order[:size]] = True
        return found

    def ranked(
        self, importance: Float[Array, " node"], *, absolute: bool
    ) -> Int[Array, " candidate"]:
        """The candidates, most important first: by value, or by size.

        Those that stand first in the model come first where they are equal.
        """
        places = np.flatnonzero(self.candidates)
        value = np.abs(importance[places]) if absolute else importance[places]
        return places[np.argsort(-value, kind="stable")]

    def keys(self, nodes: Int[Array, " row"]) -> pd.DataFrame:
        """Component, layer and head of each node; −1 where there is no such number."""
        block, place = np.divmod(np.asarray(nodes, dtype=np.int64) - 1, self.n_heads + 1)
        is_input, is_mlp = np.asarray(nodes) == 0, place == self.n_heads
        component = np.where(is_input, "embedding", np.where(is_mlp, "mlp", "head"))
        return pd.DataFrame(
            {
                "component": component.astype(object),
                "layer": np.where(is_input, -1, block),
                "head": np.where(is_input | is_mlp, -1, place),
            }
        )

    def names(self) -> list[str]:
        """The names that the benchmark has for them."""
        keys = self.keys(np.arange(len(self)))
        return [
            "input"
            if kind == "embedding"
            else f"m{layer}"
            if kind == "mlp"
            else f"a{layer}.h{head}"
            for kind, layer, head in keys.itertuples(index=False)
        ]

    def by_kind(
        self,
        embedding: Float[Array, " pair"],
        heads: Float[Array, "layer pair head"],
        mlps: Float[Array, "layer pair"],
    ) -> Float[Array, "pair node"]:
        """Values of the three kinds in the order of the nodes."""
        blocks = np.concatenate([heads.transpose(1, 0, 2), mlps.T[:, :, None]], axis=2)
        return np.concatenate([embedding[:, None], blocks.reshape(len(embedding), -1)], axis=1)
