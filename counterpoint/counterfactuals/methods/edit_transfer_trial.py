"""Whether the edit of a pair may work elsewhere, asked while the search still goes on.

Validation tries an edit exactly, in contexts that no search has seen. A search asks beforehand, to
first order and in a few contexts whose beginnings it draws for itself.
"""

from __future__ import annotations

from counterpoint.counterfactuals.evaluation.edit_transfer import estimated_transfer
from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.evaluation.fresh_contexts import (
    SAMPLES_PER_CONTEXT,
    Samples,
    draw_samples,
    fresh_contexts,
)
from counterpoint.counterfactuals.methods.proposals import Proposals
from counterpoint.counterfactuals.methods.variants import Parent


class TransferTrial:
    """Tries edits in ``count`` contexts each, on the ledger of ``evaluator``."""

    def __init__(self, evaluator: Evaluator, propose: Proposals, count: int) -> None:
        self.model, self.ledger = evaluator.model, evaluator.ledger
        self.propose, self.count = propose, count
        self.seed: int | None = None
        """Of the sentences that contexts begin with, once they are drawn."""
        self._beginnings: Samples | None = None

    def share(self, head: int, pair: Parent) -> float:
        """In which share of the contexts the head of this number stays among the first."""
        if self.seed is None:
            self.seed = self.propose.number(2**31)
            self.ledger.evaluations += SAMPLES_PER_CONTEXT * self.count
        if self._beginnings is None:
            self._beginnings = draw_samples(self.model, SAMPLES_PER_CONTEXT * self.count, self.seed)
        contexts = fresh_contexts(
            self.model, self._beginnings, pair.clean, pair.corrupted, self.count
        )
        # Twice as many are read as are taken, both prompts of each.
        self.ledger.evaluations += 2 * 2 * self.count + 4 * len(contexts)
        return estimated_transfer(self.model, head, contexts)

    def restore(self, seed: int | None) -> None:
        """Go on with the beginnings of ``seed``; costs nothing, since they were counted before."""
        self.seed, self._beginnings = seed, None
