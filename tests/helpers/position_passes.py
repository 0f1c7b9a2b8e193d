"""Patching at one position by whole passes with plain hooks: what AP by position must equal.

Nothing of the engine is used: each value is taken from, and put into, a forward pass of the whole
prompts of the Hugging Face model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from counterpoint.engine.activations import Component, Direction, TokenPairs
from counterpoint.models.load import LanguageModel

Place = tuple[int, int, int, int]
"""Pair, layer, head (0 for a whole component) and position in the prompt."""


@torch.no_grad()
def effects_by_position(
    model: LanguageModel,
    pairs: TokenPairs,
    direction: Direction,
    component: Component,
    units: Collection[tuple[int, int]] | None = None,
    positions: Sequence[int] | None = None,
    alpha: float = 1.0,
) -> dict[Place, float]:
    """f(α) − f(0) of every head, or whole component, moved at every single position; at α = 1 it is
    replaced there.

    ``units``, (layer, head) with 0 for a whole component, and ``positions`` leave out the others.
    """
    sides = ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")
    background, other = (getattr(pairs, side) for side in sides)
    start = _logits(model, background)
    found: dict[Place, float] = {}
    for layer in _layers(model, component):
        if units is not None and layer not in {own for own, _ in units}:
            continue
        kept: list[Tensor] = []

        def keep(value: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(value.clone())
            return value

        _run(model, other, layer, component, keep)
        n_parts = model.n_heads if component == "head" else 1
        for part in range(n_parts):
            if units is not None and (layer, part) not in units:
                continue
            for position in positions or range(pairs.length):

                def put(
                    value: Tensor,
                    part: int = part,
                    position: int = position,
                    new: Tensor = kept[0],
                    n_parts: int = n_parts,
                ) -> Tensor:
                    width = value.shape[-1] // n_parts
                    own = slice(part * width, (part + 1) * width)
                    value = value.clone()
                    kept_here = (1 - alpha) * value[:, position, own]
                    value[:, position, own] = kept_here + alpha * new[:, position, own]
                    return value

                end = _run(model, background, layer, component, put)
                for pair in range(len(pairs)):
                    change = (end - start)[pair]
                    (correct,), (incorrect,) = pairs.correct[pair], pairs.incorrect[pair]
                    found[pair, layer, part, position] = float(change[correct] - change[incorrect])
    return found


def _layers(model: LanguageModel, component: Component) -> list[int]:
    if component == "residual":
        return list(range(model.n_layers))
    return model.mlp_layers if component == "mlp" else model.head_layers


def _logits(model: LanguageModel, tokens: Tensor) -> Tensor:
    output: Tensor = model.hf(input_ids=tokens, use_cache=False).logits[:, -1]
    return output


def _run(
    model: LanguageModel,
    tokens: Tensor,
    layer: int,
    component: Component,
    change: Callable[[Tensor], Tensor],
) -> Tensor:
    """The logits of a pass in which a component's value goes through ``change``."""

    def by_row(value: Tensor) -> Tensor:
        # Some modules are given rows and positions in one axis.
        return change(value.view(len(tokens), -1, value.shape[-1])).view_as(value)

    def given(module: Any, args: Any, kwargs: Any) -> Any:
        if args:
            return (by_row(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": by_row(kwargs["hidden_states"])}

    def returned(module: Any, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (by_row(output[0]), *output[1:])
        return by_row(output)

    if component in ("head", "residual"):
        module = model.blocks[layer] if component == "residual" else model.output_projection(layer)
        handle = module.register_forward_pre_hook(given, with_kwargs=True)
    else:
        module = model.mlp(layer) if component == "mlp" else model.output_projection(layer)
        handle = module.register_forward_hook(returned)
    try:
        return _logits(model, tokens)
    finally:
        handle.remove()
