"""Circuits by whole passes of the Hugging Face model with plain hooks: nothing of the engine."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from torch import Tensor

from counterpoint.engine.activations import Direction, TokenPairs
from counterpoint.models.load import LanguageModel
from tests.helpers.whole_passes import changed, logits, value_of, values_of


@torch.no_grad()
def circuit_metric(
    model: LanguageModel, pairs: TokenPairs, direction: Direction, circuit: np.ndarray
) -> np.ndarray:
    """The logit difference of each pair with the nodes of ``circuit`` [node] inside.

    The run has the background's prompt where the embeddings are inside, else the other's; all
    nodes outside have the other run's values.
    """
    sides = ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")
    background, other = (getattr(pairs, side) for side in sides)
    blocks = circuit[1:].reshape(model.n_layers, model.n_heads + 1)
    places = [
        *(
            (model.output_projection(layer), "head", blocks[layer, :-1])
            for layer in model.head_layers
        ),
        *((model.mlp(layer), "mlp", blocks[layer, -1:]) for layer in model.mlp_layers),
    ]
    values = values_of(model, [(module, kind) for module, kind, _ in places], other)
    with ExitStack() as hooks:
        for (module, kind, inside), new in zip(places, values, strict=True):
            hooks.enter_context(changed(module, kind, partial(_held, new=new, inside=inside)))
        end = logits(model, background if circuit[0] else other)
    return differences(end, pairs).numpy()


def _held(value: Tensor, new: Tensor, inside: np.ndarray) -> Tensor:
    """``value`` with the parts outside taken from ``new``."""
    value, width = value.clone(), value.shape[-1] // len(inside)
    for part in np.flatnonzero(~inside):
        own = slice(part * width, (part + 1) * width)
        value[..., own] = new[..., own]
    return value


def differences(end: Tensor, pairs: TokenPairs) -> Tensor:
    """The logit difference of each pair."""
    rows = torch.arange(len(pairs))
    correct, incorrect = (
        torch.tensor([answer for (answer,) in side]) for side in (pairs.correct, pairs.incorrect)
    )
    return end[rows, correct] - end[rows, incorrect]


@torch.no_grad()
def moved_metric(
    model: LanguageModel,
    pairs: TokenPairs,
    direction: Direction,
    circuit: np.ndarray,
    node: int,
    step: float,
) -> np.ndarray:
    """The same with one node other than the embeddings moved by ``step`` of the way from the
    other run's output to what it computes in the circuit, from where the circuit has it."""
    sides = ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")
    background, other = (getattr(pairs, side) for side in sides)
    layer, part = divmod(node - 1, model.n_heads + 1)
    is_mlp = part == model.n_heads
    module = model.mlp(layer) if is_mlp else model.output_projection(layer)
    parts = 1 if is_mlp else model.n_heads
    kind = "mlp" if is_mlp else "head"
    away = value_of(model, module, other, kind)
    width = away.shape[-1] // parts
    start = 0 if is_mlp else part * width
    own = slice(start, start + width)

    def moved(value: Tensor, computed: list[Tensor], move: float) -> Tensor:
        computed.append(value)
        value = value.clone()
        base = value if circuit[node] else away
        value[..., own] = (base + move * (computed[0] - away))[..., own]
        return value

    blocks = circuit[1:].reshape(model.n_layers, model.n_heads + 1)
    places = [
        *(
            (model.output_projection(layer), "head", blocks[layer, :-1])
            for layer in model.head_layers
        ),
        *((model.mlp(layer), "mlp", blocks[layer, -1:]) for layer in model.mlp_layers),
    ]
    values = values_of(model, [(place, name) for place, name, _ in places], other)
    with ExitStack() as hooks:
        # First of its module's hooks, and so given what the node computes.
        hooks.enter_context(changed(module, kind, lambda value: moved(value, [], step)))
        for (place, name, inside), new in zip(places, values, strict=True):
            mask = inside.copy()
            if place is module:
                mask[0 if is_mlp else part] = True
            hooks.enter_context(changed(place, name, partial(_held, new=new, inside=mask)))
        end = logits(model, background if circuit[0] else other)
    return differences(end, pairs).numpy()
