"""What the explorer shows of several studies of one model, as one text (`packed_arrays`).

Where a study's explorer has pairs, that of a comparison has studies: each is a task. Values of a
head are its means over a study's pairs, as heads.csv of the comparison has them; its curve in a
study is the mean of the curves that the study keeps; and of each study's pairs the one is shown on
which the head does most, in the direction in which it does. All else about a head in a study stands
in the study's own page, which is linked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from counterpoint.figures.chosen_heads import Head
from counterpoint.files.artifacts import read_table
from counterpoint.glossary import COLUMNS
from counterpoint.glossary.entries import METRIC
from counterpoint.glossary.metric_words import metric_words
from counterpoint.report.comparison_results import Comparison
from counterpoint.report.explorer.kept_curves import NAMES, mean_curves
from counterpoint.report.explorer.measure_arrays import About, description
from counterpoint.report.explorer.packed_arrays import pack
from counterpoint.report.explorer.pair_choice import QUANTILES
from counterpoint.report.explorer.prompt_pieces import prompt_pieces
from counterpoint.report.explorer.quantised_curves import LEVELS, largest_error, quantise
from counterpoint.report.prompt_tokens import Tokens
from counterpoint.statistics.panel import directions

FILE = "comparison/heads.csv"

MAPPED = {
    "share": ("share of the metric's change", True),
    "mean": ("AP, mean over pairs", True),
    "mean_absolute": ("|AP|, mean over pairs", False),
    "rank": ("rank by |AP|", False),
    "top_k_share": ("resamples among the first k", False),
}
"""What is mapped of heads.csv: its label, and whether it has a sign."""

Arrays = dict[str, np.ndarray]


def comparison_data(compared: Comparison, model: str) -> str:
    """Return the packed data of the explorer of a model's studies."""
    header, arrays = comparison_arrays(compared, model)
    return pack(header, arrays)


def comparison_arrays(compared: Comparison, model: str) -> tuple[dict[str, Any], Arrays]:
    """Return the header and the arrays that `comparison_data` packs."""
    rows = compared.heads[compared.heads["model"] == model]
    about = compared.studies[compared.studies["model"] == model]
    names, sides = [str(name) for name in about["study"]], directions(rows)
    heads: list[Head] = sorted({(int(a), int(b)) for a, b in rows[["layer", "head"]].to_numpy()})
    metrics = list(dict.fromkeys(about["metric"]))
    # Of different metrics a mean is in no unit.
    unit = metric_words(metrics[0]).unit if len(metrics) == 1 else ""
    described, arrays = _values(rows, names, sides, heads, unit)
    drawn, curve_arrays = _curves(compared, names, sides, heads)
    told, best_arrays = _best_pairs(compared, names, sides, heads)
    first = rows[rows["direction"] == sides[0]].groupby(["layer", "head"])
    index = pd.MultiIndex.from_tuples(heads)
    often = first["studies_in_top_k"].first().reindex(index, fill_value=0).to_numpy()
    order = np.lexsort((first["rank"].mean().reindex(index).to_numpy(), -often))
    rank = np.empty(len(heads), dtype="<u2")
    rank[order] = np.arange(1, len(heads) + 1)
    header = {
        "kind": "studies",
        "study": compared.folder.name,
        "folder": f"results/{compared.folder.name}",
        "model": model,
        "unit": unit,
        "directions": sides,
        "k": int(rows["k"].iloc[0]),
        "pairs": [
            {
                "number": place,
                "name": str(row["study"]),
                "title": str(row["title"]),
                "page": f"../{quote(str(row['study']))}/report.html",
                "count": int(row["pairs"]),
                "short": metric_words(row["metric"]).short,
                "metric_clean": float(row["metric_clean"]),
                "metric_corrupted": float(row["metric_corrupted"]),
                "shown": told[place],
            }
            for place, row in enumerate(about.to_dict("records"))
        ],
        "pairs_in_all": len(names),
        "quantiles": list(QUANTILES),
        "measures": described,
        "curves": drawn,
        "positions": [],
        "partners": [],
        "edges": [],
        "composed": [],
    }
    own = {
        "layer": np.array([layer for layer, _ in heads], dtype="<u2"),
        "head": np.array([head for _, head in heads], dtype="<u2"),
        "rank": rank,
        "first_in": often.astype("<u2"),
        "at_floor": np.zeros(len(heads), dtype="|u1"),
    }
    return header, {**own, **arrays, **curve_arrays, **best_arrays}


