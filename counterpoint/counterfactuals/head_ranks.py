"""The place of a head among all heads on a pair, and on pairs that were not made for it.

A high place alone is cheap: of all the heads of a model some must come first on any pair. So a
target's place on its own pairs is read beside its places on the pairs that the same method found
for other heads.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

Array = np.ndarray

FIRST_FEW = 5
"""A head is among the first where fewer others than this do more."""


def rank_of(scores: Float[Array, " head"], place: int) -> int:
    """1 + how many scores are larger in size than the one at ``place``."""
    return 1 + int((np.abs(scores) > np.abs(scores[place])).sum())


def rank_and_margin(effects: Float[Array, " head"], place: int) -> tuple[int, float, int]:
    """The rank of the head at ``place``, the margin (its size over the largest other one) and the
    place of that other; infinity and -1 where it is the model's only head."""
    if len(effects) == 1:
        return 1, float("inf"), -1
    others = np.abs(effects)
    size, others[place] = float(others[place]), -np.inf
    second = int(others.argmax())
    largest = float(others[second])
    return rank_of(effects, place), size / largest if largest > 0 else float("inf"), second


def head_name(place: int, n_heads: int) -> str:
    """The head at a place as "layer.head"; "none" for the place -1 of `rank_and_margin`."""
    return "none" if place < 0 else f"{place // n_heads}.{place % n_heads}"


def margins(effects: Float[Array, "pair head"]) -> Float[Array, "pair head"]:
    """Each head's effect, with its sign, over the largest size of another head's.

    An only head has no other, which counts as one without effect.
    """
    if effects.shape[1] == 1:
        return effects / 1e-9
    sizes = np.sort(np.abs(effects), axis=1)
    largest = np.where(np.abs(effects) == sizes[:, -1:], sizes[:, -2:-1], sizes[:, -1:])
    return effects / np.maximum(largest, 1e-9)


def ranks_on_other_pairs(validations: Mapping[tuple[int, int], pd.DataFrame]) -> pd.DataFrame:
    """Each target's rank on the first validated pair of every other target, method by method.

    ``validations`` maps (layer, head) to the table of `pair_validation.validate`, of which the
    columns ``method`` and ``head_effects`` (AP of all heads, layer by layer) are read, and
    ``layer``, ``head`` to find a head's place in it. Columns of the result: ``layer, head, method,
    other_layer, other_head, rank``; empty when no method has pairs of two targets.
    """
    rows = []
    for (layer, head), own in validations.items():
        for (other_layer, other_head), other in validations.items():
            if (layer, head) == (other_layer, other_head) or own.empty or other.empty:
                continue
            place = int(own["place"].iloc[0])
            for method, pairs in other.groupby("method", sort=True):
                effects = np.asarray(pairs["head_effects"].iloc[0], dtype=float)
                if method in set(own["method"]) and place < len(effects):
                    rows.append(
                        (layer, head, method, other_layer, other_head, rank_of(effects, place))
                    )
    return pd.DataFrame(
        rows, columns=["layer", "head", "method", "other_layer", "other_head", "rank"]
    )
