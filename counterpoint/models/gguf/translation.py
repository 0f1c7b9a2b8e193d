"""What every architecture has: sizes, the settings around them, and what is done to tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from counterpoint.models.gguf.reading import GgufFile
from counterpoint.models.gguf.tensor_names import Place

Array = npt.NDArray[np.float32]
GELU: Final = "gelu_pytorch_tanh"
"""llama.cpp's GELU, for every architecture: a file cannot ask for another."""
_EXPERTS: Final = (
    "expert_count",
    "expert_used_count",
    "expert_shared_count",
    "expert_group_count",
    "expert_group_used_count",
    "leading_dense_block_count",
)


@dataclass(frozen=True)
class Architecture:
    """How one file becomes a model of transformers.

    `tensors` maps GGUF's names to places, `change` some of them (with or without .weight or .bias)
    to what is done to their values.
    `zero` are ends of names of biases that transformers has and the file need not: a bias that is
    absent is zero.
    """

    model_type: str
    config: dict[str, Any]
    tensors: Mapping[str, str | Place]
    change: Mapping[str, Callable[[Array], Array]] = field(default_factory=dict)
    zero: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """Sizes that every architecture has; `head` is the size of a query, key and value vector."""

    layers: int
    width: int
    hidden: int
    heads: int
    key_heads: int
    head: int
    context: int
    vocabulary: int
    tied: bool

    def config(self, **further: Any) -> dict[str, Any]:
        return {
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "intermediate_size": self.hidden,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "max_position_embeddings": self.context,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": self.tied,
            **further,
        }


