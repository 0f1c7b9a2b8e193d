"""EAP-IG's input path at the level of heads: gradients on the way between the two prompts.

The embeddings of the suffix move in equal steps from one prompt's to the other's, the whole model
runs there, and a head's score is the change of its output times the gradient of the metric with
respect to it, averaged over the steps (Hanna, Pezzelle & Belinkov 2024, "Have Faith in
Faithfulness", arXiv 2403.17806; there for edges, here for the heads' outputs, as the authors' code
scores nodes). Of k = 1 … m the point k has the share k/m of the background's embeddings: the
background itself is a point, the other prompt is none. The change of the output is that between the
two prompts, as for AP, and not what the head does on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.slopes import rounding_floor
from counterpoint.measures.suffix_gradients import first_order_scores

Array = np.ndarray

STEPS = 5
"""Points of the path: what the authors take."""

END_TOLERANCE = 100.0
"""How far the ends of the path may be from the prompts' own runs, in units of the rounding of f."""


def input_path_scores(
    engine: SuffixEngine,
    direction: Direction,
    *,
    steps: int = STEPS,
    advance: Callable[[int], object] | None = None,
) -> Float[Array, "layer pair head"]:
    """EAP-IG of every head. Not a number in layers without heads.

    Raises UserError where the embeddings are not all that a run depends on: where other embeddings
    in the background's run do not give the other prompt's metric.
    """
    model, n_pairs = engine.model, len(engine.activations.pairs)
    pair = torch.arange(n_pairs, device=model.device).repeat_interleave(steps + 1)
    # The share of the other prompt's embeddings; the last point checks the path and scores nothing.
    share = torch.linspace(0, 1, steps + 1, device=model.device, dtype=model.dtype)
    share = share.repeat(n_pairs)

    def scored(rows: slice) -> Tensor:
        with moved_embeddings(engine, direction, pair[rows], share[rows]):
            metric, score = first_order_scores(engine, direction, pair[rows])
        return torch.cat([metric.unsqueeze(1), score.flatten(1)], dim=1)

    found = engine.in_batches(len(pair), scored, differentiate=True, advance=advance)
    metric, score = found[:, 0].view(n_pairs, steps + 1), found[:, 1:]
    _check_ends(engine, direction, metric)
    by_step = score.view(n_pairs, steps + 1, model.n_layers, model.n_heads)[:, :-1]
    return by_step.mean(1).transpose(0, 1).double().cpu().numpy()


@contextmanager
def moved_embeddings(
    engine: SuffixEngine,
    direction: Direction,
    pair: Tensor,
    share: Float[Tensor, " row"],
) -> Iterator[None]:
    """Let the embedding layer return what lies the ``share`` of the way to the other prompt's."""
    embedding, tokens = engine.model.embedding, engine.activations.tokens
    own, others = (tokens(side(direction))[pair] for side in (background_prompt, other_prompt))
    plain = embedding.forward

    def moved(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if output.shape[1] != own.shape[1]:
            # The logits are made in a call of their own, whose tokens say nothing.
            return output
        start, end = plain(own), plain(others)
        return start + share.view(-1, 1, 1) * (end - start)

    handle = embedding.register_forward_hook(moved)
    try:
        yield
    finally:
        handle.remove()


def _check_ends(
    engine: SuffixEngine, direction: Direction, metric: Float[Tensor, "pair point"]
) -> None:
    allowed = END_TOLERANCE * float(np.max(rounding_floor(engine, direction).output))
    for side, point in ((background_prompt, 0), (other_prompt, -1)):
        expected = engine.unpatched(side(direction)).to(metric)
        worst = float((metric[:, point] - expected).abs().max())
        if not worst <= allowed:
            raise UserError(
                f"model architecture {type(engine.model.hf).__name__}: the {side(direction)}"
                f" prompt's embeddings alone miss its metric by {worst:.1e} (at most {allowed:.0e}"
                " is allowed), so a run depends on more than its embeddings and EAP-IG's path is"
                " not defined. Leave eap_ig out of baselines."
            )
