"""Checks of what a caller asks for: a model, settings and heads that there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.engine.answer_readings import NOT_WHOLE, WHOLE_METRICS
from counterpoint.engine.metrics import METRICS
from counterpoint.errors import UserError, did_you_mean
from counterpoint.measures.tables.baseline_score_table import BASELINES
from counterpoint.measures.tables.merging import KEYS
from counterpoint.models.load import LanguageModel
from counterpoint.pairs.answer_tokens import ANSWER_TOKENS
from counterpoint.working_memory import default_memory_mb

Head = tuple[int, int]
"""Layer and head, both counted from 0."""

NODES = ("adaptive", "gauss-legendre-50")
MOST_NODES = (3, 5, 9, 17, 33, 65)


def check_model(model: object) -> None:
    """Raise UserError, with the remedy, for what is no `LanguageModel`."""
    if not isinstance(model, LanguageModel):
        raise UserError(
            f"model is a {type(model).__name__}; expected what counterpoint.load gives:"
            " model = counterpoint.load(model, tokenizer=tokenizer)."
        )


def check_settings(
    model: LanguageModel,
    directions: Sequence[Direction],
    metric: str,
    nodes: str,
    tolerance: float,
    max_nodes: int,
    max_steps: int,
) -> tuple[Direction, ...]:
    """The directions, in their order; raises UserError for what is no model or no setting."""
    check_model(model)
    listed = _listed(directions)
    wrong = [each for each in listed if each not in DIRECTIONS]
    if wrong or not listed or len(set(listed)) < len(listed):
        raise UserError(
            f"directions={directions!r} is not allowed; expected a list of one or both of"
            f" {', '.join(DIRECTIONS)}, as in directions=['noising']."
        )
    for name, value, allowed in (
        ("metric", metric, tuple(METRICS)),
        ("nodes", nodes, NODES),
        ("max_nodes", max_nodes, MOST_NODES),
    ):
        if isinstance(value, float) or value not in allowed:
            near = did_you_mean(str(value), list(map(str, allowed)))
            raise UserError(
                f"{name}={value!r} is not allowed;{near} expected one of"
                f" {', '.join(map(str, allowed))}."
            )
    if not (isinstance(tolerance, Real) and not isinstance(tolerance, bool) and tolerance > 0):
        raise UserError(f"tolerance={tolerance!r} is not allowed; expected a number above 0.")
    checked_number("max_steps", max_steps, 1)
    return tuple(listed)


def check_answer_tokens(answer_tokens: Any, metric: str, *, takes_whole: bool = True) -> None:
    """Raise UserError for what is no way of taking answers, or none of what is to be measured.

    Without ``takes_whole`` that is not defined for whole answers of several tokens.
    """
    if answer_tokens not in ANSWER_TOKENS:
        near = did_you_mean(str(answer_tokens), list(ANSWER_TOKENS))
        raise UserError(
            f"answer_tokens={answer_tokens!r} is not allowed;{near} expected one of"
            f" {', '.join(ANSWER_TOKENS)}."
        )
    if answer_tokens != "whole":
        return
    if not takes_whole:
        raise UserError(f"answer_tokens='whole': {NOT_WHOLE}")
    if metric not in WHOLE_METRICS:
        raise UserError(
            f"metric={metric!r} is of the predictions at one position and not defined for"
            f" answer_tokens='whole'; expected one of {', '.join(WHOLE_METRICS)}, or"
            " answer_tokens='first_difference'."
        )


def checked_baselines(baselines: Any, component: str, answer_tokens: str = "one") -> list[str]:
    """The baselines, in the order of their columns; raises UserError for what is none."""
    try:
        asked = [baselines] if isinstance(baselines, str) else list(baselines)
    except TypeError:
        asked = [baselines]
    for each in asked:
        if each not in list(BASELINES):
            near = did_you_mean(str(each), list(BASELINES))
            raise UserError(
                f"baselines={baselines!r} is not allowed;{near} expected a list of some of"
                f" {', '.join(BASELINES)}, as in baselines=['eap_ig']."
            )
    if asked and component != "head":
        raise UserError(
            f"baselines={baselines!r} are scores of heads; leave them out with"
            f" component={component!r}."
        )
    if "atp_star" in asked and answer_tokens == "whole":
        raise UserError(f"baselines: atp_star, answer_tokens='whole': {NOT_WHOLE}")
    return [name for name in BASELINES if name in asked]


def _listed(directions: Any) -> list[Any]:
    """The directions as a list, empty for what is none; a set has no order, so it gets ours."""
    if isinstance(directions, str | bytes):
        return []
    if isinstance(directions, Set):
        unknown = sorted(map(str, directions - set(DIRECTIONS)))
        return [each for each in DIRECTIONS if each in directions] + unknown
    try:
        return list(directions)
    except TypeError:
        return []


def checked_number(name: str, value: Any, least: int | None) -> int:
    """A whole number, of numpy or of Python; raises UserError for another or a smaller one."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or (least is not None and value < least):
        expected = "a whole number" if least is None else f"a whole number, at least {least}"
        if whole:
            expected = f"at least {least}"
        raise UserError(f"{name}={value!r} is not allowed; expected {expected}.")
    return int(value)


