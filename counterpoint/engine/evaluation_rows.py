"""Rows, the evaluations that the engine makes, and the ways in which they can be made."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rows:
    """Evaluations to make. Rows are in order of layer, lowest first."""

    pair: Int[Tensor, " row"]
    """The place of each row's pair in the bucket."""
    layer: tuple[int, ...]
    """The layer at which each row joins."""
    shift: Float[Tensor, "row suffix d_model"]
    """What is added to the component's output, at every position of the suffix."""

    def __post_init__(self) -> None:
        if list(self.layer) != sorted(self.layer):
            raise ValueError("rows must be in order of layer")


@dataclass(frozen=True)
class Way:
    """How rows are evaluated: the fastest that is exact for the model is taken."""

    replays: bool
    """Whether blocks are called one by one, from each row's layer up; if not, every row is a pass
    of the whole model over the suffix, with a hook at its component."""
    cuts_last: bool
    """Whether the last block computes its last position alone."""


WAYS = (Way(replays=True, cuts_last=True), Way(True, False), Way(False, False))
"""In the order in which they are tried."""
