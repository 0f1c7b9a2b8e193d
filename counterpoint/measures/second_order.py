"""The second-order correction of AtP, and how large it is against AtP.

AtP is the first term of the series of a head's output curve at the background, g(0). The second is
½ g'(0) = ½ dᵀ H d, with d the change of the head's output and H the Hessian of the metric with
respect to it: a Hessian-vector product along the head's own change (Zhang & Wang 2026, "When
Attribution Patching Lies", arXiv 2606.09899). *AtP, second order* is g(0) + ½ g'(0). The quotient
of the two terms, |½ g'(0)| / |g(0)|, is the paper's score of how far AtP is to be trusted: far
below 1 it is, near 1 or above the second term rivals the first.

Both are of each head's own path, everything else held, as AP is. The derivatives are exact: a row
per head is differentiated twice with respect to its α, in the batches that curves share.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from counterpoint.engine.activations import Direction
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import Units, differences
from counterpoint.engine.suffix import SuffixEngine

Array = np.ndarray


def slopes_and_bends_at_start(
    engine: SuffixEngine,
    direction: Direction,
    units: Units,
    *,
    advance: Callable[[int], object] | None = None,
) -> tuple[Float[Array, " unit"], Float[Array, " unit"]]:
    """g(0) and g'(0) of each head: the first two derivatives of its output curve at α = 0."""
    dtype = torch.promote_types(engine.model.dtype, torch.float32)

    def both(chosen: slice) -> Tensor:
        few = units[chosen]
        delta = differences(engine.model, engine.activations, direction, few)
        # The fused kernels of attention cannot be differentiated twice; the plain products can.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            alpha = torch.zeros(len(few), 1, 1, device=delta.device, dtype=delta.dtype)
            alpha.requires_grad_()
            rows = Rows(few.pair, tuple(few.layer.tolist()), alpha * delta)
            output = engine.evaluate(rows, direction)
            (slope,) = torch.autograd.grad(output.sum(), alpha, create_graph=True)
            # A metric that is linear in α has a slope without a way back.
            bend = torch.zeros_like(slope)
            if slope.requires_grad:
                (bend,) = torch.autograd.grad(slope.sum(), alpha)
        return torch.stack([slope.detach().flatten(), bend.flatten()], dim=1).to(dtype)

    # What the second way back keeps is about what the first does.
    found = engine.in_batches(len(units), both, differentiate=True, advance=advance)
    slope, bend = found.double().cpu().numpy().T
    return slope, bend


def second_order_estimate(
    slope: Float[Array, " unit"], bend: Float[Array, " unit"]
) -> Float[Array, " unit"]:
    """AtP with its second-order term: g(0) + ½ g'(0)."""
    return slope + bend / 2


def term_ratio(slope: Float[Array, " unit"], bend: Float[Array, " unit"]) -> Float[Array, " unit"]:
    """|½ g'(0)| / |g(0)|: the second term over the first; not a number where the first is 0."""
    size = np.abs(slope)
    return np.divide(np.abs(bend) / 2, size, out=np.full(size.shape, np.nan), where=size > 0)
