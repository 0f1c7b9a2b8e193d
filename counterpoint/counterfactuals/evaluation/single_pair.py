"""A pair of a table by itself: batch 1, and nothing of the search that found it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from counterpoint.counterfactuals.evaluation.all_heads import Pair
from counterpoint.counterfactuals.evaluation.heads_ahead import SCREEN
from counterpoint.counterfactuals.head_ranks import rank_of
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.models.load import LanguageModel

Array = np.ndarray


def pair_of(row: pd.Series) -> Pair:
    """The pair of a row with the columns `pair_columns.PAIR_COLUMNS`."""
    clean, corrupted = (
        tuple(int(token) for token in row[f"{prompt}_tokens"]) for prompt in ("clean", "corrupted")
    )
    return Pair(clean, corrupted, int(row["correct_token"]), int(row["incorrect_token"]))


def engine_of(model: LanguageModel, pair: Pair, *, memory_mb: int) -> SuffixEngine:
    """An engine for this pair alone."""
    tokens = TokenPairs(
        torch.tensor([pair.clean]),
        torch.tensor([pair.corrupted]),
        ((pair.correct,),),
        ((pair.incorrect,),),
        (0,),
    )
    return SuffixEngine(model, cache_activations(model, tokens), memory_mb=memory_mb)


def joint_score_and_rank(
    engine: SuffixEngine, place: int, estimates: Float[Array, " head"]
) -> tuple[float, int]:
    """IG joint of the head at ``place`` (layer × heads + head) in `noising`, of the one pair of
    ``engine``, and its place among all heads by size.

    Of the other layers those are integrated that have a head which may be before this one, by the
    `heads_ahead.estimated_sizes` given as ``estimates`` and `heads_ahead.SCREEN`; and each no
    further than the place asks for.
    """
    model = engine.model
    ranked = place // model.n_heads, place % model.n_heads
    own = integrated_gradients(engine, "noising", ranked=ranked, layers=[ranked[0]])
    score = own.score.reshape(-1)[place]
    largest = estimates.reshape(model.n_layers, model.n_heads).max(1)
    others = {*np.flatnonzero(SCREEN * largest >= abs(score)).tolist(), ranked[0]}
    found = integrated_gradients(engine, "noising", ranked=ranked, layers=others)
    scores = np.nan_to_num(found.score.reshape(-1))
    return float(scores[place]), rank_of(scores, place)
