"""Tiny random configurations of the decoders that transformers knows, and of what is no decoder.

A row of the table is a model type of transformers with what departs from `SIZES`. Of those, only
what the configuration's class takes is given to it, so that a row says what it tests and no more.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

VOCABULARY = 61

SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embedding_size"), 32),
    **dict.fromkeys(("word_embed_proj_dim", "lru_width", "mamba_d_ssm"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "dff", "dim_ff", "n_inner"), 48),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim", "ffn_hidden_size", "d_ff"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 3),
    **dict.fromkeys(("decoder_layers", "num_decoder_layers", "encoder_layers"), 3),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads", "attention_heads"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("shared_intermediate_size", "moe_shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("expert_ffn_hidden_size", "shared_experts_intermediate_size"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "num_shared_experts"), 1),
    **dict.fromkeys(("first_k_dense_replace", "num_dense_layers", "mamba_n_groups"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "head_dim"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "index_head_dim"), 8),
    **dict.fromkeys(("hidden_size_per_layer_input", "dim_head", "kv_channels"), 8),
    **dict.fromkeys(("sliding_window", "window_size", "attention_window_size", "rotary_dim"), 4),
    **dict.fromkeys(("qk_rope_head_dim", "laurel_rank", "state_size", "mamba_d_state"), 4),
    **dict.fromkeys(("ssm_state_size", "mamba_n_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("mamba_dt_rank", "chunk_size", "mamba_chunk_size"), 4),
    **dict.fromkeys(("num_key_value_heads", "linear_num_key_heads", "index_n_heads"), 2),
    "v_head_dim": 6,
    "mamba_d_head": 16,
    "index_topk": 64,
    "type_vocab_size": 2,
    "num_kv_shared_layers": 0,
    "activation_sparsity_pattern": None,
    "vocab_size": VOCABULARY,
    "vocab_size_per_layer_input": VOCABULARY,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
"""Sizes under every name that a configuration may have for them."""

ROPE = {"rope_theta": 10000.0}
_WINDOWS = ["sliding_attention", "full_attention", "sliding_attention"]
_LINEAR = ["linear_attention", "full_attention", "linear_attention"]


@dataclass(frozen=True)
class Row:
    """One configuration; ``weights`` says whether a model can be built of it at all."""

    model_type: str
    extra: dict[str, Any] = field(default_factory=dict)
    weights: bool = True
    architecture: str | None = None
    """The class that a folder's config.json names; by default that of the causal language model."""


def configuration(row: Row) -> Any:
    """The configuration of transformers that a row describes.

    Settings that are dictionaries for a configuration within it (``text_config``) are made small
    likewise.
    """
    from transformers import CONFIG_MAPPING

    return _configuration(CONFIG_MAPPING[row.model_type], row.extra)


def _configuration(kind: Any, extra: dict[str, Any]) -> Any:
    known = set(inspect.signature(kind.__init__).parameters)
    sizes = {name: value for name, value in SIZES.items() if name in known}
    parts = getattr(kind, "sub_configs", {})
    inner = {
        name: _configuration(_class_of(parts[name], value), value)
        for name, value in extra.items()
        if name in parts and isinstance(value, dict)
    }
    return kind(**{**sizes, **extra, **inner})


def _class_of(stated: Any, settings: dict[str, Any]) -> Any:
    """The class of a configuration within another; some say it by ``model_type`` alone."""
    from transformers import CONFIG_MAPPING, AutoConfig

    named = settings.get("model_type")
    return CONFIG_MAPPING[named] if stated is AutoConfig and named else stated


def _decoder(model_type: str, **extra: Any) -> Row:
    return Row(model_type, extra)


def _rope(kind: str, **settings: Any) -> dict[str, Any]:
    return {"rope_parameters": {**ROPE, "rope_type": kind, **settings}}


_EYES = {"hidden_size": 32, "num_hidden_layers": 2, "image_size": 8, "patch_size": 4}
_EARS = {"num_mel_bins": 8, "max_source_positions": 8}


def _with_eyes(
    model_type: str, text: str, vision: str, of_text: dict[str, Any] | None = None, **settings: Any
) -> Row:
    """A model of images and text; ``settings`` are those of the part that reads images."""
    return Row(
        model_type,
        {
            "text_config": {"model_type": text, **(of_text or {})},
            "vision_config": {"model_type": vision, **_EYES, **settings},
        },
    )


