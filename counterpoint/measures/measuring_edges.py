"""`edges`: the workflow's exact path patching, of pairs at hand.

The numbers are those of a study's `edges.parquet`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from torch import Tensor

from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.errors import UserError
from counterpoint.global_state import unchanged_state
from counterpoint.measures.call_checks import Head, check_settings, checked_heads, checked_number
from counterpoint.measures.edges import NORMS, ROLES, Norms, Role
from counterpoint.measures.measured_pairs import MeasuredPairs
from counterpoint.measures.measuring import measure
from counterpoint.measures.tables import edge_table
from counterpoint.models.load import LanguageModel
from counterpoint.models.shared_weights import unchanged_modules
from counterpoint.pairs.answer_tokens import AnswerTokens


def edges(
    model: LanguageModel,
    pairs: Any,
    receivers: pd.DataFrame | Collection[Head] | None = None,
    *,
    top: int = 5,
    roles: Sequence[Role] = ROLES,
    norms: Norms = "recomputed",
    first_order: bool = True,
    all_receivers: bool = False,
    directions: Sequence[Direction] = DIRECTIONS,
    metric: str = "logit_difference",
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    memory_mb: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Exact path patching: what each sender does through single receivers, and on the logits.

    Senders are the embeddings and every head and MLP below a receiver. A sender's change between
    the two prompts is added to what a receiver's query, key or value reads, all between the two
    stays as it is, and the receiver's output goes on to the answer.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes.
        receivers: (layer, head) of each head wanted; or the table that `measure` gave for the same
            pairs, of which the first ``top`` heads by |AP| are taken. Without either the heads are
            measured first. The logits are a receiver besides.
        top: How many heads are taken of a table.
        roles: ``"query"``, ``"key"``, ``"value"``, or some of them.
        norms: ``"recomputed"``, or ``"frozen"``: the norm before a receiver keeps the background's
            scale.
        first_order: Whether the scores EAP and EAP-IG stand beside the effects.
        all_receivers: Whether the edges into all other heads are scored too, to first order.
        directions: As in `measure`; likewise the arguments that follow.
        metric: See `measure`.
        answer_tokens: See `measure`.
        on_bad_pair: See `measure`.
        memory_mb: See `measure`.
        progress: See `measure`.

    Returns:
        One row per pair, direction, receiver, role and sender with the columns of
        ``edges.parquet``: ``pair, direction, sender_layer, sender_head, receiver_layer,
        receiver_head, role, effect, exact, eap, eap_ig``. The embeddings are layer −1, an MLP is
        head −1, the logits are the layer after the last.

    Raises:
        UserError: As `measure` does, for a head that the model has not, and for a model in which a
            change does not pass the blocks between as it is.
    """
    directions = check_settings(model, directions, metric, "adaptive", 1e-4, 65, 1)
    if isinstance(roles, str) or not roles or not set(roles) <= set(ROLES):
        raise UserError(f"roles={roles!r} is none; expected some of {', '.join(ROLES)}, as a list.")
    if norms not in NORMS:
        raise UserError(f"norms={norms!r} is unknown; expected one of {', '.join(NORMS)}.")
    if receivers is None:
        receivers = measure(
            model,
            pairs,
            directions=directions,
            metric=metric,
            answer_tokens=answer_tokens,
            on_bad_pair=on_bad_pair,
            memory_mb=memory_mb,
            progress=progress,
        )
    if isinstance(receivers, pd.DataFrame) and "ap" in receivers.columns:
        chosen = edge_table.first_receivers(receivers, checked_number("top", top, 1))
    else:
        chosen = checked_heads(model, receivers)
    with unchanged_state(), unchanged_modules(model.hf):
        given = MeasuredPairs.of(
            model, pairs, on_bad_pair, metric, directions, memory_mb, answer_tokens
        )

        def score(cached: Mapping[str, Tensor]) -> pd.DataFrame:
            return edge_table.score_edges(
                model,
                cached,
                given.measurement,
                chosen,
                roles=roles,
                norms=norms,
                first_order=first_order,
                all_receivers=all_receivers,
            )

        return given.scored("computing edges", score, edge_table.KEYS, progress=progress)
