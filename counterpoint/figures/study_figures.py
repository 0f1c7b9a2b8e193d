"""The figures of a study: heat maps, regressions, correlations, curves, stability.

Every function takes tables and arrays and returns a `matplotlib.figure.Figure`; nothing here
touches pyplot's global state, a model or torch. What a sign says hangs on the metric
(`counterpoint.glossary.metric_words`).

Colours: the diverging map is red-blue and centred on 0, the sequential one runs evenly from light
to dark, the two directions differ in hue and marker; all three survive the common colour-vision
deficiencies. Text is never read as TeX (`text.parse_math` is off), since prompts may hold "$".
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from counterpoint.files.artifacts import atomic
from counterpoint.glossary.metric_words import metric_words
from counterpoint.statistics import resampling
from counterpoint.statistics.panel import at_floor, directions, panel, value

PathLike = str | os.PathLike[str]
Head = tuple[int, int]

COLOURS = {"noising": "#0072B2", "denoising": "#D55E00"}
MARKERS = {"noising": "o", "denoising": "^"}
GREY = "#6b7280"
FAINT = "#b6bcc6"

METHOD_COLOURS = {
    "fluent": "#0072B2",
    "evolution": "#D55E00",
    "descent": "#CC79A7",
    "random_swaps": "#009E73",
    "likely_swaps": "#E69F00",
    "gradient_swaps": "#56B4E9",
    "template_swaps": "#8B5A2B",
    "proposal_only": GREY,
}
"""The colour of every method of searching, the same in all figures."""

SCORE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""The colours of scores, in the order of their table: a study chooses which scores it has."""

DIVERGING = "RdBu"
SEQUENTIAL = "GnBu"

LABELS = {
    "output_range": "output range",
    "output_range_closed": "output range on [0, 1]",
    "gradient_range": "gradient range",
    "total_variation": "total variation",
    "monotonicity": "monotonicity",
    "saturation": "saturation",
    "excess_range": "excess range",
    "ap": "AP (signed)",
    "abs_ap": "|AP|",
    "atp": "AtP (signed)",
    "abs_atp": "|AtP|",
    "ig_joint": "IG joint (signed)",
    "abs_ig_joint": "|IG joint|",
    "ig_unsaturated": "IG joint, unsaturated part",
    "disagreement": "IG joint − AP",
    "abs_disagreement": "|IG joint − AP|",
}
"""Measures of the curve and attribution scores as a reader should see them."""

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

DEFAULT_METRIC = "logit_difference"

THIN_LINES = 20
"""Most pairs drawn one by one: more would be a smear and a large file."""

STYLE: dict[Any, Any] = {
    # A user's own matplotlibrc has no part in it: its text.usetex would need LaTeX here.
    **{
        name: value
        for name, value in mpl.rcParamsDefault.items()
        if not name.startswith(("backend", "interactive", "webagg", "date.epoch"))
    },
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4b5563",
    "axes.linewidth": 0.7,
    "xtick.color": "#374151",
    "ytick.color": "#374151",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "counterpoint",
}


@dataclass(frozen=True)
class Curves:
    """The curves of `curves.safetensors`.

    Attributes:
        alphas: the nodes on [0, 1].
        output: f at the nodes, in units of the metric.
        gradient: g = df/dα at the nodes; None when the study did not keep gradients.
        pairs: the number of each kept pair, in the order of the first axis.
        directions: names along the second axis.
    """

    alphas: Float[np.ndarray, " node"]
    output: Float[np.ndarray, "pair direction layer head node"]
    gradient: Float[np.ndarray, "pair direction layer head node"] | None
    pairs: Int[np.ndarray, " pair"]
    directions: tuple[str, ...]

    def __post_init__(self) -> None:
        expected = (len(self.pairs), len(self.directions))
        if self.output.shape[:2] != expected or self.output.shape[-1] != len(self.alphas):
            raise ValueError(
                f"curves are [pair, direction, layer, head, node]; {self.output.shape} does not "
                f"fit {expected[0]} pairs, {expected[1]} directions and {len(self.alphas)} nodes"
            )


