"""Runs of a model with one head's output on the way from one prompt's value to another's.

What the head's layer sees and gives in a run is kept; a run on the way takes it up at that layer,
with another attention output, and runs the rest. All of it can be differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from counterpoint.counterfactuals.problem import Target
from counterpoint.engine.head_outputs import output_bias
from counterpoint.engine.prefix_cache import PrefixKeysValues, cache_for
from counterpoint.engine.replay import (
    Forward,
    block_arguments,
    hidden_states_of,
    last_position,
    replaced_forward,
)
from counterpoint.engine.selfcheck import cuts_last
from counterpoint.models.load import LanguageModel


@dataclass(frozen=True, eq=False)
class TargetRun:
    """What runs leave of the target's layer, for the positions of a suffix."""

    residual: Float[Tensor, "row suffix d_model"]
    attention: Float[Tensor, "row suffix d_model"]
    z: Float[Tensor, "row suffix z"]
    logits: Float[Tensor, "row read vocabulary"]
    """At every position, or the last ones that were asked for."""
    final: Float[Tensor, "row suffix d_model"]
    """The last block's output."""
    pattern: Float[Tensor, "row suffix key"] | None
    """The head's attention, where the model's attention module gives it."""

    def with_rows(self, other: TargetRun) -> TargetRun:
        """These rows and those of another run of as many positions."""
        rows = {
            name: None if value is None else torch.cat([value, getattr(other, name)])
            for name, value in vars(self).items()
        }
        return TargetRun(**cast("dict[str, Tensor]", rows))


class RunParts:
    """What a target's layer saw and gave in one forward pass or in several, each of which took the
    positions after those of the one before."""

    def __init__(self, head: int) -> None:
        self.head = head
        self._seen: dict[str, list[Tensor]] = {}

    def keep(self, name: str, value: Any) -> None:
        """Take what a hook was given."""
        value, *others = value if isinstance(value, tuple) else (value,)
        self._seen.setdefault(name, []).append(value)
        if name == "attention" and others and others[0] is not None:
            self._seen.setdefault("pattern", []).append(others[0][:, self.head])

    def run(self, logits: Sequence[Float[Tensor, "row position vocabulary"]]) -> TargetRun:
        """All positions as one run."""
        names = ("residual", "attention", "z", "final")
        seen = {name: _joined(self._seen[name]) for name in names}
        return TargetRun(**seen, logits=_joined(logits), pattern=self._pattern())

    def _pattern(self) -> Float[Tensor, "row suffix key"] | None:
        parts = self._seen.get("pattern")
        if parts is None:
            return None
        keys = parts[-1].shape[-1]
        return _joined([nn.functional.pad(one, (0, keys - one.shape[-1])) for one in parts])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)


class HeadPath:
    """Runs of a model with one head's output on the way between two prompts."""

    def __init__(self, model: LanguageModel, target: Target) -> None:
        target.check(model)
        self.model, self.target = model, target
        self._bias = output_bias(model, target.layer)

    def own_run(
        self, prefix: PrefixKeysValues | None, *, logits_to_keep: int = 0, **inputs: Tensor
    ) -> TargetRun:
        """Run the model on a suffix, given as ``input_ids`` or ``inputs_embeds``.

        Logits are those of the last ``logits_to_keep`` positions; 0: of all.
        """
        with self.kept_parts() as parts:
            logits = self.model.hf(
                **inputs, **cache_for(prefix), logits_to_keep=logits_to_keep
            ).logits
        return parts.run([logits])

    @contextmanager
    def kept_parts(self) -> Iterator[RunParts]:
        """Within the block every forward pass leaves its part of a run."""
        model, layer, parts = self.model, self.target.layer, RunParts(self.target.head)
        with ExitStack() as hooks:
            for handle in (
                model.blocks[layer].register_forward_pre_hook(
                    lambda m, args, kwargs: parts.keep(
                        "residual", hidden_states_of(args, kwargs)[0]
                    ),
                    with_kwargs=True,
                ),
                model.attention(layer).register_forward_hook(
                    lambda m, args, output: parts.keep("attention", output)
                ),
                model.output_projection(layer).register_forward_pre_hook(
                    lambda m, args: parts.keep("z", args[0])
                ),
                model.blocks[-1].register_forward_hook(
                    lambda m, args, output: parts.keep("final", output)
                ),
            ):
                hooks.callback(handle.remove)
            yield parts

    def own_part(self, z: Float[Tensor, "row suffix z"]) -> Float[Tensor, "row suffix z"]:
        """z with the values of all other heads at 0."""
        width = z.shape[-1] // self.model.n_heads
        mask = torch.zeros_like(z[0, 0])
        mask[self.target.head * width : (self.target.head + 1) * width] = 1
        return z * mask

    def difference(
        self, z_from: Float[Tensor, "row suffix z"], z_to: Float[Tensor, "row suffix z"]
    ) -> Float[Tensor, "row suffix d_model"]:
        """Δ of the target's output between two runs."""
        projection = self.model.output_projection(self.target.layer)
        return projection(self.own_part(z_to - z_from)) - self._bias

    def patched(
        self,
        residual: Float[Tensor, "row suffix d_model"],
        attention: Float[Tensor, "row suffix d_model"],
        prefix: PrefixKeysValues | None,
        length: int,
        *,
        only_last: bool = False,
    ) -> Float[Tensor, "row suffix d_model"]:
        """The last block's output when the target's layer has this input and attention output.

        With ``only_last`` it holds for the last position alone, and the last block computes no
        other.
        """
        model, layer = self.model, self.target.layer
        start = length - residual.shape[1]
        arguments = block_arguments(model, length, start)
        cache = None if prefix is None else prefix.cache()
        with replaced_forward(
            model.attention(layer), _giving(attention, arguments[layer].attention_arity)
        ):
            hidden = arguments[layer].call(model.blocks[layer], residual, cache)
        for later in range(layer + 1, model.n_layers):
            with ExitStack() as replaced:
                if only_last and later == model.n_layers - 1 and cuts_last(model):
                    # The others take the last one's values in the residual sum; nothing reads them.
                    for module in (model.output_projections[later], model.mlps[later]):
                        if module is not None:
                            replaced.enter_context(replaced_forward(module, last_position))
                hidden = arguments[later].call(model.blocks[later], hidden, cache)
        return hidden


def _giving(value: Tensor, arity: int) -> Callable[[Forward], Forward]:
    """A forward that returns ``value``, as a tuple where the module returns one."""

    def make(original: Forward) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            return (value, *(None,) * (arity - 1)) if arity else value

        return forward

    return make
