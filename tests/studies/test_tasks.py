"""Several studies in one configuration: the five tasks that are shipped, and their comparison."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from counterpoint.errors import UserError
from counterpoint.pairs.pair_files import read_pairs
from counterpoint.pairs.sets.pair_sets import PAIR_SETS
from counterpoint.workflow import config
from tests.helpers.small_study import (
    configuration,
    planned_rules,
    project_copy,
    snakemake,
    write_pairs,
)
from tests.helpers.synthetic import Shape, write_study
from tests.workflow.test_config import laid_over, load

ROOT = Path(__file__).parents[2]
COMPARISON = ("studies", "heads", "overlaps", "claims", "correlations")


def tasks() -> config.Configuration:
    raw = laid_over(load("config.yaml"), load("config.tasks.yaml"))
    return config.resolve(raw, source="config.tasks.yaml", folder=ROOT)


def test_the_tasks_are_all_shipped_sets_and_leave_the_default_study_alone() -> None:
    studies = tasks().studies
    assert len(studies) == 5
    assert {Path(study["pairs"]).stem for study in studies.values()} == set(PAIR_SETS)
    assert all(study["max_pairs"] == 8 for study in studies.values())
    assert not {"ioi", "ioi_gpt2"} & set(studies)
    assert all(study["counterfactuals"]["targets"] == [] for study in studies.values())
    assert all(study["report"]["title"] for study in studies.values())


@pytest.mark.parametrize("name", sorted(PAIR_SETS))
def test_the_first_pairs_of_a_set_are_mixed(name: str) -> None:
    first = read_pairs(ROOT / "resources" / "pairs" / f"{name}.csv").head(8)
    assert first["template"].nunique() >= 5
    for column in set(first.columns) & {"order", "corruption", "asked", "gender", "number"}:
        assert len(set(first[column])) > 1


def resolve(studies: dict[str, dict[str, object]]) -> config.Configuration:
    return config.resolve({"studies": studies}, source="config.yaml", folder=ROOT)


def test_intervals_of_other_levels_are_not_averaged() -> None:
    study = {"model": "org/name", "pairs": "resources/pairs/ioi.csv"}
    with pytest.raises(UserError, match=r"studies\.b\.statistics\.confidence: 0\.9 differs from"):
        resolve({"a": study, "b": {**study, "statistics": {"confidence": 0.9}}})


def test_a_study_cannot_take_the_comparisons_folder() -> None:
    study = {"model": "org/name", "pairs": "resources/pairs/ioi.csv"}
    with pytest.raises(UserError, match="comparison"):
        resolve({"comparison": study})
    assert list(resolve({"comparisons": study}).studies) == ["comparisons"]


@pytest.fixture(scope="module")
def two_studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with two studies whose tables are made up."""
    folder = project_copy(tmp_path_factory.mktemp("two"))
    write_pairs(folder / "small.csv")
    (folder / "tiny").mkdir()
    (folder / "tiny" / "config.json").write_text("{}")
    raw = configuration()
    raw["studies"] = {"first": raw["studies"]["small"], "second": raw["studies"]["small"]}
    raw["study"] = ["first", "second"]
    (folder / "two.yaml").write_text(yaml.safe_dump(raw))
    for seed, name in enumerate(raw["study"]):
        write_study(folder / "results" / name, Shape(pairs=3), seed=seed)
    return folder


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_the_comparison_is_made_whenever_there_are_two_studies(two_studies: Path) -> None:
    rules = {"compare_studies", "draw_comparison", "render_comparison"}
    assert rules <= planned_rules(two_studies, configfile="two.yaml")
    alone = planned_rules(two_studies, "--config", "study=first", configfile="two.yaml")
    assert not rules & alone
    done = snakemake(
        two_studies,
        "results/comparison/report.html",
        "--allowed-rules",
        *sorted(rules),
        configfile="two.yaml",
    )
    assert done.returncode == 0, done.stdout
    folder = two_studies / "results" / "comparison"
    for name in COMPARISON:
        assert len(pd.read_csv(folder / f"{name}.csv")) > 0
    shown = (folder / "report.html").read_text(encoding="utf-8")
    assert "Studies compared" in shown and "../second/report.html" in shown
    assert not list(folder.rglob("*partial*"))