def read_curves(path: PathLike, directions: Sequence[str]) -> Curves:
    """Read `curves.safetensors` with numpy alone; ``directions`` as in the study's settings."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    return Curves(
        alphas=tensors["alphas"],
        output=tensors["output"],
        gradient=tensors.get("gradient"),
        pairs=tensors["pairs"],
        directions=tuple(directions),
    )


def mean_over_pairs(heads: pd.DataFrame, floor: float = 0.0) -> pd.DataFrame:
    """Return one row per direction, layer and head: every measure's mean over the pairs.

    Added columns: ``abs_ap``, ``abs_ig_joint``, ``disagreement``, ``abs_disagreement``; absolute
    values are taken pair by pair, so that effects of opposite sign do not cancel. ``at_floor``
    marks heads whose curves move by less than ``floor``, or than rounding, on the mean.
    """
    keys = ["direction", "layer", "head"]
    derived = ("abs_ap", "abs_ig_joint", "disagreement", "abs_disagreement")
    table = heads.assign(**{name: value(heads, name) for name in derived})
    columns = table.columns.difference([*keys, "pair"], sort=False)
    means = table.groupby(keys, sort=False, observed=True)[list(columns)].mean().reset_index()
    return means.assign(at_floor=at_floor(means, floor))


def rank_heads(heads: pd.DataFrame) -> pd.DataFrame:
    """Return heads ordered by their mean |AP| over pairs and directions, greatest first.

    Columns: ``layer, head, abs_ap, excess_range`` (means over pairs and directions).
    """
    means = mean_over_pairs(heads).groupby(["layer", "head"])[["abs_ap", "excess_range"]].mean()
    return means.reset_index().sort_values("abs_ap", ascending=False, ignore_index=True)


def choose_heads(
    heads: pd.DataFrame, count: int, configured: Sequence[Head] = ()
) -> list[tuple[int, int, str]]:
    """Choose the heads whose curves are shown, each with the reason.

    ``count`` heads by mean |AP|, then half as many (at least one) by excess range, then those
    the user configured; no head twice.
    """
    ranked = rank_heads(heads)
    crooked = ranked[ranked["excess_range"] > 0].sort_values("excess_range", ascending=False)
    chosen = dict.fromkeys(head_names(ranked.head(count)), "large |AP|")
    fresh = [name for name in head_names(crooked) if name not in chosen]
    chosen |= dict.fromkeys(fresh[: max(1, count // 2)], "large excess range")
    for layer, head in configured:
        chosen.setdefault((int(layer), int(head)), "configured")
    return [(layer, head, reason) for (layer, head), reason in chosen.items()]


def head_names(table: pd.DataFrame) -> list[Head]:
    """Return (layer, head) of every row of a table."""
    return [(int(layer), int(head)) for layer, head in table[["layer", "head"]].to_numpy()]


@contextmanager
def _new_figure(width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure, sizes in inches, drawn within the project's style."""
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def _sentence(text: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    with _new_figure(7, 1.1) as figure:
        figure.text(0.5, 0.5, text, ha="center", va="center", color=GREY, wrap=True)
        return figure


def _reason(table: pd.DataFrame, what: str) -> str:
    """Return ``what`` as a sentence, with the first reason that the table notes."""
    notes = [text for text in table["note"] if isinstance(text, str) and text]
    return f"{what}: {notes[0]}." if notes else f"{what}."


def _ticks(count: int) -> list[int]:
    """Return tick places for ``count`` rows or columns: at most about twelve, from 0."""
    step = max(1, math.ceil(count / 12))
    return list(range(0, count, step))


def _root_scale(low: float, high: float) -> FuncNorm:
    """Return a colour scale that goes with the signed root of the value, 0 keeping its place.

    A few heads carry most of a task: on a plain scale all others would look alike.
    """
    return FuncNorm(
        (lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * np.square(x)),
        vmin=low,
        vmax=high,
    )


def _root_ticks(norm: FuncNorm) -> list[float]:
    """Return ticks at 0 and at round numbers near the end, a quarter and a 16th of the scale."""
    ticks = {0.0}
    for share in (1, 1 / 4, 1 / 16):
        top = share * float(norm.vmax or 0)
        size = 10.0 ** math.floor(math.log10(top))
        ticks.add(math.floor(top / size) * size)
    return sorted(ticks | {-tick for tick in ticks if norm.vmin})


def heat_maps(heads: pd.DataFrame, *, floor: float, outlined: int = 5) -> Figure:
    """Draw AP, IG joint, output range and gradient range as layer × head maps, side by side.

    One row of maps per direction; values are means over the pairs in ``heads`` (give one pair's
    rows for that pair's maps). Colours go with the root of the value; AP and IG joint share one
    scale, centred on 0. The ``outlined``
    heads of greatest |AP| are framed in every map; a dot marks a head whose curve moves by less
    than ``floor``.
    """
    means = mean_over_pairs(heads, floor)
    n_layers, n_heads = int(means["layer"].max()) + 1, int(means["head"].max()) + 1
    tall = min(8.0, max(1.6, 0.125 * n_layers))
    names = directions(means)
    with _new_figure(10.4, len(names) * (tall + 0.75)) as figure:
        grid = figure.subplots(len(names), 4, squeeze=False, sharex=True, sharey=True)
        for axes, direction in zip(grid, names, strict=True):
            rows = means[means["direction"] == direction].set_index(["layer", "head"])
            rows = rows.reindex(pd.MultiIndex.from_product([range(n_layers), range(n_heads)]))

            def cells(name: str, rows: pd.DataFrame = rows) -> np.ndarray:
                return rows[name].to_numpy(float).reshape(n_layers, n_heads)

            # Of a study that does not move at all no rounding error is blown up to full colour.
            least = max(floor, 1e-12)
            bound = float(np.nanmax(np.abs([cells("ap"), cells("ig_joint")]), initial=least))
            signed = _root_scale(-bound, bound)
            top = np.argsort(-np.nan_to_num(cells("abs_ap")), axis=None)[:outlined]
            for ax, name, label in zip(
                axes,
                ("ap", "ig_joint", "output_range", "gradient_range"),
                ("AP", "IG joint", "output range", "gradient range"),
                strict=True,
            ):
                values = cells(name)
                norm = signed
                if name.endswith("range"):
                    norm = _root_scale(0.0, float(np.nanmax(values, initial=least)))
                image = ax.imshow(
                    values,
                    cmap=DIVERGING if norm is signed else SEQUENTIAL,
                    norm=norm,
                    aspect="auto",
                    interpolation="nearest",
                )
                for place in top[~np.isnan(cells("abs_ap")).reshape(-1)[top]]:
                    layer, head = divmod(int(place), n_heads)
                    ax.add_patch(
                        Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, ec="black", lw=0.9)
                    )
                low = np.argwhere(cells("at_floor") == 1)
                ax.plot(low[:, 1], low[:, 0], ".", color=GREY, ms=1.6, mew=0)
                ax.set_title(label)
                ax.set_xticks(_ticks(n_heads))
                ax.set_yticks(_ticks(n_layers))
                for side in ("top", "right"):
                    ax.spines[side].set_visible(True)
                bar = figure.colorbar(image, ax=ax, fraction=0.06, pad=0.03, aspect=40)
                bar.set_ticks(_root_ticks(norm))
                bar.outline.set_linewidth(0.4)
                bar.ax.tick_params(labelsize=7, width=0.5, length=2)
            axes[0].set_ylabel(f"{direction}\nlayer")
        for ax in grid[-1]:
            ax.set_xlabel("head")
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


