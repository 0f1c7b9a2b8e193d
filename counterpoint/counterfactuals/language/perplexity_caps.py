"""Perplexity caps: how surprising a prompt may be for a pair to count.

A cap is a number of nats per predicted token above the mean loss of the study's prompts, and holds
for both prompts of a pair. Without one, the largest LD changes are those of gibberish.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

CAPS = {"0": 0.0, "0_5": 0.5, "1": 1.0}
"""Nats above the study's mean, by their names in columns (`ld_change_cap_0_5`)."""

FLUENT = "0_5"
"""The cap under which a pair is called fluent."""


def under_cap(archive: pd.DataFrame, most: float) -> pd.DataFrame:
    """The pairs of an archive of which both prompts' mean loss is at most ``most`` nats."""
    loss = np.log(archive[["perplexity_clean", "perplexity_corrupted"]].to_numpy(float))
    return archive[(loss <= most).all(axis=1)]


def largest_change(archive: pd.DataFrame) -> pd.Series | None:
    """The pair with the largest LD change; None where there is no pair."""
    return None if archive.empty else archive.iloc[int(archive["ld_change"].argmax())]


def preferred_pair(archive: pd.DataFrame) -> pd.Series | None:
    """The pair that the method itself prefers; None where there is no pair."""
    return None if archive.empty else archive.iloc[int(archive["choice"].argmin())]
