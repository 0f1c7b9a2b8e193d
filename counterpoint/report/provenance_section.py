"""What a study was made with: settings, versions, model, seeds, device, durations."""

from __future__ import annotations

import math
from typing import Any

from counterpoint.report.html import Fragment, folded, join, note, number, table
from counterpoint.report.section_parts import SHOWN_ROWS
from counterpoint.report.study_results import Results


def provenance(results: Results) -> Fragment:
    """Return what the study was made with: config, versions, model, seeds, device, durations."""
    made = results.provenance or {"settings": dict(results.settings)}
    plain = [
        entry
        for key, value in made.items()
        if not isinstance(value, dict)
        for entry in _flatten(value, str(key))
    ]
    parts = [table(["what", "value"], plain, text=(0, 1))] if plain else []
    for key, value in made.items():
        if isinstance(value, dict) and value:
            rows = _flatten(value)
            listing = _records(value) or table(["what", "value"], rows, text=(0, 1))
            title = f"{str(key).replace('_', ' ')} ({len(value)})"
            parts.append(folded(title, listing, opened=len(rows) <= SHOWN_ROWS))
    parts.append(
        note(
            "All tables and figures stand beside this page: heads.parquet, baseline.parquet, "
            "correlations.csv, claims.csv, figures/. report.ipynb shows them in a notebook, to go "
            "on from."
        )
    )
    return join(parts)


def _records(value: dict[str, Any]) -> Fragment | None:
    """Return named records of equal fields (such as durations by rule) as a table, else None."""
    inner = list(value.values())
    if not all(isinstance(record, dict) and record.keys() == inner[0].keys() for record in inner):
        return None
    fields = list(inner[0])
    body = [
        [name, *(number(record[field], 1) if isinstance(record[field], float) else record[field]
                 for field in fields)]
        for name, record in value.items()
    ]  # fmt: skip
    return table(["what", *[field.replace("_", " ") for field in fields]], body)


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
