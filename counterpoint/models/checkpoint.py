"""Whether a checkpoint holds the model that its `config.json` describes, tensor by tensor.

transformers completes what a checkpoint lacks with random numbers and leaves out what it does not
know. Here its own loading report is read, and either is refused with the likely cause:

* a tensor of the model that is not in the checkpoint and not tied to one that is;
* a tensor of the checkpoint that the model has no place for, unless it is a buffer of old releases
  (`KNOWN_BUFFERS`), reads something else than text or predicts further tokens;
* a tensor of another shape;
* whole numbers where the model has real ones.

`check_folder` needs the headers of the files alone: the same report is made of tensors on the meta
device, so that renaming, stacking and tying are transformers' own. `judge` is told what a real load
reported.
"""

from __future__ import annotations

import json
import re
import textwrap
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from counterpoint.errors import UserError
from counterpoint.models.automatic import language_part
from counterpoint.models.causes import likely_cause

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

INDEX = "model.safetensors.index.json"
SHOWN = 4
"""How many tensors a message names."""

KNOWN_BUFFERS = re.compile(
    r"(^|\.)(rotary_emb\.(inv_freq|cos_cached|sin_cached)|inv_freq|position_ids|masked_bias"
    r"|causal_mask|embed_positions\.(_float_tensor|weights)|final_logits_bias)$"
)
"""Names of buffers that older releases wrote and that models now compute by themselves."""

ATTENTION_MASK = re.compile(r"(^|\.)(attn|attention|self_attn|self_attention)\.bias$")
"""A causal mask of GPT-2's kind, told from a bias by its shape [1, 1, positions, positions]."""

NOT_TEXT = re.compile(
    r"(^|\.|_)(vision|visual|vit|image|audio|speech|video|vqmodel|multi_modal|multimodal|mm)"
    r"([._]|$)|(^|\.)(embed_vision|embed_audio|mm_projector|image_newline|talker|token2wav|code2wav)"
)
FURTHER_TOKENS = re.compile(r"(^|\.)(mtp|multi_token_prediction|nextn)([._]|$)")

REAL = frozenset(["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"])
"""safetensors' names of the number formats whose values stand for themselves."""

BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What transformers may raise on a damaged or impossible model folder."""


@dataclass(frozen=True)
class Stored:
    """One tensor as a file's header has it."""

    file: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Report:
    """What transformers found when it put a checkpoint into a model.

    ``mismatched`` holds (name, shape in the checkpoint, shape in the model); ``expected`` the names
    of all tensors of the model.
    """

    architecture: str
    missing: list[str]
    unexpected: list[str]
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]]
    expected: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, model: PreTrainedModel, info: Mapping[str, Any]) -> Report:
        """From what `from_pretrained(…, output_loading_info=True)` returns."""
        return cls(
            architecture=type(model).__name__,
            missing=sorted(info["missing_keys"]),
            unexpected=sorted(info["unexpected_keys"]),
            mismatched=sorted(
                (name, tuple(found), tuple(wanted))
                for name, found, wanted in info["mismatched_keys"]
            ),
            expected=list(model.state_dict()),
        )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers reads of ``folder``, in its order."""
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return [folder / name for name in sorted(set(index["weight_map"].values()))]


def read_headers(folder: Path, described: str) -> dict[str, Stored]:
    """Every tensor of the checkpoint in ``folder``, from the headers of its files.

    Raises UserError when two files hold different numbers under one name.
    """
    from safetensors import safe_open

    stored: dict[str, Stored] = {}
    twice: defaultdict[str, list[str]] = defaultdict(list)
    for path in weight_files(folder):
        with safe_open(path, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118  (no mapping)
                part = opened.get_slice(name)
                if name in stored:
                    twice[name] += [stored[name].file, path.name]
                stored[name] = Stored(path.name, tuple(part.get_shape()), part.get_dtype())
    for name, files in twice.items():
        if not _same(folder, [(file, name) for file in files]):
            raise UserError(
                f"{described} cannot be used as a model: {' and '.join(dict.fromkeys(files))} both"
                f" hold a tensor {name}, with different numbers. Remove the file that is not of"
                " this checkpoint, or save the model again."
            )
    return stored


def check_folder(folder: Path, described: str) -> list[str]:
    """Compare the checkpoint in ``folder`` with its `config.json`; return what is worth saying.

    No weights are read but those of an embedding that is said to be tied and is stored twice.
    Raises UserError for a checkpoint that is not the model's (see the module), and for a
    configuration that no model can be made of.
    """
    import torch

    quiet()
    stored = read_headers(folder, described)
    configuration = read_configuration(folder, described)
    try:
        kind, configuration = language_part(configuration)
        with torch.device("meta"):
            shell = kind.from_config(
                configuration, attn_implementation="eager", trust_remote_code=False
            )
    except BROKEN as reason:
        if isinstance(reason, RuntimeError) and "meta" in str(reason).lower():
            return []  # an operation that meta tensors lack: the real load will judge
        raise UserError(impossible(described, reason)) from reason
    state = {
        name: torch.empty(one.shape, dtype=torch.float32, device="meta")
        for name, one in stored.items()
    }
    loader: Any = type(shell)
    try:
        model, info = loader.from_pretrained(
            None,
            config=shell.config,
            state_dict=state,
            device_map={"": "meta"},
            dtype=torch.float32,
            attn_implementation="eager",
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except RuntimeError as reason:
        if "conversion" not in str(reason):
            return []
        raise UserError(unconvertible(described, type(shell).__name__)) from reason
    except BROKEN:
        return []
    remarks = judge(Report.of(model, info), stored, described, model.config)
    return remarks + _tied_twice(model, stored, folder)


def load_checkpoint(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model of ``folder``, whose every tensor is from its checkpoint.

    Raises UserError when it is not (see the module).
    """
    described = str(folder)
    configuration = read_configuration(folder, described)
    try:
        loader, configuration = language_part(configuration)
        model, info = loader.from_pretrained(
            folder,
            config=configuration,
            dtype=dtype,
            attn_implementation="eager",
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except BROKEN as reason:
        if isinstance(reason, RuntimeError) and "memory" in str(reason):
            raise
        if isinstance(reason, RuntimeError) and "conversion" in str(reason):
            raise UserError(unconvertible(described, "the model")) from reason
        raise UserError(impossible(described, reason)) from reason
    stored = read_headers(folder, described)
    for remark in judge(Report.of(model, info), stored, described, model.config):
        warnings.warn(remark, stacklevel=3)
    return cast("PreTrainedModel", model)


def judge(
    report: Report, stored: Mapping[str, Stored], described: str, configuration: PreTrainedConfig
) -> list[str]:
    """Return what is left out of the checkpoint and may be, in sentences.

    Raises UserError when the model would not be what the file says.
    """
    left_out, strange = _sort_unexpected(report, stored, configuration)
    faults = []
    if report.missing:
        faults.append(
            f"of the {len(report.expected)} tensors of {report.architecture}, {len(report.missing)}"
            f" {'is' if len(report.missing) == 1 else 'are'} not in the checkpoint"
            f" ({_some(report.missing)}) and would be random numbers"
        )
    if strange:
        faults.append(
            f"{report.architecture} has no place for {len(strange)} of the checkpoint's"
            f" {len(stored)} tensors ({_some(strange)})"
        )
    if report.mismatched:
        shown = [
            f"{name}: {list(found)} in the checkpoint, {list(wanted)} by config.json"
            for name, found, wanted in report.mismatched
        ]
        faults.append(
            f"{len(report.mismatched)} tensor{'s have' if len(shown) > 1 else ' has'} another shape"
            f" ({_some(shown, '; ')})"
        )
    whole = [
        name
        for name, one in stored.items()
        if one.dtype not in REAL and _is_weight(name, one) and not _is_left_out(name, left_out)
    ]
    if whole:
        faults.append(
            f"{len(whole)} tensors hold whole numbers ({stored[whole[0]].dtype}) where the model"
            f" has real ones ({_some(whole)})"
        )
    if faults:
        cause = likely_cause(
            missing=report.missing,
            unexpected=strange,
            mismatched=report.mismatched,
            whole=whole,
            expected=report.expected,
            stored={name: one.file for name, one in stored.items()},
            configuration=configuration,
        )
        raise UserError(f"{described} cannot be used as a model: {'; '.join(faults)}.\n{cause}")
    return [
        f"Left out of the checkpoint, because {why}: {_some(names)}."
        for why, names in left_out.items()
    ]


def read_configuration(folder: Path, described: str) -> PreTrainedConfig:
    """The folder's `config.json` as transformers reads it, without running any code of its own.

    Raises UserError when it cannot.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (*BROKEN, StrictDataclassError) as reason:
        raise UserError(impossible(described, reason)) from reason


def impossible(described: str, reason: BaseException) -> str:
    """What to say when no model can be made of a configuration."""
    said = textwrap.shorten(str(reason), 200) or "no reason given"
    return (
        f"{described} cannot be used as a model: transformers can make no causal language model of"
        f" it ({type(reason).__name__}: {said}). Correct its config.json, or save the model again"
        " with save_pretrained."
    )


def unconvertible(described: str, architecture: str) -> str:
    """What to say when transformers fails to bring tensors into the form that the model wants."""
    return (
        f"{described} cannot be used as a model: its tensors cannot be brought into the form that"
        f" {architecture} has, most likely because some are missing or of another shape (experts of"
        " one layer that are not all there, for example). Fetch or save the checkpoint again."
    )


def quiet() -> None:
    """Keep transformers from printing reports of its own: they are told in our words."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


# -------------------------------------------------------------------------------------- small ones


def _sort_unexpected(
    report: Report, stored: Mapping[str, Stored], configuration: PreTrainedConfig
) -> tuple[dict[str, list[str]], list[str]]:
    """Part tensors without a place into those that may be left out, by reason, and the others."""
    names = set(report.unexpected)
    for pattern in (NOT_TEXT, FURTHER_TOKENS):
        # Some architectures ignore such tensors without reporting them.
        if not any(map(pattern.search, report.expected)):
            names |= {name for name in stored if pattern.search(name)}
    left_out: defaultdict[str, list[str]] = defaultdict(list)
    strange = []
    text: Any = configuration.get_text_config(decoder=True)
    layers = getattr(text, "num_hidden_layers", None)
    further = int(getattr(text, "num_nextn_predict_layers", None) or 0)
    for name in sorted(names):
        shape = stored[name].shape if name in stored else ()
        layer = re.search(r"(^|\.)(?:layers|h|blocks)\.(\d+)\.", name)
        if KNOWN_BUFFERS.search(name):
            continue
        if ATTENTION_MASK.search(name) and len(shape) == 4 and shape[0] == shape[1] == 1:
            continue
        if FURTHER_TOKENS.search(name) or (
            layer and layers and 0 <= int(layer.group(2)) - layers < further
        ):
            left_out["further tokens are not predicted here"].append(name)
        elif NOT_TEXT.search(name):
            left_out["only text is read here"].append(name)
        else:
            strange.append(name)
    return left_out, strange


def _is_weight(name: str, stored: Stored) -> bool:
    buffer = KNOWN_BUFFERS.search(name) or ATTENTION_MASK.search(name)
    return name.endswith(("weight", "weights", "bias", "_proj")) and not (
        buffer and len(stored.shape) != 2
    )


def _is_left_out(name: str, left_out: Mapping[str, list[str]]) -> bool:
    return any(name in names for names in left_out.values())


def _some(names: list[str], separator: str = ", ") -> str:
    more = len(names) - SHOWN
    return separator.join(names[:SHOWN]) + (f"{separator}and {more} more" if more > 0 else "")


def _same(folder: Path, places: list[tuple[str, str]]) -> bool:
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


def _tied_twice(model: Any, stored: Mapping[str, Stored], folder: Path) -> list[str]:
    """Say where weights that should be one are stored twice, with different numbers."""
    prefix = f"{model.base_model_prefix}."
    remarks = []
    for pair in getattr(model, "all_tied_weights_keys", {}).items():
        names = [
            next((n for n in (one, one.removeprefix(prefix)) if n in stored), "") for one in pair
        ]
        if all(names) and not _same(folder, [(stored[name].file, name) for name in names]):
            remarks.append(
                f"config.json ties {names[0]} to {names[1]}, but the checkpoint holds different"
                " numbers for them: each is used as it is stored."
            )
    return remarks
