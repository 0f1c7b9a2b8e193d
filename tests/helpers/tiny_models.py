"""Random models of a few thousand parameters, in the shapes that the engine must be exact for."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers import decoders as token_decoders
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    LlamaConfig,
    MixtralConfig,
    OlmoeConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3MoeConfig,
)

from counterpoint.models.load import LanguageModel, load_language_model

VOCABULARY = 61
N_LAYERS = 3

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 8}

ARCHITECTURES: dict[str, PreTrainedConfig] = {
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=N_LAYERS,
        n_head=4,
        n_positions=64,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "llama": LlamaConfig(**_SHAPE, **_GROUPED),
    "gpt_neox": GPTNeoXConfig(**_SHAPE, use_parallel_residual=True),
    # A window shorter than the prompts, soft-capping at both places, post-norms.
    "gemma2": Gemma2Config(
        **_SHAPE,
        **_GROUPED,
        sliding_window=4,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "qwen3": Qwen3Config(**_SHAPE, **_GROUPED),
}


_DEEPSEEK = {
    "num_key_value_heads": 4,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
}

_EXTRA: dict[str, PreTrainedConfig] = {
    "llama_two_heads": LlamaConfig(**{**_SHAPE, "num_attention_heads": 2}),
    "llama_relu": LlamaConfig(**_SHAPE, **_GROUPED, hidden_act="relu"),
    # One group of experts, as most of this family have: a choice that is none.
    "deepseek_one_group": DeepseekV3Config(**_SHAPE, **_DEEPSEEK, n_group=1, topk_group=1),
}

MIXTURES: dict[str, PreTrainedConfig] = {
    "mixtral": MixtralConfig(
        **_SHAPE, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2
    ),
    "qwen3_moe": Qwen3MoeConfig(
        **_SHAPE,
        **_GROUPED,
        num_experts=8,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        norm_topk_prob=True,
    ),
    "olmoe": OlmoeConfig(**_SHAPE, num_experts=8, num_experts_per_tok=3),
    "gpt_oss": GptOssConfig(
        **_SHAPE,
        **_GROUPED,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=8,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
    # Chooses groups of experts first.
    "deepseek_v3": DeepseekV3Config(**_SHAPE, **_DEEPSEEK, n_group=4, topk_group=2),
}
"""Mixtures of experts, whose output curves jump."""


def make_tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words `w5` … `w60`, each with its leading space."""
    words = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "Ġw": 3, "w": 4}
    words |= {f"Ġw{number}": number for number in range(5, VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern=" ", behavior="merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = token_decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<pad>",
    )


def save_tiny_model(architecture: str, folder: Path) -> None:
    """Write a random model with weights large enough that no head is negligible."""
    torch.manual_seed(0)
    hf = AutoModelForCausalLM.from_config(
        (ARCHITECTURES | _EXTRA | MIXTURES)[architecture], dtype=torch.float32
    )
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1)
    hf.save_pretrained(folder)
    make_tiny_tokenizer().save_pretrained(folder)


_FOLDERS = tempfile.TemporaryDirectory()
"""Kept until the process ends: TransformerLens reads the tokenizer again whenever it boots."""


@cache
def make_tiny_model(architecture: str, dtype: str = "float32") -> LanguageModel:
    """A tiny model, loaded as any other is."""
    folder = Path(_FOLDERS.name) / architecture
    if not folder.exists():
        save_tiny_model(architecture, folder)
    return load_language_model(folder, dtype=dtype)
