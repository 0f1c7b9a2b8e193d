"""The table of heads as arrays [pair, head], and the names of what is compared.

`heads.parquet` has one row per pair, direction, layer and head. Statistics over heads and pairs
need the same numbers as one array per column, with the heads in the same order for every pair;
that is a `Panel`.

A *measure* describes the output curve, a *score* says how much a head matters. Both are columns
of the table or follow from them:

    disagreement      ig_joint - ap
    abs_NAME          |NAME|
    non_monotonicity  1 - monotonicity
    company           how far the other heads of the layer move: the sum of their ranges on [0, 1]
    bend_in_company   gradient range x company: IG joint - AP is to second order half the sum of
                      d2f/(dh dj) over the partners j, which takes a bent curve and partners that
                      move

    own_path_error    |IG own + its jumps - AP|, 0 by completeness
    own_path_allowed  how far rounding, or what a curve left unresolved, may keep it from 0

The column `template`, where the table has it, names the pattern by which a pair was made
(`statistics.templates`).

A row is *at the floor* when its curve moves by less than `floor` over [0, 1], or than rounding
alone may move it (the column `rounding`: in bfloat16 far more than the usual floor): rounding is
then as large as the effect, and relations among such rows are relations among noise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from counterpoint.errors import InvalidValue, MissingColumn, UserError

MEASURES = (
    "output_range",
    "output_range_closed",
    "gradient_range",
    "total_variation",
    "monotonicity",
    "saturation",
    "excess_range",
)
"""Shapes and sizes of the output curve; every one is zero or positive."""

SCORES = (
    "abs_ap",
    "ap",
    "abs_ig_joint",
    "ig_joint",
    "abs_disagreement",
    "disagreement",
)
"""What the measures are compared with. AP normalised is left out: within a pair it is AP times a
constant, so that it has AP's correlations."""

KEYS = ("pair", "direction", "layer", "head")
ABSOLUTE = "abs_"
MOVEMENT = "output_range_closed"
TEMPLATE = "template"
ROUNDING = "rounding"
WITHOUT: dict[str, float] = {
    ROUNDING: 0.0,
    "jumps": 0.0,
    "jump_total": 0.0,
    "quadrature_error": 0.0,
    "resolved": 1.0,
}
"""What a table that lacks these columns is taken to say: that of a dense model in float32."""


@dataclass(frozen=True)
class Panel:
    """The rows of one direction as arrays; NaN where a row or a value is missing."""

    direction: str
    pairs: Int[np.ndarray, " pair"]
    layers: Int[np.ndarray, " head"]
    heads: Int[np.ndarray, " head"]
    columns: dict[str, Float[np.ndarray, "pair head"]]
    at_floor: Bool[np.ndarray, "pair head"]
    templates: pd.Series | None = None
    """The template of each pair by its number (`statistics.templates`); None without any."""

    def array(self, names: Iterable[str]) -> Float[np.ndarray, "pair name head"]:
        """The named columns beside each other."""
        return np.stack([self.columns[name] for name in names], axis=1)

    def of_pairs(self, pairs: Int[np.ndarray, " some"]) -> Panel:
        """The panel of some of its pairs; itself, where these are all."""
        places = np.flatnonzero(np.isin(self.pairs, pairs))
        if len(places) == len(self.pairs):
            return self
        columns = {name: column[places] for name, column in self.columns.items()}
        return replace(
            self, pairs=self.pairs[places], columns=columns, at_floor=self.at_floor[places]
        )


def value(heads: pd.DataFrame, name: str) -> pd.Series:
    """The column `name` of the table, or what the module's docstring derives from others.

    Raises MissingColumn (a KeyError), naming what is there, when the table lacks a needed column,
    and UserError for one that holds no numbers.
    """
    if name in heads.columns:
        column = heads[name]
        if not pd.api.types.is_numeric_dtype(column):
            raise UserError(
                f"the column {name} of the table of heads is of the kind {column.dtype}; expected"
                " numbers. Convert it (pandas.to_numeric), or measure anew."
            )
        return column
    if name == "disagreement":
        return value(heads, "ig_joint") - value(heads, "ap")
    if name == "non_monotonicity":
        return 1.0 - value(heads, "monotonicity")
    if name == "company":
        movement = value(heads, MOVEMENT)
        layers = movement.groupby([heads["pair"], heads["direction"], heads["layer"]])
        return layers.transform("sum") - movement
    if name == "bend_in_company":
        return value(heads, "gradient_range") * value(heads, "company")
    if name in WITHOUT:
        # Tables of other sources need not have them.
        return pd.Series(WITHOUT[name], index=heads.index)
    if name == "own_path_error":
        integral = value(heads, "ig_own") + value(heads, "jump_total").fillna(0.0)
        return (integral - value(heads, "ap")).abs()
    if name == "own_path_allowed":
        error = value(heads, "quadrature_error")
        unresolved = 2 * error.where(~value(heads, "resolved").astype(bool), 0.0)
        # Both end points of AP round, and so does the integral.
        return 2 * value(heads, ROUNDING) + unresolved
    if name.startswith(ABSOLUTE):
        return value(heads, name.removeprefix(ABSOLUTE)).abs()
    raise MissingColumn(
        f"no column {name!r} in the table of heads, which has {list(heads.columns)}; expected a"
        " table as counterpoint.measure gives it"
    )


