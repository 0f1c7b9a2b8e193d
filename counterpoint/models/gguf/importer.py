"""A GGUF file written as a model folder: safetensors in float32, config and tokenizer."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from counterpoint.errors import UserError
from counterpoint.files.digests import sha256
from counterpoint.models.gguf.gguf_architectures import architecture_of
from counterpoint.models.gguf.gguf_tokenizer import gguf_tokenizer
from counterpoint.models.gguf.reading import (
    UNREADABLE,
    GgufFile,
    listed,
    read_gguf,
)
from counterpoint.models.gguf.rotary_settings import TENSORS as ROTARY
from counterpoint.models.gguf.split_files import shards_of
from counterpoint.models.gguf.tensor_names import Place
from counterpoint.models.gguf.translation import Architecture, Array

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_TOKENS = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
    "unk_token_id": "tokenizer.ggml.unknown_token_id",
}


def import_gguf(
    path: Path, folder: Path, described: str, report: Callable[[str], None]
) -> dict[str, Any]:
    """Write the GGUF model at `path` (all of its files, when it is split) into `folder`.

    The weights come out as the float32 numbers that the quantised blocks stand for: nothing is
    rounded again. Returns how it was converted, for provenance.

    Raises UserError, naming the file, the tensor or setting and the remedy, for whatever of the
    file has no exact place in the model of transformers, and for whatever the model lacks.
    """
    report(f"de-quantising {path.name} to float32 (once)")
    file = read_gguf(path, described)
    model, zeros = model_of(file)
    foreign = _account(file)
    if foreign:
        report(f"{path.name}: not settings of the model, so not used: {listed(foreign)}")
    model.save_pretrained(folder)
    # safetensors writes for its owner alone; others may read the rest of the folder.
    for weights in folder.glob("*.safetensors"):
        shutil.copymode(folder / "config.json", weights)
    gguf_tokenizer(shards_of(path)[0], described).save_pretrained(folder)
    parts = shards_of(path)
    return {
        "from": "GGUF",
        "architecture": file.architecture,
        "weights_sha256": sha256(path) if len(parts) == 1 else _digests(parts),
        "dtype": "float32",
        "tensor_types": _types(file),
        "absent_biases_set_to_zero": zeros,
        "settings_not_of_the_model": foreign,
        "converted_with": {
            package: version(package)
            for package in ("gguf", "safetensors", "torch", "transformers")
        },
    }


def model_of(file: GgufFile) -> tuple[PreTrainedModel, list[str]]:
    """Return the model that `file` describes, and the biases in it that the file leaves out.

    Raises UserError as `import_gguf` does, for tensors and for settings the model needs.
    """
    architecture = architecture_of(file)
    config = _config(file, architecture)
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except UNREADABLE as error:
        raise file.refuse(
            f"its settings make no {architecture.model_type} model of transformers ({error})."
        ) from None
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        shapes.pop("lm_head.weight", None)
    weights = _placed(file, architecture, shapes)
    zeros = _absent_biases(architecture, shapes, weights)
    for name in zeros:
        weights[name] = np.zeros(shapes[name], dtype=np.float32)
    _demand_all(file, architecture, shapes, weights)
    # Views of the file are read-only, which torch cannot have: those are copied.
    tensors = {
        name: torch.from_numpy(np.require(a, requirements="W")) for name, a in weights.items()
    }
    model.load_state_dict(tensors, strict=False, assign=True)
    model.tie_weights()
    left = [name for name, value in model.named_parameters() if value.is_meta]
    if left:
        raise file.refuse(f"the model's {listed(left)} got no values.")
    model.generation_config = GenerationConfig.from_model_config(config)
    return model, zeros


def _config(file: GgufFile, architecture: Architecture) -> PreTrainedConfig:
    settings = dict(architecture.config)
    name = file.settings.get("general.name")
    if isinstance(name, str):
        settings["_model_name_or_path"] = name
    for entry, key in _TOKENS.items():
        token = file.settings.get(key)
        if token is not None and not 0 <= int(token) < settings["vocab_size"]:
            raise file.refuse(
                f"`{key}` is {token}, but the embedding has {settings['vocab_size']} rows."
            )
        if token is not None or entry != "unk_token_id":
            settings[entry] = token
    try:
        return AutoConfig.for_model(architecture.model_type, **settings)
    except UNREADABLE as error:
        raise file.refuse(
            f"its settings make no {architecture.model_type} model of transformers ({error})."
        ) from None


# ------------------------------------------------------------------------------------- the tensors


def _placed(
    file: GgufFile, architecture: Architecture, shapes: dict[str, tuple[int, ...]]
) -> dict[str, Array]:
    """Return the model's weights by transformers' names; every tensor of the file has a place."""
    parts: dict[str, dict[Place, Array]] = defaultdict(dict)
    homeless = []
    for source in file.tensors:
        if source in ROTARY and source in file.used:
            continue
        for name, values in _separate(file, architecture, source):
            target = _target(architecture, name, shapes)
            if target is None:
                homeless.append(source)
                break
            destination, place = target
            if place in parts[destination]:
                raise file.refuse(f"it holds {destination} twice, once as {source}.")
            stem, suffix = _stem(name)
            change = architecture.change.get(f"{stem}.{suffix}") or architecture.change.get(stem)
            try:
                parts[destination][place] = values if change is None else change(values)
            except ValueError:
                raise _wrong_shape(file, source, destination, shapes) from None
    if homeless:
        raise file.refuse(
            f"{len(homeless)} of its tensors have no place in a {architecture.model_type} model of "
            f"transformers: {listed(homeless)}."
        )
    weights = {}
    for destination, given in parts.items():
        ordered = [given[place] for place in sorted(given, key=lambda place: place.order)]
        place = next(iter(given))
        if len(ordered) == place.parts:
            joined = ordered[0] if place.parts == 1 else np.concatenate(ordered, place.axis)
            if joined.shape != shapes[destination]:
                source = _source(architecture, destination)
                raise _wrong_shape(file, source, destination, shapes)
            weights[destination] = joined
    return weights


def _absent_biases(
    architecture: Architecture, shapes: dict[str, tuple[int, ...]], weights: dict[str, Array]
) -> list[str]:
    """Return the biases that may be left out, and that the file has in no layer."""
    absent = [name for name in shapes if name not in weights]
    return sorted(
        name
        for end in architecture.zero
        if not any(given.endswith(end) for given in weights)
        for name in absent
        if name.endswith(end)
    )


def _separate(file: GgufFile, architecture: Architecture, source: str) -> list[tuple[str, Array]]:
    """De-quantise a tensor; fused queries, keys and values become three, where the model has
    three."""
    values = file.dequantised(source)
    stem, _ = _stem(source)
    if stem != "attn_qkv" or "attn_qkv" in architecture.tensors:
        return [(source, values)]
    config = architecture.config
    groups = config["num_attention_heads"], config["num_key_value_heads"]
    size = values.shape[0] // (groups[0] + 2 * groups[1])
    cuts = [groups[0] * size, (groups[0] + groups[1]) * size]
    names = (source.replace("attn_qkv", f"attn_{part}") for part in "qkv")
    return list(zip(names, np.split(values, cuts), strict=True))


def _stem(name: str) -> tuple[str, str]:
    """`blk.3.attn_q.weight` → (`attn_q`, `weight`)."""
    pieces = name.split(".")
    if pieces[0] == "blk" and len(pieces) == 4:
        pieces = pieces[2:]
    return (pieces[0], pieces[1]) if len(pieces) == 2 else (name, "")


def _as_place(place: str | Place) -> Place:
    return Place(place) if isinstance(place, str) else place


def _target(
    architecture: Architecture, name: str, shapes: dict[str, tuple[int, ...]]
) -> tuple[str, Place] | None:
    """Return the name in transformers of the GGUF tensor `name`, or None when it has no place."""
    stem, suffix = _stem(name)
    if stem not in architecture.tensors:
        return None
    place = _as_place(architecture.tensors[stem])
    layer = name.split(".")[1] if name.startswith("blk.") else ""
    if ("{i}" in place.path) != bool(layer) or (place.bare and suffix != "weight"):
        return None
    path = place.path.replace("{i}", layer)
    destination = path if place.bare else f"{path}.{suffix}"
    return (destination, place) if destination in shapes else None


def _wrong_shape(
    file: GgufFile, source: str, destination: str, shapes: dict[str, tuple[int, ...]]
) -> UserError:
    return file.refuse(
        f"the tensor {source} has the shape {file.shape(source)}, which does not fit the "
        f"{shapes[destination]} of {destination} that the file's settings ask for.",
        "Download the file again, or use another one.",
    )


def _demand_all(
    file: GgufFile,
    architecture: Architecture,
    shapes: dict[str, tuple[int, ...]],
    weights: dict[str, Array],
) -> None:
    """Raise UserError, by GGUF's names, unless every weight of the model has its values."""
    missing = [name for name in shapes if name not in weights]
    if missing:
        names = [_source(architecture, name) for name in missing]
        raise file.refuse(
            f"it lacks {len(missing)} of the tensors of a {architecture.model_type} model: "
            f"{listed(names)}.",
            "Download the file again, or use another one.",
        )


