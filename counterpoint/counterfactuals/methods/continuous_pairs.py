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
from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator


@dataclass(frozen=True, eq=False)
class RelaxedRun:
    """Runs of pairs; of each pair row 0 is x, row 1 is y."""

    logits: Float[Tensor, "pair 2 length vocabulary"]
    outputs: Float[Tensor, "pair alpha"]
    """f at the α that were asked for; f(0) is always the first."""
    answers: Int[Tensor, "pair 2"]
    """The correct and the incorrect one."""


class Relaxation:
    """Runs pairs of embeddings for the target of ``evaluator``, on its ledger."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        model = evaluator.model
        tokens = torch.arange(model.d_vocab, device=model.device)
        self.table: Float[Tensor, "token d_model"] = model.embedding(tokens).detach()
        """What the embedding module gives for each token, scales included."""
        self.squares: Float[Tensor, " token"] = torch.linalg.vector_norm(self.table, dim=-1) ** 2
        """Squared length of each."""

    def run(
        self,
        embeddings: Float[Tensor, "pair 2 length d_model"],
        alphas: tuple[float, ...] = objectives.ALPHAS[1:],
        *,
        logits_to_keep: int = 0,
    ) -> RelaxedRun:
        """f(0) and f at ``alphas``; each pair costs 2 evaluations and one for each α. Logits are
        those of the last ``logits_to_keep`` positions; 0: of all.

        The answers are the prompts' likeliest plain tokens (or the declared ones), taken as
        constants: a change of the answer has no gradient. Where both prompts have the same, y's
        likeliest token of another word stands in, so that there is something to descend on.
        """
        evaluator = self.evaluator
        path, (n_pairs, _, length, _) = evaluator.path, embeddings.shape
        run = path.own_run(
            None, inputs_embeds=embeddings.flatten(0, 1), logits_to_keep=logits_to_keep
        )
        delta = path.difference(run.z[::2], run.z[1::2])
        logits = run.logits.unflatten(0, (n_pairs, 2))
        answers = self._answers(logits[:, :, -1].detach())
        alpha = embeddings.new_tensor(alphas)[:, None, None]
        on_the_way = run.attention[::2, None] + alpha * delta[:, None]
        final = path.patched(
            run.residual[::2].repeat_interleave(len(alphas), 0),
            on_the_way.flatten(0, 1),
            None,
            length,
            only_last=True,
        )[:, -1]
        evaluator.ledger.evaluations += n_pairs * (2 + len(alphas))
        moved = evaluator.difference(final, *answers.repeat_interleave(len(alphas), 0).unbind(-1))
        own = logits[:, 0, -1].gather(-1, answers)
        at_x = own[:, :1] - own[:, 1:]
        return RelaxedRun(logits, torch.cat([at_x, moved.unflatten(0, (n_pairs, -1))], 1), answers)

    def slopes(
        self, tokens: Int[Tensor, "pair 2 length"]
    ) -> Float[Tensor, "pair 2 length d_model"]:
        """The gradient of each pair's LD change with respect to its tokens' embeddings.

        6 evaluations for each pair, half of them for the way back.
        """
        embeddings = self.embed(tokens).requires_grad_()
        with torch.enable_grad():
            outputs = self.run(embeddings, alphas=(1.0,), logits_to_keep=1).outputs
            (gradient,) = torch.autograd.grad((outputs[:, 0] - outputs[:, 1]).sum(), embeddings)
        self.evaluator.ledger.evaluations += 3 * len(tokens)
        return gradient

    def pulls(self, tokens: Int[Tensor, "row length"]) -> Float[Tensor, "row length d_model"]:
        """What `slopes` gives for y where y is x, for 2 evaluations of each row.

        The path stands still there, so that LD's gradient is taken once, at x's run, and carried
        back through the target's values alone.
        """
        path, embeddings = self.evaluator.path, self.embed(tokens).requires_grad_()
        with torch.enable_grad():
            run = path.own_run(None, inputs_embeds=embeddings, logits_to_keep=1)
            last = run.logits[:, -1]
            own = last.gather(-1, self._answers(last.detach()[:, None].expand(-1, 2, -1)))
            fall = (own[:, 1] - own[:, 0]).sum()
            (of_values,) = torch.autograd.grad(fall, run.z, retain_graph=True)
            (gradient,) = torch.autograd.grad(run.z, embeddings, path.own_part(of_values))
        self.evaluator.ledger.evaluations += 2 * len(tokens)
        return gradient

    def _answers(self, last: Float[Tensor, "pair 2 vocabulary"]) -> Int[Tensor, "pair 2"]:
        if self.evaluator.declared is not None:
            return torch.tensor([self.evaluator.declared] * len(last), device=last.device)
        words = self.evaluator.vocabulary
        last = last.masked_fill(~words.plain, -torch.inf)
        correct = last[:, 0].argmax(-1)
        same = words.word == words.word[correct][:, None]
        return torch.stack([correct, last[:, 1].masked_fill(same, -torch.inf).argmax(-1)], -1)

    def embed(self, tokens: Int[Tensor, "*row length"]) -> Float[Tensor, "*row length d_model"]:
        return self.table[tokens]
