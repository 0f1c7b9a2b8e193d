"""Activation patching by whole passes with plain hooks: what the engine must equal.

Nothing of the engine is used, and nothing is kept from one pass to the next but the values that are
put in place. It works for any model whose modules `discover` finds, also where TransformerLens has
no adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from counterpoint.engine.activations import Component, Direction, TokenPairs
from counterpoint.models.load import LanguageModel

Place = tuple[int, int, int]
"""Pair, layer and head; the head of an MLP is 0."""


def effects(
    model: LanguageModel,
    pairs: TokenPairs,
    direction: Direction,
    component: Component,
    alpha: float | Tensor = 1.0,
) -> dict[Place, Tensor]:
    """f(α) − f(0) of every head, or MLP: its value moved from the background's to the other's."""
    sides = ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")
    background, other = (getattr(pairs, side) for side in sides)
    layers = model.head_layers if component == "head" else model.mlp_layers
    found: dict[Place, Tensor] = {}
    start = logits(model, background)
    for layer in layers:
        module = model.output_projection(layer) if component == "head" else model.mlp(layer)
        values = [value_of(model, module, tokens, component) for tokens in (background, other)]
        n_parts = model.n_heads if component == "head" else 1
        for part in range(n_parts):
            width = values[0].shape[-1] // n_parts
            own = slice(part * width, (part + 1) * width)
            moved = values[0].clone()
            moved[..., own] = moved[..., own] + alpha * (values[1] - values[0])[..., own]

            def put(value: Tensor, own: slice = own, moved: Tensor = moved) -> Tensor:
                value = value.clone()
                value[..., own] = moved[..., own]
                return value

            with changed(module, component, put):
                end = logits(model, background)
            for pair in range(len(pairs)):
                (correct,), (incorrect,) = pairs.correct[pair], pairs.incorrect[pair]
                change = (end - start)[pair]
                found[pair, layer, part] = change[correct] - change[incorrect]
    return found


def logits(model: LanguageModel, tokens: Tensor) -> Tensor:
    """The last position's logits of whole prompts, without any cache."""
    output: Tensor = model.hf(input_ids=tokens, use_cache=False).logits[:, -1]
    return output


def value_of(
    model: LanguageModel, module: nn.Module, tokens: Tensor, component: Component
) -> Tensor:
    """What the module is given (the values of heads) or returns (an MLP)."""
    return values_of(model, [(module, component)], tokens)[0]


@torch.no_grad()
def values_of(
    model: LanguageModel, places: Sequence[tuple[nn.Module, Component]], tokens: Tensor
) -> list[Tensor]:
    """The same of several modules, from one pass."""
    kept: dict[int, Tensor] = {}

    def keep(value: Tensor, number: int) -> Tensor:
        kept[number] = value.clone()
        return value

    with ExitStack() as hooks:
        for number, (module, component) in enumerate(places):
            hooks.enter_context(changed(module, component, partial(keep, number=number)))
        logits(model, tokens)
    return [kept[number] for number in range(len(places))]


@contextmanager
def changed(
    module: nn.Module, component: Component, change: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Within the block what the module is given, or returns, goes through ``change``."""

    def given(module: nn.Module, args: Any) -> Any:
        return (change(args[0]), *args[1:])

    def returned(module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    handle = (
        module.register_forward_pre_hook(given)
        if component == "head"
        else module.register_forward_hook(returned)
    )
    try:
        yield
    finally:
        handle.remove()
