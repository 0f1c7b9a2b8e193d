"""What two provenance files say differently, and which of that most likely moved a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNKNOWN = "not known: a provenance.json is missing"
UNEXPLAINED = (
    "none that provenance tells: the same code on the same machine gives the same bits; look for "
    "changed files, other thread settings, or a run that did not end"
)

ALTERING = ("pairs", "model", "settings", "code", "packages", "device")
"""What can change a number by any amount, the likeliest first."""
ROUNDING = ("cores", "machine", "system")
"""What changes the order of sums, and so the last bits of a number."""

NOT_COMPARED = ("study", "date", "durations", "durations_without_bos", "seeds")
"""A name, times, and what stands in the settings as well."""


@dataclass(frozen=True)
class Cause:
    """One thing that differs: its ``kind`` (of `ALTERING` or `ROUNDING`) and what it is on both
    sides."""

    kind: str
    text: str


def causes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Cause]:
    """Everything that may have moved a number, of two records as `provenance.collect` makes them.

    Returns them with the likeliest first.
    """
    found = [Cause(_kind(path), f"{path}: {x} | {y}") for path, x, y in _unequal(a, b)]
    commit = a.get("commit")
    if commit == b.get("commit") and isinstance(commit, str) and commit.endswith("+changes"):
        found.append(Cause("code", f"commit: {commit} on both sides, which may be other changes"))
    order = (*ALTERING, *ROUNDING)
    return sorted(found, key=lambda cause: order.index(cause.kind))


def likely(found: Sequence[Cause], *, within: bool) -> str:
    """The likeliest cause of one difference, in words.

    ``within`` says that it is within its tolerance, which other sums in another order explain.
    """
    kinds = [cause.kind for cause in found]
    order = (*ROUNDING, *ALTERING) if within else (*ALTERING, *ROUNDING)
    first = next((kind for kind in order if kind in kinds), None)
    if first is None:
        return UNEXPLAINED
    texts = [cause.text for cause in found if cause.kind == first]
    more = f" and {len(texts) - 2} more" if len(texts) > 2 else ""
    said = f"{first} ({'; '.join(texts[:2])}{more})"
    if first in ROUNDING and not within:
        said += ", though that alone was never seen to do so much"
    return said


def _kind(path: str) -> str:
    first, _, rest = path.partition(".")
    match first:
        case "settings":
            return rest.partition(".")[0] if rest in ("pairs", "model", "device") else "settings"
        case "model" | "beginning_of_sequence":
            return "model"
        case "packages" | "python":
            return "packages"
        case "machine":
            return {"cores": "cores", "system": "system"}.get(rest, "machine")
        case "device":
            return "device"
        case _:
            return "code" if first in ("commit", "counterpoint") else "settings"


def _unequal(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Paths at which two values differ, with both."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in [*a, *(key for key in b if key not in a)]:
            if path or key not in NOT_COMPARED:
                yield from _unequal(
                    a.get(key, "none"), b.get(key, "none"), f"{path}.{key}" if path else str(key)
                )
    elif a != b:
        yield path, _short(a), _short(b)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
