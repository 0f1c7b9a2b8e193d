"""What the Snakemake workflow catalog reads of the project, and the study that it may run."""

from __future__ import annotations

import pytest
import yaml

from counterpoint.workflow.config import resolve
from counterpoint.workflow.config_layers import read_layers
from tests.helpers.small_study import ROOT, snakemake


def test_the_catalogs_study_is_small() -> None:
    files = [ROOT / "config.yaml", ROOT / ".test" / "config.yaml"]
    found = resolve(read_layers(files, {}), source=".test/config.yaml", folder=ROOT)
    assert list(found.studies) == ["catalog"]
    study = found.studies["catalog"]
    assert study["max_pairs"] == 1 and study["counterfactuals"]["budget"]["evaluations"] <= 100


@pytest.mark.workflow
def test_the_catalogs_study_can_be_planned() -> None:
    done = snakemake(ROOT, "--dry-run", "--quiet", "rules", configfile=".test/config.yaml")
    assert done.returncode == 0, done.stdout
    assert "render_report" in done.stdout or "Nothing to be done" in done.stdout


def test_the_project_has_what_the_plain_catalog_asks_for() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in readme and "workflow" in readme
    assert (ROOT / "Snakefile").exists() and list((ROOT / "rules").glob("*.smk"))
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    deployed = usage["usage"]["software-stack-deployment"]
    rules = [path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk")]
    assert deployed["conda"] == any("conda:" in text for text in rules)
    assert deployed["singularity"] == any("container:" in text for text in rules)
