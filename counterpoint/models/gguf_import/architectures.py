"""What the settings of each GGUF architecture mean to transformers.

GGUF names few of an architecture's properties; the rest (the activation, what a norm adds, how
rows are ordered) is what llama.cpp computes for it (src/models/*.cpp) and what its converter does
to the tensors (conversion/*.py). Both were read at tag b11739, and every architecture here is
compared with llama.cpp's logits by `make test-gguf` (docs/gguf.md).

GELU is llama.cpp's, the tanh form, for every architecture: a file cannot ask for another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from counterpoint.models.gguf_import import tables
from counterpoint.models.gguf_import.reading import GgufFile
from counterpoint.models.gguf_import.rotary import rope_parameters

Array = npt.NDArray[np.float32]
GELU: Final = "gelu_pytorch_tanh"


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
    tensors: Mapping[str, str | tables.Place]
    change: Mapping[str, Callable[[Array], Array]] = field(default_factory=dict)
    zero: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sizes:
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


def architecture_of(file: GgufFile) -> Architecture:
    """Return how `file` becomes a model of transformers.

    Raises UserError for an unknown architecture and for settings that transformers' model of it
    cannot have.
    """
    if file.architecture not in ARCHITECTURES:
        raise file.refuse(
            f"its architecture is {file.architecture!r}; GGUF files are read of "
            f"{', '.join(sorted(ARCHITECTURES))}."
        )
    return ARCHITECTURES[file.architecture](file)


def _sizes(file: GgufFile, *, own_head_size: bool = True, tied: bool | None = None) -> _Sizes:
    """Read the sizes; `own_head_size` says whether a head may be other than width / heads."""
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
    file.demand("attention.causal", (True,), "attention in both directions")
    file.demand("pooling_type", (0,), "pooling, as in models of sentence embeddings")
    file.demand("nextn_predict_layers", (0,), "layers that predict further tokens")
    experts = ("expert_count", "expert_used_count") + (
        "expert_shared_count",
        "expert_group_count",
        "expert_group_used_count",
        "leading_dense_block_count",
    )
    for name in experts:
        if "ffn_gate_inp" not in _stems(file):
            file.demand(name, (0,), "experts, of which the file has no tensors")
    file.ignore("tensor_data_layout")
    return _Sizes(
        layers=file.integer("block_count"),
        width=width,
        hidden=file.integer("feed_forward_length", 4 * width),
        heads=heads,
        key_heads=file.integer("attention.head_count_kv", heads),
        head=head,
        context=file.integer("context_length"),
        vocabulary=rows,
        tied="output.weight" not in file.tensors if tied is None else tied,
    )


def _stems(file: GgufFile) -> set[str]:
    """Names of the tensors of the blocks, without their numbers and without .weight or .bias."""
    return {
        name.split(".")[2] for name in file.tensors if name.startswith("blk.") and "." in name[4:]
    }


def _has(file: GgufFile, name: str) -> bool:
    """Say whether any block has the tensor `name`; all must, or its absence is an error later."""
    return any(tensor.endswith(f".{name}") for tensor in file.tensors if tensor[:4] == "blk.")


def _rms(file: GgufFile) -> float:
    return file.real("attention.layer_norm_rms_epsilon")


def _norm(file: GgufFile) -> float:
    return file.real("attention.layer_norm_epsilon")


def _no_window(file: GgufFile, sizes: _Sizes) -> None:
    """Refuse a sliding window, but one that is as long as the context or longer."""
    window = file.integer("attention.sliding_window", 0)
    if 0 < window < sizes.context:
        file.demand("attention.sliding_window", (0,), "a sliding window")
    file.ignore("attention.sliding_window_pattern")


def _demand_scale(file: GgufFile, sizes: _Sizes) -> None:
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


def _less_one(values: Array) -> Array:
    return np.asarray(values - np.float32(1), dtype=np.float32)


def _transposed(values: Array) -> Array:
    return np.ascontiguousarray(values.T) if values.ndim == 2 else values


def _pairs(sizes: _Sizes) -> dict[str, Callable[[Array], Array]]:
    return {
        "attn_q": partial(unpaired, heads=sizes.heads),
        "attn_k": partial(unpaired, heads=sizes.key_heads),
    }


def _norms_less_one(names: Mapping[str, Any]) -> dict[str, Callable[[Array], Array]]:
    return {f"{name}.weight": _less_one for name in names if name.endswith("_norm")}


# -------------------------------------------------------------------------------- the Llama family


def _biases(file: GgufFile) -> dict[str, bool]:
    """Biases of the attention and of the MLP, which the Llama family has in all parts or none."""
    attention = [_has(file, f"attn_{part}.bias") for part in ("q", "k", "v")]
    if any(attention) != all(attention):
        raise file.refuse("it has biases of some of the queries, keys and values, but not of all.")
    mlp = [_has(file, f"ffn_{part}.bias") for part in ("gate", "up", "down")]
    if any(mlp) != all(mlp):
        raise file.refuse("it has biases of some parts of the MLP, but not of all.")
    return {
        "attention_bias": all(attention) or _has(file, "attn_output.bias"),
        "mlp_bias": all(mlp),
    }


_ATTENTION_BIASES: Final = tuple(f"self_attn.{part}_proj.bias" for part in "qkvo")


def _llama(file: GgufFile) -> Architecture:
    sizes = _sizes(file)
    _no_window(file, sizes)
    _demand_scale(file, sizes)
    rope = rope_parameters(file, head=sizes.head, with_factors=True)
    config = sizes.config(head_dim=sizes.head, rms_norm_eps=_rms(file), rope_parameters=rope)
    if "ffn_gate_inp" in _stems(file):
        routing = _routing(file, "num_local_experts")
        config |= {"hidden_act": "silu", "sliding_window": None, **routing}
        return Architecture("mixtral", config, tables.MIXTRAL, _pairs(sizes))
    config |= {"hidden_act": "silu", **_biases(file)}
    return Architecture("llama", config, tables.LLAMA, _pairs(sizes), _ATTENTION_BIASES)


def _granite(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    _no_window(file, sizes)
    file.demand("rope.scaling.finetuned", (True, 1), "no rotary embedding at all, as it says here")
    rope = rope_parameters(file, head=sizes.head, with_factors=True)
    config = sizes.config(
        rms_norm_eps=_rms(file),
        rope_parameters=rope,
        hidden_act="silu",
        # llama.cpp takes 0 for "not given" here.
        attention_multiplier=file.real("attention.scale", 0.0) or 1 / math.sqrt(sizes.head),
        embedding_multiplier=file.real("embedding_scale", 0.0) or 1.0,
        residual_multiplier=file.real("residual_scale", 0.0) or 1.0,
        logits_scaling=file.real("logit_scale"),
        **_biases(file),
    )
    return Architecture("granite", config, tables.LLAMA, _pairs(sizes), _ATTENTION_BIASES)


def _smollm3(file: GgufFile) -> Architecture:
    sizes = _sizes(file)
    _no_window(file, sizes)
    _demand_scale(file, sizes)
    config = sizes.config(
        head_dim=sizes.head,
        rms_norm_eps=_rms(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
        no_rope_layers=[int((layer + 1) % 4 != 0) for layer in range(sizes.layers)],
        no_rope_layer_interval=4,
        use_sliding_window=False,
        **_biases(file),
    )
    return Architecture("smollm3", config, tables.LLAMA, _pairs(sizes), _ATTENTION_BIASES)


def _qwen2(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    _no_window(file, sizes)
    config = sizes.config(
        rms_norm_eps=_rms(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
        use_sliding_window=False,
    )
    if "ffn_gate_inp" not in _stems(file):
        return Architecture("qwen2", config, tables.LLAMA)
    config |= _routing(file, "num_experts") | {
        "norm_topk_prob": False,
        "shared_expert_intermediate_size": file.integer(
            "expert_shared_feed_forward_length", sizes.hidden
        ),
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }
    config["moe_intermediate_size"] = file.integer(
        "expert_feed_forward_length", sizes.hidden // config["num_experts_per_tok"]
    )
    change = {"ffn_gate_inp_shexp": lambda values: values.reshape(1, -1)}
    return Architecture("qwen2_moe", config, tables.QWEN2_MOE, change)


def _qwen3(file: GgufFile) -> Architecture:
    sizes = _sizes(file)
    _no_window(file, sizes)
    biases = _biases(file)
    config = sizes.config(
        head_dim=sizes.head,
        rms_norm_eps=_rms(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
        use_sliding_window=False,
        attention_bias=biases["attention_bias"],
    )
    if "ffn_gate_inp" not in _stems(file):
        return Architecture("qwen3", config, tables.QWEN3, zero=_ATTENTION_BIASES)
    config |= _routing(file, "num_experts") | {
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }
    config["moe_intermediate_size"] = file.integer(
        "expert_feed_forward_length", sizes.hidden // config["num_experts_per_tok"]
    )
    return Architecture("qwen3_moe", config, tables.QWEN3_MOE, zero=_ATTENTION_BIASES)


def _routing(file: GgufFile, count: str) -> dict[str, Any]:
    """Settings of experts that are chosen by the largest of their softmax."""
    file.demand("expert_gating_func", (0, 1), "experts that are not chosen by a softmax")
    file.demand("expert_weights_scale", (0, 1), "a scale of what the experts add")
    for name in ("expert_group_count", "expert_group_used_count", "leading_dense_block_count"):
        file.demand(name, (0,), "experts in groups, or not in every layer")
    file.ignore("expert_shared_count")
    return {
        count: file.integer("expert_count"),
        "num_experts_per_tok": file.integer("expert_used_count"),
    }


# -------------------------------------------------------------------------------- the Gemma family


def _gemma(file: GgufFile) -> Architecture:
    sizes = _sizes(file, tied=True)
    config = sizes.config(
        head_dim=sizes.head,
        rms_norm_eps=_rms(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act=GELU,
    )
    tensors = {name: place for name, place in tables.LLAMA.items() if name != "output"}
    return Architecture("gemma", config, tensors, _norms_less_one(tensors))


def _layer_types(file: GgufFile, sizes: _Sizes, period: int) -> list[str]:
    """Which layers look back through a window: all but every `period`-th, or as the file says."""
    pattern = file.value("attention.sliding_window_pattern", period)
    if not isinstance(pattern, list):
        pattern = [pattern == 0 or layer % pattern < pattern - 1 for layer in range(sizes.layers)]
    if len(pattern) != sizes.layers:
        raise file.refuse(
            f"`{file.key('attention.sliding_window_pattern')}` names {len(pattern)} layers, but "
            f"there are {sizes.layers}."
        )
    return ["sliding_attention" if windowed else "full_attention" for windowed in pattern]


def _gemma2(file: GgufFile) -> Architecture:
    sizes = _sizes(file, tied=True)
    rope = rope_parameters(file, head=sizes.head)
    file.demand("rope.freq_base_swa", (rope["rope_theta"],), "a base for layers with a window")
    config = sizes.config(
        head_dim=sizes.head,
        rms_norm_eps=_rms(file),
        rope_parameters=rope,
        hidden_activation=GELU,
        # Gemma 2 27B, which llama.cpp knows by its layers, scales by the width of a head's share.
        query_pre_attn_scalar=sizes.width // sizes.heads if sizes.layers == 46 else sizes.head,
        attn_logit_softcapping=file.real("attn_logit_softcapping", 50.0),
        final_logit_softcapping=file.real("final_logit_softcapping", 30.0),
        sliding_window=file.integer("attention.sliding_window", 4096),
        layer_types=_layer_types(file, sizes, 2),
    )
    tensors = {name: place for name, place in tables.GEMMA2.items() if name != "output"}
    return Architecture("gemma2", config, tensors, _norms_less_one(tensors))


def _gemma3(file: GgufFile) -> Architecture:
    sizes = _sizes(file)
    window = file.integer("attention.sliding_window", 0)
    full = rope_parameters(file, head=sizes.head)
    if full["rope_type"] not in ("default", "linear"):
        raise file.refuse(
            f"its rotary scaling is {full['rope_type']}; here only none and linear are known to "
            "be exact."
        )
    base = file.real("rope.freq_base_swa", 10000.0)
    types = _layer_types(file, sizes, 6) if window else ["full_attention"] * sizes.layers
    config = sizes.config(
        head_dim=sizes.head,
        rms_norm_eps=_rms(file),
        rope_parameters={
            "full_attention": full,
            "sliding_attention": {"rope_type": "default", "rope_theta": base},
        },
        hidden_activation=GELU,
        query_pre_attn_scalar=sizes.width // sizes.heads if sizes.layers == 62 else sizes.head,
        attn_logit_softcapping=None,
        final_logit_softcapping=file.real("final_logit_softcapping", 0.0) or None,
        sliding_window=window or sizes.context,
        layer_types=types,
    )
    return Architecture("gemma3_text", config, tables.GEMMA3, _norms_less_one(tables.GEMMA3))


# ---------------------------------------------------------------------------------------- the rest


def _phi2(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    config = sizes.config(
        layer_norm_eps=_norm(file),
        rope_parameters=rope_parameters(file, head=sizes.head, share=True),
        hidden_act="gelu_new",
        qk_layernorm=False,
    )
    return Architecture("phi", config, tables.PHI2)


def _phi3(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    # llama.cpp reads the window and does not apply it; the original model does.
    window = file.integer("attention.sliding_window", 0)
    file.ignore("attention.sliding_window_pattern")
    rope = rope_parameters(file, head=sizes.head, with_factors=True, share=True)
    if "rope_freqs.weight" in file.tensors:
        raise file.refuse("the tensor rope_freqs.weight has no place in this architecture.")
    original = rope.get("original_max_position_embeddings", sizes.context)
    config = sizes.config(
        rms_norm_eps=_rms(file),
        rope_parameters=rope,
        original_max_position_embeddings=original,
        hidden_act="silu",
        sliding_window=window or None,
    )
    # Written by the converter without a scaling as well.
    file.ignore("rope.scaling.original_context_length")
    return Architecture("phi3", config, tables.PHI3)


def _gpt2(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    file.demand("attention.head_count_kv", (sizes.heads,), "grouped keys and values")
    config = {
        "vocab_size": sizes.vocabulary,
        "n_embd": sizes.width,
        "n_layer": sizes.layers,
        "n_head": sizes.heads,
        "n_inner": sizes.hidden,
        "n_positions": sizes.context,
        "layer_norm_epsilon": _norm(file),
        "activation_function": "gelu_new",
        "tie_word_embeddings": sizes.tied,
    }
    names = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")
    return Architecture("gpt2", config, tables.GPT2, dict.fromkeys(names, _transposed))


def _gpt_neox(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    file.demand("attention.head_count_kv", (sizes.heads,), "grouped keys and values")
    config = sizes.config(
        layer_norm_eps=_norm(file),
        rope_parameters=rope_parameters(file, head=sizes.head, share=True),
        hidden_act=GELU,
        use_parallel_residual=bool(file.integer("use_parallel_residual", 1)),
        attention_bias=True,
    )
    change = {"attn_qkv": partial(interleaved, groups=sizes.heads, queries=1)}
    return Architecture("gpt_neox", config, tables.GPT_NEOX, change)


def _bloom(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    file.demand("attention.head_count_kv", (sizes.heads,), "grouped keys and values")
    file.demand("attention.max_alibi_bias", (8,), "a largest bias by distance")
    if sizes.hidden != 4 * sizes.width:
        file.demand("feed_forward_length", (4 * sizes.width,), "the width of the MLP")
    config = {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "n_layer": sizes.layers,
        "n_head": sizes.heads,
        "layer_norm_epsilon": _norm(file),
        "seq_length": sizes.context,
        "tie_word_embeddings": sizes.tied,
    }
    change = {"attn_qkv": partial(interleaved, groups=sizes.heads, queries=1)}
    return Architecture("bloom", config, tables.BLOOM, change)


def _falcon(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    two = _has(file, "attn_norm_2.weight")
    if not two and sizes.key_heads != 1:
        raise file.refuse(
            f"it has {sizes.key_heads} key heads and one norm in a block; such Falcon models need "
            "linear biases instead of rotations, which GGUF does not have."
        )
    config = {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "ffn_hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_kv_heads": sizes.key_heads,
        "max_position_embeddings": sizes.context,
        "layer_norm_epsilon": _norm(file),
        "rope_parameters": rope_parameters(file, head=sizes.head),
        "activation": GELU,
        "new_decoder_architecture": two,
        "multi_query": True,
        "parallel_attn": True,
        "alibi": False,
        "bias": False,
        "tie_word_embeddings": sizes.tied,
    }
    queries = sizes.heads // sizes.key_heads
    change = {"attn_qkv": partial(interleaved, groups=sizes.key_heads, queries=queries)}
    return Architecture("falcon", config, tables.FALCON_TWO_NORMS if two else tables.FALCON, change)


def _starcoder2(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    _no_window(file, sizes)
    config = sizes.config(
        norm_epsilon=_norm(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act=GELU,
        sliding_window=None,
        use_bias=True,
    )
    return Architecture("starcoder2", config, tables.STARCODER2)


def _stablelm(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    # Both llama.cpp and the converter go by the tensors.
    file.ignore("use_parallel_residual")
    config = sizes.config(
        layer_norm_eps=_norm(file),
        rope_parameters=rope_parameters(file, head=sizes.head, share=True),
        hidden_act="silu",
        use_qkv_bias=_biases(file)["attention_bias"],
        use_parallel_residual=not _has(file, "ffn_norm.weight"),
        qk_layernorm=False,
    )
    return Architecture("stablelm", config, tables.LLAMA)


def _olmo(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    file.demand(
        "attention.layer_norm_epsilon", (1e-5, float(np.float32(1e-5))), "an epsilon of the norms"
    )
    config = sizes.config(
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
        clip_qkv=file.real("attention.clamp_kqv", 0.0) or None,
    )
    return Architecture("olmo", config, tables.OLMO, _pairs(sizes))


def _olmo2(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False)
    _no_window(file, sizes)
    config = sizes.config(
        rms_norm_eps=_rms(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
    )
    return Architecture("olmo2", config, tables.OLMO2)


def _cohere(file: GgufFile) -> Architecture:
    sizes = _sizes(file, own_head_size=False, tied=True)
    config = sizes.config(
        layer_norm_eps=_norm(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
        logit_scale=file.real("logit_scale", 0.0) or 1.0,
        use_qk_norm=_has(file, "attn_q_norm.weight"),
    )
    return Architecture("cohere", config, tables.COHERE)


def _nemotron(file: GgufFile) -> Architecture:
    sizes = _sizes(file)
    config = sizes.config(
        head_dim=sizes.head,
        norm_eps=_norm(file),
        rope_parameters=rope_parameters(file, head=sizes.head, share=True),
        hidden_act="relu2",
        **_biases(file),
    )
    return Architecture(
        "nemotron", config, tables.NEMOTRON, _norms_less_one(tables.NEMOTRON), _ATTENTION_BIASES
    )


ARCHITECTURES: Final[dict[str, Callable[[GgufFile], Architecture]]] = {
    "bloom": _bloom,
    "command-r": _cohere,
    "falcon": _falcon,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
    "gptneox": _gpt_neox,
    "granite": _granite,
    "llama": _llama,
    "nemotron": _nemotron,
    "olmo": _olmo,
    "olmo2": _olmo2,
    "phi2": _phi2,
    "phi3": _phi3,
    "qwen2": _qwen2,
    "qwen2moe": _qwen2,
    "qwen3": _qwen3,
    "qwen3moe": _qwen3,
    "smollm3": _smollm3,
    "stablelm": _stablelm,
    "starcoder2": _starcoder2,
}
