"""What transformers reports of loading a checkpoint, and which of it makes the checkpoint refused.

transformers completes what a checkpoint lacks with random numbers and leaves out what it does not
know. Here its own loading report is read, and either is refused with the likely cause:

* a tensor of the model that is not in the checkpoint and not tied to one that is;
* a tensor of the checkpoint that the model has no place for, unless it is a buffer of old releases
  (`KNOWN_BUFFERS`), reads something else than text or predicts further tokens;
* a tensor of another shape;
* two tensors for one place, of which transformers takes the one whose name comes first;
* experts that are not numbered from 0 on, which it stacks as if they were;
* whole numbers where the model has real ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoint.errors import UserError
from counterpoint.models.misfit_causes import likely_cause
from counterpoint.models.stored_tensors import Stored, same_numbers

if TYPE_CHECKING:
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
            f" ({some_of(report.missing)}) and would be random numbers"
        )
    if strange:
        faults.append(
            f"{report.architecture} has no place for {len(strange)} of the checkpoint's"
            f" {len(stored)} tensors ({some_of(strange)})"
        )
    if report.mismatched:
        shown = [
            f"{name}: {list(found)} in the checkpoint, {list(wanted)} by config.json"
            for name, found, wanted in report.mismatched
        ]
        faults.append(
            f"{len(report.mismatched)} tensor{'s have' if len(shown) > 1 else ' has'} another shape"
            f" ({some_of(shown, '; ')})"
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
            f" numbers ({stored[whole[0]].dtype}) where the model has real ones ({some_of(whole)})"
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
        f"Left out of the checkpoint, because {why}: {some_of(names)}."
        for why, names in left_out.items()
    ]


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


def _is_weight(name: str, stored: Stored) -> bool:
    buffer = KNOWN_BUFFERS.search(name) or ATTENTION_MASK.search(name)
    return not (buffer and len(stored.shape) != 2)


def refuse_ambiguous(
    report: Report, stored: Mapping[str, Stored], folder: Path, described: str
) -> None:
    """Raise UserError where several tensors are meant for one place, and not in one order."""
    for place, by_pattern in report.sources.items():
        alone = [name for pattern, names in by_pattern.items() if pattern is None for name in names]
        stacked = {p: names for p, names in by_pattern.items() if p is not None}
        names = [*alone, *(name for names in stacked.values() for name in names)]
        if (alone and stacked) or (
            len(alone) > 1
            and not same_numbers(folder, [(stored[name].file, name) for name in alone])
        ):
            raise UserError(
                f"{described} cannot be used as a model: {some_of(names)} are all meant for"
                f" {place}, with different numbers or in different forms. Save the model again with"
                " save_pretrained, or remove those that are not of it."
            )
        for names in stacked.values():
            numbers = _numbered(names)
            if numbers is not None and numbers != list(range(len(names))):
                shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
                raise UserError(
                    f"{described} cannot be used as a model: the parts of {place} are numbered"
                    f" {shown} in the checkpoint ({some_of(names, ', ', 2)}), expected 0 to"
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


def some_of(names: list[str], separator: str = ", ", shown: int = SHOWN) -> str:
    more = len(names) - shown
    return separator.join(names[:shown]) + (f"{separator}and {more} more" if more > 0 else "")
