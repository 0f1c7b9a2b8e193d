"""The metric m: one number per run, read from the logits at the last position.

Three metrics are offered. `logit_difference` is the field's LD, logit(correct) − logit(incorrect);
`log_probability` is log p(correct); `kl_divergence` is KL(clean ‖ run) of the next-token
distributions. Where an answer is a list of tokens, the logit difference takes the mean of their
logits and the log-probability the probability of any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

METRICS = ("logit_difference", "log_probability", "kl_divergence")


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric for the pairs of one bucket.

    ``vocabulary`` holds the token ids whose logits are read, or None for all of them, so that a run
    computes no other row of the unembedding.
    """

    name: str
    vocabulary: Int[Tensor, " token"] | None
    correct: Float[Tensor, "pair token"]
    """Weight of each token in the mean over a pair's correct answers."""
    incorrect: Float[Tensor, "pair token"]
    clean_logits: Float[Tensor, "pair vocabulary"] | None = None

    def __call__(
        self, logits: Float[Tensor, "row token"], pair: Int[Tensor, " row"]
    ) -> Float[Tensor, " row"]:
        """The metric of each row; ``pair`` says which pair of the bucket a row belongs to."""
        if self.name == "logit_difference":
            return (logits * (self.correct - self.incorrect)[pair]).sum(-1)
        log_probabilities = logits.log_softmax(-1)
        if self.name == "log_probability":
            outside = self.correct[pair] == 0
            return log_probabilities.masked_fill(outside, -torch.inf).logsumexp(-1)
        assert self.clean_logits is not None
        clean = self.clean_logits.log_softmax(-1)[pair]
        # A token that is forbidden (a logit of −∞) has no part in it.
        change = (clean - log_probabilities).masked_fill(clean == -torch.inf, 0)
        return (clean.exp() * change).sum(-1)


def make_metric(
    name: str,
    correct: Sequence[Sequence[int]],
    incorrect: Sequence[Sequence[int]],
    *,
    d_vocab: int,
    clean_logits: Float[Tensor, "pair vocabulary"] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Metric:
    """Make the metric ``name`` for pairs with these answer tokens.

    ``clean_logits`` is needed by `kl_divergence` alone. Raises ValueError for an unknown name.
    """
    if name not in METRICS:
        raise ValueError(f"metric {name!r} is unknown; expected one of {', '.join(METRICS)}")
    if name == "kl_divergence" and clean_logits is None:
        raise ValueError("kl_divergence needs the clean run's logits")
    vocabulary = None
    if name == "logit_difference":
        used = {token for answers in (*correct, *incorrect) for token in answers}
        vocabulary = torch.tensor(sorted(used), dtype=torch.long, device=device)
    column = (
        {token: place for place, token in enumerate(vocabulary.tolist())}
        if vocabulary is not None
        else {token: token for answers in (*correct, *incorrect) for token in answers}
    )
    width = d_vocab if vocabulary is None else len(vocabulary)

    def mean_over(answers: Sequence[Sequence[int]]) -> Tensor:
        weights = torch.zeros(len(answers), width, device=device, dtype=dtype)
        for pair, tokens in enumerate(answers):
            weights[pair, [column[token] for token in tokens]] = 1 / len(tokens)
        return weights

    return Metric(name, vocabulary, mean_over(correct), mean_over(incorrect), clean_logits)
