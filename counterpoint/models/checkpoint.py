"""Whether a checkpoint holds the model that its `config.json` describes, tensor by tensor.

transformers completes what a checkpoint lacks with random numbers and leaves out what it does not
know. Here its own loading report is read, and either is refused with the likely cause:

* a tensor of the model that is not in the checkpoint and not tied to one that is;
* a tensor of the checkpoint that the model has no place for, unless it is a buffer of old releases
  (`KNOWN_BUFFERS`), reads something else than text or predicts further tokens;
* a tensor of another shape;
* two tensors for one place, of which transformers takes the one whose name comes first;
* experts that are not numbered from 0 on, which it stacks as if they were;
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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from counterpoint.errors import UserError
from counterpoint.models.automatic_class import language_part
from counterpoint.models.misfit_causes import likely_cause
from counterpoint.models.rotary import unread_setting, unrotated_share
from counterpoint.models.weight_files import INDEX, WHOLE, shards_of_index, weight_names

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

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
    AssertionError,
    AttributeError,
    ImportError,
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
    of all tensors of the model; ``sources`` the names in the checkpoint by their place in the model
    and by the pattern of transformers that makes one tensor of several, None where none does;
    ``homeless`` those that have no place, with the names that transformers gives them (which are
    those of ``unexpected``, less what the architecture ignores); ``integers`` the places that hold
    whole numbers.
    """

    architecture: str
    missing: list[str]
    unexpected: list[str]
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]]
    expected: list[str] = field(default_factory=list)
    sources: Mapping[str, Mapping[str | None, list[str]]] = field(default_factory=dict)
    homeless: Mapping[str, str] = field(default_factory=dict)
    integers: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, model: PreTrainedModel, info: Mapping[str, Any], stored: Mapping[str, Stored]
    ) -> Report:
        """From what `from_pretrained(…, output_loading_info=True)` returns."""
        state = model.state_dict()
        sources, homeless = _sources(model, stored)
        return cls(
            architecture=type(model).__name__,
            missing=sorted(info["missing_keys"]),
            unexpected=sorted(info["unexpected_keys"]),
            mismatched=sorted(
                (name, tuple(found), tuple(wanted))
                for name, found, wanted in info["mismatched_keys"]
            ),
            expected=list(state),
            sources=sources,
            homeless=homeless,
            integers=frozenset(n for n, one in state.items() if not one.is_floating_point()),
        )

    def placed(self) -> dict[str, str]:
        """The place in the model of each tensor of the checkpoint that has one."""
        return {
            name: place
            for place, by_pattern in self.sources.items()
            for names in by_pattern.values()
            for name in names
        }


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
        if not _same(folder, [(file, name) for file in files]):
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
            if name not in whole or not _same(folder, [(WHOLE, name), (file, name)]):
                raise UserError(
                    f"{described} cannot be used as a model: {WHOLE} and the files that {INDEX}"
                    f" names hold different weights ({name}, for example). Remove those that are"
                    " not of this model."
                )


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
    _refuse_share(shell, folder, described)
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
    report = Report.of(model, info, stored)
    _refuse_ambiguous(report, stored, folder, described)
    remarks = judge(report, stored, described, model.config)
    return [
        *remarks,
        *_tied_twice(model, stored, folder),
        *_other_frequencies(shell, stored, folder),
    ]


