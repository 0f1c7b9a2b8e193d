"""Senders, and how the residual stream changes when one of them has the other prompt's output.

A sender is the embeddings, a head or an MLP. Its output goes to the other prompt's value in the
background run, and the change travels along the direct path alone: through what the sender's own
block does to its output on the way into the residual stream (Gemma 2's norm after attention is
computed anew), and through the residual stream past the later blocks, whose parts are held. A block
that adds to the stream what its attention and its MLP give, and does nothing else to it, lets a
change pass as it is; so one change for each sender serves every receiver above it. Whether a
model's blocks are so is seen on the kept runs of both prompts (`check_blocks_add`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.engine.activations import (
    PROMPTS,
    Direction,
    background_prompt,
    other_prompt,
)
from counterpoint.engine.head_outputs import head_outputs
from counterpoint.engine.library_errors import library_errors
from counterpoint.engine.replay import Forward, hidden_states_of, replaced_forward
from counterpoint.engine.rounding import COARSEST_CHECK, computed_eps
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel

EMBEDDINGS = -1
"""The layer of the embeddings as a sender."""
NO_HEAD = -1
"""The head of a sender that is the embeddings or an MLP, and of the logits as a receiver."""

ADDING_TOLERANCE = 200.0
"""How far a block's output may be from its input and what its parts add, relative to the largest
value of the output, in units of the computed format's epsilon.

Tiny GPT-2, Llama, GPT-NeoX, Gemma 2 and Qwen 3 leave at most 4; blocks that do more to the stream
miss by a thousand and more."""


_REMEDY = (
    "Set `pairs: none` under `edges:` and `level: nodes` under `circuit:`, or choose another model"
)


@dataclass(frozen=True, eq=False)
class Senders:
    """Senders in order of layer: the embeddings, then each layer's heads and its MLP."""

    layer: Int[np.ndarray, " sender"]
    head: Int[np.ndarray, " sender"]

    def __len__(self) -> int:
        return len(self.layer)

    def count_below(self, layer: int) -> int:
        """How many stand below a block: the first so many."""
        return int(np.searchsorted(self.layer, layer))


def every_sender(model: LanguageModel) -> Senders:
    """The embeddings, and every head and MLP of ``model``."""
    keys = [(EMBEDDINGS, NO_HEAD)]
    for layer in range(model.n_layers):
        if layer in model.head_layers:
            keys += [(layer, head) for head in range(model.n_heads)]
        if layer in model.mlp_layers:
            keys.append((layer, NO_HEAD))
    layers, heads = np.array(keys, dtype=np.int64).T
    return Senders(layers, heads)


@torch.no_grad()
def sender_changes(
    engine: SuffixEngine, direction: Direction, pair: int, stop: int | None = None
) -> Float[Tensor, "sender suffix d_model"]:
    """The change of the residual stream above each sender's block, on one pair of the bucket.

    Of every sender, or of those below block ``stop``. Raises UserError as `check_blocks_add` does.
    """
    check_blocks_add(engine)
    model, activations = engine.model, engine.activations
    background = activations.run(background_prompt(direction))
    other = activations.run(other_prompt(direction))
    found = [(other.residual[0] - background.residual[0])[pair].unsqueeze(0)]
    every_head = torch.arange(model.n_heads, device=model.device)
    for layer in range(model.n_layers if stop is None else stop):
        # Into an empty stream, so that a small change is not rounded beside large values of it.
        if layer in model.head_layers:
            z = (other.z[layer] - background.z[layer])[pair].expand(model.n_heads, -1, -1)
            shift = head_outputs(model, layer, z, every_head)
            attention = background.attention[layer, pair] + torch.cat([shift, shift[:1] * 0])
            added = added_to_stream(engine, layer, attention, torch.zeros_like(attention))
            found.append(added[:-1] - added[-1:])
        if layer in model.mlp_layers:
            mlp = torch.stack([run.mlp[layer, pair] for run in (other, background)])
            added = added_to_stream(engine, layer, torch.zeros_like(mlp), mlp)
            found.append(added[:1] - added[1:])
    return torch.cat(found)


