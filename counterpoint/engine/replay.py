"""Calling one block of a Hugging Face model at a time, with what its own model would pass it.

A model hands each block positions, rotary embeddings, a mask and a cache. How these are called and
made differs between architectures, so they are not made here but recorded: the model runs once on a
suffix of one row, and the arguments that its blocks received are kept. They depend only on the
lengths of prefix and suffix, and broadcast over any number of rows. What a block answers with
depends on neither, so that for further lengths the blocks need not compute anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.cache_utils import Cache

from counterpoint.engine.prefix_cache import PrefixKeysValues, cache_for, run_prefix
from counterpoint.models.load import LanguageModel

Forward = Callable[..., Any]


@contextmanager
def replaced_forward(module: nn.Module, make: Callable[[Forward], Forward]) -> Iterator[None]:
    """Let ``module`` compute ``make(original_forward)`` inside the block.

    An attribute of the instance hides the method of its class; putting back what was there restores
    the module whatever happens inside, and lets replacements be nested.
    """
    before = module.__dict__.get("forward")
    module.forward = make(module.forward)
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


def last_position(original: Forward) -> Forward:
    """A module's forward that computes the last position alone (`replaced_forward`)."""

    def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        return original(hidden[:, -1:], *args, **kwargs)

    return forward


@dataclass(frozen=True)
class Streams:
    """Several residual streams in one tensor of four axes, beside rows, positions and width."""

    axis: int
    """0 where streams come first (Gemma 3n), 2 where they stand within a position (HY V4)."""
    count: int

    @classmethod
    def of(cls, hidden: Tensor) -> Streams | None:
        """Those of the hidden states of one row, which has more than one position."""
        if hidden.ndim == 3:
            return None
        axis = 0 if hidden.shape[1] == 1 else 2
        return cls(axis, hidden.shape[axis])


@dataclass(frozen=True)
class BlockArguments:
    """What a model hands to one block, apart from the hidden states, and how the block answers."""

    positional: tuple[Any, ...]
    keyword: dict[str, Any]
    hidden_keyword: str | None
    """The name under which the hidden states are passed, or None when they come first."""
    arity: int
    """How many values the block returns; 0 where it returns its output alone."""
    attention_arity: int
    """How many values the attention module returns; the first is its output."""
    mlp_arity: int = 0
    """The same of the MLP."""
    streams: Streams | None = None
    """The residual streams that the block carries beside each other; None for one alone."""

    def call(self, block: nn.Module, hidden: Tensor, cache: Cache | None) -> Tensor:
        """Run ``block`` on ``hidden`` [row, suffix, d_model], seeing ``cache``."""
        keyword = {
            name: cache if isinstance(value, Cache) else value
            for name, value in self.keyword.items()
        }
        positional = tuple(
            cache if isinstance(value, Cache) else value for value in self.positional
        )
        if self.hidden_keyword is None:
            output = block(hidden, *positional, **keyword)
        else:
            output = block(*positional, **{self.hidden_keyword: hidden}, **keyword)
        return output[0] if self.arity else output


def hidden_states_of(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Tensor, str | None]:
    """The hidden states among a module's arguments, and their keyword when they have one."""
    if args:
        return args[0], None
    if "hidden_states" in kwargs:
        return kwargs["hidden_states"], "hidden_states"
    for name, value in kwargs.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            return value, name
    raise TypeError("a block or one of its parts was called without hidden states")


def first_of(output: Any) -> Tensor:
    """A module's output, or the first of what it returns."""
    return output[0] if isinstance(output, tuple | list) else output


def with_first(output: Any, value: Tensor) -> Any:
    """What a module returned, with another output."""
    if isinstance(output, list):
        return [value, *output[1:]]
    return (value, *output[1:]) if isinstance(output, tuple) else value


def by_row(value: Tensor, rows: int) -> Float[Tensor, "row position width"]:
    """A value of several rows, whose rows and positions a module may have joined in one axis."""
    return value if value.ndim == 3 else value.reshape(rows, -1, value.shape[-1])


def joining(passing: int, entering: Tensor, arity: int, only: slice = slice(None)) -> Any:
    """A forward that computes the first ``passing`` rows and appends given values for the rest.

    ``arity`` is the number of values that the module returns, 0 for a bare tensor. ``only`` cuts
    the positions that are computed. A module that is given rows and positions in one axis answers
    so.
    """

    def make(original: Forward) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            given, keyword = hidden_states_of(args, kwargs)
            rest: tuple[Any, ...] = (None,) * max(0, arity - 1)
            if passing == 0:
                joined = entering
            else:
                hidden = by_row(given, passing + len(entering))[:passing, only]
                if given.ndim == 2:
                    hidden = hidden.flatten(0, 1)
                output = (
                    original(hidden, *args[1:], **kwargs)
                    if keyword is None
                    else original(*args, **{**kwargs, keyword: hidden})
                )
                computed, rest = (output[0], output[1:]) if arity else (output, ())
                joined = torch.cat([by_row(computed, passing), entering])
            if given.ndim == 2:
                joined = joined.flatten(0, 1)
            return (joined, *rest) if arity else joined

        return forward

    return make


