"""A GGUF file as it is: its settings and tensors, and the account of which of them were used."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from counterpoint.errors import UserError
from counterpoint.models.gguf.split_files import shards_of

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What the gguf package may raise on a damaged file."""

CONVERT_ELSEWHERE = (
    "Convert the original model instead: save it with `save_pretrained` where it was made and use "
    "the new folder as a model of source `local`."
)

_MAGIC: Final = b"GGUF"
_TEXT: Final = (
    "general.",
    "tokenizer.",
    "split.",
    "quantize.",
    "GGUF.",
)
"""Settings that say nothing of what the network computes: names, tokens, how it was packed."""

Number = TypeVar("Number", int, float)


@dataclass
class GgufFile:
    """The settings and tensors of one GGUF model, which may be split over several files.

    `tensors` maps names to the gguf package's records, whose `data` is a view of the file.
    `described` is how the user knows the file; every message begins with it.
    """

    described: str
    architecture: str
    settings: dict[str, Any]
    tensors: dict[str, Any]
    used: set[str] = field(default_factory=set)

    def refuse(self, reason: str, remedy: str = CONVERT_ELSEWHERE) -> UserError:
        """Return the error that says why this file cannot be used, and what to do."""
        return UserError(f"{self.described}: {reason} {remedy}")

    # ------------------------------------------------------------------------------- settings

    def key(self, name: str) -> str:
        """Return the whole name of one of the architecture's settings."""
        return f"{self.architecture}.{name}"

    def has(self, name: str) -> bool:
        """Say whether the architecture's setting `name` is in the file, and count it as used."""
        self.used.add(self.key(name))
        return self.key(name) in self.settings

    def integer(self, name: str, default: int | None = None) -> int:
        """Return a whole number; one that is given per layer must be the same in every layer."""
        value = self._number(name, default)
        if int(value) != value:
            raise self.refuse(f"`{self.key(name)}` is {value!r}; expected a whole number.")
        return int(value)

    def real(self, name: str, default: float | None = None) -> float:
        """Return a number; NaN and infinity are refused."""
        value = float(self._number(name, default))
        if not np.isfinite(value):
            raise self.refuse(f"`{self.key(name)}` is {value!r}; expected a finite number.")
        return value

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        value = self.settings[self.key(name)] if self.has(name) else default
        if not isinstance(value, str):
            raise self.refuse(f"`{self.key(name)}` is {value!r}; expected a text.")
        return value

    def value(self, name: str, default: Any = None) -> Any:
        """Return a setting of any kind as the file has it."""
        return self.settings[self.key(name)] if self.has(name) else default

    def _number(self, name: str, default: float | None) -> float:
        value = self.value(name, default)
        if value is None:
            raise self.refuse(f"the setting `{self.key(name)}` is missing.")
        if isinstance(value, list):
            if not value or len(set(value)) != 1:
                raise self.refuse(
                    f"`{self.key(name)}` differs from layer to layer ({value}), which the model "
                    "in transformers cannot have."
                )
            value = value[0]
        if isinstance(value, str):
            raise self.refuse(f"`{self.key(name)}` is {value!r}; expected a number.")
        return value

    def demand(self, name: str, neutral: Collection[Any], meaning: str) -> None:
        """Refuse the setting `name` unless it is absent or one of the values that do nothing."""
        value = self.value(name)
        values = value if isinstance(value, list) else [value]
        if value is not None and any(entry not in neutral for entry in values):
            raise self.refuse(
                f"`{self.key(name)}` is {_short(value)} ({meaning}), which a model of this "
                "architecture in transformers does not have."
            )

    def ignore(self, *names: str) -> None:
        """Count settings as used that do not change what the network computes."""
        self.used.update(map(self.key, names))

    def unused(self) -> tuple[dict[str, Any], list[str]]:
        """Return the settings nobody asked for: the network's own, and foreign ones by name.

        By GGUF's rules a setting of the network bears the architecture's name. Others, which
        tools add for themselves, are no part of the model.
        """
        rest = {name: value for name, value in self.settings.items() if name not in self.used}
        rest = {name: value for name, value in rest.items() if not name.startswith(_TEXT)}
        own = {
            name: value for name, value in rest.items() if name.split(".")[0] in _architectures()
        }
        return own, sorted(set(rest) - set(own))

    # -------------------------------------------------------------------------------- tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, slowest dimension first, as torch counts."""
        return tuple(int(size) for size in reversed(self.tensors[name].shape))

    def dequantised(self, name: str) -> npt.NDArray[np.float32]:
        """Return a tensor as float32: the numbers its blocks stand for, nothing rounded again."""
        from gguf import GGMLQuantizationType, dequantize

        tensor = self.tensors[name]
        kind = GGMLQuantizationType(tensor.tensor_type)
        try:
            values = np.asarray(dequantize(tensor.data, kind), dtype=np.float32)
        except NotImplementedError:
            raise self.refuse(
                f"the tensor {name} is of type {kind.name}, which the gguf package cannot "
                "de-quantise."
            ) from None
        if values.shape != self.shape(name):
            raise self.refuse(
                f"the tensor {name} has the shape {self.shape(name)} in the header "
                f"but holds {values.shape}; the file is damaged.",
                "Download it again.",
            )
        if not np.isfinite(values).all():
            raise self.refuse(
                f"the tensor {name} holds NaN or infinity; the file is damaged, or was made from "
                "damaged weights.",
                "Download it again, or use another file.",
            )
        return values


