"""Two folders of results compared, each difference with its likely cause: `make verify A=… B=…` or
`python -m counterpoint.workflow.compared_results A B`. Without folders: all results here with the
checksums they were made with.

What a page or a picture shows stands in the tables as well, and times are no results: only tables,
tensors and JSON are compared. provenance.json is what differences are explained by.
"""

from __future__ import annotations

import filecmp
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError
from counterpoint.files.artifacts import is_folder, user_path
from counterpoint.workflow import allowed_differences, provenance_differences
from counterpoint.workflow.allowed_differences import EXACT, KINDS, OTHER, Kind
from counterpoint.workflow.command_line import PREFIX
from counterpoint.workflow.compared_artifacts import SUFFIXES, Comparison, compare, read_json
from counterpoint.workflow.made_files import check_all
from counterpoint.workflow.provenance_differences import Cause

LEFT_OUT = frozenset({"logs", "benchmarks"})
PROVENANCE = "provenance.json"
PAIRS = "pairs.parquet"

BITS, VALUES, WITHIN, DIFFERS, MISSING = (
    "equal in every bit",
    "equal in every value, in other bytes",
    "within tolerance",
    "DIFFERS",
    "MISSING",
)


@dataclass(frozen=True)
class Verdict:
    """What is said of one artifact: its outcome, and what there is to say about it."""

    name: str
    outcome: str
    lines: tuple[str, ...] = ()


def artifacts(folder: Path) -> dict[str, Path]:
    """The artifacts below a folder by their path there. Raises UserError for a folder without."""
    found = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if hidden or path.suffix not in SUFFIXES or not path.is_file():
            continue
        if not LEFT_OUT.intersection(place.parts[:-1]):
            found[place.as_posix()] = path
    if not found:
        raise UserError(
            f"{folder} holds no results ({', '.join(SUFFIXES)}); name a study's folder, as in "
            "results/ioi"
        )
    return found


def compared(a: Path, b: Path) -> tuple[list[Verdict], list[Cause] | None]:
    """Every artifact of either folder with what is said of it, and what provenance says otherwise.

    The second is None where one folder has no provenance.json. Raises UserError for a folder
    without artifacts and for a file that cannot be read.
    """
    left, right = artifacts(a), artifacts(b)
    records = [_record(each.get(PROVENANCE)) for each in (left, right)]
    settings = (_settings(records[0]), _settings(records[1]))

    def allowed(kind: Kind) -> float:
        return allowed_differences.allowed(kind, settings)

    names = sorted(left.keys() | right.keys())
    if PROVENANCE in left and PROVENANCE in right:
        names.remove(PROVENANCE)
    outcomes: dict[str, Comparison | str] = {}
    for name in names:
        if name not in left or name not in right:
            outcomes[name] = "B" if name in left else "A"
        elif not filecmp.cmp(left[name], right[name], shallow=False):
            outcomes[name] = compare(left[name], right[name], allowed)
    causes = None
    if records[0] is not None and records[1] is not None:
        causes = provenance_differences.causes(records[0], records[1])
        pairs = outcomes.get(PAIRS)
        if isinstance(pairs, Comparison) and not pairs.within:
            # A file of pairs can be another one under the same name.
            causes = [Cause("pairs", f"{PAIRS}: the pairs themselves differ"), *causes]
    return [_verdict(name, outcomes.get(name), causes) for name in names], causes


