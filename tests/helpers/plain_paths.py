"""Path patching by whole passes with plain hooks: what exact edges must equal.

Nothing of the engine is used. Four passes of all pairs make one edge: both prompts are run and what
every part gives is kept; in the background run the sender is given the other prompt's output while
every part after it gives what it gave; what the receiver's block then makes of its input, for one
role, is put in the place of the background's; and the receiver's values are put into one more run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from counterpoint.engine.activations import Direction, TokenPairs
from counterpoint.models.load import LanguageModel

Change = Callable[[Tensor], Tensor]


class PlainPaths:
    """Edges of all pairs in one direction."""

    def __init__(
        self,
        model: LanguageModel,
        pairs: TokenPairs,
        direction: Direction,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        """``frozen`` norms keep their background's size while a sender has changed."""
        self.model, self.pairs, self.frozen = model, pairs, frozen
        sides = ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")
        self.background, self.other = (getattr(pairs, side) for side in sides)
        self.kept = [self._kept(tokens) for tokens in (self.background, self.other)]
        self.start = self.metric(self._run(self.background, []))
        self._made: dict[tuple[int, int], tuple[Tensor, dict[Any, Tensor]]] = {}

    def edge(
        self,
        sender: tuple[int, int],
        receiver: tuple[int, int],
        role: str,
        scale: Tensor | None = None,
    ) -> Tensor:
        """The effect of one edge on every pair; layers and heads as in the table of edges.

        With a ``scale`` the sender's output goes that share of the way; differentiable with respect
        to it.
        """
        layer, head = receiver
        if layer == self.model.n_layers:
            return self.metric(self._sent(sender, scale)[0]) - self.start
        changed = self._sent(sender, scale)[1]
        places = _projections(self.model, layer)[role]
        kept: list[Tensor] = []
        given: list[tuple[nn.Module, str, Change]] = [
            (module, "output", _put(changed[module], columns)) for module, columns in places
        ]
        projection = self.model.output_projection(layer)
        self._run(self.background, [*given, (projection, "input", _keep(kept))])
        width = kept[0].shape[-1] // self.model.n_heads
        own = slice(head * width, (head + 1) * width)
        logits = self._run(self.background, [(projection, "input", _put(kept[0], own))])
        return self.metric(logits) - self.start

    def metric(self, logits: Tensor) -> Tensor:
        """The logit difference of every pair."""
        rows = torch.arange(len(logits))
        correct, incorrect = (
            torch.tensor([one[0] for one in answers])
            for answers in (self.pairs.correct, self.pairs.incorrect)
        )
        return logits[rows, correct] - logits[rows, incorrect]

    def _sent(
        self, sender: tuple[int, int], scale: Tensor | None
    ) -> tuple[Tensor, dict[Any, Tensor]]:
        """Logits, and the outputs of every projection, of the run in which a sender has changed
        and all parts after it are held. Kept where the whole output is put in place."""
        if scale is not None:
            return self._send(sender, scale)
        if sender not in self._made:
            self._made[sender] = self._send(sender, scale)
        return self._made[sender]

    def _send(
        self, sender: tuple[int, int], scale: Tensor | None
    ) -> tuple[Tensor, dict[Any, Tensor]]:
        model, (background, other) = self.model, self.kept
        layer, head = sender
        hooks: list[tuple[nn.Module, str, Change]] = []

        def moved(name: Any) -> Tensor:
            change = other[name] - background[name]
            return background[name] + (change if scale is None else scale * change)

        if layer < 0:
            hooks.append((model.embedding, "output", _put(moved("embeddings"), slice(None))))
        elif head < 0:
            hooks.append((model.mlp(layer), "output", _put(moved(("mlp", layer)), slice(None))))
        else:
            width = background["z", layer].shape[-1] // model.n_heads
            own = slice(head * width, (head + 1) * width)
            projection = model.output_projection(layer)
            hooks.append((projection, "input", _put(moved(("z", layer)), own)))
        for above in range(max(layer, 0), model.n_layers):
            if above > layer:
                held = _put(background["attention", above], slice(None))
                hooks.append((model.output_projection(above), "output", held))
            if above > layer or head >= 0:
                held = _put(background["mlp", above], slice(None))
                hooks.append((model.mlp(above), "output", held))
        seen: dict[Any, list[Tensor]] = {}
        for above in range(layer + 1, model.n_layers):
            for places in _projections(model, above).values():
                for module, _ in places:
                    seen[module] = []
        hooks += [(module, "output", _keep(kept)) for module, kept in seen.items()]
        hooks += [(norm, "norm", _frozen(norm, background[norm])) for norm in self.frozen]
        logits = self._run(self.background, hooks)
        return logits, {module: kept[0] for module, kept in seen.items()}

    def _kept(self, tokens: Tensor) -> dict[Any, Tensor]:
        kept: dict[Any, list[Tensor]] = {"embeddings": []}
        hooks: list[tuple[nn.Module, str, Change]] = [
            (self.model.embedding, "output", _keep(kept["embeddings"]))
        ]
        for layer in range(self.model.n_layers):
            for name, module, side in (
                ("z", self.model.output_projection(layer), "input"),
                ("attention", self.model.output_projection(layer), "output"),
                ("mlp", self.model.mlp(layer), "output"),
            ):
                kept[name, layer] = []
                hooks.append((module, side, _keep(kept[name, layer])))
        for norm in self.frozen:
            kept[norm] = []
            hooks.append((norm, "input", _keep(kept[norm])))
        self._run(tokens, hooks)
        return {name: values[0] for name, values in kept.items()}

    def _run(self, tokens: Tensor, hooks: list[tuple[nn.Module, str, Change]]) -> Tensor:
        with ExitStack() as stack:
            for module, side, change in hooks:
                if side == "input":
                    handle = module.register_forward_pre_hook(_given(change))
                elif side == "output":
                    handle = module.register_forward_hook(_returned(change))
                else:
                    handle = module.register_forward_hook(_replaced(change))
                stack.callback(handle.remove)
            output: Tensor = self.model.hf(input_ids=tokens, use_cache=False).logits
        return self.seen(output)

    def seen(self, logits: Tensor) -> Tensor:
        """What is looked at of the logits of all positions."""
        return logits[:, -1]


