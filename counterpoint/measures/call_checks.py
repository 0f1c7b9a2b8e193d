"""Checks of what a caller asks for: a model, settings and heads that there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import pandas as pd

from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.engine.metrics import METRICS
from counterpoint.errors import UserError, did_you_mean
from counterpoint.measures.tables.merging import KEYS
from counterpoint.models.load import LanguageModel

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
) -> None:
    """Raise UserError for what is no model or no setting."""
    check_model(model)
    listed = [directions] if isinstance(directions, str) else list(directions)
    wrong = [each for each in listed if each not in DIRECTIONS]
    if isinstance(directions, str) or wrong or not listed or len(set(listed)) < len(listed):
        raise UserError(
            f"directions={directions!r} is not allowed; expected a list of one or both of"
            f" {', '.join(DIRECTIONS)}, as in directions=['noising']."
        )
    for name, value, allowed in (
        ("metric", metric, tuple(METRICS)),
        ("nodes", nodes, NODES),
        ("max_nodes", max_nodes, MOST_NODES),
    ):
        if value not in allowed:
            near = did_you_mean(str(value), list(map(str, allowed)))
            raise UserError(
                f"{name}={value!r} is not allowed;{near} expected one of"
                f" {', '.join(map(str, allowed))}."
            )
    if not (isinstance(tolerance, int | float) and tolerance > 0):
        raise UserError(f"tolerance={tolerance!r} is not allowed; expected a number above 0.")
    if not (isinstance(max_steps, int) and max_steps >= 1):
        raise UserError(f"max_steps={max_steps!r} is not allowed; expected at least 1.")


def checked_heads(model: LanguageModel, heads: Collection[Head]) -> list[Head]:
    """The heads as tuples of int; raises UserError for one that the model has not."""
    try:
        found = [(int(layer), int(head)) for layer, head in heads]
    except (TypeError, ValueError):
        raise UserError(
            f"heads={heads!r} is not allowed; expected a list of (layer, head), as in [(23, 3)]."
        ) from None
    if not found:
        raise UserError(
            "heads names no head; expected at least one (layer, head), or None for all."
        )
    for layer, head in found:
        check_head(model, (layer, head))
    return found


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


def check_table(table: pd.DataFrame, pairs: pd.DataFrame, directions: Sequence[Direction]) -> None:
    missing = [name for name in (*KEYS, "ap", "ig_joint") if name not in table.columns]
    if missing:
        raise UserError(
            f"the table of heads lacks {', '.join(missing)}; expected what counterpoint.measure"
            " gives for the same pairs."
        )
    lacking = set(pairs["pair"]) - set(cast("list[int]", table["pair"].tolist()))
    gone = set(directions) - set(table["direction"])
    if lacking or gone:
        what = f"pair {min(lacking)}" if lacking else f"the direction {min(gone)}"
        raise UserError(
            f"the table of heads has no row of {what}; expected what counterpoint.measure gives for"
            " the same pairs and directions."
        )
