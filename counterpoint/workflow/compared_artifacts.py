"""Two files of the same name compared value by value: tables, tensors and JSON.

Rows are found in both tables by what identifies them, so that one row more does not make all that
follow it differ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoint.errors import UserError
from counterpoint.files.artifacts import read_table
from counterpoint.workflow.allowed_differences import EXACT, Kind, kind_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SUFFIXES = (".parquet", ".csv", ".safetensors", ".json")

IDENTIFIERS = (
    *("study", "scope", "pair", "claim", "direction", "quantity", "component", "layer", "head"),
    *("sender_layer", "sender_head", "receiver_layer", "receiver_head", "position"),
    *("method", "score", "seed"),
)
"""Columns that say what a row is about, wherever they stand."""

FURTHER = (
    *("role", "measure", "compared_with", "between", "agreement", "checks", "by", "side", "answer"),
    *("partner", "k", "place", "choice", "ranking", "level", "row", "figure", "kind"),
    *("clean", "corrupted", "evaluations", "n", "rank", "first", "second"),
)
"""Columns that do so in some tables and are results in others: the first ones are taken that it
needs to tell all rows apart."""

DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(NotImplementedError, RecursionError),
)
"""What pandas, pyarrow and json raise for a damaged file, according to the byte that is wrong, and
numpy for numbers that it does not have (bfloat16). safetensors has an error of its own."""

SHOWN = 3
"""Rows of one side that are named; of the others there is the number."""


@dataclass(frozen=True)
class Difference:
    """The largest difference in one column or tensor, and where it is."""

    what: str
    amount: float
    allowed: float
    kind: Kind
    where: str
    count: int
    values: str

    @property
    def within(self) -> bool:
        """Whether it is allowed."""
        return self.amount <= self.allowed


@dataclass
class Comparison:
    """What two files say differently: numbers and texts, and what only one of them has.

    ``remarks`` are what changes no value, such as another order of rows.
    """

    differences: list[Difference] = field(default_factory=list)
    one_sided: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether every value is the same."""
        return not self.differences and not self.one_sided

    @property
    def within(self) -> bool:
        """Whether everything that differs is allowed to."""
        return not self.one_sided and all(each.within for each in self.differences)


Allowed = Callable[[Kind], float]


def compare(a: Path, b: Path, allowed: Allowed) -> Comparison:
    """Compare two files of one suffix of `SUFFIXES`; ``allowed`` says how far a kind may differ.

    Raises UserError, with the file's name, for one that cannot be read.
    """
    match a.suffix:
        case ".json":
            return _compare_json(_read(a, _json), _read(b, _json), allowed)
        case ".safetensors":
            return _compare_tensors(a, b, allowed)
        case _:
            return _compare_tables(_read(a, _table), _read(b, _table), allowed)


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises UserError, with the file's name, if it cannot be read."""
    return _read(path, _json)


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    table = read_table(path)
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            # Texts are decoded when they are asked for: bytes that are none are found now.
            list(table[name])
    return table


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    from safetensors import SafetensorError

    try:
        return reader(path)
    except MemoryError:
        raise UserError(
            f"{path} cannot be read: there is too little memory for it, or it is damaged and says "
            "that it is larger than it is"
        ) from None
    except (*DAMAGE, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} cannot be read ({first}); it is damaged, or not a {path.suffix} file"
        ) from None