def added_to_stream(
    engine: SuffixEngine,
    layer: int,
    attention: Float[Tensor, "row suffix d_model"],
    mlp: Float[Tensor, "row suffix d_model"],
) -> Float[Tensor, "row suffix d_model"]:
    """What a block makes of an empty residual stream when its parts return these values."""
    model, arguments = engine.model, engine.arguments[layer]
    with contextlib.ExitStack() as replaced:
        for module, value, arity in (
            (model.attentions[layer], attention, arguments.attention_arity),
            (model.mlps[layer], mlp, arguments.mlp_arity),
        ):
            if module is not None:
                replaced.enter_context(returning(module, value, arity))
        return arguments.call(model.blocks[layer], torch.zeros_like(attention), None)


@torch.no_grad()
def adds_heads_apart(engine: SuffixEngine, layer: int) -> bool:
    """Whether what a block adds of its heads is the sum of what it adds of each.

    It is not where a norm reads the sum of all of them, as in Gemma 2. Seen on the first pair.
    """
    clean, corrupted = (
        run.attention[layer, :1] for run in (engine.activations.run(prompt) for prompt in PROMPTS)
    )
    attention = torch.cat([clean, corrupted, clean - corrupted, torch.zeros_like(clean)])
    added = added_to_stream(engine, layer, attention, torch.zeros_like(attention))
    error = added[0] - added[1] - (added[2] - added[3])
    allowed = min(ADDING_TOLERANCE * computed_eps(engine.model), COARSEST_CHECK)
    return float(error.abs().amax()) <= allowed * float(added.abs().amax())


@contextlib.contextmanager
def returning(module: nn.Module, value: Tensor, arity: int) -> Iterator[None]:
    """Let ``module`` return ``value`` [row, position, width] inside the block.

    ``arity`` is the number of values that it returns, 0 for a bare tensor. A module that is given
    rows and positions in one axis answers so.
    """

    def make(original: Forward) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            given, _ = hidden_states_of(args, kwargs)
            shaped = value.flatten(0, 1) if given.ndim == 2 else value
            return (shaped, *(None,) * (arity - 1)) if arity else shaped

        return forward

    with replaced_forward(module, make):
        yield


@torch.no_grad()
def check_blocks_add(engine: SuffixEngine) -> None:
    """Raise UserError where a block does more than add its parts' outputs to the residual stream.

    Seen on the kept runs of the bucket's first pair: each block's output is to be its input and
    what it makes of the outputs of its attention and of its MLP. Looked at once for a model.
    """
    model = engine.model
    if "_blocks_add" in model.__dict__:
        return
    architecture = f"model architecture {type(model.hf).__name__}"
    activations = engine.activations
    if activations.clean.residual.shape[-1] == 0:
        raise UserError(
            f"{architecture}: its blocks carry several residual streams beside each other, so that"
            f" there is no one direct path from a sender to a receiver. {_REMEDY}."
        )
    without = sorted(set(range(model.n_layers)) - set(model.head_layers))
    if without:
        raise UserError(
            f"{architecture}: layer {without[0]} has no attention heads (it is of another kind,"
            " such as a recurrent one), so that what it adds cannot be held while a change passes"
            f" it, and direct paths are not defined. {_REMEDY} with attention in every layer."
        )
    allowed = min(ADDING_TOLERANCE * computed_eps(model), COARSEST_CHECK)
    for layer in range(model.n_layers):
        for prompt in PROMPTS:
            run = activations.run(prompt)
            attention, mlp = run.attention[layer, :1], run.mlp[layer, :1].nan_to_num()
            nothing = torch.zeros_like(attention)
            with library_errors(model, "adding up what a block is made of"):
                parts = added_to_stream(
                    engine,
                    layer,
                    torch.cat([attention, nothing, nothing]),
                    torch.cat([nothing, mlp, nothing]),
                )
            expected = run.residual[layer, :1] + parts[:1] + parts[1:2] - parts[2:]
            found = run.final[:1].unsqueeze(1)
            if layer + 1 < model.n_layers:
                found = run.residual[layer + 1, :1]
            error = (found - expected[:, -found.shape[1] :]).abs().amax() / found.abs().amax()
            if not float(error) <= allowed:
                raise UserError(
                    f"{architecture}: block {layer} does more to the residual stream than add its"
                    f" attention's and its MLP's output (what these add misses its output by"
                    f" {float(error):.1e} of its size, at most {allowed:.0e} is allowed), so that"
                    " a sender's change cannot pass it alone and edges are not defined here."
                    f" {_REMEDY}."
                )
    model.__dict__["_blocks_add"] = True
