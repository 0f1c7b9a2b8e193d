"""Finding the blocks, attentions, output projections and MLPs of a Hugging Face decoder.

They are found in the module tree and the configuration alone, so that a model on torch's meta
device will do, and an architecture needs no code of its own:

- *blocks*: the list of modules, as long as the configuration says, that stands nearest to the token
  embedding and holds attentions;
- *attention*: the module of a block that knows of heads (`num_heads`, `head_dim`, …) and holds an
  output projection, a linear map whose input is divisible by the number of heads. A recurrence
  (Mamba, linear attention, a convolution) has no heads in this sense;
- *MLP*: the block's feed-forward module. Where that adds the residual stream by itself (its
  `forward` takes a `residual`), or where its layers stand in the block, its last linear map.

Names that tell an output projection from any other linear map stand in `OUTPUTS`; an architecture
that is built otherwise is refused with what was found instead.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import nn

from counterpoint.errors import UserError
from counterpoint.models.module_names import BlockNames, ModuleNames

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

OUTPUTS = ("o_proj", "out_proj", "c_proj", "dense", "Wo", "wo", "out_lin", "attention_out")
"""What an output projection is called within its attention; BERT's stands in `output.dense`."""

MLPS = ("mlp", "ffn", "feed_forward", "ff", "mlp_block", "block_sparse_moe", "moe", "shared_mlp")
"""What a feed-forward module is called within its block."""

LAST_LAYERS = ("fc2", "down_proj", "dense_4h_to_h", "c_proj", "w2", "output.dense")
"""What the last linear map of a feed-forward is called."""

_COUNTS = ("num_heads", "n_heads", "n_head", "num_attention_heads")
_HEADS = (*_COUNTS, "head_dim", "head_size")
_ATTENTION = re.compile(r"att|mla", re.IGNORECASE)
_RECURRENT = re.compile(r"delta|lightning|linear|rwkv", re.IGNORECASE)
_CROSS = re.compile(r"cross|encoder_att|enc_att", re.IGNORECASE)
_FEED_FORWARD = re.compile(r"mlp|moe|feedforward|ffn", re.IGNORECASE)
_LORA = ("lora_A", "lora_B", "base_layer")

REMEDY = (
    "Choose a causal decoder whose attention ends with one plain linear map of its heads' values"
    " (docs/architectures.md lists those tried)."
)


def discover(hf: PreTrainedModel) -> ModuleNames:
    """The names of the modules of ``hf`` that are read or shifted; nothing is computed.

    Raises UserError, with the reason, for an encoder-decoder, a bidirectional model, one without
    attention, with blocks that are shared or run several times, with several attentions in a block,
    or with heads whose outputs no linear map adds up.
    """
    _refuse_configuration(hf.config, type(hf).__name__)
    name, blocks = _blocks(hf)
    layers = tuple(_block_names(hf, f"{name}.{layer}", block) for layer, block in enumerate(blocks))
    if len(blocks) != _n_blocks(hf):
        raise _refusal(
            hf,
            f"its configuration says {_n_blocks(hf)} layers and {name} holds {len(blocks)} blocks,"
            " so that a layer is not one block",
        )
    if all(layer.attention is None for layer in layers):
        raise _refusal(
            hf,
            f"none of its {len(layers)} blocks has attention heads (its layers are"
            f" {_kinds(blocks)}), so there is nothing to measure",
        )
    return ModuleNames(name, _embedding(hf), layers)


def _refuse_configuration(config: PreTrainedConfig, named: str) -> None:
    """Raise UserError where the configuration alone says that there is no causal decoder."""
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"model architecture {named} is an encoder-decoder; expected a decoder-only (causal)"
            " language model, in which a change at one position reaches later ones alone."
            f" {REMEDY}"
        )
    if getattr(config, "is_causal", True) is False:
        raise UserError(
            f"model architecture {named} is bidirectional (config.json: is_causal: false): every"
            " position sees later ones, so nothing before a change can be kept. It is no causal"
            f" language model. {REMEDY}"
        )


def _refusal(hf: PreTrainedModel, reason: str) -> UserError:
    return UserError(f"model architecture {type(hf).__name__}: {reason}. {REMEDY}")


# ---------------------------------------------------------------------------------------- blocks


