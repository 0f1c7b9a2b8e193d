"""The ways that the engine replaces, as their users would call them.

They run whole forward passes and share no code with the engine. The original notebook's procedure
is `PlainReference` of the tests: TransformerLens hooks at `hook_result`, batch 1, one pass for
each node of each head.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch
from captum.attr import LayerIntegratedGradients
from torch import Tensor
from transformer_lens import patching

from counterpoint.engine.activations import TokenPairs
from counterpoint.models.load import LanguageModel
from tests.helpers.reference import PlainReference

Array = np.ndarray

INTERNAL_BATCH_SIZES = (1, 5, 10, 25, 50)


def logit_difference(logits: Tensor, pairs: TokenPairs) -> Tensor:
    """LD at the last position of the first pair's answers; ``logits`` is [..., vocabulary]."""
    return logits[..., pairs.correct[0][0]] - logits[..., pairs.incorrect[0][0]]


def original_procedure(model: LanguageModel, pairs: TokenPairs) -> PlainReference:
    """The original notebook's way, ready to be asked for one point of one head's curve."""
    return PlainReference(
        model.bridge(), pairs.clean[0], pairs.corrupted[0], partial(logit_difference, pairs=pairs)
    )


@torch.no_grad()
def output_curve(reference: PlainReference, layer: int, head: int, grid: Array) -> Array:
    """f on ``grid``: one pass per node."""
    return np.array([float(reference.head(layer, head, float(alpha))) for alpha in grid])


def output_curve_and_gradient(
    reference: PlainReference, layer: int, head: int, grid: Array
) -> tuple[Array, Array]:
    """f and g on ``grid``: one pass forward and backward per node."""
    output, gradient = [], []
    for alpha in grid:
        point = torch.tensor(float(alpha), requires_grad=True)
        value = reference.head(layer, head, point)
        gradient.append(float(torch.autograd.grad(value, point)[0]))
        output.append(value.item())
    return np.array(output), np.array(gradient)


@torch.no_grad()
def whole_passes_at_once(reference: PlainReference, layer: int, head: int, grid: Array) -> Array:
    """f on ``grid`` with all nodes of a head in one batch of whole passes: the same, sooner."""
    return reference.batch(layer, head, torch.tensor(grid, dtype=torch.float32)).numpy()


@torch.no_grad()
def transformer_lens_patching(model: LanguageModel, pairs: TokenPairs) -> Array:
    """AP of every head by `get_act_patch_attn_head_out_all_pos`, in noising: [layer, head]."""
    bridge = model.bridge()
    _, corrupted = bridge.run_with_cache(pairs.corrupted[:1])
    start = logit_difference(bridge(pairs.clean[:1])[0, -1], pairs)
    patched = patching.get_act_patch_attn_head_out_all_pos(
        bridge, pairs.clean[:1], corrupted, lambda logits: logit_difference(logits[0, -1], pairs)
    )
    return (patched - start).double().numpy()


TRANSFORMER_LENS_ROLES = {
    "output": (patching.get_act_patch_attn_head_out_all_pos, "head"),
    "query": (patching.get_act_patch_attn_head_q_all_pos, "head"),
    "key_group": (patching.get_act_patch_attn_head_k_all_pos, "head"),
    "value_group": (patching.get_act_patch_attn_head_v_all_pos, "head"),
    "pattern": (patching.get_act_patch_attn_head_pattern_all_pos, "head_index"),
}
"""The functions of `get_act_patch_attn_head_all_pos_every`, each with its name for the head's axis,
by what they patch. Where query heads share keys, those of keys and values patch a whole group."""


@torch.no_grad()
def transformer_lens_roles(
    model: LanguageModel, pairs: TokenPairs, layers: list[int]
) -> dict[str, Array]:
    """What `get_act_patch_attn_head_all_pos_every` gives for some layers, in noising: [layer, head]
    by role, and [layer, key-value head] for keys and values. It makes a whole pass for each."""
    bridge = model.bridge()
    _, corrupted = bridge.run_with_cache(pairs.corrupted[:1])
    start = logit_difference(bridge(pairs.clean[:1])[0, -1], pairs)
    found = {}
    for role, (function, axis) in TRANSFORMER_LENS_ROLES.items():
        heads = model.n_key_value_heads if role.endswith("_group") else model.n_heads
        index = pd.DataFrame(
            [(layer, head) for layer in layers for head in range(heads)], columns=["layer", axis]
        )
        patched = function(
            bridge,
            pairs.clean[:1],
            corrupted,
            lambda logits: logit_difference(logits[0, -1], pairs),
            index_axis_names=None,
            index_df=index,
        )
        found[role] = (patched - start).double().numpy().reshape(len(layers), heads)
    return found


def captum_joint(
    model: LanguageModel, pairs: TokenPairs, layer: int, *, steps: int, internal_batch_size: int
) -> Array:
    """IG joint of one layer by Captum's `LayerIntegratedGradients` on whole passes: [head].

    Captum runs the model on its ``inputs`` while it moves the layer from the baselines' values to
    theirs. The clean prompt is to be run throughout, so that it is given as the inputs, and the
    path, walked from the corrupted values to the clean ones, changes the sign.
    """
    method = LayerIntegratedGradients(
        lambda tokens: logit_difference(model.hf(tokens, logits_to_keep=1).logits[:, -1], pairs),
        model.output_projections[layer],
    )
    attribution = method.attribute(
        pairs.clean[:1],
        baselines=pairs.corrupted[:1],
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=internal_batch_size,
        attribute_to_layer_input=True,
    )
    by_head = attribution[0].unflatten(-1, (model.n_heads, -1)).sum((0, 2))
    return -by_head.detach().double().numpy()
