"""Which module of a Hugging Face model is a block, an attention, an MLP; see `architecture`."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoint.errors import UserError
from counterpoint.models.automatic_class import language_part
from counterpoint.models.declared_kind import check_declared
from counterpoint.models.no_subprocesses import sealed

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

UNKNOWN = (UserError,)
"""What `keep_names` may raise: an architecture that cannot be measured, and why."""


@dataclass(frozen=True)
class BlockNames:
    """Dotted names within one block; None where the block has no such part."""

    attention: str | None
    """The module whose heads are measured; None for a block without attention (Mamba,
    convolution, linear attention)."""
    output_projection: str | None
    """Within the attention module."""
    mlp: str | None
    """None where the MLP's layers stand in the block itself (OPT), or there is none."""


@dataclass(frozen=True)
class ModuleNames:
    """Dotted names, as the Hugging Face model has them, of the modules that are read or shifted."""

    blocks: str
    """The `nn.ModuleList` of all blocks."""
    embedding: str
    layers: tuple[BlockNames, ...]
    """One for each block."""


def bridge(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> TransformerBridge:
    """TransformerLens' view of ``hf``, whose modules it wraps in place.

    It gets a copy of the ``tokenizer``, since it names tokens in it that the tokenizer lacks (the
    beginning of a sequence becomes its end), and no means to install what a model may want.
    """
    from transformer_lens.model_bridge import TransformerBridge

    parameter = next(hf.parameters())
    # TransformerLens speaks through the root logger about choices that are not the user's here.
    logging.getLogger("transformer_lens").setLevel(logging.ERROR)
    with sealed():
        return TransformerBridge.boot_transformers(
            hf.config.name_or_path or "local",
            hf_model=hf,
            tokenizer=copy.deepcopy(tokenizer),
            device=str(parameter.device),
            dtype=parameter.dtype,
        )


def keep_names(folder: str | Path) -> ModuleNames:
    """The names of the modules of the model in ``folder``, from its configuration alone.

    Neither weights nor tokenizer are read, so that a model can be refused as soon as it is there.
    Raises UserError, with the reason, for an architecture that cannot be measured or built.
    """
    import torch
    from transformers import AutoConfig

    from counterpoint.models.architecture import discover

    # Whatever a library may raise of a configuration that it did not write, it is the reason.
    try:
        json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_built(folder, "read its config.json", error) from error
    check_declared(Path(folder), str(folder), str(folder))
    try:
        configuration = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise _not_built(folder, "read its config.json", error) from error
    try:
        kind, configuration = language_part(configuration)
        with torch.device("meta"):
            hf = kind.from_config(configuration, attn_implementation="eager")
    except Exception as error:
        raise _not_built(folder, "build the model", error) from error
    return discover(hf)


def _not_built(folder: str | Path, what: str, error: Exception) -> UserError:
    said = " ".join(str(error).split())
    return UserError(
        f"{folder}: transformers cannot {what}: {type(error).__name__}: {said[:300]}. Choose a"
        " model whose architecture transformers has as a causal language model, without code of its"
        " own."
    )
