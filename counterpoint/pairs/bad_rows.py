"""What is said of the rows of a file of pairs that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from counterpoint.pairs.quoting import SHOWN_IN_FULL, Problem, ranges


def explain_bad(
    source: str,
    seen: int,
    bad: list[tuple[dict[str, Any], list[Problem]]],
    on_bad_pair: str,
    drop: str,
) -> str:
    """List all bad rows: the first ones with their reasons, any further ones by what is wrong."""
    kinds = Counter(problem.kind for _, problems in bad for problem in problems)
    counts = ", ".join(f"{kind} {times}" for kind, times in kinds.most_common())
    none_left = len(bad) == seen
    head = f"{source}: {len(bad)} of {seen} rows cannot be used"
    lines = [f"{head}{', so no pair is left' if none_left else ''} ({counts}):"]
    lines += [f"  row {row['row']}: {joined(found)}" for row, found in bad[:SHOWN_IN_FULL]]
    further: dict[str, list[int]] = {}
    for row, found in bad[SHOWN_IN_FULL:]:
        for kind in dict.fromkeys(problem.kind for problem in found):
            further.setdefault(kind, []).append(row["row"])
    if further:
        lines.append(f"  and {len(bad) - SHOWN_IN_FULL} more:")
        lines += [f"    {kind}: rows {ranges(rows)}" for kind, rows in further.items()]
    remedy = "Rows count from 1 below the header. Correct them"
    if on_bad_pair == "error" and not none_left:
        remedy += f", or leave them out with {drop}"
    return "\n".join([*lines, remedy + "."])


def joined(problems: Iterable[Problem]) -> str:
    """All that is wrong with a row, in one line."""
    return "; ".join(problem.reason for problem in problems)