def read_gguf(path: Path, described: str) -> GgufFile:
    """Read the GGUF model at `path`, all of its files when it is split.

    Raises UserError for a file that is not GGUF, is damaged, of a version or byte order that the
    gguf package cannot read, that is no model (a LoRA adapter, a vocabulary, an importance
    matrix, a projector of images), or whose other parts are missing.
    """
    parts = [_reader(part, _name(part, path, described)) for part in _parts(path, described)]
    settings, tensors = dict(parts[0][0]), dict(parts[0][1])
    for further_settings, further_tensors in parts[1:]:
        for name in further_tensors:
            if name in tensors:
                raise UserError(
                    f"{described}: the tensor {name} stands in two of the files that the model is "
                    "split into. Download all of them again."
                )
        tensors.update(further_tensors)
        for name, value in further_settings.items():
            of_the_part = name.startswith(("split.", "GGUF."))
            if not of_the_part and settings.get(name, value) != value:
                raise UserError(
                    f"{described}: the files that the model is split into disagree on `{name}`. "
                    "Download all of them again."
                )
            settings.setdefault(name, value)
    _check_split(settings, len(parts), len(tensors), described)
    architecture = settings.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise UserError(
            f"{described}: the setting `general.architecture` is missing. {CONVERT_ELSEWHERE}"
        )
    file = GgufFile(described, architecture, settings, tensors)
    _check_is_model(file)
    return file


def _parts(path: Path, described: str) -> list[Path]:
    parts = shards_of(path)
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise UserError(
            f"{described} is one of {len(parts)} files that a model is split into, and there is "
            f"no {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''} beside it. Put all of "
            "them into one folder, or merge them (llama.cpp's `gguf-split --merge`)."
        )
    return parts


def _name(part: Path, path: Path, described: str) -> str:
    return described if part == path else described.replace(path.name, part.name)


def _reader(path: Path, described: str) -> tuple[dict[str, Any], dict[str, Any]]:
    with path.open("rb") as stream:
        head = stream.read(8)
    if head[:4] != _MAGIC:
        raise UserError(f"{described} is not a GGUF file (it does not begin with 'GGUF').")
    if len(head) == 8 and struct.unpack("<I", head[4:])[0] & 0xFFFF == 0:
        raise UserError(
            f"{described} is a big-endian GGUF file; weights of quantised blocks cannot be read "
            "from it. Convert it to little-endian first (`gguf-convert-endian` of the gguf "
            "package)."
        )
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        settings = {name: _value(name, entry) for name, entry in reader.fields.items()}
        tensors = {tensor.name: tensor for tensor in reader.tensors}
    except UNREADABLE as error:
        raise UserError(
            f"{described} cannot be read as GGUF; it is damaged or incomplete, or of a newer kind "
            f"than the gguf package knows ({type(error).__name__}: {error}). Download it again, or "
            "use another file."
        ) from None
    return settings, tensors


def _value(name: str, entry: Any) -> Any:
    """Return a setting's value; of the lists of the tokenizer, which are long, only the length."""
    is_list = name.startswith("tokenizer.") and len(entry.data) > 1
    return range(len(entry.data)) if is_list else entry.contents()


def _check_split(settings: dict[str, Any], parts: int, tensors: int, described: str) -> None:
    """Compare what a split file says of its parts with what was found."""
    count = settings.get("split.count", 0) or 1
    if count != parts:
        raise UserError(
            f"{described} says that it is one of {count} files that the model is split into, but "
            f"its name stands for {parts}. Give the files the names that they had "
            "(NAME-00001-of-0000N.gguf), or merge them (llama.cpp's `gguf-split --merge`)."
        )
    expected = settings.get("split.tensors.count", tensors) or tensors
    if parts > 1 and expected != tensors:
        raise UserError(
            f"{described}: the {parts} files hold {tensors} tensors together; expected {expected}. "
            "Download all of them again."
        )


def _check_is_model(file: GgufFile) -> None:
    kind = file.settings.get("general.type", "model")
    if kind == "adapter" or any(name.startswith("adapter.") for name in file.settings):
        raise file.refuse(
            "it holds a LoRA adapter, not a model.",
            "Merge the adapter into its base model (llama.cpp's `llama-export-lora`) and use the "
            "merged file.",
        )
    if kind != "model":
        raise file.refuse(f"it is no language model (`general.type` is {kind!r}).", "Use another.")
    if not file.tensors:
        raise file.refuse("it holds a vocabulary and no weights.", "Use the file of the model.")


def _architectures() -> frozenset[str]:
    """First parts of names that settings of a network bear, whatever its architecture."""
    from gguf import MODEL_ARCH_NAMES

    own = {"rope", "attention", "ssm", "clip", "xielu", "adapter"}
    return frozenset(own | set(MODEL_ARCH_NAMES.values()))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def listed(names: Iterable[str], limit: int = 4) -> str:
    """Return some names for a message, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