def _record(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(f"{path} cannot be read: it holds no mapping, as provenance.json does")
    return record


def _settings(record: Mapping[str, Any] | None) -> Mapping[str, Any]:
    settings = (record or {}).get("settings")
    return settings if isinstance(settings, Mapping) else {}


def _verdict(name: str, found: Comparison | str | None, causes: list[Cause] | None) -> Verdict:
    if found is None:
        return Verdict(name, BITS)
    if isinstance(found, str):
        # Where sums are taken makes no file appear.
        known = causes and [each for each in causes if each.kind in provenance_differences.ALTERING]
        return Verdict(name, MISSING, (f"not in {found}", _cause(known, within=False)))
    if found.equal:
        return Verdict(name, VALUES, tuple(found.remarks))
    lines = [*found.one_sided, *found.remarks]
    # What is beyond its tolerance comes first, and of that the largest.
    for each in sorted(found.differences, key=lambda one: (one.within, -one.amount)):
        beyond = "" if each.within else ", beyond"
        how_far = f"{each.amount:.3g}" if each.amount < math.inf else "differs"
        place = f" at {each.where}" if each.where else ""
        lines.append(
            f"{each.what}: {how_far} ({each.kind.name}: {each.allowed:.3g} allowed{beyond})"
            f"{place}: {each.values}; {each.count} unequal"
        )
    # That a time is another one needs no cause.
    if found.one_sided or any(each.allowed < math.inf for each in found.differences):
        lines.append(_cause(causes, within=found.within))
    return Verdict(name, WITHIN if found.within else DIFFERS, tuple(lines))


def _cause(causes: list[Cause] | None, *, within: bool) -> str:
    said = (
        provenance_differences.UNKNOWN
        if causes is None
        else provenance_differences.likely(causes, within=within)
    )
    return f"likely cause: {said}"


def summary(verdicts: Sequence[Verdict]) -> str:
    """The last line: how many artifacts came to which outcome.

    Those that are equal in every value but not in every byte count as within tolerance.
    """
    outcomes = [verdict.outcome for verdict in verdicts]
    within = outcomes.count(WITHIN) + outcomes.count(VALUES)
    return (
        f"{len(verdicts)} artifact{'' if len(verdicts) == 1 else 's'}: "
        f"{outcomes.count(BITS)} equal in every bit, {within} within tolerance, "
        f"{outcomes.count(DIFFERS)} differ, {outcomes.count(MISSING)} missing"
    )


def report(a: Path, b: Path, verdicts: Sequence[Verdict], causes: list[Cause] | None) -> str:
    """The whole answer as text: what is compared, tolerances, provenance, artifacts, summary."""
    settings = tuple(_settings(_record(_provenance(each))) for each in (a, b))
    lines = [f"A: {a}", f"B: {b}", "", "Allowed differences:"]
    for kind in (EXACT, *KINDS, OTHER):
        far = allowed_differences.allowed(kind, (settings[0], settings[1]))
        lines.append(f"  {kind.name:<21}{far:<8.3g}{kind.reason}")
    lines += ["", "Provenance (A | B):"]
    if causes is None:
        lines.append("  not compared: a provenance.json is missing")
    elif not causes:
        lines.append("  the same code, packages, model, settings and machine")
    else:
        lines += [f"  {cause.text}" for cause in causes]
    lines.append("")
    width = max(len(verdict.name) for verdict in verdicts) if verdicts else 0
    for verdict in verdicts:
        lines.append(f"{verdict.name:<{width}}  {verdict.outcome}")
        lines += [f"    {line}" for line in verdict.lines]
    return "\n".join([*lines, "", summary(verdicts)])


def _provenance(folder: Path) -> Path | None:
    path = folder / PROVENANCE
    return path if path.is_file() else None


def folders(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Path, Path]:
    """The two folders: those of the command line, else what make hands over.

    Raises UserError for more or fewer than two, and for one that is not there.
    """
    given = list(arguments) or [environment.get(PREFIX + name, "") for name in ("A", "B")]
    if len(given) != 2 or not all(given):
        raise UserError("name two folders, as in: make verify A=results/ioi B=../other/results/ioi")
    paths = [user_path(text) for text in given]
    for name, path in zip("AB", paths, strict=True):
        if not is_folder(path):
            raise UserError(f"{name}: there is no folder {path}")
    return paths[0], paths[1]


def verify_all() -> int:
    """Compare all results of this folder with the checksums they were made with; print which are
    damaged or gone, and return the exit status as `main` does.

    Raises UserError where no file has a record.
    """
    found = check_all()
    if not (found.whole or found.damaged or found.gone):
        raise UserError(
            "there are no results with checksums here: make some (make report), or name two "
            "folders to compare, as in: make verify A=results/ioi B=../other/results/ioi"
        )
    for path in found.damaged:
        print(f"{path}  DAMAGED: the next run puts it aside and makes it anew")
    for path in found.gone:
        print(f"{path}  gone: the next run makes it anew if what is asked for was made of it")
    print(
        f"{len(found.whole)} files as they were made, {len(found.damaged)} damaged, "
        f"{len(found.gone)} gone"
    )
    return int(bool(found.damaged or found.gone))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison (of two folders, or of all results with their checksums), and return the
    exit status.

    0: equal or within tolerance; 1: something differs or is missing; 2: a call that cannot be
    answered, with one message on stderr.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file's name may hold what the terminal cannot show.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if not given and not any(os.environ.get(PREFIX + name) for name in ("A", "B")):
            return verify_all()
        a, b = folders(given, os.environ)
        verdicts, causes = compared(a, b)
        text = report(a, b, verdicts, causes)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    except OSError as mistake:
        print(f"error: {mistake.filename}: {mistake.strerror}", file=sys.stderr)
        return 2
    print(text)
    return int(any(verdict.outcome in (DIFFERS, MISSING) for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
