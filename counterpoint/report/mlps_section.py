"""The section that only some studies have: MLP layers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from counterpoint.figures.mlp_figures import mlp_layers
from counterpoint.glossary import COLUMNS
from counterpoint.report.html import Fragment, folded, heading, join, number, paragraph, table
from counterpoint.report.section_parts import (
    FOLDED_ROWS,
    SHOWN_ROWS,
    drawn_here,
    means_over,
    missing_as,
    named_pairs,
)
from counterpoint.report.study_results import Results


def extras(results: Results) -> Fragment:
    """Return the section that only some studies have: MLP layers."""
    parts: list[Any] = []
    if results.mlps is not None and not results.mlps.empty:
        columns = ["ap", "output_range", "gradient_range", "excess_range", "ig_joint"]
        columns = [name for name in columns if name in results.mlps]
        means = results.mlps.groupby(["direction", "layer"], sort=False)[columns].mean()
        which = named_pairs(results, results.mlps["pair"])
        parts += [
            heading("mlps", "MLP layers"),
            paragraph(
                "The same measures for the output of whole MLP layers. "
                + results.words.sign(results.directions, what="layer")
            ),
            drawn_here(
                results,
                "mlps",
                partial(mlp_layers, results.mlps, metric=results.metric),
                "AP and output range of MLP layers by depth.",
                f"Thin lines are pairs, thick ones their mean ({which}).",
            ),
            folded(
                f"The numbers ({means_over(results, results.mlps['pair'])})",
                _frame(means.reset_index(), f"Of whole layers, over {which}."),
            ),
        ]
    return join(parts)


def _frame(frame: pd.DataFrame, caption: Any = "") -> Fragment:
    """Return any table as it is, long ones folded."""
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns]
    whole = [pd.api.types.is_integer_dtype(frame[name]) for name in frame.columns]

    def cell(value: Any, column: int) -> Any:
        if whole[column]:
            return str(value)
        if numeric[column]:
            return number(value, 3)
        return missing_as(value, "")

    rows = [
        [cell(value, column) for column, value in enumerate(row)]
        for row in frame.head(FOLDED_ROWS).itertuples(index=False)
    ]
    text = tuple(column for column, flag in enumerate(numeric) if not flag)
    known = COLUMNS["mlps.parquet"]
    header = [
        known[name].shown if name in known else name.replace("_", " ") for name in frame.columns
    ]
    shown = table(header, rows, text=text, caption=caption)
    return folded(f"{len(frame)} rows", shown) if len(frame) > SHOWN_ROWS else shown
