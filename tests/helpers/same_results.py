"""Whether two folders of results hold the same, file by file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

ABSOLUTE = 1e-4
"""The error that the studies allow in a curve (curves.tolerance, integrated_gradients.tolerance).
Other batches and thread counts add in another order, so that a node more or less may be taken; what
came of it in the tiny models' gradients was 3e-5."""

RELATIVE = 1e-4

BY_COLUMN = {"saturation": 2e-3, "quadrature_error": 3e-4, "gradient_error": 3e-3, "nodes": 4}
"""What may differ by more. A curve at the limit is refined once more or not; saturation is a share
of the 2,000 cells of a curve, so that rounding moves it by whole cells; the stated errors are those
at the nodes that were taken, up to what is allowed at a few and next to nothing at one more."""

TIMES = ("seconds",)
"""Columns that say how long something took."""

NOT_RESULTS = ("logs", "benchmarks", ".made")
"""Folders that say how a run went and not what it found."""

STAMP = ".snakemake_timestamp"
"""By which Snakemake knows when a folder was made that is an output."""

HOW_IT_RAN = ("date", "machine", "durations", "commit")
"""Entries of provenance.json of the same kind."""


def files(folder: Path, left_out: Iterable[str] = NOT_RESULTS) -> set[Path]:
    """Every result below ``folder``, by its path there."""
    skipped = set(left_out)
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file()
        and path.name != STAMP
        and not skipped & set(path.relative_to(folder).parts)
    }


def assert_same_results(
    left: Path,
    right: Path,
    left_out: Iterable[str] = NOT_RESULTS,
    may_differ: Iterable[str] = HOW_IT_RAN,
) -> int:
    """Compare two folders of results; return how many files they have.

    Tables, tensors and provenance are compared by their values, figures and pages for their
    presence, since they hold the numbers of the tables and, the pages, the time they were made.
    Entries of provenance that ``may_differ`` must be there in both or in neither.
    """
    names = files(left, left_out)
    assert names == files(right, left_out)
    for name in sorted(names):
        try:
            _assert_same_file(left / name, right / name, may_differ)
        except AssertionError as difference:
            raise AssertionError(f"{name}: {difference}") from None
    return len(names)


def _assert_same_file(left: Path, right: Path, may_differ: Iterable[str]) -> None:
    match left.suffix:
        case ".parquet":
            _assert_same_table(pd.read_parquet(left), pd.read_parquet(right))
        case ".csv":
            _assert_same_table(pd.read_csv(left), pd.read_csv(right))
        case ".safetensors":
            one, other = load_file(left), load_file(right)
            assert one.keys() == other.keys()
            for key, array in one.items():
                assert array.dtype == other[key].dtype, key
                np.testing.assert_allclose(other[key], array, rtol=RELATIVE, atol=ABSOLUTE)
        case ".json":
            one, other = json.loads(left.read_text()), json.loads(right.read_text())
            for key in may_differ:
                assert (one.pop(key, None) is None) == (other.pop(key, None) is None), key
            assert {
                key for key in one.keys() | other.keys() if one.get(key) != other.get(key)
            } == set()
        case _:
            assert left.stat().st_size > 0
            assert right.stat().st_size > 0


def _assert_same_table(left: pd.DataFrame, right: pd.DataFrame) -> None:
    assert list(left.columns) == list(right.columns)
    own = [name for name in left.columns if name in BY_COLUMN]
    apart = [*own, *(name for name in left.columns if name in TIMES)]
    pd.testing.assert_frame_equal(
        left.drop(columns=apart), right.drop(columns=apart), rtol=RELATIVE, atol=ABSOLUTE
    )
    for name in own:
        pd.testing.assert_series_equal(left[name], right[name], rtol=0, atol=BY_COLUMN[name])
