"""A pair as embeddings: the output along the path, differentiable in both prompts' embeddings.

At embeddings that are tokens' own, the outputs are the discrete pair's, exactly; elsewhere they are
a relaxation, from which nothing is ever reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.counterfactuals import objectives
from counterpoint.counterfactuals.evaluation import Evaluator


@dataclass(frozen=True, eq=False)
class RelaxedRun:
    """One pair's runs; row 0 is x, row 1 is y."""

    logits: Float[Tensor, "2 length vocabulary"]
    outputs: Float[Tensor, " alpha"]
    """f at the α that were asked for; f(0) is always the first."""
    correct: int
    incorrect: int


class Relaxation:
    """Runs pairs of embeddings for the target of ``evaluator``, on its ledger."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        model = evaluator.model
        tokens = torch.arange(model.d_vocab, device=model.device)
        self.table: Float[Tensor, "token d_model"] = model.embedding(tokens).detach()
        """What the embedding module gives for each token, scales included."""
        self.squares: Float[Tensor, " token"] = self.table.square().sum(-1)
        """Squared length of each."""

    def run(
        self,
        embeddings: Float[Tensor, "2 length d_model"],
        alphas: tuple[float, ...] = objectives.ALPHAS[1:],
    ) -> RelaxedRun:
        """f(0) and f at ``alphas``; costs 2 evaluations and one for each α.

        The answers are the prompts' likeliest plain tokens (or the declared ones), taken as
        constants: a change of the answer has no gradient. Where both prompts have the same, y's
        likeliest token of another word stands in, so that there is something to descend on.
        """
        evaluator = self.evaluator
        path, length = evaluator.path, embeddings.shape[1]
        run = path.own_run(None, inputs_embeds=embeddings)
        delta = path.difference(run.z[:1], run.z[1:])
        correct, incorrect = self._answers(run.logits[:, -1].detach())
        alpha = embeddings.new_tensor(alphas)[:, None, None]
        final = path.patched(
            run.residual[:1].expand(len(alphas), -1, -1),
            run.attention[:1] + alpha * delta,
            None,
            length,
        )[:, -1]
        evaluator.ledger.evaluations += 2 + len(alphas)
        tokens = torch.tensor([correct, incorrect], device=embeddings.device)
        logits = torch.cat([run.logits[:1, -1, tokens], evaluator.engine.logits(final, tokens)])
        return RelaxedRun(run.logits, logits[:, 0] - logits[:, 1], correct, incorrect)

    def _answers(self, last: Float[Tensor, "2 vocabulary"]) -> tuple[int, int]:
        if self.evaluator.declared is not None:
            correct, incorrect = self.evaluator.declared
            return correct, incorrect
        words = self.evaluator.vocabulary
        last = last.masked_fill(~words.plain, -torch.inf)
        correct = int(last[0].argmax())
        other = last[1].masked_fill(words.word == words.word[correct], -torch.inf)
        return correct, int(other.argmax())

    def embed(self, tokens: Int[Tensor, "*row length"]) -> Float[Tensor, "*row length d_model"]:
        return self.table[tokens]
