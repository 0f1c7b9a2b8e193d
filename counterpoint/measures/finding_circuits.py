"""`circuit`: what the workflow finds of a study's circuits, of pairs at hand.

The pairs are checked as `measuring` checks them, and go through the function that the workflow's
job calls (`tables.circuit_table`): the numbers are those of `circuit.parquet` and its companions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.errors import UserError
from counterpoint.global_state import unchanged_state
from counterpoint.measures.call_checks import (
    check_same_pairs,
    check_settings,
    checked_number,
    checked_table,
)
from counterpoint.measures.measured_pairs import MeasuredPairs
from counterpoint.measures.measuring import measure
from counterpoint.measures.tables.circuit_table import (
    METHODS,
    CircuitSettings,
    CircuitTables,
    find_circuits,
)
from counterpoint.models.load import LanguageModel
from counterpoint.models.shared_weights import unchanged_modules
from counterpoint.pairs.answer_tokens import AnswerTokens
from counterpoint.statistics.resampling import Settings


def circuit(
    model: LanguageModel,
    pairs: Any,
    heads: pd.DataFrame | None = None,
    *,
    methods: Sequence[str] = METHODS,
    nodes: Sequence[str] = ("embedding", "head", "mlp"),
    recovered: Sequence[float] = (0.5, 0.8, 0.9),
    max_nodes: int = 30,
    candidates: int | Literal["all"] = 8,
    directions: Sequence[Direction] = DIRECTIONS,
    metric: str = "logit_difference",
    settings: Settings | None = None,
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    memory_mb: int | None = None,
    progress: bool = True,
) -> CircuitTables:
    """Small sets of nodes that answer on ``pairs`` as the whole model does, the rest held.

    A circuit's nodes (the embeddings, heads, MLPs) compute from what they receive; every other node
    is held at its output on the other prompt. Circuits are chosen on all pairs together.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes.
        heads: The table that `measure` gave for the same pairs; without it the heads are measured
            first.
        methods: Of ``"greedy"`` (a search), ``"ap"``, ``"atp"``, ``"ig_joint"`` and
            ``"eap_ig_inputs"`` (the order of a score).
        nodes: The components that circuits are chosen from, of ``"embedding"``, ``"head"`` and
            ``"mlp"``; those left out are in every circuit.
        recovered: The shares of the metric's change for which small sets are sought.
        max_nodes: The most nodes of such a set.
        candidates: How many nodes a greedy step tries, those of largest first-order worth; with
            ``"all"`` each step is the best there is.
        directions: As in `measure`; ``"noising"`` is that of the benchmark MIB: the clean prompt,
            the rest as on the corrupted one.
        metric: See `measure`.
        settings: Of the intervals (`counterpoint.statistics.resampling.Settings`); None for the
            defaults.
        answer_tokens: See `measure`; `"whole"` is not measured here.
        on_bad_pair: See `measure`.
        memory_mb: See `measure`.
        progress: See `measure`.

    Returns:
        Tables with the columns of ``circuit.parquet`` (``members``), ``circuit_nodes.parquet``
        (``nodes``), ``circuit_faithfulness.parquet`` (``faithfulness``), ``circuit_curves.csv``
        (``curves``) and ``circuit_areas.csv`` (``areas``: CPR and CMD).

    Raises:
        UserError: As `measure` does, for settings that are none, for a table of heads that lacks
            some, and for a model in which something else than the nodes carries the prompt.
    """
    directions = check_settings(model, directions, metric, "adaptive", 1e-4, 65, 1)
    wanted = CircuitSettings(
        _listed(nodes),
        tuple(recovered),
        checked_number("max_nodes", max_nodes, 1),
        _listed(methods),
        None if candidates == "all" else checked_number("candidates", candidates, 1),
    )
    if heads is None:
        heads = measure(
            model,
            pairs,
            directions=directions,
            metric=metric,
            answer_tokens=answer_tokens,
            on_bad_pair=on_bad_pair,
            memory_mb=memory_mb,
            progress=progress,
        )
    with unchanged_state(), unchanged_modules(model.hf):
        given = MeasuredPairs.of(
            model,
            pairs,
            on_bad_pair,
            metric,
            directions,
            memory_mb,
            answer_tokens,
            takes_whole=False,
        )
        table = checked_table(model, heads, given.pairs, directions)
        _check_whole(model, table, given.pairs, directions)
        for _ in given.buckets():
            check_same_pairs(table, given.baselines[-1])
        return find_circuits(model, given.pairs, table, given.measurement, wanted, settings)


def _listed(names: Sequence[str]) -> tuple[str, ...]:
    """The names, where one alone may come as a text."""
    return (names,) if isinstance(names, str) else tuple(names)


def _check_whole(
    model: LanguageModel,
    table: pd.DataFrame,
    pairs: pd.DataFrame,
    directions: Sequence[Direction],
) -> None:
    """Raise UserError where a table of heads lacks a head of the model."""
    own = table[table["direction"].isin(directions) & table["pair"].isin(pairs["pair"])]
    n_heads = len(model.head_layers) * model.n_heads
    if len(own) != len(pairs) * len(directions) * n_heads:
        raise UserError(
            f"the table of heads has {len(own)} rows of these pairs and directions; circuits need"
            f" all {n_heads} heads on each. Expected what counterpoint.measure gives."
        )
