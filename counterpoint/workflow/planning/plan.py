"""The plan of a study: for every rule its jobs, how long they take, their memory and their disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from counterpoint.models.beginning_token import BOTH
from counterpoint.workflow.config import number_of_targets
from counterpoint.workflow.planning import operations
from counterpoint.workflow.planning.costs import Cost, Record
from counterpoint.workflow.planning.model_size import Size
from counterpoint.workflow.planning.operations import Pairs
from counterpoint.workflow.sharding import number_of_shards

COLUMNS = {
    "rule": "str",
    "jobs": "int64",
    "threads": "int64",
    "seconds": "float64",
    "core_hours": "float64",
    "memory_mb": "float64",
    "disk_mb": "float64",
}
"""Columns of `plan.csv`: of each rule the number of jobs, the threads and seconds of one, the
core-hours of all, the peak memory of one, and what all of them leave on the disk."""

OF_SHARDS = (
    "cache_activations",
    "compute_curves",
    "integrate_gradients",
    "measure_faithfulness",
    "find_partners",
    "measure_roles",
    "score_baselines",
)
"""Rules with a job for each shard, the last two where a study asks for them."""

CACHING = "cache_activations"
ANSWERS = "measure_answers"
"""The one job that looks at answers, of a study that asks for it."""

SEVERAL_THREADS = (
    *OF_SHARDS,
    ANSWERS,
    "patch_positions",
    "trace_positions",
    "compute_edges",
    "find_circuits",
    "find_edge_circuits",
    "validate_counterfactuals",
    "record_patterns",
)

TWICE = ("cache_activations", "compute_curves", "integrate_gradients", "merge_scores")
"""Rules that a study with `prepend_bos: both` runs once more, without that token."""

OF_PAIRS = ("prepare_pairs", "merge_faithfulness", "merge_interaction")
"""Rules whose time grows with the number of pairs."""

OF_SOME_PAIRS = {
    "measure_roles": "roles",
    "merge_roles": "roles",
    "record_patterns": "patterns",
}
"""Rules that a study may do without, or have for its first pairs alone, with their setting."""

LIBRARIES_MB = 900
"""Python with torch and transformers, measured on the default study."""

TABLES_MB = 450
"""Python with pandas, pyarrow and matplotlib."""

KB_PER_ROW = {
    "compute_statistics": 0.5,
    "draw_figures": 0.4,
    "draw_section_figures": 0.4,
    "render_report": 0.4,
}
"""Of a row of `heads.parquet` in the memory of what reads it whole, and `KB_PER_PAIR` of a pair
besides. From two measurements with different numbers of rows to a pair: 8 to 128 pairs of 540
(`memory_of_tables` in `costs.json`) and 64 to 1,024 pairs of 24 (`docs/scale.md`). A row of the
report's, and of its sections' figures, is taken to be as one of the figures', a pair of the latter
as one of the report."""

KB_PER_PAIR = {
    "compute_statistics": 150,
    "draw_figures": 70,
    "draw_section_figures": 190,
    "render_report": 190,
}

OF_ROWS = ("merge_scores", *KB_PER_ROW)
"""Rules whose time grows with the rows of `heads.parquet`."""


@dataclass(frozen=True)
class Machine:
    """What jobs run on: ``cores`` together, and the rate of float32 matrix products, in operations
    per second, of one thread and of the several that a job of the model gets."""

    cores: int
    threads: int
    rate_of_one: float
    rate: float

    def rate_of(self, rule: str) -> float:
        return self.rate if rule in SEVERAL_THREADS else self.rate_of_one

    def threads_of(self, rule: str) -> int:
        return self.threads if rule in SEVERAL_THREADS else 1


def amounts(
    settings: Mapping[str, Any], size: Size, pairs: Pairs, machine: Machine, targets: int
) -> dict[str, tuple[int, float]]:
    """Of each rule the jobs and the amount that they are given together (`costs`).

    ``settings`` are a study's, complete; ``targets`` is the number of heads that pairs are searched
    for. A search is the rule `search_counterfactuals` with its method behind a dot.
    """
    directions = len(settings["directions"])
    shards = number_of_shards(settings["shard_size"], pairs.count)
    found: dict[str, tuple[int, float]] = {}
    for rule, each in operations.operations(size, pairs).items():
        repeated = 1 if rule == CACHING else directions  # both prompts serve both
        found[rule] = shards, pairs.count * repeated * each / machine.rate_of(rule)
    checks = (pairs.shapes or shards) * operations.check_operations(size, pairs)
    found[CACHING] = shards, found[CACHING][1] + checks / machine.rate_of(CACHING)
    if settings["baselines"]:
        each = operations.baseline_operations(size, pairs, settings["baselines"])
        rule = "score_baselines"
        found[rule] = shards, pairs.count * directions * each / machine.rate_of(rule)

    answers = settings["answers"]
    looked_at = number_of_pairs(answers["pairs"], pairs.count)
    if looked_at:
        shown = min(answers["heads"] + len(settings["report"]["heads"]), size.heads)
        each = operations.of_answers(size, pairs, directions, shown)
        found[ANSWERS] = 1, looked_at * each / machine.rate_of(ANSWERS)
    rows = pairs.count * directions * size.heads
    found |= {rule: (1, float(rows)) for rule in OF_ROWS}
    if settings["baselines"]:
        found["compare_scores"] = 1, float(rows)
    found |= {rule: (1, float(pairs.count)) for rule in OF_PAIRS}
    found |= {"merge_roles": (1, float(pairs.count))}
    for rule, setting in OF_SOME_PAIRS.items():
        jobs, amount = found.pop(rule)
        measured = number_of_pairs(settings.get(setting, {}).get("pairs", "none"), pairs.count)
        if measured:
            # Patterns are recorded in one job, and once for both directions.
            once = rule == "record_patterns"
            share = measured / pairs.count / (directions if once else 1)
            found[rule] = 1 if once else jobs, amount * share

    edges = settings["edges"]
    kept = number_of_pairs(edges["pairs"], pairs.count)
    if kept:
        receivers = number_of_targets(edges["receivers"])
        each = operations.of_edges(size, pairs, receivers, len(edges["roles"]))
        found["compute_edges"] = shards, kept * directions * each / machine.rate_of("compute_edges")
        found["merge_edges"] = 1, float(kept)

    units, some = _patched(settings, size, pairs)
    if some:
        each = operations.position_operations(size, pairs, units)
        rule = "patch_positions"
        found[rule] = shards, some * directions * each / machine.rate_of(rule)
        found["merge_positions"] = 1, float(some)

    units, some = _patched(settings, size, pairs, "position_curves")
    if some:
        each = operations.position_operations(size, pairs, units)
        rule = "trace_positions"
        found[rule] = shards, some * directions * each / machine.rate_of(rule)
        found["merge_position_curves"] = 1, float(some)

    circuit = settings["circuit"]
    asked = number_of_pairs(circuit["pairs"], pairs.count)
    if asked:
        for level, rule, export, exported, each in (
            (
                "nodes",
                "find_circuits",
                "export_importances",
                [name for name in circuit["methods"] if name != "greedy"],
                operations.circuit_operations(size, pairs, circuit),
            ),
            (
                "edges",
                "find_edge_circuits",
                "export_edge_importances",
                [name for name in circuit["edge_methods"] if name != "pruned"],
                operations.edge_circuit_operations(size, pairs, circuit),
            ),
        ):
            if circuit["level"] in (level, "both"):
                found[rule] = 1, asked * directions * each / machine.rate_of(rule)
                if exported and "noising" in settings["directions"]:
                    found[export] = len(exported), 0.0

    wanted = settings["counterfactuals"]
    methods, seeds = wanted["methods"], len(wanted["seeds"])
    if targets and methods:
        # A start prompt's tokens stand for a search's.
        evaluation = pairs.tokens * size.operations
        searched = wanted["budget"]["evaluations"] * evaluation
        for method in methods:
            rule = f"search_counterfactuals.{method}"
            found[rule] = targets * seeds, targets * seeds * searched / machine.rate_of(rule)
        found["merge_searches"] = targets * len(methods), 0.0
        validated = 2 * wanted["validated"] + wanted["transferred"] * wanted["transfers"]
        rule = "validate_counterfactuals"
        patches = targets * len(methods) * validated * size.heads * evaluation / 2
        found[rule] = targets * len(methods), patches / machine.rate_of(rule)
        found["merge_validations"] = targets, 0.0
    return found


def number_of_pairs(asked: int | str, count: int) -> int:
    """How many of ``count`` pairs a setting asks for: all, none, or the first so many."""
    return count if asked == "all" else 0 if asked == "none" else min(int(asked), count)


def _patched(
    settings: Mapping[str, Any], size: Size, pairs: Pairs, block: str = "positions"
) -> tuple[int, int]:
    """How many components are patched by position, or traced, on how many pairs."""
    wanted = settings[block]
    some = number_of_pairs(wanted["pairs"], pairs.count)
    heads = size.heads if wanted["heads"] == "all" else len(wanted["heads"])
    units = sum(heads if name == "head" else size.n_layers for name in wanted["components"])
    return units, some


def runs_of(rule: str, settings: Mapping[str, Any]) -> int:
    """How often a study runs the jobs of a rule: twice where it is measured without BOS, too."""
    return 2 if settings["prepend_bos"] == BOTH and rule in TWICE else 1


def records(
    study: str,
    settings: Mapping[str, Any],
    durations: Mapping[str, Mapping[str, float]],
    size: Size,
    pairs: Pairs,
    machine: Machine,
    targets: int,
) -> list[Record]:
    """What the rules of a study took (``durations`` as in `provenance.json`), with their amounts.

    Searches of several methods cannot be told apart in the record of a study, so they are left out.
    """
    given = amounts(settings, size, pairs, machine, targets)
    found = []
    for rule, (jobs, amount) in given.items():
        method = rule.partition(".")[2]
        measured = durations.get(rule.partition(".")[0])
        if measured is None or (method and len(settings["counterfactuals"]["methods"]) > 1):
            continue
        found.append(Record(study, rule, jobs, measured["seconds"], amount))
    return found


def plan(
    settings: Mapping[str, Any],
    size: Size,
    pairs: Pairs,
    machine: Machine,
    costs: Mapping[str, Cost],
    *,
    targets: int,
    keeps_activations: bool,
) -> pd.DataFrame:
    """The plan of a study, with the columns `COLUMNS`, in the order in which its rules run.

    ``keeps_activations`` says whether cached activations stay on the disk; else they take it only
    while their shard is worked on. Raises KeyError for a rule without a cost.
    """
    rows = []
    once = amounts(settings, size, pairs, machine, targets)
    repeated = {rule: runs_of(rule, settings) for rule in once}
    for rule, (jobs, amount) in once.items():
        jobs, amount = jobs * repeated[rule], amount * repeated[rule]
        seconds = costs[rule].seconds(jobs, amount)
        rows.append(
            {
                "rule": rule,
                "jobs": jobs,
                "threads": machine.threads_of(rule),
                "seconds": seconds / jobs,
                "core_hours": seconds * machine.threads_of(rule) / 3600,
                "memory_mb": _memory_mb(rule, settings, size, pairs),
                "disk_mb": repeated[rule]
                * _disk_mb(rule, settings, size, pairs, keeps_activations),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _memory_mb(rule: str, settings: Mapping[str, Any], size: Size, pairs: Pairs) -> float:
    if rule in KB_PER_ROW:
        rows = len(settings["directions"]) * size.heads
        return TABLES_MB + pairs.count * (KB_PER_PAIR[rule] + rows * KB_PER_ROW[rule]) / 1024
    if rule in SEVERAL_THREADS or rule.startswith("search_counterfactuals"):
        # Batches fill what they may, where there are pairs enough. Searches keep packed weights.
        copies = 1 if rule in SEVERAL_THREADS else 2
        return LIBRARIES_MB + copies * size.weights_mb + float(settings["memory_mb"])
    return float(TABLES_MB)


def _disk_mb(
    rule: str, settings: Mapping[str, Any], size: Size, pairs: Pairs, keeps_activations: bool
) -> float:
    """Every table and curve stands in its shard and once more in the study."""
    repeated = pairs.count * len(settings["directions"])
    written = {
        "cache_activations": pairs.count * operations.activation_bytes(size, pairs),
        "compute_curves": repeated * (operations.curve_bytes(size) + operations.table_bytes(size)),
        "merge_scores": repeated * (operations.curve_bytes(size) + operations.table_bytes(size)),
    }
    if "patterns" in settings:
        kept = number_of_pairs(settings["patterns"]["pairs"], pairs.count)
        written["record_patterns"] = kept * operations.pattern_bytes(size, pairs)
    units, some = _patched(settings, size, pairs)
    if some:
        rows = some * len(settings["directions"]) * units * pairs.positions
        written["patch_positions"] = written["merge_positions"] = (
            rows * operations.BYTES_PER_POSITION
        )
    units, some = _patched(settings, size, pairs, "position_curves")
    if some:
        rows = some * len(settings["directions"]) * units * pairs.positions
        written["trace_positions"] = written["merge_position_curves"] = (
            rows * operations.BYTES_PER_POSITION_CURVE
        )
    if not keeps_activations:
        written["cache_activations"] = 0.0
    return written.get(rule, 0.0) / 2**20


def advice(
    table: pd.DataFrame, costs: Mapping[str, Cost], limits: Mapping[str, float]
) -> list[str]:
    """What to change before the study starts, as sentences; ``limits`` are the rules' run times in
    minutes, beyond which a cluster ends a job."""
    found = []
    for row in table.to_dict("records"):
        rule = str(row["rule"])
        limit = limits.get(rule.partition(".")[0])
        if limit is not None and row["seconds"] > 60 * limit:
            found.append(
                f"{rule}: a job takes {row['seconds'] / 3600:.1f} h and its limit is "
                f"{limit / 60:.1f} h; make shard_size smaller, or give it time with "
                f"--set-resources {rule.partition('.')[0]}:runtime=MINUTES"
            )
        if rule == "compute_curves" and row["jobs"] > 1:
            share = costs[rule].start / row["seconds"]
            if share > 0.1:
                found.append(
                    f"{rule}: {share:.0%} of a job is its start (the limit aimed at is 10 %); make "
                    "shard_size larger"
                )
    return found


def in_words(table: pd.DataFrame, machine: Machine) -> str:
    """The plan as text: a line for each rule and the sums."""
    shown = table.assign(
        seconds=table["seconds"].map("{:,.0f}".format),
        core_hours=table["core_hours"].map("{:,.2f}".format),
        memory_mb=table["memory_mb"].map("{:,.0f}".format),
        disk_mb=table["disk_mb"].map("{:,.1f}".format),
    ).rename(
        columns={
            "seconds": "seconds each",
            "core_hours": "core-hours",
            "memory_mb": "memory, MB",
            "disk_mb": "disk, MB",
        }
    )
    hours = float(table["core_hours"].sum())
    return "\n".join(
        [
            shown.to_string(index=False),
            f"Together {int(table['jobs'].sum()):,} jobs, {hours:,.2f} core-hours "
            f"(at least {_span(3600 * hours / machine.cores)} on {machine.cores} cores), "
            f"memory up to {table['memory_mb'].max():,.0f} MB, "
            f"disk {table['disk_mb'].sum():,.0f} MB.",
        ]
    )


def _span(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"
