"""`python -m benchmarks.statistics`: the statistics of a study against those of a former build.

Both are the workflow's own script, in a process of its own with one thread, on the tables of a
made-up study (`benchmarks.synthetic_study`): this build on all its pairs, the former one, whose
cost grows by the pair and which would take most of an hour, on two small numbers of them, from
which its cost of all is reckoned. Processor time, in turns; the ratio is the median over the turns.
Where nothing is sampled, the tables of both are compared. `make bench` writes what was found into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import machine
from benchmarks.synthetic_study import Shape, tables
from counterpoint.files.artifacts import read_table, write_json, write_table
from counterpoint.statistics.resampling import Settings

ROOT = Path(__file__).parent.parent
KEPT = Path(__file__).with_name("statistics.json")
RESULTS = Path(__file__).with_name("results.json")

FORMER = "09c4556"
"""The commit that is compared with."""

INPUTS = ("pairs", "heads", "faithfulness", "interaction")
OUTPUTS = ("correlations", "claims", "stability", "sample_sizes", "variance")
NUMBERS = ["estimate", "ci_low", "ci_high", "p_permutation", "partial_given_layer"]
KEYS = ["scope", "pair", "direction", "measure", "score", "method"]

JOB = """
import json, resource, sys
from types import SimpleNamespace
class Files(dict):
    __getattr__ = dict.__getitem__
given = json.loads(sys.argv[1])
sys.path[:0] = [given["root"], given["root"] + "/scripts"]
import compute_statistics
compute_statistics.main(SimpleNamespace(
    input=Files(given["input"]),
    output=Files(given["output"]),
    params=SimpleNamespace(settings={"statistics": given["settings"]}),
))
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1000]))
"""


def statistics_of(
    root: Path, study: Path, made: Path, settings: dict[str, Any]
) -> tuple[float, float]:
    """Processor seconds and peak MB of the script of the checkout ``root``, start included."""
    made.mkdir(parents=True, exist_ok=True)
    job = {
        "root": str(root),
        "input": {name: str(study / f"{name}.parquet") for name in INPUTS},
        "output": {name: str(made / f"{name}.csv") for name in OUTPUTS},
        "settings": settings,
    }
    done = subprocess.run(
        # -P: modules are those of the checkout, and not those of this folder.
        [sys.executable, "-P", "-c", JOB, json.dumps(job)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def write_study(folder: Path, shape: Shape) -> None:
    """The merged tables of a made-up study."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables(shape).items():
        write_table(table, folder / f"{name}.parquet")


def largest_difference(one: Path, other: Path) -> float:
    """Of the numbers of the correlations that both have."""
    first, second = (
        read_table(folder / "correlations.csv").set_index(KEYS)[NUMBERS].sort_index()
        for folder in (one, other)
    )
    pd.testing.assert_index_equal(first.index, second.index)
    return float(np.nanmax(np.abs(first.to_numpy() - second.to_numpy())))


def compare(former: Path, pairs: int, few: tuple[int, int], turns: int) -> dict[str, Any]:
    """Both builds in turns."""
    ours: list[float] = []
    whole: list[float] = []
    theirs: list[list[float]] = []
    peaks: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (*few, pairs):
            write_study(folder / str(count), Shape(count))
        for _ in range(turns):
            seconds, peak = statistics_of(ROOT, folder / str(pairs), folder / "ours", {})
            ours.append(seconds)
            peaks.append(peak)
            theirs.append(
                [
                    statistics_of(former, folder / str(count), folder / f"former {count}", {})[0]
                    for count in few
                ]
            )
            (less, more) = theirs[-1]
            whole.append(less + (pairs - few[0]) * (more - less) / (few[1] - few[0]))
        statistics_of(ROOT, folder / str(few[1]), folder / "few", {})
        difference = largest_difference(folder / "few", folder / f"former {few[1]}")
    ratios = [other / own for own, other in zip(ours, whole, strict=True)]
    return {
        "statistics_ratio": statistics.median(ratios),
        "ratios": ratios,
        "pairs": pairs,
        "heads": Shape(1).n_heads,
        "seconds": statistics.median(ours),
        "peak_mb": max(peaks),
        "seconds_former": statistics.median(whole),
        "few": list(few),
        "seconds_few": [statistics.median(column) for column in zip(*theirs, strict=True)],
        "largest_difference": difference,
        "former": FORMER,
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "turns": turns,
    }


def section(results: dict[str, Any]) -> str:
    """The results as a section of a page."""
    less, more = results["few"]
    a, b = results["seconds_few"]
    return f"""## Statistics

Made by `python -m benchmarks.statistics` on {results["date"]}: {results["machine"]}; processor
seconds of one thread, {results["turns"]} turns. A made-up study of {results["pairs"]:,} pairs ×
{results["heads"]} heads × 2 directions, against commit {results["former"]}, whose script took
{a:.1f} s for {less} pairs and {b:.1f} s for {more} and is reckoned from these (its comparisons of
rankings grow faster, which is left out). This build draws and shuffles heads on {Settings().sampled_pairs} of the pairs
(`sampled_pairs`); on {more} pairs, where nothing is sampled, correlations differ by at most
{results["largest_difference"]:.0e}.

| {results["pairs"]:,} pairs | this build, s | {results["former"]}, s | ratio | peak, MB |
|---|---:|---:|---:|---:|
| `compute_statistics` | {results["seconds"]:.0f} | {results["seconds_former"]:,.0f} | {results["statistics_ratio"]:.0f} × | {results["peak_mb"]:,.0f} |
"""  # noqa: E501


def kept_ratio() -> dict[str, float]:
    """The key that stands in `results.json` as well, where it has been measured."""
    if not KEPT.is_file():
        return {}
    return {"statistics_ratio": json.loads(KEPT.read_text(encoding="utf-8"))["statistics_ratio"]}


def checkout(folder: Path) -> None:
    """A worktree of the former commit."""
    subprocess.run(
        ["git", "-C", str(ROOT), "worktree", "add", "--detach", str(folder), FORMER], check=True
    )


def main() -> None:
    """Run the comparison, keep it and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--few", type=int, nargs=2, default=(8, 24))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--former", type=Path, help=f"a checkout of {FORMER}; else one is made")
    parser.add_argument("--discard", action="store_true", help="do not keep the results")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        former = wanted.former
        if former is None:
            former = Path(name) / FORMER
            checkout(former)
        try:
            few = (wanted.few[0], wanted.few[1])
            found = compare(former.resolve(), wanted.pairs, few, wanted.turns)
        finally:
            if wanted.former is None:
                subprocess.run(
                    ["git", "-C", str(ROOT), "worktree", "remove", "--force", str(former)],
                    check=False,
                )
    if not wanted.discard:
        write_json(found, KEPT)
        if RESULTS.is_file():
            kept = json.loads(RESULTS.read_text(encoding="utf-8"))
            write_json(kept | kept_ratio(), RESULTS)
    print(section(found))


if __name__ == "__main__":
    main()
