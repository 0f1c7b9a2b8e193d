"""A layer's attention taken apart: queries, keys, values and patterns of its heads.

A head's values z are ``softmax(query · key) value``, with whatever mask, bias, cap or sink its
model has. Models of transformers compute this in one function, which each attention looks up when
it is called (`AttentionInterface`). Within a call of the block that function is put between: it is
seen with query, key and value as the model made them (after norms, position embeddings and the
keys and values of the prefix), and others can be put in their place. The rest of the attention (a
gate, a norm over its heads) is the model's own, up to the input of the output projection, where z
is read. The block is left there, since nothing further is asked of it.

A head's z depends on its own query alone, and on keys and values of its own key-value head. So a
call with the queries of all heads replaced gives what every head's z is when its query alone is,
all at once. Whether that is so of a model, and whether its attention can be taken apart at all, is
found by looking: with nothing replaced z must be the recorded one, and with one head's parts
replaced no other head's z may change (`AttentionParts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.modeling_utils import AttentionInterface

from counterpoint.engine.activation_caching import RUN_TOLERANCE
from counterpoint.engine.activations import Prompt
from counterpoint.engine.head_outputs import spread
from counterpoint.engine.library_errors import library_errors
from counterpoint.engine.linear import through_onednn
from counterpoint.engine.replay import by_row, hidden_states_of, replaced_forward
from counterpoint.engine.rounding import COARSEST_CHECK, computed_eps
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError

Function = Callable[..., Any]
"""Of a module, query, key and value, and more: the heads' values, and something beside them."""

Pattern = Float[Tensor, "row head suffix key"]


@dataclass(frozen=True, eq=False)
class Parts:
    """What one layer's attention computes from, and what of it, for any number of rows."""

    layer: int
    pair: Int[Tensor, " row"]
    """The place of each row's pair in the bucket."""
    hidden: Float[Tensor, "row suffix d_model"]
    """The input of the block."""
    query: Float[Tensor, "row head suffix d_key"]
    key: Float[Tensor, "row key_head key d_key"]
    """Of every position, prefix and suffix, with their position embeddings."""
    value: Float[Tensor, "row key_head key d_value"]
    z: Float[Tensor, "row suffix z"]
    """As in `activations.Run`."""

    def __len__(self) -> int:
        return len(self.pair)

    def __getitem__(self, rows: Int[Tensor, " chosen"] | slice) -> Parts:
        """Some rows, each as often as it is named."""
        taken = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(self)
            if field.name != "layer"
        }
        return Parts(self.layer, **taken)

    @property
    def group(self) -> int:
        """How many query heads share a key-value head; head h has number h // group."""
        return self.query.shape[1] // self.key.shape[1]


@contextmanager
def intercepted_attention(module: nn.Module, intercept: Callable[..., Any]) -> Iterator[None]:
    """Let the attention function that ``module``, or a part of it, looks up go through another.

    ``intercept(function, module, query, key, value, *rest, **named)`` is called in its place.
    Attentions of other modules are not touched. What is replaced is put back whatever happens
    within the block, and blocks can be nested.
    """
    parts = set(module.modules())
    before = AttentionInterface.get_interface

    @wraps(before)
    def get_interface(self: AttentionInterface, *args: Any, **kwargs: Any) -> Function:
        function = before(self, *args, **kwargs)

        @wraps(function)
        def called(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any
        ) -> Any:
            if module not in parts:
                return function(module, query, key, value, *rest, **named)
            return intercept(function, module, query, key, value, *rest, **named)

        return called

    AttentionInterface.get_interface = get_interface  # type: ignore[method-assign]
    try:
        yield
    finally:
        AttentionInterface.get_interface = before  # type: ignore[method-assign]


class NotApart(UserError):
    """A model's attention cannot be taken apart; the text says why."""


class _Reached(Exception):
    """The output projection was reached; nothing that comes after it is asked for."""