def _compare_tables(a: pd.DataFrame, b: pd.DataFrame, allowed: Allowed) -> Comparison:
    found = Comparison()
    found.one_sided += _named_on_one_side("column", list(a.columns), list(b.columns))
    columns = [name for name in a.columns if name in b.columns]
    keys = _keys(a, b, columns)
    left, right = _numbered(a, keys), _numbered(b, keys)
    on = [name for name in left.columns if name != "_row"]
    rows = left.merge(right, on=on, how="outer", suffixes=("_a", "_b"), indicator="_side")
    for side, one in (("left_only", "A"), ("right_only", "B")):
        only = rows[rows["_side"] == side]
        if len(only):
            table, places = (a, "_row_a") if one == "A" else (b, "_row_b")
            where = [_where(table, keys, int(row)) for row in sorted(only[places])[:SHOWN]]
            more = f" and {len(only) - SHOWN} more" if len(only) > SHOWN else ""
            found.one_sided.append(f"rows only in {one}: {'; '.join(where)}{more}")
    both = rows[rows["_side"] == "both"].sort_values("_row_a")
    first, second = both["_row_a"].astype(int).to_numpy(), both["_row_b"].astype(int).to_numpy()
    if (second[1:] < second[:-1]).any():
        found.remarks.append("rows stand in another order")
    for name in columns:
        if name not in keys:
            found.differences += _column(
                name,
                a[name].iloc[first],
                b[name].iloc[second],
                allowed,
                lambda place: _where(a, keys, int(first[place])),
            )
    return found


