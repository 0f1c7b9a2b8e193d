"""What an evaluation says of pairs, and of prompts by themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.counterfactuals.archive import ScoredPair
from counterpoint.counterfactuals.evaluation.head_path import TargetRun


@dataclass(frozen=True, eq=False)
class ScreenedPrompts:
    """Prompts at every end of 2 tokens and more.

    ``ablation_fall`` is the fall of LD by mean ablation: on the ``answers``, the likeliest token
    and the runner-up or the declared ones, when the target's value, at each position but the first,
    is replaced by its mean over all these positions and prompts. ``loss`` is the mean loss per
    predicted token of the prompt that ends there. ``run`` is the prompts' own.
    """

    ablation_fall: Float[Tensor, "row end"]
    answers: Int[Tensor, "row end 2"]
    loss: Float[Tensor, "row end"]
    run: TargetRun


@dataclass(frozen=True, eq=False)
class MeasuredPairs:
    """Pairs of one length, as far as they were measured.

    A pair is *valid* when it may be kept: its prompts differ, its answers are two plain tokens and,
    where the setting forbids it, no words of a prompt. ``ld_change``, ``evenness`` and the losses
    are NaN where they were not measured.
    """

    clean: Int[Tensor, "pair length"]
    corrupted: Int[Tensor, "pair length"]
    correct: Int[Tensor, " pair"]
    incorrect: Int[Tensor, " pair"]
    loss_clean: Float[Tensor, " pair"]
    loss_corrupted: Float[Tensor, " pair"]
    valid: Bool[Tensor, " pair"]
    ld_change: Float[Tensor, " pair"]
    evenness: Float[Tensor, " pair"]

    def scored(self, pair: int, evaluations: int) -> ScoredPair:
        """One pair as plain numbers."""
        return ScoredPair(
            clean=tuple(self.clean[pair].tolist()),
            corrupted=tuple(self.corrupted[pair].tolist()),
            correct=int(self.correct[pair]),
            incorrect=int(self.incorrect[pair]),
            ld_change=float(self.ld_change[pair]),
            evenness=float(self.evenness[pair]),
            loss_clean=float(self.loss_clean[pair]),
            loss_corrupted=float(self.loss_corrupted[pair]),
            evaluations=evaluations,
        )


def best_few(measured: MeasuredPairs, count: int) -> Bool[Tensor, " pair"]:
    """The ``count`` pairs with the greatest LD change, where it is above 0."""
    change = measured.ld_change.nan_to_num(-torch.inf)
    few = torch.zeros_like(change, dtype=torch.bool)
    few[change.topk(min(count, len(change))).indices] = True
    return few & (change > 0)
