"""A study in a notebook: DataFrames and figures, and the notebook that is left beside the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient

from counterpoint import report
from counterpoint.errors import UserError
from counterpoint.figures.study_figures import FIGURES
from counterpoint.report.notebook_views import TABLES
from tests.helpers.full_study import write_full_study
from tests.helpers.synthetic import Shape
from tests.report.test_comparison_page import tables_of

ROOT = Path(__file__).parents[2]
SMALL = Shape(pairs=3, layers=4, heads=3)

LARGEST = 1_000_000
"""Bytes of the notebook beside a page."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_full_study(tmp_path_factory.mktemp("results") / "made-up", SMALL)


@pytest.fixture(scope="module")
def results(folder: Path) -> report.Results:
    return report.open_study(folder)


@pytest.fixture(scope="module")
def left(folder: Path) -> nbformat.NotebookNode:
    """The notebook that a page leaves beside it."""
    reports = ROOT / "reports"
    parameters = {"study": "made-up", "folder": str(folder), "title": "t", "settings": {}}
    report.render_report(
        reports / "report.ipynb",
        parameters,
        folder / "report.ipynb",
        folder / "report.html",
        reports / "study.ipynb",
    )
    return nbformat.read(folder / "report.ipynb", as_version=4)


def test_tables_are_data_frames_with_numbers_in_full(results: report.Results) -> None:
    heads = report.table(results, "heads")
    own = results.heads[results.heads["direction"] == "noising"]
    means = own.groupby(["layer", "head"])["ap"].mean()
    rows = heads[heads["direction"] == "noising"].set_index(["layer", "head"])
    assert len(heads) == 2 * 4 * 3
    assert (rows["ap"] - means.reindex(rows.index)).abs().max() < 1e-12
    assert (rows["ap_low"] <= rows["ap"]).all() and (rows["ap"] <= rows["ap_high"]).all()
    strongest = results.heads.assign(size=results.heads["ap"].abs())
    order = strongest.groupby(["layer", "head"])["size"].mean().sort_values(ascending=False)
    assert tuple(heads.loc[0, ["layer", "head"]]) == order.index[0]
    # A table that is changed changes nothing else.
    heads["ap"] = 0.0
    assert (report.table(results, "heads")["ap"] != 0).any()


def test_every_table_that_is_named_is_there(results: report.Results) -> None:
    named = report.tables(results)
    assert {"heads", "pairs", "claims", "faithfulness", "generated", "roles"} <= set(named.index)
    for name, row in named.iterrows():
        found = report.table(results, str(name))
        assert isinstance(found, pd.DataFrame) and len(found) == row["rows"] > 0
    generated = report.table(results, "generated")
    assert {"clean", "corrupted", "ld_change", "rank", "transfer_first"} <= set(generated)
    shown = report.table(results, "key numbers")
    assert shown.loc["pairs", "value"] == 3 and (shown.index != "").all()


def test_what_a_study_has_not_is_said_with_what_it_has(results: report.Results) -> None:
    assert "edges" in TABLES
    with pytest.raises(UserError, match=r"no table 'edges'; it has key numbers, heads"):
        report.table(results, "edges")
    with pytest.raises(UserError, match=r"no figure 'edges'; it has top_heads.*faithfulness"):
        report.figure(results, "edges")
    with pytest.raises(UserError, match=r"no direction 'up'; it has \['noising', 'denoising'\]"):
        report.map(results, "ap", direction="up")
    with pytest.raises(UserError, match=r"no pair 7; it has \[0, 1, 2\]"):
        report.map(results, "ap", pair=7)


def test_every_figure_can_be_drawn_and_changed(results: report.Results) -> None:
    named = report.figures(results)
    assert set(FIGURES) | {"faithfulness", "roles", "positions"} <= set(named.index)
    for name in ("top_heads", "curves", "faithfulness", "generated_3.2_curves"):
        figure = report.figure(results, name)
        assert isinstance(figure, Figure) and figure.axes
        figure.axes[0].set_title("mine")


