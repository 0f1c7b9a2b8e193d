"""Whether an edit works in contexts that it was not found in.

What stays of a pair, and the contexts, are those of `fresh_contexts`.

In each context the target is patched, and of the others those that may do more until five do (exact
AP, `noising`; `heads_ahead`). Answers are read twice: as each prompt's own
likeliest tokens there, and as the pair's own. Where both prompts of a context go on
with the same token, the edit changes nothing that could be asked for: the target counts as neither
first nor among the first five, and its LD change as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from counterpoint.counterfactuals.evaluation.all_heads import (
    Pair,
    estimated_effects,
    run_with_values,
    value_gradients,
)
from counterpoint.counterfactuals.evaluation.fresh_contexts import (
    SAMPLES_PER_CONTEXT,
    Context,
    Samples,
    draw_samples,
    fresh_contexts,
    tail_of,
)
from counterpoint.counterfactuals.evaluation.heads_ahead import heads_ahead
from counterpoint.counterfactuals.head_ranks import FIRST_FEW, rank_of
from counterpoint.counterfactuals.objectives import ld_change_of
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.models.load import LanguageModel

Array = np.ndarray

COLUMNS = (
    "transfer_contexts",
    "transfer_first",
    "transfer_first_five",
    "transfer_ld_change",
    "transfer_same_answer",
    "transfer_first_declared",
    "transfer_first_five_declared",
    "transfer_ld_change_declared",
    "transfer_perplexity",
    "transfer_kept",
    "transfer_clean",
    "transfer_corrupted",
    "transfer_ranks",
    "transfer_ld_changes",
)
"""What `transfer_columns` says of a pair: contexts found; in how many the target is first and in
the first five by |AP|; the median LD change (−AP); in how many both prompts have one answer. The
same three with the pair's own answers (``declared``). The median over contexts of the greater of
the prompts' perplexities; tokens of the pair that the contexts keep; and per context the prompts,
the target's rank (0 where the answers are the same, 6 where it is not among the first five) and its
LD change."""


def estimated_transfer(model: LanguageModel, place: int, contexts: Sequence[Context]) -> float:
    """The share of ``contexts`` in which the head at ``place`` is among the first five to first
    order, by gradients in x's run; 4 evaluations for each."""
    stays = 0
    for context in contexts:
        both = torch.tensor([context.clean, context.corrupted], device=model.device)
        run = run_with_values(model, both)
        correct, incorrect = run.logits[:, -1].argmax(-1)[:, None]
        last = torch.tensor([both.shape[1] - 1], device=model.device)
        _, gradients = value_gradients(model, both[:1], last, correct, incorrect)
        apart = [z[1:] - z[:1] for z in run.z]
        (effects,) = estimated_effects(model.n_heads, gradients, apart)
        differ = bool(correct != incorrect)
        stays += differ and rank_of(effects.cpu().numpy(), place) <= FIRST_FEW
    return stays / len(contexts) if contexts else 0.0


class Transfer:
    """Tries edits in ``count`` contexts each; the samples are drawn once, when first needed."""

    def __init__(
        self, model: LanguageModel, count: int, seed: int = 0, *, memory_mb: int = 1000
    ) -> None:
        self.model, self.count, self.seed, self.memory_mb = model, count, seed, memory_mb

    @cached_property
    def samples(self) -> Samples:
        return draw_samples(self.model, SAMPLES_PER_CONTEXT * self.count, self.seed)

    def columns_of(self, place: int, pair: Pair) -> dict[str, object]:
        """`transfer_columns` the pair in contexts of its own."""
        kept = len(tail_of(self.model, pair.clean, pair.corrupted)[0])
        return transfer_columns(
            self.model, place, pair.answers, self._contexts(pair), kept, memory_mb=self.memory_mb
        )

    def first_places_of(self, place: int, pair: Pair) -> dict[str, int]:
        """`first_places` the same contexts."""
        return first_places(self.model, place, self._contexts(pair), memory_mb=self.memory_mb)

    def _contexts(self, pair: Pair) -> list[Context]:
        return fresh_contexts(self.model, self.samples, pair.clean, pair.corrupted, self.count)