def load_checkpoint(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model of ``folder``, whose every tensor is from its checkpoint.

    Raises UserError when it is not (see the module).
    """
    described = str(folder)
    configuration = read_configuration(folder, described)
    refuse_two(folder, described)
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
    _refuse_share(model, folder, described)
    stored = read_headers(folder, described)
    report = Report.of(model, info, stored)
    _refuse_ambiguous(report, stored, folder, described)
    for remark in judge(report, stored, described, model.config):
        warnings.warn(remark, stacklevel=3)
    _restore_padding(model, report, stored, folder)
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
    places = report.placed()
    whole = [
        name
        for name, one in stored.items()
        if one.dtype not in REAL
        and _is_weight(name, one)
        and not _is_left_out(name, left_out)
        and places.get(name) not in report.integers
    ]
    if whole:
        faults.append(
            f"{len(whole)} {'tensor holds' if len(whole) == 1 else 'tensors hold'} whole or packed"
            f" numbers ({stored[whole[0]].dtype}) where the model has real ones ({_some(whole)})"
        )
    if faults:
        cause = likely_cause(
            missing=report.missing,
            unexpected=[report.homeless[name] for name in strange],
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

    Raises UserError when it cannot, and where a rotary setting of the file would be passed over.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (*BROKEN, StrictDataclassError) as reason:
        raise UserError(impossible(described, reason)) from reason
    unread = unread_setting(_raw(folder), found)
    if unread:
        raise _unread(described, unread)
    return found


def _raw(folder: Path) -> dict[str, Any]:
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return raw if isinstance(raw, dict) else {}


def _unread(described: str, unread: str) -> UserError:
    return UserError(
        f"{described} cannot be used as a model: config.json says {unread}. It would be another"
        " model. Correct config.json, and write what is meant as `rope_parameters` of this release"
        " of transformers has it."
    )


def _refuse_share(model: PreTrainedModel, folder: Path, described: str) -> None:
    unread = unrotated_share(_raw(folder), model)
    if unread:
        raise _unread(described, unread)


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
    left_out: defaultdict[str, list[str]] = defaultdict(list)
    strange = []
    text: Any = configuration.get_text_config(decoder=True)
    layers = getattr(text, "num_hidden_layers", None)
    further = int(getattr(text, "num_nextn_predict_layers", None) or 0)
    for name, renamed in sorted(report.homeless.items()):
        shape = stored[name].shape
        layer = re.search(r"(^|\.)(?:layers|h|blocks)\.(\d+)\.", name)
        if KNOWN_BUFFERS.search(name):
            continue
        if ATTENTION_MASK.search(name):
            if len(shape) != 4 or shape[:2] != (1, 1):
                strange.append(name)
            continue
        if FURTHER_TOKENS.search(name) or (
            layer and layers and 0 <= int(layer.group(2)) - layers < further
        ):
            left_out["further tokens are not predicted here"].append(name)
        elif NOT_TEXT.search(name):
            left_out["only text is read here"].append(name)
        elif renamed in report.unexpected:
            strange.append(name)
        else:
            left_out[f"transformers' {report.architecture} has no use for them"].append(name)
    return left_out, strange


def _header(folder: Path, file: str) -> dict[str, Stored]:
    from safetensors import safe_open

    found = {}
    with safe_open(folder / file, framework="numpy") as opened:
        for name in opened.keys():  # noqa: SIM118  (no mapping)
            part = opened.get_slice(name)
            found[name] = Stored(file, tuple(part.get_shape()), part.get_dtype())
    return found


def _is_weight(name: str, stored: Stored) -> bool:
    buffer = KNOWN_BUFFERS.search(name) or ATTENTION_MASK.search(name)
    return not (buffer and len(stored.shape) != 2)


def _refuse_ambiguous(
    report: Report, stored: Mapping[str, Stored], folder: Path, described: str
) -> None:
    """Raise UserError where several tensors are meant for one place, and not in one order."""
    for place, by_pattern in report.sources.items():
        alone = [name for pattern, names in by_pattern.items() if pattern is None for name in names]
        stacked = {p: names for p, names in by_pattern.items() if p is not None}
        names = [*alone, *(name for names in stacked.values() for name in names)]
        if (alone and stacked) or (
            len(alone) > 1 and not _same(folder, [(stored[name].file, name) for name in alone])
        ):
            raise UserError(
                f"{described} cannot be used as a model: {_some(names)} are all meant for {place},"
                " with different numbers or in different forms. Save the model again with"
                " save_pretrained, or remove those that are not of it."
            )
        for names in stacked.values():
            numbers = _numbered(names)
            if numbers is not None and numbers != list(range(len(names))):
                shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
                raise UserError(
                    f"{described} cannot be used as a model: the parts of {place} are numbered"
                    f" {shown} in the checkpoint ({_some(names, ', ', 2)}), expected 0 to"
                    f" {len(names) - 1}: some are lacking, or it was made of several checkpoints."
                    " Fetch it again, or save it again with save_pretrained."
                )


def _sources(
    model: PreTrainedModel, stored: Mapping[str, Stored]
) -> tuple[dict[str, dict[str | None, list[str]]], dict[str, str]]:
    """The names in the checkpoint by their place in the model, and those that have none.

    As `Report.sources` and `Report.homeless`; found as transformers finds them.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        dot_natural_key,
        rename_source_key,
    )

    conversions = get_model_conversion_mapping(model)
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    converters = [one for one in conversions if isinstance(one, WeightConverter)]
    targets = {one: each.target_patterns for each in converters for one in each.source_patterns}
    prefix, state = model.base_model_prefix, model.state_dict()
    found: defaultdict[str, defaultdict[str | None, list[str]]] = defaultdict(
        lambda: defaultdict(list)
    )
    homeless = {}
    for name in sorted(stored, key=dot_natural_key):
        place, pattern = rename_source_key(name, renamings, converters, prefix, state)
        if place not in state and name in state:
            place, pattern = rename_source_key(name, [], [], prefix, state)
        if place not in state:
            homeless[name] = place
            continue
        # One tensor may become several: the first of their places is named.
        first, *others = targets[pattern] if pattern else [""]
        for each in (place, *(place.replace(first, other) for other in others)):
            if each in state:
                found[each][pattern].append(name)
    return {place: dict(by_pattern) for place, by_pattern in found.items()}, homeless


