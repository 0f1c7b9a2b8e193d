"""Scatter plots over heads with regression lines: how measures go with scores."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from counterpoint.errors import MissingColumn
from counterpoint.figures.chosen_heads import FLOOR, mean_over_pairs
from counterpoint.figures.correlation_figures import find_correlation
from counterpoint.figures.theme import COLOURS, FAINT, GREY, MARKERS, new_figure
from counterpoint.glossary import signed_label
from counterpoint.statistics.panel import directions

RELATIONS = (
    ("abs_ap", "output_range", False),
    ("ap", "output_range", False),
    ("abs_ap", "gradient_range", False),
    ("ap", "ig_joint", True),
    ("excess_range", "abs_disagreement", False),
    ("ap", "atp", True),
)
"""The panels of `regressions`: what goes across, what goes up, whether an identity line helps."""


def regressions(
    heads: pd.DataFrame,
    correlations: pd.DataFrame | None = None,
    *,
    floor: float = FLOOR,
    confidence: float = 0.95,
    samples: int = 400,
    seed: int = 0,
) -> Figure:
    """Draw six scatter plots over heads with regression lines and bootstrap bands.

    ``heads`` is a table like heads.parquet, with AP, AtP, IG joint, the ranges and the excess
    range. One point per head and direction, each a mean over the pairs. Heads whose curves move by
    less than ``floor`` are hollow and grey and left out of the lines. The bands are seaborn's
    bootstrap over heads (``samples`` resamples, percentile interval at ``confidence``); the r in
    each panel is that of the same points, from ``correlations`` (scope ``pair_mean``) with its
    interval where it is listed there.
    """
    import seaborn as sns

    means = mean_over_pairs(heads, floor)
    missing = {name for across, up, _ in RELATIONS for name in (across, up)} - set(means)
    if missing:
        raise MissingColumn(
            f"the table of heads lacks what {min(missing)} is made of; it has {list(heads)}"
        )
    with new_figure(10.4, 6.6) as figure:
        grid = figure.subplots(2, 3)
        for ax, (across, up, identity) in zip(grid.flat, RELATIONS, strict=True):
            for direction in directions(means):
                rows = means[means["direction"] == direction]
                low = rows["at_floor"]
                colour, marker = COLOURS[direction], MARKERS[direction]
                ax.plot(rows[across][low], rows[up][low], marker, mfc="none", mec=FAINT, ms=3)
                fitted = rows[~low]
                measure, score = (across, up) if across == "excess_range" else (up, across)
                text = _correlation_text(correlations, direction, measure, score)
                if not text and len(fitted) >= 3:
                    text = _plain_pearson(fitted[across], fitted[up])
                size = rows[[across, up]].abs().max()
                if (size < floor).any():
                    # Rounding errors alone have no relation to show.
                    nothing = " and ".join(signed_label(name) for name in size[size < floor].index)
                    label = f"{direction}  {nothing}: below the floor"
                    ax.plot(fitted[across], fitted[up], marker, color=colour, ms=3, label=label)
                elif len(fitted) >= 3 and np.ptp(fitted[across].to_numpy()) > 0:
                    sns.regplot(
                        x=fitted[across].to_numpy(),
                        y=fitted[up].to_numpy(),
                        ax=ax,
                        ci=100 * confidence,
                        n_boot=samples,
                        seed=seed,
                        color=colour,
                        marker=marker,
                        label=f"{direction}  {text}".strip(),
                        scatter_kws={"s": 11, "alpha": 0.65, "linewidths": 0},
                        line_kws={"linewidth": 1.2},
                    )
                else:
                    ax.plot(fitted[across], fitted[up], marker, color=colour, ms=3, label=direction)
            # A band that fans out must not shrink the points to a line.
            heights = means[up].dropna()
            margin = 0.08 * max(float(np.ptp(heights)), 1e-12)
            ax.set_ylim(heights.min() - margin, heights.max() + margin)
            if identity:
                ends = ax.get_xlim()
                ax.plot(ends, ends, ":", color=GREY, lw=1, zorder=0)
                ax.set_xlim(ends)
                ax.text(
                    0.98,
                    0.03,
                    "dotted: equal",
                    color=GREY,
                    fontsize=7,
                    ha="right",
                    transform=ax.transAxes,
                )
            ax.set_title(f"{signed_label(up)}  against  {signed_label(across)}")
            ax.set_xlabel(signed_label(across))
            ax.set_ylabel(signed_label(up))
            _label_strongest(ax, means, across, up)
            ax.legend(loc="best", handletextpad=0.2, borderaxespad=0.2)
        return figure


def _correlation_text(
    correlations: pd.DataFrame | None, direction: str, measure: str, score: str
) -> str:
    """Return "r = 0.98 [0.96, 0.99]" for Pearson over heads' means, or an empty text."""
    row = find_correlation(correlations, direction, measure, score, scope="pair_mean")
    if row is None or not math.isfinite(row["estimate"]):
        return ""
    text = f"r = {row['estimate']:.2f}"
    if math.isfinite(row["ci_low"]) and math.isfinite(row["ci_high"]):
        text += f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return text.replace("-", "−")


def _plain_pearson(x: pd.Series, y: pd.Series) -> str:
    """Return "r = 0.98" for two scores, whose correlation the statistics do not list."""
    estimate = x.corr(y)
    return f"r = {estimate:.2f}".replace("-", "−") if math.isfinite(estimate) else ""


def _label_strongest(ax: Axes, means: pd.DataFrame, across: str, up: str, count: int = 3) -> None:
    """Write "layer.head" beside the points of the ``count`` greatest |AP| of each direction.

    A name that would lie on an earlier one is left out.
    """
    taken: list[tuple[float, float]] = []
    for direction, rows in means.groupby("direction", sort=False):
        for row in rows.nlargest(count, "abs_ap").itertuples():
            x, y = ax.transAxes.inverted().transform(
                ax.transData.transform((getattr(row, across), getattr(row, up)))
            )
            if any(abs(x - left) < 0.1 and abs(y - below) < 0.05 for left, below in taken):
                continue
            taken.append((x, y))
            ax.annotate(
                f"{row.layer}.{row.head}",
                (getattr(row, across), getattr(row, up)),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=6.5,
                color=COLOURS[str(direction)],
            )
