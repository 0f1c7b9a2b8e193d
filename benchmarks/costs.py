"""How long steps take, for plans: `python -m benchmarks.costs --measured RESULTS … --checked …`

Every RESULTS is the folder of a study that was run on this machine, with nothing beside it. From
the benchmark files of those that are ``measured``, and from tables of many pairs made
of the first, come the costs: `counterpoint/workflow/planning/costs.json`. Those that are
``checked`` have no part in that; what the plan predicts for them is set beside what they took, in
`docs/scale.md`.

Without ``--measured`` the costs that are there are kept, but for what is measured anew: with
``--tables RESULTS`` the steps without a model, on tables of many pairs made of that study; with
``--searches RESULTS …`` the searches and the validation of those studies.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import multiprocessing
import os
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import machine
from benchmarks.counterfactuals import filled
from counterpoint.files.artifacts import read_table, write_json, write_table, write_text
from counterpoint.measures.tables.merging import KEYS
from counterpoint.workflow import config, provenance
from counterpoint.workflow.planning.costs import SHIPPED, Record, as_json, fit, read_costs
from counterpoint.workflow.planning.matrix_rate import best_rate
from counterpoint.workflow.planning.model_size import of_configuration, read_size
from counterpoint.workflow.planning.operations import Pairs, activation_bytes, pairs_of
from counterpoint.workflow.planning.plan import Machine, plan, records

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- checked: begin -->", "<!-- checked: end -->"
BEGIN_WORKED, END_WORKED = "<!-- worked: begin -->", "<!-- worked: end -->"
TIMES_AS_MANY = (1, 4, 16)
OF_GRADIENTS = ["ig_joint", "ig_convergence_delta"]
"""Columns of the table of heads that the shards have beside their curves'."""


class Study:
    """A study that was run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        self.record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        # Of the report too, which is made after the record.
        self.durations = provenance.durations(folder / "benchmarks")
        self.settings: dict[str, Any] = self.record["settings"]
        model = folder.parent.parent / "resources" / "models" / self.settings["model"]
        self.size = read_size(model, self.settings["dtype"])
        self.pairs: Pairs = pairs_of(
            read_table(folder / "pairs.parquet"), self.settings["shard_size"]
        )
        self.targets = config.number_of_targets(self.settings["counterfactuals"]["targets"])
        self.kept = bool(list(folder.glob("shards/*/activations.safetensors")))

    def records(self, on: Machine) -> list[Record]:
        return records(
            self.name,
            self.settings,
            self.durations,
            self.size,
            self.pairs,
            on,
            self.targets,
        )


def more_pairs(folder: Path, target: Path, times: int) -> None:
    """The tables of a study with every pair ``times`` times, in its only shard and as a whole."""
    from safetensors.numpy import load_file, save_file

    for name in ("baseline", "faithfulness", "interaction", "heads", "pairs"):
        table = read_table(folder / f"{name}.parquet")
        step = int(table["pair"].max()) + 1
        copies = [table.assign(pair=table["pair"] + step * copy) for copy in range(times)]
        write_table(pd.concat(copies, ignore_index=True), target / f"{name}.parquet")
    curves = load_file(folder / "curves.safetensors")
    step = int(curves["pairs"].max()) + 1
    curves["pairs"] = np.concatenate([curves["pairs"] + step * copy for copy in range(times)])
    for name in ("output", "gradient"):
        curves[name] = np.concatenate([curves[name]] * times)
    save_file(curves, target / "curves.safetensors")
    heads = read_table(target / "heads.parquet")
    write_table(heads.drop(columns=OF_GRADIENTS), target / "curves.parquet")
    write_table(heads[[*KEYS, *OF_GRADIENTS]], target / "gradients.parquet")


class _Files:
    """Input or output of a job, by name and by number, as Snakemake hands them to a script."""

    def __init__(self, **paths: object) -> None:
        self.__dict__ |= paths

    def __getitem__(self, key: str | int) -> Any:
        return vars(self)[key] if isinstance(key, str) else list(vars(self).values())[key]


def _table_jobs(folder: Path) -> dict[str, tuple[_Files, _Files]]:
    """Input and output of the steps without a model, in the order in which they need each other;
    all pairs are in one shard."""
    tables = {
        name: folder / f"{name}.parquet"
        for name in ("pairs", "heads", "faithfulness", "interaction")
    }
    found = {
        name: folder / f"{name}.csv"
        for name in ("correlations", "claims", "stability", "sample_sizes", "variance")
    }
    curves = folder / "curves.safetensors"
    return {
        "merge_scores": (
            _Files(
                baseline=[folder / "baseline.parquet"],
                scores=[folder / "curves.parquet"],
                gradients=[folder / "gradients.parquet"],
                curves=[curves],
                baselines=[],
            ),
            _Files(
                baseline=folder / "merged" / "baseline.parquet",
                heads=folder / "merged" / "heads.parquet",
                curves=folder / "merged" / "curves.safetensors",
            ),
        ),
        "compute_statistics": (_Files(**tables), _Files(**found)),
        "draw_figures": (
            _Files(**tables, **found, baseline=folder / "baseline.parquet", curves=curves),
            _Files(first=folder / "figures" / "first.svg"),
        ),
    }


OF_TABLES = tuple(_table_jobs(Path()))


def _alone(rule: str, folder: Path, settings: dict[str, Any], said: Any) -> None:
    """Run a rule's own script on the tables in ``folder``."""
    sys.path.insert(0, str(ROOT / "scripts"))
    files, made = _table_jobs(folder)[rule]
    job = SimpleNamespace(
        input=files,
        output=made,
        params=SimpleNamespace(settings=settings),
        wildcards=SimpleNamespace(study=folder.name),
    )
    importlib.import_module(rule).main(job)
    used = resource.getrusage(resource.RUSAGE_SELF)
    said.put((used.ru_utime + used.ru_stime, machine.peak_mb()))