def _source(architecture: Architecture, destination: str) -> str:
    """Return GGUF's name of a weight of transformers."""
    pieces = destination.split(".")
    layer = next((piece for piece in pieces if piece.isdigit()), "")
    for stem, place in architecture.tensors.items():
        path = _as_place(place).path.replace("{i}", layer)
        if destination in (path, f"{path}.{pieces[-1]}"):
            block = f"blk.{layer}." if layer else ""
            return f"{block}{stem}.{'weight' if destination == path else pieces[-1]}"
    return destination


# ---------------------------------------------------------------------------------------- accounts


def _digests(paths: list[Path]) -> dict[str, str]:
    return {path.name: sha256(path) for path in paths}


def _account(file: GgufFile) -> list[str]:
    """Refuse settings of the network that nobody asked for; return the names of foreign ones."""
    own, foreign = file.unused()
    if own:
        named = listed([f"`{name}` ({_shown(value)})" for name, value in own.items()])
        raise file.refuse(
            f"{len(own)} of its settings are not known to have an exact counterpart in "
            f"transformers: {named}."
        )
    return foreign


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _types(file: GgufFile) -> dict[str, int]:
    """Count the tensors of each type of quantisation."""
    counts: dict[str, int] = defaultdict(int)
    for tensor in file.tensors.values():
        counts[tensor.tensor_type.name] += 1
    return dict(sorted(counts.items()))
