"""`python -m benchmarks.pipeline`: every rule of the default study, against the project as it was.

Two sides stand in worktrees of their own below `build/pipeline`, so that nobody's results are
touched: this checkout's last commit, and the commit `OLD` with an environment of its own, built
from its own `requirements.lock`. A turn runs three studies from an empty folder of results, the
model being there:

- *old*: the study as the old commit has it;
- *same*: this commit's, without what the old one cannot do (`LEFT_OUT`);
- *whole*: this commit's, as it is.

Before each the machine's rate of matrix products is measured. Every run is kept as soon as it is
done, in `benchmarks/pipeline.json`, so that turns may be made one at a time (`--turns 1`, then
`--turns 2`, …) and an interrupted one goes on where it stopped. Ratios are medians over the turns
that are complete.

Above 400 lines because the sides, their runs and the page of them are one comparison.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_json, write_text
from counterpoint.files.yaml_and_json import read_mapping

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "benchmarks" / "pipeline.json"
PLACE = ROOT / "build" / "pipeline"

OLD = "09c4556cb4448f9d062e8cfd0b87abf289eea5f1"
"""The commit that today's build is compared with."""

RUNS = ("old", "same", "whole")
"""What a turn runs, in this order."""

LEFT_OUT: dict[str, Any] = {
    "baselines": [],
    "answers": {"pairs": "none"},
    "roles": {"pairs": "none"},
    "patterns": {"pairs": "none"},
    "edges": {"pairs": "none"},
    "positions": {"pairs": "none"},
    "position_curves": {"pairs": "none"},
    "circuit": {"pairs": "none"},
}
"""What of a study the old commit cannot do and a setting leaves out. The figures of sections cannot
be left out: their rule counts in the new side's whole time."""

RATIOS: Mapping[str, tuple[tuple[str, ...], float]] = {
    "rule_ratio_compute_curves": (("compute_curves",), 1.7),
    "rule_ratio_integrate_gradients": (("integrate_gradients",), 2.0),
    "rule_ratio_faithfulness_partners": (("measure_faithfulness", "find_partners"), 2.5),
    "rule_ratio_validate": (("validate_counterfactuals",), 5.0),
}
"""The rules behind each ratio, whose seconds are added, and what is asked of it."""

PIPELINE_ASKED = 2.2

log = logging.getLogger("benchmarks")


@dataclass(frozen=True)
class Rule:
    """What the jobs of one rule took: how many, their seconds together, and the seconds by the
    clock from the first one's start to the last one's end."""

    jobs: int
    seconds: float
    span: float


def rules_of(folder: Path) -> dict[str, Rule]:
    """Every rule that left benchmark files below ``folder`` (`results/{study}/benchmarks`).

    A job ends when Snakemake writes its file, and began as many seconds before as the file says.
    """
    jobs: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        with path.open(encoding="utf-8", newline="") as stream:
            seconds = [float(row["s"]) for row in csv.DictReader(stream, delimiter="\t")]
        end = path.stat().st_mtime
        jobs.setdefault(rule, []).append((end - sum(seconds), end))
    return {
        rule: Rule(
            len(times),
            sum(end - start for start, end in times),
            max(end for _, end in times) - min(start for start, _ in times),
        )
        for rule, times in jobs.items()
    }


