"""`position_curves`: f and g at single positions, of pairs at hand, as the workflow traces them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from torch import Tensor

from counterpoint.engine.activations import DIRECTIONS, Component, Direction
from counterpoint.global_state import unchanged_state
from counterpoint.measures.call_checks import Head, check_settings, checked_heads
from counterpoint.measures.measured_pairs import MeasuredPairs
from counterpoint.measures.measuring_positions import checked_components
from counterpoint.measures.tables.position_curve_table import score_position_curves
from counterpoint.measures.tables.position_table import KEYS
from counterpoint.models.load import LanguageModel
from counterpoint.models.shared_weights import unchanged_modules
from counterpoint.pairs.answer_tokens import AnswerTokens
from counterpoint.pairs.pair_checks import UnequalLengths


def position_curves(
    model: LanguageModel,
    pairs: Any,
    *,
    components: Sequence[Component] = ("head",),
    heads: Collection[Head] | pd.DataFrame | None = None,
    directions: Sequence[Direction] = DIRECTIONS,
    metric: str = "logit_difference",
    nodes: str = "adaptive",
    tolerance: float = 1e-4,
    max_nodes: int = 65,
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    unequal_lengths: UnequalLengths = "refuse",
    memory_mb: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """f(α) and g(α) of components with one position on its way, for every position.

    Args:
        model: What `counterpoint.load` gives.
        pairs: As for `positions`.
        components: What moves: ``"residual"``, ``"attention"``, ``"mlp"``, ``"head"``.
        heads: (layer, head) of each head wanted, or rows of a table of heads; None for all, which
            takes minutes a pair on a small model.
        directions: As in `measure`; likewise the arguments that follow.
        metric: See `measure`.
        nodes: See `measure`.
        tolerance: See `measure`.
        max_nodes: See `measure`.
        answer_tokens: See `measure`; `"whole"` is not measured here.
        on_bad_pair: See `measure`.
        unequal_lengths: See `measure`.
        memory_mb: See `measure`.
        progress: See `measure`.

    Returns:
        One row per pair, direction, component, layer, head and position, with the columns of
        ``position_curves.parquet``: the keys of `positions`, measures of the curve, and ``output``
        and ``gradient``, f and g at the 50 Gauss-Legendre nodes of [0, 1] as an array.

    Raises:
        UserError: As `positions` and `measure` do.
    """
    directions = check_settings(model, directions, metric, nodes, tolerance, max_nodes, 1)
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
            return score_position_curves(
                model,
                cached,
                given.pairs,
                given.measurement,
                components=asked,
                heads=chosen,
                nodes=nodes,
                tolerance=tolerance,
                max_nodes=max_nodes,
            )

        return given.scored("tracing positions", score, KEYS, progress=progress)
