"""Small circuits of edges: the first of a ranking, what can be taken out of them, what is idle.

Edges are far more than nodes, so that sizes are tried on a grid (`grid`), each at most a fifth
larger than the one before: the size that is found is the smallest *of those that were tried*.

*Pruning* begins with such a set and goes through its edges, those of smallest score first. An edge
is taken out where the rest still recovers the share; several are tried at once, twice as many after
each success and half as many after each failure, so that every set that is kept was run, and every
edge that stays was left out alone once and missed. This is in the manner of ACDC (Conmy et al.
2023, arXiv 2304.14997), which begins with all edges, goes from the logits down, and bounds what one
edge may cost instead of what the whole may lose. A pruned set is small, not proved to be the
smallest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from counterpoint.measures.edge_circuit_evaluation import EdgeCircuitRuns

Array = np.ndarray

GROWTH = 1.2
"""How much larger a size of the grid is than the one before, at most (below 6: one more)."""

AT_ONCE = 4
"""How many sizes are run before looking whether they are enough."""

MOST_CHECKED = 500
"""The largest set of which every edge is left out in turn: each is a run on all pairs."""


@dataclass(frozen=True, eq=False)
class Grown:
    """The circuits of the first so many edges of an order, at the sizes that were tried."""

    order: Int[Array, " edge"]
    """The edges of the largest of these circuits, in their order."""
    sizes: Int[Array, " size"]
    metric: Float[Array, "size pair"]
    faithfulness: Float[Array, " size"]

    def size_for(self, share: float) -> int | None:
        """The smallest tried size with which ``share`` is recovered; None if there is none."""
        enough = np.flatnonzero(self.faithfulness >= share)
        return int(self.sizes[enough[0]]) if len(enough) else None


def grid(most: int) -> Int[Array, " size"]:
    """The sizes 1, 2, … that are tried, up to ``most`` and with it."""
    found = [1]
    while found[-1] < most:
        found.append(min(most, max(found[-1] + 1, int(found[-1] * GROWTH))))
    return np.array(found, dtype=np.int64)


def first_edges(
    runs: EdgeCircuitRuns, order: Int[Array, " rank"], *, share: float, max_edges: int
) -> Grown:
    """The circuits of the first edges of a ranking at the sizes of `grid`, until ``share`` is
    recovered, or ``max_edges`` are inside."""
    sizes = grid(min(max_edges, len(order)))
    for stop in range(AT_ONCE, len(sizes) + AT_ONCE, AT_ONCE):
        found = runs.faithfulness(runs.edges.firsts(order, sizes[:stop]))
        enough = np.flatnonzero(found >= share)
        if len(enough):
            sizes = sizes[: int(enough[0]) + 1]
            break
    return grown(runs, order, sizes)


def grown(runs: EdgeCircuitRuns, order: Int[Array, " rank"], sizes: Int[Array, " size"]) -> Grown:
    """The circuits of the first so many edges of an order."""
    circuits = runs.edges.firsts(order, sizes)
    return Grown(order[: sizes[-1]], sizes, runs.metric(circuits), runs.faithfulness(circuits))


def pruned(
    runs: EdgeCircuitRuns, order: Int[Array, " edge"], *, share: float
) -> Int[Array, " edge"]:
    """What is left of a set that recovers ``share``, with its edges in order of their score, when
    every edge that it can do without has been taken out; in the same order."""
    circuit = runs.edges.firsts(order, [len(order)])[0]
    waiting = [int(edge) for edge in order[::-1]]
    count = 1
    while waiting:
        tried = waiting[:count]
        without = circuit.copy()
        without[tried] = False
        if runs.faithfulness(without[None])[0] >= share:
            circuit, waiting, count = without, waiting[count:], 2 * count
        elif len(tried) == 1:
            waiting = waiting[1:]
        else:
            count = len(tried) // 2
    return order[circuit[order]]


def edge_costs(runs: EdgeCircuitRuns, members: Int[Array, " member"]) -> Float[Array, " member"]:
    """By how much faithfulness falls without each edge of a circuit.

    Not a number for all of them where the circuit has more than `MOST_CHECKED` edges.
    """
    if len(members) > MOST_CHECKED:
        return np.full(len(members), np.nan)
    circuit = runs.edges.firsts(members, [len(members)])
    without = np.tile(circuit[0], (len(members), 1))
    without[np.arange(len(members)), members] = False
    return runs.faithfulness(circuit) - runs.faithfulness(without)