def test_a_map_shows_the_values_of_the_table(results: report.Results) -> None:
    figure = report.map(results, "output_range", direction="denoising", pair=1)
    assert isinstance(figure, Figure)
    own = results.heads.query("direction == 'denoising' and pair == 1")
    values = own.pivot_table(index="layer", columns="head", values="output_range").to_numpy()
    assert abs(figure.axes[0].images[0].get_array() - values).max() < 1e-12
    assert len(report.map(results, "ap").axes) == 4  # two directions, each with its scale


def test_a_folder_without_a_study_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no provenance\.json, so it is no study's folder"):
        report.open_study(tmp_path)


def test_the_notebook_left_beside_a_page_shows_tables_and_figures(
    folder: Path, left: nbformat.NotebookNode
) -> None:
    nbformat.validate(left)
    assert (folder / "report.ipynb").stat().st_size < LARGEST
    assert left.metadata.kernelspec.name == "python3"
    text = (folder / "report.ipynb").read_text(encoding="utf-8")
    assert str(folder) not in text and str(ROOT) not in text
    assert 'folder = \\".\\"' in text
    data = [
        output.data
        for cell in left.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    assert not [one for cell in left.cells for one in cell.get("outputs", ()) if "data" not in one]
    tables = [one for one in data if "text/html" in one]
    assert len(tables) > 10 and all('class="dataframe"' in one["text/html"] for one in tables)
    assert sum("image/png" in one for one in data) == 2
    # What the tiles of the page say has its names here, too.
    assert "correct answer preferred on clean prompts" in tables[0]["text/html"]


def test_it_runs_again_from_wherever_its_folder_is(
    folder: Path,
    left: nbformat.NotebookNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = tmp_path / "elsewhere" / "a study"
    shutil.copytree(folder, moved)
    monkeypatch.chdir(tmp_path)
    # As in an environment that has the package.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    again = nbformat.read(moved / "report.ipynb", as_version=4)
    shown = [len(cell.outputs) for cell in again.cells if cell.cell_type == "code"]
    for cell in again.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(again, resources={"metadata": {"path": str(moved)}}).execute()
    assert [len(cell.outputs) for cell in again.cells if cell.cell_type == "code"] == shown


def test_a_comparison_leaves_a_notebook_of_its_tables(tmp_path: Path) -> None:
    tables_of(tmp_path, (("one", "m"), ("two", "m")), Shape(pairs=2, layers=2, heads=3))
    folder, reports = tmp_path / "comparison", ROOT / "reports"
    report.render_report(
        reports / "comparison.ipynb",
        {"folder": str(folder), "title": "Studies"},
        folder / "report.ipynb",
        folder / "report.html",
        reports / "studies.ipynb",
    )
    left = nbformat.read(folder / "report.ipynb", as_version=4)
    assert left.metadata.kernelspec.name == "python3"
    assert str(folder) not in (folder / "report.ipynb").read_text(encoding="utf-8")
    shown = [cell.outputs[0].data for cell in left.cells if cell.get("outputs")]
    assert len(shown) == 5 and all('class="dataframe"' in one["text/html"] for one in shown)


@pytest.mark.parametrize(
    "shape", [Shape(pairs=1, layers=1, heads=1), Shape(pairs=2, directions=("denoising",))]
)
def test_small_studies_have_their_tables_and_maps(tmp_path: Path, shape: Shape) -> None:
    from tests.helpers.synthetic import write_study

    folder = write_study(tmp_path / "one", shape)
    (folder / "claims.csv").unlink()
    results = report.load_results("one", folder, {})
    assert "claims" not in report.tables(results).index
    assert len(report.table(results, "heads")) == shape.layers * shape.heads * len(shape.directions)
    assert report.map(results, "ap").axes
    assert report.figure(results, "curves").axes is not None
