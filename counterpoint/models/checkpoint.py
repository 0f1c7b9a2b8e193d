"""Whether a checkpoint holds the model that its `config.json` describes, tensor by tensor.

`check_folder` needs the headers of the files alone: transformers' own loading report is made of
tensors on the meta device, so that renaming, stacking and tying are transformers' own.
`load_checkpoint` loads for real. What either reported is judged in `loading_report`: that module
lists what is refused.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from counterpoint.errors import UserError
from counterpoint.files.yaml_and_json import parsed_json
from counterpoint.models.automatic_class import language_part
from counterpoint.models.loading_report import Report, judge, refuse_ambiguous, some_of
from counterpoint.models.rotary import unread_setting, unrotated_share
from counterpoint.models.stored_tensors import Stored, read_headers, refuse_two, same_numbers

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel


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
    refuse_ambiguous(report, stored, folder, described)
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
    refuse_ambiguous(report, stored, folder, described)
    for remark in judge(report, stored, described, model.config):
        warnings.warn(remark, stacklevel=3)
    _restore_padding(model, report, stored, folder)
    return cast("PreTrainedModel", model)


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
    raw = parsed_json((folder / "config.json").read_text(encoding="utf-8"))
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
        f"The checkpoint has other rotary frequencies ({some_of(other)}) than config.json gives."
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


def _tied_twice(model: Any, stored: Mapping[str, Stored], folder: Path) -> list[str]:
    """Say where weights that should be one are stored twice, with different numbers."""
    prefix = f"{model.base_model_prefix}."
    remarks = []
    for pair in getattr(model, "all_tied_weights_keys", {}).items():
        names = [
            next((n for n in (one, one.removeprefix(prefix)) if n in stored), "") for one in pair
        ]
        if all(names) and not same_numbers(folder, [(stored[name].file, name) for name in names]):
            remarks.append(
                f"config.json ties {names[0]} to {names[1]}, but the checkpoint holds different"
                " numbers for them: each is used as it is stored."
            )
    return remarks
