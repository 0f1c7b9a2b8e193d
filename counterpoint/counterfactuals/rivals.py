"""Rivals: how strongly all heads matter on a pair, to first order and for three evaluations.

A pair on which the target matters is worth little when another head matters more. Exact AP of all
heads costs hundreds of evaluations; attribution patching, the gradient of LD in x's run times the
difference of the head's values, ranks rivals well enough to guide a search (Nanda 2023; Syed, Rager
& Conmy 2023). It only guides: `validation` ranks heads by exact AP.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.counterfactuals.evaluation import Evaluator


def attribution_of_heads(
    evaluator: Evaluator,
    clean: Int[Tensor, "pair length"],
    corrupted: Int[Tensor, "pair length"],
    correct: Int[Tensor, " pair"],
    incorrect: Int[Tensor, " pair"],
) -> Float[Tensor, "pair layer head"]:
    """AtP of every head in the direction `noising`; 3 evaluations for each pair."""
    model, n_pairs = evaluator.model, len(clean)
    values: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        # A leaf of its own, so that the gradient is asked for at every layer of one run.
        z = args[0] if args[0].requires_grad else args[0].requires_grad_()
        values.append(z)
        return (z,)

    with ExitStack() as hooks, torch.enable_grad():
        for projection in model.output_projections:
            hooks.callback(projection.register_forward_pre_hook(keep).remove)
        last = model.hf(
            input_ids=torch.cat([clean, corrupted]), use_cache=False, logits_to_keep=1
        ).logits[:n_pairs, -1]
        chosen = last.gather(1, torch.stack([correct, incorrect], 1))
        gradients = torch.autograd.grad((chosen[:, 0] - chosen[:, 1]).sum(), values)
    evaluator.ledger.evaluations += 3 * n_pairs
    scores = [
        ((z[n_pairs:] - z[:n_pairs]) * gradient[:n_pairs])
        .detach()
        .unflatten(-1, (model.n_heads, -1))
        .sum((1, 3))
        for z, gradient in zip(values, gradients, strict=True)
    ]
    return torch.stack(scores, 1)