def find_correlation(
    correlations: pd.DataFrame | None,
    direction: str,
    measure: str,
    score: str,
    *,
    method: str = "pearson",
    scope: str = "study",
    pair: int | None = None,
) -> pd.Series | None:
    """Return the row of `correlations.csv` for one relation, None when there is none.

    ``pair`` is needed for the scope "pair" only.
    """
    if correlations is None or correlations.empty:
        return None
    wanted: dict[str, Any] = {
        "scope": scope,
        "direction": direction,
        "measure": measure,
        "score": score,
        "method": method,
    }
    if pair is not None:
        wanted["pair"] = pair
    found = correlations
    for name, key in wanted.items():
        found = found[found[name] == key]
    return None if found.empty else found.iloc[0]


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
    floor: float,
    confidence: float = 0.95,
    samples: int = 400,
    seed: int = 0,
) -> Figure:
    """Draw six scatter plots over heads with regression lines and bootstrap bands.

    One point per head and direction, each a mean over the pairs. Heads whose curves move by less
    than ``floor`` are hollow and grey and left out of the lines. The bands are seaborn's bootstrap
    over heads (``samples`` resamples, percentile interval at ``confidence``); the r in each
    panel is that of the same points, from ``correlations`` (scope ``pair_mean``) with its interval
    where it is listed there.
    """
    import seaborn as sns

    means = mean_over_pairs(heads, floor)
    with _new_figure(10.4, 6.6) as figure:
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
                    nothing = " and ".join(LABELS[name] for name in size[size < floor].index)
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
            ax.set_title(f"{LABELS[up]}  against  {LABELS[across]}")
            ax.set_xlabel(LABELS[across])
            ax.set_ylabel(LABELS[up])
            _label_strongest(ax, means, across, up)
            ax.legend(loc="best", handletextpad=0.2, borderaxespad=0.2)
        return figure


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


