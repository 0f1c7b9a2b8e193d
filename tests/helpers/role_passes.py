"""The effects of roles by whole passes with plain hooks: what `measures.roles` must equal.

Queries, keys and values are replaced where a model's own linear maps give them, before norms and
position embeddings; patterns by a copy of the model's eager attention. Where keys and values are
shared, a copy of the model with a key and value for each query head says what one head alone does.
Nothing of the engine is used.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from counterpoint.engine.activations import Direction, TokenPairs
from counterpoint.models.load import LanguageModel, wrap
from tests.helpers.whole_passes import changed, logits

Place = tuple[int, int, int, str]
"""Pair, layer, head and role."""


def role_effects(
    model: LanguageModel,
    pairs: TokenPairs,
    direction: Direction,
    heads: Sequence[tuple[int, int]] | None = None,
) -> dict[Place, Any]:
    """The effect of every role of ``heads``, by default all, and of their groups."""
    sides = ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")
    background, other = (getattr(pairs, side) for side in sides)
    found: dict[Place, Any] = {}
    alone = one_key_each(model)
    group = model.n_heads // model.n_key_value_heads
    if heads is None:
        heads = [(layer, head) for layer in model.head_layers for head in range(model.n_heads)]
    with torch.no_grad():
        start, start_alone = logits(model, background), logits(alone, background)
        for layer, head in heads:
            for role in ("query", "key", "value"):
                end = _projected(alone, layer, head, role, background, other)
                _note(found, pairs, (layer, head, role), end - start_alone)
            end = _with_pattern(model, layer, head, background, other)
            _note(found, pairs, (layer, head, "pattern"), end - start)
            end = _with_output(model, layer, head, background, other)
            _note(found, pairs, (layer, head, "output"), end - start)
            if group > 1:
                shared = head // group
                for role in ("key", "value"):
                    place = (layer, shared * group, f"{role}_group")
                    if (0, *place) not in found:
                        end = _projected(model, layer, shared, role, background, other)
                        _note(found, pairs, place, end - start)
    return found


def _note(found: dict[Place, Any], pairs: TokenPairs, place: Any, change: Tensor) -> None:
    for pair in range(len(pairs)):
        (correct,), (incorrect,) = pairs.correct[pair], pairs.incorrect[pair]
        found[pair, *place] = float(change[pair, correct] - change[pair, incorrect])


def _projected(
    model: LanguageModel, layer: int, head: int, role: str, background: Tensor, other: Tensor
) -> Tensor:
    """Logits with one head's slice of a projection from the other prompt."""
    module, own = _slice(model, layer, head, role)
    kept: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        kept.append(value.clone())
        return value

    def put(value: Tensor) -> Tensor:
        value = value.clone()
        value[..., own] = kept[0][..., own]
        return value

    with changed(module, "mlp", keep):
        logits(model, other)
    with changed(module, "mlp", put):
        return logits(model, background)


def _slice(model: LanguageModel, layer: int, head: int, role: str) -> tuple[nn.Module, slice]:
    """The linear map that gives a role, and the head's place in what it gives."""
    attention: Any = model.attention(layer)
    number = ("query", "key", "value").index(role)
    if hasattr(attention, "c_attn"):
        width = attention.c_attn.weight.shape[1] // 3 // model.n_heads
        first = (number * model.n_heads + head) * width
        return attention.c_attn, slice(first, first + width)
    if hasattr(attention, "query_key_value"):
        width = attention.query_key_value.weight.shape[0] // 3 // model.n_heads
        first = (head * 3 + number) * width
        return attention.query_key_value, slice(first, first + width)
    module = getattr(attention, f"{role[0]}_proj")
    width = attention.head_dim
    return module, slice(head * width, (head + 1) * width)


def _with_output(
    model: LanguageModel, layer: int, head: int, background: Tensor, other: Tensor
) -> Tensor:
    kept: list[Tensor] = []
    width = 0

    def keep(value: Tensor) -> Tensor:
        kept.append(value.clone())
        return value

    def put(value: Tensor) -> Tensor:
        value = value.clone()
        value[..., head * width : (head + 1) * width] = kept[0][
            ..., head * width : (head + 1) * width
        ]
        return value

    projection = model.output_projection(layer)
    with changed(projection, "head", keep):
        logits(model, other)
    width = kept[0].shape[-1] // model.n_heads
    with changed(projection, "head", put):
        return logits(model, background)


def _with_pattern(
    model: LanguageModel, layer: int, head: int, background: Tensor, other: Tensor
) -> Tensor:
    """Logits with one head's attention weights from the other prompt."""
    kept: list[Tensor] = []
    attention = model.attention(layer)

    def keep(weights: Tensor) -> Tensor:
        kept.append(weights.clone())
        return weights

    def put(weights: Tensor) -> Tensor:
        weights = weights.clone()
        weights[:, head] = kept[0][:, head]
        return weights

    with _patterns(attention, keep):
        logits(model, other)
    with _patterns(attention, put):
        return logits(model, background)


@contextmanager
def _patterns(attention: nn.Module, change: Any) -> Iterator[None]:
    """Within the block the weights of one attention go through ``change``."""
    code = sys.modules[type(attention).__module__]
    eager = code.eager_attention_forward

    def forward(module: Any, query: Tensor, key: Tensor, value: Tensor, *a: Any, **k: Any) -> Any:
        output, weights = eager(module, query, key, value, *a, **k)
        if module is not attention:
            return output, weights
        weights = change(weights)
        values = value.repeat_interleave(weights.shape[1] // value.shape[1], dim=1)
        return (weights @ values).transpose(1, 2).contiguous(), weights

    code.eager_attention_forward = forward
    try:
        yield
    finally:
        code.eager_attention_forward = eager


def one_key_each(model: LanguageModel) -> LanguageModel:
    """The same model with a key-value head for each query head; itself where it has that."""
    group = model.n_heads // model.n_key_value_heads
    if group == 1:
        return model
    hf = copy.deepcopy(model.hf)
    hf.config.num_key_value_heads = model.n_heads
    for layer in model.head_layers:
        attention: Any = hf.get_submodule(f"{model.names.blocks}.{layer}.self_attn")
        attention.num_key_value_groups = 1
        for projection in (attention.k_proj, attention.v_proj):
            for name, tensor in list(projection.named_parameters()):
                apart = tensor.data.unflatten(0, (model.n_key_value_heads, -1))
                repeated = apart.repeat_interleave(group, dim=0).flatten(0, 1)
                setattr(projection, name, nn.Parameter(repeated))
    return wrap(hf, model.tokenizer, prepend_bos=model.prepend_bos)
