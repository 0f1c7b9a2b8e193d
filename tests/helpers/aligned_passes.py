"""Pairs of unequal length by whole passes with plain hooks and the alignment applied by hand.

Nothing of the engine is used: both prompts run whole, what is put in place is copied position by
position in a loop, and gradients go back through the whole pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterpoint.models.load import LanguageModel


class AlignedPasses:
    """Passes of one prompt, the background, with values of another at partner positions.

    ``partner`` maps positions of ``background`` to positions of ``other``; what it leaves out keeps
    its own value. The metric is the logit difference of the two ``answers``.
    """

    def __init__(
        self,
        model: LanguageModel,
        background: Sequence[int],
        other: Sequence[int],
        partner: Mapping[int, int],
        answers: tuple[int, int],
    ) -> None:
        self.model, self.answers, self.partner = model, answers, partner
        self.tokens = torch.tensor([list(background)])
        self.targets: dict[tuple[str, int], Tensor] = {}
        own, its = (self._values(torch.tensor([list(one)])) for one in (background, other))
        self.background = own
        for key, value in own.items():
            target = value.clone()
            for place, of_other in partner.items():
                target[0, place] = its[key][0, of_other]
            self.targets[key] = target

    def metric(self, *changes: tuple[str, int, Callable[[Tensor], Tensor]]) -> Tensor:
        """The metric with what goes through a place, (component, layer), changed by a function."""
        handles = [self._hook(name, layer, change) for name, layer, change in changes]
        try:
            logits = self.model.hf(input_ids=self.tokens, use_cache=False).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()
        return logits[self.answers[0]] - logits[self.answers[1]]

    def moved(
        self,
        component: str,
        layer: int,
        alphas: Tensor,
        positions: Sequence[int] | None = None,
    ) -> Tensor:
        """The metric with the parts of a component, as many as ``alphas``, each moved so far."""
        start, end = self.background[component, layer], self.targets[component, layer]
        where = torch.zeros(start.shape[1], 1, dtype=start.dtype)
        where[list(range(len(where)) if positions is None else positions)] = 1
        share = alphas.repeat_interleave(start.shape[-1] // len(alphas))
        value = (start + where * share * (end - start)).to(start.dtype)
        return self.metric((component, layer, lambda _: value))

    def head(
        self, layer: int, head: int, alpha: float, positions: Sequence[int] | None = None
    ) -> tuple[float, float]:
        """f and g of one head at α."""
        at = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
        alphas = at * torch.nn.functional.one_hot(torch.tensor(head), self.model.n_heads)
        f = self.moved("head", layer, alphas, positions)
        (g,) = torch.autograd.grad(f, at)
        return float(f.detach()), float(g)

    def joint(self, layer: int, steps: int) -> np.ndarray:
        """IG of every head with all heads of the layer moving, by Gauss-Legendre."""
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        total = np.zeros(self.model.n_heads)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            alphas = torch.full((self.model.n_heads,), node, dtype=torch.float64)
            f = self.moved("head", layer, alphas.requires_grad_())
            total += weight * torch.autograd.grad(f, alphas)[0].numpy()
        return total

    @torch.no_grad()
    def _values(self, tokens: Tensor) -> dict[tuple[str, int], Tensor]:
        kept: dict[tuple[str, int], Tensor] = {}

        def keep(key: tuple[str, int]) -> Callable[[Tensor], Tensor]:
            def change(value: Tensor) -> Tensor:
                kept[key] = value.clone()
                return value

            return change

        keys = [
            (name, layer)
            for name in ("head", "attention", "mlp", "residual")
            for layer in range(self.model.n_layers)
        ]
        handles = [self._hook(*key, keep(key)) for key in keys]
        try:
            self.model.hf(input_ids=tokens, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return kept

    def _hook(self, component: str, layer: int, change: Callable[[Tensor], Tensor]) -> Any:
        def given(module: Any, args: Any, kwargs: Any) -> Any:
            if args:
                return (change(args[0]), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

        def returned(module: Any, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (change(output[0]), *output[1:])
            return change(output)

        model = self.model
        match component:
            case "head":
                projection = model.output_projection(layer)
                return projection.register_forward_pre_hook(given, with_kwargs=True)
            case "residual":
                return model.blocks[layer].register_forward_pre_hook(given, with_kwargs=True)
            case "attention":
                return model.output_projection(layer).register_forward_hook(returned)
            case _:
                return model.mlp(layer).register_forward_hook(returned)