def _sections(*sizes: int) -> dict[str, Any]:
    """Rotary angles whose parts follow a picture's time, height and width, all equal in a text."""
    return _rope("default", mrope_section=list(sizes))


def _with_ears(model_type: str, text: str, audio: str) -> Row:
    """A model of sound and text."""
    return Row(
        model_type,
        {"text_config": {"model_type": text}, "audio_config": {"model_type": audio, **_EARS}},
    )


DECODERS: dict[str, Row] = {
    # GPT-2 and its kin: learned positions, fused queries, keys and values
    "gpt2": _decoder("gpt2"),
    "gpt2, attention scaled by layer": _decoder(
        "gpt2", scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True
    ),
    "gpt2, tied apart": _decoder("gpt2", tie_word_embeddings=False),
    "openai-gpt": _decoder("openai-gpt"),
    "gpt_bigcode, one key": _decoder("gpt_bigcode", multi_query=True),
    "gpt_bigcode, many keys": _decoder("gpt_bigcode", multi_query=False),
    "gpt_neo, local": _decoder("gpt_neo", attention_types=[[["global", "local", "local"], 1]]),
    "gpt_neo, global": _decoder("gpt_neo", attention_types=[[["global"], 3]]),
    "gptj": _decoder("gptj"),
    "codegen": _decoder("codegen"),
    "ctrl": _decoder("ctrl"),
    "gpt_neox": _decoder("gpt_neox"),
    "gpt_neox, sequential": _decoder("gpt_neox", use_parallel_residual=False),
    "gpt_neox, rotary in part": _decoder(
        "gpt_neox", rope_parameters={**ROPE, "rope_type": "default", "partial_rotary_factor": 0.5}
    ),
    "gpt_neox, without biases": _decoder("gpt_neox", attention_bias=False),
    "gpt_neox_japanese": _decoder("gpt_neox_japanese"),
    # OPT and its kin: the MLP's layers stand in the block
    "opt": _decoder("opt"),
    "opt, post-norm": _decoder("opt", do_layer_norm_before=False),
    "opt, narrow embedding": _decoder("opt", word_embed_proj_dim=16),
    "opt, without biases": _decoder("opt", enable_bias=False),
    "xglm": _decoder("xglm"),
    "biogpt": _decoder("biogpt"),
    # ALiBi
    "bloom": _decoder("bloom"),
    "bloom, post-norm residual": _decoder("bloom", apply_residual_connection_post_layernorm=True),
    "mpt": _decoder("mpt"),
    "falcon, 7B": _decoder("falcon", alibi=False, multi_query=True, parallel_attn=True),
    "falcon, 40B": _decoder(
        "falcon",
        alibi=False,
        new_decoder_architecture=True,
        num_kv_heads=2,
        num_ln_in_parallel_attn=2,
    ),
    "falcon, 11B": _decoder(
        "falcon",
        alibi=False,
        new_decoder_architecture=True,
        num_kv_heads=2,
        num_ln_in_parallel_attn=1,
    ),
    "falcon, RW": _decoder("falcon", alibi=True, multi_query=False, parallel_attn=False, bias=True),
    "falcon, ALiBi, parallel": _decoder("falcon", alibi=True, multi_query=True, parallel_attn=True),
    # Llama and its kin
    "llama": _decoder("llama"),
    "llama, many keys": _decoder("llama", num_key_value_heads=4),
    "llama, one key": _decoder("llama", num_key_value_heads=1),
    "llama, biases, tied": _decoder(
        "llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True
    ),
    "llama, wide heads": _decoder("llama", head_dim=16),
    "llama, one layer, one head": _decoder(
        "llama", num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=32
    ),
    "llama, rotary linear": _decoder("llama", **_rope("linear", factor=4.0)),
    "llama, rotary dynamic, within": _decoder("llama", **_rope("dynamic", factor=4.0)),
    "llama, rotary dynamic, crossed": _decoder(
        "llama", max_position_embeddings=6, **_rope("dynamic", factor=4.0)
    ),
    "llama, rotary YaRN": _decoder(
        "llama", **_rope("yarn", factor=4.0, original_max_position_embeddings=16)
    ),
    "llama, rotary llama3": _decoder(
        "llama",
        **_rope(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=16,
        ),
    ),
    "internlm3": _decoder("internlm3"),
    "mistral": _decoder("mistral", sliding_window=None),
    "mistral, window": _decoder("mistral"),
    "ministral": _decoder("ministral", layer_types=_WINDOWS),
    "ministral3": _decoder("ministral3"),
    "mixtral": _decoder("mixtral", sliding_window=None),
    "mixtral, window": _decoder("mixtral"),
    "arcee": _decoder("arcee"),
    "apertus": _decoder("apertus"),
    "aria_text": _decoder("aria_text"),
    "afmoe": _decoder("afmoe", layer_types=_WINDOWS),
    "axk1": _decoder("axk1", num_key_value_heads=4),
    "axk2": _decoder("axk2", num_key_value_heads=4),
    "beam": _decoder("beam", layer_types=_WINDOWS),
    "bitnet": _decoder("bitnet"),
    "cohere": _decoder("cohere", logit_scale=0.3),
    "cohere, query-key norms": _decoder("cohere", use_qk_norm=True),
    "cohere2": _decoder("cohere2", layer_types=_WINDOWS, logit_scale=0.3),
    "cohere2_moe": _decoder("cohere2_moe", layer_types=_WINDOWS),
    "cwm": _decoder("cwm", layer_types=_WINDOWS),
    "dbrx": _decoder(
        "dbrx",
        attn_config={"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        ffn_config={"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 32},
    ),
    "deepseek_v2": _decoder("deepseek_v2", num_key_value_heads=4),
    "deepseek_v2, whole queries": _decoder("deepseek_v2", num_key_value_heads=4, q_lora_rank=None),
    "deepseek_v3": _decoder("deepseek_v3", num_key_value_heads=4),
    "deepseek_v3, all dense": _decoder(
        "deepseek_v3", num_key_value_heads=4, first_k_dense_replace=3
    ),
    "deepseek_v32": _decoder("deepseek_v32", num_key_value_heads=4),
    "deepseek_v4": _decoder("deepseek_v4", o_groups=2, o_lora_rank=4),
    "diffllama": _decoder("diffllama"),
    "doge": _decoder("doge"),
    "doge, experts": _decoder("doge", is_moe=True),
    "dots1": _decoder("dots1"),
    "dots3_note_text": _decoder("dots3_note_text", num_key_value_heads=4),
    "ernie4_5": _decoder("ernie4_5"),
    "ernie4_5_moe": _decoder("ernie4_5_moe"),
    "exaone4": _decoder("exaone4", layer_types=_WINDOWS),
    "exaone_moe": _decoder("exaone_moe", layer_types=_WINDOWS),
    "flex_olmo": _decoder("flex_olmo"),
    "flint": _decoder("flint"),
    "gemma": _decoder("gemma"),
    "gemma2": _decoder("gemma2", query_pre_attn_scalar=8),
    "gemma2, soft caps": _decoder(
        "gemma2",
        query_pre_attn_scalar=8,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "gemma3_text": _decoder("gemma3_text", layer_types=_WINDOWS, query_pre_attn_scalar=8),
    "gemma3, with eyes": _decoder(
        "gemma3",
        text_config={"layer_types": _WINDOWS, "query_pre_attn_scalar": 8},
        vision_config={
            "model_type": "siglip_vision_model",
            "image_size": 8,
            "patch_size": 4,
        },
        mm_tokens_per_image=1,
    ),
    "gemma3n_text": _decoder("gemma3n_text", layer_types=_WINDOWS),
    "gemma3n_text, shared keys": _decoder(
        "gemma3n_text",
        num_hidden_layers=4,
        layer_types=[*_WINDOWS[:2], *_WINDOWS[:2]],
        num_kv_shared_layers=2,
    ),
    "gemma4_text": _decoder("gemma4_text", layer_types=_WINDOWS, global_head_dim=16),
    "gemma4_text, one head size": _decoder("gemma4_text", layer_types=_WINDOWS, global_head_dim=8),
    "gemma4_text, experts": _decoder(
        "gemma4_text",
        layer_types=_WINDOWS,
        global_head_dim=16,
        enable_moe_block=True,
        top_k_experts=2,
    ),
    "gemma4_text, shared keys": _decoder(
        "gemma4_text",
        num_hidden_layers=4,
        layer_types=[*_WINDOWS[:2], *_WINDOWS[:2]],
        global_head_dim=16,
        num_kv_shared_layers=2,
    ),
    "gemma4_unified_text": _decoder(
        "gemma4_unified_text", layer_types=_WINDOWS, global_head_dim=16
    ),
    "glm": _decoder("glm"),
    "glm4": _decoder("glm4"),
    "glm4_moe": _decoder("glm4_moe"),
    "glm4_moe_lite": _decoder("glm4_moe_lite", num_key_value_heads=4),
    "glm_moe_dsa": _decoder("glm_moe_dsa", num_key_value_heads=4),
    "gpt_oss": _decoder("gpt_oss", layer_types=_WINDOWS),
    "granite": _decoder(
        "granite",
        residual_multiplier=0.3,
        attention_multiplier=0.2,
        embedding_multiplier=3.0,
        logits_scaling=2.0,
    ),
    "granite_swa": _decoder("granite_swa"),
    "granitemoe": _decoder("granitemoe", residual_multiplier=0.3),
    "granitemoe_swa": _decoder("granitemoe_swa"),
    "granitemoeshared": _decoder("granitemoeshared"),
    "granitemoehybrid, attention alone": _decoder(
        "granitemoehybrid", layer_types=["attention"] * 3
    ),
    "granitemoehybrid, dense": _decoder(
        "granitemoehybrid", layer_types=["attention"] * 3, num_local_experts=0
    ),
    "granitemoehybrid": _decoder("granitemoehybrid", layer_types=["mamba", "attention", "mamba"]),
    "helium": _decoder("helium"),
    "hrm_text": _decoder("hrm_text"),
    "hunyuan_v1_dense": _decoder("hunyuan_v1_dense"),
    "hunyuan_v1_moe": _decoder("hunyuan_v1_moe"),
    "hy_v3": _decoder("hy_v3"),
    "hy_v4": _decoder("hy_v4", num_key_value_heads=4),
    "hyperclovax": _decoder("hyperclovax"),
    "inkling_text": _decoder(
        "inkling_text",
        swa_num_attention_heads=4,
        swa_num_key_value_heads=2,
        swa_head_dim=8,
        sliding_window_size=4,
        d_rel=4,
        rel_extent=8,
    ),
    "inkling2_text": _decoder(
        "inkling2_text",
        swa_num_attention_heads=4,
        swa_num_key_value_heads=2,
        swa_head_dim=8,
        sliding_window_size=4,
        d_rel=4,
        rel_extent=8,
    ),
    "jais2": _decoder("jais2"),
    "jetmoe": _decoder("jetmoe", num_key_value_heads=2),
    "kolibri1": _decoder("kolibri1"),
    "laguna": _decoder("laguna"),
    "laguna, heads by layer": _decoder("laguna", num_attention_heads_per_layer=[4, 2, 4]),
    "llama4_text": _decoder("llama4_text"),
    "llama4_text, chunks": _decoder(
        "llama4_text", attention_chunk_size=4, layer_types=["chunked_attention"] * 3
    ),
    "longcat_flash": _decoder("longcat_flash", num_key_value_heads=4, qk_head_dim=12),
    "mellum": _decoder("mellum"),
    "mimo_v2_flash": _decoder("mimo_v2_flash", layer_types=_WINDOWS),
    "minicpm3": _decoder("minicpm3", num_key_value_heads=4),
    "minimax_m2": _decoder("minimax_m2"),
    "minimax_m3_vl_text": _decoder("minimax_m3_vl_text"),
    "modernbert-decoder": _decoder(
        "modernbert-decoder", local_attention=4, global_attn_every_n_layers=2
    ),
    "moshi": _decoder("moshi"),
    "nanochat": _decoder("nanochat"),
    "nemotron": _decoder("nemotron"),
    "olmo": _decoder("olmo"),
    "olmo, clipped": _decoder("olmo", clip_qkv=0.5),
    "olmo2": _decoder("olmo2"),
    "olmo3": _decoder("olmo3", layer_types=_WINDOWS),
    "olmoe": _decoder("olmoe"),
    "olmoe, clipped": _decoder("olmoe", clip_qkv=0.5),
    "persimmon": _decoder("persimmon"),
    "persimmon, without norms": _decoder("persimmon", qk_layernorm=False),
    "phi": _decoder("phi"),
    "phi, query-key norms": _decoder("phi", qk_layernorm=True),
    "phi3": _decoder("phi3", sliding_window=None),
    "phi3, window": _decoder("phi3"),
    "phi3, longrope, within": _decoder(
        "phi3",
        original_max_position_embeddings=32,
        **_rope("longrope", short_factor=[1.0] * 4, long_factor=[2.0] * 4),
    ),
    "phi3, longrope, crossed": _decoder(
        "phi3",
        original_max_position_embeddings=6,
        **_rope("longrope", short_factor=[1.0] * 4, long_factor=[2.0] * 4),
    ),
    "phimoe": _decoder("phimoe"),
    "qwen2": _decoder("qwen2"),
    "qwen2, window": _decoder("qwen2", use_sliding_window=True, max_window_layers=1),
    "qwen2_moe": _decoder("qwen2_moe"),
    "qwen3": _decoder("qwen3"),
    "qwen3, window": _decoder("qwen3", use_sliding_window=True, max_window_layers=1),
    "qwen3_moe": _decoder("qwen3_moe"),
    "seed_oss": _decoder("seed_oss"),
    "smollm3, positions in part": _decoder("smollm3", no_rope_layers=[1, 0, 1]),
    "solar_open": _decoder("solar_open"),
    "stablelm": _decoder("stablelm"),
    "stablelm, parallel": _decoder("stablelm", use_parallel_residual=True),
    "stablelm, query-key norms": _decoder("stablelm", qk_layernorm=True),
    "starcoder2": _decoder("starcoder2", sliding_window=None),
    "starcoder2, window": _decoder("starcoder2"),
    "vaultgemma": _decoder("vaultgemma", layer_types=_WINDOWS),
    "youtu": _decoder("youtu", num_key_value_heads=4),
    "zaya": _decoder("zaya", num_experts_per_tok=1),
    # layers without attention among those with it
    "bailing_hybrid": _decoder(
        "bailing_hybrid", layer_types=_LINEAR, num_key_value_heads=4, layer_group_size=2
    ),
    "bamba": _decoder("bamba", attn_layer_indices=[1]),
    "falcon_h1": _decoder("falcon_h1", mamba_d_head=8),
    "jamba": _decoder("jamba", attn_layer_period=3, attn_layer_offset=1, use_mamba_kernels=False),
    "kimi_linear": _decoder(
        "kimi_linear",
        layer_types=_LINEAR,
        num_key_value_heads=4,
        linear_head_dim=8,
        linear_num_heads=4,
    ),
    "lfm2": _decoder("lfm2", layer_types=["conv", "full_attention", "conv"]),
    "lfm2_moe": _decoder("lfm2_moe", layer_types=["conv", "full_attention", "conv"]),
    "lfm3": _decoder("lfm3", layer_types=["conv", "full_attention", "conv"]),
    "minimax": _decoder("minimax", layer_types=_LINEAR, block_size=4),
    "nemotron_h": _decoder(
        "nemotron_h",
        layers_block_type=["mamba", "attention", "mlp", "attention"],
        num_hidden_layers=4,
        mamba_num_heads=4,
        mamba_head_dim=8,
        n_groups=1,
        use_mamba_kernels=False,
    ),
    "olmo_hybrid": _decoder("olmo_hybrid", layer_types=_LINEAR),
    "qwen3_5_text": _decoder("qwen3_5_text", layer_types=_LINEAR),
    "qwen3_5_moe_text": _decoder("qwen3_5_moe_text", layer_types=_LINEAR),
    "qwen3_next": _decoder("qwen3_next", layer_types=_LINEAR),
    "qwen4_exp_text": _decoder(
        "qwen4_exp_text",
        layer_types=_LINEAR,
        hc_lowrank=4,
        indexer_n_heads=2,
        indexer_kv_heads=1,
        indexer_head_dim=8,
        indexer_budget=64,
        indexer_compress_ratio=4,
    ),
    "recurrent_gemma": _decoder(
        "recurrent_gemma", block_types=["recurrent", "attention"], num_hidden_layers=3
    ),
    "zamba": _decoder(
        "zamba", num_hidden_layers=4, layers_block_type=["mamba", "hybrid", "mamba", "hybrid"]
    ),
    "zamba2": _decoder(
        "zamba2",
        num_hidden_layers=4,
        layers_block_type=["mamba", "hybrid", "mamba", "hybrid"],
        num_mem_blocks=1,
        mamba_ngroups=1,
        use_mamba_kernels=False,
    ),
    # no attention at all
    "mamba": _decoder("mamba"),
    "mamba2": _decoder("mamba2", num_heads=8, head_dim=8, n_groups=1),
    "falcon_mamba": _decoder("falcon_mamba"),
    "rwkv": _decoder("rwkv"),
    "xlstm": _decoder("xlstm"),
    # an encoder's classes, run as decoders or not
    "bert": _decoder("bert"),
    "bert, as a decoder": _decoder("bert", is_decoder=True),
    "bert-generation, as a decoder": _decoder("bert-generation", is_decoder=True),
    "megatron-bert, as a decoder": _decoder("megatron-bert", is_decoder=True),
    "roberta": _decoder("roberta"),
    "roberta, as a decoder": _decoder("roberta", is_decoder=True),
    "roberta-prelayernorm, as a decoder": _decoder("roberta-prelayernorm", is_decoder=True),
    "xlm-roberta-xl, as a decoder": _decoder("xlm-roberta-xl", is_decoder=True),
    "electra, as a decoder": _decoder("electra", is_decoder=True),
    "xlnet": _decoder("xlnet", d_inner=48),
    "cpmant": _decoder("cpmant"),
    # models that read images or sound besides text
    "aria": _with_eyes("aria", "aria_text", "idefics3_vision"),
    "audioflamingo3": _with_ears("audioflamingo3", "qwen2", "audioflamingo3_encoder"),
    "aya_vision": _with_eyes("aya_vision", "cohere2", "siglip_vision_model"),
    "chameleon": _decoder(
        "chameleon",
        vq_config={"base_channels": 32, "channel_multiplier": [1]},
        vocabulary_map={"<image>": 5, "IMGIMGAZ": 6},
    ),
    "emu3": _decoder(
        "emu3",
        text_config={},
        vq_config={"base_channels": 32, "channel_multiplier": [1, 1], "z_channels": 4},
        vocabulary_map={"<image>": 5, "<|visual token 000001|>": 6},
    ),
    "gemma4": _decoder(
        "gemma4",
        text_config={"layer_types": _WINDOWS, "global_head_dim": 16},
        vision_config=_EYES,
        audio_config=None,
    ),
    "glm4v": _with_eyes("glm4v", "glm4v_text", "glm4v_vision", _sections(1, 1, 2), depth=2),
    "glm4v_moe": _with_eyes(
        "glm4v_moe", "glm4v_moe_text", "glm4v_moe_vision", _sections(1, 1, 0), depth=2
    ),
    "glmasr": _with_ears("glmasr", "llama", "glmasr_encoder"),
    "granite_speech": _with_ears("granite_speech", "granite", "granite_speech_encoder"),
    "idefics3": _with_eyes("idefics3", "llama", "idefics3_vision"),
    "internvl": _with_eyes("internvl", "qwen2", "internvl_vision"),
    "llama4": _with_eyes("llama4", "llama4_text", "llama4_vision_model"),
    "llava": _with_eyes("llava", "llama", "clip_vision_model"),
    "llava, mistral": _with_eyes("llava", "mistral", "clip_vision_model"),
    "llava_next": _with_eyes("llava_next", "llama", "clip_vision_model"),
    "llava_onevision": _with_eyes("llava_onevision", "qwen2", "siglip_vision_model"),
    "mistral3": _with_eyes("mistral3", "mistral", "pixtral"),
    "mllama": _with_eyes(
        "mllama",
        "mllama_text_model",
        "mllama_vision_model",
        of_text={"cross_attention_layers": [1]},
    ),
    "paligemma": _with_eyes("paligemma", "gemma", "siglip_vision_model"),
    "qwen2_audio": _with_ears("qwen2_audio", "qwen2", "qwen2_audio_encoder"),
    "qwen2_vl": _with_eyes(
        "qwen2_vl", "qwen2_vl_text", "qwen2_vl_vision", _sections(1, 1, 2), depth=2
    ),
    "qwen2_5_vl": _with_eyes(
        "qwen2_5_vl",
        "qwen2_5_vl_text",
        "qwen2_5_vl_vision",
        _sections(1, 1, 2),
        depth=2,
        out_hidden_size=32,
    ),
    "qwen3_vl": _with_eyes(
        "qwen3_vl", "qwen3_vl_text", "qwen3_vl_vision", depth=2, out_hidden_size=32
    ),
    "qwen3_vl_moe": _with_eyes(
        "qwen3_vl_moe", "qwen3_vl_moe_text", "qwen3_vl_moe_vision", depth=2, out_hidden_size=32
    ),
    "qwen3_5": _with_eyes(
        "qwen3_5", "qwen3_5_text", "qwen3_5_vision", of_text={"layer_types": _LINEAR}, depth=2
    ),
    "smolvlm": _with_eyes("smolvlm", "llama", "smolvlm_vision"),
    "voxtral": _with_ears("voxtral", "llama", "voxtral_encoder"),
    # the decoder of an encoder-decoder, alone
    "bart, decoder alone": Row("bart", {"is_encoder_decoder": False}),
    "marian, decoder alone": Row("marian", {"is_encoder_decoder": False}),
    "pegasus, decoder alone": Row("pegasus", {"is_encoder_decoder": False}),
    "trocr": _decoder("trocr"),
    "prophetnet, decoder alone": Row("prophetnet", {"is_encoder_decoder": False}),
    "whisper, decoder alone": Row("whisper", {"is_encoder_decoder": False}),
}
"""What transformers builds as a causal language model."""


def _other(architecture: str, model_type: str, **extra: Any) -> Row:
    return Row(model_type, extra, weights=False, architecture=architecture)


OTHERS: dict[str, Row] = {
    name: _other(name, model_type)
    for name, model_type in (
        ("ASTForAudioClassification", "audio-spectrogram-transformer"),
        ("BartForConditionalGeneration", "bart"),
        ("BertForMaskedLM", "bert"),
        ("BlenderbotForConditionalGeneration", "blenderbot"),
        ("DeiTModel", "deit"),
        ("Florence2ForConditionalGeneration", "florence2"),
        ("HubertModel", "hubert"),
        ("LEDForConditionalGeneration", "led"),
        ("LongT5ForConditionalGeneration", "longt5"),
        ("M2M100ForConditionalGeneration", "m2m_100"),
        ("MarianMTModel", "marian"),
        ("MBartForConditionalGeneration", "mbart"),
        ("MT5ForConditionalGeneration", "mt5"),
        ("PegasusForConditionalGeneration", "pegasus"),
        ("SwitchTransformersForConditionalGeneration", "switch_transformers"),
        ("T5ForConditionalGeneration", "t5"),
        ("T5GemmaForConditionalGeneration", "t5gemma"),
        ("T5Gemma2ForConditionalGeneration", "t5gemma2"),
        ("ViTForImageClassification", "vit"),
        ("Wav2Vec2ForCTC", "wav2vec2"),
    )
}
"""What transformers knows as something else than a causal language model: a folder's
configuration, without weights."""

CODE_OF_THEIR_OWN: dict[str, str] = {
    "BaichuanForCausalLM": "baichuan",
    "BD3LM": "bd3lm",
    "DreamModel": "Dream",
    "ExaoneForCausalLM": "exaone",
    "GiddForDiffusionLM": "gidd",
    "GPT2LMHeadCustomModel": "gpt2_custom",
    "HyenaDNAForCausalLM": "hyenadna",
    "InternLM2ForCausalLM": "internlm2",
    "LLaDAModelLM": "llada",
    "LLaDA2MoeModelLM": "llada2_moe",
    "OpenELMForCausalLM": "openelm",
    "OuroForCausalLM": "ouro",
    "QwenForCausalLM": "qwen",
    "RavenForCausalLM": "huginn_raven",
    "RWKV7ForCausalLM": "rwkv7",
}
"""Architectures that TransformerLens has an adapter for and transformers no code: model types."""
