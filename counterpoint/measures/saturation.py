"""Saturation: where a path is flat, |g| being below 5 % of its largest size on that path.

The *saturation* of an output curve is the share of [0, 1] that is saturated; a constant curve is
saturated throughout. On the joint path of a layer |Σ g| of its heads is looked at in the same way:
*IG of the unsaturated part* leaves out where that is saturated (`joint_slopes`). After Miglani et
al. 2020, "Investigating Saturation Effects in Integrated Gradients".
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

Array = np.ndarray

SHARE = 0.05
"""|g| below this share of its largest size on the path counts as saturated."""

CELLS = (np.arange(2000) + 0.5) / 2000
"""The α at which an output curve is looked at."""

JOINT_CELLS = (np.arange(1000) + 0.5) / 1000
"""The α at which a layer's joint path is looked at."""


def saturated(sizes: Float[Array, "*path cell"]) -> Bool[Array, "*path cell"]:
    """Which cells of each path are saturated, by the sizes |g| in all of its cells."""
    return sizes < SHARE * sizes.max(-1, keepdims=True)


def saturation(
    sizes: Float[Array, "unit cell"], total_variation: Float[Array, " unit"]
) -> Float[Array, " unit"]:
    """The share of the cells of each curve that are saturated; 1 for a constant curve."""
    return np.where(total_variation == 0, 1.0, saturated(sizes).mean(1))
