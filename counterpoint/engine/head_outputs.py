"""Heads' outputs, their differences between the two runs, and the units whose effect is measured.

A head's output is ``r[l, h] = z[l, h] W_O[l, h]``; the sum over heads, plus the bias of the output
projection, is what the attention adds (`attn.hook_out` in TransformerLens' names).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from counterpoint.engine.activations import (
    Activations,
    Component,
    Direction,
    background_prompt,
    other_prompt,
)
from counterpoint.models.load import LanguageModel


def spread(z: Float[Tensor, "*row z"], n_heads: int, widest: int) -> Float[Tensor, "*row widest"]:
    """Values of heads with zeros after each head's own, as wide as the widest layer's."""
    if z.shape[-1] == widest:
        return z
    apart = z.unflatten(-1, (n_heads, -1))
    missing = widest // n_heads - apart.shape[-1]
    return nn.functional.pad(apart, (0, missing)).flatten(-2)


def packed(
    model: LanguageModel, layer: int, z: Float[Tensor, "*row widest"]
) -> Float[Tensor, "*row z"]:
    """The inverse of `spread`: what the output projection of ``layer`` is given."""
    width = projection_width(model.output_projection(layer))
    if z.shape[-1] == width:
        return z
    return z.unflatten(-1, (model.n_heads, -1))[..., : width // model.n_heads].flatten(-2)


def output_bias(model: LanguageModel, layer: int) -> Float[Tensor, " d_model"]:
    """What the output projection adds whatever the heads say (zero where it has no bias)."""
    projection = model.output_projection(layer)
    zero = torch.zeros(1, projection_width(projection), device=model.device, dtype=model.dtype)
    return projection(zero)[0]


def projection_width(projection: nn.Module) -> int:
    """How many values of heads an output projection is given."""
    weight = projection.weight
    assert isinstance(weight, Tensor)
    # Linear stores [out, in]; GPT-2's Conv1D stores [in, out].
    return weight.shape[0] if type(projection).__name__ == "Conv1D" else weight.shape[1]


@dataclass(frozen=True, eq=False)
class Units:
    """The components whose effect is measured: one entry per (pair, layer, head), by layer.

    ``head`` is None where the component is a whole one, such as the MLP. ``pair`` is the place in
    the bucket. ``position`` is the one position of the suffix at which each moves, from 0; None
    where it moves at all of them.
    """

    pair: Int[Tensor, " unit"]
    layer: Int[Tensor, " unit"]
    head: Int[Tensor, " unit"] | None
    position: Int[Tensor, " unit"] | None = None

    def __len__(self) -> int:
        return len(self.pair)

    def __getitem__(self, chosen: Int[Tensor, " chosen"] | slice) -> Units:
        head, position = (
            None if each is None else each[chosen] for each in (self.head, self.position)
        )
        return Units(self.pair[chosen], self.layer[chosen], head, position)

    def at(self, position: int) -> Units:
        """The same units, each moving at one position of the suffix alone."""
        return replace(self, position=torch.full_like(self.layer, position))


def every_unit(model: LanguageModel, n_pairs: int, component: Component = "head") -> Units:
    """Every head (or whole ``component``) of every layer that has some on each of ``n_pairs``
    pairs, lowest layer first."""
    heads = model.n_heads if component == "head" else 1
    layer, pair, head = torch.meshgrid(
        torch.tensor(layers_with(model, component), dtype=torch.long),
        torch.arange(n_pairs),
        torch.arange(heads),
        indexing="ij",
    )
    layer, pair, head = (axis.reshape(-1).to(model.device) for axis in (layer, pair, head))
    return Units(pair, layer, head if component == "head" else None)


def named_units(units: Units, heads: Collection[tuple[int, int]] | None) -> Units:
    """The units of ``heads``, (layer, head) each; all where none are named."""
    if heads is None or units.head is None:
        return units
    places = zip(units.layer.tolist(), units.head.tolist(), strict=True)
    chosen = torch.tensor([place in heads for place in places], device=units.layer.device)
    return units[chosen.nonzero()[:, 0]]


def layers_with(model: LanguageModel, component: Component) -> list[int]:
    """The layers that have heads, or another component, to measure."""
    if component == "residual":
        return list(range(model.n_layers))
    return model.mlp_layers if component == "mlp" else model.head_layers


def head_outputs(
    model: LanguageModel, layer: int, z: Float[Tensor, "row suffix z"], head: Int[Tensor, " row"]
) -> Float[Tensor, "row suffix d_model"]:
    """``r[l, h] = z[l, h] W_O[l, h]`` of one head for each row; the bias belongs to no head."""
    own = torch.arange(model.n_heads, device=z.device) == head.unsqueeze(1)
    return summed_outputs(model, layer, z, own)


def summed_outputs(
    model: LanguageModel,
    layer: int,
    z: Float[Tensor, "row suffix z"],
    heads: Bool[Tensor, "row head"],
) -> Float[Tensor, "row suffix d_model"]:
    """The sum of the outputs of those ``heads`` of each row that are marked."""
    z = packed(model, layer, z)
    own = heads.repeat_interleave(z.shape[-1] // model.n_heads, dim=1)
    return model.output_projection(layer)(z * own.unsqueeze(1)) - output_bias(model, layer)


@torch.no_grad()
def differences(
    model: LanguageModel,
    activations: Activations,
    direction: Direction,
    units: Units,
    component: Component = "mlp",
) -> Float[Tensor, "unit suffix d_model"]:
    """Δ = r_other − r_background of each unit, at every position of the suffix; 0 at those at which
    it does not move.

    Where the units name no heads, they are whole components: the MLP, unless ``component`` says
    another.
    """
    other = activations.run(other_prompt(direction))
    background = activations.run(background_prompt(direction))
    if units.head is None:
        found = _changes(getattr(other, component), getattr(background, component), units)
        return _placed(found, units, activations)
    parts = []
    for layer in units.layer.unique_consecutive().tolist():
        here = (units.layer == layer).nonzero().squeeze(1)
        own = units[here]
        assert own.head is not None
        if own.position is None:
            z = (other.z[layer] - background.z[layer])[own.pair]
        else:
            z = _changes(other.z, background.z, own)
        parts.append(head_outputs(model, layer, z, own.head))
    return _placed(torch.cat(parts), units, activations)


def _changes(
    other: Float[Tensor, "layer pair suffix width"],
    background: Float[Tensor, "layer pair suffix width"],
    units: Units,
) -> Float[Tensor, "unit moving width"]:
    """The change of each unit's value at the positions at which it moves: one, or all."""
    if units.position is None:
        return (other - background)[units.layer, units.pair]
    place = units.layer, units.pair, units.position
    return (other[place] - background[place]).unsqueeze(1)


def _placed(
    found: Float[Tensor, "unit moving d_model"], units: Units, activations: Activations
) -> Float[Tensor, "unit suffix d_model"]:
    """Changes at the positions of the suffix that they belong to."""
    if units.position is None:
        return found
    suffix = activations.length - activations.start
    whole = found.new_zeros(len(found), suffix, found.shape[-1])
    whole[torch.arange(len(found), device=found.device), units.position] = found[:, 0]
    return whole