def streams_of(model: LanguageModel, hidden: Tensor) -> Streams | None:
    """The residual streams of hidden states that ``model``'s blocks are given, of any size."""
    if hidden.ndim == 3:
        return None
    # One row and several positions tell the axes apart, whatever the sizes of ``hidden`` are.
    return block_arguments(model, _POSITIONS, 0)[-1].streams


_POSITIONS = 5
"""Of the prompt that is run to see how hidden states are laid out."""


def last_of(model: LanguageModel, hidden: Tensor) -> Float[Tensor, "row width"]:
    """The last position of a block's output; several streams stand side by side."""
    streams = streams_of(model, hidden)
    if streams is None:
        return hidden[:, -1]
    return hidden.movedim(streams.axis, 2)[:, -1].flatten(1)


def as_output(final: Float[Tensor, "row width"], streams: Streams | None) -> Tensor:
    """The inverse of `last_of`, with one position."""
    if streams is None:
        return final.unsqueeze(1)
    return final.unflatten(1, (streams.count, -1)).unsqueeze(1).movedim(2, streams.axis)


def block_arguments(
    model: LanguageModel, length: int, prefix_length: int
) -> Sequence[BlockArguments]:
    """What the model hands its blocks for the suffix of a prompt of ``length`` tokens.

    Kept on the model.
    """
    kept = cast(
        "dict[tuple[int, int], list[BlockArguments]]", model.__dict__.setdefault("_arguments", {})
    )
    key = (length, prefix_length)
    if key not in kept:
        known = next(iter(kept.values()), None)
        kept[key] = record_block_arguments(model, length, prefix_length, known)
    return kept[key]


@torch.no_grad()
def record_block_arguments(
    model: LanguageModel,
    length: int,
    prefix_length: int,
    known: Sequence[BlockArguments] | None = None,
) -> list[BlockArguments]:
    """Record, for each block, the arguments it gets on the suffix of one prompt.

    Where what the blocks answer with is ``known``, from another length, they compute nothing.
    """
    tokens = torch.zeros(1, length, dtype=torch.long, device=model.device)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((), {})] * model.n_layers
    arity = [one.arity for one in known or ()] or [0] * model.n_layers
    of_attention = [one.attention_arity for one in known or ()] or [2] * model.n_layers
    of_mlp = [one.mlp_arity for one in known or ()] or [0] * model.n_layers
    prefix = run_prefix(model, tokens[:, :prefix_length]) if known is None else None
    if known is not None and prefix_length:
        # Only its length is looked at.
        nothing = [torch.zeros(1, 1, prefix_length, 1, device=model.device)] * model.n_layers
        prefix = PrefixKeysValues(nothing, nothing)

    def called(original: Forward, layer: int) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            calls[layer] = (args, kwargs)
            if known is None:
                output = original(*args, **kwargs)
                arity[layer] = len(output) if isinstance(output, tuple | list) else 0
                return output
            hidden, _ = hidden_states_of(args, kwargs)
            return (hidden, *(None,) * (arity[layer] - 1)) if arity[layer] else hidden

        return forward

    def answered(original: Forward, layer: int, counts: list[int]) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            output = original(*args, **kwargs)
            counts[layer] = len(output) if isinstance(output, tuple | list) else 0
            return output

        return forward

    with ExitStack() as replaced:
        for layer in range(model.n_layers):
            for module, make in (
                (model.blocks[layer], called),
                (model.attentions[layer], partial(answered, counts=of_attention)),
                (model.mlps[layer], partial(answered, counts=of_mlp)),
            ):
                if module is not None:
                    replaced.enter_context(replaced_forward(module, partial(make, layer=layer)))
        model.hf(input_ids=tokens[:, prefix_length:], logits_to_keep=1, **cache_for(prefix))
    recorded = []
    for layer, (args, kwargs) in enumerate(calls):
        hidden, keyword = hidden_states_of(args, kwargs)
        recorded.append(
            BlockArguments(
                positional=args if keyword else args[1:],
                keyword={name: value for name, value in kwargs.items() if name != keyword},
                hidden_keyword=keyword,
                arity=arity[layer],
                attention_arity=of_attention[layer],
                mlp_arity=of_mlp[layer],
                streams=Streams.of(hidden)
                if length - prefix_length > 1
                else streams_of(model, hidden),
            )
        )
    return recorded
