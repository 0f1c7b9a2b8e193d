"""`measure`, `curves`, `interaction_partners`: what the workflow measures, of pairs at hand.

Each bucket of the pairs (`measured_pairs`) goes through the functions that the workflow's jobs call
(`tables`): the numbers are those of a study's `heads.parquet`, `curves.safetensors` and
`interaction.parquet`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from counterpoint.engine.activations import DIRECTIONS, Component, Direction
from counterpoint.errors import UserError
from counterpoint.global_state import unchanged_state
from counterpoint.measures.call_checks import (
    Head,
    check_same_pairs,
    check_settings,
    checked_baselines,
    checked_heads,
    checked_number,
    checked_table,
)
from counterpoint.measures.curve_arrays import Curves
from counterpoint.measures.measured_pairs import MeasuredPairs
from counterpoint.measures.tables.baseline_score_table import score_baselines
from counterpoint.measures.tables.curve_table import score_curves
from counterpoint.measures.tables.integrated_gradients_table import score_integrated_gradients
from counterpoint.measures.tables.interaction_table import score_interactions
from counterpoint.measures.tables.merging import KEYS, join_heads
from counterpoint.models.load import LanguageModel
from counterpoint.models.shared_weights import unchanged_modules
from counterpoint.pairs.answer_tokens import AnswerTokens
from counterpoint.pairs.pair_checks import UnequalLengths
from counterpoint.progress import Bar


def measure(
    model: LanguageModel,
    pairs: Any,
    *,
    directions: Sequence[Direction] = DIRECTIONS,
    metric: str = "logit_difference",
    component: Component = "head",
    nodes: str = "adaptive",
    tolerance: float = 1e-4,
    max_nodes: int = 65,
    max_steps: int = 128,
    baselines: Sequence[str] = (),
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    unequal_lengths: UnequalLengths = "refuse",
    memory_mb: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure every head of ``model`` on ``pairs``: the table of heads.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes.
        directions: ``"noising"`` (a head's output in the clean run is replaced by that from the
            corrupted prompt), ``"denoising"`` (the other way round), or both.
        metric: ``"logit_difference"``, ``"log_probability"`` or ``"kl_divergence"``.
        component: ``"head"``, or ``"mlp"`` for the table of MLP layers, which has no column
            ``head`` and no joint integrated gradients.
        nodes: ``"adaptive"``: as many points of each curve as ``tolerance`` asks for; or
            ``"gauss-legendre-50"``, the plain 50 nodes.
        tolerance: The error allowed in f and in the joint integrated gradients, in units of the
            metric.
        max_nodes: The most points of one curve: 3, 5, 9, 17, 33 or 65.
        max_steps: The most steps of the joint integrated gradients.
        baselines: Scores of other papers that are put beside ours, of heads only: some of
            ``"atp_hvp"``, ``"eap_ig"``, ``"relp"``, ``"atp_star"``. Each makes the column of its
            name, the first one ``atp_reliability`` besides.
        answer_tokens: What becomes of answers of several tokens: ``"one"`` refuses them;
            ``"first_difference"`` puts what both answers begin with behind both prompts and
            measures at the first token at which they differ; ``"whole"`` measures the
            log-probability of all their tokens, each behind those before it.
        on_bad_pair: ``"error"`` stops at pairs that fail a check and lists them all; ``"drop"``
            leaves them out with a warning.
        unequal_lengths: ``"refuse"`` takes pairs whose prompts differ in their number of tokens
            for bad ones; ``"align"`` aligns them, by their ``spans``, and replaces at aligned
            positions only.
        memory_mb: MB for batches, besides the model; by default a part of what is free
            (`counterpoint.working_memory`).
        progress: Whether a bar is shown meanwhile.

    Returns:
        One row per pair, direction, layer and head with the columns of ``heads.parquet``: ``pair``
        (from 0, in the order of the pairs), ``direction``, ``layer``, ``head``, ``ap``, ``atp``,
        ``ig_joint`` and the measures of the output curve. ``attrs`` has, for each
        pair, its ``row`` in what was given, and ``metric_clean`` and ``metric_corrupted``, the
        metric of both prompts, unpatched.

    Raises:
        UserError: With the reason and the remedy: for pairs that cannot be used (all are listed), a
            model that gives NaN or whose heads cannot be measured, and settings that are none.
    """
    directions = check_settings(model, directions, metric, nodes, tolerance, max_nodes, max_steps)
    if component not in ("head", "mlp"):
        raise UserError(f"component={component!r} is unknown; expected 'head' or 'mlp'.")
    wanted = checked_baselines(baselines, component, answer_tokens)
    if wanted and unequal_lengths == "align":
        raise UserError(
            f"baselines={baselines!r} are defined, in their papers, on prompts of equal length;"
            " leave them out with unequal_lengths='align'."
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
            unequal_lengths,
        )
        stages = (2 if component == "mlp" else 3) + bool(wanted)
        tables = []
        with Bar("measuring", stages * len(given.pairs), shown=progress, unit=" stages") as bar:
            for cached, count in given.buckets():
                bar.advance(count)
                table, _ = score_curves(
                    model,
                    cached,
                    given.measurement,
                    component,
                    nodes=nodes,
                    tolerance=tolerance,
                    max_nodes=max_nodes,
                    keep="none",
                )
                bar.advance(count)
                if component == "head":
                    integrated = score_integrated_gradients(
                        model,
                        cached,
                        given.measurement,
                        tolerance=tolerance,
                        max_steps=max_steps,
                    )
                    bar.advance(count)
                    scored = None
                    if wanted:
                        scored = score_baselines(model, cached, given.measurement, wanted)
                        bar.advance(count)
                    table = join_heads(table, integrated, directions, scored)
                tables.append(table)
        given.say_doubts()
        return given.whole(tables)


