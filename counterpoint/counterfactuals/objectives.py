"""The four objectives of a pair, as numbers.

* a, ``ld_change`` (greater is better): f(0) − f(1), how far the logit difference falls when y's
  head output replaces x's in x's run.
* b, ``evenness`` (greater is better): the smallest of the four slopes between α = 0, ¼, ½, ¾, 1,
  over their mean. 1 is a straight fall; 0 a stretch where nothing moves; below 0 a way back. It
  is cut off at −1, and is −1 where LD does not fall at all.
* c, ``changed_tokens`` (smaller is better): positions at which x and y differ.
* d, ``perplexity`` (smaller is better): the greater of the two prompts' perplexities, each
  exp(mean loss per predicted token); the first token (the beginning-of-sequence token where there
  is one) is predicted by nothing and not counted.

Dominance and hypervolume use the natural logarithm of the perplexity.

**The sign.** AP is f(1) − f(0) everywhere, as in the tables of a study. A search asks how far LD
falls, so whatever is called LD change, here and in all columns named ``ld_change`` or
``…_ld_change…``, is **−AP in the direction `noising`** (`ld_change_of`), and to first order −AtP.
Columns named ``ap`` and ``head_effects`` hold AP, whose sign is not turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where on the path the output is read."""

LEAST_EVENNESS = -1.0


def ld_change(outputs: Float[Tensor, "*pair alpha"]) -> Float[Tensor, "*pair"]:
    """f(0) − f(1) from outputs at `ALPHAS`."""
    return outputs[..., 0] - outputs[..., -1]


Value = TypeVar("Value", float, np.ndarray, Tensor)


def ld_change_of(ap: Value) -> Value:
    """The LD change of an AP in `noising`, −AP; of one number or of many. Wherever an AP that was
    measured becomes an LD change, it is by this function."""
    return -ap


def outputs_from(changes: Sequence[float]) -> Float[Tensor, " alpha"]:
    """f(α) − f(0) at `ALPHAS`, from the LD changes f(0) − f(α) at all of them but 0."""
    return torch.tensor([0.0, *(-change for change in changes)], dtype=torch.float64)


def falls(outputs: Float[Tensor, "*pair alpha"]) -> Float[Tensor, "*pair slope"]:
    """The slopes −df/dα of the four quarters of the path; their mean is the LD change."""
    return (outputs[..., :-1] - outputs[..., 1:]) * (len(ALPHAS) - 1)


def evenness(outputs: Float[Tensor, "*pair alpha"]) -> Float[Tensor, "*pair"]:
    """Smallest slope over mean slope, between −1 and 1."""
    change = ld_change(outputs)
    ratio = falls(outputs).amin(-1) / change.clamp_min(torch.finfo(outputs.dtype).tiny)
    least = torch.full_like(ratio, LEAST_EVENNESS)
    return torch.where(change > 0, ratio.clamp(LEAST_EVENNESS, 1.0), least)


def changed_tokens(
    clean: Int[Tensor, "*pair position"], corrupted: Int[Tensor, "*pair position"]
) -> Int[Tensor, "*pair"]:
    """How many positions differ."""
    return (clean != corrupted).sum(-1)
