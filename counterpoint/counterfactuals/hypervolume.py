"""Dominance and hypervolume of pairs in the four objectives, exact (moocore).

The reference point is fixed, so that hypervolumes of different searches, heads and models compare:
LD change 0, evenness −1, 21 changed tokens, log-perplexity 12 (worse than guessing among 160 000
tokens). A point beyond it adds nothing. The hypervolume is divided by 2 · 20 · 12, the extent of
the last three objectives from the best value that they can take: it reads as an LD change, that of
one pair which is perfect in all else.
"""

from __future__ import annotations

import numpy as np

OBJECTIVES = ("ld_change", "evenness", "changed_tokens", "log_perplexity")
MAXIMISE = (True, True, False, False)
REFERENCE = (0.0, -1.0, 21.0, 12.0)
_EXTENT = 2.0 * 20.0 * 12.0


def non_dominated(points: np.ndarray) -> np.ndarray:
    """Which rows of ``points`` [pair, objective] no other row dominates; equal rows all stay."""
    import moocore

    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    return moocore.is_nondominated(points, maximise=list(MAXIMISE), keep_weakly=True)


def hypervolume(points: np.ndarray) -> float:
    """The share of objective space that ``points`` [pair, objective] dominate, in units of LD."""
    import moocore

    if len(points) == 0:
        return 0.0
    reference = np.array(REFERENCE)
    return float(moocore.hypervolume(points, ref=reference, maximise=list(MAXIMISE)) / _EXTENT)
