"""The slow, plain reference: whole passes of TransformerLens' bridge, hooked at hook_result.

This is the original notebook's procedure, one evaluation at a time, and shares no code with the
engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from counterpoint.counterfactuals.evaluation.all_heads import Pair
from counterpoint.models.load import LanguageModel


class PlainReference:
    """Runs of one pair; ``metric`` maps the last position's logits to a number."""

    def __init__(
        self,
        bridge: TransformerBridge,
        clean: Int[Tensor, " length"],
        corrupted: Int[Tensor, " length"],
        metric: Callable[[Float[Tensor, "... vocabulary"]], Tensor],
    ) -> None:
        self.bridge, self.metric = bridge, metric
        bridge.set_use_attn_result(True)
        self.tokens = {"clean": clean.unsqueeze(0), "corrupted": corrupted.unsqueeze(0)}
        self.cache: dict[str, dict[str, Tensor]] = {}
        for prompt, tokens in self.tokens.items():
            kept: dict[str, Tensor] = {}
            bridge.run_with_hooks(tokens, fwd_hooks=[(self._is_output, _keeper(kept))])
            self.cache[prompt] = kept

    @staticmethod
    def _is_output(name: str) -> bool:
        return name.endswith(("attn.hook_result", "attn.hook_out", "mlp.hook_out"))

    def unpatched(self, prompt: str) -> Tensor:
        return self.metric(self.bridge(self.tokens[prompt])[0, -1])

    def head(
        self, layer: int, head: int, alpha: float | Tensor, direction: str = "noising"
    ) -> Tensor:
        """f(α) of one head."""
        return self.heads(layer, [head], alpha, direction)

    def batch(self, layer: int, head: int, alphas: Float[Tensor, " alpha"]) -> Tensor:
        """f at several points of one head's path, in one batch of whole passes."""
        name = f"blocks.{layer}.attn.hook_result"
        start, end = self.cache["clean"][name], self.cache["corrupted"][name]
        step = alphas.view(-1, 1, 1)

        def shift(value: Tensor, hook: Any) -> Tensor:
            value = value.clone()
            value[:, :, head] = start[:, :, head] + step * (end - start)[:, :, head]
            return value

        tokens = self.tokens["clean"].expand(len(alphas), -1)
        logits = self.bridge.run_with_hooks(tokens, fwd_hooks=[(name, shift)])
        return self.metric(logits[:, -1])

    def heads(
        self, layer: int, heads: list[int], alpha: float | Tensor, direction: str = "noising"
    ) -> Tensor:
        """f(α) with several heads of one layer moving together."""
        background, other = _sides(direction)
        name = f"blocks.{layer}.attn.hook_result"
        start, end = self.cache[background][name], self.cache[other][name]

        def shift(value: Tensor, hook: Any) -> Tensor:
            value = value.clone()
            value[:, :, heads] = start[:, :, heads] + alpha * (end - start)[:, :, heads]
            return value

        return self._run(background, name, shift)

    def mlp(self, layer: int, alpha: float | Tensor, direction: str = "noising") -> Tensor:
        """f(α) of one MLP."""
        background, other = _sides(direction)
        name = f"blocks.{layer}.mlp.hook_out"
        start, end = self.cache[background][name], self.cache[other][name]
        return self._run(background, name, lambda value, hook: start + alpha * (end - start))

    def _run(self, background: str, name: str, hook: Callable[..., Tensor]) -> Tensor:
        logits = self.bridge.run_with_hooks(self.tokens[background], fwd_hooks=[(name, hook)])
        return self.metric(logits[0, -1])


def _sides(direction: str) -> tuple[str, str]:
    return ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")


def _keeper(kept: dict[str, Tensor]) -> Callable[..., None]:
    def keep(value: Tensor, hook: Any) -> None:
        kept[hook.name] = value.detach().clone()

    return keep


def plain_changes(model: LanguageModel, pair: Pair) -> np.ndarray:
    """f(0) − f(1) of every head by whole passes of the reference."""
    reference = PlainReference(
        model.bridge(),
        torch.tensor(pair.clean),
        torch.tensor(pair.corrupted),
        lambda logits: logits[pair.correct] - logits[pair.incorrect],
    )
    with torch.no_grad():
        start = float(reference.head(0, 0, 0))
        return np.array(
            [
                start - float(reference.head(layer, head, 1))
                for layer in range(model.n_layers)
                for head in range(model.n_heads)
            ]
        )