def in_a_process(rule: str, folder: Path, settings: dict[str, Any]) -> tuple[float, float]:
    """Processor seconds and peak MB of a rule's script on the tables in ``folder``, with one
    thread, as the rule has it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    processes = multiprocessing.get_context("spawn")
    said = processes.Queue()
    child = processes.Process(target=_alone, args=(rule, folder, settings, said))
    child.start()
    child.join()
    if child.exitcode:
        raise RuntimeError(f"{rule} failed")
    seconds, peak = said.get()
    return seconds, peak


def of_tables(study: Study) -> Iterator[tuple[Record, float]]:
    """What steps without a model take on `TIMES_AS_MANY` times as many pairs, and their peak MB."""
    for times in TIMES_AS_MANY:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            more_pairs(study.folder, folder, times)
            rows = times * study.pairs.count * len(study.settings["directions"]) * study.size.heads
            for rule in OF_TABLES:
                seconds, peak = in_a_process(rule, folder, study.settings)
                yield Record(f"{study.name} × {times}", rule, 1, seconds, float(rows)), peak


def of_searches(study: Study, on: Machine) -> list[Record]:
    """What the searches of a study took, by method, with the evaluations that they really made."""
    folder = study.folder
    jobs: dict[str, list[tuple[float, float]]] = {}
    for path in sorted((folder / "benchmarks" / "search_counterfactuals").glob("*.tsv")):
        layer, head, method, seed = path.stem.split(".")
        place = folder / "counterfactuals" / f"{layer}.{head}" / "searches"
        trace = read_table(place / f"{method}.{seed}.trace.parquet")
        evaluation = study.pairs.tokens * study.size.operations
        made = float(trace["evaluations"].max()) * evaluation / on.rate_of_one
        (seconds,) = pd.read_csv(path, sep="\t")["s"]
        jobs.setdefault(method, []).append((float(seconds), made))
    return [
        Record(
            study.name,
            f"search_counterfactuals.{method}",
            len(each),
            sum(seconds for seconds, _ in each),
            sum(made for _, made in each),
        )
        for method, each in jobs.items()
    ]


def compared(study: Study, on: Machine) -> pd.DataFrame:
    """The rules of a study with the seconds of all their jobs, as planned and as measured, and the
    peak memory of one, MB."""
    table = plan(
        study.settings,
        study.size,
        study.pairs,
        on,
        read_costs(),
        targets=study.targets,
        keeps_activations=study.kept,
    )
    table["rule"] = table["rule"].str.partition(".")[0]
    table["planned"] = table["seconds"] * table["jobs"]
    by_rule = table.groupby("rule", sort=False).agg(
        jobs=("jobs", "sum"),
        planned=("planned", "sum"),
        planned_mb=("memory_mb", "max"),
        disk_mb=("disk_mb", "sum"),
    )
    measured = study.durations
    by_rule["measured"] = [measured.get(rule, {}).get("seconds", 0.0) for rule in by_rule.index]
    by_rule["measured_mb"] = [
        measured.get(rule, {}).get("memory_mb", 0.0) for rule in by_rule.index
    ]
    return by_rule


def on_disk_mb(folder: Path) -> float:
    """What a plan counts: tables of heads, curves and activations, in shards and as a whole."""
    wanted = ("heads.parquet", "curves", "integrated_gradients", "activations")
    files = [
        path
        for path in folder.rglob("*")
        if path.name.startswith(wanted) and path.suffix in (".parquet", ".safetensors")
    ]
    return sum(path.stat().st_size for path in files) / 2**20


def in_words(studies: Sequence[Study], on: Machine) -> str:
    """Plans against measurement, as Markdown."""
    overall, by_rule = [], {}
    for study in studies:
        table = compared(study, on)
        sums = table[["planned", "measured"]].sum()
        by_rule[study.name] = table
        overall.append(
            f"| {study.name} | {study.pairs.count} | {study.pairs.tokens:.1f} | "
            f"{study.pairs.positions:.1f} | {study.size.heads} | {sums['planned']:.0f} | "
            f"{sums['measured']:.0f} | {sums['planned'] / sums['measured'] - 1:+.0%} | "
            f"{table['planned_mb'].max():.0f} | {table['measured_mb'].max():.0f} | "
            f"{table['disk_mb'].sum():.1f} | {on_disk_mb(study.folder):.1f} |"
        )
    rules = list(dict.fromkeys(rule for table in by_rule.values() for rule in table.index))
    rows = [
        f"| `{rule}` | "
        + " | ".join(
            f"{table.loc[rule, 'planned']:.0f} / {table.loc[rule, 'measured']:.0f}"
            if rule in table.index
            else "–"
            for table in by_rule.values()
        )
        + " |"
        for rule in rules
    ]
    return "\n".join(
        [
            "| study | pairs | tokens | positions | heads | planned, s | measured, s | off by "
            "| planned, MB | measured, MB | planned disk, MB | measured, MB |",
            "|---|" + "---:|" * 11,
            *overall,
            "",
            "Seconds of all jobs, planned / measured, by rule:",
            "",
            "| rule | " + " | ".join(by_rule) + " |",
            "|---|" + "---:|" * len(by_rule),
            *rows,
        ]
    )


def worked(on: Machine) -> str:
    """Plans of two large studies, as Markdown. No model is at hand: sizes are those of the models'
    configurations and published numbers of parameters."""
    from transformers import GPT2Config, LlamaConfig

    default = config.complete(
        {"studies": {"large": {"pairs": "large.csv", "counterfactuals": {"targets": []}}}}
    )["studies"]["large"]
    large = (
        ("GPT-2 small", GPT2Config(), 124_439_808, 1_000_000, 512),
        ("a 7B Llama", LlamaConfig(), 6_738_415_616, 10_000, 4),
    )
    blocks = []
    for name, whole, parameters, count, shard_size in large:
        settings = default | {"shard_size": shard_size}
        size = of_configuration(whole, parameters)
        pairs = Pairs(count, tokens=17, positions=8)
        table = plan(settings, size, pairs, on, read_costs(), targets=0, keeps_activations=False)
        largest = shard_size * activation_bytes(size, pairs) / 2**20
        rows = [
            f"| `{row['rule']}` | {row['jobs']:,} | {row['seconds']:,.0f} | "
            f"{row['core_hours']:,.1f} | {row['memory_mb']:,.0f} | {row['disk_mb'] / 1024:,.1f} |"
            for row in table.to_dict("records")
        ]
        blocks += [
            f"**{name}**, {count:,} pairs of {pairs.tokens:.0f} tokens, {pairs.positions:.0f} of "
            f"them from the first difference on, both directions, shards of {shard_size} pairs: "
            f"{int(table['jobs'].sum()):,} jobs, {table['core_hours'].sum():,.0f} core-hours, "
            f"{table['disk_mb'].sum() / 1024:,.0f} GB. A shard's activations take {largest:,.0f} "
            "MB while it is worked on.",
            "\n".join(
                [
                    "| rule | jobs | seconds each | core-hours | memory, MB | disk, GB |",
                    "|---|" + "---:|" * 5,
                    *rows,
                ]
            ),
        ]
    return "\n\n".join(blocks)


def anew(records: Sequence[Record], **where: Any) -> None:
    """Put what was measured in the place of what the costs had for the same rules. ``where`` is
    what `costs.json` is to say of it."""
    stored = json.loads(SHIPPED.read_text(encoding="utf-8"))
    rules = {record.rule for record in records}
    found = [Record(**record) for record in stored.pop("records")]
    found = [*(record for record in found if record.rule not in rules), *records]
    del stored["costs"]
    write_json(as_json(fit(found), found, stored | where), SHIPPED)


def memory_of(tables: Sequence[tuple[Record, float]]) -> list[dict[str, Any]]:
    """Peak memory by the rows of a table, as plain values."""
    return [{"rule": one.rule, "rows": one.amount, "peak_mb": peak} for one, peak in tables]


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def main() -> None:
    """Fit the costs, check them, and write both down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("--measured", nargs="*", type=Path, default=[])
    parser.add_argument("--tables", type=Path)
    parser.add_argument("--searches", nargs="*", type=Path, default=[])
    parser.add_argument("--checked", nargs="*", type=Path, default=[])
    parser.add_argument(
        "--rates",
        nargs=2,
        type=float,
        metavar=("ONE", "ALL"),
        help="the machine's rates with one thread and with all, where it is busy now",
    )
    arguments = parser.parse_args()
    import torch

    threads = min(4, torch.get_num_threads())
    rate_of_one, rate = arguments.rates or (best_rate(1), best_rate(threads))
    on = Machine(torch.get_num_threads(), threads, rate_of_one, rate)
    here = {
        "date": today(),
        "machine": machine.describe(),
        "commit": provenance.git_commit(ROOT),
        "rate_of_one_thread": on.rate_of_one,
        "rate": on.rate,
        "threads": on.threads,
    }
    measured = [Study(folder.resolve()) for folder in arguments.measured]
    if measured:
        found = [record for study in measured for record in study.records(on)]
        # Jobs of tables differ too little in the studies to tell their start from the rest.
        found = [record for record in found if record.rule not in OF_TABLES]
        write_json(as_json(fit(found), found, here), SHIPPED)
    if measured or arguments.tables:
        study = measured[0] if measured else Study(arguments.tables.resolve())
        tables = list(of_tables(study))
        anew([one for one, _ in tables], tables=here, memory_of_tables=memory_of(tables))
    if arguments.searches:
        studies = [Study(folder.resolve()) for folder in arguments.searches]
        found = [record for study in studies for record in of_searches(study, on)]
        checks = [record for study in studies for record in study.records(on)]
        found += [record for record in checks if record.rule == "validate_counterfactuals"]
        anew(found, searches={**here, "rules": sorted({record.rule for record in found})})

    stored = json.loads(SHIPPED.read_text(encoding="utf-8"))
    of_costs = Machine(
        on.cores, *(stored[name] for name in ("threads", "rate_of_one_thread", "rate"))
    )
    page = PAGE.read_text(encoding="utf-8")
    page = filled(page, worked(of_costs), BEGIN_WORKED, END_WORKED)
    studies = [Study(folder.resolve()) for folder in arguments.checked]
    if studies:
        page = filled(page, in_words(studies, on), BEGIN, END)
    write_text(page, PAGE)
    print(json.dumps(stored["costs"], indent=2))


if __name__ == "__main__":
    main()
