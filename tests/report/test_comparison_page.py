"""The comparison's figures and page, made from made-up studies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from counterpoint.errors import UserError
from counterpoint.figures import comparison_figures as figures
from counterpoint.figures.theme import save_figure
from counterpoint.files.artifacts import read_table, write_table
from counterpoint.glossary import WORDS
from counterpoint.report import comparison_page as page
from counterpoint.report.comparison_headline import expected_shared
from counterpoint.report.render import render_report
from counterpoint.statistics.meta_analysis import claims_across, correlations_across
from counterpoint.statistics.ranking_overlaps import overlaps
from counterpoint.statistics.studies import Study, heads_across, studies_side_by_side
from tests.helpers.synthetic import QUICK, Shape, write_study
from tests.report.test_study_report import Page

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "reports" / "comparison.ipynb"
TASKS = (("one", "m"), ("two", "m"), ("<b>three", "<i>other</i>"))
WHOLE = Shape()


def draw(tables: dict[str, pd.DataFrame], folder: Path, names: list[str]) -> dict[str, Figure]:
    claims, correlations = (
        {name: pd.read_csv(folder / name / f"{kind}.csv") for name in names}
        for kind in ("claims", "correlations")
    )
    return figures.draw_comparison(
        tables["heads"],
        tables["overlaps"],
        claims,
        tables["claims"],
        correlations,
        tables["correlations"],
    )


def tables_of(
    folder: Path, tasks: tuple[tuple[str, str], ...], shape: Shape = WHOLE
) -> dict[str, pd.DataFrame]:
    """Make the studies below ``folder`` and the tables of their comparison, as the scripts do."""
    studies = []
    for seed, (name, model) in enumerate(tasks):
        write_study(folder / name, shape, seed=seed)
        heads, baseline = (
            pd.read_parquet(folder / name / f"{kind}.parquet") for kind in ("heads", "baseline")
        )
        studies.append(Study(name, f"Task {name}", model, "logit_difference", heads, baseline))
    names = [study.name for study in studies]
    claims, correlations = (
        {name: pd.read_csv(folder / name / f"{kind}.csv") for name in names}
        for kind in ("claims", "correlations")
    )
    tables = {
        "studies": studies_side_by_side(studies, settings=QUICK),
        "heads": heads_across(studies, settings=QUICK),
        "overlaps": overlaps(studies, settings=QUICK),
        "claims": claims_across(claims),
        "correlations": correlations_across(correlations),
    }
    for name, table in tables.items():
        write_table(table, folder / "comparison" / f"{name}.csv")
    return tables


def compare(
    folder: Path, tasks: tuple[tuple[str, str], ...], shape: Shape = WHOLE
) -> dict[str, Figure]:
    """The same, with its figures."""
    drawn = draw(tables_of(folder, tasks, shape), folder, [name for name, _ in tasks])
    for name, figure in drawn.items():
        save_figure(figure, folder / "comparison" / "figures", name)
    return drawn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("results")
    compare(made, TASKS)
    return made / "comparison"


@pytest.fixture(scope="module")
def shown(folder: Path) -> str:
    parameters: dict[str, Any] = {"folder": str(folder), "title": "Studies <compared>"}
    render_report(NOTEBOOK, parameters, folder / "report.ipynb", folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def drawn_text(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_the_page_is_whole_offline_and_escaped(shown):
    read = Page(shown)
    assert not {"link", "iframe"} & set(read.tags) and "i" not in read.tags
    # The explorer, and its data of two models; none from elsewhere.
    assert read.tags.count("script") == 3 and "<script src" not in shown
    assert read.loads and all(load.startswith("data:image/") for load in read.loads)
    assert "<b>three" in read.text and "<i>other</i>" in read.text
    assert "Studies <compared>" in read.text
    assert len(read.ids) == len(set(read.ids))
    inner = {link[1:] for link in read.links if link.startswith("#")}
    assert inner <= set(read.ids)
    assert {f"word-{key}" for key in WORDS} <= set(read.ids)
    outer = [link for link in read.links if not link.startswith("#")]
    assert outer == [f"../{name}/report.html" for name, _ in TASKS]
    assert all(read.alts) and len(read.alts) == len(figures.FIGURES)


def test_the_page_begins_with_what_was_found(shown):
    text = Page(shown[shown.index("</nav>") :]).text
    found = text.index("are among the first 10 of more than one study")
    assert found < text.index("What is compared")
    assert "rank-biased overlap" in text[:1500]
    assert text.count("Task one") == 1


def test_the_shipped_notebook_has_no_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert [tag for cell in code for tag in cell.metadata.get("tags", [])] == ["parameters"]


def test_verdicts_are_those_of_the_tables(folder, shown):
    compared = page.load_comparison(folder)
    shown_table = shown[shown.index("<table>") : shown.index("</table>")]
    marks = re.findall(r'class="verdict \w+">(\w+)<', shown_table)
    assert len(marks) == 3 * (len(TASKS) + 1)
    overall = compared.claims[compared.claims["quantity"] == "overall"]
    assert marks[len(TASKS) :: len(TASKS) + 1] == overall["verdict"].tolist()


def test_every_figure_is_drawn_and_no_other(tmp_path):
    drawn = compare(tmp_path, TASKS[:2])
    assert list(drawn) == list(figures.FIGURES)
    text = drawn_text(drawn["heads"])
    assert "noising" in text and "one" in text and "two" in text
    assert "average" in drawn_text(drawn["claims"])
    assert "with |AP|" in drawn_text(drawn["correlations"])
    image = drawn["heads"].axes[0].images[0]
    assert image.norm.vcenter == 0


def test_studies_of_different_models_have_no_common_rankings(tmp_path):
    shape = Shape(pairs=2, directions=("noising",))
    drawn = compare(tmp_path, (("one", "m"), ("two", "n")), shape)
    assert "No two studies of one model" in drawn_text(drawn["overlaps"])
    compared = page.load_comparison(tmp_path / "comparison")
    assert "No two studies are of one model" in page.overlaps(compared)
    for part in (page.studies, page.heads, page.claims, page.correlations):
        assert part(compared)
    assert "more than one study" not in page.headline(compared, "t")


def test_names_that_look_like_numbers_or_nothing_stay_as_they_are(tmp_path):
    names = ["2024", "007", "NA", "true"]
    shape = Shape(pairs=2, layers=3, heads=3, directions=("noising",))
    tables_of(tmp_path, tuple((name, "1.10") for name in names), shape)
    folder = tmp_path / "comparison"
    tables = {path.stem: read_table(path) for path in folder.glob("*.csv")}
    assert list(tables["studies"]["study"]) == names
    assert set(tables["studies"]["model"]) == set(tables["heads"]["model"]) == {"1.10"}
    assert set(tables["heads"]["study"]) == set(names)
    assert set(tables["overlaps"]["first"]) | set(tables["overlaps"]["second"]) == set(names)
    # Drawn from what stands in the files.
    assert list(draw(tables, tmp_path, names)) == list(figures.FIGURES)
    compared = page.load_comparison(folder)
    assert compared.names == names and compared.models == ["1.10"]
    shown = page.studies(compared) + page.heads(compared) + page.claims(compared)
    shown += page.headline(compared, "t") + page.overlaps(compared) + page.correlations(compared)
    for name in names:
        assert f'<a href="../{name}/report.html">{name}</a>' in shown
    assert "7.0" not in page.overlaps(compared) and ">nan<" not in shown


def test_single_pairs_leave_remarks(tmp_path):
    drawn = compare(tmp_path, TASKS[:2], Shape(pairs=1))
    assert list(drawn) == list(figures.FIGURES)
    shown = page.overlaps(page.load_comparison(tmp_path / "comparison"))
    assert "one pair" in shown


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"studies\.csv.*run the workflow"):
        page.load_comparison(tmp_path)


def test_shown_heads_are_first_somewhere_and_sorted():
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "model": "m",
            "layer": np.repeat(np.arange(10), 8),
            "head": np.tile(np.repeat(np.arange(4), 2), 10),
            "study": ["a", "b"] * 40,
            "share": random.standard_normal(80),
            "rank": np.concatenate([random.permutation(80) + 1]),
            "k": 5,
        }
    )
    chosen = figures.choose_heads(table, "m", most=3)
    assert len(chosen) == 3 and chosen == sorted(chosen)
    first = table[table["rank"] <= 5]
    assert set(chosen) <= set(zip(first["layer"], first["head"], strict=True))


def test_shared_heads_by_chance():
    assert expected_shared(100, 10, 2) == pytest.approx(1)
    assert expected_shared(5, 10, 3) == pytest.approx(5)
