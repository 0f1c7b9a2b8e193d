"""Jobs of a shard without any of the first pairs write a table without rows and load no model."""

from __future__ import annotations

import gc
import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from counterpoint.files.artifacts import read_table
from counterpoint.measures.tables import (
    edge_table,
    position_curve_table,
    position_table,
    role_table,
)
from tests.helpers.small_study import ROOT


@pytest.mark.parametrize(
    ("script", "setting", "table"),
    [
        ("measure_roles", "roles", role_table),
        ("compute_edges", "edges", edge_table),
        ("patch_positions", "positions", position_table),
        ("trace_positions", "position_curves", position_curve_table),
    ],
)
def test_a_shard_without_the_pairs_asked_for_needs_no_model(
    script: str, setting: str, table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds = gc.get_threshold()
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    main = importlib.import_module(script).main
    gc.set_threshold(*thresholds)
    # All that is read of it are its pairs' numbers.
    save_file({"0/number": np.array([3, 5])}, tmp_path / "activations.safetensors")
    job = SimpleNamespace(
        input=SimpleNamespace(
            activations=str(tmp_path / "activations.safetensors"),
            model=str(tmp_path / "none" / "provenance.json"),
        ),
        output=SimpleNamespace(scores=str(tmp_path / "scores.parquet")),
        params=SimpleNamespace(
            settings={
                setting: {"pairs": 3, "heads": "all", "receivers": {"top": 1}},
                "curves": {"keep": "none"},
            }
        ),
    )
    main(job)
    written = read_table(tmp_path / "scores.parquet")
    assert written.empty and list(written.columns) == list(table.COLUMNS)
    # With one of its pairs among the first the model would be loaded.
    job.params.settings[setting]["pairs"] = 4
    with pytest.raises((KeyError, FileNotFoundError)):
        main(job)
