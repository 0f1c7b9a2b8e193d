"""`edge_circuit`: what the workflow finds of a study's circuits of edges, of pairs at hand.

The numbers are those of `circuit_edges.parquet` and its companions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.global_state import unchanged_state
from counterpoint.measures.call_checks import check_settings, checked_number
from counterpoint.measures.measured_pairs import MeasuredPairs
from counterpoint.measures.tables.edge_circuit_table import (
    EDGE_METHODS,
    EdgeCircuitSettings,
    EdgeCircuitTables,
    find_edge_circuits,
)
from counterpoint.models.load import LanguageModel
from counterpoint.models.shared_weights import unchanged_modules
from counterpoint.pairs.answer_tokens import AnswerTokens
from counterpoint.progress import Bar
from counterpoint.statistics.resampling import Settings


def edge_circuit(
    model: LanguageModel,
    pairs: Any,
    *,
    methods: Sequence[str] = EDGE_METHODS,
    recovered: Sequence[float] = (0.5, 0.8, 0.9),
    max_edges: int = 3000,
    directions: Sequence[Direction] = DIRECTIONS,
    metric: str = "logit_difference",
    settings: Settings | None = None,
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    memory_mb: int | None = None,
    progress: bool = True,
) -> EdgeCircuitTables:
    """Small sets of edges that answer on ``pairs`` as the whole model does, the rest held.

    An edge goes from the embeddings, a head or an MLP into the query, key or value of a head, an
    MLP, or the logits. Inside a circuit it carries what its sender gives in the run, outside what
    the sender gave on the other prompt. Circuits are chosen on all pairs together.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes.
        methods: Of ``"eap"`` and ``"eap_ig"`` (the order of a score), and ``"pruned"`` (what is
            left of the set by ``"eap_ig"`` when every edge that it can do without is taken out).
        recovered: The shares of the metric's change for which small sets are sought.
        max_edges: The most edges of such a set.
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
        Tables with the columns of ``circuit_edges.parquet`` (``members``),
        ``circuit_edge_scores.parquet`` (``scores``), ``circuit_edge_faithfulness.parquet``
        (``faithfulness``), ``circuit_edge_curves.csv`` (``curves``) and ``circuit_edge_areas.csv``
        (``areas``: CPR and CMD).

    Raises:
        UserError: As `measure` does, for settings that are none, and for a model in which something
            else than queries, keys, values, MLPs and logits reads the residual stream, or whose
            blocks do more than add to it.
    """
    directions = check_settings(model, directions, metric, "adaptive", 1e-4, 65, 1)
    wanted = EdgeCircuitSettings(
        tuple(recovered),
        (methods,) if isinstance(methods, str) else tuple(methods),
        checked_number("max_edges", max_edges, 1),
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
        with Bar("finding circuits of edges", None, shown=progress):
            return find_edge_circuits(model, given.pairs, given.measurement, wanted, settings)
