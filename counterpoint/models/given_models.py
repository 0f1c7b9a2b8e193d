"""`load`: a model however a caller has it, by name, in a folder, or in memory.

What is read from disk is fetched as the workflow fetches it (`fetch`), once, into the folder of
`files.cache_folder`. A model in memory is measured on a copy that shares its weights
(`shared_weights`), one inside a TransformerLens bridge on the plain model that the bridge wraps
(`unwrapped_bridge`); neither is changed.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from counterpoint.errors import UserError
from counterpoint.files.artifacts import is_file, user_path, write_json
from counterpoint.files.cache_folder import models_folder
from counterpoint.global_state import unchanged_state
from counterpoint.models.fetch import fetch_model
from counterpoint.models.known_models import known_models, specified
from counterpoint.models.load import DTYPES, LanguageModel, check_device, load_language_model, wrap
from counterpoint.models.shared_weights import share_weights
from counterpoint.models.sources.local import local_files
from counterpoint.models.unchanged_folder import PROVENANCE
from counterpoint.models.unwrapped_bridge import is_bridge, unwrapped
from counterpoint.progress import say

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

SOURCE = "source.json"
"""Beside a model that was fetched from this machine: the files that it was made of."""


def load(
    model: str | os.PathLike[str] | PreTrainedModel | TransformerBridge | LanguageModel,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    device: str | None = None,
    dtype: str | None = None,
    prepend_bos: bool | None = None,
    progress: bool = True,
) -> LanguageModel:
    """Make a model ready to be measured.

    A caller's model, its tokenizer and everything global are afterwards as they were: the result
    has modules of its own over the same weights, which takes no memory for them (unless another
    device or format is asked for).

    Args:
        model: One of

            * a name: a model known by name (``"smollm2-135m-instruct"``, ``"gpt2"``; those of
              ``config.yaml``), a repository of the Hugging Face hub (``"EleutherAI/pythia-70m"``),
              or what TransformerLens calls one (``"pythia-70m"``, where it is installed). Fetched
              when it is first used, into ``resources/models`` of a checkout, else into the user's
              folder for caches (`counterpoint.files.cache_folder`);
            * a path: a folder that ``save_pretrained`` wrote, one of its safetensors files, or a
              GGUF file;
            * a causal language model of transformers in memory, with ``tokenizer``;
            * a TransformerLens ``TransformerBridge`` whose weights were not processed.
        tokenizer: The tokenizer of a model in memory. A bridge brings its own; what is read from
            disk has its own, and takes no other.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``. By default the CPU for what is
            read from disk, and where it is for a model in memory.
        dtype: ``"float32"``, ``"float64"`` or ``"bfloat16"``. By default float32 for what is read
            from disk, and what it is for a model in memory.
        prepend_bos: Whether the beginning-of-sequence token stands before each prompt. By default
            it does, and for a bridge as its ``cfg.default_prepend_bos`` says.
        progress: Whether a line is written for each step of fetching.

    Returns:
        The model, its tokenizer and the modules that are measured.

    Raises:
        UserError: With the reason and the remedy: for a name that is none, a folder that is no
            model, weights that are not those of its configuration, an architecture without heads
            that can be measured, a model in memory without a tokenizer, with hooks, on several
            devices, quantised or in float16, a bridge with processed weights, an index or hub that
            cannot be reached, a device that is absent, and an unknown format.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is unknown; expected one of {', '.join(DTYPES)}.")
    if device is not None:
        check_device(device)
    with unchanged_state(), _quiet_libraries():
        if isinstance(model, LanguageModel):
            return _in_memory(
                share_weights(model.hf),
                tokenizer or model.tokenizer,
                device,
                dtype,
                model.prepend_bos if prepend_bos is None else prepend_bos,
            )
        if isinstance(model, str | os.PathLike):
            if tokenizer is not None:
                raise UserError(
                    "tokenizer= is for a model in memory; a model with a name or a folder is read"
                    " with its own. Leave it out, or put its files into the model's folder."
                )
            return load_language_model(
                folder_of(os.fspath(model), progress=progress),
                device=device or "cpu",
                dtype=dtype or "float32",
                prepend_bos=prepend_bos is not False,
            )
        if is_bridge(model):
            bridge = cast("TransformerBridge", model)
            own = getattr(bridge.cfg, "default_prepend_bos", True)
            return _in_memory(
                unwrapped(bridge),
                tokenizer or bridge.tokenizer,
                device,
                dtype,
                own if prepend_bos is None else prepend_bos,
            )
        hf = _hugging_face(model)
        return _in_memory(share_weights(hf), tokenizer, device, dtype, prepend_bos is not False)