def _blocks(hf: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The list of decoder blocks and its name."""
    count = _n_blocks(hf)
    embedding = _embedding(hf)
    lists = {
        name: module
        for name, module in hf.named_modules(remove_duplicate=False)
        if isinstance(module, nn.ModuleList) and len(module) and not _is_within_list(hf, name)
    }
    # A list of norms or of projections is none of blocks; a block holds several modules.
    blocks = {name: one for name, one in lists.items() if _n_children(one) > 1}
    if not blocks:
        parts = ", ".join(sorted({type(one).__name__ for one in hf.modules()})[:6])
        raise _refusal(hf, f"it has no list of blocks (an nn.ModuleList); it is made of {parts}")
    nearest = max(_shared(name, embedding) for name in blocks)
    near = {name: one for name, one in blocks.items() if _shared(name, embedding) == nearest}
    fitting = {name: one for name, one in near.items() if _has_attention(one)} or near
    if len(fitting) > 1:
        fitting = {name: one for name, one in fitting.items() if len(one) == count}
    if len(fitting) != 1:
        found = ", ".join(f"{name} ({len(one)})" for name, one in near.items())
        raise _refusal(
            hf,
            f"its blocks stand in several lists ({found}), where one of {count} was expected;"
            " blocks that are run in turns, or several times, are no layers one after the other",
        )
    name, chosen = next(iter(fitting.items()))
    if len({id(block) for block in chosen}) < len(chosen):
        raise _refusal(hf, f"blocks of {name} are one and the same module, run several times")
    return name, chosen


def _n_blocks(hf: PreTrainedModel) -> int | None:
    """How many blocks the configuration says there are; a decoder's own number comes first."""
    text = hf.config.get_text_config(decoder=True)
    names = ("decoder_layers", "num_decoder_layers", "num_hidden_layers")
    return next((getattr(text, name) for name in names if getattr(text, name, None)), None)


def _is_within_list(hf: nn.Module, name: str) -> bool:
    """Whether an outer list of blocks holds this one (experts, hash tables)."""
    parts = name.split(".")
    return any(part.isdigit() for part in parts)


def _n_children(blocks: nn.ModuleList) -> int:
    return max(len(list(block.children())) for block in blocks)


def _shared(one: str, other: str) -> int:
    """How many names the paths of two modules share from the root."""
    count = 0
    for left, right in zip(one.split("."), other.split("."), strict=False):
        if left != right:
            break
        count += 1
    return count


def _has_attention(blocks: nn.ModuleList) -> bool:
    return any(next(_attentions(block, ""), None) is not None for block in blocks)


def _embedding(hf: PreTrainedModel) -> str:
    module = hf.get_input_embeddings()
    for name, candidate in hf.named_modules():
        if candidate is module:
            return name
    raise _refusal(hf, "it does not say which module is its token embedding")


def _kinds(blocks: nn.ModuleList) -> str:
    """The classes of what the blocks hold, norms and activations aside."""
    parts = [child for block in blocks for child in block.children() if list(child.children())]
    return ", ".join(sorted({type(part).__name__ for part in parts})[:6])


# ------------------------------------------------------------------------------------- one block


def _block_names(hf: PreTrainedModel, name: str, block: nn.Module) -> BlockNames:
    family = _family(hf)
    attentions = dict(_attentions(block, family))
    cross = [one for one in attentions if _CROSS.search(one)]
    if cross:
        raise _refusal(
            hf,
            f"its block {name} has a cross-attention ({cross[0]}): it is the decoder of an"
            " encoder-decoder, made to read an encoder's output, which no prompt gives",
        )
    if len(attentions) > 1:
        raise _refusal(
            hf,
            f"its block {name} has {len(attentions)} attentions ({', '.join(attentions)}); a head"
            " is named by its layer and number, so a layer may have one",
        )
    if not attentions:
        return BlockNames(None, None, _mlp(block, None, family))
    (attention, module), *_ = attentions.items()
    inner = getattr(module, "self", module)
    if False in (getattr(inner, "is_causal", True), getattr(inner, "is_decoder", True)):
        raise _refusal(
            hf,
            f"{name}.{attention} is bidirectional: every position sees later ones, so nothing"
            " before a change can be kept. An encoder's class is a causal language model only"
            " where its config.json says `is_decoder: true`",
        )
    projection = _output_projection(hf, f"{name}.{attention}", module)
    return BlockNames(attention, projection, _mlp(block, attention, family))


def _family(hf: PreTrainedModel) -> str:
    """What the classes of an architecture begin with, which says nothing of what they are."""
    return re.split(r"For|LMHead|Model|WithLM|Decoder", type(hf).__name__)[0]


def _kind(module: nn.Module, family: str) -> str:
    return type(module).__name__.removeprefix(family)


def _attentions(block: nn.Module, family: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a block that know of heads, outermost first, none within another."""
    found: list[str] = []
    for name, module in block.named_modules():
        if not name or any(name.startswith(f"{one}.") for one in found):
            continue
        if _is_attention(module, family):
            found.append(name)
            yield name, module


def _is_attention(module: nn.Module, family: str) -> bool:
    kind = _kind(module, family)
    if not _ATTENTION.search(kind) or _RECURRENT.search(kind):
        return False
    if any(isinstance(child, nn.Conv1d) for child in module.children()):
        return False
    # BERT keeps the heads in one child and the projection in another.
    inner = getattr(module, "self", module)
    if not any(hasattr(inner, heads) for heads in _HEADS):
        return False
    return (
        _named_projection(module) is not None
        or any(
            getattr(part, "weight", None) is not None and part.weight.ndim > 1
            for part in (inner, *inner.children())
        )
        or any(parameter.ndim > 1 for parameter in inner.parameters(recurse=False))
    )


def _output_projection(hf: PreTrainedModel, where: str, attention: nn.Module) -> str:
    """The name, within ``attention``, of the linear map that its heads' values end in."""
    kind = type(attention).__name__
    if any(name.startswith("lambda_q") for name, _ in attention.named_parameters(recurse=False)):
        raise _refusal(
            hf,
            f"{where} ({kind}) is a differential attention: what it gives is the difference of two"
            " softmaxes, normalised over pairs of heads, and no head has an output of its own",
        )
    name = _named_projection(attention)
    if name is None:
        parts = ", ".join(child for child, _ in attention.named_children()) or "parameters alone"
        raise _refusal(
            hf,
            f"{where} ({kind}) has no output projection, the linear map that adds up its heads"
            f" (it holds {parts})",
        )
    projection = attention.get_submodule(name)
    _refuse_projection(hf, f"{where}.{name}", projection)
    width = _input_width(projection)
    heads = _n_heads(hf, attention)
    if heads < 1 or width % heads:
        raise _refusal(
            hf,
            f"{where}.{name} reads {width} values, which {heads} heads cannot share equally",
        )
    return name


def _named_projection(attention: nn.Module) -> str | None:
    present = [name for name in OUTPUTS if isinstance(getattr(attention, name, None), nn.Module)]
    if present:
        inner = getattr(attention, present[0])
        parts = [child for child, part in inner.named_children() if type(part) is nn.Linear]
        # A wrapper around one linear map (Moshi's) is as good as that.
        alone = len(parts) == len(list(inner.children())) == 1
        wraps = alone and not any(True for _ in inner.parameters(recurse=False))
        return f"{present[0]}.{parts[0]}" if wraps else present[0]
    output = getattr(attention, "output", None)
    if isinstance(output, nn.Module) and isinstance(getattr(output, "dense", None), nn.Module):
        return "output.dense"
    return None


def _refuse_projection(hf: PreTrainedModel, where: str, projection: nn.Module) -> None:
    kind = type(projection).__name__
    if any(hasattr(projection, part) for part in _LORA):
        raise _refusal(
            hf, f"{where} carries a LoRA adapter ({kind}); merge it into the weights and save them"
        )
    weight = getattr(projection, "weight", None)
    if weight is None or weight.ndim != 2 or not weight.is_floating_point():
        raise _refusal(
            hf,
            f"{where} is a {kind} and keeps its weights in another form than a floating-point"
            " matrix (they are quantised, or several maps in one)",
        )
    plain = type(projection).forward is nn.Linear.forward or kind in ("Conv1D", "FalconLinear")
    if not plain:
        raise _refusal(hf, f"{where} is a {kind}, of which it is not known that it is linear")


def _input_width(projection: nn.Module) -> int:
    weight = projection.weight
    assert isinstance(weight, nn.Parameter)
    # nn.Linear stores [out, in]; GPT-2's Conv1D stores [in, out].
    return weight.shape[0] if type(projection).__name__ == "Conv1D" else weight.shape[1]


def _n_heads(hf: PreTrainedModel, attention: nn.Module) -> int:
    """The number of query heads; a layer that has another one than the rest is refused."""
    text = hf.config.get_text_config(decoder=True)
    try:
        stated: Any = text.num_attention_heads
    except (AttributeError, RuntimeError):
        # Configurations whose layers differ do not give one number for all of them.
        stated = "no one number"
    inner = getattr(attention, "self", attention)
    own = next((getattr(inner, name) for name in _COUNTS if hasattr(inner, name)), stated)
    if not isinstance(stated, int) or own != stated:
        raise _refusal(
            hf,
            f"its layers differ in their number of heads (config.json says {stated}, a layer has"
            f" {own}); tables and figures have one number of heads for all layers",
        )
    return stated


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


# ------------------------------------------------------------------------------------------- MLP


def _mlp(block: nn.Module, attention: str | None, family: str) -> str | None:
    """The name of what the block's feed-forward adds, or None where no one module gives it."""
    named = [
        name
        for name, child in block.named_children()
        if name not in ("", (attention or "").partition(".")[0])
        and (name in MLPS or _FEED_FORWARD.search(_kind(child, family)))
        and not isinstance(child, nn.ModuleList)
        and any(True for _ in child.parameters())
        and not _is_norm(child)
    ]
    if len(named) > 1:
        # Two modules whose outputs are added (routed and shared experts): neither is the MLP.
        return None
    if not named:
        return _last_layer(block)
    name = named[0]
    module = block.get_submodule(name)
    inner = [
        child for child, part in module.named_children() if any(True for _ in part.parameters())
    ]
    if len(inner) == 2 and _is_norm(module.get_submodule(inner[0])):
        # A norm and what it feeds: the sum with the residual stream is made inside.
        name, module = f"{name}.{inner[1]}", module.get_submodule(inner[1])
    if "residual" in inspect.signature(module.forward).parameters:
        last = _last_layer(module)
        return None if last is None else f"{name}.{last}"
    return name


def _last_layer(module: nn.Module) -> str | None:
    for name in LAST_LAYERS:
        try:
            if isinstance(module.get_submodule(name), nn.Module):
                return name
        except AttributeError:
            continue
    return None
