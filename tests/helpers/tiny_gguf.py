"""Tiny random GGUF files of every architecture and kind of setting that is imported.

They are written tensor by tensor under llama.cpp's names, without transformers, and every number
comes from the kind's name, so that the logits of another runtime can be kept beside the tests.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Type

Array = npt.NDArray[Any]

ALPHABET: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
TOKENS: Final = ["<unk>", "<bos>", "<eos>", "Ġ", "Ċ", *ALPHABET, "ab"]
VOCABULARY: Final = len(TOKENS)
LAYERS: Final = 2
LENGTH: Final = 100
"""Tokens of the prompt; the scaled kinds were "trained" on 32."""
TRAINED: Final = 32
QUANTISABLE: Final = (Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0)
"""Types that the gguf package can write; blocks of the others are made of random bytes."""


@dataclass(frozen=True)
class Kind:
    """One tiny file. `settings` bear no architecture; `tensors` maps names to shapes; those in
    `values` are given, the others random. Matrices are stored as `stored`."""

    name: str
    architecture: str
    settings: Mapping[str, Any]
    tensors: Mapping[str, tuple[int, ...]]
    values: Mapping[str, Array] = field(default_factory=dict)
    stored: Type = Type.F32
    runtime: Mapping[str, float] = field(default_factory=dict)
    """What llama.cpp is told beside the file: it does not read all that the files may say."""
    further: Mapping[str, Any] = field(default_factory=dict)
    """Settings with their whole names."""


def altered(
    kind: Kind,
    *,
    without: tuple[str, ...] = (),
    tensors: Mapping[str, Array] | None = None,
    **settings: Any,
) -> Kind:
    """Return `kind` without some tensors or settings, with others (`rope__freq_base=…`).

    The numbers of the tensors that stay are drawn anew, since there are others before them.
    """
    given = dict(tensors or {})
    shapes = {name: shape for name, shape in kind.tensors.items() if name not in without}
    kept = {name: value for name, value in kind.settings.items() if name not in without}
    return replace(
        kind,
        tensors={**shapes, **{name: value.shape for name, value in given.items()}},
        values={**kind.values, **given},
        settings={**kept, **{name.replace("__", "."): value for name, value in settings.items()}},
    )


def prompt(kind: Kind) -> list[int]:
    """Return the ids of the prompt on which `kind` is compared."""
    random = np.random.default_rng(zlib.crc32(kind.name.encode()) + 1)
    return [1, *random.integers(3, VOCABULARY, LENGTH - 1).tolist()]


def weights_of(kind: Kind) -> dict[str, Array]:
    """Return the tensors of `kind`, [rows, columns] float32, before they are quantised."""
    random = np.random.default_rng(zlib.crc32(kind.name.split(" as ")[0].encode()))
    values = {}
    for name, shape in kind.tensors.items():
        noise = random.standard_normal(shape).astype(np.float32)
        if name in kind.values:
            values[name] = np.asarray(kind.values[name], dtype=np.float32)
        elif "norm" in name and name.endswith("weight"):
            values[name] = np.float32(1) + np.float32(0.1) * noise
        elif len(shape) == 1:
            values[name] = np.float32(0.2) * noise
        else:
            values[name] = noise * np.float32(1.3 / np.sqrt(shape[-1]))
    return values


def write(kind: Kind, path: Path, *, plain: bool = False) -> Path:
    """Write `kind` to `path`; with `plain` the matrices hold the same numbers as float32."""
    writer = writer_of(kind, path)
    for name, values in weights_of(kind).items():
        data, stored = packed(kind, name, values)
        if plain:
            writer.add_tensor(name, gguf.dequantize(data, stored))
        elif stored in (Type.F32, Type.F16):
            writer.add_tensor(name, data)
        else:
            writer.add_tensor(name, data, raw_dtype=stored)
    finish(writer)
    return path


def writer_of(kind: Kind, path: Path) -> gguf.GGUFWriter:
    """Return a writer that has the settings of `kind` and no tensors."""
    writer = gguf.GGUFWriter(path, kind.architecture)
    writer.add_name("tiny")
    for name, value in kind.settings.items():
        add_setting(writer, f"{kind.architecture}.{name}", value)
    for name, value in kind.further.items():
        add_setting(writer, name, value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (VOCABULARY - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    return writer


def add_setting(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    """Add a setting in the type that llama.cpp expects of its kind."""
    if isinstance(value, bool):
        writer.add_bool(name, value)
    elif isinstance(value, int):
        writer.add_uint32(name, value)
    elif isinstance(value, float):
        writer.add_float32(name, value)
    elif isinstance(value, str):
        writer.add_string(name, value)
    else:
        writer.add_array(name, list(value))


def finish(writer: gguf.GGUFWriter) -> None:
    """Write what the writer was given."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def packed(kind: Kind, name: str, values: Array) -> tuple[Array, Type]:
    """Return a tensor as it is stored: matrices of the blocks in the kind's type."""
    if kind.stored == Type.F32 or values.ndim < 2 or "norm" in name:
        return values, Type.F32
    if kind.stored in QUANTISABLE:
        return gguf.quantize(values, kind.stored), kind.stored
    return random_blocks(kind.stored, values.shape, zlib.crc32(name.encode())), kind.stored


