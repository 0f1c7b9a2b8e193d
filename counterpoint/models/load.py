"""A language model as Counterpoint sees it: the plain Hugging Face modules, named by
TransformerLens.

The measurements run on the Hugging Face modules themselves, with eager attention; `names` says
which is which.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from counterpoint.errors import UserError
from counterpoint.models.names import ModuleNames, bridge, kept_names, module_names
from counterpoint.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@dataclass(eq=False)
class LanguageModel:
    """A causal language model with its tokenizer and the modules that the engine needs.

    ``hf`` is in evaluation mode and none of its parameters asks for a gradient.
    """

    hf: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    names: ModuleNames
    prepend_bos: bool = True

    @property
    def device(self) -> torch.device:
        return next(self.hf.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.hf.parameters()).dtype

    @cached_property
    def blocks(self) -> list[nn.Module]:
        return list(cast(nn.ModuleList, self.hf.get_submodule(self.names.blocks)))

    @cached_property
    def attentions(self) -> list[nn.Module]:
        return [block.get_submodule(self.names.attention) for block in self.blocks]

    @cached_property
    def mlps(self) -> list[nn.Module]:
        return [block.get_submodule(self.names.mlp) for block in self.blocks]

    @cached_property
    def output_projections(self) -> list[nn.Module]:
        """The linear map from the concatenated head values z to the attention output, per layer."""
        return [
            attention.get_submodule(self.names.output_projection) for attention in self.attentions
        ]

    @cached_property
    def embedding(self) -> nn.Embedding:
        return cast(nn.Embedding, self.hf.get_submodule(self.names.embedding))

    @cached_property
    def submodules_of_blocks(self) -> list[nn.Module]:
        """Every module inside the blocks."""
        return [module for block in self.blocks for module in block.modules()]

    @property
    def n_layers(self) -> int:
        return len(self.blocks)

    @cached_property
    def _text_config(self) -> Any:
        return self.hf.config.get_text_config(decoder=True)

    @property
    def n_heads(self) -> int:
        """Query heads per layer."""
        return int(self._text_config.num_attention_heads)

    @property
    def n_key_value_heads(self) -> int:
        grouped = getattr(self._text_config, "num_key_value_heads", None)
        return int(grouped or self._text_config.num_attention_heads)

    @property
    def d_model(self) -> int:
        return int(self.embedding.weight.shape[1])

    @property
    def d_vocab(self) -> int:
        return int(self.embedding.weight.shape[0])

    @property
    def max_length(self) -> int:
        """The longest prompt, in tokens, that the position scheme was made for."""
        return int(getattr(self._text_config, "max_position_embeddings", None) or 2**31)

    @property
    def beginning_of_sequence(self) -> int | None:
        """The id put before every prompt, or None when the setting or the tokenizer has none."""
        return cast("int | None", self.tokenizer.bos_token_id) if self.prepend_bos else None

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, with the beginning-of-sequence id first where the setting asks."""
        first = self.beginning_of_sequence
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        return ids if first is None else [first, *ids]

    def decode(self, ids: list[int]) -> str:
        """The text of ``ids``, without a leading beginning-of-sequence id and without clean-up."""
        if ids and ids[0] == self.beginning_of_sequence:
            ids = ids[1:]
        return cast(str, self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def bridge(self) -> TransformerBridge:
        """TransformerLens' view of the same weights.

        The bridge wraps the modules it is given in place, so it gets a module tree of its own; the
        parameters are shared, which costs no memory.
        """
        return bridge(_share_weights(self.hf), self.tokenizer)


def _share_weights(hf: PreTrainedModel) -> PreTrainedModel:
    kept: dict[int, Any] = {id(tensor): tensor for tensor in (*hf.parameters(), *hf.buffers())}
    return copy.deepcopy(hf, kept)


def wrap(
    hf: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    prepend_bos: bool = True,
    names: ModuleNames | None = None,
) -> LanguageModel:
    """Make a `LanguageModel` of a Hugging Face model that is already in memory.

    TransformerLens is asked for the ``names`` of its modules where they are not given.
    Raises UserError for an encoder-decoder or a bidirectional model: re-entering at a layer is
    exact only where no earlier position depends on a later one.
    """
    architecture = type(hf).__name__
    configuration = hf.config
    if getattr(configuration, "is_encoder_decoder", False):
        raise UserError(
            f"model architecture {architecture} is an encoder-decoder; expected a decoder-only"
            " (causal) language model. Choose one, for example a GPT-2, Llama, GPT-NeoX or Gemma."
        )
    if getattr(configuration, "is_causal", True) is False or (
        not hasattr(hf, "lm_head") and (hf.get_output_embeddings() is None)
    ):
        raise UserError(
            f"model architecture {architecture} is not a causal language model; expected one that"
            " reads left to right and has an unembedding. Choose a decoder-only model."
        )
    hf.eval().requires_grad_(False)
    if getattr(configuration, "_attn_implementation", "eager") != "eager":
        hf.set_attn_implementation("eager")
    if names is None:
        names = module_names(_share_weights(hf), tokenizer)
    return LanguageModel(hf=hf, tokenizer=tokenizer, names=names, prepend_bos=prepend_bos)


def load_language_model(
    folder: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    prepend_bos: bool = True,
    threads: int | None = None,
) -> LanguageModel:
    """Load the model of ``folder`` (`resources/models/{model}`), without any network.

    ``dtype`` is one of `DTYPES`; ``threads`` bounds torch's threads within an operation.
    Raises UserError when the folder is no model, the device is absent or the dtype unknown.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is unknown; expected one of {', '.join(DTYPES)}.")
    check_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    if not (Path(folder) / "config.json").is_file():
        raise UserError(
            f"{folder}: no config.json there; expected a model folder that the `fetch_model` rule"
            " made. Run the workflow, or delete the folder so that it is fetched again."
        )
    tokenizer = load_tokenizer(folder)
    hf = AutoModelForCausalLM.from_pretrained(
        folder, dtype=DTYPES[dtype], attn_implementation="eager", local_files_only=True
    )
    nn.Module.to(hf, torch.device(device))
    names = kept_names(folder, type(hf).__name__)
    return wrap(hf, tokenizer, prepend_bos=prepend_bos, names=names)


def check_device(device: str) -> None:
    """Raise UserError when ``device`` (cpu, cuda, cuda:1, mps) is not on this machine."""
    kind = device.split(":")[0]
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if kind not in present:
        raise UserError(f"device {device!r} is unknown; expected cpu, cuda or mps.")
    if not present[kind]:
        raise UserError(
            f"device {device!r} was asked for, but torch {torch.__version__} finds none on this"
            " machine; set `device: cpu` for the study, or run where there is one."
        )