def top_heads(
    heads: pd.DataFrame,
    *,
    count: int = 12,
    confidence: float = 0.95,
    seed: int = 0,
    metric: str = DEFAULT_METRIC,
) -> Figure:
    """Draw AP of the ``count`` heads of greatest mean |AP|: every pair, the mean, its interval.

    The intervals are those of `ap_intervals`; with one pair none is drawn.
    """
    names = head_names(rank_heads(heads).head(count))
    shown = directions(heads)
    with _new_figure(7.2, 0.55 + 0.27 * len(names)) as figure:
        ax = figure.subplots()
        ax.axvline(0, color=GREY, lw=0.7)
        for order, direction in enumerate(shown):
            shift = (order - (len(shown) - 1) / 2) * 0.3
            intervals = ap_intervals(
                heads, direction, confidence=confidence, seed=seed, metric=metric
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
) -> dict[Head, tuple[float, float, float]]:
    """Return each head's mean AP over pairs with its interval, in one direction.

    The interval is a bootstrap over pairs, widened for their small number
    (`statistics.resampling`); its ends are NaN for a single pair, and none is below 0 where no AP
    of the metric can be.
    """
    data = panel(heads, direction, ["ap"])
    ap = data.array(["ap"])[:, 0]
    random = resampling.generator(seed, direction, "pairs")
    drawn = resampling.draws(random, samples, len(data.pairs))
    lowest = 0.0 if metric_words(metric).one_signed([direction]) else -math.inf
    found = resampling.study_interval(ap, None, drawn, confidence, (lowest, math.inf))
    return {
        (int(layer), int(head)): (float(middle), float(low), float(high))
        for layer, head, middle, low, high in zip(
            data.layers, data.heads, found.estimate, found.low, found.high, strict=True
        )
    }


METHODS = ("pearson", "spearman", "kendall")


def correlation_matrices(
    correlations: pd.DataFrame, methods: Sequence[str] = ("pearson", "spearman")
) -> Figure:
    """Draw the study-wide correlations as measure × score tables, with their intervals.

    A row of tables per direction, a column per method. Bold: the interval leaves out 0.
    """
    rows = correlations[correlations["scope"] == "study"]
    if rows["estimate"].isna().all():
        return _sentence(_reason(rows, "No correlation could be computed for this study"))
    measures, scores = list(dict.fromkeys(rows["measure"])), list(dict.fromkeys(rows["score"]))
    shown = directions(rows)
    with _new_figure(10.4, len(shown) * (0.75 + 0.4 * len(measures))) as figure:
        grid = figure.subplots(len(shown), len(methods), squeeze=False, sharex=True, sharey=True)
        for axes, direction in zip(grid, shown, strict=True):
            for ax, method in zip(axes, methods, strict=True):
                values = np.full((len(measures), len(scores)), np.nan)
                for place in np.ndindex(values.shape):
                    row = find_correlation(
                        rows, direction, measures[place[0]], scores[place[1]], method=method
                    )
                    if row is not None:
                        values[place] = row["estimate"]
                        _write_correlation(ax, place, row)
                ax.imshow(values, cmap=DIVERGING, norm=TwoSlopeNorm(0, -1, 1), aspect="auto")
                ax.set_title(f"{method.capitalize()}, {direction}")
                ax.tick_params(length=0)
                ax.spines[:].set_visible(False)
            axes[0].set_yticks(range(len(measures)), [LABELS.get(m, m) for m in measures])
        for ax in grid[-1]:
            ax.set_xticks(range(len(scores)), [LABELS.get(s, s) for s in scores], rotation=20)
        return figure


