"""Pages with the head explorer, made of made-up studies, and a reader who counts what is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd

from counterpoint import report
from counterpoint.report.html import heading
from counterpoint.report.page import notebook_to_html
from tests.helpers.synthetic import Shape, make_pairs, make_positions, make_scores, write_generated

TEMPLATE = Path(__file__).parents[2] / "reports" / "template"

SHAPE = Shape(pairs=8, layers=30, heads=9)
"""As large as the default study, so that its heads have the same names."""

READY = "html[data-explorer=ready]"

MOST_ACTIONS = 3

SETTINGS: dict[str, Any] = {
    "model": "tiny <model>",
    "pairs": "pairs.csv",
    "statistics": {"bootstrap_samples": 50},
}

PROVENANCE = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "settings": SETTINGS,
    "durations": {
        "fetch_model": {"jobs": 1, "seconds": 3.25, "memory_mb": 310.0},
        "compute_curves": {"jobs": 2, "seconds": 1234.5, "memory_mb": 1500.0},
        "compute_statistics": {"jobs": 1, "seconds": 41.75, "memory_mb": 400.0},
    },
}

SCALED = {
    "ap", "ap_normalised", "atp", "ig_joint", "ig_own", "output_range", "output_range_closed",
    "gradient_range", "total_variation", "excess_range", "quadrature_error", "eap_ig", "relp",
}  # fmt: skip
"""Columns of heads.parquet that are proportional to a head's effect."""


def write(folder: Path, shape: Shape = SHAPE) -> Path:
    """Write the files that the explorer reads."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    heads, curves, baseline = make_scores(shape)
    make_pairs(shape).to_parquet(folder / "pairs.parquet", index=False)
    pd.DataFrame(columns=["row", "reason"]).to_csv(folder / "dropped.csv", index=False)
    baseline.to_parquet(folder / "baseline.parquet", index=False)
    heads.to_parquet(folder / "heads.parquet", index=False)
    save_file(curves, folder / "curves.safetensors")
    large = shape.layers > 23
    write_generated(folder, target=(23, 3) if large else (1, 1))
    one = Shape(pairs=1, layers=shape.layers, heads=shape.heads, directions=shape.directions)
    make_positions(one).to_parquet(folder / "positions.parquet", index=False)
    (folder / "provenance.json").write_text(json.dumps(PROVENANCE), encoding="utf-8")
    if large:
        partners = pd.DataFrame(
            {"pair": [0, 2], "direction": "noising", "layer": 23, "head": 0, "partner": [1, 1]}
        )
        partners.assign(
            interaction=[-0.5, -0.25], ap=1.0, ig_own=1.0, ig_joint=0.75, remainder=0.0
        ).to_parquet(folder / "interaction.parquet")
    return folder


def many_pairs(few: Path, folder: Path, times: int) -> Path:
    """Write a study of ``times`` as many pairs as ``few`` has, with scores and curves of their own,
    so that they do not compress better than a real one's; tables are in order."""
    from safetensors.numpy import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    tables = {}
    for name in ("pairs", "baseline", "heads"):
        table = pd.read_parquet(few / f"{name}.parquet")
        count = int(table["pair"].max()) + 1
        tables[name] = pd.concat(
            [table.assign(pair=table["pair"] + count * turn) for turn in range(times)],
            ignore_index=True,
        )
    stored = load_file(few / "curves.safetensors")
    # Each pair's effect of each head times a number of its own: all that is in the metric's unit.
    scale = random.uniform(0.5, 1.5, (len(tables["baseline"]), *stored["output"].shape[1:4]))
    heads = tables["heads"]
    for column in SCALED & set(heads):
        heads[column] *= scale.ravel()
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    (folder / "dropped.csv").write_bytes((few / "dropped.csv").read_bytes())
    baseline = tables["baseline"]
    start = baseline[["metric_clean", "metric_corrupted"]].to_numpy(np.float32)
    start = start[:, :, None, None, None]
    output, gradient = (
        np.tile(stored[name], (times, 1, 1, 1, 1)) for name in ("output", "gradient")
    )
    tensors = {
        "alphas": stored["alphas"],
        "pairs": baseline["pair"].to_numpy(np.int64),
        "output": (start + (output - start) * scale[..., None]).astype(np.float32),
        "gradient": (gradient * scale[..., None]).astype(np.float32),
    }
    save_file(tensors, folder / "curves.safetensors")
    return folder


def page_of(
    folder: Path, *, settings: dict[str, Any] = SETTINGS, sections: tuple[str, ...] = ()
) -> Path:
    """Write the page of the explorer and its neighbours, without the figures, which it does not
    need, and of the named sections besides."""
    results = report.load_results("made-up", folder, settings)
    parts = [report.headline(results, "Title"), report.explore(results), report.heads(results)]
    for name in sections:
        if name == "provenance":  # its heading stands in the notebook
            parts.append(heading("provenance", "Provenance"))
        parts.append(getattr(report, name)(results))
    parts += [report.pairs(results), report.glossary([results.metric])]
    return write_page(folder / "report.html", parts)


def write_page(path: Path, parts: list[Any]) -> Path:
    """Write a page of parts, as the workflow does of a notebook's outputs."""
    notebook = nbformat.v4.new_notebook()
    for part in parts:
        cell = nbformat.v4.new_code_cell("")
        cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": str(part)})]
        notebook.cells.append(cell)
    path.write_text(notebook_to_html(notebook, TEMPLATE), encoding="utf-8")
    return path


class Reader:
    """Someone with a question, who may do three things for its answer: type a head's name, choose
    from a list, click."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.actions = 0

    def _act(self) -> None:
        self.actions += 1
        assert self.actions <= MOST_ACTIONS, f"an answer takes more than {MOST_ACTIONS} actions"

    def find(self, name: str, typed: str = "") -> Any:
        """Type a head's name, which pins it; return its card."""
        self._act()
        self.page.get_by_label("find a head").fill(typed or name)
        self.page.keyboard.press("Enter")
        return self.card(name)

    def choose(self, label: str, value: str) -> None:
        """Choose from the list of this label."""
        self._act()
        self.page.get_by_label(label, exact=True).select_option(value)

    def click(self, what: Any) -> None:
        """Click an element."""
        self._act()
        what.click()

    def card(self, name: str) -> Any:
        """The card of a head."""
        return self.page.locator(f'article[data-head="{name}"]')


def cell(of: Any, measure: str, direction: str) -> Any:
    """The cell of a card's table."""
    column = ["noising", "denoising"].index(direction)
    return of.locator(f'tr[data-measure="{measure}"] td').nth(column)


def value(of: Any, measure: str, direction: str) -> str:
    """What that cell says."""
    return str(cell(of, measure, direction).locator("button").inner_text())
