"""Effects of heads on any answers, and on every token of the vocabulary.

Activation patching asks how the metric of a pair changes. The patched run, though, has logits for
every token, and one sweep gives the state before the unembedding from which all of them follow. So
the exact effect of a head is known on any answer, also on those that no pair names, and so are the
tokens that it raises and lowers most. Direct logit attribution asks the same of the head's own
direct path alone, and to first order where the final norm is frozen; here everything downstream of
the head is computed anew.

For a token v, with logits ℓ of the patched run and ℓ° of the background's:

    logit change        Δ_v = ℓ_v − ℓ°_v
    centred             Δ_v − mean over the vocabulary of Δ
    log-probability     Δ_v − (logsumexp ℓ − logsumexp ℓ°)
    probability         p_v − p°_v

The first three differ by a number that is the same for every token of a row, so they order tokens
alike; a logit by itself says nothing, since the same added to all of them changes no probability.
The logit change of the correct answer less that of the incorrect one is the AP of the logit
difference. Tokens that a model forbids (a logit of minus infinity, or nearly) have no change and no
part in the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt
from counterpoint.engine.head_outputs import Units
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.patching import patched_states

ROWS_OF_LOGITS = 8
"""How often a batch's logits stand in memory at once, in double precision: as they are, changed,
as probabilities, and copies in between."""


@dataclass(frozen=True, eq=False)
class LogitChanges:
    """What patching does to the logits of every token, of some units: one row each."""

    logit: Float[Tensor, "unit token"]
    """NaN for a token that is forbidden in either run."""
    mean: Float[Tensor, " unit"]
    """Over the tokens that are not forbidden."""
    normaliser: Float[Tensor, " unit"]
    """The change of logsumexp."""
    background: Float[Tensor, "unit token"]
    """Log-probabilities of the background."""

    @property
    def centred(self) -> Float[Tensor, "unit token"]:
        return self.logit - self.mean[:, None]

    @property
    def log_probability(self) -> Float[Tensor, "unit token"]:
        return self.logit - self.normaliser[:, None]

    @property
    def probability(self) -> Float[Tensor, "unit token"]:
        start = self.background.exp()
        # As a difference of exponents: p − p° of a likely token would cancel.
        return start * torch.expm1(self.log_probability)


@torch.no_grad()
def logit_changes(
    engine: SuffixEngine,
    direction: Direction,
    units: Units,
    look: Callable[[slice, LogitChanges], None],
) -> None:
    """Tell ``look`` the changes of every unit's logits, batch by batch, with their places.

    ``units`` stand lowest layer first. The whole vocabulary of many units is more than memory
    holds, so that what is wanted of it is taken from each batch.
    """
    states = patched_states(engine, direction, units)
    start = _finite(engine.logits(engine.activations.run(background_prompt(direction)).final))
    normaliser = start.nan_to_num(-torch.inf).logsumexp(1)
    background = start - normaliser[:, None]
    bytes_per_row = ROWS_OF_LOGITS * 8 * start.shape[1]
    size = max(1, engine.memory_mb * 2**20 // bytes_per_row)
    for first in range(0, len(units), size):
        chosen = slice(first, min(first + size, len(units)))
        pair = units.pair[chosen]
        end = _finite(engine.logits(states[chosen]))
        change = end - start[pair]
        of_all = end.nan_to_num(-torch.inf).logsumexp(1) - normaliser[pair]
        look(
            chosen,
            LogitChanges(change, change.nanmean(1), of_all, background[pair]),
        )


def _finite(logits: Float[Tensor, "row token"]) -> Float[Tensor, "row token"]:
    """In double precision, NaN for forbidden tokens."""
    forbidden = logits <= torch.finfo(logits.dtype).min / 2
    return logits.double().masked_fill(forbidden, torch.nan)


@dataclass(frozen=True, eq=False)
class OnAnswers:
    """Effects on chosen answers: one row per unit, one column per answer."""

    logit: Float[np.ndarray, "unit answer"]
    centred: Float[np.ndarray, "unit answer"]
    log_probability: Float[np.ndarray, "unit answer"]
    probability: Float[np.ndarray, "unit answer"]
    background: Float[np.ndarray, "unit answer"]
    """Log-probability in the unpatched background."""


@dataclass(frozen=True, eq=False)
class OnTokens:
    """The tokens that are raised and lowered most, by `ORDERS` and on both `SIDES`, best first."""

    token: Int[np.ndarray, "unit order side rank"]
    centred: Float[np.ndarray, "unit order side rank"]
    log_probability: Float[np.ndarray, "unit order side rank"]
    probability: Float[np.ndarray, "unit order side rank"]
    background: Float[np.ndarray, "unit order side rank"]


ORDERS = ("logit", "probability")
"""By what tokens are ordered: the change of their logit (and log-probability), or of their
probability, which asks that a token be likely in one of the two runs."""

SIDES = ("raised", "lowered")


def ends(order: Float[Tensor, "row token"], count: int) -> Int[Tensor, "row side rank"]:
    """The tokens of the largest and of the smallest values, equal ones by their ids.

    Those without a value (NaN) come last on either side.
    """
    found = []
    for sign in (1, -1):
        size = (sign * order).masked_fill(order.isnan(), -torch.inf)
        values, tokens = size.topk(count, dim=1)
        # Sorted by id first, and then by value in a way that keeps this order.
        tokens, by_id = tokens.sort(dim=1)
        by_value = values.gather(1, by_id).argsort(dim=1, descending=True, stable=True)
        found.append(tokens.gather(1, by_value))
    return torch.stack(found, dim=1)


def _both_ends(
    centred: Float[Tensor, "row token"], probability: Float[Tensor, "row token"], count: int
) -> Int[Tensor, "row end"]:
    """The tokens of `ends` by either order, one after the other."""
    return torch.stack([ends(one, count) for one in (centred, probability)], dim=1).flatten(1)


class AnswerEffects:
    """Collects, over batches, effects on answers, the tokens at both ends, and sums over pairs."""

    def __init__(
        self,
        answers: Int[Tensor, " answer"],
        tokens: int,
        groups: Int[Tensor, " unit"],
        n_groups: int,
    ) -> None:
        self.answers, self.tokens, self.groups = answers, tokens, groups
        self._on_answers: list[list[Tensor]] = []
        self._on_tokens: list[list[Tensor]] = []
        self.sums: list[Tensor] | None = None
        self.n_groups = n_groups

    def __call__(self, chosen: slice, changes: LogitChanges) -> None:
        """One batch; as `logit_changes` tells it."""
        centred, log_probability = changes.centred, changes.log_probability
        parts = [centred, log_probability, changes.probability, changes.background]
        self._on_answers.append([part[:, self.answers] for part in (changes.logit, *parts)])
        found = _both_ends(centred, changes.probability, self.tokens)
        self._on_tokens.append([found, *(part.gather(1, found) for part in parts)])
        # A mean over pairs is of probabilities, as that of their changes is.
        summed = [*parts[:-1], changes.background.exp()]
        if self.sums is None:
            self.sums = [part.new_zeros(self.n_groups, part.shape[1]) for part in summed]
        for total, part in zip(self.sums, summed, strict=True):
            total.index_add_(0, self.groups[chosen], part)

    def on_answers(self) -> OnAnswers:
        """Of all units."""
        return OnAnswers(*(_joined(parts) for parts in zip(*self._on_answers, strict=True)))

    def on_tokens(self) -> OnTokens:
        """Of all units."""
        shape = (-1, len(ORDERS), len(SIDES), self.tokens)
        joined = [_joined(parts).reshape(shape) for parts in zip(*self._on_tokens, strict=True)]
        return OnTokens(*joined)


def _joined(parts: tuple[Tensor, ...]) -> np.ndarray:
    return torch.cat(parts).cpu().numpy()


def of_means(
    sums: list[Float[Tensor, "group token"]], count: Int[Tensor, " group"], tokens: int
) -> OnTokens:
    """The tokens at both ends of the mean over pairs, from the sums of `AnswerEffects`.

    Beside them stands the logarithm of the mean probability in the backgrounds.
    """
    means = [total / count[:, None] for total in sums]
    means[-1] = means[-1].log()
    found = _both_ends(means[0], means[2], tokens)
    shape = (-1, len(ORDERS), len(SIDES), tokens)
    return OnTokens(
        found.reshape(shape).cpu().numpy(),
        *(part.gather(1, found).reshape(shape).cpu().numpy() for part in means),
    )
