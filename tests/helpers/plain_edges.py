"""Circuits of edges by whole passes with plain hooks, each stream added up by hand.

Nothing of the engine is used. The other prompt's run is kept; then, in the order in which a model
computes, the stream that each receiver reads is the sum of what its senders give: here in the run
of the circuit where the edge is inside, else in the kept run. A head's query, key and value are
what its block makes of three such streams, in three passes; put into a fourth pass, for this head
alone, they give its values.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from counterpoint.engine.activations import Direction, TokenPairs
from counterpoint.models.load import LanguageModel
from tests.helpers.plain_circuits import differences

ROLES = ("query", "key", "value")
Hook = tuple[nn.Module, str, Callable[[Tensor], Tensor]]


class PlainEdges:
    """Circuits of edges of a tiny model on all pairs, in one direction."""

    def __init__(self, model: LanguageModel, pairs: TokenPairs, direction: Direction) -> None:
        self.model, self.pairs = model, pairs
        sides = ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")
        self.background, self.tokens = (getattr(pairs, side) for side in sides)
        self.other = self._outputs(self.tokens)
        self.embeddings = self._kept(self.background, model.blocks[0], "input")

    @torch.no_grad()
    def metric(self, inside: np.ndarray) -> np.ndarray:
        """The logit difference of each pair with the edges ``inside`` [node, receiver].

        Nodes are the embeddings, then each layer's heads and MLP; receivers each layer's queries,
        keys, values and MLP, and the logits.
        """
        model, heads = self.model, self.model.n_heads
        own: list[Tensor] = [self.embeddings]
        for layer in range(model.n_layers):
            first = layer * (3 * heads + 1)
            for head in range(heads):
                parts = {
                    role: self._read(own, inside[:, first + place * heads + head], layer)
                    for place, role in enumerate(ROLES)
                }
                own.append(self._head(layer, head, parts))
            column = inside[:, first + 3 * heads]
            above = layer if _parallel(model) else layer + 0.5
            own.append(self._mlp(layer, self._read(own, column, above)))
        stream = self._read(own, inside[:, -1], model.n_layers)
        last = model.blocks[-1]
        return differences(self._run([(last, "output", lambda given: stream)]), self.pairs).numpy()

    def _read(self, own: list[Tensor], column: np.ndarray, above: float) -> Tensor:
        """The stream before layer ``above`` (before the MLP of a layer: half a layer further)."""
        heads = self.model.n_heads
        given = [own[node] if column[node] else self.other[node] for node in range(len(own))]
        stream = given[0]
        for layer in range(self.model.n_layers):
            first = 1 + layer * (heads + 1)
            if layer < above:
                bias = _bias(self.model, layer)
                stream = stream + _after_attention(
                    self.model, layer, sum(given[first : first + heads]) + bias
                )
            if layer + 1 <= above:
                stream = stream + _after_mlp(self.model, layer, given[first + heads])
        return stream

    def _head(self, layer: int, head: int, streams: dict[str, Tensor]) -> Tensor:
        """The output of one head whose query, key and value read these streams."""
        model, block = self.model, self.model.blocks[layer]
        columns = _columns(model, layer, head)
        hooks: list[Hook] = []
        for role, stream in streams.items():
            module, where = columns[role]
            made = self._kept(
                self.background, module, "output", [(block, "input", _instead(stream))]
            )
            hooks.append((module, "output", _put(made, where)))
        projection = model.output_projection(layer)
        z = self._kept(self.background, projection, "input", hooks)
        return _shares(model, layer, z)[head]

    def _mlp(self, layer: int, stream: Tensor) -> Tensor:
        return self.model.mlp(layer)(norm_of_mlp(self.model, layer)(stream))

    def _outputs(self, tokens: Tensor) -> list[Tensor]:
        """What every node gives in a prompt's own run."""
        model = self.model
        found = [self._kept(tokens, model.blocks[0], "input")]
        for layer in range(model.n_layers):
            z = self._kept(tokens, model.output_projection(layer), "input")
            found += _shares(model, layer, z)
            found.append(self._kept(tokens, model.mlp(layer), "output"))
        return found

    @torch.no_grad()
    def _kept(
        self, tokens: Tensor, module: nn.Module, side: str, hooks: list[Hook] | None = None
    ) -> Tensor:
        """What a module is given, or gives."""
        kept: list[Tensor] = []

        def keep(value: Tensor) -> Tensor:
            kept.append(value.clone())
            return value

        self._run([*(hooks or []), (module, side, keep)], tokens)
        return kept[0]

    def _run(self, hooks: list[Hook], tokens: Tensor | None = None) -> Tensor:
        with ExitStack() as stack:
            for module, side, change in hooks:
                register = (
                    module.register_forward_pre_hook(_given(change), with_kwargs=True)
                    if side == "input"
                    else module.register_forward_hook(_returned(change))
                )
                stack.callback(register.remove)
            tokens = self.background if tokens is None else tokens
            output: Tensor = self.model.hf(input_ids=tokens, use_cache=False).logits[:, -1]
        return output