def _hugging_face(model: object) -> PreTrainedModel:
    """The model of transformers that ``model`` is or, compiled, wraps; refused if it is none."""
    from transformers import PreTrainedModel

    model = getattr(model, "_orig_mod", model)
    if isinstance(model, PreTrainedModel):
        return model
    kind = f"{type(model).__module__}.{type(model).__name__}"
    remedy = "Give a name, a folder, a model of transformers or a TransformerBridge."
    if kind.startswith("transformer_lens."):
        remedy = (
            "Give its name, or a TransformerBridge of it:"
            " transformer_lens.model_bridge.TransformerBridge.boot_transformers(name)."
        )
    elif kind.startswith("peft."):
        remedy = (
            "Merge the adapter into the weights: counterpoint.load(model.merge_and_unload(), …)."
        )
    elif isinstance(model, nn.Module):
        remedy = "Give the model of transformers that it wraps or was made from."
    raise UserError(f"a model of the type {kind} cannot be measured. {remedy}")


def _in_memory(
    hf: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    device: str | None,
    dtype: str | None,
    prepend_bos: bool,
) -> LanguageModel:
    """``hf``, which is our own copy, wrapped with a copy of ``tokenizer``."""
    if tokenizer is None:
        raise UserError(
            "a model in memory is measured with its tokenizer: counterpoint.load(model,"
            " tokenizer=tokenizer)."
        )
    if not all(hasattr(tokenizer, part) for part in ("encode", "decode", "bos_token_id")):
        raise UserError(
            f"tokenizer= is a {type(tokenizer).__name__}; expected a tokenizer of transformers, as"
            " AutoTokenizer.from_pretrained gives it."
        )
    if dtype is None and hf.dtype not in DTYPES.values():
        raise UserError(
            f"the model is in {str(hf.dtype).removeprefix('torch.')}, in which values on the way"
            " easily overflow or are rounded away; give another format:"
            ' counterpoint.load(model, …, dtype="float32").'
        )
    nn.Module.to(hf, None if device is None else torch.device(device), DTYPES.get(dtype or ""))
    return wrap(hf, copy.deepcopy(tokenizer), prepend_bos=prepend_bos)


# ---------------------------------------------------------------------------------------- folders


def folder_of(wanted: str, *, progress: bool = True) -> Path:
    """The folder of the model ``wanted``, a name or a path; fetched if it is not there.

    Raises UserError as `load` does.
    """
    from filelock import FileLock

    given = user_path(wanted)
    if (
        wanted not in known_models()
        and is_file(given / PROVENANCE)
        and is_file(given / "config.json")
    ):
        return given
    key, specification = _specified(wanted)
    folder = models_folder() / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{key}.lock")):
        if not _is_current(folder, specification):
            fetch_model(specification, folder, progress=say if progress else None)
            if specification["source"] == "local":
                write_json(_states(specification), _record(folder))
    return folder


def _specified(wanted: str) -> tuple[str, dict[str, Any]]:
    try:
        return specified(wanted, known_models())
    except UserError:
        repository = _alias_of_transformer_lens(wanted)
        if repository is None:
            raise
        asked = {"source": "huggingface", "repository": repository, "revision": "main"}
        return repository.replace("/", "--"), asked


def _alias_of_transformer_lens(name: str) -> str | None:
    """The repository that TransformerLens calls ``name``; None where it is not installed."""
    try:
        from transformer_lens.supported_models import MODEL_ALIASES, OFFICIAL_MODEL_NAMES
    except ImportError:
        return None
    if name in OFFICIAL_MODEL_NAMES:
        return name
    return next((official for official, own in MODEL_ALIASES.items() if name in own), None)


def _is_current(folder: Path, specification: Mapping[str, Any]) -> bool:
    """Whether ``folder`` was fetched, and from what ``specification`` says now."""
    try:
        made = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    asked = {key: value for key, value in specification.items() if value is not None}
    if not re.fullmatch(r"[0-9a-f]{40}", str(asked.get("revision", ""))):
        # A branch: what it was at when it was fetched is written down, and stays.
        asked.pop("revision", None)
    if asked["source"] == "local":
        asked.pop("path")
        try:
            before = json.loads(_record(folder).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if before != _states(specification):
            return False
    return all(made.get(key) == value for key, value in asked.items())


def _record(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{SOURCE}")


def _states(specification: Mapping[str, Any]) -> dict[str, list[int]]:
    """The files of a model on this machine with their sizes and times, as plain JSON values."""
    states = {str(path.resolve()): path.stat() for path in local_files(specification)}
    return {path: [state.st_size, state.st_mtime_ns] for path, state in states.items()}


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Let what libraries print afterwards be as the caller has set it."""
    from huggingface_hub import utils as hub
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars, downloads = (
        transformers_logging.is_progress_bar_enabled(),
        hub.are_progress_bars_disabled(),
    )
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        (hub.disable_progress_bars if downloads else hub.enable_progress_bars)()