def _projections(
    model: LanguageModel, layer: int
) -> dict[str, list[tuple[nn.Module, slice | Tensor]]]:
    """The modules, and which of their outputs, that make each role of a layer."""
    attention = model.attention(layer)
    if hasattr(attention, "c_attn"):
        width = model.d_model
        return {
            role: [(attention.c_attn, slice(part * width, (part + 1) * width))]
            for part, role in enumerate(("query", "key", "value"))
        }
    if hasattr(attention, "query_key_value"):
        # Head by head its query, key and value.
        width = model.d_model // model.n_heads
        columns = torch.arange(3 * model.d_model).view(model.n_heads, 3, width)
        return {
            role: [(attention.query_key_value, columns[:, part].reshape(-1))]
            for part, role in enumerate(("query", "key", "value"))
        }
    return {
        role: [(getattr(attention, f"{role[0]}_proj"), slice(None))]
        for role in ("query", "key", "value")
    }


def _put(value: Tensor, columns: slice | Tensor) -> Change:
    def change(given: Tensor) -> Tensor:
        given = given.clone()
        given[..., columns] = value[..., columns]
        return given

    return change


def _keep(kept: list[Tensor]) -> Change:
    def change(given: Tensor) -> Tensor:
        kept.append(given.clone())
        return given

    return change


def _given(change: Change) -> Any:
    return lambda module, args: (change(args[0]), *args[1:])


def _returned(change: Change) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    return hook


def _replaced(change: Change) -> Any:
    return lambda module, args, output: change(args[0])


def _frozen(norm: Any, background: Tensor) -> Change:
    """What a norm makes of its input with the size of its ``background`` input."""
    if isinstance(norm, nn.LayerNorm):
        size = (background.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
        return lambda x: (x - x.mean(-1, keepdim=True)) / size * norm.weight + norm.bias
    size = (background.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt()
    return lambda x: x / size * norm.weight