def _write_correlation(ax: Axes, place: tuple[int, ...], row: pd.Series) -> None:
    """Write an estimate and its interval into a cell, bold where the interval leaves out 0."""
    estimate, low, high = row["estimate"], row["ci_low"], row["ci_high"]
    if not math.isfinite(estimate):
        return
    ends = f"[{low:.2f}, {high:.2f}]".replace("-", "−") if math.isfinite(low) else ""
    at: dict[str, Any] = {
        "ha": "center",
        "color": "white" if abs(estimate) > 0.55 else "#111827",
        "fontweight": "bold" if low > 0 or high < 0 else "normal",
    }
    ax.text(place[1], place[0], f"{estimate:.2f}".replace("-", "−"), va="bottom", fontsize=8, **at)
    ax.text(place[1], place[0] + 0.08, ends, va="top", fontsize=5.8, **at)


AGREEMENTS = {"rank_biased_overlap": "rank-biased overlap", "jaccard": "Jaccard at k"}


def size_label(score: str) -> str:
    """Return the label of a score's size, which is what heads are ranked by."""
    return LABELS.get(f"abs_{score}", LABELS.get(score, score))


def rank_stability(stability: pd.DataFrame) -> Figure:
    """Draw how well the rankings of heads by each score agree between pairs.

    ``stability`` is the table of `stability.stability`. Hollow marks: what random
    rankings would give.
    """
    rows = stability[(stability["between"] == "pairs") & stability["estimate"].notna()]
    if rows.empty:
        return _sentence(_reason(stability, "There are no rankings to compare"))
    scores, shown = list(dict.fromkeys(rows["score"])), directions(rows)
    with _new_figure(8.4, 1.05 + 0.28 * len(scores)) as figure:
        grid = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for ax, direction in zip(grid, shown, strict=True):
            for (name, label), marker, shift in zip(
                AGREEMENTS.items(), "os", (-0.13, 0.13), strict=True
            ):
                own = rows[(rows["direction"] == direction) & (rows["agreement"] == name)]
                colour = COLOURS[direction] if marker == "o" else GREY
                at = np.array([scores.index(score) for score in own["score"]]) + shift
                ax.hlines(at, own["ci_low"], own["ci_high"], color=colour, lw=1.2)
                ax.plot(own["chance"], at, marker, mfc="none", mec=colour, ms=3.5, mew=0.7)
                ax.plot(own["estimate"], at, marker, color=colour, ms=4.5, mew=0, label=label)
            ax.set_xlim(-0.02, 1.02)
            ax.set_title(direction)
            ax.set_xlabel("agreement between pairs")
            ax.grid(axis="y", color="#eceff3", lw=0.6)
            ax.set_axisbelow(True)
        grid[0].set_yticks(range(len(scores)), [size_label(score) for score in scores])
        grid[0].set_ylim(len(scores) - 0.5, -0.5)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return figure


def output_curves(
    curves: Curves,
    baseline: pd.DataFrame,
    chosen: Sequence[tuple[int, int, str]],
    *,
    metric: str = DEFAULT_METRIC,
) -> Figure:
    """Draw f(α) − f(0) and g(α) of the chosen heads: thin for each pair, thick for the mean of all.

    f(0) is the unpatched metric of the direction's background, from ``baseline``.
    """
    if not len(curves.pairs):
        return _sentence(
            "This study keeps no curves (setting curves.keep: none), so none can be drawn."
        )
    # The number of columns, 3 to 5, that leaves the fewest places empty.
    across = min(len(chosen), min((4, 5, 3), key=lambda columns: -len(chosen) % columns))
    down = math.ceil(len(chosen) / across)
    start = baseline.set_index("pair").loc[curves.pairs]
    columns = {"noising": "metric_clean", "denoising": "metric_corrupted"}
    with _new_figure(10.4, 3.0 * down + 0.35) as figure:
        ratios = [3, 2] if curves.gradient is not None else [1]
        grid = figure.subplots(
            down * len(ratios),
            across,
            squeeze=False,
            sharex=True,
            gridspec_kw={"height_ratios": ratios * down},
        )
        for place, (layer, head, reason) in enumerate(chosen):
            row, column = divmod(place, across)
            upper = grid[row * len(ratios), column]
            for order, direction in enumerate(curves.directions):
                colour = COLOURS[direction]
                zero = start[columns[direction]].to_numpy(float)[:, None]
                shift = curves.output[:, order, layer, head] - zero
                _bundle(upper, curves.alphas, shift, colour, direction)
                if curves.gradient is not None:
                    lower = grid[row * len(ratios) + 1, column]
                    slope = curves.gradient[:, order, layer, head]
                    _bundle(lower, curves.alphas, slope, colour, direction)
            upper.set_title(f"{layer}.{head}", pad=3)
            upper.set_title(reason, loc="right", fontsize=7, color=GREY, fontweight="normal")
            if column == 0:
                unit = metric_words(metric).unit
                upper.set_ylabel(f"f(α) − f(0), {unit}")
                if curves.gradient is not None:
                    grid[row * len(ratios) + 1, 0].set_ylabel(f"g(α), {unit}")
        for empty in range(len(chosen), down * across):
            row, column = divmod(empty, across)
            for part in range(len(ratios)):
                grid[row * len(ratios) + part, column].set_visible(False)
        for ax in grid[-1]:
            ax.set_xlabel("α: 0 background, 1 other prompt")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        return figure


