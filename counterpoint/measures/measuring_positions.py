"""`positions`: AP at single positions, of pairs at hand, as the workflow measures it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from torch import Tensor

from counterpoint.engine.activations import DIRECTIONS, Component, Direction
from counterpoint.errors import UserError, did_you_mean
from counterpoint.global_state import unchanged_state
from counterpoint.measures.call_checks import Head, check_settings, checked_heads
from counterpoint.measures.measured_pairs import MeasuredPairs
from counterpoint.measures.positions import COMPONENTS
from counterpoint.measures.tables.position_table import KEYS, score_positions
from counterpoint.models.load import LanguageModel
from counterpoint.models.shared_weights import unchanged_modules
from counterpoint.pairs.answer_tokens import AnswerTokens
from counterpoint.pairs.pair_checks import UnequalLengths


def positions(
    model: LanguageModel,
    pairs: Any,
    *,
    components: Sequence[Component] = COMPONENTS,
    heads: Collection[Head] | pd.DataFrame | None = None,
    directions: Sequence[Direction] = DIRECTIONS,
    metric: str = "logit_difference",
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    unequal_lengths: UnequalLengths = "refuse",
    memory_mb: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """AP of components with their output replaced at one position, for every position.

    Where the prompts of a pair are the same, up to the first token that differs, AP is 0 and no row
    is given.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes. A column ``spans`` names
            parts of the prompts, as in ``"subject=Mary; again=Mary#2"``.
        components: What is replaced: ``"residual"`` (the stream before each block, before layer 0
            the embeddings), ``"attention"`` and ``"mlp"`` (a layer's whole output), ``"head"``.
        heads: (layer, head) of each head wanted, as ``[(23, 3), (20, 0)]``, or rows of a table of
            heads; None for all.
        directions: As in `measure`; likewise the arguments that follow.
        metric: See `measure`.
        answer_tokens: See `measure`; `"whole"` is not measured here.
        on_bad_pair: See `measure`.
        unequal_lengths: See `measure`.
        memory_mb: See `measure`.
        progress: See `measure`.

    Returns:
        One row per pair, direction, component, layer, head and position with the columns of
        ``positions.parquet``: ``pair, direction, component, layer, head`` (−1 for whole
        components)``, position, token, span, ap, ap_joint``. ``ap_joint`` is AP with all positions
        replaced at once, repeated in the rows of a unit; the sum of ``ap`` over positions less this
        is the interaction over positions.

    Raises:
        UserError: As `measure` does, for a head that the model has not, and for the residual stream
            of a model that has several.
    """
    directions = check_settings(model, directions, metric, "adaptive", 1e-4, 65, 1)
    asked = checked_components(components)
    chosen = None if heads is None else checked_heads(model, heads)
    with unchanged_state(), unchanged_modules(model.hf):
        given = MeasuredPairs.of(
            model,
            pairs,
            on_bad_pair,
            metric,
            directions,
            memory_mb,
            answer_tokens,
            unequal_lengths,
            takes_whole=False,
        )

        def score(cached: Mapping[str, Tensor]) -> pd.DataFrame:
            return score_positions(
                model, cached, given.pairs, given.measurement, components=asked, heads=chosen
            )

        return given.scored("patching positions", score, KEYS, progress=progress)


def checked_components(components: Any) -> list[Component]:
    """The components, each once; raises UserError for what is none."""
    listed: list[Any] = [components] if isinstance(components, str) else list(components)
    for each in listed:
        if each not in COMPONENTS:
            near = did_you_mean(str(each), list(COMPONENTS))
            raise UserError(
                f"components: {each!r} is unknown;{near} expected some of {', '.join(COMPONENTS)}."
            )
    if not listed:
        raise UserError(f"components is empty; expected some of {', '.join(COMPONENTS)}.")
    return list(dict.fromkeys(listed))
