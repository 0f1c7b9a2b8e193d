"""The plain reference: whole passes of the model with hooks, one component at a time.

It shares nothing with the engine but the modules' names. A head is a share of what its output
projection reads; it is put where the path asks, at every position, before that projection. g is
reverse-mode differentiation through whole passes, IG a Gauss-Legendre sum of such gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass
class Whole:
    """Whole passes over pairs of prompts ``tokens`` [pair, length] by side, with answers."""

    hf: Any
    projections: dict[int, nn.Module]
    mlps: dict[int, nn.Module]
    n_heads: int
    tokens: dict[str, Tensor]
    answers: list[tuple[int, int]]

    def __post_init__(self) -> None:
        self.z: dict[str, dict[int, Tensor]] = {}
        self.mlp: dict[str, dict[int, Tensor]] = {}
        self.start: dict[str, Tensor] = {}
        for side, tokens in self.tokens.items():
            z: dict[int, Tensor] = {}
            mlp: dict[int, Tensor] = {}
            hooks = [
                module.register_forward_pre_hook(_keep_input(z, layer))
                for layer, module in self.projections.items()
            ] + [
                module.register_forward_hook(_keep_output(mlp, layer))
                for layer, module in self.mlps.items()
            ]
            with torch.no_grad():
                self.start[side] = self.metric(tokens)
            for hook in hooks:
                hook.remove()
            self.z[side], self.mlp[side] = z, mlp

    def metric(self, tokens: Tensor, pairs: list[int] | None = None) -> Tensor:
        """The difference of the answers' logits at the last position of each row."""
        logits = self.hf(input_ids=tokens, use_cache=False).logits[:, -1]
        chosen = self.answers if pairs is None else [self.answers[pair] for pair in pairs]
        both = zip(logits, chosen, strict=True)
        return torch.stack([row[correct] - row[incorrect] for row, (correct, incorrect) in both])

    def f(self, layer: int, alpha: float | Tensor, background: str, other: str) -> Tensor:
        """f(α) of every head of a layer, one head in each row: [head, pair]."""
        heads, pairs = self.n_heads, len(self.answers)
        start, end = (
            self.z[side][layer].repeat(heads, *[1] * (self.z[side][layer].ndim - 1))
            for side in (background, other)
        )
        owner = torch.arange(start.shape[-1]) // (start.shape[-1] // heads)
        moving = owner == torch.arange(heads).repeat_interleave(pairs).view(-1, 1, 1)

        def move(z: Tensor) -> Tensor:
            return torch.where(moving, start + alpha * (end - start), z)

        with _before(self.projections[layer], move):
            tokens = self.tokens[background].repeat(heads, 1)
            return self.metric(tokens, [*range(pairs)] * heads).view(heads, pairs)

    def g(self, layer: int, alpha: float, background: str, other: str) -> Tensor:
        """g(α) of every head of a layer: [head, pair]."""
        rows = self.n_heads * len(self.answers)
        at = torch.full((rows, 1, 1), alpha, dtype=self.start["clean"].dtype, requires_grad=True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.f(layer, at, background, other).sum(), at)
        return slope.view(self.n_heads, -1)

    def mlp_patched(self, layer: int, background: str, other: str) -> Tensor:
        """The metric with the MLP's output put in place, for every pair."""
        value = self.mlp[other][layer]

        def replace(module: nn.Module, args: Any, output: Any) -> Any:
            if isinstance(output, (tuple, list)):
                return (value.view_as(output[0]), *output[1:])
            return value.view_as(output)

        hook = self.mlps[layer].register_forward_hook(replace)
        try:
            with torch.no_grad():
                return self.metric(self.tokens[background])
        finally:
            hook.remove()

    def ig_joint(
        self, layer: int, pair: int, steps: int, background: str, other: str
    ) -> np.ndarray:
        """IG of every head of a layer on one pair, all heads moving together."""
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        start, end = self.z[background][layer][pair], self.z[other][layer][pair]
        at = torch.tensor((nodes + 1) / 2, dtype=start.dtype).view(-1, 1, 1)
        path = (start + at * (end - start)).requires_grad_()
        tokens = self.tokens[background][pair].expand(steps, -1)
        with torch.enable_grad(), _before(self.projections[layer], lambda z: path.view_as(z)):
            (slopes,) = torch.autograd.grad(self.metric(tokens, [pair] * steps).sum(), path)
        weight = torch.tensor(weights / 2, dtype=torch.float64).view(-1, 1, 1)
        scores = (weight * slopes.double() * (end - start).double()).sum((0, 1))
        return scores.view(self.n_heads, -1).sum(1).numpy()


def _keep_input(kept: dict[int, Tensor], layer: int) -> Callable[..., None]:
    def keep(module: nn.Module, args: Any) -> None:
        kept[layer] = args[0].detach().clone()

    return keep


def _keep_output(kept: dict[int, Tensor], layer: int) -> Callable[..., None]:
    def keep(module: nn.Module, args: Any, output: Any) -> None:
        first = output[0] if isinstance(output, (tuple, list)) else output
        kept[layer] = first.detach().clone()

    return keep


@contextmanager
def _before(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    hook = module.register_forward_pre_hook(lambda m, args: (change(args[0]), *args[1:]))
    try:
        yield
    finally:
        hook.remove()
