"""Llama, Mixtral, Granite, SmolLM3, Qwen and Gemma: what their settings mean to transformers."""

from __future__ import annotations

import math

from counterpoint.models.gguf import tensor_names
from counterpoint.models.gguf.reading import GgufFile
from counterpoint.models.gguf.rotary_settings import rope_parameters
from counterpoint.models.gguf.translation import (
    ATTENTION_BIASES,
    GELU,
    Architecture,
    Sizes,
    biases,
    demand_usual_scale,
    norms_less_one,
    refuse_window,
    rms_epsilon,
    routing,
    sizes_of,
    stems,
    unpairing,
    window_of,
)


def llama(file: GgufFile) -> Architecture:
    sizes = sizes_of(file)
    refuse_window(file, sizes)
    demand_usual_scale(file, sizes)
    rope = rope_parameters(file, head=sizes.head, with_factors=True)
    config = sizes.config(head_dim=sizes.head, rms_norm_eps=rms_epsilon(file), rope_parameters=rope)
    if "ffn_gate_inp" in stems(file):
        config |= {"hidden_act": "silu", "sliding_window": None}
        config |= routing(file, "num_local_experts")
        return Architecture("mixtral", config, tensor_names.MIXTRAL, unpairing(sizes))
    config |= {"hidden_act": "silu", **biases(file)}
    return Architecture("llama", config, tensor_names.LLAMA, unpairing(sizes), ATTENTION_BIASES)


def granite(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, own_head_size=False)
    refuse_window(file, sizes)
    file.demand("rope.scaling.finetuned", (True, 1), "no rotary embedding at all, as it says here")
    rope = rope_parameters(file, head=sizes.head, with_factors=True)
    config = sizes.config(
        rms_norm_eps=rms_epsilon(file),
        rope_parameters=rope,
        hidden_act="silu",
        # llama.cpp takes 0 for "not given" here.
        attention_multiplier=file.real("attention.scale", 0.0) or 1 / math.sqrt(sizes.head),
        embedding_multiplier=file.real("embedding_scale", 0.0) or 1.0,
        residual_multiplier=file.real("residual_scale", 0.0) or 1.0,
        logits_scaling=_logits_scaling(file),
        **biases(file),
    )
    return Architecture("granite", config, tensor_names.LLAMA, unpairing(sizes), ATTENTION_BIASES)


def _logits_scaling(file: GgufFile) -> float:
    scale = file.real("logit_scale")
    if scale <= 0:
        raise file.refuse(f"`{file.key('logit_scale')}` is {scale:g}; expected a number above 0.")
    return scale


def smollm3(file: GgufFile) -> Architecture:
    sizes = sizes_of(file)
    refuse_window(file, sizes)
    demand_usual_scale(file, sizes)
    config = sizes.config(
        head_dim=sizes.head,
        rms_norm_eps=rms_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
        no_rope_layers=[int((layer + 1) % 4 != 0) for layer in range(sizes.layers)],
        no_rope_layer_interval=4,
        use_sliding_window=False,
        **biases(file),
    )
    return Architecture("smollm3", config, tensor_names.LLAMA, unpairing(sizes), ATTENTION_BIASES)


def qwen2(file: GgufFile) -> Architecture:
    mixture = "ffn_gate_inp" in stems(file)
    sizes = sizes_of(file, own_head_size=False, tied=False if mixture else None)
    refuse_window(file, sizes)
    config = sizes.config(
        rms_norm_eps=rms_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
        use_sliding_window=False,
    )
    if not mixture:
        return Architecture("qwen2", config, tensor_names.LLAMA)
    config |= routing(file, "num_experts") | {
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
    return Architecture("qwen2_moe", config, tensor_names.QWEN2_MOE, change)


def qwen3(file: GgufFile) -> Architecture:
    sizes = sizes_of(file)
    refuse_window(file, sizes)
    config = sizes.config(
        head_dim=sizes.head,
        rms_norm_eps=rms_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act="silu",
        use_sliding_window=False,
        attention_bias=biases(file)["attention_bias"],
    )
    if "ffn_gate_inp" not in stems(file):
        return Architecture("qwen3", config, tensor_names.QWEN3, zero=ATTENTION_BIASES)
    config |= routing(file, "num_experts") | {
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }
    config["moe_intermediate_size"] = file.integer(
        "expert_feed_forward_length", sizes.hidden // config["num_experts_per_tok"]
    )
    return Architecture("qwen3_moe", config, tensor_names.QWEN3_MOE, zero=ATTENTION_BIASES)


# -------------------------------------------------------------------------------- the Gemma family


def gemma(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, tied=True)
    config = sizes.config(
        head_dim=sizes.head,
        rms_norm_eps=rms_epsilon(file),
        rope_parameters=rope_parameters(file, head=sizes.head),
        hidden_act=GELU,
    )
    tensors = {name: place for name, place in tensor_names.LLAMA.items() if name != "output"}
    return Architecture("gemma", config, tensors, norms_less_one(tensors))


def _layer_types(file: GgufFile, sizes: Sizes, period: int) -> list[str]:
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


def gemma2(file: GgufFile) -> Architecture:
    sizes = sizes_of(file, tied=True)
    rope = rope_parameters(file, head=sizes.head)
    file.demand("rope.freq_base_swa", (rope["rope_theta"],), "a base for layers with a window")
    config = sizes.config(
        head_dim=sizes.head,
        rms_norm_eps=rms_epsilon(file),
        rope_parameters=rope,
        hidden_activation=GELU,
        # Gemma 2 27B, which llama.cpp knows by its layers, scales by the width of a head's share.
        query_pre_attn_scalar=sizes.width // sizes.heads if sizes.layers == 46 else sizes.head,
        attn_logit_softcapping=_cap(file, "attn_logit_softcapping", 50.0),
        final_logit_softcapping=_cap(file, "final_logit_softcapping", 30.0),
        sliding_window=_some_window(file, 4096),
        layer_types=_layer_types(file, sizes, 2),
    )
    tensors = {name: place for name, place in tensor_names.GEMMA2.items() if name != "output"}
    return Architecture("gemma2", config, tensors, norms_less_one(tensors))


def _some_window(file: GgufFile, usual: int) -> int:
    window = window_of(file, usual)
    if window == 0:
        raise file.refuse(f"`{file.key('attention.sliding_window')}` is 0; expected a length.")
    return window


def _cap(file: GgufFile, name: str, usual: float) -> float:
    cap = file.real(name, usual)
    if cap <= 0:
        raise file.refuse(f"`{file.key(name)}` is {cap:g}; expected a number above 0.")
    return cap


def gemma3(file: GgufFile) -> Architecture:
    sizes = sizes_of(file)
    window = window_of(file)
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
        rms_norm_eps=rms_epsilon(file),
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
    return Architecture(
        "gemma3_text", config, tensor_names.GEMMA3, norms_less_one(tensor_names.GEMMA3)
    )
