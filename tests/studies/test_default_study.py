"""The workflow on the real default model: the first pairs of the default study."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from scipy.stats import pearsonr

import counterpoint
from tests.helpers.default_model import default_model, loaded
from tests.helpers.small_study import project_copy, snakemake

__all__ = ["default_model"]

# One worker makes the study, and all tests of it.
pytestmark = pytest.mark.xdist_group("default study")

N_PAIRS = 1


@pytest.fixture(scope="module")
def results(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scores of the first pairs, noising only."""
    folder = project_copy(tmp_path_factory.mktemp("real"))
    config = {
        "study": "real",
        "models": {"real": {"source": "local", "path": str(default_model)}},
        "studies": {
            "real": {
                "model": "real",
                "pairs": "resources/pairs/ioi.default.csv",
                "max_pairs": N_PAIRS,
                "directions": ["noising"],
            }
        },
    }
    (folder / "real.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = snakemake(folder, "results/real/heads.parquet", configfile="real.yaml")
    assert done.returncode == 0, done.stdout
    return folder / "results" / "real"


@pytest.mark.slow
@pytest.mark.workflow
def test_the_original_pair_has_its_logit_differences(results: Path) -> None:
    first = pd.read_parquet(results / "baseline.parquet").set_index("pair").loc[0]
    assert first["metric_clean"] == pytest.approx(3.2588, abs=1e-3)
    assert first["metric_corrupted"] == pytest.approx(-4.4071, abs=1e-3)
    assert first["correct"]


@pytest.mark.slow
@pytest.mark.workflow
def test_every_head_of_every_pair_is_scored_within_the_identities(results: Path) -> None:
    heads = pd.read_parquet(results / "heads.parquet")
    assert len(heads) == N_PAIRS * 270
    assert not heads.isna().any().any()
    assert (heads["ig_own"] - heads["ap"]).abs().max() <= 1e-4
    assert (heads["output_range_closed"] - heads["ap"].abs()).min() >= -1e-5


@pytest.mark.slow
@pytest.mark.workflow
def test_the_range_goes_with_the_size_of_ap_and_much_less_with_its_sign(results: Path) -> None:
    heads = pd.read_parquet(results / "heads.parquet").query("pair == 0")
    size = pearsonr(heads["output_range"], heads["ap"].abs()).statistic
    signed = pearsonr(heads["output_range"], heads["ap"]).statistic
    assert size > 0.99
    assert abs(signed) < 0.9


@pytest.mark.slow
@pytest.mark.workflow
def test_measured_from_python_the_pair_has_the_same_digits(
    default_model: Path, results: Path
) -> None:
    """One thread and the memory of the study's jobs: sums are then made in the same order."""
    expected = pd.read_parquet(results / "heads.parquet")
    found = counterpoint.measure(
        loaded(default_model),
        counterpoint.pairs("ioi.default")[:N_PAIRS],
        directions=["noising"],
        memory_mb=2000,
        progress=False,
    )
    assert list(found.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)
