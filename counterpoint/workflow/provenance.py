"""Where results come from: settings, versions, model, seeds, machine and times, as one record."""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import counterpoint
from counterpoint.models.beginning_token import BOTH, WITHOUT
from counterpoint.report import current_files

PACKAGES = (
    "torch",
    "transformers",
    "transformer-lens",
    "captum",
    "torchjd",
    "pymoo",
    "moocore",
    "numpy",
    "scipy",
    "statsmodels",
    "pandas",
    "pyarrow",
    "safetensors",
    "snakemake",
    "papermill",
)
"""Packages whose version can change a number or the way to it."""


def collect(
    study: str,
    settings: Mapping[str, Any],
    *,
    model_provenance: str | os.PathLike[str],
    benchmarks: str | os.PathLike[str],
    checkout: str | os.PathLike[str],
    beginning: str | os.PathLike[str],
    shards: int | None = None,
) -> dict[str, Any]:
    """The record of one study, of plain JSON values.

    ``settings`` is the study's resolved configuration, ``model_provenance`` the file that was
    written when the model was fetched, ``benchmarks`` the folder of Snakemake's benchmark files,
    ``checkout`` the project's root, ``beginning`` the file that says which token stands before each
    prompt, ``shards`` the number of shards of its pairs (None: any number). Times are in seconds,
    memory in MB.
    """
    folder = Path(benchmarks).parent
    heads = current_files.targets(folder, settings)

    def is_current(path: Path) -> bool:
        return current_files.is_current(path, settings, shards, heads)

    twice = folder / WITHOUT / "benchmarks"
    again = settings.get("prepend_bos") == BOTH
    return {
        "study": study,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "counterpoint": counterpoint.__version__,
        "commit": git_commit(checkout),
        "settings": dict(settings),
        "seeds": dict(_seeds(settings)),
        "beginning_of_sequence": json.loads(Path(beginning).read_text(encoding="utf-8")),
        "model": json.loads(Path(model_provenance).read_text(encoding="utf-8")),
        "device": settings["device"],
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
        },
        "python": platform.python_version(),
        "packages": packages(),
        "durations": durations(benchmarks, is_current),
        **({"durations_without_bos": durations(twice, is_current)} if again else {}),
    }


def durations(
    benchmarks: str | os.PathLike[str], is_counted: Callable[[Path], bool] = lambda path: True
) -> dict[str, dict[str, float]]:
    """Jobs, their seconds together and their peak memory in MB, per rule, from benchmark files.

    Those count of which ``is_counted`` says so, by their path below ``benchmarks``. A file's first
    folder or stem there is the rule's name. A job that was quicker than Snakemake's first look at
    it has no memory figure and counts as 0.
    """
    folder = Path(benchmarks)
    found: dict[str, dict[str, float]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        if not is_counted(path.relative_to(folder)):
            continue
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        entry = found.setdefault(rule, {"jobs": 0, "seconds": 0.0, "memory_mb": 0.0})
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                entry["jobs"] += 1
                entry["seconds"] = round(entry["seconds"] + float(row["s"]), 2)
                entry["memory_mb"] = max(entry["memory_mb"], _number(row["max_rss"]))
    return found


def _number(text: str) -> float:
    """A benchmark's figure; Snakemake writes NA or - where it has none."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _seeds(settings: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, Any]]:
    """Every setting called seed or seeds, by its dotted key."""
    for key, value in settings.items():
        here = f"{path}{key}"
        if isinstance(value, Mapping):
            yield from _seeds(value, f"{here}.")
        elif key in ("seed", "seeds"):
            yield here, value


def packages() -> dict[str, str]:
    """The releases of those of `PACKAGES` that are installed."""
    return {name: release for name in PACKAGES if (release := _release(name))}


def _release(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_commit(checkout: str | os.PathLike[str]) -> str | None:
    """The commit of the checkout, with "+changes" when files differ from it; None without git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", os.fspath(checkout), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    try:
        # A copy of the project inside some other repository has no commit of its own.
        if Path(git("rev-parse", "--show-toplevel")).resolve() != Path(checkout).resolve():
            return None
        changes = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None
