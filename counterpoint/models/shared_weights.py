"""A model of our own over the weights of a caller's: what is done to it leaves theirs as it was.

The module tree, its buffers and its configuration are copied, the parameters are new objects over
the same storage. So no memory is taken for weights, and evaluation mode, eager attention, hooks and
`requires_grad` are set on the copy alone. Weights that are changed in place afterwards (a step of
training) are changed in both.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from counterpoint.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

_OWN = ("transformers.", "counterpoint.")


def share_weights(hf: PreTrainedModel) -> PreTrainedModel:
    """A copy of ``hf`` that shares its weights.

    Raises UserError for weights that are not in memory, or on several devices, and for modules with
    hooks or with a forward of their own: whether these belong to what is measured is not known.
    """
    _refuse_elsewhere(hf)
    _refuse_altered(hf.named_modules())
    return copy.deepcopy(hf, memo_of(hf.parameters()))


def memo_of(parameters: Iterable[nn.Parameter]) -> dict[int, Any]:
    """What `copy.deepcopy` is to take for each parameter: another one over the same storage."""
    return {id(parameter): _over_the_same_storage(parameter) for parameter in parameters}


@contextmanager
def unchanged_modules(*trees: nn.Module) -> Iterator[None]:
    """Modules are after the block as before, however it ends: hooks, forwards and other attributes.

    By their dictionaries: a component of a bridge hands what it is told on to the module that it
    holds, and at its first run registers hooks and keeps values.
    """
    own = {id(module): vars(module) for tree in trees for module in tree.modules()}
    before = [
        (attributes, dict(attributes), {kind: dict(attributes[kind]) for kind in HOOKS})
        for attributes in own.values()
    ]
    try:
        yield
    finally:
        for attributes, values, hooks in before:
            attributes.clear()
            attributes.update(values)
            for kind, registered in hooks.items():
                attributes[kind].clear()
                attributes[kind].update(registered)


def _over_the_same_storage(parameter: nn.Parameter) -> nn.Parameter:
    data: Tensor = parameter.detach()
    # What was made in inference mode can take no part in a gradient, whoever asks for it.
    return nn.Parameter(data.clone() if data.is_inference() else data, requires_grad=False)


def _refuse_elsewhere(hf: nn.Module) -> None:
    places = {parameter.device for parameter in hf.parameters()}
    if torch.device("meta") in places:
        raise UserError(
            "the model's weights are not in memory (they are on torch's meta device, where a"
            " device_map that offloads leaves them). Load it whole, without device_map, or give its"
            " name or folder."
        )
    if len(places) != 1:
        raise UserError(
            "the model's weights stand on"
            f" {', '.join(sorted(map(str, places))) or 'no device: it has none'}; expected one"
            " device for all of them. Load it without device_map, or give its name or folder."
        )


def _refuse_altered(modules: Iterable[tuple[str, nn.Module]]) -> None:
    for name, module in modules:
        where = name or "the model itself"
        if "forward" in vars(module):
            raise UserError(
                f"the forward of {where} has been replaced on this model, so what would be measured"
                " is not its architecture. Remove what replaced it (accelerate's"
                " remove_hook_from_submodules, say), or give the model's name or folder."
            )
        if any(True for _ in _foreign_hooks(module)):
            raise UserError(
                f"{where} has hooks, and whether they belong to what is to be measured is not"
                " known. Remove them (handle.remove()) and call again."
            )


def _foreign_hooks(module: nn.Module) -> Iterator[Any]:
    """Hooks that neither transformers left there (it keeps those that record outputs) nor
    `load.wrap`."""
    for kind in HOOKS:
        for hook in getattr(module, kind).values():
            function = hook.func if isinstance(hook, functools.partial) else hook
            if not str(getattr(function, "__module__", "")).startswith(_OWN):
                yield hook