# -- the two sides ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """A worktree, and the Python that runs its workflow."""

    folder: Path
    python: Path

    def snakemake(self, *arguments: str) -> float:
        """Run Snakemake there; seconds by the clock. Raises UserError where it fails."""
        environment = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(self.folder)}
        # The number of threads is each rule's own.
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HUB_OFFLINE"):
            environment.pop(name, None)
        start = time.perf_counter()
        done = subprocess.run(
            [str(self.python), "-m", "snakemake", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            raise UserError(
                f"Snakemake failed in {self.folder}; its last words:\n{done.stdout[-3000:]}\n"
                "Correct that and call again: the runs that are done are kept."
            )
        return seconds


def _git(*arguments: str, folder: Path = ROOT) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise UserError(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def new_commit() -> str:
    """This checkout's commit. Raises UserError where what the workflow uses has other changes."""
    used = ("Snakefile", "rules", "scripts", "counterpoint", "reports", "resources", "config.yaml")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *used)
    if changed:
        raise UserError(
            f"this checkout has changes that are not committed ({changed.split()[-1]}); only a"
            " commit can be measured and named. Commit them first."
        )
    return _git("rev-parse", "HEAD")


def worktree(commit: str, folder: Path) -> Path:
    """A worktree of ``commit`` in ``folder``: made, or brought to it."""
    if not (folder / ".git").exists():
        _git("worktree", "prune")
        _git("worktree", "add", "--detach", str(folder), commit)
    elif _git("rev-parse", "HEAD", folder=folder) != commit:
        _git("checkout", "--detach", "--force", commit, folder=folder)
    return folder


def own_environment(folder: Path) -> Path:
    """The Python of an environment built from the worktree's own `requirements.lock`."""
    lock, made = folder / "requirements.lock", folder / ".venv" / "requirements.lock"
    python = folder / ".venv" / "bin" / "python"
    if not made.is_file() or made.read_bytes() != lock.read_bytes():
        log.info("installing the packages of %s", lock)
        subprocess.run([sys.executable, "-m", "venv", str(folder / ".venv")], check=True)
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(lock)], check=True)
        shutil.copyfile(lock, made)
    return python


# -- a run --------------------------------------------------------------------------------------


def plain(path: Path) -> dict[str, Any]:
    """A configuration file as plain values. Raises UserError for one that cannot be used."""
    read_mapping(path)
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def configurations(given: Mapping[str, Any], study: str) -> dict[str, dict[str, Any]]:
    """What is laid over config.yaml in each run; ``given`` is what the caller lays over it."""
    studies = given.get("studies", {})
    without = {**studies, study: {**studies.get(study, {}), **LEFT_OUT}}
    # The old commit knows no key of what it cannot do.
    known = {key: value for key, value in studies.get(study, {}).items() if key not in LEFT_OUT}
    old = {"studies": {**studies, study: known}} if studies else {}
    common = {**given, "study": study}
    return {"old": {**common, **old}, "same": {**common, "studies": without}, "whole": common}


def measured(
    side: Side, configuration: Mapping[str, Any], study: str, cores: int
) -> dict[str, Any]:
    """One run of ``study`` from an empty folder of results: its seconds, and those of its rules."""
    written = side.folder / "pipeline-benchmark.yaml"
    write_text(yaml.safe_dump(dict(configuration)), written)
    settings = ("--cores", str(cores), "--configfile", str(written))
    shutil.rmtree(side.folder / "results", ignore_errors=True)
    # The model, and what is remembered of the code's syntax, are there before the clock runs.
    names = plain(side.folder / "config.yaml")["studies"]
    own = dict(configuration).get("studies", {}).get(study, {})
    model = own.get("model") or names.get(study, {}).get("model")
    side.snakemake(f"resources/models/{model}/provenance.json", *settings)
    from counterpoint.workflow.planning.matrix_rate import matrix_product_rates

    rate = max(matrix_product_rates().values())
    # As a user calls it: the default target makes the studies' pages.
    seconds = side.snakemake(*settings)
    rules = rules_of(side.folder / "results" / study / "benchmarks")
    if not rules:
        raise UserError(f"study {study} left no benchmark files in {side.folder}/results")
    return {
        "seconds": seconds,
        "rate": rate,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "rules": {name: vars(rule) for name, rule in rules.items()},
    }


