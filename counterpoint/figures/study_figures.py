"""Every figure of a study that `draw_figures` of the workflow makes, by its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.chosen_heads import Head, choose_heads
from counterpoint.figures.correlation_figures import correlation_matrices
from counterpoint.figures.curve_figures import Curves, output_curves
from counterpoint.figures.heat_map_figures import heat_maps
from counterpoint.figures.regression_figures import regressions
from counterpoint.figures.stability_figures import rank_stability
from counterpoint.figures.top_head_figures import top_heads
from counterpoint.glossary.metric_words import DEFAULT_METRIC

FIGURES = {
    "top_heads": "The heads of largest effect",
    "heat_maps": "AP, IG joint, output range and gradient range, mean over the pairs",
    "heat_maps_first_pair": "AP, IG joint, output range and gradient range of the first pair",
    "regressions": "How the measures of the curve go with the attribution scores",
    "correlations": "Correlations between measures and scores, with intervals",
    "curves": "Output curves and gradients of chosen heads",
    "stability": "How far the ranking of heads holds across pairs",
}
"""Every figure that `draw_figures` returns, always all of them, with its title."""


def draw_figures(
    heads: pd.DataFrame,
    baseline: pd.DataFrame,
    curves: Curves,
    correlations: pd.DataFrame,
    stability: pd.DataFrame,
    *,
    floor: float,
    confidence: float = 0.95,
    seed: int = 0,
    heads_shown: int = 6,
    configured: Sequence[Head] = (),
    top_k: int = 10,
    metric: str = DEFAULT_METRIC,
    resample: str = "auto",
    names: Collection[str] = tuple(FIGURES),
) -> dict[str, Figure]:
    """Return the figures of a study by their names: those of `FIGURES`, or of them ``names`` alone.

    A figure without data (no curves kept, one pair only) is a sentence that says so.
    """
    first_pair = heads[heads["pair"] == heads["pair"].min()]
    chosen = choose_heads(heads, heads_shown, configured)
    drawings: dict[str, Callable[[], Figure]] = {
        "top_heads": lambda: top_heads(
            heads,
            count=max(top_k, 10),
            confidence=confidence,
            seed=seed,
            metric=metric,
            resample=resample,
        ),
        "heat_maps": lambda: heat_maps(heads, floor=floor),
        "heat_maps_first_pair": lambda: heat_maps(first_pair, floor=floor),
        "regressions": lambda: regressions(
            heads, correlations, floor=floor, confidence=confidence, seed=seed
        ),
        "correlations": lambda: correlation_matrices(correlations),
        "curves": lambda: output_curves(curves, baseline, chosen, metric=metric),
        "stability": lambda: rank_stability(stability),
    }
    return {name: draw() for name, draw in drawings.items() if name in names}
