"""The figures of several studies side by side: heads by task, overlaps, claims, correlations.

Functions take tables and return figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from counterpoint.figures.theme import (
    COLOURS,
    DIVERGING,
    FAINT,
    GREY,
    MARKERS,
    SEQUENTIAL,
    name_directions_once,
    new_figure,
    sentence,
)
from counterpoint.glossary import signed_label
from counterpoint.statistics.claim_quantities import DECISIVE
from counterpoint.statistics.panel import directions

FIGURES = {
    "heads": "Which heads matter in which task",
    "overlaps": "How far the rankings of heads agree, within and between tasks",
    "claims": "The numbers that decide the claims, study by study",
    "correlations": "Correlations of measures and scores over studies",
}
"""Every figure that `draw_comparison` returns, always all of them, with its title."""

MOST_HEADS = 20
"""Heads shown for each model."""

QUANTITIES = {
    "concordance": "IG joint agrees with AP\n(concordance)",
    "returning_given_effect": "returning goes with\ndisagreement, given |AP|",
    "returning_given_movement": "returning goes with\ndisagreement, given range",
    "saturation_given_movement": "saturation goes with\ndisagreement, given range",
    "faithfulness_gain_of_unsaturated": "faithfulness gained by\nleaving saturation out",
}
"""The deciding numbers that have intervals, with short names."""

SHOWN_SCORES = ("abs_ap", "ap", "abs_disagreement")


def choose_heads(heads: pd.DataFrame, model: str, most: int = MOST_HEADS) -> list[tuple[int, int]]:
    """The model's heads worth showing beside each other, by layer and head.

    First those that are among the first k in most studies, then those of the largest share in any;
    all are among the first k somewhere.
    """
    own = heads[heads["model"] == model]
    own = own.assign(size=own["share"].abs(), first=own["rank"] <= own["k"])
    summed = own.groupby(["layer", "head"]).agg(first=("first", "sum"), size=("size", "max"))
    summed = summed[summed["first"] > 0].sort_values(["first", "size"], ascending=False)
    return sorted((int(layer), int(head)) for layer, head in summed.head(most).index)


def heads_by_task(heads: pd.DataFrame) -> Figure:
    """Draw the share of the metric's change that heads carry in every study, with their ranks.

    `heads` is the table of `studies.heads_across`. A row of panels per model, a
    column per direction; bold numbers are ranks among the first k.
    """
    models, shown = list(dict.fromkeys(heads["model"])), directions(heads)
    chosen = {model: choose_heads(heads, model) for model in models}
    columns = {
        model: list(dict.fromkeys(heads[heads["model"] == model]["study"])) for model in models
    }
    bound = float(heads["share"].abs().max())
    bound = bound if math.isfinite(bound) and bound > 0 else 1.0
    tall = [0.21 * len(chosen[model]) + 0.5 for model in models]
    width = 1.6 + len(shown) * max(1.9, 0.62 * max(map(len, columns.values())))
    with new_figure(width, sum(tall) + 1.1) as figure:
        grid = figure.subplots(
            len(models), len(shown), squeeze=False, gridspec_kw={"height_ratios": tall}
        )
        image = None
        for row, model in zip(grid, models, strict=True):
            for ax, direction in zip(row, shown, strict=True):
                own = heads[(heads["model"] == model) & (heads["direction"] == direction)]
                table = own.set_index(["layer", "head", "study"])
                values = np.full((len(chosen[model]), len(columns[model])), np.nan)
                for place in np.ndindex(values.shape):
                    key = (*chosen[model][place[0]], columns[model][place[1]])
                    if key in table.index:
                        values[place] = table.loc[key, "share"]
                        _write_rank(ax, place, table.loc[key], bound)
                image = ax.imshow(
                    values, cmap=DIVERGING, norm=TwoSlopeNorm(0, -bound, bound), aspect="auto"
                )
                ax.set_title(direction if len(models) == 1 else f"{model}, {direction}")
                names = [f"{layer}.{head}" for layer, head in chosen[model]]
                ax.set_yticks(range(len(names)), names if ax is row[0] else [])
                ax.set_xticks(range(len(columns[model])), columns[model])
                ax.tick_params(length=0)
                for label in ax.get_xticklabels():
                    label.set(rotation=35, ha="right", rotation_mode="anchor")
        if image is not None:
            bar = figure.colorbar(image, ax=grid, fraction=0.04, pad=0.02, aspect=40)
            bar.set_label("share of the metric's change")
            bar.outline.set_linewidth(0.4)
        return figure


def _write_rank(ax: Axes, place: tuple[int, ...], row: pd.Series, bound: float) -> None:
    """Write a head's rank into its cell."""
    first = row["rank"] <= row["k"]
    ax.text(
        place[1],
        place[0],
        str(int(row["rank"])),
        ha="center",
        va="center",
        fontsize=6.5,
        fontweight="bold" if first else "normal",
        color="white" if abs(row["share"]) > 0.6 * bound else "#111827" if first else GREY,
    )