SCALES: Final = {
    # Where the half-precision scales stand in a block.
    Type.Q2_K: (80, 82),
    Type.Q3_K: (108,),
    Type.Q4_K: (0, 2),
    Type.Q5_K: (0, 2),
    Type.Q6_K: (208,),
    Type.IQ2_XXS: (0,),
    Type.IQ2_XS: (0,),
    Type.IQ2_S: (0,),
    Type.IQ3_XXS: (0,),
    Type.IQ3_S: (0,),
    Type.IQ1_S: (0,),
    Type.IQ4_NL: (0,),
    Type.IQ4_XS: (0,),
    Type.TQ1_0: (52,),
    Type.TQ2_0: (64,),
    # In the upper quarters of four numbers, and as an exponent of two.
    Type.IQ1_M: (48, 50, 52, 54),
    Type.MXFP4: (0,),
}


def random_blocks(stored: Type, shape: tuple[int, ...], seed: int) -> Array:
    """Return random blocks of a type that the gguf package can read but not write.

    Their scales are such that the numbers are about as large as those of `weights_of`.
    """
    elements, size = gguf.GGML_QUANT_SIZES[stored]
    random = np.random.default_rng(seed)
    count = int(np.prod(shape)) // elements
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    scales = random.uniform(0.5, 1.5, (count, 1)).astype(np.float32)
    for scale in (np.float32(1), None):
        if scale is None:
            spread = float(np.std(gguf.dequantize(blocks[:64], stored)))
            scale = np.float32(1.3 / np.sqrt(shape[-1]) / spread)
        _put_scales(stored, blocks, scales * scale)
    return blocks.reshape(*shape[:-1], shape[-1] // elements * size)


def _put_scales(stored: Type, blocks: Array, scales: Array) -> None:
    """Write `scales`, [blocks, 1] float32, into the blocks."""
    halves = scales.astype(np.float16).view(np.uint16)
    for number, place in enumerate(SCALES[stored]):
        if stored == Type.MXFP4:
            blocks[:, place] = np.round(128 + np.log2(scales[:, 0])).astype(np.uint8)
        elif stored == Type.IQ1_M:
            upper = (halves >> (4 * number) & 15).astype(np.uint8) << 4
            blocks[:, place + 1] = blocks[:, place + 1] & 15 | upper[:, 0]
        else:
            blocks[:, place : place + 2] = halves.view(np.uint8)


# ------------------------------------------------------------------------------------ the tensors

Shapes = dict[str, tuple[int, ...]]


def _blocks(shapes: Shapes) -> Shapes:
    return {f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in shapes.items()}


def _outside(width: int = 64, *, untied: bool = False, bias: bool = False) -> Shapes:
    shapes: Shapes = {"token_embd.weight": (VOCABULARY, width), "output_norm.weight": (width,)}
    if bias:
        shapes["output_norm.bias"] = (width,)
    if untied:
        shapes["output.weight"] = (VOCABULARY, width)
    return shapes


def _linear(name: str, rows: int, columns: int, bias: bool = False) -> Shapes:
    weight: Shapes = {f"{name}.weight": (rows, columns)}
    return weight | ({f"{name}.bias": (rows,)} if bias else {})


def _norms(width: int, *names: str, bias: bool = False) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (width,) for name in names}
    return shapes | ({f"{name}.bias": (width,) for name in names} if bias else {})


