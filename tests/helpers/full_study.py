"""A made-up study as large as the default one, with the files of every section that it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.figures import curve_figures, study_figures, theme
from counterpoint.report.section_figures import section_figures
from counterpoint.report.study_results import load_results
from tests.helpers.synthetic import (
    Shape,
    make_positions,
    write_full_validation,
    write_generated,
    write_study,
)

SHAPE = Shape(pairs=8, layers=30, heads=9)
"""The default study's pairs, layers and heads."""

SETTINGS: dict[str, Any] = {
    "model": "tiny <model>",
    "pairs": "pairs.csv",
    "metric": "logit_difference",
    "directions": ["noising", "denoising"],
    "statistics": {"floor": 1e-4, "top_k": 10, "bootstrap_samples": 50},
    "report": {"heads_shown": 6, "heads": []},
}


def write_full_study(folder: Path, shape: Shape = SHAPE) -> Path:
    """Write a study of ``shape`` with sections on positions, roles, interaction, faithfulness and
    generated pairs, its record with settings, and return ``folder``."""
    write_study(folder, shape)
    write_generated(folder)
    write_full_validation(folder)
    random = np.random.default_rng(2)
    heads = pd.read_parquet(folder / "heads.parquet")
    keys = ["pair", "direction", "layer", "head"]
    parts = [
        heads[[*keys, "ap"]].assign(role=role, ap=share * heads["ap"])
        for role, share in {"query": 0.25, "key": 0.125, "value": 0.5, "pattern": 0.5}.items()
    ]
    parts.append(heads[[*keys, "ap"]].assign(role="output"))
    pd.concat(parts, ignore_index=True).to_parquet(folder / "roles.parquet", index=False)
    make_positions(Shape(pairs=1, layers=shape.layers, heads=shape.heads)).to_parquet(
        folder / "positions.parquet", index=False
    )
    largest = heads.groupby("pair").head(5)
    partners = [
        largest[[*keys, "ap", "ig_joint"]].assign(
            partner=(largest["head"] + step) % shape.heads,
            interaction=random.normal(size=len(largest)),
        )
        for step in range(1, min(4, shape.heads))
    ]
    if partners:
        pd.concat(partners, ignore_index=True).assign(
            ig_own=lambda rows: rows["ap"], remainder=0.0
        ).to_parquet(folder / "interaction.parquet", index=False)
    pd.DataFrame(
        [
            (pair, direction, score, k, 1 - 0.8**k)
            for pair in range(shape.pairs)
            for direction in shape.directions
            for score in ("ap", "ig_joint")
            for k in range(1, 11)
        ],
        columns=["pair", "direction", "score", "k", "recovered"],
    ).to_parquet(folder / "faithfulness.parquet", index=False)
    record = {"study": "made-up", "settings": SETTINGS, "versions": {"numpy": np.__version__}}
    (folder / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def draw_full_study(folder: Path) -> None:
    """Draw the figures of a study into its folder, those of sections too, as SVG alone."""
    drawn = study_figures.draw_figures(
        pd.read_parquet(folder / "heads.parquet"),
        pd.read_parquet(folder / "baseline.parquet"),
        curve_figures.read_curves(folder / "curves.safetensors", SETTINGS["directions"]),
        pd.read_csv(folder / "correlations.csv"),
        pd.read_csv(folder / "stability.csv"),
        floor=1e-4,
    )
    results = load_results("made-up", folder, SETTINGS)
    sections = {f"sections/{name}": one.draw() for name, one in section_figures(results).items()}
    for name, figure in (drawn | sections).items():
        path = folder / "figures" / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(theme.figure_svg(figure))