def _other_frequencies(
    shell: PreTrainedModel, stored: Mapping[str, Stored], folder: Path
) -> list[str]:
    """Say where an old checkpoint has other rotary frequencies than its config.json gives."""
    import torch
    from safetensors import safe_open

    names = [name for name in stored if name.endswith("rotary_emb.inv_freq")]
    computed: list[torch.Tensor] = []
    for module in shell.modules() if names else ():
        if isinstance(getattr(module, "inv_freq", None), torch.Tensor):
            rotary: Any = type(module)
            with suppress(*BROKEN):
                computed.append(rotary(module.config).inv_freq)
    other = []
    for name in names if computed else ():
        with safe_open(folder / stored[name].file, framework="pt") as opened:
            kept = opened.get_tensor(name).float()
        # It may have been rounded to half precision.
        if not any(
            kept.shape == one.shape and torch.allclose(kept, one, rtol=1e-2, atol=1e-6)
            for one in computed
        ):
            other.append(name)
    if not other:
        return []
    return [
        f"The checkpoint has other rotary frequencies ({_some(other)}) than config.json gives."
        " Those of config.json are used; it may lack a scaling (rope_parameters) that the model was"
        " made with."
    ]


def _restore_padding(
    model: PreTrainedModel, report: Report, stored: Mapping[str, Stored], folder: Path
) -> None:
    """Give the padding token the embedding that the checkpoint has.

    Some architectures of transformers (Youtu) set it to zero after they were loaded, which tells
    where that token is the beginning of sequences as well.
    """
    import torch
    from safetensors import safe_open

    for name, module in model.named_modules():
        row = getattr(module, "padding_idx", None)
        names = report.sources.get(f"{name}.weight", {}).get(None, [])
        if not isinstance(module, torch.nn.Embedding) or row is None or not names:
            continue
        with safe_open(folder / stored[names[0]].file, framework="pt") as opened:
            kept = opened.get_slice(names[0])[row : row + 1]
        with torch.no_grad():
            module.weight[row] = kept[0].to(module.weight)


def _numbered(names: list[str]) -> list[int] | None:
    """The numbers in which names differ, one of each; None where they differ in more or less."""
    parts = [name.split(".") for name in names]
    if len({len(each) for each in parts}) != 1:
        return None
    columns = [column for column in zip(*parts, strict=True) if len(set(column)) > 1]
    if len(columns) != 1 or not all(part.isdecimal() for part in columns[0]):
        return None
    return [int(part) for part in columns[0]]


def _is_left_out(name: str, left_out: Mapping[str, list[str]]) -> bool:
    return any(name in names for names in left_out.values())


def _some(names: list[str], separator: str = ", ", shown: int = SHOWN) -> str:
    more = len(names) - shown
    return separator.join(names[:shown]) + (f"{separator}and {more} more" if more > 0 else "")


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
