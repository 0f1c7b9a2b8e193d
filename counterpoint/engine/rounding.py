"""The format that is really computed in, and how far its rounding alone may move the metric.

The dtype of the weights does not say it. Llama-likes and others compute norms and the softmax of
attention in float32 whatever their dtype, so that such a model in float64 still rounds like one in
float32; GPT-2 in float64 does not. `computed_format` therefore looks: one forward pass of a few
tokens, in which the embeddings alone ask for a gradient, leaves a graph of every value that depends
on the prompt, with its format. The coarsest among them decides. Constants that are made in a lower
format (the angles of rotary embeddings) are not in the graph, and rightly so: they are the same in
every run and round nothing that moves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from counterpoint.models.load import LanguageModel

COARSE_EPSILON = 1e-4
"""Formats whose epsilon is larger (bfloat16) only choose how a model is run, and refuse none."""

COARSEST_CHECK = 0.25
"""No format may be off by more than this share, however coarse it is."""

SETTLED = 8.0
"""What refinement does not ask below: this many epsilons of the answers' logits.

On SmolLM2 in float32 (logits near 20, epsilon 1.2e-7) engine and plain reference differ by at most
1.9e-5."""


@dataclass(frozen=True)
class Noise:
    """Rounding in epsilons of the format: measured at most, and so stated, with a margin.

    Tiny random GPT-2, Llama, GPT-NeoX and Qwen 3 in float32 against float64 throughout, and in
    bfloat16 against the same weights in float32; 8 pairs each, all heads, 26 points of their paths.
    """

    of_logits: float
    """f: times the largest logit of the whole vocabulary."""
    of_scale: float
    """f: and times the scale of g (`measures.slopes`), the rounding of the path itself."""
    of_slope: float
    """g: times the scale of g."""


FINE = Noise(of_logits=10.0, of_scale=2.0, of_slope=12.0)
"""float32 and finer. f reached 0.8 of this, g 0.9."""

COARSE = Noise(of_logits=3.0, of_scale=2.0, of_slope=6.0)
"""bfloat16 and float16, in which sums are still taken in float32. f and g reached 0.8 of this."""

_TOKENS = 4
"""Length of the prompt that is run to see the formats; they do not depend on it."""


@dataclass(frozen=True)
class Floor:
    """How far rounding may move the curves of one bucket and direction, in metric units."""

    eps: float
    """The spacing of numbers around 1 in the computed format."""
    settled: float
    """Below this no refinement is asked."""
    output: float | Float[np.ndarray, " unit"]
    """Of each pair, or unit: what others share its bucket must not show."""
    per_scale: float
    slope_per_scale: float

    @classmethod
    def of(
        cls, format: torch.dtype, answers: float, vocabulary: float | Float[np.ndarray, " pair"]
    ) -> Floor:
        """The floor where the largest logits of the answers and of the vocabulary are these."""
        eps = float(torch.finfo(format).eps)
        noise = FINE if eps <= torch.finfo(torch.float32).eps else COARSE
        return cls(
            eps,
            SETTLED * eps * answers,
            noise.of_logits * eps * vocabulary,
            noise.of_scale * eps,
            noise.of_slope * eps,
        )

    def __getitem__(self, chosen: Int[np.ndarray, " some"] | Bool[np.ndarray, " unit"]) -> Floor:
        """The floors of some pairs or units."""
        return replace(self, output=np.asarray(self.output)[chosen])

    def __add__(self, other: Floor) -> Floor:
        """The floor of a sum of two metrics of the same model."""
        output = np.asarray(self.output) + np.asarray(other.output)
        return replace(self, settled=self.settled + other.settled, output=output)

    def of_output(self, scale: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
        """How far f of each unit may be moved, by the largest scale of g on its path."""
        return self.output + self.per_scale * scale

    def of_slope(self, scale: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
        """How far g of each unit may be moved."""
        return self.slope_per_scale * scale


def computed_eps(model: LanguageModel) -> float:
    """The spacing of numbers around 1 in the coarsest format that the model computes in."""
    return float(torch.finfo(computed_format(model)).eps)


def computed_format(model: LanguageModel) -> torch.dtype:
    """The coarsest floating format among all values of a run that depend on the prompt.

    One short run finds it, once for each dtype of the model: on a large one it takes a tenth of a
    second, and every bucket of pairs asks.
    """
    kept = model.__dict__.setdefault("_computed_format", {})
    if model.dtype not in kept:
        operations = operations_of(model.hf, model.embedding, model.device)
        # What torch knows of each value that an operation gave, whatever it saved of it.
        found = {value.dtype for operation in operations for value in operation._input_metadata}
        formats = {format for format in found if format.is_floating_point} | {model.dtype}
        kept[model.dtype] = max(formats, key=lambda format: torch.finfo(format).eps)
    return cast("torch.dtype", kept[model.dtype])


def operations_of(hf: nn.Module, embedding: nn.Module, device: torch.device | str) -> set[Any]:
    """All operations between ``embedding`` and the logits of ``hf``, as nodes of a graph."""

    def followed(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        # A copy, no leaf: some models scale their embeddings in place.
        return output.detach().requires_grad_().clone()

    tokens = torch.zeros(1, _TOKENS, dtype=torch.long, device=device)
    handle = embedding.register_forward_hook(followed)
    try:
        with torch.enable_grad():
            logits = hf(input_ids=tokens, use_cache=False).logits
    finally:
        handle.remove()
    seen: set[Any] = set()
    waiting = [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
    return seen
