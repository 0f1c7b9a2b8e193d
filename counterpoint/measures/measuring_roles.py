"""`roles`, `attention_patterns`: what the workflow measures inside heads, of pairs at hand.

The numbers are those of a study's `roles.parquet` and `patterns.safetensors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from torch import Tensor

from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.global_state import unchanged_state
from counterpoint.measures.call_checks import check_answer_tokens, check_settings
from counterpoint.measures.measured_pairs import MeasuredPairs, checked_pairs
from counterpoint.measures.pattern_arrays import AttentionPatterns
from counterpoint.measures.tables.merging import KEYS
from counterpoint.measures.tables.pattern_file import record_patterns
from counterpoint.measures.tables.role_table import score_roles
from counterpoint.models.load import LanguageModel
from counterpoint.models.shared_weights import unchanged_modules
from counterpoint.pairs.answer_tokens import AnswerTokens
from counterpoint.progress import Bar


def roles(
    model: LanguageModel,
    pairs: Any,
    *,
    directions: Sequence[Direction] = DIRECTIONS,
    metric: str = "logit_difference",
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    memory_mb: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """What each head's query, key, value and attention pattern alone do.

    Only one part of a head comes from the other prompt, at all positions: the head's output
    follows, and everything after it is computed anew.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes.
        directions: As in `measure`; likewise the arguments that follow.
        metric: See `measure`.
        answer_tokens: See `measure`.
        on_bad_pair: See `measure`.
        memory_mb: See `measure`.
        progress: See `measure`.

    Returns:
        One row per pair, direction, layer, head and role with the columns of ``roles.parquet``:
        ``pair, direction, layer, head, role, ap``. Roles are ``query``, ``key``, ``value`` (seen by
        this query head alone), ``pattern`` (the other prompt's attention weights over the
        background's values) and ``output`` (the head's AP); where query heads share keys and
        values also ``key_group`` and ``value_group``, seen by the whole group, at its first head.

    Raises:
        UserError: As `measure` does, and with the reason for a model whose attention cannot be
            taken apart.
    """
    directions = check_settings(model, directions, metric, "adaptive", 1e-4, 65, 1)
    with unchanged_state(), unchanged_modules(model.hf):
        given = MeasuredPairs.of(
            model, pairs, on_bad_pair, metric, directions, memory_mb, answer_tokens
        )

        def score(cached: Mapping[str, Tensor]) -> pd.DataFrame:
            return score_roles(model, cached, given.measurement)

        return given.scored("patching roles", score, (*KEYS, "role"), progress=progress)


def attention_patterns(
    model: LanguageModel,
    pairs: Any,
    *,
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    progress: bool = True,
) -> AttentionPatterns:
    """What every head looks at, on both prompts of each pair.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes.
        answer_tokens: See `measure`.
        on_bad_pair: See `measure`.
        progress: See `measure`.

    Returns:
        Of each pair two arrays ``clean`` and ``corrupted`` [layer, head, query, key]: how much of
        the value at each position a head takes. `counterpoint.figures.attention_maps` draws them.

    Raises:
        UserError: As `measure` does, and with the reason for a model whose patterns cannot be seen.
    """
    with unchanged_state(), unchanged_modules(model.hf):
        check_answer_tokens(answer_tokens, "logit_difference")
        table = checked_pairs(model, pairs, on_bad_pair, answer_tokens)
        with Bar("recording patterns", len(table), shown=progress, unit=" pairs") as bar:
            found = record_patterns(model, table)
            bar.advance(len(table))
        return found
