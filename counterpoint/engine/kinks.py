"""Whether the curves of a model can have kinks: places where g jumps and f does not.

A ReLU, a clamp or a size turns at zero or at its limit. Between two such places a curve is analytic
as any other, but a polynomial through both sides of one converges slowly, and its last coefficients
say too little of its error. Where a model computes with such an operation (one short run shows all
that stand between the embeddings and the logits), curves are judged by what a coarser polynomial
misses of the points that it was not made of (`counterpoint.measures.curve_tracing`).
"""

from __future__ import annotations

from typing import cast

from counterpoint.engine.rounding import operations_of
from counterpoint.models.load import LanguageModel

KINKED = (
    "Abs",
    "Clamp",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyRelu",
    "Maximum",
    "Minimum",
    "Prelu",
    "Relu",
    "Softshrink",
    "Threshold",
)
"""How the names of these operations begin, as torch's graphs have them."""


def has_kinks(model: LanguageModel) -> bool:
    """Whether any value of ``model`` that depends on the prompt goes through a kink.

    Kept on the model.
    """
    kept = cast("dict[str, bool]", model.__dict__.setdefault("_kinks", {}))
    if "any" not in kept:
        operations = operations_of(model.hf, model.embedding, model.device)
        kept["any"] = any(operation.name().startswith(KINKED) for operation in operations)
    return kept["any"]
