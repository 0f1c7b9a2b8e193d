"""Why a checkpoint may not fit its model: the likely cause, from the names and shapes of tensors.

Nothing here decides whether a checkpoint is refused (`counterpoint.models.checkpoint`): it says
what a user can do about it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

WRAPPERS = {
    "_orig_mod": ("a compiled model (torch.compile)", "model._orig_mod"),
    "module": ("a model inside DataParallel or DistributedDataParallel", "model.module"),
    "_fsdp_wrapped_module": (
        "a model inside FullyShardedDataParallel",
        "the model that FSDP's full state dict gives",
    ),
    "_checkpoint_wrapped_module": (
        "a model with wrapped layers (activation checkpointing)",
        "the model without the wrappers",
    ),
    "_forward_module": ("a model inside a trainer's wrapper", "the inner model"),
}
"""Parts of names that a wrapper leaves, what it is, and what to save instead."""

ADAPTER = re.compile(
    r"\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|base_layer|hada_w[12](_[ab])?|hada_t[12]"
    r"|lokr_w[12](_[ab])?|lokr_t2|ia3_l|vera_lambda_[bd]|vera_[AB]|oft_[RrSs]|boft_[RrSs]"
    r"|prompt_encoder|prompt_embeddings)(\.|$)"
)
QUANTISED = re.compile(
    r"\.(qweight|qzeros|g_idx|scales|weight_packed|weight_scale(_inv)?|weight_shape|weight_zero_point"
    r"|input_scale|SCB|absmax|quant_map|nested_absmax|quant_state\.[\w.]+|weight_format|zeros)$"
    r"|_(blocks|scales)$"
)

SIZES = {
    "vocab_size": r"embed_tokens|wte|embed_in|embed_out|word_embeddings|lm_head",
    "hidden_size": "norm|ln_",
    "intermediate_size": "mlp|ffn|fc",
    "max_position_embeddings": "pos|wpe",
}
"""Settings that say a length, and the names of tensors that have it."""

MOSTLY = 0.5
"""The share of missing tensors that another name must account for, to be called the cause."""


def likely_cause(
    *,
    missing: Sequence[str],
    unexpected: Sequence[str],
    mismatched: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
    whole: Sequence[str],
    expected: Sequence[str],
    stored: Mapping[str, str],
    configuration: Any,
) -> str:
    """Sentences that name the likely cause and the remedy.

    ``missing``, ``unexpected`` and ``expected`` are names of tensors (lacking, without a place, and
    all of the model's), ``mismatched`` holds (name, found shape, wanted shape), ``whole`` names
    those that hold whole numbers, ``stored`` the file of each tensor of the checkpoint.
    """
    names = list(stored)
    if any(ADAPTER.search(name) for name in names):
        return (
            "It holds an adapter (LoRA, for example) that is not merged. Merge it where it was made"
            " (`model.merge_and_unload().save_pretrained(folder)` of peft) and use that folder."
        )
    if whole or any(QUANTISED.search(name) for name in unexpected):
        return (
            "It looks quantised. Use the checkpoint that was quantised, or load it where its"
            " quantiser is installed and save `model.dequantize()` with save_pretrained."
        )
    wrapped = _wrapper(missing, unexpected, names)
    if wrapped:
        return wrapped
    text = configuration.get_text_config(decoder=True)
    kind = getattr(configuration, "model_type", "?")
    layers = getattr(text, "num_hidden_layers", None)
    found = _layers(names)
    if layers and found and found != layers and (_all_in_layers(missing) or not missing):
        return (
            f"config.json says {layers} layers (num_hidden_layers), the checkpoint holds {found}:"
            " either config.json is another model's, or a file of the checkpoint is lacking."
        )
    if mismatched:
        sizes = _wrong_sizes(mismatched, text)
        return (
            f"config.json ({kind}) describes a model of another size{sizes}. Use the config.json"
            " that was saved with these weights."
        )
    matched = len(set(expected) & set(names)) / max(1, len(expected))
    if missing and unexpected and matched < MOSTLY:
        return (
            f"The checkpoint seems to be of another architecture than config.json says (model_type:"
            f" {kind}), or to name its tensors in another way: convert it with the tool that its"
            " makers provide, and save it with save_pretrained."
        )
    if missing and any(_is_unembedding(name) for name in missing):
        return (
            "The unembedding is lacking: the model was saved without its head (a base model, or one"
            " with a head for another task), or config.json should say `tie_word_embeddings: true`."
            " Save the causal language model itself with save_pretrained."
        )
    if missing:
        return (
            "A file of the checkpoint is lacking or incomplete, or config.json asks for parts that"
            " this model does not have (a bias, for example). Fetch it again, or save it again with"
            " save_pretrained."
        )
    return (
        "It holds more than config.json describes (a bias, a head for another task, further"
        " layers), which would be left out. Use the config.json that was saved with these weights,"
        " or save the causal language model alone with save_pretrained."
    )


def _wrapper(missing: Sequence[str], unexpected: Sequence[str], names: Sequence[str]) -> str | None:
    """The cause, where names differ from the model's by parts put in or left out."""
    wanted = set(missing)
    for part, (what, save) in WRAPPERS.items():
        inside = [name for name in names if part in name.split(".")]
        plain = {".".join(p for p in name.split(".") if p != part) for name in inside}
        if inside and (plain & wanted or len(inside) > MOSTLY * len(names)):
            return (
                f"The names hold `{part}.`: {what} was saved. Save {save} with save_pretrained, or"
                f" take `{part}.` out of the names of the tensors."
            )
    if not missing or not unexpected:
        return None
    before: Counter[str] = Counter()
    for name in unexpected:
        parts = name.split(".")
        for start in range(1, len(parts)):
            if ".".join(parts[start:]) in wanted:
                before[".".join(parts[:start]) + "."] += 1
    if before and before.most_common(1)[0][1] > MOSTLY * len(unexpected):
        prefix = before.most_common(1)[0][0]
        who = (
            "a peft model was saved instead of the model in it (`model.merge_and_unload()` gives"
            " that one)"
            if prefix.startswith("base_model.")
            else "a model inside another one was saved"
        )
        return (
            f"The names begin with `{prefix}`: {who}. Save the inner model with save_pretrained, or"
            f" take `{prefix}` out of the names of the tensors."
        )
    ends = {name.partition(".")[2]: name.partition(".")[0] for name in missing}
    lacking = Counter(ends[name] for name in unexpected if name in ends)
    if lacking and lacking.most_common(1)[0][1] > MOSTLY * len(unexpected):
        prefix = lacking.most_common(1)[0][0]
        return (
            f"The names lack their beginning `{prefix}.`. Save the whole causal language model with"
            f" save_pretrained, or put `{prefix}.` before the names of the tensors."
        )
    return None


def _layers(names: Sequence[str]) -> int:
    """One more than the highest number of a layer in the names; 0 where there are none."""
    numbers = [
        int(n) for name in names for n in re.findall(r"\.(?:layers|h|blocks)\.(\d+)\.", f".{name}")
    ]
    return max(numbers) + 1 if numbers else 0


def _all_in_layers(names: Sequence[str]) -> bool:
    return all(re.search(r"(^|\.)(layers|h|blocks)\.\d+\.", name) for name in names)


def _is_unembedding(name: str) -> bool:
    return name.split(".")[0] in ("lm_head", "embed_out", "output") or name.endswith(
        "lm_head.weight"
    )


def _wrong_sizes(
    mismatched: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]], text: Any
) -> str:
    """Which settings of the configuration the wrong lengths stand for, as " (a: 1, not 2)"."""
    named = []
    for key, where in SIZES.items():
        value = getattr(text, key, None)
        other = {
            a
            for name, found, wanted in mismatched
            if len(found) == len(wanted) and re.search(where, name)
            for a, b in zip(found, wanted, strict=True)
            if a != b and b == value
        }
        if len(other) == 1:
            named.append(f"{key}: {value}, where the weights have {other.pop()}")
    return f" ({'; '.join(named)})" if named else ""
