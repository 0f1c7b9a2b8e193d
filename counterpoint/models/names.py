"""Which module of a Hugging Face model is a block, an attention, an MLP: TransformerLens knows.

They are read from TransformerLens' architecture adapters, so that no architecture needs code of its
own here. Importing and asking it takes seconds, so the answer is kept beside the model
(`module_names.json`) when that is fetched; a folder without one is asked for at each load.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoint.errors import UserError
from counterpoint.files import write_json
from counterpoint.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FILE = "module_names.json"

UNKNOWN = (AttributeError, LookupError, NotImplementedError, TypeError, UserError, ValueError)
"""What `keep_names` may raise for an architecture that cannot be asked for in this way."""


@dataclass(frozen=True)
class ModuleNames:
    """Dotted names, as the Hugging Face model has them, of the modules that are read or shifted."""

    blocks: str
    attention: str
    mlp: str
    output_projection: str
    embedding: str


def bridge(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> TransformerBridge:
    """TransformerLens' view of ``hf``, whose modules it wraps in place."""
    from transformer_lens.model_bridge import TransformerBridge

    parameter = next(hf.parameters())
    # TransformerLens speaks through the root logger about choices that are not the user's here.
    logging.getLogger("transformer_lens").setLevel(logging.ERROR)
    return TransformerBridge.boot_transformers(
        hf.config.name_or_path or "local",
        hf_model=hf,
        tokenizer=tokenizer,
        device=str(parameter.device),
        dtype=parameter.dtype,
    )


def module_names(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> ModuleNames:
    """Where TransformerLens' adapter finds the modules of ``hf``, which it wraps in place.

    Raises UserError when TransformerLens does not know the architecture, or it has no such part.
    """
    architecture = type(hf).__name__
    try:
        known = bridge(hf, tokenizer)
    except ValueError as unknown:
        reason = str(unknown).partition(". ")[0]
        raise UserError(
            f"model architecture {architecture}: TransformerLens does not know it ({reason})."
            " Choose a model of another architecture, for example a GPT-2, Llama or Gemma."
        ) from unknown
    try:
        mapping: Any = known.adapter.component_mapping
        parts = mapping["blocks"].submodules
        return ModuleNames(
            blocks=mapping["blocks"].name,
            attention=parts["attn"].name,
            mlp=parts["mlp"].name,
            output_projection=parts["attn"].submodules["o"].name,
            embedding=mapping["embed"].name,
        )
    except (KeyError, AttributeError) as missing:
        raise UserError(
            f"model architecture {architecture}: TransformerLens names no {missing} in it;"
            " Counterpoint needs a decoder whose blocks have an attention with an output"
            " projection and an MLP. Choose a decoder-only model."
        ) from missing


def keep_names(folder: str | Path) -> ModuleNames:
    """Put the names into the model's ``folder``.

    They depend neither on the weights, which are not read, nor on the number of layers: a model of
    one, with whatever stands in memory, costs nothing.

    Raises one of `UNKNOWN` for an architecture that TransformerLens does not know, or whose
    configuration allows no single layer.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    configuration = AutoConfig.from_pretrained(folder, local_files_only=True)
    text = configuration.get_text_config(decoder=True)
    text.num_hidden_layers = 1
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    with torch.device("meta"):
        hf = AutoModelForCausalLM.from_config(configuration, attn_implementation="eager")
    # TransformerLens splits weights that hold queries, keys and values together.
    hf.to_empty(device="cpu")
    tokenizer = load_tokenizer(folder)
    architecture = type(hf).__name__
    names = module_names(hf, tokenizer)
    write_json({"architecture": architecture, **asdict(names)}, Path(folder) / FILE)
    return names


def kept_names(folder: str | Path, architecture: str) -> ModuleNames | None:
    """What `keep_names` put there for this architecture; None where there is nothing."""
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    return ModuleNames(**kept) if kept.pop("architecture") == architecture else None
