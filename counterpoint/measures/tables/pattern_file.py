"""The attention patterns of a study's first pairs, in one job: each prompt is run once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from counterpoint.measures.attention_patterns import attention_patterns
from counterpoint.measures.pattern_arrays import AttentionPatterns
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress


def record_patterns(
    model: LanguageModel, table: pd.DataFrame, *, pairs: int | str = "all"
) -> AttentionPatterns:
    """The patterns of every head on both prompts of the pairs that are numbered below ``pairs``.

    ``table`` has rows of `pairs.parquet`.
    """
    chosen = table.sort_values("pair")
    if isinstance(pairs, int):
        chosen = chosen[chosen["pair"] < pairs]
    progress = Progress("pairs, attention patterns", len(chosen))
    found = []
    for clean, corrupted in zip(chosen["clean_tokens"], chosen["corrupted_tokens"], strict=True):
        tokens = torch.tensor(np.stack([clean, corrupted]).astype(np.int64))
        found.append(attention_patterns(model, tokens).numpy())
        progress(1)
    progress.say()
    return AttentionPatterns(
        chosen["pair"].to_numpy(np.int64),
        tuple(both[0] for both in found),
        tuple(both[1] for both in found),
    )
