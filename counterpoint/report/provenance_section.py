"""What a study was made with and what it took: settings, versions, and steps in order of cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from counterpoint.report.html import (
    NOTHING,
    Fragment,
    count,
    fill,
    folded,
    heading,
    join,
    note,
    number,
    table,
)
from counterpoint.report.section_parts import SHOWN_ROWS, spoken
from counterpoint.report.study_results import Results

DURATIONS = {
    "durations": ("durations", "Time of each step"),
    "durations_without_bos": (
        "durations-without-bos",
        "The same without the first token",
    ),
}
"""The records of steps, with the anchor and the heading of each."""


def provenance(results: Results) -> Fragment:
    """Return what the study took, step by step, and what it was made with."""
    made = results.provenance or {"settings": dict(results.settings)}
    plain = [
        entry
        for key, value in made.items()
        if not isinstance(value, dict)
        for entry in _flatten(value, str(key))
    ]
    parts: list[Any] = [_table(plain)] if plain else []
    for key, value in made.items():
        if isinstance(value, dict) and value and key not in DURATIONS:
            rows = _flatten(value)
            title = f"{spoken(key)} ({len(value)})"
            parts.append(folded(title, _table(rows), opened=len(rows) <= SHOWN_ROWS))
    parts.append(
        note(
            "All tables and figures stand beside this page: heads.parquet, baseline.parquet, "
            "correlations.csv, claims.csv, figures/. report.ipynb shows them in a notebook, to go "
            "on from."
        )
    )
    for key, (anchor, title) in DURATIONS.items():
        value = made.get(key)
        if isinstance(value, dict) and value:
            parts += [heading(anchor, title, 3), _steps(value)]
    return join(parts)


def _steps(steps: Mapping[str, Any]) -> Fragment:
    """Return steps in order of cost with their sum: jobs, seconds, share, memory."""
    records = {
        name: record if isinstance(record, dict) else {"seconds": record}
        for name, record in steps.items()
    }
    total = sum(float(record["seconds"]) for record in records.values())
    known = [record["jobs"] for record in records.values() if "jobs" in record]
    memory = [record["memory_mb"] for record in records.values() if record.get("memory_mb")]

    def row(name: str, jobs: Any, seconds: float, peak: Any) -> list[Any]:
        share = f"{100 * seconds / total:.1f}" if total > 0 else NOTHING
        return [name, count(jobs), f"{seconds:.1f}", share, f"{peak:.0f}" if peak else NOTHING]

    order = sorted(records, key=lambda name: -float(records[name]["seconds"]))
    body = [
        row(
            spoken(name),
            records[name].get("jobs"),
            float(records[name]["seconds"]),
            records[name].get("memory_mb"),
        )
        for name in order
    ]
    body.append(row("all steps", sum(known) if known else None, total, max(memory, default=None)))
    header = ["step", "jobs", "seconds", "% of all", "peak memory, MB"]
    caption = (
        "Steps in order of cost. Seconds are those of all jobs of a step together (one for each "
        "shard of the pairs, or head, or search); jobs that ran side by side took less by the "
        "clock. Memory is that of the largest job. A step that was kept from an earlier run has "
        "the time that it took then. The record is older than this page, so that making the page "
        "is in it only where the page was made before."
    )
    return table(header, body, caption=caption, highlighted=[len(body) - 1])


def _table(rows: list[tuple[str, str]]) -> Fragment:
    """Return settings as a table; names and values are as a file has them."""
    body = [[fill("<code>{}</code>", text) for text in row] for row in rows]
    return table(["what", "value"], body, text=(0, 1))


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (dotted key, text) in their order."""
    if isinstance(value, dict) and value:
        return [
            entry
            for key, inner in value.items()
            for entry in _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, float) and not math.isfinite(value):
        return [(prefix, number(value))]
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(str(item) for item in value) or "none")]
    return [(prefix, "not set" if value is None else str(value))]