@dataclass
class _Seen:
    """What one call of a block shows of its attention."""

    function: Callable[[Tensor, Tensor, Tensor], Any] | None = None
    """The attention function with everything but query, key and value given."""
    calls: int = 0
    query: Tensor | None = None
    key: Tensor | None = None
    value: Tensor | None = None
    output: Tensor | None = None
    """What the function gave."""
    z: Tensor | None = None


def weights_of_values(
    function: Callable[[Tensor, Tensor, Tensor], Any],
    query: Float[Tensor, "row head suffix d_key"],
    key: Float[Tensor, "row key_head key d_key"],
    value: Float[Tensor, "row key_head key d_value"],
) -> Pattern:
    """How much of each value an attention ``function`` takes, if it is linear in the values.

    It is asked for with the positions themselves as values: what it returns as its weights may lack
    a factor. ``value`` says where values are shared, and in which format.
    """
    rows, shared, keys = value.shape[:3]
    every = torch.eye(keys, device=value.device, dtype=value.dtype)
    output = function(query, key, every.expand(rows, shared, -1, -1))[0]
    return cast("Tensor", output).transpose(1, 2)


def _pattern(seen: _Seen) -> Pattern:
    assert seen.function is not None and seen.query is not None
    assert seen.key is not None and seen.value is not None
    return weights_of_values(seen.function, seen.query, seen.key, seen.value)