def _by_length(contexts: Sequence[Context]) -> Iterator[tuple[list[int], list[Context]]]:
    """Contexts of one length, which share their first differing token's place, and a sweep; and
    their numbers."""
    for length in sorted({len(context.clean) for context in contexts}):
        where = [i for i, context in enumerate(contexts) if len(context.clean) == length]
        yield where, [contexts[i] for i in where]


def first_places(
    model: LanguageModel, place: int, contexts: Sequence[Context], *, memory_mb: int = 1000
) -> dict[str, int]:
    """In how many ``contexts`` the head is first and in the first five, and their number: of the
    columns of `transfer_columns` these alone."""
    ahead = np.full(len(contexts), FIRST_FEW)
    for where, here in _by_length(contexts):
        engine, likeliest = _engine(model, here, memory_mb)
        (ahead[where],), _ = heads_ahead(engine, place, likeliest[:, None], few=[FIRST_FEW])
    return {
        "transfer_contexts": len(contexts),
        "transfer_first": int((ahead == 0).sum()),
        "transfer_first_five": int((ahead < FIRST_FEW).sum()),
    }


def transfer_columns(
    model: LanguageModel,
    place: int,
    answers: tuple[int, int],
    contexts: Sequence[Context],
    kept: int,
    *,
    memory_mb: int = 1000,
) -> dict[str, object]:
    """What becomes of the head at ``place`` (layer × heads + head) in ``contexts``: `COLUMNS`."""
    readings = np.zeros((2, len(contexts), 2))
    same = np.zeros(len(contexts), dtype=bool)
    for where, here in _by_length(contexts):
        engine, likeliest = _engine(model, here, memory_mb)
        own = torch.tensor([answers] * len(here), device=model.device)
        asked = torch.stack([own, likeliest], 1)
        ahead, effects = heads_ahead(engine, place, asked, few=[FIRST_FEW, FIRST_FEW])
        readings[:, where] = np.stack([ahead + 1, ld_change_of(effects)], 2)
        same[where] = (likeliest[:, 0] == likeliest[:, 1]).cpu().numpy()
    of_declared, ranks = readings[..., 0].astype(int)
    ranks[same] = 0
    changes = np.where(same, 0.0, readings[1, :, 1])
    return {
        "transfer_contexts": len(contexts),
        "transfer_first": int((ranks == 1).sum()),
        "transfer_first_five": int(((ranks >= 1) & (ranks <= FIRST_FEW)).sum()),
        "transfer_ld_change": _median(changes),
        "transfer_same_answer": int(same.sum()),
        "transfer_first_declared": int((of_declared == 1).sum()),
        "transfer_first_five_declared": int((of_declared <= FIRST_FEW).sum()),
        "transfer_ld_change_declared": _median(readings[0, :, 1]),
        "transfer_perplexity": float(np.exp(_median([context.loss for context in contexts]))),
        "transfer_kept": kept,
        "transfer_clean": [model.decode(list(context.clean)) for context in contexts],
        "transfer_corrupted": [model.decode(list(context.corrupted)) for context in contexts],
        "transfer_ranks": ranks.tolist(),
        "transfer_ld_changes": changes.tolist(),
    }


def _engine(
    model: LanguageModel, contexts: Sequence[Context], memory_mb: int
) -> tuple[SuffixEngine, Int[Tensor, "context 2"]]:
    """An engine for contexts of one length, and both prompts' likeliest tokens.

    Rows are evaluated in the most careful way that any prompt of the model has needed so far, which
    is not looked for again: contexts differ from the pair in their length alone.
    """
    count = len(contexts)
    pairs = TokenPairs(
        torch.tensor([context.clean for context in contexts]),
        torch.tensor([context.corrupted for context in contexts]),
        # Which answers the engine itself asks for plays no part.
        ((0,),) * count,
        ((1,),) * count,
        tuple(range(count)),
    )
    activations = cache_activations(model, pairs, verify=False)
    engine = SuffixEngine(model, activations, memory_mb=memory_mb, verify=False)
    final = torch.cat([engine.activations.clean.final, engine.activations.corrupted.final])
    return engine, engine.logits(final).argmax(1).view(2, count).T


def _median(values: Sequence[float] | Array) -> float:
    return float(np.median(values)) if len(values) else float("nan")
