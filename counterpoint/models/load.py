"""A language model as Counterpoint sees it: the plain Hugging Face modules, and which is which.

The measurements run on the Hugging Face modules themselves, with eager attention;
`architecture_support` finds the blocks, attentions and MLPs among them.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from counterpoint.errors import UserError
from counterpoint.models.architecture_support import discover
from counterpoint.models.checkpoint import load_checkpoint, quiet
from counterpoint.models.declared_model_kind import check_declared
from counterpoint.models.module_names import ModuleNames
from counterpoint.models.rotary import begin_afresh
from counterpoint.models.tokenizers.tokenizer import load_tokenizer
from counterpoint.models.transformer_lens_view import bridge
from counterpoint.models.unchanged_folder import refuse_changed

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@dataclass(eq=False)
class LanguageModel:
    """A causal language model with its tokenizer and the modules that the engine needs.

    ``hf`` is in evaluation mode and none of its parameters asks for a gradient. ``words`` is the
    tokenizer, or the folder from which it is read when it is first asked for.
    """

    hf: PreTrainedModel
    words: PreTrainedTokenizerBase | Path
    names: ModuleNames
    prepend_bos: bool = True

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Raises UserError where `load_tokenizer` does, if it is only read now."""
        return load_tokenizer(self.words) if isinstance(self.words, Path) else self.words

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
    def attentions(self) -> list[nn.Module | None]:
        """The module whose heads are measured, per layer; None for a block without attention."""
        return [
            None if names.attention is None else block.get_submodule(names.attention)
            for block, names in zip(self.blocks, self.names.layers, strict=True)
        ]

    @cached_property
    def output_projections(self) -> list[nn.Module | None]:
        """The linear map from the concatenated head values z to the attention output, per layer."""
        return [
            None
            if attention is None or names.output_projection is None
            else attention.get_submodule(names.output_projection)
            for attention, names in zip(self.attentions, self.names.layers, strict=True)
        ]

    @cached_property
    def mlps(self) -> list[nn.Module | None]:
        """The MLP of each layer; None where its layers stand in the block, or it has none."""
        return [
            None if names.mlp is None else block.get_submodule(names.mlp)
            for block, names in zip(self.blocks, self.names.layers, strict=True)
        ]

    def attention(self, layer: int) -> nn.Module:
        """The attention of a layer that has heads."""
        return _present(self.attentions[layer], layer, "heads")

    def output_projection(self, layer: int) -> nn.Module:
        """The output projection of a layer that has heads."""
        return _present(self.output_projections[layer], layer, "heads")

    def mlp(self, layer: int) -> nn.Module:
        """The MLP of a layer that has one."""
        return _present(self.mlps[layer], layer, "MLP")

    @cached_property
    def head_layers(self) -> list[int]:
        """The layers that have heads to measure, lowest first."""
        found = zip(self.attentions, self.output_projections, strict=True)
        return [layer for layer, parts in enumerate(found) if None not in parts]

    @cached_property
    def mlp_layers(self) -> list[int]:
        """The layers that have an MLP to measure, lowest first."""
        return [layer for layer, mlp in enumerate(self.mlps) if mlp is not None]

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


def _present(module: nn.Module | None, layer: int, what: str) -> nn.Module:
    if module is None:
        raise ValueError(f"layer {layer} has no {what}")
    return module


def _share_weights(hf: PreTrainedModel) -> PreTrainedModel:
    kept: dict[int, Any] = {id(tensor): tensor for tensor in (*hf.parameters(), *hf.buffers())}
    return copy.deepcopy(hf, kept)


def _run_every_position(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Ask for the last logits by their positions instead of by their number.

    Gemma 4 runs the layers that share the keys of others on those positions alone where it is given
    a number; blocks are called with every position here.
    """
    last = kwargs.get("logits_to_keep")
    if isinstance(last, int) and last:
        kwargs = {**kwargs, "logits_to_keep": torch.arange(-last, 0)}
    return args, kwargs


def _rows_together(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give the unembedding its rows one after another in memory.

    The last position alone of each prompt (`logits_to_keep`) is a view whose rows stand apart, and
    of such a one torch multiplies every row by itself, reading all weights of the unembedding each
    time: for 128 rows of GPT-2's shape more than all blocks took together.
    """
    return tuple(each.contiguous() if isinstance(each, torch.Tensor) else each for each in args)


def wrap(
    hf: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | Path,
    *,
    prepend_bos: bool = True,
) -> LanguageModel:
    """Make a `LanguageModel` of a Hugging Face model that is already in memory.

    ``tokenizer`` may be the folder that it is read from when it is first asked for.

    Raises UserError, with the reason, for a model that `discover` finds no heads in, and for one
    that has no unembedding.
    """
    names = discover(hf)
    unembedding = hf.get_output_embeddings()
    if not hasattr(hf, "lm_head") and unembedding is None:
        raise UserError(
            f"model architecture {type(hf).__name__} is not a causal language model; expected one"
            " that reads left to right and has an unembedding. Choose a decoder-only model."
        )
    hf.eval().requires_grad_(False)
    if getattr(hf.config, "_attn_implementation", "eager") != "eager":
        hf.set_attn_implementation("eager")
    for module in hf.modules():
        # A config.json may ask for tuples, which the models of transformers cannot read themselves.
        if getattr(getattr(module, "config", None), "return_dict", None) is False:
            module.config.return_dict = True  # type: ignore[union-attr]
    begin_afresh(hf)
    if unembedding is not None:
        unembedding.register_forward_pre_hook(_rows_together)
    if getattr(hf.config.get_text_config(decoder=True), "num_kv_shared_layers", None):
        hf.register_forward_pre_hook(_run_every_position, with_kwargs=True)
    if hf.dtype == torch.float64:
        _run_experts_eagerly(hf)
    return LanguageModel(hf=hf, words=tokenizer, names=names, prepend_bos=prepend_bos)


def _run_experts_eagerly(hf: PreTrainedModel) -> None:
    """Mixtures of experts multiply in groups by default, which torch does not do in float64."""
    try:
        hf.set_experts_implementation("eager")
    except (AttributeError, TypeError, ValueError):
        return


def load_language_model(
    folder: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    prepend_bos: bool = True,
    threads: int | None = None,
    tokenizer_later: bool = False,
) -> LanguageModel:
    """Load the model of ``folder`` (`resources/models/{model}`), without any network.

    ``dtype`` is one of `DTYPES`; ``threads`` bounds torch's threads within an operation. With
    ``tokenizer_later`` the tokenizer is read when it is first asked for, by jobs whose prompts were
    tokenised before: a quarter of a second for SmolLM2, more for larger vocabularies.

    Raises UserError when the folder is no model or was changed after it was fetched, its weights
    are not those that its config.json describes, the device is absent or the dtype unknown.
    """
    quiet()
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
    refuse_changed(Path(folder))
    for remark in check_declared(Path(folder), str(folder), str(folder)):
        warnings.warn(remark, stacklevel=2)
    hf = load_checkpoint(Path(folder), DTYPES[dtype])
    tokenizer = Path(folder) if tokenizer_later else load_tokenizer(folder)
    nn.Module.to(hf, torch.device(device))
    return wrap(hf, tokenizer, prepend_bos=prepend_bos)


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
    number = torch.device(device).index or 0
    if kind == "cuda" and number >= torch.cuda.device_count():
        raise UserError(
            f"device {device!r} was asked for, but this machine has {torch.cuda.device_count()} of"
            " that kind, counted from 0; name another."
        )