class AttentionParts:
    """The attentions of an engine's model on its bucket of pairs.

    Raises UserError, with the reason, where a layer's attention cannot be taken apart, gives with
    nothing replaced another z than was recorded, or mixes its heads before its output projection.
    """

    @torch.no_grad()
    def __init__(self, engine: SuffixEngine) -> None:
        self.engine = engine
        model, activations = engine.model, engine.activations
        self._direct: dict[int, Callable[[Tensor, Tensor, Tensor], Any]] = {}
        self._group: dict[int, int] = {}
        try:
            with library_errors(model, "looking at its attention"):
                self._allowed = min(RUN_TOLERANCE * computed_eps(model), COARSEST_CHECK)
                if activations.clean.residual.shape[-1] == 0:
                    raise self._refusal("its blocks carry several residual streams")
                for layer in model.head_layers:
                    self._check(layer)
        except UserError as error:
            if isinstance(error, NotApart) or engine.way("head").replays:
                raise
            raise self._refusal("its blocks cannot be called one by one") from error

    # -- what is asked --------------------------------------------------------------------------

    def group(self, layer: int) -> int:
        """How many query heads of a layer share a key-value head."""
        return self._group[layer]

    def is_whole(self, layer: int) -> bool:
        """Whether z follows from queries, keys and values alone: no gate reads the stream, too."""
        return layer in self._direct

    def of_prompt(self, prompt: Prompt, layer: int, pair: Int[Tensor, " row"]) -> Parts:
        """The parts of a pair's own run."""
        return self.of_residual(
            layer, self.engine.activations.run(prompt).residual[layer][pair], pair
        )

    def of_residual(
        self, layer: int, hidden: Float[Tensor, "row suffix d_model"], pair: Int[Tensor, " row"]
    ) -> Parts:
        """The parts where the block is given ``hidden``; the norm before is the block's own.

        Differentiable with respect to ``hidden``.
        """
        seen = self._run(layer, hidden, pair, {})
        return self._parts(layer, hidden, pair, seen)

    def mixed(
        self,
        background: Parts,
        *,
        query: Float[Tensor, "row head suffix d_key"] | None = None,
        key: Float[Tensor, "row key_head key d_key"] | None = None,
        value: Float[Tensor, "row key_head key d_value"] | None = None,
    ) -> Float[Tensor, "row suffix z"]:
        """z of ``background`` with the parts that are given in place of its own.

        Each head's values are those that it has when its own parts alone are replaced. With query
        *and* key of another run, each head has that run's pattern over the background's values.
        """
        layer, width = background.layer, self.engine.activations.clean.z.shape[-1]
        direct = self._direct.get(layer)
        if direct is None:
            given = {"query": query, "key": key, "value": value}
            replaced = {name: part for name, part in given.items() if part is not None}
            seen = self._run(layer, background.hidden, background.pair, replaced)
            assert seen.z is not None
            return spread(by_row(seen.z, len(background)), self.engine.model.n_heads, width)
        output = direct(
            background.query if query is None else query,
            background.key if key is None else key,
            background.value if value is None else value,
        )[0]
        z = output.reshape(*output.shape[:2], -1)
        return spread(z, self.engine.model.n_heads, width)

    def pattern(self, prompt: Prompt, layer: int, pair: Int[Tensor, " row"]) -> Pattern:
        """How much of each position's value each head takes, in a pair's own run."""
        hidden = self.engine.activations.run(prompt).residual[layer][pair]
        return _pattern(self._run(layer, hidden, pair, {}))

    # -- how ------------------------------------------------------------------------------------

    def _run(self, layer: int, hidden: Tensor, pair: Tensor, replaced: dict[str, Tensor]) -> _Seen:
        """Call a block up to its output projection, with some parts of its attention replaced."""
        model, seen = self.engine.model, _Seen()

        def intercept(
            function: Function,
            module: nn.Module,
            query: Tensor,
            key: Tensor,
            value: Tensor,
            *rest: Any,
            **named: Any,
        ) -> Any:
            def attend(query: Tensor, key: Tensor, value: Tensor) -> Any:
                return function(module, query, key, value, *rest, **named)

            seen.function = attend
            seen.calls += 1
            seen.query = replaced.get("query", query)
            seen.key = replaced.get("key", key)
            seen.value = replaced.get("value", value)
            output = attend(seen.query, seen.key, seen.value)
            seen.output = output[0]
            return output

        def stopping(original: Function) -> Function:
            def forward(*args: Any, **kwargs: Any) -> Any:
                seen.z = hidden_states_of(args, kwargs)[0]
                raise _Reached

            return forward

        prefix = self.engine.activations.prefix
        cache = None if prefix is None else prefix.cache(pair)
        with (
            through_onednn(model.blocks[layer].modules()),
            replaced_forward(model.output_projection(layer), stopping),
            intercepted_attention(model.attention(layer), intercept),
        ):
            try:
                self.engine.arguments[layer].call(model.blocks[layer], hidden, cache)
            except _Reached:
                return seen
        raise self._refusal(f"layer {layer} does not call its output projection")

    def _parts(self, layer: int, hidden: Tensor, pair: Tensor, seen: _Seen) -> Parts:
        """What was seen, in the shapes that `Parts` has."""
        model, rows = self.engine.model, len(pair)
        if seen.calls != 1:
            how = "in code of its own" if seen.calls == 0 else f"in {seen.calls} steps"
            raise self._refusal(f"layer {layer} computes its attention {how}")
        suffix, keys = self.engine.suffix_length, self.engine.activations.pairs.length
        query, key, value = seen.query, seen.key, seen.value
        assert query is not None and key is not None and value is not None and seen.z is not None
        shared = key.shape[1] if key.ndim == 4 else 0
        for name, part, shape in (
            ("query", query, (rows, model.n_heads, suffix)),
            ("key", key, (rows, shared, keys)),
            ("value", value, (rows, shared, keys)),
        ):
            if part.ndim != 4 or tuple(part.shape[:3]) != shape or not shared:
                raise self._refusal(
                    f"layer {layer}'s {name} has the shape {list(part.shape)} and not one vector"
                    " for each head and position"
                )
        if model.n_heads % shared:
            raise self._refusal(f"layer {layer} has {shared} key-value heads for its heads")
        widest = self.engine.activations.clean.z.shape[-1]
        z = spread(by_row(seen.z, rows), model.n_heads, widest)
        return Parts(layer, pair, hidden, query, key, value, z)

    def _check(self, layer: int) -> None:
        """Whether the attention of a layer can be taken apart, on the first pair's prompts."""
        activations, n_heads = self.engine.activations, self.engine.model.n_heads
        first = torch.zeros(1, dtype=torch.long, device=self.engine.model.device)
        runs = [activations.clean, activations.corrupted]
        hidden = torch.cat([run.residual[layer][first] for run in runs])
        seen = self._run(layer, hidden, first.expand(2), {})
        parts = self._parts(layer, hidden, first.expand(2), seen)
        self._group[layer] = parts.group
        recorded = torch.cat([run.z[layer][first] for run in runs])
        self._compare(f"layer {layer} called alone", parts.z, recorded)

        # Where nothing comes between the attention function and z, it need not be called in its
        # block, as long as what else it is given is the same for every prompt.
        alone = self._run(layer, hidden[:1], first, {}).function
        assert alone is not None and seen.output is not None
        direct = spread(
            alone(parts.query, parts.key, parts.value)[0].flatten(2), n_heads, parts.z.shape[-1]
        )
        if self._error(direct, parts.z) <= self._allowed:
            self._direct[layer] = alone

        # The first prompt's values under the second one's pattern.
        pattern, group = _pattern(seen), torch.arange(n_heads, device=first.device)
        group = group // parts.group
        own = (pattern @ parts.value[:, group]).transpose(1, 2)
        self._compare(f"layer {layer}'s pattern times its values", own, seen.output)
        other = {"query": parts.query[1:], "key": parts.key[1:]}
        mixed = self._run(layer, hidden[:1], first, other).output
        assert mixed is not None
        expected = (pattern[1:] @ parts.value[:1, group]).transpose(1, 2)
        self._compare(f"layer {layer} with queries and keys of another prompt", mixed, expected)

        layers = self.engine.model.head_layers
        if layer in (layers[0], layers[-1]) or layer not in self._direct:
            self._check_heads_apart(parts)

    def _check_heads_apart(self, parts: Parts) -> None:
        """Whether one head's parts replaced change its own z alone, and as with all replaced."""
        background, other = parts[:1], parts[1:]
        n_heads, group = parts.query.shape[1], parts.group
        head = parts.layer % n_heads
        shared = head // group
        for name, number, heads in (
            ("query", head, slice(head, head + 1)),
            ("key", shared, slice(shared * group, (shared + 1) * group)),
            ("value", shared, slice(shared * group, (shared + 1) * group)),
        ):
            together = self.mixed(background, **{name: getattr(other, name)})
            one = getattr(background, name).clone()
            one[:, number] = getattr(other, name)[:, number]
            found = self.mixed(background, **{name: one}).unflatten(-1, (n_heads, -1))
            expected = background.z.unflatten(-1, (n_heads, -1)).clone()
            expected[:, :, heads] = together.unflatten(-1, (n_heads, -1))[:, :, heads]
            if not self._error(found, expected) <= self._allowed:
                raise self._refusal(
                    f"the {name} of one head changes what other heads of layer {parts.layer} say,"
                    " for something reads all of them before the output projection"
                )

    def _compare(self, what: str, found: Tensor, expected: Tensor) -> None:
        error = self._error(found, expected)
        if not error <= self._allowed:
            raise self._refusal(
                f"{what} differs from what it should give by {error:.1e} of its size (at most"
                f" {self._allowed:.0e} is allowed)"
            )

    @staticmethod
    def _error(found: Tensor, expected: Tensor) -> float:
        """The largest difference, relative to the largest value expected."""
        if found.shape != expected.shape:
            return float("inf")
        size = expected.abs().amax().clamp_min(torch.finfo(expected.dtype).tiny)
        return float((found - expected).abs().amax() / size)

    def _refusal(self, reason: str) -> NotApart:
        return NotApart(
            f"model architecture {type(self.engine.model.hf).__name__}: queries, keys and values of"
            f" its heads cannot be told apart: {reason}. Set `pairs: none` under `roles:` and"
            " `edges:` and `level: nodes` under `circuit:`, or choose another model."
        )
