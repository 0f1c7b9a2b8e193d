"""How far two runs of one study may lie apart, by kind of number: one table, with its reasons.

Text, whole numbers and verdicts have no place in it: they are the same or they differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATCHED = 2e-6
"""The most by which AP was seen to change with the number of threads, in units of the metric."""
GRADIENTS = 6e-5
"""The same of gradients."""
STATED_ERROR = 1e-4
"""The default of `tolerance` in a configuration: for folders that do not say theirs."""


@dataclass(frozen=True)
class Kind:
    """A kind of number: its columns and tensors, what is allowed, and why.

    ``setting`` is the block of a configuration whose ``tolerance`` bounds the error of a single
    run; two runs may then lie apart by the sum of theirs, and ``allowed`` is of studies whose
    errors no tolerance bounds.
    """

    name: str
    columns: frozenset[str]
    allowed: float
    reason: str
    setting: str | None = None


KINDS = (
    Kind(
        "time",
        frozenset({"seconds"}),
        math.inf,
        "seconds that a search took: not a result",
    ),
    Kind(
        "patching",
        frozenset(
            {
                *("ap", "ap_joint", "ap_plain", "ap_denoising", "effect"),
                *("metric_clean", "metric_corrupted"),
                *("logit_difference_clean", "logit_difference_corrupted"),
            }
        ),
        PATCHED,
        "runs with another value put in; the most that another number of threads was seen to do",
    ),
    Kind(
        "gradients",
        frozenset({"atp", "eap", "eap_ig", "relp", "gradient", "gradients"}),
        GRADIENTS,
        "gradients at given nodes; the most that another number of threads was seen to do",
    ),
    Kind(
        "curves",
        frozenset(
            {
                *("output", "outputs", "output_range", "output_range_closed", "total_variation"),
                *("gradient_range", "gradient_range_closed", "ig_own", "jump_total"),
                *("monotonicity", "excess_range", "saturation"),
                *("quadrature_error", "gradient_error", "rounding"),
            }
        ),
        GRADIENTS,
        "adaptive curves: outputs err by curves.tolerance at most; the sum of both studies'",
        "curves",
    ),
    Kind(
        "integrated gradients",
        frozenset({"ig_joint", "ig_unsaturated", "ig_convergence_delta", "ig_jump_total"}),
        GRADIENTS,
        "sums over steps, made until integrated_gradients.tolerance; the sum of both studies'",
        "integrated_gradients",
    ),
)
"""The kinds that are known by the names of their columns."""

OTHER = Kind(
    "other numbers",
    frozenset(),
    GRADIENTS,
    "made of the numbers above; means of these move no further than the furthest of them",
)
"""Every column of fractions that no kind names. A quotient or a rank correlation can move further,
and is then shown, which is better than a wide tolerance that hides it."""

EXACT = Kind("exact", frozenset(), 0.0, "text, whole numbers and verdicts: the same or not")


def kind_of(column: str) -> Kind:
    """The kind of a column or tensor of fractions, by its name."""
    name = column.rpartition(".")[2]
    return next((kind for kind in KINDS if name in kind.columns), OTHER)


def allowed(kind: Kind, settings: tuple[Mapping[str, Any], Mapping[str, Any]]) -> float:
    """The largest difference that is allowed between two runs with these ``settings``.

    A folder whose provenance does not name a tolerance counts as one of the default's.
    """
    if kind.setting is None:
        return kind.allowed
    blocks = [_block(each, kind.setting) for each in settings]
    # With nodes that are given, the tolerance decides nothing, and both runs take the same ones.
    if all(block.get("nodes", "adaptive") != "adaptive" for block in blocks):
        return kind.allowed
    return sum(_number(block.get("tolerance")) for block in blocks)


def _block(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    block = settings.get(name)
    return block if isinstance(block, Mapping) else {}


def _number(value: Any) -> float:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known else STATED_ERROR
