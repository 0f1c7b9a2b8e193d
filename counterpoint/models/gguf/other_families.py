"""The other architectures: what their settings mean to transformers."""

from __future__ import annotations

from functools import partial

import numpy as np

from counterpoint.models.gguf import tensor_names
from counterpoint.models.gguf.reading import GgufFile
from counterpoint.models.gguf.rotary_settings import rope_parameters
from counterpoint.models.gguf.translation import (
    ATTENTION_BIASES,
    GELU,
    Architecture,
    biases,
    has,
    interleaved,
    norm_epsilon,
    norms_less_one,
    refuse_window,
    rms_epsilon,
    sizes_of,
    transposed,
    unpairing,
    window_of,
)


def phi2(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False, tied=False)
    config = sizes.config(
        layer_norm_eps=norm_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head, share=True),
        hidden_act="gelu_new",
        qk_layernorm=False,
    )
    return Architecture("phi", config, tensor_names.PHI2)


def phi3(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False)
    # llama.cpp reads the window and does not apply it; the original model does.
    window = window_of(file)
    file.ignore("attention.sliding_window_pattern")
    rope = rope_parameters(file, head=sizes.head, with_factors=True, share=True, lists=True)
    if "rope_freqs.weight" in file.tensors:
        raise file.refuse("the tensor rope_freqs.weight has no place in this architecture.")
    original = rope.get("original_max_position_embeddings", sizes.context)
    config = sizes.config(
        rms_norm_eps=rms_epsilon(file),
        rope_parameters=rope,
        original_max_position_embeddings=original,
        hidden_act="silu",
        sliding_window=window or None,
    )
    # Written by the converter without a scaling as well.
    file.ignore("rope.scaling.original_context_length")
    return Architecture("phi3", config, tensor_names.PHI3)


def gpt2(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False)
    file.demand("attention.head_count_kv", (sizes.heads,), "grouped keys and values")
    config = {
        "vocab_size": sizes.vocabulary,
        "n_embd": sizes.width,
        "n_layer": sizes.layers,
        "n_head": sizes.heads,
        "n_inner": sizes.hidden,
        "n_positions": sizes.context,
        "layer_norm_epsilon": norm_epsilon(file),
        "activation_function": "gelu_new",
        "tie_word_embeddings": sizes.tied,
    }
    names = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")
    return Architecture("gpt2", config, tensor_names.GPT2, dict.fromkeys(names, transposed))


def gpt_neox(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False, tied=False)
    file.demand("attention.head_count_kv", (sizes.heads,), "grouped keys and values")
    config = sizes.config(
        layer_norm_eps=norm_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head, share=True),
        hidden_act=GELU,
        use_parallel_residual=bool(file.integer("use_parallel_residual", 1)),
        attention_bias=True,
    )
    change = {"attn_qkv": partial(interleaved, groups=sizes.heads, queries=1)}
    return Architecture("gpt_neox", config, tensor_names.GPT_NEOX, change)


def bloom(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False)
    file.demand("attention.head_count_kv", (sizes.heads,), "grouped keys and values")
    file.demand("attention.max_alibi_bias", (8,), "a largest bias by distance")
    if sizes.hidden != 4 * sizes.width:
        file.demand("feed_forward_length", (4 * sizes.width,), "the width of the MLP")
    config = {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "n_layer": sizes.layers,
        "n_head": sizes.heads,
        "layer_norm_epsilon": norm_epsilon(file),
        "seq_length": sizes.context,
        "tie_word_embeddings": sizes.tied,
    }
    change = {"attn_qkv": partial(interleaved, groups=sizes.heads, queries=1)}
    return Architecture("bloom", config, tensor_names.BLOOM, change)


def falcon(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False)
    two = has(file, "attn_norm_2.weight")
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
        "layer_norm_epsilon": norm_epsilon(file),
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
    return Architecture(
        "falcon", config, tensor_names.FALCON_TWO_NORMS if two else tensor_names.FALCON, change
    )


def starcoder2(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False)
    refuse_window(file, sizes)
    config = sizes.config(
        norm_epsilon=norm_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act=GELU,
        sliding_window=None,
        use_bias=True,
    )
    return Architecture("starcoder2", config, tensor_names.STARCODER2)


def stablelm(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False, tied=False)
    # Both llama.cpp and the converter go by the tensors.
    file.ignore("use_parallel_residual")
    config = sizes.config(
        layer_norm_eps=norm_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head, share=True),
        hidden_act="silu",
        use_qkv_bias=biases(file)["attention_bias"],
        use_parallel_residual=not has(file, "ffn_norm.weight"),
        qk_layernorm=False,
    )
    return Architecture("stablelm", config, tensor_names.LLAMA)


def olmo(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False)
    file.demand(
        "attention.layer_norm_epsilon", (1e-5, float(np.float32(1e-5))), "an epsilon of the norms"
    )
    clamp = file.real("attention.clamp_kqv", 0.0)
    if clamp < 0:
        raise file.refuse(f"`{file.key('attention.clamp_kqv')}` is {clamp:g}; expected at least 0.")
    config = sizes.config(
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
        clip_qkv=clamp or None,
    )
    return Architecture("olmo", config, tensor_names.OLMO, unpairing(sizes))


def olmo2(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False, tied=False)
    refuse_window(file, sizes)
    config = sizes.config(
        rms_norm_eps=rms_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
    )
    return Architecture("olmo2", config, tensor_names.OLMO2)


def cohere(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False, tied=True)
    config = sizes.config(
        layer_norm_eps=norm_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
        logit_scale=file.real("logit_scale", 0.0) or 1.0,
        use_qk_norm=has(file, "attn_q_norm.weight"),
    )
    return Architecture("cohere", config, tensor_names.COHERE)


def nemotron(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, tied=False)
    config = sizes.config(
        head_dim=sizes.head,
        norm_eps=norm_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head, share=True),
        hidden_act="relu2",
        **biases(file),
    )
    return Architecture(
        "nemotron",
        config,
        tensor_names.NEMOTRON,
        norms_less_one(tensor_names.NEMOTRON),
        ATTENTION_BIASES,
    )