def _values(
    rows: pd.DataFrame,
    names: Sequence[str],
    sides: Sequence[str],
    heads: Sequence[Head],
    unit: str,
) -> tuple[list[dict[str, Any]], Arrays]:
    """The measures of heads.csv, [direction, study, head]; NaN where a study has none."""
    index = (
        rows["direction"].map({name: place for place, name in enumerate(sides)}),
        rows["study"].astype(str).map({name: place for place, name in enumerate(names)}),
        pd.Series(list(zip(rows["layer"], rows["head"], strict=True)), index=rows.index).map(
            {head: place for place, head in enumerate(heads)}
        ),
    )
    at = tuple(np.asarray(each, dtype=np.intp) for each in index)
    described, arrays = [], {}
    for name, (label, signed) in MAPPED.items():
        values = np.full((len(sides), len(names), len(heads)), np.nan)
        values[at] = rows[name].to_numpy(float)
        if not np.isfinite(values).any():
            continue
        column = COLUMNS[FILE][name]
        key = "ap" if name == "mean" else name
        one = About(
            key=key,
            label=label,
            group="scores",
            meaning=column.meaning,
            unit=unit if column.unit == METRIC else "",
            signed=signed,
            source="heads.csv",
            column=name,
            where={},
            word=column.word,
        )
        described.append(description(one, range(len(names)), len(names), True))
        arrays[f"values.{key}"] = values.astype("<f4")
    return described, arrays


def _curves(
    compared: Comparison, names: Sequence[str], sides: Sequence[str], heads: Sequence[Head]
) -> tuple[dict[str, Any], Arrays]:
    """The quantised mean curve of every study, direction and head, and what is told of them.

    Studies with other directions, other heads or other nodes than the first have no curves here.
    """
    about: dict[str, Any] = {"pairs": [], "whole": [], "over": [], "levels": LEVELS, "error": None}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    nodes: np.ndarray | None = None
    for place, name in enumerate(names):
        folder = compared.folder.parent / name
        baseline = _beside(compared, name, "baseline.parquet")
        table = _beside(compared, name, "heads.parquet")
        if baseline is None or table is None or directions(table) != list(sides):
            continue
        if not set(heads) <= set(zip(table["layer"], table["head"], strict=True)):
            continue
        over, found = mean_curves(folder / "curves.safetensors", baseline, sides, heads)
        if "f" not in found or (nodes is not None and not np.array_equal(found["alphas"], nodes)):
            continue
        nodes = found["alphas"]
        about["pairs"].append(place)
        about["over"].append(over)
        about["whole"].append(over == len(baseline))
        for kind in NAMES:
            missing = np.full_like(found["f"], np.nan)
            parts[kind].append(found.get(kind, missing))
    if nodes is None:
        return about, {}
    arrays: Arrays = {"alphas": nodes.astype("<f4")}
    for kind, each in parts.items():
        curves = quantise(np.stack(each).reshape(-1, len(nodes)))
        arrays[f"{kind}.ends"], arrays[f"{kind}.steps"] = curves.ends, curves.steps
        errors = largest_error(curves)
        if kind == "f" and np.isfinite(errors).any():
            about["error"] = float(np.nanmax(errors))
    return about, arrays


def _best_pairs(
    compared: Comparison, names: Sequence[str], sides: Sequence[str], heads: Sequence[Head]
) -> tuple[list[list[dict[str, Any]]], Arrays]:
    """Of each study the pairs on which some head does most, and which is whose.

    ``best.pair`` [study, head]: the number of the pair, −1 for none; ``best.direction`` the
    direction's place; ``best.ap`` AP there.
    """
    size = (len(names), len(heads))
    pair, side = np.full(size, -1, dtype="<i4"), np.zeros(size, dtype="|u1")
    effect = np.full(size, np.nan, dtype="<f4")
    tokens = Tokens()
    told: list[list[dict[str, Any]]] = []
    for place, name in enumerate(names):
        table, pairs = (_beside(compared, name, f"{one}.parquet") for one in ("heads", "pairs"))
        if table is None or pairs is None:
            told.append([])
            continue
        own = table[table["direction"].isin(sides)].dropna(subset=["ap"])
        own = own.assign(size=own["ap"].abs())
        first = own.sort_values("size", ascending=False, kind="stable").drop_duplicates(
            ["layer", "head"]
        )
        by_head = {(int(row["layer"]), int(row["head"])): row for row in first.to_dict("records")}
        for number, head in enumerate(heads):
            if head in by_head:
                row = by_head[head]
                pair[place, number] = int(row["pair"])
                side[place, number] = sides.index(row["direction"])
                effect[place, number] = row["ap"]
        wanted = set(pair[place].tolist())
        told.append(
            [_told(row, tokens) for row in pairs.to_dict("records") if int(row["pair"]) in wanted]
        )
    return told, {"best.pair": pair, "best.direction": side, "best.ap": effect}


def _told(row: Mapping[Any, Any], tokens: Tokens) -> dict[str, Any]:
    return {
        "number": int(row["pair"]),
        **prompt_pieces(row, tokens),
        "correct": str(row["correct"]),
        "incorrect": str(row["incorrect"]),
    }


def _beside(compared: Comparison, study: str, file: str) -> pd.DataFrame | None:
    """A table of one of the studies; None where it is not there."""
    path = compared.folder.parent / study / file
    return read_table(path) if path.exists() else None
