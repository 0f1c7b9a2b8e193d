"""A pair of a table by itself: batch 1, and nothing of the search that found it."""

from __future__ import annotations

import pandas as pd
import torch

from counterpoint.activations import TokenPairs, cache_activations
from counterpoint.counterfactuals.every_head import Pair
from counterpoint.models.load import LanguageModel
from counterpoint.suffix import SuffixEngine


def pair_of(row: pd.Series) -> Pair:
    """The pair of a row with the columns `described.PAIR_COLUMNS`."""
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