def _attention(
    width: int, heads: int, keys: int, head: int, *, bias: bool = False, output_bias: bool = False
) -> Shapes:
    return {
        **_linear("attn_q", heads * head, width, bias),
        **_linear("attn_k", keys * head, width, bias),
        **_linear("attn_v", keys * head, width, bias),
        **_linear("attn_output", width, heads * head, output_bias),
    }


def _fused(width: int, keys: int, *, bias: bool = False) -> Shapes:
    return {
        **_linear("attn_qkv", width + 2 * keys * 16, width, bias),
        **_linear("attn_output", width, width, bias),
    }


def _gated(width: int, hidden: int, bias: bool = False) -> Shapes:
    return {
        **_linear("ffn_gate", hidden, width, bias),
        **_linear("ffn_up", hidden, width, bias),
        **_linear("ffn_down", width, hidden, bias),
    }


def _two(width: int, hidden: int, bias: bool = False) -> Shapes:
    return {
        **_linear("ffn_up", hidden, width, bias),
        **_linear("ffn_down", width, hidden, bias),
    }


def _experts(width: int, hidden: int, count: int, shared: int = 0) -> Shapes:
    shapes: Shapes = {
        "ffn_gate_inp.weight": (count, width),
        "ffn_gate_exps.weight": (count, hidden, width),
        "ffn_up_exps.weight": (count, hidden, width),
        "ffn_down_exps.weight": (count, width, hidden),
    }
    if shared:
        shapes |= {
            "ffn_gate_inp_shexp.weight": (width,),
            **_linear("ffn_gate_shexp", shared, width),
            **_linear("ffn_up_shexp", shared, width),
            **_linear("ffn_down_shexp", width, shared),
        }
    return shapes


def _settings(
    *,
    width: int = 64,
    hidden: int = 96,
    keys: int = 2,
    context: int = 128,
    norm: str = "layer_norm_rms_epsilon",
    **further: Any,
) -> dict[str, Any]:
    return {
        "block_count": LAYERS,
        "context_length": context,
        "embedding_length": width,
        "feed_forward_length": hidden,
        "attention.head_count": 4,
        "attention.head_count_kv": keys,
        f"attention.{norm}": 1e-5,
        **{name.replace("__", "."): value for name, value in further.items()},
    }


_SCALED: Final = {"rope__scaling__original_context_length": TRAINED}
_LLAMA_BLOCK: Final = {
    **_norms(64, "attn_norm", "ffn_norm"),
    **_attention(64, 4, 2, 16),
    **_gated(64, 96),
}


def llama(name: str = "llama", *, add: Shapes | None = None, **settings: Any) -> Kind:
    """A Llama with tied embeddings; `add` are further tensors, `settings` further settings."""
    tensors = {**_outside(), **_blocks(_LLAMA_BLOCK), **(add or {})}
    return Kind(name, "llama", _settings(rope__dimension_count=16, **settings), tensors)


def llama3_factors(factor: float, original: int, *, base: float = 10000.0, size: int = 16) -> Array:
    """What llama.cpp's converter writes as `rope_freqs.weight` for the scaling of Llama 3."""
    factors = []
    for i in range(0, size, 2):
        wavelength = 2 * np.pi * base ** (i / size)
        if wavelength < original / 4:
            factors.append(1.0)
        elif wavelength > original:
            factors.append(factor)
        else:
            smooth = (original / wavelength - 1) / 3
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, dtype=np.float32)


def _with_factors(kind: Kind, **values: Array) -> Kind:
    given = {f"{name}.weight": value for name, value in values.items()}
    shapes = {name: value.shape for name, value in given.items()}
    return replace(kind, tensors={**kind.tensors, **shapes}, values=given)