def _keys(a: pd.DataFrame, b: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """All `IDENTIFIERS`, and of `FURTHER` as many as tell the rows of both tables apart."""
    known = [name for name in columns if _sort(a[name]) == _sort(b[name]) != "other"]
    keys = [name for name in IDENTIFIERS if name in known]
    for name in FURTHER:
        if keys and not a.duplicated(keys).any() and not b.duplicated(keys).any():
            break
        if name in known:
            keys.append(name)
    return keys


def _sort(column: pd.Series) -> str:
    """What a column holds, as far as it matters for finding its values in another table."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return "number"
    return "text" if all(isinstance(value, str) for value in column) else "other"


def _numbered(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Keys of each row, which of the rows with the same keys it is, and its place."""
    import numpy as np

    named = table[keys].copy()
    named["_nth"] = (
        table.groupby(keys, dropna=False, sort=False).cumcount() if keys else np.arange(len(table))
    )
    named["_row"] = np.arange(len(table))
    return named


def _where(table: pd.DataFrame, keys: Sequence[str], row: int) -> str:
    """A row by its keys; by its number, from 0, where it has none."""
    named = [f"{key} {_short(table[key].iloc[row])}" for key in keys]
    return ", ".join(named) or f"row {row}"


def _column(
    name: str, a: pd.Series, b: pd.Series, allowed: Allowed, where: Callable[[int], str]
) -> Iterator[Difference]:
    import numpy as np
    import pandas as pd

    if all(pd.api.types.is_numeric_dtype(each) for each in (a, b)):
        gaps = gaps_of(a.to_numpy(), b.to_numpy())
        fractions = any(pd.api.types.is_float_dtype(each) for each in (a, b))
    else:
        cells = [_cell(x, y) for x, y in zip(a, b, strict=True)]
        gaps = np.array([gap for gap, _ in cells])
        fractions = any(fraction for _, fraction in cells)
    if (gaps > 0).any():
        place = int(gaps.argmax())
        kind = kind_of(name) if fractions else EXACT
        values = f"{_short(a.iloc[place])} | {_short(b.iloc[place])}"
        amount, count = float(gaps[place]), int((gaps > 0).sum())
        yield Difference(name, amount, allowed(kind), kind, where(place), count, values)


def gaps_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a − b| of each number; NaN and NaN are equal, NaN and a number infinitely far apart."""
    import numpy as np

    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.abs(x - y)
    gaps[(x == y) | (np.isnan(x) & np.isnan(y))] = 0
    gaps[np.isnan(gaps)] = np.inf
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        # Beyond 2^53 float64 does not tell neighbours apart.
        gaps = np.where(a != b, np.maximum(gaps, 1), 0.0)
    return gaps


def _cell(x: Any, y: Any) -> tuple[float, bool]:
    """How far two values of any kind lie apart, and whether fractions are among them."""
    import numpy as np

    if isinstance(x, (list, tuple, np.ndarray)) and isinstance(y, (list, tuple, np.ndarray)):
        if len(x) != len(y):
            return math.inf, False
        cells = [_cell(each, other) for each, other in zip(x, y, strict=True)]
        return max((gap for gap, _ in cells), default=0.0), any(each for _, each in cells)
    if _is_number(x) and _is_number(y):
        fraction = any(isinstance(each, (float, np.floating)) for each in (x, y))
        if x == y or (x != x and y != y):
            return 0.0, fraction
        gap = abs(float(x) - float(y))
        return (math.inf if math.isnan(gap) else gap or 1.0), fraction
    if isinstance(x, Mapping) and isinstance(y, Mapping):
        return (0.0 if x == y else math.inf), False
    same = x is y or (_nothing(x) and _nothing(y)) or _same(x, y)
    return (0.0 if same else math.inf), False


def _same(x: Any, y: Any) -> bool:
    return type(x) is type(y) and bool(x == y)


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_number(value: Any) -> bool:
    import numpy as np

    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _compare_tensors(a: Path, b: Path, allowed: Allowed) -> Comparison:
    """One tensor at a time: files can be larger than the memory."""
    import numpy as np
    from safetensors import safe_open

    found = Comparison()
    with (
        _read(a, lambda path: safe_open(path, framework="np")) as left,
        _read(b, lambda path: safe_open(path, framework="np")) as right,
    ):
        names, others = list(left.keys()), list(right.keys())
        found.one_sided += _named_on_one_side("tensor", names, others)
        for name in sorted(set(names) & set(others)):
            x, y = _tensor(a, left, name), _tensor(b, right, name)
            if x.shape != y.shape:
                found.one_sided.append(
                    f"{name} has shape {list(x.shape)} in A, {list(y.shape)} in B"
                )
                continue
            gaps = gaps_of(np.atleast_1d(x), np.atleast_1d(y))
            if not (gaps > 0).any():
                continue
            place = np.unravel_index(int(gaps.argmax()), gaps.shape)
            kind = kind_of(name) if "f" in (x.dtype.kind, y.dtype.kind) else EXACT
            values = f"{np.atleast_1d(x)[place]} | {np.atleast_1d(y)[place]}"
            where = f"index {[int(each) for each in place]}"
            amount, count = float(gaps[place]), int((gaps > 0).sum())
            found.differences.append(
                Difference(name, amount, allowed(kind), kind, where, count, values)
            )
    return found


def _tensor(path: Path, opened: Any, name: str) -> np.ndarray:
    return _read(path, lambda _: opened.get_tensor(name))


def _compare_json(a: Any, b: Any, allowed: Allowed) -> Comparison:
    found = Comparison()
    left, right = dict(_leaves(a)), dict(_leaves(b))
    found.one_sided += _named_on_one_side("value", list(left), list(right))
    largest: dict[str, Difference] = {}
    for path in [path for path in left if path in right]:
        gap, fraction = _cell(left[path], right[path])
        if gap > 0:
            # Lists of thousands of numbers have one name, and get one line.
            name = next((step for step in reversed(path.split(".")) if not step.isdigit()), path)
            kind = kind_of(name) if fraction else EXACT
            values = f"{_short(left[path])} | {_short(right[path])}"
            before = largest.get(name)
            count = before.count + 1 if before else 1
            this = Difference(name, gap, allowed(kind), kind, path, count, values)
            if before and (this.within, -gap) >= (before.within, -before.amount):
                this = replace(before, count=count)
            largest[name] = this
    found.differences += largest.values()
    return found


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Single values and empty containers of a JSON value, each with its path."""
    steps: Iterator[tuple[Any, Any]] | None = None
    if isinstance(value, dict) and value:
        steps = iter(value.items())
    elif isinstance(value, list) and value:
        steps = iter(enumerate(value))
    if steps is None:
        yield path or "the value", value
        return
    for step, below in steps:
        yield from _leaves(below, f"{path}.{step}" if path else str(step))


def _named_on_one_side(what: str, a: Sequence[str], b: Sequence[str]) -> list[str]:
    """What stands on one side only, in words."""
    said = []
    for one, names in (
        ("A", [name for name in a if name not in set(b)]),
        ("B", [name for name in b if name not in set(a)]),
    ):
        if names:
            shown = ", ".join(names[:10]) + (
                f" and {len(names) - 10} more" if len(names) > 10 else ""
            )
            said.append(f"{what}{'s' if len(names) > 1 else ''} only in {one}: {shown}")
    return said


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:39]}…"
