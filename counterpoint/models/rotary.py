"""Rotary embeddings whose angles depend on the length of the prompt.

Two kinds of scaling do: `dynamic`, which stretches the angles once a prompt is longer than the
model was trained for, and `longrope`, which then takes other factors. Keys of a prefix that is run
alone are then not those of the whole prompt. transformers keeps the angles of the longest prompt
that `dynamic` has seen, so that a prompt's logits depend on what was run before it; here every
prompt begins afresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

BY_LENGTH = ("dynamic", "longrope")
"""Kinds of scaling (`rope_type`) whose angles depend on the length of the prompt."""


def crosses_rotary_length(config: PreTrainedConfig, length: int) -> bool:
    """Whether the angles of a prompt of ``length`` tokens are not those of its shorter parts."""
    text = config.get_text_config(decoder=True)
    return any(length > threshold for threshold in _thresholds(text))


def _thresholds(text: PreTrainedConfig) -> Iterator[int]:
    parameters = getattr(text, "rope_parameters", None) or {}
    kinds = [parameters, *parameters.values()]
    for kind in kinds:
        if not isinstance(kind, dict) or kind.get("rope_type") not in BY_LENGTH:
            continue
        names = ("original_max_position_embeddings", "max_position_embeddings")
        limits = [kind.get(names[0]), *(getattr(text, name, None) for name in names)]
        yield min((limit for limit in limits if limit), default=0)


def begin_afresh(hf: nn.Module) -> None:
    """Let every prompt have the angles that it would have as the first one of all."""
    for module in hf.modules():
        kinds = getattr(module, "rope_type", None)
        names = kinds.values() if isinstance(kinds, dict) else [kinds]
        if any("dynamic" in str(name) for name in names):
            module.register_forward_pre_hook(_forget)


def _forget(module: Any, args: Any) -> None:
    kinds = module.rope_type if isinstance(module.rope_type, dict) else {"": module.rope_type}
    for kind, name in kinds.items():
        start = f"{kind}_" if kind else ""
        original = getattr(module, f"{start}original_inv_freq", None)
        if "dynamic" in str(name) and original is not None:
            setattr(module, f"{start}inv_freq", original.to(getattr(module, f"{start}inv_freq")))
            setattr(module, f"{start}max_seq_len_cached", module.original_max_seq_len)
