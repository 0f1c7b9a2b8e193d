"""When a number supports a claim, refutes it, or leaves it undecided: rules fixed beforehand.

A verdict hangs on the interval, never on the p-value alone: with many heads a trifling relation has
a tiny p. "Refuted" says that the interval leaves no room for an effect of the stated least size,
which is a finding; "undecided" says that the data leave room for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

SUPPORTED, REFUTED, UNDECIDED, DESCRIBED = "supported", "refuted", "undecided", "described"

IDENTITY_TOLERANCE = 1e-4
"""The most by which the integral of g may miss AP, in units of the metric. Logits near 20 have a
float32 spacing of 2e-6, and a forward pass of 30 layers gathers some ten times that."""

RANGE_TOLERANCE = 1e-5
"""The most by which |AP| may exceed the output range on [0, 1]: both come from the same end points,
up to the order of float32 sums."""

CONCORDANCE = 0.90
"""Least concordance that is called agreement: below 0.90 McBride (2005, NIWA report HAM2005-062)
calls it poor."""

SIGN_AGREEMENT = 0.90
"""Least share of heads on which two scores that are said to agree have the same sign."""

SMALL_CORRELATION = 0.10
"""Least correlation worth speaking of: Cohen's (1988) small effect, 1 % of the variance."""

SMALL_GAIN = 0.05
"""Least gain worth speaking of in an area under the ROC curve, or in a share: one in twenty."""

SMALL_AREA = 0.02
"""Least gain worth speaking of in mean closeness over k, which is in units of a share of the
metric's whole change."""


@dataclass(frozen=True)
class Rule:
    """How an estimate and its interval become a verdict.

    at_most   a bound on an identity: supported iff estimate <= threshold, else refuted.
    at_least  supported iff the whole interval is at or above the threshold, refuted iff it is
    below.
    positive  supported iff the whole interval is above zero and the estimate reaches the threshold;
              refuted iff the whole interval is below the threshold.
    """

    kind: Literal["at_most", "at_least", "positive"]
    threshold: float

    def verdict(self, estimate: float, low: float, high: float) -> str:
        """The verdict; undecided where a needed number is NaN."""
        if self.kind == "at_most":
            if np.isnan(estimate):
                return UNDECIDED
            return SUPPORTED if estimate <= self.threshold else REFUTED
        if np.isnan([estimate, low, high]).any():
            return UNDECIDED
        if self.kind == "at_least":
            supported = low >= self.threshold
        else:
            supported = low > 0 and estimate >= self.threshold
        if supported:
            return SUPPORTED
        return REFUTED if high < self.threshold else UNDECIDED

    def __str__(self) -> str:
        return {
            "at_most": f"estimate at most {self.threshold:g}",
            "at_least": f"interval at or above {self.threshold:g}",
            "positive": f"interval above 0, estimate at least {self.threshold:g}",
        }[self.kind]


def combined(verdicts: Iterable[str]) -> str:
    """The verdict on a claim from those on its parts: it holds only if each of them does."""
    parts = list(verdicts)
    if REFUTED in parts:
        return REFUTED
    return SUPPORTED if parts and set(parts) == {SUPPORTED} else UNDECIDED