def curves(
    model: LanguageModel,
    pairs: Any,
    heads: Collection[Head] | pd.DataFrame | None = None,
    *,
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
) -> Curves:
    """The output curves f(α) of heads, and their gradients, on ``pairs``.

    f(α) is the metric when a head's output is moved the share α of the way from the one prompt's to
    the other's; g = df/dα.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes.
        heads: (layer, head) of each head wanted, as ``[(23, 3), (20, 0)]``, or rows of a table of
            heads; None for all. With few heads only they are computed.
        directions: As in `measure`; likewise the arguments that follow.
        metric: See `measure`.
        nodes: See `measure`.
        tolerance: See `measure`.
        max_nodes: See `measure`.
        answer_tokens: See `measure`.
        on_bad_pair: See `measure`.
        unequal_lengths: See `measure`.
        memory_mb: See `measure`.
        progress: See `measure`.

    Returns:
        Arrays ``output`` and ``gradient`` [pair, direction, layer, head, node] at ``alphas``.

    Raises:
        UserError: As `measure` does, and for a head that the model has not.
    """
    directions = check_settings(model, directions, metric, nodes, tolerance, max_nodes, 1)
    chosen = None if heads is None else set(checked_heads(model, heads))
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
        )
        parts: list[dict[str, Tensor]] = []
        with Bar("computing curves", 2 * len(given.pairs), shown=progress, unit=" stages") as bar:
            for cached, count in given.buckets():
                bar.advance(count)
                _, tensors = score_curves(
                    model,
                    cached,
                    given.measurement,
                    nodes=nodes,
                    tolerance=tolerance,
                    max_nodes=max_nodes,
                    heads=chosen,
                )
                parts.append(tensors)
                bar.advance(count)
        given.say_doubts()
        numbers = np.concatenate([part["pairs"].numpy() for part in parts])
        order = np.argsort(numbers)
        output, gradient = (
            np.concatenate([part[name].numpy() for part in parts])[order]
            for name in ("output", "gradient")
        )
        return Curves(
            parts[0]["alphas"].numpy(), output, gradient, numbers[order], tuple(directions)
        )


def interaction_partners(
    model: LanguageModel,
    pairs: Any,
    heads: pd.DataFrame | Collection[Head] | None = None,
    *,
    heads_per_pair: int = 5,
    directions: Sequence[Direction] = DIRECTIONS,
    metric: str = "logit_difference",
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    unequal_lengths: UnequalLengths = "refuse",
    memory_mb: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """With which heads of their layer those interact on which IG joint and AP differ.

    IG joint moves all heads of a layer at once, AP one alone; what they differ by is the head's
    interaction with each of the others, and a remainder of interactions of more than two.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes.
        heads: The table that `measure` gave for the same pairs, or the rows of some of its heads;
            or (layer, head) of each head wanted. Without a table the heads are measured first.
        heads_per_pair: For how many heads of each pair and direction partners are sought, those of
            largest |IG joint − AP| first; where ``heads`` names them, for all of these.
        directions: As in `measure`; likewise the arguments that follow.
        metric: See `measure`.
        answer_tokens: See `measure`.
        on_bad_pair: See `measure`.
        unequal_lengths: See `measure`.
        memory_mb: See `measure`.
        progress: See `measure`.

    Returns:
        One row per pair, direction, head and partner with the columns of ``interaction.parquet``:
        ``pair, direction, layer, head, ap, ig_own, ig_joint, partner, interaction, remainder``.

    Raises:
        UserError: As `measure` does, for a head that the model has not, and for a table that lacks
            a column or a pair.
    """
    directions = check_settings(model, directions, metric, "adaptive", 1e-4, 65, 1)
    heads_per_pair = checked_number("heads_per_pair", heads_per_pair, 1)
    named = (
        None if heads is None or isinstance(heads, pd.DataFrame) else checked_heads(model, heads)
    )
    if isinstance(heads, pd.DataFrame):
        table = heads
    else:
        table = measure(
            model,
            pairs,
            directions=directions,
            metric=metric,
            answer_tokens=answer_tokens,
            on_bad_pair=on_bad_pair,
            unequal_lengths=unequal_lengths,
            memory_mb=memory_mb,
            progress=progress,
        )
    if named is not None:
        keys = pd.MultiIndex.from_frame(table[["layer", "head"]])
        table, heads_per_pair = table[keys.isin(named)], len(named)
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
        )
        table = checked_table(model, table, given.pairs, directions)
        tables = []
        with Bar("finding partners", 2 * len(given.pairs), shown=progress, unit=" stages") as bar:
            for cached, count in given.buckets():
                bar.advance(count)
                check_same_pairs(table, given.baselines[-1])
                tables.append(
                    score_interactions(
                        model, cached, table, given.measurement, heads_per_pair=heads_per_pair
                    )
                )
                bar.advance(count)
        return given.whole(tables, (*KEYS, "partner"))
