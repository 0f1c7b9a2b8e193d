"""The heads of largest effect: AP on every pair, its mean and the interval of the mean."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.chosen_heads import Head, head_names, rank_heads
from counterpoint.figures.theme import COLOURS, GREY, MARKERS, new_figure
from counterpoint.glossary.metric_words import DEFAULT_METRIC, metric_words
from counterpoint.statistics import resampling
from counterpoint.statistics.panel import MOVEMENT, directions, panel
from counterpoint.statistics.templates import clusters_of


def top_heads(
    heads: pd.DataFrame,
    *,
    count: int = 12,
    confidence: float = 0.95,
    seed: int = 0,
    metric: str = DEFAULT_METRIC,
    resample: str = "auto",
) -> Figure:
    """Draw AP of the ``count`` heads of greatest mean |AP|: every pair, the mean, its interval.

    ``heads`` has the columns ``pair, direction, layer, head, ap``, a value for each head on each
    pair; ``metric`` is the name of the metric that ``ap`` is in. The intervals are those of
    `ap_intervals`, which draw pairs or, with a column ``template`` and by ``resample``, templates;
    with one pair none is drawn.
    """
    names = head_names(rank_heads(heads).head(count))
    shown = directions(heads)
    with new_figure(7.2, 0.55 + 0.27 * len(names)) as figure:
        ax = figure.subplots()
        ax.axvline(0, color=GREY, lw=0.7)
        for order, direction in enumerate(shown):
            shift = (order - (len(shown) - 1) / 2) * 0.3
            intervals = ap_intervals(
                heads,
                direction,
                confidence=confidence,
                seed=seed,
                metric=metric,
                resample=resample,
            )
            rows = heads[heads["direction"] == direction]
            for place, (layer, head) in enumerate(names):
                own = (rows["layer"] == layer) & (rows["head"] == head)
                values = rows.loc[own, "ap"].to_numpy(float)
                middle, low, high = intervals[layer, head]
                colour = COLOURS[direction]
                at = place + shift
                ax.plot(
                    values,
                    np.full(len(values), at),
                    MARKERS[direction],
                    color=colour,
                    ms=2.6,
                    alpha=0.35,
                    mew=0,
                )
                if math.isfinite(low):
                    ax.plot([low, high], [at, at], "-", color=colour, lw=1.4)
                ax.plot(
                    middle,
                    at,
                    MARKERS[direction],
                    color=colour,
                    ms=5,
                    mec="white",
                    mew=0.5,
                    label=direction if place == 0 else None,
                )
        ax.set_yticks(range(len(names)), [f"{layer}.{head}" for layer, head in names])
        ax.set_ylim(len(names) - 0.4, -0.6)
        words = metric_words(metric)
        ax.set_xlabel(f"AP: change of the {words.name} when the head is patched, {words.unit}")
        ax.set_ylabel("layer.head")
        ax.grid(axis="y", color="#eceff3", lw=0.6)
        ax.set_axisbelow(True)
        ax.legend(loc="best")
        return figure


def ap_intervals(
    heads: pd.DataFrame,
    direction: str,
    *,
    confidence: float,
    seed: int,
    samples: int = 2000,
    metric: str = DEFAULT_METRIC,
    resample: str = "auto",
) -> dict[Head, tuple[float, float, float]]:
    """Return each head's mean AP over pairs with its interval, in one direction.

    The interval is a bootstrap over pairs or templates (`statistics.templates`), widened for their
    small number (`statistics.resampling`); its ends are NaN for a single pair, and none is below 0
    where no AP of the metric can be.
    """
    if MOVEMENT not in heads:
        # A table with AP alone: what is at the floor is not asked here.
        heads = heads.assign(**{MOVEMENT: math.inf})
    data = panel(heads, direction, ["ap"])
    ap = data.array(["ap"])[:, 0]
    random = resampling.generator(seed, direction, "pairs")
    clusters = clusters_of(data, resampling.Settings(resample=resample))
    drawn = resampling.draws(random, samples, len(data.pairs), clusters)
    lowest = 0.0 if metric_words(metric).one_signed([direction]) else -math.inf
    found = resampling.study_interval(ap, None, drawn, confidence, (lowest, math.inf), clusters)
    return {
        (int(layer), int(head)): (float(middle), float(low), float(high))
        for layer, head, middle, low, high in zip(
            data.layers, data.heads, found.estimate, found.low, found.high, strict=True
        )
    }
