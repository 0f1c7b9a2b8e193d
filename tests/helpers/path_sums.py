"""What senders do through a role of several heads together: exact edges, summed over the heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from counterpoint.engine.activations import Direction
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.sender_changes import every_sender, sender_changes
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.edges import Role, edge_effects

Head = tuple[int, int]


def path_sums(
    engines: Sequence[SuffixEngine],
    direction: Direction,
    receivers: Sequence[Head],
    roles: Sequence[Role],
) -> pd.DataFrame:
    """The mean over all pairs of the engines of each head's exact effect through the ``roles`` of
    the ``receivers``, added up over these: one row per sending head, one column per role.

    A head that is not below all receivers is counted for those that it is below.
    """
    senders = every_sender(engines[0].model)
    sums = np.zeros((len(roles), len(senders)))
    for engine in engines:
        attention = AttentionParts(engine)
        for pair in range(len(engine.activations.pairs)):
            changes = sender_changes(engine, direction, pair)
            for layer, head in receivers:
                below = senders.count_below(layer)
                sums[:, :below] += edge_effects(
                    attention, direction, pair, layer, [head], roles, changes[:below]
                )[0]
    n_pairs = sum(len(engine.activations.pairs) for engine in engines)
    table = pd.DataFrame((sums / n_pairs).T, columns=list(roles))
    table.index = pd.MultiIndex.from_arrays([senders.layer, senders.head])
    return table[senders.head >= 0]


def first_heads(sums: pd.Series, count: int) -> list[Head]:
    """The heads of the most negative sums, most negative first."""
    first = sums.sort_values(kind="stable").index[:count]
    return [(int(layer), int(head)) for layer, head in first]
