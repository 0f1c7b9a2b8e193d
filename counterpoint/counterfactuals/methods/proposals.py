"""What the model itself would write: likely tokens at a position, sampled sentences and tails.

Every row that is run counts as an evaluation once, however many tokens it is extended by: with the
key-value cache each of its positions is run once.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.evaluation.head_path import TargetRun
from counterpoint.counterfactuals.language.sampling import continuations, perturbed


class Proposals:
    """Proposals from the model of ``evaluator``, on its ledger; random draws from ``generator``."""

    def __init__(self, evaluator: Evaluator, generator: torch.Generator) -> None:
        self.evaluator, self.generator = evaluator, generator

    @torch.no_grad()
    def log_probabilities(
        self, tokens: Int[Tensor, "row length"], logits_to_keep: int = 0
    ) -> Float[Tensor, "row read token"]:
        """log p of every token that may be written, after each of the last ``logits_to_keep``
        positions (0: of all); −inf for the others."""
        logits = self.evaluator.model.hf(
            input_ids=tokens, use_cache=False, logits_to_keep=logits_to_keep
        ).logits
        self.evaluator.ledger.evaluations += len(tokens)
        return self.writable(logits)

    def writable(self, logits: Float[Tensor, "*row token"]) -> Float[Tensor, "*row token"]:
        return logits.log_softmax(-1).masked_fill(~self.evaluator.vocabulary.allowed, -torch.inf)

    def continue_together(
        self, prompts: Int[Tensor, "prompt length"], count: int, steps: int
    ) -> Int[Tensor, "count steps"]:
        """``count`` continuations by ``steps`` tokens that all ``prompts`` find likely."""
        return self._continue(prompts.expand(count, -1, -1), steps)

    def continue_each(
        self, rows: Int[Tensor, "row length"], steps: int
    ) -> Int[Tensor, "row steps"]:
        """Each row's own continuation."""
        return self._continue(rows[:, None], steps)

    def write(
        self, rows: Int[Tensor, "row begun"], steps: int
    ) -> tuple[Int[Tensor, "row length"], TargetRun]:
        """Each row with its own continuation, and the run that wrote it."""
        evaluator, logits = self.evaluator, list[Tensor]()
        allowed = evaluator.vocabulary.allowed
        with evaluator.path.kept_parts() as parts:
            drawn = continuations(
                evaluator.model, rows[:, None], steps, allowed, self.generator, logits
            )
        evaluator.ledger.evaluations += len(rows)
        return torch.cat([rows, drawn], 1), parts.run(logits)

    def _continue(
        self, groups: Int[Tensor, "group prompt length"], steps: int
    ) -> Int[Tensor, "group steps"]:
        self.evaluator.ledger.evaluations += groups.shape[0] * groups.shape[1]
        allowed = self.evaluator.vocabulary.allowed
        return continuations(self.evaluator.model, groups, steps, allowed, self.generator)

    def draw(self, scores: Float[Tensor, "row choice"]) -> Int[Tensor, " row"]:
        """One choice for each row with probability softmax(scores)."""
        return perturbed(scores, self.generator).argmax(-1)

    def number(self, stop: int) -> int:
        """A random number from 0 to stop − 1."""
        return int(torch.randint(stop, (1,), generator=self.generator))

    def chance(self) -> float:
        return float(torch.rand(1, generator=self.generator))


def without(
    scores: Float[Tensor, " token"], banned: Bool[Tensor, " token"] | Tensor
) -> Float[Tensor, " token"]:
    """Scores with the banned tokens at −inf; ``banned`` is a mask or a tensor of ids."""
    scores = scores.clone()
    scores[banned] = -torch.inf
    return scores