def at_floor(heads: pd.DataFrame, floor: float) -> pd.Series:
    """True for each row whose curve moves by less than `floor` or than rounding may move it.

    Both are in units of the metric. A `floor` of 0 marks none.
    """
    return value(heads, MOVEMENT) < floors(value(heads, ROUNDING).to_numpy(float), floor)


def floors(rounding: Float[np.ndarray, " *row"], floor: float) -> Float[np.ndarray, " *row"]:
    """The floor of each row: `floor`, or its own rounding where that is larger."""
    return np.maximum(np.nan_to_num(rounding), floor) if floor > 0 else np.zeros_like(rounding)


def floor_of(heads: pd.DataFrame, floor: float) -> float:
    """The floor that a typical row of the table has, for words about the whole table."""
    return float(np.median(floors(value(heads, ROUNDING).to_numpy(float), floor)))


def check_kind(heads: pd.DataFrame, keys: Iterable[str] = KEYS) -> None:
    """Raise UserError unless ``heads`` is a DataFrame with rows and the columns ``keys``."""
    if not isinstance(heads, pd.DataFrame):
        raise UserError(
            f"the table of heads is a {type(heads).__name__}; expected a DataFrame, as"
            " counterpoint.measure gives it."
        )
    missing = [name for name in keys if name not in heads.columns]
    if missing:
        where = " Call reset_index() first." if set(missing) <= set(heads.index.names) else ""
        raise MissingColumn(
            f"the table of heads lacks the column {missing[0]}; it has"
            f" {list(heads.columns)}.{where}"
        )
    if heads.empty:
        raise UserError("the table of heads has no rows; expected at least one.")


def directions(heads: pd.DataFrame) -> list[str]:
    """The directions of the table in the order in which they first appear.

    Raises UserError for what is no table of heads: without this column, without rows.
    """
    check_kind(heads, ("direction",))
    return list(heads["direction"].drop_duplicates())


def template_names(heads: pd.DataFrame) -> pd.Series | None:
    """The template of each pair, by the pair's number; None without the column.

    Raises UserError for a pair with more than one.
    """
    if TEMPLATE not in heads.columns:
        return None
    each = heads[["pair", TEMPLATE]].drop_duplicates()
    twice = each["pair"][each["pair"].duplicated()]
    if len(twice):
        raise UserError(
            f"the table of heads names more than one template for pair {twice.iloc[0]}; expected "
            "one in all its rows."
        )
    names = each.set_index("pair")[TEMPLATE].astype(object)
    return names.where(names.notna(), "").astype(str)


def _are(rows: pd.DataFrame, keys: tuple[np.ndarray, ...]) -> bool:
    """Whether the rows are those of the keys (pair, layer, head), in their order."""
    return len(rows) == len(keys[0]) and all(
        np.array_equal(rows[name], key)
        for name, key in zip(("pair", "layer", "head"), keys, strict=True)
    )


def panel(heads: pd.DataFrame, direction: str, names: Iterable[str], floor: float = 0.0) -> Panel:
    """The columns `names` of one direction as arrays [pair, head], heads ordered by layer and head.

    Raises InvalidValue (a ValueError) for a row that appears twice or a direction that the table
    lacks, MissingColumn (a KeyError) for a name that is neither a column nor derived from columns.
    """
    check_kind(heads)
    rows = heads[heads["direction"] == direction]
    if rows.empty:
        raise InvalidValue(f"no rows of direction {direction!r}; there are {directions(heads)}")
    pairs = np.sort(rows["pair"].unique())
    places = rows[["layer", "head"]].drop_duplicates().sort_values(["layer", "head"])
    columns = {name: value(rows, name).astype(float) for name in names}
    columns["_floor"] = at_floor(rows, floor).astype(float)
    shape = len(pairs), len(places)
    keys = (
        np.repeat(pairs, len(places)),
        *(np.tile(places[name], len(pairs)) for name in ("layer", "head")),
    )
    if _are(rows, keys):
        # The rows are all there and in their order, as in `heads.parquet`.
        arrays = {name: column.to_numpy().reshape(shape) for name, column in columns.items()}
    else:
        twice = rows.duplicated(list(KEYS))
        if twice.any():
            row = rows.loc[twice, list(KEYS)].iloc[0].to_dict()
            raise InvalidValue(f"row appears twice: {row}")
        table = pd.DataFrame(columns).set_axis(
            pd.MultiIndex.from_frame(rows[["pair", "layer", "head"]]), axis="index"
        )
        table = table.reindex(pd.MultiIndex.from_arrays(keys))
        arrays = {name: table[name].to_numpy().reshape(shape) for name in columns}
    marked = arrays.pop("_floor") == 1.0
    return Panel(
        direction=direction,
        pairs=pairs,
        layers=places["layer"].to_numpy(),
        heads=places["head"].to_numpy(),
        columns=arrays,
        at_floor=marked,
        templates=template_names(rows),
    )
