"""Rotary embeddings: angles that depend on the length of the prompt, settings that are not read.

Two kinds of scaling do: `dynamic`, which stretches the angles once a prompt is longer than the
model was trained for, and `longrope`, which then takes other factors. Keys of a prefix that is run
alone are then not those of the whole prompt. transformers keeps the angles of the longest prompt
that `dynamic` has seen, so that a prompt's logits depend on what was run before it; here every
prompt begins afresh.

Older files say `rope_theta`, `rope_scaling` and `partial_rotary_factor` at the top of config.json,
and `type` for `rope_type`. Some architectures of transformers pass over some of these without a
word (Gemma 3 and OLMo 3 over a scaling whose kind is called `type`): that is noticed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

BY_LENGTH = ("dynamic", "longrope")
"""Kinds of scaling (`rope_type`) whose angles depend on the length of the prompt."""


OTHER_NAMES = {"su": ("longrope",), "yarn": ("yarn", "longrope"), "mrope": ("mrope", "default")}
"""What transformers makes of some kinds of scaling, where not the kind of that name."""


SCALINGS = {"linear", "dynamic", "yarn", "longrope", "llama3"}
"""What some architectures of transformers have where nothing is said."""


def unread_setting(raw: Mapping[str, Any], config: PreTrainedConfig) -> str | None:
    """A rotary setting of config.json (``raw``) that its ``config`` in memory does not have.

    As a sentence that says what the file asks for and what was made of it, or None.
    """
    said = _of_the_text(raw)
    parameters = getattr(config.get_text_config(decoder=True), "rope_parameters", None)
    if not isinstance(parameters, Mapping):
        return None
    read = [each for each in (parameters, *parameters.values()) if isinstance(each, Mapping)]
    bases = [each["rope_theta"] for each in read if each.get("rope_theta") is not None]
    base = said.get("rope_theta")
    if isinstance(base, int | float) and bases and base not in bases:
        return f"rope_theta {base}, and transformers reads {' and '.join(map(str, bases))}"
    scaling = said.get("rope_scaling")
    kind = scaling.get("rope_type", scaling.get("type")) if isinstance(scaling, Mapping) else None
    kinds = [str(each["rope_type"]) for each in read if "rope_type" in each]
    found = " and ".join(dict.fromkeys(kinds)) or "none"
    if isinstance(kind, str) and kind != "default":
        if not set(OTHER_NAMES.get(kind, (kind,))) & set(kinds):
            return f"a rotary scaling of the kind {kind}, and transformers reads {found}"
        return None
    none = "rope_scaling" in said and not scaling and not said.get("rope_parameters")
    if none and set(kinds) & SCALINGS:
        return f"no rotary scaling (rope_scaling: null), and transformers reads {found}"
    return None


def unrotated_share(raw: Mapping[str, Any], hf: nn.Module) -> str | None:
    """As `unread_setting`, of a share of each head that is rotated, which needs the built model."""
    said = _of_the_text(raw)
    share = said.get("partial_rotary_factor")
    if share is None and isinstance(said.get("rope_parameters"), Mapping):
        share = said["rope_parameters"].get("partial_rotary_factor")
    if not isinstance(share, int | float) or share == 1:
        return None
    for module in hf.modules():
        unscaled = getattr(module, "compute_default_rope_parameters", None)
        try:
            config: Any = getattr(module, "config", None)
            head = getattr(config, "head_dim", None)
            head = head or config.hidden_size // config.num_attention_heads
            frequencies = unscaled(config)[0] if unscaled else None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue  # whose heads differ by layer, or have a part for rotations
        if frequencies is not None and 2 * len(frequencies) == head and int(head * share) != head:
            return (
                f"partial_rotary_factor {share}, and transformers' {type(hf).__name__} rotates"
                " whole heads"
            )
    return None


def _of_the_text(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = raw.get("text_config")
    return inner if isinstance(inner, Mapping) and inner else raw


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
