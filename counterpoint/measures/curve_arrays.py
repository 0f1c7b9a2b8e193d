"""Output curves as arrays, without a model and without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Curves:
    """The output curves of some heads on some pairs, and their gradients.

    NaN where a layer has no heads, and for heads that were not asked for.

    Attributes:
        alphas: The nodes α on [0, 1], those of the 50-point Gauss-Legendre rule.
        output: f(α), in units of the metric, in float32.
        gradient: g(α) = df/dα at the same nodes; None where a study did not keep gradients.
        pairs: The number of each pair, in the order of the first axis.
        directions: Names along the second axis.

    Raises:
        ValueError: When the shapes do not fit together.
    """

    alphas: Float[np.ndarray, " node"]
    output: Float[np.ndarray, "pair direction layer head node"]
    gradient: Float[np.ndarray, "pair direction layer head node"] | None
    pairs: Int[np.ndarray, " pair"]
    directions: tuple[str, ...]

    def __post_init__(self) -> None:
        expected = (len(self.pairs), len(self.directions))
        if self.output.shape[:2] != expected or self.output.shape[-1] != len(self.alphas):
            raise ValueError(
                f"curves are [pair, direction, layer, head, node]; {self.output.shape} does not "
                f"fit {expected[0]} pairs, {expected[1]} directions and {len(self.alphas)} nodes"
            )
