"""Norms that keep the scale of the background run: for comparison with measures that freeze them.

A LayerNorm or RMSNorm divides by the size of what it is given, and in a patched run that size
changes with it. Frozen, the norm divides by the background's size instead, which makes it affine in
the change. What is replaced is the size alone: the module computes as it always does, and its
output, less its bias, is scaled by the ratio of the two sizes. That is right for a norm of the two
kinds only; whether the module is one, and of which kind, is found by trying it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from counterpoint.engine.activations import Prompt
from counterpoint.engine.replay import Forward, hidden_states_of, replaced_forward
from counterpoint.engine.rounding import COARSEST_CHECK, computed_eps
from counterpoint.engine.sender_changes import returning
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError

KIND_TOLERANCE = 1000.0
"""How far a norm times its size may be from a linear map, in units of the computed format's
epsilon; other modules miss by order one."""


@dataclass(frozen=True, eq=False)
class Norm:
    """A norm and its kind."""

    module: nn.Module
    centred: bool
    """Whether the mean is taken off first: LayerNorm, and not RMSNorm."""
    epsilon: float

    def size(self, hidden: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row 1"]:
        """What the norm divides by."""
        wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        if self.centred:
            wide = wide - wide.mean(-1, keepdim=True)
        return (wide.square().mean(-1, keepdim=True) + self.epsilon).sqrt()

    def bias(self) -> Tensor | float:
        bias = getattr(self.module, "bias", None)
        return bias if isinstance(bias, Tensor) else 0.0

    @contextmanager
    def frozen(self, background: Float[Tensor, "*row d_model"]) -> Iterator[None]:
        """Let the norm divide by the size of ``background``, one row for all, inside the block."""
        size = self.size(background)

        def make(original: Forward) -> Forward:
            def forward(*args: Any, **kwargs: Any) -> Any:
                hidden, _ = hidden_states_of(args, kwargs)
                output, bias = original(*args, **kwargs), self.bias()
                ratio = (self.size(hidden) / size.view(*size.shape[-hidden.ndim :])).to(
                    output.dtype
                )
                return (output - bias) * ratio + bias

            return forward

        with replaced_forward(self.module, make):
            yield


class FrozenNorms:
    """The norms before a model's attentions and before its unembedding, each found when asked for.

    Raises UserError where what stands there is no LayerNorm and no RMSNorm.
    """

    def __init__(self, engine: SuffixEngine) -> None:
        self.engine = engine
        self._found: dict[int, Norm | None] = {}

    @contextmanager
    def before_attention(
        self, layer: int, background: Float[Tensor, "1 suffix d_model"]
    ) -> Iterator[None]:
        """Inside the block the norm before the layer's attention has the size of ``background``,
        the block's input in the background run."""
        if layer not in self._found:
            self._found[layer] = self._norm_of(layer, background)
        norm = self._found[layer]
        with ExitStack() as frozen:
            if norm is not None:
                frozen.enter_context(norm.frozen(background))
            yield

    @contextmanager
    def before_unembedding(self, background: Float[Tensor, "1 d_model"]) -> Iterator[None]:
        """The same of the final norm, ``background`` being the last block's output."""
        last = self.engine.model.n_layers
        if last not in self._found:
            self._found[last] = self._final(background)
        norm = self._found[last]
        with ExitStack() as frozen:
            if norm is not None:
                frozen.enter_context(norm.frozen(background))
            yield

    def _norm_of(self, layer: int, hidden: Tensor) -> Norm | None:
        """The norm between a block's input and its attention; None where there is none."""
        engine, model = self.engine, self.engine.model
        attention, arguments = model.attention(layer), engine.arguments[layer]
        given: list[Tensor] = []
        made: list[tuple[nn.Module, Tensor, Tensor]] = []

        def keep(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                made.append((module, hidden_states_of(args, kwargs)[0], output))

        run: Prompt = "clean"
        value = engine.activations.run(run).attention[layer, :1]
        with ExitStack() as hooks:
            hooks.enter_context(returning(attention, value, arguments.attention_arity))
            handle = attention.register_forward_pre_hook(
                lambda module, args, kwargs: given.append(hidden_states_of(args, kwargs)[0]),
                with_kwargs=True,
            )
            hooks.callback(handle.remove)
            for module in model.blocks[layer].children():
                if module is not attention:
                    handle = module.register_forward_hook(keep, with_kwargs=True)
                    hooks.callback(handle.remove)
            arguments.call(model.blocks[layer], hidden, None)
        if given[0] is hidden:
            return None
        for module, before, after in made:
            if after is given[0] and before is hidden:
                return self._known(module, hidden, f"before the attention of layer {layer}")
        raise self._refusal(f"before the attention of layer {layer}", "more than one module")

    def _final(self, final: Tensor) -> Norm | None:
        """The module that is given the last block's output."""
        blocks = {id(module) for module in self.engine.model.submodules_of_blocks}
        given: list[nn.Module] = []

        def keep(module: nn.Module, args: Any, kwargs: Any) -> None:
            values = [*args, *kwargs.values()]
            floats = [one for one in values if isinstance(one, Tensor) and one.is_floating_point()]
            if floats and torch.equal(floats[0].flatten(), final.flatten()):
                given.append(module)

        with ExitStack() as hooks:
            for module in self.engine.model.hf.modules():
                if id(module) not in blocks and not list(module.children()):
                    handle = module.register_forward_pre_hook(keep, with_kwargs=True)
                    hooks.callback(handle.remove)
            self.engine.logits(final[:1])
        unembedding = self.engine.model.hf.get_output_embeddings()
        given = [module for module in given if module is not unembedding]
        if not given:
            return None
        if len(given) > 1:
            raise self._refusal("before the unembedding", "more than one module")
        return self._known(given[0], final, "before the unembedding")

    def _known(self, module: nn.Module, hidden: Tensor, where: str) -> Norm:
        """The module as a norm of the kind it is."""
        epsilon = next(
            (
                float(getattr(module, name))
                for name in ("eps", "variance_epsilon", "epsilon", "norm_eps")
                if isinstance(getattr(module, name, None), float)
            ),
            0.0,
        )
        allowed = min(KIND_TOLERANCE * computed_eps(self.engine.model), COARSEST_CHECK)
        turned = hidden.roll(1, -1)
        for centred in (False, True):
            norm = Norm(module, centred, epsilon)

            def linear(value: Tensor, norm: Norm = norm) -> Tensor:
                return (norm.module(value) - norm.bias()) * norm.size(value)

            expected = linear(hidden) + linear(turned)
            error = (linear(hidden + turned) - expected).abs().amax() / expected.abs().amax()
            if float(error) <= allowed:
                return norm
        raise self._refusal(where, f"{type(module).__name__}")

    def _refusal(self, where: str, what: str) -> UserError:
        return UserError(
            f"model architecture {type(self.engine.model.hf).__name__}: {where} stands {what},"
            " which is no LayerNorm or RMSNorm whose scale could be frozen. Set `norms: recomputed`"
            " under `edges:`."
        )
