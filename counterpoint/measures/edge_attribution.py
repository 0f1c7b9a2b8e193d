"""Edges to first order: a sender's change times the metric's gradient at the receiver's input.

EAP (Syed, Rager & Conmy 2023, "Attribution Patching Outperforms Automated Circuit Discovery",
arXiv 2310.10348) takes the gradient in the background run: it is the slope of the exact effect
(`measures.edges`) where the sender's change is small. EAP-IG (Hanna, Pezzelle & Belinkov 2024,
"Have Faith in Faithfulness", arXiv 2403.17806) averages the gradient over runs whose embeddings lie
on the straight line between those of the two prompts. The points are Gauss-Legendre nodes here,
which give the same average with fewer of them than an equal spacing.

One pass of each run, differentiated once, gives the gradient at the output of every attention; from
there to the input of a receiver's block through its query, key or value alone it is one product
with a Jacobian for each receiver and role, all in one batch. The senders' changes of the residual
stream are exact (`engine.sender_changes`): only what comes after is taken to first order.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from counterpoint.engine.activations import Prompt
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.head_outputs import head_outputs
from counterpoint.engine.linear import through_onednn
from counterpoint.engine.replay import first_of, last_of, with_first
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import quadrature
from counterpoint.measures.edges import Role, replaced

Array = np.ndarray

STEPS = 5
"""Points of the line between the prompts at which EAP-IG takes the gradient, as its authors do."""


@dataclass(frozen=True, eq=False)
class PathRuns:
    """Runs of one pair whose embeddings lie between those of the two prompts.

    The first is the clean prompt's, the second the corrupted one's, and the rest are the nodes of
    EAP-IG with their ``weights``.
    """

    pair: int
    residual: Float[Tensor, "run layer suffix d_model"]
    """The input of each block."""
    gradient: Float[Tensor, "run layer suffix d_model"]
    """∂m/∂(attention output) of each block."""
    final: Float[Tensor, "run d_model"]
    """∂m/∂(output of the last block) at the last position."""
    weights: Float[Tensor, " node"]

    def summary(self, of_runs: Float[Tensor, "run ..."]) -> PathGradients:
        """Gradients of every run as those that the two scores take."""
        averaged = torch.tensordot(self.weights.to(of_runs), of_runs[2:], dims=1)
        return PathGradients({"clean": of_runs[0], "corrupted": of_runs[1]}, averaged)


@dataclass(frozen=True, eq=False)
class PathGradients:
    """Gradients of the metric at receivers' inputs."""

    of_prompt: dict[Prompt, Float[Tensor, "... d_model"]]
    """In each prompt's own run: what EAP takes, the background's."""
    averaged: Float[Tensor, "... d_model"]
    """Over the line between the prompts: what EAP-IG takes."""


def path_runs(engine: SuffixEngine, pair: int, steps: int = STEPS) -> PathRuns:
    """Run a pair's two prompts and ``steps`` points between them, with gradients."""
    nodes, weights = quadrature.gauss_legendre(steps)
    model, activations = engine.model, engine.activations
    points = torch.tensor([0.0, 1.0, *nodes], device=model.device, dtype=model.dtype)
    clean, corrupted = (run.residual[0, pair] for run in (activations.clean, activations.corrupted))

    def run(chosen: slice) -> Tensor:
        alpha = points[chosen].view(-1, 1, 1)
        of_row = torch.full((len(alpha),), pair, device=model.device)
        inputs: list[Tensor] = []
        with torch.enable_grad(), through_onednn(model.submodules_of_blocks):
            # A leaf added to each attention's output: its gradient is the output's.
            added = [torch.zeros_like(clean).expand(len(alpha), -1, -1) for _ in model.blocks]
            added = [one.clone().requires_grad_() for one in added]
            hidden = clean + alpha * (corrupted - clean)
            for layer, block in enumerate(model.blocks):
                inputs.append(hidden.detach())
                cache = None if activations.prefix is None else activations.prefix.cache(of_row)
                with ExitStack() as hooks:
                    projection = model.output_projection(layer)
                    handle = projection.register_forward_hook(_adding(added[layer]))
                    hooks.callback(handle.remove)
                    hidden = engine.arguments[layer].call(block, hidden, cache)
            final = last_of(model, hidden)
            metric = engine.metric(engine.logits(final, engine.metric.vocabulary), of_row)
            *slopes, last = torch.autograd.grad(metric.sum(), [*added, final])
        engine.evaluations += len(alpha)
        at_end = torch.zeros_like(inputs[0])
        at_end[:, -1] = last
        return torch.stack(
            [torch.stack([*inputs, at_end], dim=1), torch.stack([*slopes, at_end], dim=1)], dim=1
        )

    both = engine.in_batches(len(points), run, differentiate=True)
    return PathRuns(
        pair,
        both[:, 0, :-1],
        both[:, 1, :-1],
        both[:, 1, -1, -1],
        torch.tensor(weights, device=model.device),
    )


def _adding(value: Tensor) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        given = first_of(output)
        return with_first(output, given + value.view_as(given))

    return hook


def receiver_gradients(
    attention: AttentionParts,
    runs: PathRuns,
    layer: int,
    heads: Sequence[int],
    roles: Sequence[Role],
) -> PathGradients:
    """∂m/∂(input of the block) through each role of each of a layer's ``heads`` alone.

    Indexed [head, role, position of the suffix, d_model].
    """
    model, device = attention.engine.model, runs.residual.device
    n_runs, n_heads = len(runs.residual), len(heads)
    run_of, place = torch.meshgrid(
        torch.arange(n_runs, device=device), torch.arange(n_heads, device=device), indexing="ij"
    )
    run_of, head_of = run_of.reshape(-1), torch.tensor(heads, device=device)[place.reshape(-1)]

    def slopes(chosen: slice) -> Tensor:
        which, head = run_of[chosen], head_of[chosen]
        of_row = torch.full_like(which, runs.pair)
        found = []
        with torch.enable_grad():
            held = attention.of_residual(layer, runs.residual[which, layer], of_row)
            for role in roles:
                hidden = runs.residual[which, layer].clone().requires_grad_()
                changed = attention.of_residual(layer, hidden, of_row)
                output = head_outputs(model, layer, replaced(attention, held, changed, role), head)
                reached = (output * runs.gradient[which, layer]).sum()
                found.append(torch.autograd.grad(reached, hidden)[0])
        return torch.stack(found, dim=1)

    found = attention.engine.in_batches(len(run_of), slopes)
    return runs.summary(found.view(n_runs, n_heads, *found.shape[1:]))


def logits_gradients(runs: PathRuns) -> PathGradients:
    """∂m/∂(output of the last block) at the last position, for the logits as receiver."""
    return runs.summary(runs.final)


@torch.no_grad()
def first_order(
    gradients: Float[Tensor, "head role suffix d_model"],
    changes: Float[Tensor, "sender suffix d_model"],
) -> Float[Array, "head role sender"]:
    """The scores of all edges: each sender's change times the gradient at each receiver."""
    wide = torch.promote_types(changes.dtype, torch.float32)
    found = torch.einsum("hrpd,spd->hrs", gradients.to(wide), changes.to(wide))
    return found.double().cpu().numpy()


@torch.no_grad()
def first_order_direct(
    gradient: Float[Tensor, " d_model"], changes: Float[Tensor, "sender suffix d_model"]
) -> Float[Array, " sender"]:
    """The same for the logits as receiver, which read the last position."""
    wide = torch.promote_types(changes.dtype, torch.float32)
    return (changes[:, -1].to(wide) @ gradient.to(wide)).double().cpu().numpy()
