"""What the tensors of each GGUF architecture are called in transformers.

GGUF names are llama.cpp's (src/llama-arch.cpp), without `blk.{i}.` and `.weight` or `.bias`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Place:
    """Where a tensor goes: a module of transformers, in each block where `{i}` stands in the path.

    Tensors that transformers keeps in one are joined along `axis` by `order`. A parameter that
    belongs to no submodule (the experts') has no `.weight`: then `bare` is true.
    """

    path: str
    order: int = 0
    parts: int = 1
    axis: int = 0
    bare: bool = False


def _llama(norms: Mapping[str, str] | None = None, **further: str) -> dict[str, str]:
    block = "model.layers.{i}."
    return {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "output": "lm_head",
        "attn_q": block + "self_attn.q_proj",
        "attn_k": block + "self_attn.k_proj",
        "attn_v": block + "self_attn.v_proj",
        "attn_output": block + "self_attn.o_proj",
        "ffn_gate": block + "mlp.gate_proj",
        "ffn_up": block + "mlp.up_proj",
        "ffn_down": block + "mlp.down_proj",
        **{
            name: block + module
            for name, module in (
                norms or {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
            ).items()
        },
        **{name: block + module for name, module in further.items()},
    }


def _without(names: Mapping[str, str], *left_out: str) -> dict[str, str]:
    return {name: path for name, path in names.items() if name not in left_out}


_HEAD_NORMS: Final = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_FOUR_NORMS: Final = {
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_GATED: Final = ("ffn_gate", "ffn_up", "ffn_down")
_SEPARATE: Final = ("attn_q", "attn_k", "attn_v")

LLAMA: Final = _llama()
QWEN3: Final = LLAMA | {name: f"model.layers.{{i}}.{path}" for name, path in _HEAD_NORMS.items()}
GEMMA2: Final = _llama(_FOUR_NORMS)
GEMMA3: Final = _llama(_FOUR_NORMS, **_HEAD_NORMS)
OLMO: Final = _without(_llama(), "attn_norm", "ffn_norm", "output_norm")
OLMO2: Final = _llama(
    {
        "post_attention_norm": "post_attention_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
    **_HEAD_NORMS,
)
PHI3: Final = _without(
    _llama(attn_qkv="self_attn.qkv_proj") | {"ffn_up": "model.layers.{i}.mlp.gate_up_proj"},
    *_SEPARATE,
    "ffn_gate",
)
PHI2: Final = _without(
    _llama({"attn_norm": "input_layernorm"})
    | {
        "output_norm": "model.final_layernorm",
        "attn_output": "model.layers.{i}.self_attn.dense",
        "ffn_up": "model.layers.{i}.mlp.fc1",
        "ffn_down": "model.layers.{i}.mlp.fc2",
    },
    "ffn_gate",
)
STARCODER2: Final = _without(
    _llama()
    | {
        "ffn_up": "model.layers.{i}.mlp.c_fc",
        "ffn_down": "model.layers.{i}.mlp.c_proj",
    },
    "ffn_gate",
)
NEMOTRON: Final = _without(_llama(), "ffn_gate")
COHERE: Final = _without(_llama({"attn_norm": "input_layernorm"}, **_HEAD_NORMS), "output")
GPT2: Final = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
    "attn_norm": "transformer.h.{i}.ln_1",
    "attn_qkv": "transformer.h.{i}.attn.c_attn",
    "attn_output": "transformer.h.{i}.attn.c_proj",
    "ffn_norm": "transformer.h.{i}.ln_2",
    "ffn_up": "transformer.h.{i}.mlp.c_fc",
    "ffn_down": "transformer.h.{i}.mlp.c_proj",
}
GPT_NEOX: Final = {
    "token_embd": "gpt_neox.embed_in",
    "output_norm": "gpt_neox.final_layer_norm",
    "output": "lm_head",
    "attn_norm": "gpt_neox.layers.{i}.input_layernorm",
    "attn_qkv": "gpt_neox.layers.{i}.attention.query_key_value",
    "attn_output": "gpt_neox.layers.{i}.attention.dense",
    "ffn_norm": "gpt_neox.layers.{i}.post_attention_layernorm",
    "ffn_up": "gpt_neox.layers.{i}.mlp.dense_h_to_4h",
    "ffn_down": "gpt_neox.layers.{i}.mlp.dense_4h_to_h",
}
BLOOM: Final = {
    "token_embd": "transformer.word_embeddings",
    "token_embd_norm": "transformer.word_embeddings_layernorm",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
    "attn_norm": "transformer.h.{i}.input_layernorm",
    "attn_qkv": "transformer.h.{i}.self_attention.query_key_value",
    "attn_output": "transformer.h.{i}.self_attention.dense",
    "ffn_norm": "transformer.h.{i}.post_attention_layernorm",
    "ffn_up": "transformer.h.{i}.mlp.dense_h_to_4h",
    "ffn_down": "transformer.h.{i}.mlp.dense_4h_to_h",
}
FALCON: Final = _without(BLOOM, "token_embd_norm", "ffn_norm")
FALCON_TWO_NORMS: Final = FALCON | {
    "attn_norm": "transformer.h.{i}.ln_mlp",
    "attn_norm_2": "transformer.h.{i}.ln_attn",
}

_EXPERTS: Final[Mapping[str, str | Place]] = {
    "ffn_gate_exps": Place("model.layers.{i}.mlp.experts.gate_up_proj", 0, 2, 1, True),
    "ffn_up_exps": Place("model.layers.{i}.mlp.experts.gate_up_proj", 1, 2, 1, True),
    "ffn_down_exps": Place("model.layers.{i}.mlp.experts.down_proj", bare=True),
}
_ROUTED: Final = {"ffn_gate_inp": "model.layers.{i}.mlp.gate"}
_SHARED: Final = {
    "ffn_gate_inp_shexp": "model.layers.{i}.mlp.shared_expert_gate",
    "ffn_gate_shexp": "model.layers.{i}.mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "model.layers.{i}.mlp.shared_expert.up_proj",
    "ffn_down_shexp": "model.layers.{i}.mlp.shared_expert.down_proj",
}
MIXTRAL: Final[Mapping[str, str | Place]] = {**_without(LLAMA, *_GATED), **_ROUTED, **_EXPERTS}
QWEN2_MOE: Final[Mapping[str, str | Place]] = {
    **_without(LLAMA, *_GATED),
    **_ROUTED,
    **_SHARED,
    **_EXPERTS,
}
QWEN3_MOE: Final[Mapping[str, str | Place]] = {**_without(QWEN3, *_GATED), **_ROUTED, **_EXPERTS}
