"""Runs in which nodes outside a circuit are held at the other prompt's values.

`final_of` is one such run of the whole model on the suffixes of some rows; what becomes of the
values of heads and of the MLPs' outputs is given as functions of the layer and them, and `Held` are
those that hold what is outside. `changed_layers` hooks them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.head_outputs import packed
from counterpoint.engine.replay import by_row, first_of, hidden_states_of, last_of, with_first
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.models.load import LanguageModel

Change = Callable[[int, Tensor], Tensor]
"""What the values of a layer's heads, or its MLP's output, become: given the layer and them."""


class Held:
    """Puts the other run's values in place of those of nodes outside the rows' circuits."""

    def __init__(
        self,
        engine: SuffixEngine,
        direction: Direction,
        pair: Int[Tensor, " row"],
        circuits: Bool[Tensor, "row node"],
    ) -> None:
        self.model, self.pair = engine.model, pair
        self.other = engine.activations.run(other_prompt(direction))
        self.with_embedding = circuits[:, 0]
        self.blocks = circuits[:, 1:].unflatten(1, (-1, self.model.n_heads + 1))

    def z(self, layer: int, value: Tensor) -> Tensor:
        inside = self.blocks[:, layer, :-1]
        if bool(inside.all()):
            return value
        width = value.shape[-1] // self.model.n_heads
        return torch.where(
            inside.repeat_interleave(width, 1).unsqueeze(1), value, self.other_z(layer)
        )

    def mlp(self, layer: int, value: Tensor) -> Tensor:
        inside = self.blocks[:, layer, -1]
        if bool(inside.all()):
            return value
        return torch.where(inside.view(-1, 1, 1), value, self.other_mlp(layer))

    def other_z(self, layer: int) -> Tensor:
        return packed(self.model, layer, self.other.z[layer, self.pair])

    def other_mlp(self, layer: int) -> Tensor:
        return self.other.mlp[layer, self.pair]


def final_of(
    engine: SuffixEngine,
    direction: Direction,
    pair: Int[Tensor, " row"],
    with_embedding: Bool[Tensor, " row"],
    z: Change,
    mlp: Change,
    start: Float[Tensor, "row suffix d_model"] | None = None,
) -> Float[Tensor, "row d_model"]:
    """The last block's output at the last position, where ``z`` and ``mlp`` change every layer.

    ``start`` replaces what the first block is given.
    """
    own, other = (
        engine.activations.tokens(side(direction))[pair]
        for side in (background_prompt, other_prompt)
    )
    tokens = torch.where(with_embedding.unsqueeze(1), own, other)
    with changed_layers(engine.model, len(pair), z, mlp, start) as final:
        engine.run_suffix(tokens, pair)
    return final[0]


@contextmanager
def changed_layers(
    model: LanguageModel,
    rows: int,
    z: Change,
    mlp: Change,
    start: Tensor | None,
    only: int | None = None,
) -> Iterator[list[Tensor]]:
    """Within the block every layer's heads and MLP, or one layer's, go through ``z`` and ``mlp``.

    What it gives will hold the last block's output at the last position.
    """
    final: list[Tensor] = []

    def into(change: Callable[[Tensor], Tensor]) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            given, keyword = hidden_states_of(args, kwargs)
            new = change(given)
            if keyword is None:
                return (new, *args[1:]), kwargs
            return args, {**kwargs, keyword: new}

        return hook

    def of_heads(layer: int) -> Callable[[Tensor], Tensor]:
        return lambda value: z(layer, by_row(value, rows)).view_as(value)

    def of_mlp(layer: int) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            value = first_of(output)
            return with_first(output, mlp(layer, by_row(value, rows)).view_as(value))

        return hook

    with ExitStack() as hooks:
        if start is not None:
            first = model.blocks[0].register_forward_pre_hook(
                into(lambda value: start), with_kwargs=True
            )
            hooks.callback(first.remove)
        for layer in model.head_layers if only is None else {only} & {*model.head_layers}:
            projection = model.output_projection(layer)
            hooks.callback(
                projection.register_forward_pre_hook(into(of_heads(layer)), with_kwargs=True).remove
            )
        for layer in model.mlp_layers if only is None else {only} & {*model.mlp_layers}:
            hooks.callback(model.mlp(layer).register_forward_hook(of_mlp(layer)).remove)
        hooks.callback(
            model.blocks[-1]
            .register_forward_hook(
                lambda module, args, output: final.append(last_of(model, first_of(output)))
            )
            .remove
        )
        yield final
