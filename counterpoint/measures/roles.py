"""Roles: whether it is a head's query, key, value or attention pattern that carries its effect.

AP replaces the head's output. Here only one of the things that the output is made of comes from the
other prompt, at all positions; the head's output follows, and everything downstream is computed
anew:

- *query*, *key*, *value*: as the attention uses them, after norms and position embeddings;
- *pattern*: the other prompt's attention weights over the background's values, which is what query
  and key together give;
- *output*: the head's output itself. This is AP.

Query, key and value together are the output, unless something else of the attention depends on the
prompt (a gate). AP less the effects of query, key and value is therefore their *interaction*: what
only two or three of them do together, as a query that looks for a key which the background lacks.

Where query heads share keys and values in groups, two things can be meant. *key* and *value* are of
one query head, which alone sees the other prompt's; the rest of its group sees the background's.
*key_group* and *value_group* are of one key-value head: every query head of its group sees the
other prompt's, and the outputs of all of them follow. The latter is what patching the keys or
values of such a model gives (TransformerLens' `hook_k` and `hook_v`). They stand at the first head
of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import summed_outputs
from counterpoint.engine.suffix import SuffixEngine

Array = np.ndarray

OF_HEADS = ("query", "key", "value", "pattern", "output")
"""Roles that every head has."""

OF_GROUPS = {"key_group": "key", "value_group": "value"}
"""Roles that every key-value head has that several query heads share, with the part replaced."""

ROLES = (*OF_HEADS, *OF_GROUPS)


@dataclass(frozen=True, eq=False)
class RoleEffects:
    """The effect of each role of each head, or key-value head, on each pair; by layer."""

    pair: Int[Array, " row"]
    """The place in the bucket."""
    layer: Int[Array, " row"]
    head: Int[Array, " row"]
    role: Int[Array, " row"]
    """The place in `ROLES`."""
    effect: Float[Array, " row"]
    """The metric with the role's part from the other prompt, less the background's."""


@torch.no_grad()
def role_effects(
    engine: SuffixEngine,
    direction: Direction,
    *,
    pairs: Sequence[int] | None = None,
    roles: Sequence[str] = ROLES,
    layers: Collection[int] | None = None,
    parts: AttentionParts | None = None,
    advance: Callable[[int], object] | None = None,
) -> RoleEffects:
    """The effects of ``roles`` of all heads, or those in ``layers``, on ``pairs`` of the engine's
    bucket, by default all.

    ``parts`` are the engine's attentions, where they were taken apart before. Raises UserError,
    with the reason, for a model whose attention cannot be (`AttentionParts`).
    """
    chosen_pairs = range(len(engine.activations.pairs)) if pairs is None else pairs
    mixtures = _Mixtures(engine, direction, parts or AttentionParts(engine), chosen_pairs)
    n_heads = engine.model.n_heads
    rows = []
    for layer in engine.model.head_layers:
        if layers is not None and layer not in layers:
            continue
        shared = mixtures.parts.group(layer)
        for number, role in enumerate(ROLES):
            count = shared if role in OF_GROUPS else 1
            if role not in roles or (role in OF_GROUPS and shared == 1):
                continue
            rows += [
                (pair, layer, head, number, count)
                for pair in chosen_pairs
                for head in range(0, n_heads, count)
            ]
    if not rows:
        nothing = np.empty(0, dtype=np.int64)
        return RoleEffects(nothing, nothing, nothing, nothing, np.empty(0))
    units = torch.tensor(rows, device=engine.model.device)

    def evaluated(chosen: slice) -> Tensor:
        few = units[chosen]
        evaluation = Rows(few[:, 0], tuple(few[:, 1].tolist()), mixtures.shifts(few))
        return engine.evaluate(evaluation, direction)

    end = engine.in_batches(len(units), evaluated, advance=advance)
    start = engine.unpatched(background_prompt(direction))[units[:, 0]]
    pair, layer, head, role = units[:, :4].cpu().numpy().T
    return RoleEffects(pair, layer, head, role, (end - start).double().cpu().numpy())


class _Mixtures:
    """What each role does to the heads' values, computed layer by layer as a sweep asks for it."""

    def __init__(
        self,
        engine: SuffixEngine,
        direction: Direction,
        parts: AttentionParts,
        pairs: Sequence[int],
    ) -> None:
        self.engine, self.parts = engine, parts
        self.background, self.other = background_prompt(direction), other_prompt(direction)
        device = engine.model.device
        self._pairs = torch.tensor(pairs, dtype=torch.long, device=device)
        self._place = torch.zeros(len(engine.activations.pairs), dtype=torch.long, device=device)
        self._place[self._pairs] = torch.arange(len(pairs), device=device)
        self._kept: dict[int, Float[Tensor, "part pair suffix z"]] = {}

    def shifts(self, units: Int[Tensor, "row 5"]) -> Float[Tensor, "row suffix d_model"]:
        """What is added to the attention's output; rows are pair, layer, head, role, heads."""
        found = []
        lowest = int(units[0, 1])
        for layer in [layer for layer in self._kept if layer < lowest]:
            # A sweep never goes back.
            del self._kept[layer]
        place = torch.tensor(
            [OF_HEADS.index(OF_GROUPS.get(role, role)) for role in ROLES], device=units.device
        )
        for layer in units[:, 1].unique_consecutive().tolist():
            here = units[units[:, 1] == layer]
            pair, _, head, role, count = here.T
            z = self._changes(layer)[place[role], self._place[pair]]
            number = torch.arange(self.engine.model.n_heads, device=units.device)
            first, last = head.unsqueeze(1), (head + count).unsqueeze(1)
            moved = (first <= number) & (number < last)
            found.append(summed_outputs(self.engine.model, layer, z, moved))
        return torch.cat(found)

    def _changes(self, layer: int) -> Float[Tensor, "part pair suffix z"]:
        """z of each of `OF_HEADS`, less the background's, for the pairs that are measured."""
        if layer not in self._kept:
            found = self.engine.in_batches(
                len(self._pairs), lambda pairs: self._of_pairs(layer, self._pairs[pairs])
            )
            self._kept[layer] = found.transpose(0, 1)
        return self._kept[layer]

    def _of_pairs(
        self, layer: int, pair: Int[Tensor, " pair"]
    ) -> Float[Tensor, "pair part suffix z"]:
        activations, parts = self.engine.activations, self.parts
        background = parts.of_prompt(self.background, layer, pair)
        other = parts.of_prompt(self.other, layer, pair)
        mixed = [
            parts.mixed(background, query=other.query),
            parts.mixed(background, key=other.key),
            parts.mixed(background, value=other.value),
            parts.mixed(background, query=other.query, key=other.key),
        ]
        same = parts.mixed(background)
        runs = [activations.run(side).z[layer][pair] for side in (self.other, self.background)]
        return torch.stack([*(z - same for z in mixed), runs[0] - runs[1]], dim=1)
