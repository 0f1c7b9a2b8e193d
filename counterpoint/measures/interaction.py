"""Interaction of a head with its partners: why IG joint and activation patching disagree.

On its own path a head's IG is its AP, by completeness. On the joint path all heads of the layer
move, and the head's gradient is seen while the others are on their way:

    IG joint(h) − AP(h) = ∫ [g_h(all heads at α) − g_h(h alone at α)] dα.

The difference is interaction and nothing else. To say with whom, let h and one partner j move
together and the others stay:

    interaction(h, j) = ∫ [g_h(h and j at α) − g_h(h alone at α)] dα = IG of h on {h, j} − AP(h).

To second order in the shifts the joint path's interaction is the sum of these over the partners;
what is left, the *remainder*, needs three or more heads at once. Of a pair's joint effect beyond
the two single ones, interaction(h, j) + interaction(j, h) = f_hj(1) − f_h(1) − f_j(1) + f(0), each
head is given its integrated share. `tables.interaction_table` is the table of interactions, and
`statistics.interaction_partners` says over pairs how far single partners explain a disagreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import Units, differences
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import quadrature
from counterpoint.measures.interpolation_errors import nested_integral_misses

Array = np.ndarray

FIRST_NODES = 5
"""Nodes of a path at first, of which α = 0 costs next to nothing."""

_PATHS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Partners:
    """Interactions of the targets with the other heads of their layers, in metric units."""

    interaction: Float[Array, "target partner"]
    """``partner`` runs over the heads of the layer; a head's own entry is 0."""
    own: Float[Array, " target"]
    """IG of the target on its own path, by the same quadrature. Equals AP."""


def partners(
    engine: SuffixEngine,
    direction: Direction,
    targets: Sequence[tuple[int, int, int]],
    *,
    tolerance: float = 1e-4,
    max_nodes: int = 129,
) -> Partners:
    """Pairwise interactions of each target (place of the pair, layer, head).

    ``targets`` must be in order of layer. Slopes are integrated at nested Clenshaw-Curtis nodes, at
    first `FIRST_NODES` and up to ``max_nodes``, more on each path whose two heads' IG does not sum
    to the effect of patching both within ``tolerance`` (completeness on the pair's path), or whose
    target may be off by more by the decay of its slope's coefficients.
    """
    n_heads, device = engine.model.n_heads, engine.model.device
    pair, layer, head = (
        torch.tensor(column, device=device).repeat_interleave(n_heads)
        for column in zip(*targets, strict=True)
    )
    paths = _Paths(engine, direction, pair, layer, head, torch.arange(n_heads).repeat(len(targets)))
    score = np.zeros(len(pair))
    active, alphas = np.arange(len(pair)), quadrature.clenshaw_curtis(FIRST_NODES)
    output, slope = paths.taken(active, alphas[1:])
    effect = output[:, -1] - paths.start()
    slope = np.concatenate([paths.slopes_at_start()[..., None], slope], axis=-1)
    while True:
        series = quadrature.interpolate_all(alphas, slope)
        own, both = quadrature.integral(series[:, 0]), quadrature.integral(series[:, 1])
        score[active] = own
        unfinished = np.abs(both - effect[active]) > tolerance
        unfinished |= nested_integral_misses(series[:, 0]) > tolerance
        count = 2 * len(alphas) - 1
        if count > max_nodes or not unfinished.any():
            break
        active, before = active[unfinished], slope[unfinished]
        alphas = quadrature.clenshaw_curtis(count)
        slope = np.empty((len(active), 2, count))
        slope[..., ::2], (_, slope[..., 1::2]) = before, paths.taken(active, alphas[1::2])
    by_target = score.reshape(len(targets), n_heads)
    alone = by_target[np.arange(len(targets)), [head for _, _, head in targets]]
    return Partners(interaction=by_target - alone[:, None], own=alone)


@dataclass(frozen=True, eq=False)
class _Paths:
    """Paths on which a target moves with one partner; where that is itself, it moves alone.

    Slopes are two for each path, the target's and that of both its heads together.
    """

    engine: SuffixEngine
    direction: Direction
    pair: Int[Tensor, " path"]
    layer: Int[Tensor, " path"]
    head: Int[Tensor, " path"]
    partner: Int[Tensor, " path"]

    def start(self) -> Float[Array, " path"]:
        """f(0) of each path, the metric of its background."""
        start = self.engine.unpatched(background_prompt(self.direction))[self.pair]
        return start.double().cpu().numpy()

    def slopes_at_start(self) -> Float[Array, "path 2"]:
        """Slopes at α = 0, where all heads of a layer see one gradient."""
        model = self.engine.model
        n_pairs = len(self.engine.activations.pairs)
        places, of_path = torch.unique(self.layer * n_pairs + self.pair, return_inverse=True)
        layer, pair = places // n_pairs, places % n_pairs
        zero = self.engine.activations.clean.attention[model.head_layers[0]]

        def gradients(rows: slice) -> Tensor:
            with torch.enable_grad():
                shift = torch.zeros_like(zero[pair[rows]]).requires_grad_()
                joined = Rows(pair[rows], tuple(layer[rows].tolist()), shift)
                output = self.engine.evaluate(joined, self.direction)
                return torch.autograd.grad(output.sum(), shift)[0]

        found = self.engine.in_batches(len(places), gradients, differentiate=True)
        every = torch.arange(len(self.pair), device=self.pair.device)
        slopes = [
            self._slopes(found[of_path[few]], *self._differences(few))
            for few in torch.split(every, _PATHS_AT_ONCE)
        ]
        return torch.cat(slopes).double().cpu().numpy()

    def taken(
        self, active: Array, alphas: Float[Array, " alpha"]
    ) -> tuple[Float[Array, "active alpha"], Float[Array, "active 2 alpha"]]:
        """f and slopes of the ``active`` paths at ``alphas``."""
        device, dtype, count = self.pair.device, self.engine.model.dtype, len(alphas)
        chosen = torch.as_tensor(active, device=device)
        at = torch.tensor(alphas, device=device, dtype=dtype)

        def both(rows: slice) -> Tensor:
            row = torch.arange(rows.start, rows.stop, device=device)
            path = chosen[row // count]
            own, other = self._differences(path)
            with torch.enable_grad():
                shift = (at[row % count].view(-1, 1, 1) * (own + other)).requires_grad_()
                joined = Rows(self.pair[path], tuple(self.layer[path].tolist()), shift)
                output = self.engine.evaluate(joined, self.direction)
                (gradient,) = torch.autograd.grad(output.sum(), shift)
            return torch.cat([output.detach()[:, None], self._slopes(gradient, own, other)], dim=1)

        found = self.engine.in_batches(len(active) * count, both, differentiate=True)
        values = found.double().cpu().numpy().reshape(len(active), count, 3)
        return values[..., 0], values[..., 1:].swapaxes(1, 2)

    def _slopes(self, gradient: Tensor, own: Tensor, other: Tensor) -> Float[Tensor, "path 2"]:
        return torch.stack(
            [(gradient * own).sum((1, 2)), (gradient * (own + other)).sum((1, 2))], dim=1
        )

    def _differences(self, path: Tensor) -> tuple[Tensor, Tensor]:
        """Δ of the target and of its partner; 0 for a partner that is the target itself."""
        model, activations = self.engine.model, self.engine.activations
        own, other = (
            differences(
                model, activations, self.direction, Units(self.pair[path], self.layer[path], heads)
            )
            for heads in (self.head[path], self.partner[path])
        )
        alone = (self.partner[path] == self.head[path]).view(-1, 1, 1)
        return own, other.masked_fill(alone, 0)