def sizes_of(file: GgufFile, *, own_head_size: bool = True, tied: bool | None = None) -> Sizes:
    """Read the sizes; `own_head_size` says whether a head may be other than width / heads.

    `tied` is said where the architecture always has an output of its own (False) or never (True).
    """
    if "token_embd.weight" not in file.tensors:
        raise file.refuse("the tensor token_embd.weight is missing.")
    rows, width = file.shape("token_embd.weight")
    heads = file.integer("attention.head_count")
    if heads < 1 or file.integer("embedding_length") != width:
        raise file.refuse(
            f"`{file.key('embedding_length')}` is {file.integer('embedding_length')} and "
            f"`{file.key('attention.head_count')}` {heads}, but the embedding is {width} wide."
        )
    head = file.integer("attention.key_length", width // heads)
    if file.integer("attention.value_length", head) != head:
        raise file.refuse(
            f"`{file.key('attention.key_length')}` is {head} and "
            f"`{file.key('attention.value_length')}` {file.integer('attention.value_length')}; "
            "heads whose keys and values differ in size cannot be had here."
        )
    if not own_head_size and head * heads != width:
        raise file.refuse(f"{heads} heads of size {head} do not make the width {width}.")
    if file.integer("vocab_size", rows) != rows:
        raise file.refuse(
            f"`{file.key('vocab_size')}` is {file.integer('vocab_size')}, but token_embd.weight "
            f"has {rows} rows."
        )
    tokens = file.settings.get("tokenizer.ggml.tokens", [])
    if len(tokens) > rows:
        raise file.refuse(
            f"its tokenizer has {len(tokens)} tokens, but token_embd.weight only {rows} rows."
        )
    key_heads = file.integer("attention.head_count_kv", heads)
    if key_heads < 1 or heads % key_heads:
        raise file.refuse(f"{heads} query heads cannot share {key_heads} key heads evenly.")
    file.demand("attention.causal", (True,), "attention in both directions")
    file.demand("pooling_type", (0,), "pooling, as in models of sentence embeddings")
    file.demand("nextn_predict_layers", (0,), "layers that predict further tokens")
    if "ffn_gate_inp" not in stems(file):
        for name in _EXPERTS:
            file.demand(name, (0,), "experts, of which the file has no tensors")
    file.ignore("tensor_data_layout")
    return Sizes(
        layers=file.integer("block_count"),
        width=width,
        hidden=file.integer("feed_forward_length", 4 * width),
        heads=heads,
        key_heads=key_heads,
        head=head,
        context=file.integer("context_length"),
        vocabulary=rows,
        tied="output.weight" not in file.tensors if tied is None else tied,
    )


def stems(file: GgufFile) -> set[str]:
    """Names of the tensors of the blocks, without their numbers and without .weight or .bias."""
    return {
        name.split(".")[2] for name in file.tensors if name.startswith("blk.") and "." in name[4:]
    }


def has(file: GgufFile, name: str) -> bool:
    """Say whether any block has the tensor `name`; all must, or its absence is an error later."""
    return any(tensor.endswith(f".{name}") for tensor in file.tensors if tensor[:4] == "blk.")


def rms_epsilon(file: GgufFile) -> float:
    return _epsilon(file, "attention.layer_norm_rms_epsilon")


def norm_epsilon(file: GgufFile) -> float:
    return _epsilon(file, "attention.layer_norm_epsilon")


def _epsilon(file: GgufFile, name: str) -> float:
    epsilon = file.real(name)
    if not 0 <= epsilon < 1:
        raise file.refuse(f"`{file.key(name)}` is {epsilon:g}; expected at least 0, below 1.")
    return epsilon


def window_of(file: GgufFile, usual: int = 0) -> int:
    """Return the length of the sliding window, 0 where there is none."""
    window = file.integer("attention.sliding_window", usual)
    if window < 0:
        raise file.refuse(
            f"`{file.key('attention.sliding_window')}` is {window}; expected a length, or 0."
        )
    return window


def refuse_window(file: GgufFile, sizes: Sizes) -> None:
    """Refuse a sliding window, but one that is as long as the context or longer."""
    if 0 < window_of(file) < sizes.context:
        file.demand("attention.sliding_window", (0,), "a sliding window")
    file.ignore("attention.sliding_window_pattern")


def demand_usual_scale(file: GgufFile, sizes: Sizes) -> None:
    """Refuse a scale of the attention's scores other than the usual one."""
    usual = 1 / math.sqrt(sizes.head)
    scale = file.real("attention.scale", usual)
    if abs(scale - usual) > 1e-6 * usual:
        file.demand("attention.scale", (0,), "a scale of the attention's scores")


# ----------------------------------------------------------------------------- changes of tensors


def unpaired(values: Array, heads: int) -> Array:
    """Undo the order of rows that llama.cpp wants of queries and keys where it rotates neighbours.

    Row 2 i + j of a head becomes row j · d / 2 + i: transformers rotates the halves of a head.
    """
    rows = values.reshape(heads, -1, 2, *values.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(values.shape)


def interleaved(values: Array, groups: int, queries: int) -> Array:
    """Rows of all queries, keys, values as rows of each group: its queries, its key, its value."""
    size = values.shape[0] // (groups * (queries + 2))
    rows = values.reshape(groups * (queries + 2), size, *values.shape[1:])
    query, key, value = np.split(rows, [groups * queries, groups * (queries + 1)])
    query = query.reshape(groups, queries, *rows.shape[1:])
    joined = np.concatenate([query, key[:, None], value[:, None]], axis=1)
    return np.ascontiguousarray(joined).reshape(values.shape)


def less_one(values: Array) -> Array:
    return np.asarray(values - np.float32(1), dtype=np.float32)


def transposed(values: Array) -> Array:
    return np.ascontiguousarray(values.T) if values.ndim == 2 else values


def unpairing(sizes: Sizes) -> dict[str, Callable[[Array], Array]]:
    return {
        "attn_q": partial(unpaired, heads=sizes.heads),
        "attn_k": partial(unpaired, heads=sizes.key_heads),
    }


def norms_less_one(names: Mapping[str, Any]) -> dict[str, Callable[[Array], Array]]:
    return {f"{name}.weight": less_one for name in names if name.endswith("_norm")}


def biases(file: GgufFile) -> dict[str, bool]:
    """Biases of the attention and of the MLP, which the Llama family has in all parts or none."""
    attention = [has(file, f"attn_{part}.bias") for part in ("q", "k", "v")]
    if any(attention) != all(attention):
        raise file.refuse("it has biases of some of the queries, keys and values, but not of all.")
    mlp = [has(file, f"ffn_{part}.bias") for part in ("gate", "up", "down")]
    if any(mlp) != all(mlp):
        raise file.refuse("it has biases of some parts of the MLP, but not of all.")
    return {
        "attention_bias": all(attention) or has(file, "attn_output.bias"),
        "mlp_bias": all(mlp),
    }


ATTENTION_BIASES: Final = tuple(f"self_attn.{part}_proj.bias" for part in "qkvo")


def routing(file: GgufFile, count: str) -> dict[str, Any]:
    """Settings of experts that are chosen by the largest of their softmax."""
    file.demand("expert_gating_func", (0, 1), "experts that are not chosen by a softmax")
    file.demand("expert_weights_scale", (0, 1), "a scale of what the experts add")
    for name in ("expert_group_count", "expert_group_used_count", "leading_dense_block_count"):
        file.demand(name, (0,), "experts in groups, or not in every layer")
    if "ffn_up_shexp" in stems(file):
        file.ignore("expert_shared_count")
    else:
        file.demand("expert_shared_count", (0,), "shared experts, of which there are no tensors")
    experts, used = file.integer("expert_count"), file.integer("expert_used_count")
    if not 1 <= used <= experts:
        raise file.refuse(
            f"`{file.key('expert_used_count')}` is {used} of {experts} experts; expected 1 to"
            f" {experts}."
        )
    return {count: experts, "num_experts_per_tok": used}