def _bundle(
    ax: Axes,
    alphas: Float[np.ndarray, " node"],
    values: Float[np.ndarray, "pair node"],
    colour: str,
    label: str,
) -> None:
    """Draw each pair's curve thin (the first `THIN_LINES`) and the mean of all thick."""
    ax.axhline(0, color=FAINT, lw=0.6, zorder=0)
    if len(values) > 1:
        ax.plot(alphas, values[:THIN_LINES].T, color=colour, lw=0.6, alpha=0.35)
    ax.plot(alphas, values.mean(axis=0), color=colour, lw=1.8, label=label)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])


def search_progress(traces: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw hypervolume and largest LD change against model evaluations, a line per search.

    ``traces`` holds for each method the columns ``evaluations, hypervolume, best_ld_change`` and
    ``seed``.
    """
    with _new_figure(8.4, 2.6) as figure:
        grid = figure.subplots(1, 2)
        for ax, name, label in zip(
            grid,
            ("hypervolume", "best_ld_change"),
            ("hypervolume", "largest LD change"),
            strict=True,
        ):
            for method, trace in traces.items():
                for number, (_, rows) in enumerate(trace.groupby("seed", sort=False)):
                    ax.step(
                        rows["evaluations"],
                        rows[name],
                        where="post",
                        color=METHOD_COLOURS[method],
                        lw=1.3,
                        label=method if number == 0 else None,
                    )
            ax.set_xlabel("model evaluations")
            ax.set_ylabel(label)
        grid[0].legend(loc="best")
        return figure


def pair_curves(pairs: pd.DataFrame) -> Figure:
    """Draw the target head's output curve on generated pairs, from its value at α = 0.

    Columns: ``alphas`` and ``output``, a list of numbers each, and ``method``.
    """
    with _new_figure(5.2, 3.0) as figure:
        ax = figure.subplots()
        ax.axhline(0, color=FAINT, lw=0.6, zorder=0)
        for method, rows in pairs.groupby("method", sort=False):
            colour = METHOD_COLOURS[str(method)]
            shown = rows.head(THIN_LINES)
            for number, (alphas, output) in enumerate(
                zip(shown["alphas"], shown["output"], strict=True)
            ):
                values = np.asarray(output, dtype=float)
                label = str(method) if number == 0 else None
                ax.plot(alphas, values - values[0], color=colour, lw=1.1, alpha=0.7, label=label)
        ax.set_xlim(0, 1)
        ax.set_xlabel("α: 0 own output, 1 that of the corrupted prompt")
        ax.set_ylabel("LD: f(α) − f(0), logits")
        ax.legend(loc="best")
        return figure


def faithfulness_curves(faithfulness: pd.DataFrame) -> Figure:
    """Draw what the first k heads by each score recover of the metric's change, mean over pairs.

    Columns: ``pair, direction, score, k, recovered`` (a share, 1 is all of the change).
    """
    shown = directions(faithfulness)
    with _new_figure(8.4, 2.9) as figure:
        grid = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for ax, direction in zip(grid, shown, strict=True):
            own = faithfulness[faithfulness["direction"] == direction]
            for place, (score, rows) in enumerate(own.groupby("score", sort=False)):
                mean = rows.groupby("k")["recovered"].mean()
                colour = SCORE_COLOURS[place % len(SCORE_COLOURS)]
                label = LABELS.get(str(score), str(score))
                ax.plot(mean.index, mean, ".-", color=colour, lw=1.3, ms=4, label=label)
            for level in (0, 1):
                ax.axhline(level, color=FAINT, lw=0.6, zorder=0)
            ax.set_title(direction)
            ax.set_xlabel("heads patched together, k")
        grid[0].set_ylabel("share recovered")
        grid[0].legend(loc="best")
        return figure


def interaction_sums(sums: pd.DataFrame) -> Figure:
    """Draw the disagreement of IG joint and AP against the sum of a head's interactions.

    Columns: ``direction, disagreement, interaction`` (summed over partners); a mark per pair and
    head. On the dotted line two heads at a time explain all; off it three or more act together.
    """
    with _new_figure(4.6, 3.2) as figure:
        ax = figure.subplots()
        for direction in directions(sums):
            rows = sums[sums["direction"] == direction]
            ax.plot(
                rows["interaction"],
                rows["disagreement"],
                MARKERS[direction],
                ms=4,
                alpha=0.7,
                mew=0,
                color=COLOURS[direction],
                label=direction,
            )
        ends = [*ax.get_xlim(), *ax.get_ylim()]
        ax.plot([min(ends), max(ends)], [min(ends), max(ends)], ":", color=GREY, lw=1, zorder=0)
        ax.set_xlabel("sum of interactions with single partners")
        ax.set_ylabel(LABELS["disagreement"])
        ax.legend(loc="best")
        return figure


def mlp_layers(mlps: pd.DataFrame, *, metric: str = DEFAULT_METRIC) -> Figure:
    """Draw AP and output range of whole MLP layers by depth: thin for pairs, thick for the mean.

    Columns: ``pair, direction, layer, ap, output_range``.
    """
    with _new_figure(8.4, 2.7) as figure:
        grid = figure.subplots(1, 2)
        for ax, name in zip(grid, ("ap", "output_range"), strict=True):
            for direction in directions(mlps):
                rows = mlps[mlps["direction"] == direction]
                table = rows.pivot_table(index="layer", columns="pair", values=name)
                colour = COLOURS[direction]
                ax.plot(table.index, table.iloc[:, :THIN_LINES], color=colour, lw=0.6, alpha=0.35)
                ax.plot(table.index, table.mean(axis=1), color=colour, lw=1.8, label=direction)
            ax.axhline(0, color=FAINT, lw=0.6, zorder=0)
            ax.set_xlabel("layer")
            ax.set_ylabel(f"{LABELS[name]}, {metric_words(metric).unit}")
        grid[0].legend(loc="best")
        return figure


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
) -> dict[str, Figure]:
    """Return every figure of a study by its name: exactly the names of `FIGURES`, always.

    A figure without data (no curves kept, one pair only) is a sentence that says so.
    """
    first_pair = heads[heads["pair"] == heads["pair"].min()]
    chosen = choose_heads(heads, heads_shown, configured)
    return {
        "top_heads": top_heads(
            heads, count=max(top_k, 10), confidence=confidence, seed=seed, metric=metric
        ),
        "heat_maps": heat_maps(heads, floor=floor),
        "heat_maps_first_pair": heat_maps(first_pair, floor=floor),
        "regressions": regressions(
            heads, correlations, floor=floor, confidence=confidence, seed=seed
        ),
        "correlations": correlation_matrices(correlations),
        "curves": output_curves(curves, baseline, chosen, metric=metric),
        "stability": rank_stability(stability),
    }


def figure_svg(figure: Figure) -> bytes:
    """Return a figure as SVG without a date."""
    with mpl.rc_context(STYLE), io.BytesIO() as stream:
        figure.savefig(stream, format="svg", metadata={"Date": None})
        return stream.getvalue()


def save_figure(figure: Figure, folder: PathLike, name: str) -> tuple[Path, Path]:
    """Write ``folder/name.svg`` and ``folder/name.png``, each atomically, and return their paths.

    The SVG holds no date and its ids come from a fixed salt: equal figures give equal files.
    """
    svg, png = Path(folder) / f"{name}.svg", Path(folder) / f"{name}.png"
    with mpl.rc_context(STYLE):
        with atomic(svg) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        with atomic(png) as temporary:
            figure.savefig(temporary, format="png")
    return svg, png