def _scalings() -> list[Kind]:
    odd = np.array([1.0, 1.5, 1.1, 2.0, 3.0, 2.5, 7.0, 4.0], dtype=np.float32)
    lists = {
        "rope_factors_short": np.linspace(1, 1.2, 8, dtype=np.float32),
        "rope_factors_long": np.linspace(1, 4, 8, dtype=np.float32),
    }
    long = llama("llama longrope, long", rope__scaling__type="longrope", **_SCALED)
    long = replace(long, settings={**long.settings, "rope.scaling.attn_factor": 1.2})
    yarn = {"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0, **_SCALED}
    return [
        _with_factors(llama("llama llama3"), rope_freqs=llama3_factors(32.0, 512)),
        _with_factors(llama("llama odd factors"), rope_freqs=odd),
        llama("llama linear", rope__scaling__type="linear", rope__scaling__factor=4.0),
        llama("llama linear, old name", rope__scale_linear=2.0),
        llama("llama no scaling", rope__scaling__type="none", rope__scaling__factor=4.0),
        llama("llama base", rope__freq_base=500.0),
        llama("llama yarn", **yarn),
        llama("llama yarn, attention factor", rope__scaling__attn_factor=0.8, **yarn),
        _with_factors(llama("llama yarn, odd factors", **yarn), rope_freqs=odd),
        replace(
            llama(
                "llama yarn, other ramp",
                rope__scaling__yarn_beta_fast=4.0,
                rope__scaling__yarn_beta_slow=0.5,
                **yarn,
            ),
            runtime={"yarn_beta_fast": 4.0, "yarn_beta_slow": 0.5},
        ),
        llama(
            "llama linear, attention factor",
            rope__scaling__factor=2.0,
            rope__scaling__attn_factor=1.3,
        ),
        _with_factors(long, **lists),
        _with_factors(
            llama(
                "llama longrope, short",
                context=512,
                rope__scaling__type="longrope",
                rope__scaling__original_context_length=512,
            ),
            **lists,
        ),
    ]


def _llamas() -> list[Kind]:
    qkv = _blocks(
        {f"attn_{part}.bias": (rows,) for part, rows in zip("qkv", (64, 32, 32), strict=True)}
    )
    output = _blocks({"attn_output.bias": (64,)})
    mlp = _blocks({"ffn_gate.bias": (96,), "ffn_up.bias": (96,), "ffn_down.bias": (64,)})
    fused = {
        name: shape
        for name, shape in llama().tensors.items()
        if not any(part in name for part in ("attn_q.", "attn_k.", "attn_v."))
    }
    wide = {
        **_outside(untied=True),
        **_blocks({**_LLAMA_BLOCK, **_attention(64, 4, 2, 24)}),
    }
    mixture = {
        **_outside(untied=True),
        **_blocks(
            {
                **_norms(64, "attn_norm", "ffn_norm"),
                **_attention(64, 4, 2, 16),
                **_experts(64, 96, 4),
            }
        ),
    }
    return [
        llama(),
        llama("llama attention biases", add={**qkv, **output}),
        llama("llama biases without the output's", add={**qkv, **mlp}),
        replace(llama("llama fused"), tensors={**fused, **_blocks(_linear("attn_qkv", 128, 64))}),
        Kind(
            "llama own head size, untied",
            "llama",
            _settings(
                rope__dimension_count=24, attention__key_length=24, attention__value_length=24
            ),
            wide,
        ),
        Kind(
            "llama experts",
            "llama",
            _settings(rope__dimension_count=16, expert_count=4, expert_used_count=2),
            mixture,
        ),
    ]


def _qwens() -> list[Kind]:
    two = {
        **_outside(untied=True),
        **_blocks(
            {
                **_norms(64, "attn_norm", "ffn_norm"),
                **_attention(64, 4, 2, 16, bias=True),
                **_gated(64, 96),
            }
        ),
    }
    two_moe = {
        **_outside(untied=True),
        **_blocks(
            {
                **_norms(64, "attn_norm", "ffn_norm"),
                **_attention(64, 4, 2, 16, bias=True),
                **_experts(64, 32, 4, shared=48),
            }
        ),
    }
    head_norms = _norms(24, "attn_q_norm", "attn_k_norm")
    three_attention = {
        **_norms(64, "attn_norm", "ffn_norm"),
        **head_norms,
        **_attention(64, 4, 2, 24),
    }
    sizes = {"attention__key_length": 24, "attention__value_length": 24}
    return [
        Kind("qwen2", "qwen2", _settings(rope__freq_base=1e6), two),
        Kind(
            "qwen2 yarn",
            "qwen2",
            _settings(rope__scaling__type="yarn", rope__scaling__factor=4.0, **_SCALED),
            two,
        ),
        Kind(
            "qwen2moe",
            "qwen2moe",
            _settings(
                expert_count=4,
                expert_used_count=2,
                expert_feed_forward_length=32,
                expert_shared_feed_forward_length=48,
            ),
            two_moe,
        ),
        Kind(
            "qwen3",
            "qwen3",
            _settings(**sizes),
            {**_outside(), **_blocks({**three_attention, **_gated(64, 96)})},
        ),
        Kind(
            "qwen3moe",
            "qwen3moe",
            _settings(expert_count=4, expert_used_count=2, expert_feed_forward_length=32, **sizes),
            {**_outside(), **_blocks({**three_attention, **_experts(64, 32, 4)})},
        ),
    ]


def _gemmas() -> list[Kind]:
    four = _norms(64, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
    attention = _attention(64, 4, 2, 24)
    sizes = {"attention__key_length": 24, "attention__value_length": 24}
    head_norms = _norms(24, "attn_q_norm", "attn_k_norm")
    return [
        Kind(
            "gemma",
            "gemma",
            _settings(**sizes),
            {
                **_outside(),
                **_blocks({**_norms(64, "attn_norm", "ffn_norm"), **attention, **_gated(64, 96)}),
            },
        ),
        Kind(
            "gemma2",
            "gemma2",
            _settings(
                attn_logit_softcapping=2.0,
                final_logit_softcapping=3.0,
                attention__sliding_window=16,
                **sizes,
            ),
            {**_outside(), **_blocks({**four, **attention, **_gated(64, 96)})},
        ),
        Kind(
            "gemma3",
            "gemma3",
            _settings(
                attention__sliding_window=16,
                attention__sliding_window_pattern=2,
                rope__freq_base=1e5,
                rope__scaling__type="linear",
                rope__scaling__factor=8.0,
                **sizes,
            ),
            {**_outside(), **_blocks({**four, **head_norms, **attention, **_gated(64, 96)})},
        ),
    ]


def _others() -> list[Kind]:
    layer_norm = {"norm": "layer_norm_epsilon"}
    two_norms = _norms(64, "attn_norm", "ffn_norm")
    two_biased = _norms(64, "attn_norm", "ffn_norm", bias=True)
    fused_mlp = {**_linear("ffn_up", 192, 64), **_linear("ffn_down", 64, 96)}
    phi3 = {**_outside(untied=True), **_blocks({**two_norms, **_fused(64, 2), **fused_mlp})}
    neox = {
        **_outside(untied=True, bias=True),
        **_blocks({**two_biased, **_fused(64, 4, bias=True), **_two(64, 96, True)}),
    }
    bloom = {
        **_outside(bias=True),
        **_norms(64, "token_embd_norm", bias=True),
        **_blocks({**two_biased, **_fused(64, 4, bias=True), **_two(64, 256, True)}),
    }
    olmo = {**_attention(64, 4, 2, 16), **_gated(64, 96)}
    olmo2 = {
        **_norms(64, "post_attention_norm", "post_ffw_norm", "attn_q_norm"),
        **_norms(32, "attn_k_norm"),
        **olmo,
    }
    lists = {
        "rope_factors_short": np.linspace(1, 1.2, 6, dtype=np.float32),
        "rope_factors_long": np.linspace(1, 4, 6, dtype=np.float32),
    }
    return [
        Kind(
            "phi2",
            "phi2",
            _settings(keys=4, rope__dimension_count=12, **layer_norm),
            {
                **_outside(untied=True, bias=True),
                "output.bias": (VOCABULARY,),
                **_blocks(
                    {
                        **_norms(64, "attn_norm", bias=True),
                        **_attention(64, 4, 4, 16, bias=True, output_bias=True),
                        **_two(64, 96, True),
                    }
                ),
            },
        ),
        Kind("phi3", "phi3", _settings(rope__dimension_count=16), phi3),
        _with_factors(
            Kind(
                "phi3 longrope, partial",
                "phi3",
                _settings(rope__dimension_count=12, rope__scaling__attn_factor=1.19, **_SCALED),
                phi3,
            ),
            **lists,
        ),
        Kind(
            "gpt2",
            "gpt2",
            _settings(keys=4, hidden=256, **layer_norm),
            {
                **_outside(bias=True),
                "position_embd.weight": (128, 64),
                **_blocks({**two_biased, **_fused(64, 4, bias=True), **_two(64, 256, True)}),
            },
        ),
        Kind(
            "gptneox",
            "gptneox",
            _settings(keys=4, rope__dimension_count=4, use_parallel_residual=True, **layer_norm),
            neox,
        ),
        Kind(
            "gptneox, serial",
            "gptneox",
            _settings(keys=4, rope__dimension_count=16, use_parallel_residual=False, **layer_norm),
            neox,
        ),
        Kind("bloom", "bloom", _settings(keys=4, hidden=256, **layer_norm), bloom),
        Kind(
            "falcon",
            "falcon",
            _settings(keys=1, hidden=256, **layer_norm),
            {
                **_outside(bias=True),
                **_blocks({**_norms(64, "attn_norm", bias=True), **_fused(64, 1), **_two(64, 256)}),
            },
        ),
        Kind(
            "falcon, two norms",
            "falcon",
            _settings(keys=2, hidden=256, **layer_norm),
            {
                **_outside(untied=True, bias=True),
                **_blocks(
                    {
                        **_norms(64, "attn_norm", "attn_norm_2", bias=True),
                        **_fused(64, 2),
                        **_two(64, 256),
                    }
                ),
            },
        ),
        Kind(
            "starcoder2",
            "starcoder2",
            _settings(**layer_norm),
            {
                **_outside(bias=True),
                **_blocks(
                    {
                        **two_biased,
                        **_attention(64, 4, 2, 16, bias=True, output_bias=True),
                        **_two(64, 96, True),
                    }
                ),
            },
        ),
        Kind(
            "stablelm",
            "stablelm",
            _settings(rope__dimension_count=8, use_parallel_residual=True, **layer_norm),
            {
                **_outside(untied=True, bias=True),
                **_blocks({**two_biased, **_attention(64, 4, 2, 16, bias=True), **_gated(64, 96)}),
            },
        ),
        Kind(
            "olmo",
            "olmo",
            _settings(attention__clamp_kqv=1.0, **layer_norm),
            {
                "token_embd.weight": (VOCABULARY, 64),
                "output.weight": (VOCABULARY, 64),
                **_blocks(olmo),
            },
        ),
        Kind("olmo2", "olmo2", _settings(), {**_outside(untied=True), **_blocks(olmo2)}),
        Kind(
            "granite",
            "granite",
            _settings(
                attention__scale=0.1, embedding_scale=3.0, residual_scale=0.4, logit_scale=2.0
            ),
            {**_outside(), **_blocks(_LLAMA_BLOCK)},
        ),
        Kind(
            "command-r",
            "command-r",
            _settings(logit_scale=0.5, rope__scaling__type="none", **layer_norm),
            {**_outside(), **_blocks({**_norms(64, "attn_norm"), **olmo})},
        ),
        Kind(
            "smollm3",
            "smollm3",
            _settings(rope__dimension_count=16),
            {**_outside(), **_blocks(_LLAMA_BLOCK)},
        ),
        Kind(
            "nemotron",
            "nemotron",
            _settings(rope__dimension_count=4, rope__scaling__type="none", **layer_norm),
            {
                **_outside(untied=True, bias=True),
                **_blocks({**two_biased, **_attention(64, 4, 2, 16), **_two(64, 96)}),
            },
        ),
    ]


def _quantised() -> list[Kind]:
    """A Llama in each type; of width 256, since the longest blocks hold 256 numbers."""
    tensors = {
        **_outside(256, untied=True),
        **_blocks(
            {
                **_norms(256, "attn_norm", "ffn_norm"),
                **_attention(256, 4, 2, 64),
                **_gated(256, 256),
            }
        ),
    }
    settings = _settings(width=256, hidden=256, rope__dimension_count=64)
    return [
        Kind(f"llama as {stored.name}", "llama", settings, tensors, stored=stored)
        for stored in (*QUANTISABLE, *SCALES)
    ]


def _scaled(kinds: list[Kind]) -> list[Kind]:
    """Each architecture with rotations once more, with YaRN or a linear scaling."""
    yarn = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": TRAINED,
    }
    linear = {"rope.scaling.type": "linear", "rope.scaling.factor": 2.0}
    names = ("qwen3", "gemma2", "phi2", "phi3", "gptneox", "falcon", "starcoder2", "stablelm")
    more = ("olmo", "olmo2", "granite", "command-r", "smollm3", "nemotron")
    return [
        replace(kind, name=f"{kind.name} {scaling}", settings={**kind.settings, **settings})
        for kind in kinds
        if kind.name in (*names, *more)
        for scaling, settings in (("yarn", yarn), ("linear", linear))
        if (scaling == "yarn") == (kind.name in names)
    ]


KINDS: Final = {
    kind.name: kind
    for kind in (
        *_llamas(),
        *_scalings(),
        *_qwens(),
        *_gemmas(),
        *_others(),
        *_scaled([*_qwens(), *_gemmas(), *_others()]),
        *_quantised(),
    )
}
