"""How many heads do more than a given one, without patching those that cannot.

Whether a head is among the first few of a context is a question about few heads. Which of them to
patch is said by estimates to first order: a head's change times the gradient of the logit
difference in runs whose embeddings lie at `POINTS` of the way between the two prompts, so that what
is saturated at one of them shows at another. Heads are patched exactly, from the largest estimate
down, until

- as many as are asked about do more than the head in question, which is certain whatever the others
  do; or
- the largest estimates of all others are below a `SCREEN`-th of what the head in question does.

The first is exact. The second rests on `SCREEN`, which says how it was measured.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine.head_outputs import Units
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.input_path_gradients import moved_embeddings
from counterpoint.measures.patching import effects_on, patched_states
from counterpoint.measures.suffix_gradients import scores_of, suffix_run

Array = np.ndarray

POINTS = (0.0, 0.5, 1.0)
"""Where between the prompts' embeddings gradients are taken, from the clean prompt's on."""

SCREEN = 8.0
"""Heads are left out whose largest estimate is less than this part of the effect in question."""

AT_ONCE = 12
"""Heads of a context that are patched before it is seen whether more need be."""


def heads_ahead(
    engine: SuffixEngine,
    place: int,
    answers: Int[Tensor, "context reading 2"],
    few: int,
) -> tuple[Int[Array, "reading context"], Float[Array, "reading context"]]:
    """How many heads do more in `noising` than the one at ``place`` (layer × heads + head), or
    ``few`` where as many or more do; and the AP of that one.

    Contexts are the pairs of ``engine``, a reading is two answers, token ids, for each of them.
    Where both are the same token nothing is looked for: ``few`` heads are ahead.
    """
    model, count = engine.model, len(engine.activations.pairs)
    every = torch.arange(count, device=model.device)
    own = _effects(engine, every, torch.full_like(every, place), answers)
    sizes = np.abs(own)
    ahead = np.where((answers[..., 0] != answers[..., 1]).T.cpu().numpy(), 0, few)
    if (ahead == few).all():
        return ahead, own
    estimates = estimated_sizes(engine, answers)
    estimates[..., place] = 0
    possible = (estimates > 0) & (SCREEN * estimates >= sizes[..., None])
    # In what order: by how the estimate compares with the effect in question, in any reading.
    share = estimates / np.maximum(sizes, np.finfo(float).tiny)[..., None]
    while True:
        wanted = np.where(possible & (ahead < few)[..., None], share, 0.0).max(0)
        first = np.argsort(-wanted, axis=1, kind="stable")[:, :AT_ONCE]
        context, column = np.take_along_axis(wanted, first, 1).nonzero()
        heads = first[context, column]
        if not len(heads):
            return np.minimum(ahead, few), own
        possible[:, context, heads] = False
        # The engine wants its rows from the lowest layer up.
        order = np.argsort(heads // model.n_heads, kind="stable")
        context, heads = context[order], heads[order]
        where, which = (torch.as_tensor(part, device=model.device) for part in (context, heads))
        found = np.abs(_effects(engine, where, which, answers))
        for reading, more in enumerate(found > sizes[:, context]):
            np.add.at(ahead[reading], context, more)


def estimated_sizes(
    engine: SuffixEngine, answers: Int[Tensor, "context reading 2"]
) -> Float[Array, "reading context head"]:
    """The largest size, over `POINTS`, of each head's effect in `noising` to first order; 0 for
    numbers that stand for no head.

    Costs a run of the suffix for each context and point, and a way back for each reading of it.
    """
    pairs, n_readings = len(engine.activations.pairs), answers.shape[1]
    vocabulary, place = torch.unique(answers, return_inverse=True)

    def scored(rows: slice) -> Tensor:
        pair = torch.arange(rows.start, rows.stop, device=answers.device)
        sizes: list[Tensor] = []
        for point in POINTS:
            share = torch.full(pair.shape, point, device=pair.device, dtype=engine.model.dtype)
            with torch.enable_grad(), moved_embeddings(engine, "noising", pair, share):
                run = suffix_run(engine, "noising", pair)
                logits = engine.logits(run.final, vocabulary)
                read = logits.gather(1, place[pair].flatten(1)).unflatten(1, (-1, 2))
                totals = (read[..., 0] - read[..., 1]).sum(0)
            shifts = list(run.shifts.values())
            by_reading = []
            for total in totals:
                found = torch.autograd.grad(total, shifts, retain_graph=True)
                by_layer = dict(zip(run.shifts, found, strict=True))
                by_reading.append(scores_of(engine, "noising", pair, by_layer))
            sizes.append(torch.stack(by_reading, 1).abs())
        return torch.stack(sizes).amax(0)

    found = engine.in_batches(pairs, scored, differentiate=True)
    found = found.nan_to_num().double().view(pairs, n_readings, -1)
    return found.transpose(0, 1).cpu().numpy()


@torch.no_grad()
def _effects(
    engine: SuffixEngine,
    context: Int[Tensor, " row"],
    place: Int[Tensor, " row"],
    answers: Int[Tensor, "context reading 2"],
) -> Float[Array, "reading row"]:
    """AP in `noising` of one head each, lowest layer first."""
    n_heads = engine.model.n_heads
    units = Units(context, place // n_heads, place % n_heads)
    states = patched_states(engine, "noising", units)
    return effects_on(engine, states, "noising", units, answers)