def run_turns(
    what: Mapping[str, Any], sides: Mapping[str, Side], runs: Mapping[str, Any], turns: int
) -> dict[str, Any]:
    """Make the runs of ``turns`` turns that are not there yet; keep each when it is done.

    ``what`` says what is measured: runs of something else are begun anew.
    """
    kept = read_kept()
    if {key: kept.get(key) for key in what} != dict(what):
        kept = {**what, "turns": []}
    for turn in range(turns):
        if turn == len(kept["turns"]):
            kept["turns"].append({})
        for run in RUNS:
            if run in kept["turns"][turn]:
                continue
            log.info("turn %d: %s", turn + 1, run)
            found = measured(sides[run], runs[run], what["study"], what["cores"])
            kept["turns"][turn][run] = found
            write_json(kept, KEPT)
            log.info("turn %d: %s took %.0f s", turn + 1, run, found["seconds"])
    return kept


def read_kept() -> dict[str, Any]:
    """The runs so far, {} for none."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}


# -- what follows -------------------------------------------------------------------------------


def complete(kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The turns whose runs are all done."""
    return [turn for turn in kept.get("turns", ()) if all(run in turn for run in RUNS)]


def of_rules(run: Mapping[str, Any], names: Sequence[str]) -> float | None:
    """Seconds of these rules' jobs together; None where one did not run."""
    rules = run["rules"]
    if any(name not in rules for name in names):
        return None
    return sum(float(rules[name]["seconds"]) for name in names)


def ratios(kept: Mapping[str, Any]) -> dict[str, float]:
    """The keys of `benchmarks/results.json`: medians over the complete turns of old over new.

    A ratio of rules that one side does not have is left out.
    """
    turns = complete(kept)
    if not turns:
        return {}
    found = {}
    for key, (names, _) in RATIOS.items():
        both = [(of_rules(turn["old"], names), of_rules(turn["same"], names)) for turn in turns]
        each = [old / new for old, new in both if old is not None and new]
        if len(each) == len(turns):
            found[key] = statistics.median(each)
    for key, run in (("pipeline_ratio", "same"), ("pipeline_ratio_as_is", "whole")):
        found[key] = statistics.median(t["old"]["seconds"] / t[run]["seconds"] for t in turns)
    return found


def _median(turns: Sequence[Mapping[str, Any]], run: str, rule: str, what: str) -> float | None:
    times = [turn[run]["rules"][rule][what] for turn in turns if rule in turn[run]["rules"]]
    return statistics.median(times) if times else None


def section(kept: Mapping[str, Any]) -> str:
    """The results as a section of a page."""
    turns = complete(kept)
    names = sorted({rule for turn in turns for run in RUNS for rule in turn[run]["rules"]})
    rows, only = [], []
    for name in names:
        times = {
            (run, what): _median(turns, run, name, what)
            for run in RUNS
            for what in ("seconds", "span", "jobs")
        }
        old, same = times["old", "seconds"], times["same", "seconds"]
        if old is None or same is None:
            where = "old" if old is not None else "new"
            took = old if old is not None else times["whole", "seconds"] or same
            only.append(f"`{name}` ({where}, {took:.0f} s)")
            continue
        several = max(times["old", "jobs"] or 0, times["same", "jobs"] or 0) > 1
        span = f"{times['old', 'span']:.1f} / {times['same', 'span']:.1f}" if several else ""
        ratio = f"{old / same:.2f} ×" if same else ""
        rows.append(f"| `{name}` | {old:.1f} | {same:.1f} | {ratio} | {span} |")
    found = ratios(kept)
    asked = {key: least for key, (_, least) in RATIOS.items()} | {"pipeline_ratio": PIPELINE_ASKED}
    wanted = [
        f"| `{key}` | {found[key]:.2f} × | {f'{asked[key]:g} ×' if key in asked else ''} |"
        for key in found
    ]
    whole = {run: statistics.median(turn[run]["seconds"] for turn in turns) for run in RUNS}
    rates = [turn[run]["rate"] / 1e9 for turn in turns for run in RUNS]
    dates = sorted({turn[run]["date"][:10] for turn in turns for run in RUNS})
    left_out = ", ".join(f"`{key}`" for key in LEFT_OUT)
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    cores, new, old = kept["cores"], kept["new"][:7], kept["old"][:7]
    count = f"{len(turns)} {'turn' if len(turns) == 1 else 'turns'}"
    lines = [
        "## The whole study, rule by rule",
        "",
        f"Made by `python -m benchmarks.pipeline` on {when} with {cores} cores: {kept['machine']}.",
        f"Study `{kept['study']}` at commit {new} against {old}, which ran in a worktree and in",
        f"an environment of its own, built from its own lock; medians of {count}. The machine",
        f"multiplied float32 matrices at {min(rates):.0f} to {max(rates):.0f} · 10⁹ operations per",
        "second before the runs. The model was there, and nothing else.",
        "",
        f"The old study took {whole['old']:.0f} s in all. The new one took {whole['same']:.0f} s",
        f"without what the old cannot do ({left_out}),",
        f"of which `pipeline_ratio` is, and {whole['whole']:.0f} s as it is. Figures of sections",
        "cannot be left out and count in both.",
        "",
        "| | found | asked for |",
        "|---|---:|---:|",
        *wanted,
        "",
        "| rule | old, s | new, s | ratio | by the clock, of several jobs, old / new, s |",
        "|---|---:|---:|---:|---:|",
        *rows,
        "",
        "Seconds are those of all jobs of a rule together. On one side only:"
        f" {', '.join(only) or 'none'}.",
    ]
    return "\n".join(lines) + "\n"


