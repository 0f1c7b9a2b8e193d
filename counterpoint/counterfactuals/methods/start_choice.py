"""Which sentences, and which place and token in each, promise a pair on which a head comes first.

Most heads matter little in most sentences, and a batch of variants is dear. So many sentences are
looked at in stages, each for the better part of the one before:

1. how much the answer leans on the head, by mean ablation, at every end (`Evaluator.screen`). Of
   what is known of a sentence beforehand this says best whether a pair will come of it;
2. of those that lean most, at that end, the gradient of LD (likeliest token less runner-up, or the
   declared answers) with respect to every head's values. Gradient times the head's distance from
   its mean says at which positions the head acts, its attention from there what it reads: places to
   edit;
3. a few likely tokens at such places, run: the gradient times the differences of values is what
   every head does, to first order, and the quality of that says which place and token to take.

The promise of a place is how far its sentence leans on the head times the root of that quality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.counterfactuals.evaluation.all_heads import (
    estimated_effects,
    run_with_values,
    value_gradients,
)
from counterpoint.counterfactuals.evaluation.head_path import TargetRun
from counterpoint.counterfactuals.head_ranks import margins
from counterpoint.counterfactuals.methods.proposals import without
from counterpoint.counterfactuals.methods.variants import Moves
from counterpoint.counterfactuals.pair_quality import quality
from counterpoint.engine.prefix_cache import PrefixKeysValues

SHORTEST = 4
"""Tokens after the first that a sentence keeps: a shorter one has nothing to edit but the very
first words."""

LEAST_READ = 1e-9
"""Logits that every position counts as giving a head, so that each can be drawn."""


@dataclass(frozen=True)
class EditPlace:
    """A sentence, cut to where it leans on the head most, a position in it, and a token that
    promises much there."""

    sentence: tuple[int, ...]
    position: int
    token: int
    promise: float


def promising_places(
    moves: Moves,
    prompts: Int[Tensor, "row length"],
    run: TargetRun | None = None,
    *,
    cap: float,
    tries: int,
    count: int,
) -> list[EditPlace]:
    """A place in each of those ``count`` of the ``prompts`` that lean on the head most, the most
    promising first.

    ``cap`` is the most mean loss per token of a sentence; ``tries`` edits of each are run, by
    tokens that are likely there. Costs an evaluation for each prompt, one more where their own
    ``run`` is not given, and 2 + ``tries`` for each that is chosen.
    """
    evaluator, propose = moves.evaluator, moves.propose
    target, n_heads = evaluator.path.target, evaluator.model.n_heads
    screened = evaluator.screen(prompts, run)
    ablation_fall = screened.ablation_fall.masked_fill(screened.loss > cap, -torch.inf)
    ablation_fall[:, : min(SHORTEST - 1, ablation_fall.shape[1] - 1)] = -torch.inf
    best = ablation_fall.max(1)
    rows = best.values.argsort(descending=True)[:count]
    rows = rows[best.values[rows].isfinite()]
    if not len(rows):
        return []
    last = best.indices[rows] + 1
    x = prompts[rows]
    correct, incorrect = screened.answers[rows, best.indices[rows]].unbind(-1)
    own, gradients = value_gradients(evaluator.model, x, last, correct, incorrect)
    evaluator.ledger.evaluations += 2 * len(rows)

    pattern = screened.run.pattern
    reads = _reads(
        gradients[target.layer].unflatten(-1, (n_heads, -1))[:, :, target.head],
        own.z[target.layer].unflatten(-1, (n_heads, -1))[:, :, target.head],
        None if pattern is None else pattern[rows],
        moves.first,
        last,
    )
    position = propose.draw(reads.log().repeat_interleave(tries, 0))
    sentence = torch.arange(len(rows), device=x.device).repeat_interleave(tries)
    y = x[sentence].clone()
    likely = propose.writable(screened.run.logits[rows[sentence], position - 1])
    for row, scores in enumerate(likely):
        y[row, position[row]] = moves.draw(without(scores, y[row, position[row]]), 1)[0]
    past = None if own.cache is None else PrefixKeysValues.of(own.cache)
    effects = []
    for row, stop in enumerate((last + 1).tolist()):
        # Up to the first that is edited they are the sentence, and from ``stop`` on the gradient
        # is 0: only what lies between is run.
        edits = sentence == row
        start = int(position[edits].min())
        run_of_edits = (
            run_with_values(evaluator.model, y[edits, :stop])
            if past is None
            else run_with_values(evaluator.model, y[edits, start:stop], past.up_to(start, row))
        )
        between = slice(row, row + 1), slice(start, stop)
        apart = [
            to[:, start - stop :] - fro[between]
            for to, fro in zip(run_of_edits.z, own.z, strict=True)
        ]
        effects.append(estimated_effects(n_heads, [one[between] for one in gradients], apart))
    evaluator.ledger.evaluations += len(y)
    # Toward which answer it moves is left to the variants; here it is how far.
    sizes = torch.cat(effects).abs().double().cpu().numpy()
    number = target.layer * n_heads + target.head
    first_order = quality(sizes[:, number], margins(sizes)[:, number])
    leans = best.values[rows].clamp_min(0).double().cpu().numpy()
    promise = leans[sentence.cpu().numpy()] * np.sqrt(first_order)
    found: dict[int, EditPlace] = {}
    for edit in np.argsort(-promise, kind="stable").tolist():
        row = int(sentence[edit])
        cut = tuple(x[row, : int(last[row]) + 1].tolist())
        at = int(position[edit])
        found.setdefault(row, EditPlace(cut, at, int(y[edit, at]), float(promise[edit])))
    return list(found.values())


def _reads(
    gradient: Float[Tensor, "row position width"],
    values: Float[Tensor, "row position width"],
    pattern: Float[Tensor, "row query key"] | None,
    first: int,
    last: Int[Tensor, " row"],
) -> Float[Tensor, "row key"]:
    """How much of what the head does at an end comes from each position before it; 0 only at
    positions that are not written."""
    acts = (gradient * (values - values[:, 1:].mean((0, 1)))).sum(-1).abs()
    # Where a model does not give its attention, a head is taken to read where it acts.
    reads = acts if pattern is None else torch.einsum("rq,rqk->rk", acts, pattern)
    keys = torch.arange(reads.shape[1], device=reads.device)
    # A head that does nothing at all leaves every position as likely as another.
    return reads.clamp_min(LEAST_READ).masked_fill((keys < first) | (keys > last[:, None]), 0)