def overlap_matrices(
    overlaps: pd.DataFrame, *, score: str = "ap", agreement: str = "rank_biased_overlap"
) -> Figure:
    """Draw how well the rankings by single pairs agree, of one study and of two.

    `overlaps` is the table of `statistics.ranking_overlaps.overlaps`. A star: pairs of one study
    agree better than pairs of both (corrected p below 0.05).
    """
    rows = overlaps[
        (overlaps["of"] == "pairs")
        & (overlaps["score"] == score)
        & (overlaps["agreement"] == agreement)
    ]
    if rows.empty:
        return sentence("No two studies of one model, so there are no rankings to compare.")
    if rows["estimate"].isna().all():
        return sentence(f"There are no rankings to compare: {rows['note'].iloc[0]}.")
    groups = list(rows.groupby(["model", "direction"], sort=False))
    names = max((list(dict.fromkeys(part["first"])) for _, part in groups), key=len)
    side = 0.62 * len(names)
    across = min(len(groups), 3)
    down = math.ceil(len(groups) / across)
    with new_figure(across * (side + 1.4) + 0.8, down * (side + 1.3)) as figure:
        grid = figure.subplots(down, across, squeeze=False)
        image = None
        for ax, ((model, direction), part) in zip(grid.flat, groups, strict=False):
            names = list(dict.fromkeys(part["first"]))
            values = np.full((len(names), len(names)), np.nan)
            for row in part.to_dict("records"):
                one, two = names.index(row["first"]), names.index(row["second"])
                values[one, two] = values[two, one] = row["estimate"]
                if not math.isfinite(row["estimate"]):
                    continue
                told = row["p_adjusted"] < 0.05
                text = f"{row['estimate']:.2f}{'*' if told else ''}".replace("-", "−")
                colour = "white" if row["estimate"] > 0.6 else "#111827"
                for y, x in {(one, two), (two, one)}:
                    ax.text(x, y, text, ha="center", va="center", fontsize=7, color=colour)
            image = ax.imshow(values, cmap=SEQUENTIAL, norm=Normalize(0, 1))
            several = len(dict.fromkeys(model for (model, _), _ in groups)) > 1
            ax.set_title(f"{model}, {direction}" if several else str(direction))
            ax.set_xticks(range(len(names)), names)
            ax.set_yticks(range(len(names)), names)
            ax.tick_params(length=0)
            for label in ax.get_xticklabels():
                label.set(rotation=35, ha="right", rotation_mode="anchor")
        for empty in list(grid.flat)[len(groups) :]:
            empty.set_visible(False)
        if image is not None:
            bar = figure.colorbar(image, ax=grid, fraction=0.04, pad=0.02, aspect=30)
            bar.set_label("agreement of two pairs' rankings")
            bar.outline.set_linewidth(0.4)
        return figure


def claims_forest(tables: Mapping[str, pd.DataFrame], across: pd.DataFrame) -> Figure:
    """Draw each deciding number with its interval: a row per study, and their average.

    `tables` holds the studies' own claims, `across` is `meta_analysis.claims_across`.
    Dotted: what a study must reach for the claim to hold.
    """
    decisive = across[(across["role"] == DECISIVE) & across["quantity"].isin(list(QUANTITIES))]
    names = [name for name in QUANTITIES if (decisive["quantity"] == name).any()]
    if not names:
        return sentence("No claim has a number with an interval in these studies.")
    rows = [*tables, "average"]
    with new_figure(1.5 + 1.9 * len(names), 1.25 + 0.3 * len(rows)) as figure:
        grid = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
        for ax, name in zip(grid, names, strict=True):
            for place, study in enumerate(rows):
                table = across if study == "average" else tables[study]
                _forest_row(ax, table[table["quantity"] == name], place, study == "average")
            thresholds = [table[table["quantity"] == name] for table in tables.values()]
            known = pd.concat(thresholds)["threshold"].dropna()
            if len(known):
                ax.axvline(float(known.iloc[0]), color=GREY, lw=0.9, ls=":", zorder=0)
            ax.axvline(0, color=FAINT, lw=0.6, zorder=0)
            ax.axhline(len(tables) - 0.5, color=FAINT, lw=0.6)
            ax.set_title(QUANTITIES[name], fontsize=7.5)
        grid[0].set_yticks(range(len(rows)), rows)
        grid[0].set_ylim(len(rows) - 0.5, -0.5)
        name_directions_once(figure, grid)
        return figure


