"""Several studies side by side: what each is, and which heads matter in which task.

Heads have names only inside their model, so rankings are compared between studies of one model
(`statistics.ranking_overlaps`); relations and claims are averaged over all studies
(`statistics.meta_analysis`).

Tasks differ in how far the metric moves at all. A head's *share* is its mean AP over
the mean change between the two runs of a pair, metric(other) − metric(background): positive where
the head moves the metric towards its value on the other prompt, in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from counterpoint.statistics.panel import MOVEMENT, ROUNDING, directions, floors, panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.stability import (
    ranking,
)

STUDY_COLUMNS = (
    "study",
    "title",
    "model",
    "metric",
    "pairs",
    "right",
    "accuracy",
    "metric_clean",
    "metric_corrupted",
    "heads",
    "at_floor",
)
HEAD_COLUMNS = (
    "model",
    "direction",
    "layer",
    "head",
    "study",
    "rank",
    "share",
    "mean",
    "mean_absolute",
    "ci_low",
    "ci_high",
    "top_k_share",
    "studies_in_top_k",
    "studies",
    "k",
)


@dataclass(frozen=True)
class Study:
    """What is compared of one study: its tables `heads` and `baseline`, and what it is called."""

    name: str
    title: str
    model: str
    metric: str
    heads: pd.DataFrame
    baseline: pd.DataFrame


def studies_side_by_side(studies: Sequence[Study], *, settings: Settings) -> pd.DataFrame:
    """`studies.csv`: one row per study, columns as in `STUDY_COLUMNS`.

    `right` counts the pairs whose clean prompt is answered correctly, `at_floor` the heads whose
    curve moves by less than the floor on the mean over pairs, in the study's first direction.
    """
    rows = []
    for study in studies:
        moved = panel(study.heads, directions(study.heads)[0], [MOVEMENT, ROUNDING])
        movement, rounding = (moved.columns[name].mean(axis=0) for name in (MOVEMENT, ROUNDING))
        right = study.baseline["correct"].astype(bool)
        rows.append(
            {
                "study": study.name,
                "title": study.title,
                "model": study.model,
                "metric": study.metric,
                "pairs": len(study.baseline),
                "right": int(right.sum()),
                "accuracy": right.mean(),
                "metric_clean": study.baseline["metric_clean"].mean(),
                "metric_corrupted": study.baseline["metric_corrupted"].mean(),
                "heads": len(movement),
                "at_floor": int((movement < floors(rounding, settings.floor)).sum()),
            }
        )
    return pd.DataFrame(rows, columns=list(STUDY_COLUMNS))


def heads_across(
    studies: Sequence[Study], *, settings: Settings, score: str = "ap"
) -> pd.DataFrame:
    """`heads.csv`: one row per model, direction, head and study, columns as in `HEAD_COLUMNS`.

    `rank`, `mean`, `mean_absolute` with its interval and `top_k_share` are those of
    `stability.ranking`, `share` that of the module. `studies_in_top_k` counts, among
    the `studies` of that model and direction, those in which the head is one of the first k.
    """
    parts = []
    for study in studies:
        table = ranking(study.heads, score, settings=settings)
        change = {name: _change(study.baseline, name) for name in directions(study.heads)}
        whole = table["direction"].map(change)
        table["share"] = table["mean"] / whole.where(whole != 0)
        parts.append(table.assign(study=study.name, model=study.model))
    whole_table = pd.concat(parts, ignore_index=True)
    whole_table["k"] = settings.top_k
    first = (whole_table["rank"] <= settings.top_k).astype(int)
    keys = ["model", "direction", "layer", "head"]
    groups = whole_table.assign(first=first).groupby(keys)["first"]
    whole_table["studies_in_top_k"] = groups.transform("sum")
    whole_table["studies"] = groups.transform("size")
    # Names in the order in which they first appear, as studies do.
    named = ("model", "direction", "study")
    order = {name: list(dict.fromkeys(whole_table[name])) for name in named}
    return whole_table.sort_values(
        [*keys, "study"],
        key=lambda column: column.map(order[column.name].index) if column.name in order else column,
        ignore_index=True,
    )[list(HEAD_COLUMNS)]


def _change(baseline: pd.DataFrame, direction: str) -> float:
    """The mean of metric(other) − metric(background) over pairs."""
    towards_clean = float((baseline["metric_clean"] - baseline["metric_corrupted"]).mean())
    return towards_clean if direction == "denoising" else -towards_clean
