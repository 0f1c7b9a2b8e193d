"""The files that a model folder is made of: what it must hold, and how they are copied.

A folder is what `save_pretrained` of a model and of its tokenizer write: config, whole safetensors
files, tokenizer. What its config.json says of itself is judged in `declared_model_kind`, whether
its tensors are those of the model in `checkpoint`. No torch unless a folder is refused or copied.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_json
from counterpoint.files.yaml_and_json import parsed_json
from counterpoint.models.declared_model_kind import LOOKED_AT, refuse_adapter
from counterpoint.models.weight_files import INDEX, WHOLE, named_in_config, weight_names

WEIGHTS = (WHOLE, "model-*.safetensors", INDEX)
"""Usual names of weight files; an index may name others."""

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")

KEPT = (
    *WEIGHTS,
    *TOKENIZERS,
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
)
"""Names of the files that a model folder is made of; nothing else is fetched."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npz")


def refuse_unloadable(
    folder: Path, described: str, loadable: str, given: Path | None = None
) -> None:
    """Raise UserError unless `folder` can be loaded: config, whole safetensors, tokenizer.

    `given` is the one file of it that is to be the weights, where one was named.
    """
    refuse_adapter(folder, described)
    lack = what_lacks(folder, given)
    if lack is None:
        if given is None:
            from counterpoint.models.stored_tensors import refuse_two

            refuse_two(folder, described)
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    remedy = "Expected what `save_pretrained` of the model and of its tokenizer write."
    if lack == "no model.safetensors":
        if pickles:
            lack += f", only {', '.join(pickles)}: pickles, which Counterpoint never reads"
        remedy = (
            "Convert weights of another kind once, if you trust them, and use the new folder "
            'as a model of source `local`:\n  python -c "from transformers import '
            "AutoModelForCausalLM as M; from counterpoint.models.tokenizers.tokenizer "
            "import load_tokenizer as T; "
            f"M.from_pretrained('{loadable}').save_pretrained('converted'); "
            f"T('{folder}').save_pretrained('converted')\""
        )
    raise UserError(f"{described} cannot be used as a model: {lack}. {remedy}")


def what_lacks(folder: Path, given: Path | None = None) -> str | None:
    """Say what keeps `folder` from being a model folder, or None when nothing does."""
    try:
        config = parsed_json((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        inner = ", ".join(sorted(path.parent.name for path in folder.glob("*/config.json"))[:3])
        return "no config.json" + (f" (there is one in {inner})" if inner else "")
    except ValueError as error:
        return f"config.json is not JSON ({error})"
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return "config.json names no `model_type`"
    try:
        names = _weights_of(folder, given)
    except ValueError as error:
        return str(error)
    if not names:
        shards = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
        return f"{shards[0]} stands there without {INDEX}" if shards else f"no {WHOLE}"
    for name in names:
        lack = _damage(folder / name)
        if lack is not None:
            return lack
    if not any((folder / name).exists() for name in TOKENIZERS):
        return f"no tokenizer ({', '.join(TOKENIZERS)})"
    return None


def _weights_of(folder: Path, given: Path | None) -> list[str]:
    """The names of the weight files: the one that is `given`, or those that it belongs to.

    Raises ValueError as `weight_names` does.
    """
    named_in_config(folder)
    try:
        names = weight_names(folder)
    except ValueError:
        if given is None:
            raise
        names = []
    return names if given is None or given.name in names else [given.name]


def _damage(path: Path) -> str | None:
    """Say what is wrong with a safetensors file, by its header and size, or None."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return None
    except FileNotFoundError:
        return f"{path.name} is missing"
    except (SafetensorError, OSError) as error:
        if not path.is_file():
            return f"{path.name} is not a file"
        with path.open("rb") as stream:
            pointer = stream.read(40).startswith(b"version https://git-lfs")
        why = "a git-lfs pointer: run `git lfs pull`" if pointer else str(error)
        return f"{path.name} is not a whole safetensors file ({why})"


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_read(name: str) -> bool:
    return name in LOOKED_AT or _matches(name, KEPT)


def copy_files(folder: Path, partial: Path, given: Path | None = None) -> None:
    """Put the files of a model folder into `partial` so that it stands alone.

    Of the weights there are those that the model is loaded from and no others; `given` is the one
    file that they are, where one was named. Their index is written anew, from what they hold.
    """
    for path in folder.iterdir():
        if _matches(path.name, KEPT) and not _matches(path.name, WEIGHTS) and path.is_file():
            shutil.copyfile(path, partial / path.name)
    names = _weights_of(folder, given)
    named = named_in_config(folder)
    if given is not None and names == [given.name]:
        _link(given, partial / (named if named and named.endswith(".safetensors") else WHOLE))
        return
    places = {name: PurePosixPath(name).name for name in names}
    if len(names) > 1 and (WHOLE in places.values() or len(set(places.values())) < len(names)):
        count = len(names)
        places = {
            name: f"model-{number:05d}-of-{count:05d}.safetensors"
            for number, name in enumerate(names, start=1)
        }
    for name, place in places.items():
        _link(folder / name, partial / place)
    index = named or (WHOLE if names == [WHOLE] else INDEX)
    if index.endswith(".json"):
        where = {key: place for place in places.values() for key in _tensors(partial / place)}
        write_json({"metadata": {}, "weight_map": where}, partial / index)


def _tensors(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as stored:
        return list(stored.keys())


def _link(path: Path, place: Path) -> None:
    """Put weights at `place`, as a hard link where that can be had, else as a copy.

    A hard link survives the removal of the original (a cleared hub cache, say) and costs no space.
    """
    try:
        os.link(path.resolve(), place)
    except OSError:
        place.unlink(missing_ok=True)
        shutil.copyfile(path, place)
