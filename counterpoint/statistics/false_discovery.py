"""The false discovery rate of many p-values at once (Benjamini & Hochberg 1995)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests


def false_discovery_rate(p: pd.Series) -> pd.Series:
    """Benjamini-Hochberg adjusted p-values; an undefined one stays so and does not count."""
    known = p.notna().to_numpy()
    adjusted = np.full(len(p), np.nan)
    if known.any():
        adjusted[known] = multipletests(p.to_numpy()[known], method="fdr_bh")[1]
    return pd.Series(adjusted, index=p.index)