def checked_memory(model: LanguageModel, memory_mb: int | None) -> int:
    """MB for batches, by default a part of what is free; raises UserError for what is none."""
    if memory_mb is None:
        return default_memory_mb(str(model.device))
    return checked_number("memory_mb", memory_mb, 1)


def checked_heads(model: LanguageModel, heads: Collection[Head] | pd.DataFrame) -> list[Head]:
    """The heads as tuples of int, each once; raises UserError for one that the model has not.

    A table names those of its columns ``layer`` and ``head``.
    """
    given: Any = heads
    if isinstance(heads, pd.DataFrame) and {"layer", "head"} <= set(heads.columns):
        given = heads[["layer", "head"]].itertuples(index=False, name=None)
    try:
        found = list(dict.fromkeys(_as_head(each) for each in given))
    except (TypeError, ValueError):
        raise UserError(
            f"heads={_shown(heads)} is not allowed; expected a list of (layer, head), as in"
            " [(23, 3)]."
        ) from None
    if not found:
        raise UserError(
            "heads names no head; expected at least one (layer, head), or None for all."
        )
    for layer, head in found:
        check_head(model, (layer, head))
    return found


def checked_head(model: LanguageModel, head: Head) -> Head:
    """One head as a tuple of int; raises UserError for one that the model has not."""
    try:
        found = _as_head(head)
    except (TypeError, ValueError):
        raise UserError(
            f"head={_shown(head)} is not allowed; expected (layer, head), as in (23, 3)."
        ) from None
    check_head(model, found)
    return found


def _as_head(given: Any) -> Head:
    """Raises TypeError or ValueError for what is not two whole numbers."""
    if isinstance(given, str | bytes):
        raise TypeError
    layer, head = given
    return _whole(layer), _whole(head)


def _whole(number: Any) -> int:
    if isinstance(number, bool | np.bool_ | str | bytes):
        raise TypeError
    if number != number or abs(number) == float("inf") or int(number) != number:
        raise ValueError
    return int(number)


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def check_head(model: LanguageModel, head: Head) -> None:
    """Raise UserError, with what there is, for a head that the model has not."""
    layer, number = head
    if not (0 <= layer < model.n_layers and 0 <= number < model.n_heads):
        raise UserError(
            f"the model has no head {layer}.{number}; its layers go from 0 to {model.n_layers - 1}"
            f" and its heads from 0 to {model.n_heads - 1}."
        )
    if layer not in model.head_layers:
        raise UserError(
            f"layer {layer} of the model has no attention heads; layers with heads are"
            f" {', '.join(map(str, model.head_layers))}."
        )


def checked_table(
    model: LanguageModel,
    table: pd.DataFrame,
    pairs: pd.DataFrame,
    directions: Sequence[Direction],
) -> pd.DataFrame:
    """The rows of a table of heads that have a score; raises UserError for what is none of
    ``pairs``."""
    expected = "expected what counterpoint.measure gives for the same pairs"
    missing = [name for name in (*KEYS, "ap", "ig_joint") if name not in table.columns]
    if missing:
        raise UserError(f"the table of heads lacks {', '.join(missing)}; {expected}.")
    for name in ("pair", "layer", "head", "ap", "ig_joint"):
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise UserError(f"the column {name} of the table of heads has no numbers; {expected}.")
    if table.duplicated(list(KEYS)).any():
        twice = table.loc[table.duplicated(list(KEYS)), list(KEYS)].iloc[0].to_dict()
        raise UserError(f"the table of heads has two rows of {twice}; {expected}.")
    table = table.dropna(subset=["ap", "ig_joint"])
    there = set(zip(table["pair"], table["direction"], strict=True))
    for pair in pairs["pair"]:
        for direction in directions:
            if (pair, direction) not in there:
                raise UserError(
                    f"the table of heads has no row of pair {pair} and the direction {direction};"
                    f" {expected} and directions."
                )
    for layer, head in table[["layer", "head"]].drop_duplicates().to_numpy():
        check_head(model, (int(layer), int(head)))
    return table


def check_same_pairs(table: pd.DataFrame, baseline: pd.DataFrame) -> None:
    """Raise UserError where a table says of a prompt another metric than is found now.

    What `counterpoint.measure` gave knows it in its ``attrs``; of other tables it is not known.
    """
    for name in ("metric_clean", "metric_corrupted"):
        said = table.attrs.get(name)
        if said is None:
            continue
        for pair, found in zip(baseline["pair"], baseline[name], strict=True):
            if pair >= len(said) or not np.isclose(said[pair], found, rtol=1e-2, atol=1e-3):
                raise UserError(
                    f"the table of heads is of other pairs, or of another metric: {name} of pair"
                    f" {pair} is {found:.4g} here. Expected what counterpoint.measure gives for"
                    " the same pairs and metric."
                )
