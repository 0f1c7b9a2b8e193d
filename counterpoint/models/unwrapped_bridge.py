"""The plain Hugging Face model inside a TransformerLens bridge.

`TransformerBridge` (TransformerLens 4) wraps a Hugging Face model in place: each embedding, block,
attention, linear map and norm of it is replaced by a component that holds the original one and has
hook points around it; attentions are computed by code of TransformerLens' own. Here the tree is
copied with the original modules in their places, over the same weights. The copy's logits are
compared with the bridge's, so that a bridge whose weights were changed (folded norms, centred
weights) is refused and never measured as something that it is not.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from counterpoint.errors import UserError
from counterpoint.models.shared_weights import HOOKS, memo_of, unchanged_modules

if TYPE_CHECKING:
    from transformers import PreTrainedModel

REMEDY = (
    "Give the bridge as `TransformerBridge.boot_transformers` makes it, before"
    " enable_compatibility_mode and process_weights; or its Hugging Face model with tokenizer=, or"
    " its name."
)

TOLERANCE = 1e-3
"""How far the logits of bridge and plain model may be apart, over their largest. TransformerLens
adds up attention in an order of its own: float32 leaves 1e-6, bfloat16 up to 2e-2."""
COARSE_TOLERANCE = 0.1

_PROBE = 8


def is_bridge(model: object) -> bool:
    """Whether ``model`` is TransformerLens' bridge; does not import TransformerLens."""
    return any(
        kind.__name__ == "TransformerBridge" and kind.__module__.startswith("transformer_lens.")
        for kind in type(model).__mro__
    )


def unwrapped(bridge: Any) -> PreTrainedModel:
    """The plain model of ``bridge``, over the same weights; the bridge stays as it is.

    Raises UserError, with the remedy, for a bridge whose weights were processed, that has hooks, or
    whose modules cannot be put back so that the logits agree.
    """
    if getattr(bridge, "_weights_processed", False):
        raise UserError(
            "the bridge's weights were processed (norms folded into them, weights centred), so they"
            f" are no longer those of its Hugging Face model. {REMEDY}"
        )
    hooked = [name for name, point in bridge.hook_dict.items() if point.has_hooks()]
    if hooked:
        raise UserError(
            f"the bridge has hooks ({', '.join(hooked[:3])}), and whether they belong to what is to"
            " be measured is not known. Call bridge.reset_hooks(including_permanent=True) first."
        )
    wrapped = bridge.original_model
    if not hasattr(wrapped, "config"):
        raise UserError(f"the bridge wraps no Hugging Face model. {REMEDY}")
    plain = _without_components(wrapped)
    _compare(bridge, wrapped, plain)
    return plain


def _without_components(wrapped: nn.Module) -> Any:
    """A copy of the tree with each component's original module in the component's place."""
    memo: dict[int, Any] = memo_of(wrapped.parameters())
    for module in reversed(list(wrapped.modules())):
        original = module._modules.get("_original_component")
        if original is not None:
            memo[id(module)] = copy.deepcopy(original, memo)
    plain = copy.deepcopy(wrapped, memo)
    for module in plain.modules():
        if type(module).__module__.startswith("transformer_lens."):
            raise UserError(
                f"the bridge keeps no original of its {type(module).__name__}, so its plain model"
                f" cannot be had from it. {REMEDY}"
            )
        # Some adapters bind a forward of their own to the modules that they wrap, and a bridge that
        # has run keeps what its norms compute by hooks.
        vars(module).pop("forward", None)
        for kind in HOOKS:
            vars(module)[kind].clear()
    return plain


@torch.no_grad()
def _compare(bridge: Any, wrapped: Any, plain: Any) -> None:
    """Raise UserError unless both models give the same logits for a few tokens."""
    tokens = torch.arange(_PROBE, device=next(plain.parameters()).device)[None]
    tokens = tokens % int(plain.get_input_embeddings().weight.shape[0])
    with _kept(bridge, wrapped):
        expected = wrapped(input_ids=tokens, use_cache=False).logits.float()
    ours = plain.eval()(input_ids=tokens, use_cache=False).logits.float()
    fine = torch.finfo(plain.dtype).bits >= 32
    allowed = TOLERANCE if fine else COARSE_TOLERANCE
    error = float((ours - expected).abs().max() / expected.abs().max())
    if not error <= allowed:
        raise UserError(
            f"the bridge's logits differ from those of its plain Hugging Face model by {error:.0e}"
            f" of their size (at most {allowed:.0e} is allowed): its weights or modules were"
            f" changed. {REMEDY}"
        )


@contextmanager
def _kept(*trees: nn.Module) -> Iterator[None]:
    """Modules in evaluation mode within the block, and afterwards as they were."""
    with unchanged_modules(*trees):
        for tree in trees:
            for module in tree.modules():
                vars(module)["training"] = False
        yield