def _forest_row(ax: Axes, rows: pd.DataFrame, place: int, average: bool) -> None:
    """Draw the estimates of one study, a mark per direction."""
    shown = list(rows["direction"])
    for order, row in enumerate(rows.to_dict("records")):
        at = place + (order - (len(shown) - 1) / 2) * 0.28
        colour = COLOURS[row["direction"]]
        if math.isfinite(row["ci_low"]):
            ax.plot([row["ci_low"], row["ci_high"]], [at, at], "-", color=colour, lw=1.2)
        ax.plot(
            row["estimate"],
            at,
            MARKERS[row["direction"]],
            color=colour,
            ms=5.5 if average else 3.5,
            mew=0,
            label=row["direction"],
        )


def correlations_forest(
    tables: Mapping[str, pd.DataFrame], across: pd.DataFrame, *, method: str = "spearman"
) -> Figure:
    """Draw the correlations of measures with scores: small marks are studies, large the average.

    `tables` holds the studies' own correlations, `across` is
    `counterpoint.statistics.meta_analysis.correlations_across`.
    """
    rows = across[(across["method"] == method) & across["score"].isin(SHOWN_SCORES)]
    if rows.empty:
        return sentence("No correlation could be computed in these studies.")
    measures = list(dict.fromkeys(rows["measure"]))
    scores = [score for score in SHOWN_SCORES if (rows["score"] == score).any()]
    every = pd.concat(tables.values())
    every = every[(every["scope"] == "study") & (every["method"] == method)]
    with new_figure(2.0 + 2.6 * len(scores), 1.1 + 0.36 * len(measures)) as figure:
        grid = figure.subplots(1, len(scores), squeeze=False, sharey=True, sharex=True)[0]
        for ax, score in zip(grid, scores, strict=True):
            for place, measure in enumerate(measures):
                here = rows[(rows["score"] == score) & (rows["measure"] == measure)]
                _forest_row(ax, here, place, average=True)
                for order, direction in enumerate(here["direction"]):
                    single = every[
                        (every["score"] == score)
                        & (every["measure"] == measure)
                        & (every["direction"] == direction)
                    ]["estimate"]
                    at = place + (order - (len(here) - 1) / 2) * 0.28
                    ax.plot(
                        single,
                        np.full(len(single), at),
                        MARKERS[direction],
                        color=COLOURS[direction],
                        ms=3,
                        alpha=0.4,
                        mew=0,
                    )
            ax.axvline(0, color=FAINT, lw=0.6, zorder=0)
            ax.set_title(f"with {signed_label(score)}")
            ax.set_xlim(-1.02, 1.02)
            ax.set_xlabel(method.capitalize())
        grid[0].set_yticks(range(len(measures)), [signed_label(m) for m in measures])
        grid[0].set_ylim(len(measures) - 0.5, -0.5)
        name_directions_once(figure, grid)
        return figure


def draw_comparison(
    heads: pd.DataFrame,
    overlaps: pd.DataFrame,
    claims: Mapping[str, pd.DataFrame],
    claims_over_studies: pd.DataFrame,
    correlations: Mapping[str, pd.DataFrame],
    correlations_over_studies: pd.DataFrame,
) -> dict[str, Figure]:
    """Return every figure by its name: exactly the names of `FIGURES`, always."""
    return {
        "heads": heads_by_task(heads),
        "overlaps": overlap_matrices(overlaps),
        "claims": claims_forest(claims, claims_over_studies),
        "correlations": correlations_forest(correlations, correlations_over_studies),
    }
