"""Small circuits: searched node by node, or taken from a ranking, and looked at for what is idle.

*Greedy search* begins with the circuit of no node and takes in, step by step, the node with which
faithfulness over all pairs is largest. The embeddings come first, since a circuit without them
answers as the other prompt does, whatever else it holds. Every step is decided by circuits that
were run, among all nodes or among the ``candidates`` of largest first-order worth
(`node_gradients.worths`): the numbers are exact either way, and only with all nodes is each
step the best one. A set so found is small, not proved to be the smallest.

*Idle* members are those without which the circuit is no less faithful (`costs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from counterpoint.measures.circuit_evaluation import CircuitRuns

Array = np.ndarray

AT_ONCE = 8
"""How many sizes of a ranking's circuits are run before looking whether they are enough."""


@dataclass(frozen=True, eq=False)
class Growth:
    """A circuit as it grows: its nodes in the order in which they came."""

    order: Int[Array, " step"]
    metric: Float[Array, "step pair"]
    """The metric with the first so many nodes inside."""
    faithfulness: Float[Array, " step"]
    tried: Int[Array, " step"]
    """From how many nodes each was chosen by running circuits; 0 where a ranking said which."""

    def size_for(self, share: float) -> int | None:
        """The fewest first nodes with which at least ``share`` is recovered; None if never."""
        enough = np.flatnonzero(self.faithfulness >= share)
        return int(enough[0]) + 1 if len(enough) else None


def greedy(
    runs: CircuitRuns, *, share: float, max_nodes: int, candidates: int | None = None
) -> Growth:
    """Take in the best node until ``share`` is recovered, or ``max_nodes`` are inside.

    Of equally good nodes the first in the model is taken.
    """
    nodes, circuit = runs.nodes, runs.nodes.empty.copy()
    order: list[int] = []
    tried: list[int] = []
    while len(order) < min(max_nodes, int(nodes.candidates.sum())):
        outside = np.flatnonzero(~circuit)
        if not circuit[0]:
            outside = outside[:1]
        elif candidates is not None and candidates < len(outside):
            worth = runs.worth(circuit)[outside]
            outside = np.sort(outside[np.argsort(-worth, kind="stable")[:candidates]])
        found = runs.changed_faithfulness(circuit, outside)
        best = int(outside[np.argmax(found)])
        circuit[best] = True
        order.append(best)
        tried.append(len(outside))
        if found.max() >= share:
            break
    return _growth(runs, np.array(order, dtype=np.int64), np.array(tried, dtype=np.int64))


def first_nodes(
    runs: CircuitRuns, order: Int[Array, " rank"], *, share: float, max_nodes: int
) -> Growth:
    """The circuits of the first 1, 2, … nodes of a ranking, until ``share`` is recovered."""
    most = min(max_nodes, len(order))
    for stop in range(AT_ONCE, most + AT_ONCE, AT_ONCE):
        sizes = range(1, min(stop, most) + 1)
        enough = np.flatnonzero(runs.faithfulness(runs.nodes.firsts(order, sizes)) >= share)
        if len(enough):
            most = int(enough[0]) + 1
            break
    return _growth(runs, order[:most], np.zeros(most, dtype=np.int64))


def costs(runs: CircuitRuns, members: Int[Array, " member"]) -> Float[Array, " member"]:
    """By how much faithfulness falls without each member of a circuit."""
    circuit = runs.nodes.firsts(members, [len(members)])
    return runs.faithfulness(circuit) - runs.changed_faithfulness(circuit[0], members)


def final_size(growth: Growth, shares: Sequence[float]) -> int:
    """The size of the set for the largest share that is reached; the whole where none is."""
    sizes = [growth.size_for(share) for share in sorted(shares)]
    return next((size for size in reversed(sizes) if size is not None), len(growth.order))


def _growth(runs: CircuitRuns, order: Array, tried: Array) -> Growth:
    circuits = runs.nodes.firsts(order, range(1, len(order) + 1))
    return Growth(order, runs.metric(circuits), runs.faithfulness(circuits), tried)