def _given(change: Callable[[Tensor], Tensor]) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: Any) -> Any:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    return hook


def _returned(change: Callable[[Tensor], Tensor]) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    return hook


def _instead(value: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda given: value


def _put(value: Tensor, where: Tensor) -> Callable[[Tensor], Tensor]:
    def change(given: Tensor) -> Tensor:
        given = given.clone()
        given[..., where] = value[..., where]
        return given

    return change


def _kind(model: LanguageModel) -> str:
    return str(model.hf.config.model_type)


def _parallel(model: LanguageModel) -> bool:
    return _kind(model) == "gpt_neox"


def _after_attention(model: LanguageModel, layer: int, value: Tensor) -> Tensor:
    if _kind(model) == "gemma2":
        norm: nn.Module = model.blocks[layer].post_attention_layernorm
        return norm(value)
    return value


def _after_mlp(model: LanguageModel, layer: int, value: Tensor) -> Tensor:
    if _kind(model) == "gemma2":
        norm: nn.Module = model.blocks[layer].post_feedforward_layernorm
        return norm(value)
    return value


def norm_of_mlp(model: LanguageModel, layer: int) -> nn.Module:
    """The norm through which a layer's MLP reads the stream."""
    name = {"gpt2": "ln_2", "gemma2": "pre_feedforward_layernorm"}.get(
        _kind(model), "post_attention_layernorm"
    )
    norm: nn.Module = getattr(model.blocks[layer], name)
    return norm


def _weight(model: LanguageModel, layer: int) -> Tensor:
    """Of the output projection, [values of heads, d_model]."""
    weight: Any = model.output_projection(layer).weight
    return weight if _kind(model) == "gpt2" else weight.T


def _bias(model: LanguageModel, layer: int) -> Tensor:
    bias: Any = getattr(model.output_projection(layer), "bias", None)
    return torch.zeros(model.d_model, dtype=model.dtype) if bias is None else bias


def _shares(model: LanguageModel, layer: int, z: Tensor) -> list[Tensor]:
    """Each head's output."""
    weight, width = _weight(model, layer), z.shape[-1] // model.n_heads
    parts = [slice(head * width, (head + 1) * width) for head in range(model.n_heads)]
    return [z[..., part] @ weight[part] for part in parts]


def _columns(model: LanguageModel, layer: int, head: int) -> dict[str, tuple[nn.Module, Tensor]]:
    """The module, and which of its outputs, that make a head's query, key and value."""
    attention: Any = model.attention(layer)
    width = model.d_model // model.n_heads
    if _kind(model) == "gpt2":
        start = {role: place * model.d_model for place, role in enumerate(ROLES)}
        return {
            role: (attention.c_attn, torch.arange(width) + start[role] + head * width)
            for role in ROLES
        }
    if _kind(model) == "gpt_neox":
        return {
            role: (attention.query_key_value, torch.arange(width) + (3 * head + place) * width)
            for place, role in enumerate(ROLES)
        }
    width = attention.head_dim
    shared = head // (model.n_heads // model.n_key_value_heads)
    return {
        "query": (attention.q_proj, torch.arange(width) + head * width),
        "key": (attention.k_proj, torch.arange(width) + shared * width),
        "value": (attention.v_proj, torch.arange(width) + shared * width),
    }
