"""The tensors of a checkpoint as its files hold them, from the headers of the files."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from counterpoint.errors import UserError
from counterpoint.models.weight_files import INDEX, WHOLE, shards_of_index, weight_names


@dataclass(frozen=True)
class Stored:
    """One tensor as a file's header has it."""

    file: str
    shape: tuple[int, ...]
    dtype: str


def read_headers(folder: Path, described: str) -> dict[str, Stored]:
    """Every tensor of the checkpoint in ``folder``, from the headers of its files.

    Raises UserError when two files hold different numbers under one name.
    """
    stored: dict[str, Stored] = {}
    twice: defaultdict[str, list[str]] = defaultdict(list)
    for file in weight_names(folder):
        for name, one in _header(folder, file).items():
            if name in stored:
                twice[name] += [stored[name].file, file]
            stored[name] = one
    for name, files in twice.items():
        if not same_numbers(folder, [(file, name) for file in files]):
            raise UserError(
                f"{described} cannot be used as a model: {' and '.join(dict.fromkeys(files))} both"
                f" hold a tensor {name}, with different numbers. Remove the file that is not of"
                " this checkpoint, or save the model again."
            )
    return stored


def refuse_two(folder: Path, described: str) -> None:
    """Raise UserError where a whole file and an index beside it stand for different weights.

    transformers takes the whole file, whichever of the two is the newer one.
    """
    if not (folder / WHOLE).is_file() or not (folder / INDEX).is_file():
        return
    try:
        names = [name for name in shards_of_index(folder / INDEX) if (folder / name).is_file()]
    except ValueError:
        return
    whole = _header(folder, WHOLE)
    for file in names:
        for name in _header(folder, file):
            if name not in whole or not same_numbers(folder, [(WHOLE, name), (file, name)]):
                raise UserError(
                    f"{described} cannot be used as a model: {WHOLE} and the files that {INDEX}"
                    f" names hold different weights ({name}, for example). Remove those that are"
                    " not of this model."
                )


def _header(folder: Path, file: str) -> dict[str, Stored]:
    from safetensors import safe_open

    found = {}
    with safe_open(folder / file, framework="numpy") as opened:
        for name in opened.keys():  # noqa: SIM118  (no mapping)
            part = opened.get_slice(name)
            found[name] = Stored(file, tuple(part.get_shape()), part.get_dtype())
    return found


def same_numbers(folder: Path, places: list[tuple[str, str]]) -> bool:
    """Whether all these (file, tensor) hold the same numbers."""
    import torch
    from safetensors import safe_open

    tensors = []
    for file, name in places:
        with safe_open(folder / file, framework="pt") as opened:
            tensors.append(opened.get_tensor(name))
    return all(
        one.shape == tensors[0].shape and torch.equal(one, tensors[0].to(one.dtype))
        for one in tensors[1:]
    )