def add_keys() -> None:
    """Put the ratios into `benchmarks/results.json`, and the section into docs/performance.md."""
    from benchmarks import report

    place = ROOT / "benchmarks" / "results.json"
    results = json.loads(place.read_text(encoding="utf-8"))
    results = with_ratios(results)
    write_json(results, place)
    write_text(report.page(results), ROOT / "docs" / "performance.md")


def with_ratios(results: Mapping[str, Any]) -> dict[str, Any]:
    """``results`` with what is kept of the pipeline, and when that was measured."""
    kept = read_kept()
    found = ratios(kept)
    if not found:
        return dict(results)
    last = max(turn[run]["date"] for turn in complete(kept) for run in RUNS)
    return {**results, **found, "pipeline_date": last[:10]}


def main() -> None:
    """Run what is missing of the turns asked for, print the section, and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="turns in all, those done included")
    parser.add_argument("--study", default="ioi")
    parser.add_argument("--config", type=Path, help="laid over config.yaml on both sides")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--old", default=OLD, help="the commit to compare with")
    parser.add_argument(
        "--old-python", type=Path, help="use this environment for the old side; else one is built"
    )
    parser.add_argument("--discard", action="store_true", help="keep the runs and write no page")
    wanted = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        print(_measure(wanted))
    except UserError as mistake:
        sys.exit(f"error: {mistake}")
    if not wanted.discard:
        add_keys()


def _measure(wanted: argparse.Namespace) -> str:
    """The section of all turns that are asked for."""
    from benchmarks import machine

    commits = _git("rev-parse", f"{wanted.old}^{{commit}}"), new_commit()
    given = plain(wanted.config) if wanted.config else {}
    runs = configurations(given, wanted.study)
    old, new = (
        worktree(commit, PLACE / name) for commit, name in zip(commits, ("old", "new"), strict=True)
    )
    old_side = Side(old, wanted.old_python or own_environment(old))
    new_side = Side(new, Path(sys.executable))
    what = {
        "old": commits[0],
        "new": commits[1],
        "study": wanted.study,
        "cores": wanted.cores,
        "machine": machine.describe(),
        "configuration": hashlib.sha256(json.dumps(runs, sort_keys=True).encode()).hexdigest()[:16],
    }
    sides = {"old": old_side, "same": new_side, "whole": new_side}
    return section(run_turns(what, sides, runs, wanted.turns))


if __name__ == "__main__":
    main()
