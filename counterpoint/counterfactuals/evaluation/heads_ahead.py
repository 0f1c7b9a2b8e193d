"""How many heads do more than a given one, without patching those that cannot.

The rank of a head that does much is a question about few others. Which of them to patch is said by
estimates to first order: a head's change times the gradient of the logit difference in runs whose
embeddings lie at `POINTS` of the way between the two prompts, so that what is saturated at one of
them shows at another. Heads are patched exactly, from the largest estimate down, until

- as many as are asked about do more than the head in question, which is certain whatever the others
  do; or
- the largest estimates of all others are below a `SCREEN`-th of what the head in question does.

The first is exact. The second rests on `SCREEN`, which says how it was measured. A head that does
little has to be compared with nearly all others.
"""

from __future__ import annotations

from collections.abc import Sequence

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
"""Heads are not patched whose largest estimate times this is less than the effect in question.

Of SmolLM2's 270 heads in 40 fresh contexts of two pairs, with two readings each, every one was
taken as the head in question: 21,060 ranks. With 8 (and 16) none was missed, with 6 ten were, with
4 74; and of those that are 20 or less none with 2 either. Of heads with a tenth or more of the
largest effect none did more than 1.9 times its estimate (`docs/lab/validation-cost.md`)."""

AT_ONCE = 12
"""Heads of a context patched before it is seen whether more need be; then twice as many."""


def heads_ahead(
    engine: SuffixEngine,
    place: int,
    answers: Int[Tensor, "context reading 2"],
    *,
    few: Sequence[int | None] | None = None,
) -> tuple[Int[Array, "reading context"], Float[Array, "reading context"]]:
    """How many heads do more in `noising` than the one at ``place`` (layer × heads + head), and the
    AP of that one.

    Contexts are the pairs of ``engine``, a reading is two answers, token ids, for each of them.
    ``few`` has for each reading the number from which on it is no longer asked how many are ahead:
    that number is given where as many or more are; None asks for all. Where both answers are the
    same token no head does anything, and all count as ahead.
    """
    model, count = engine.model, len(engine.activations.pairs)
    every = torch.arange(count, device=model.device)
    total = model.n_layers * model.n_heads
    most = np.array([total if one is None else one for one in few or [None] * answers.shape[1]])
    own = _effects(engine, every, torch.full_like(every, place), answers)
    sizes = np.abs(own)
    most = np.broadcast_to(most[:, None], own.shape)
    ahead = np.where((answers[..., 0] != answers[..., 1]).T.cpu().numpy(), 0, most)
    if (ahead == most).all():
        return ahead, own
    estimates = estimated_sizes(engine, answers)
    possible = (estimates > 0) & (SCREEN * estimates >= sizes[..., None])
    possible[..., place] = False
    # In what order: by how the estimate compares with the effect in question, in any reading.
    share = estimates / np.maximum(sizes, np.finfo(float).tiny)[..., None]
    at_once = AT_ONCE
    while True:
        wanted = np.where(possible & (ahead < most)[..., None], share, 0.0).max(0)
        first = np.argsort(-wanted, axis=1, kind="stable")[:, :at_once]
        context, column = np.take_along_axis(wanted, first, 1).nonzero()
        heads = first[context, column]
        if not len(heads):
            return np.minimum(ahead, most), own
        at_once *= 2
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
    """The largest size, over `POINTS`, of each head's effect to first order; 0 for numbers that
    stand for no head.

    Costs a run of the suffix, there and back, for each reading and point of a context; all of them
    share batches.
    """
    shape = len(POINTS), answers.shape[1], len(engine.activations.pairs)
    point, reading, context = (
        axis.flatten() for axis in torch.meshgrid(*map(torch.arange, shape), indexing="ij")
    )
    asked = answers[context, reading].to(engine.model.device)
    vocabulary, place = torch.unique(asked, return_inverse=True)
    points = torch.tensor(POINTS, device=asked.device, dtype=engine.model.dtype)[point]
    context = context.to(asked.device)

    def scored(rows: slice) -> Tensor:
        pair = context[rows]
        with torch.enable_grad(), moved_embeddings(engine, "noising", pair, points[rows]):
            run = suffix_run(engine, "noising", pair)
            read = engine.logits(run.final, vocabulary).gather(1, place[rows])
            total = (read[:, 0] - read[:, 1]).sum()
        slopes = torch.autograd.grad(total, list(run.shifts.values()))
        return scores_of(engine, "noising", pair, dict(zip(run.shifts, slopes, strict=True)))

    found = engine.in_batches(len(context), scored, differentiate=True)
    sizes: Array = found.nan_to_num().abs().double().view(*shape, -1).amax(0).cpu().numpy()
    return sizes


@torch.no_grad()
def _effects(
    engine: SuffixEngine,
    context: Int[Tensor, " row"],
    place: Int[Tensor, " row"],
    answers: Int[Tensor, "context reading 2"],
) -> Float[Array, "reading row"]:
    """AP of one head each, lowest layer first."""
    n_heads = engine.model.n_heads
    units = Units(context, place // n_heads, place % n_heads)
    states = patched_states(engine, "noising", units)
    return effects_on(engine, states, "noising", units, answers)
