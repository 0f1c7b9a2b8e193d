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
from counterpoint.measures.integrated_gradients import FIRST_STEPS
from counterpoint.measures.interpolation_errors import integral_misses, steps_needed

Array = np.ndarray


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
    max_steps: int = 128,
) -> Partners:
    """Pairwise interactions of each target (place of the pair, layer, head).

    ``targets`` must be in order of layer. More Gauss-Legendre steps, up to ``max_steps``, are taken
    on each path whose two heads' IG does not sum to the effect of patching both within
    ``tolerance`` (completeness on the pair's path), or whose target may be off by more by the decay
    of its slope's coefficients; as many as the decay of both asks for.
    """
    n_heads, device = engine.model.n_heads, engine.model.device
    pair, layer, head = (
        torch.tensor(column, device=device).repeat_interleave(n_heads)
        for column in zip(*targets, strict=True)
    )
    paths = _Paths(engine, direction, pair, layer, head, torch.arange(n_heads).repeat(len(targets)))
    effect = paths.effects()
    score = np.zeros(len(pair))
    wanted = np.full(len(pair), min(FIRST_STEPS, max_steps))
    while wanted.any():
        steps = int(wanted[wanted > 0].min())
        active = np.flatnonzero(wanted == steps)
        score[active], both, series = paths.integrals(active, steps)
        unfinished = np.abs(both - effect[active]) > tolerance
        unfinished |= integral_misses(series[:, 0]) > tolerance
        wanted[active] = 0
        if steps < max_steps:
            more = steps_needed(series[unfinished], tolerance).max(1)
            wanted[active[unfinished]] = np.minimum(more, max_steps)
    by_target = score.reshape(len(targets), n_heads)
    alone = by_target[np.arange(len(targets)), [head for _, _, head in targets]]
    return Partners(interaction=by_target - alone[:, None], own=alone)


@dataclass(frozen=True, eq=False)
class _Paths:
    """Paths on which a target moves with one partner; where that is itself, it moves alone."""

    engine: SuffixEngine
    direction: Direction
    pair: Int[Tensor, " path"]
    layer: Int[Tensor, " path"]
    head: Int[Tensor, " path"]
    partner: Int[Tensor, " path"]

    def effects(self) -> Float[Array, " path"]:
        """f(1) − f(0) of each path."""

        @torch.no_grad()
        def end(chosen: slice) -> Tensor:
            path = torch.arange(chosen.start, chosen.stop, device=self.pair.device)
            own, other = self._differences(path)
            return self._metric(path, own + other)

        start = self.engine.unpatched(background_prompt(self.direction))[self.pair]
        found = self.engine.in_batches(len(self.pair), end) - start
        return found.double().cpu().numpy()

    def integrals(
        self, active: Array, steps: int
    ) -> tuple[
        Float[Array, " active"], Float[Array, " active"], Float[Array, "active 2 coefficient"]
    ]:
        """IG of the target on each of the ``active`` paths, and of both of its heads together; and
        the series of the two slopes that these are integrals of."""
        nodes, weights = quadrature.gauss_legendre(steps)
        device, dtype = self.pair.device, self.engine.model.dtype
        chosen = torch.as_tensor(active, device=device)
        alphas = torch.tensor(nodes, device=device, dtype=dtype)

        def slopes(rows: slice) -> Tensor:
            row = torch.arange(rows.start, rows.stop, device=device)
            path = chosen[row // steps]
            own, other = self._differences(path)
            with torch.enable_grad():
                shift = (alphas[row % steps].view(-1, 1, 1) * (own + other)).requires_grad_()
                (gradient,) = torch.autograd.grad(self._metric(path, shift).sum(), shift)
            return torch.stack([(gradient * delta).sum((1, 2)) for delta in (own, other)], dim=1)

        found = self.engine.in_batches(len(active) * steps, slopes, differentiate=True)
        slope = found.double().cpu().numpy().reshape(len(active), steps, 2).swapaxes(1, 2)
        slope[:, 1] += slope[:, 0]
        own, both = (slope @ weights).T
        return own, both, quadrature.interpolate_all(nodes, slope)

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

    def _metric(self, path: Tensor, shift: Tensor) -> Tensor:
        rows = Rows(self.pair[path], tuple(self.layer[path].tolist()), shift)
        return self.engine.evaluate(rows, self.direction)
