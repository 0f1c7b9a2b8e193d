"""The atlas as a table: for every head of the model its best verified pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from counterpoint.counterfactuals.pair_columns import PAIR_COLUMNS
from counterpoint.counterfactuals.pair_quality import FIRST, quality

COLUMNS = (
    "layer",
    "head",
    *PAIR_COLUMNS,
    "loss_cap",
    "fluent",
    "rank",
    "margin",
    "second",
    "seed",
    "evaluations",
)
"""Columns of an atlas: ``rank`` by exact |AP| among all heads of the model, ``margin`` |AP| over
the largest of another head, ``second`` that head; ``fluent``: both prompts' mean loss per token is
at most ``loss_cap`` nats; ``evaluations`` what the search with this ``seed`` had spent."""


def merge(verified: Iterable[pd.DataFrame], every_head: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """The atlas, one row for each (layer, head) of ``every_head``, from the parts of `verify`.

    First come fluent pairs on which the head is first, then by `quality` of LD change and margin.
    A head for which nothing was found has a row without a pair.
    """
    heads = pd.DataFrame(list(every_head), columns=["layer", "head"])
    parts = [part for part in verified if len(part)]
    if not parts:
        return typed(heads.reindex(columns=list(COLUMNS)))
    table = pd.concat(parts, ignore_index=True)
    worth = quality(table["ld_change"].to_numpy(float), table["margin"].to_numpy(float))
    # Fluent first places before all others.
    worth = worth + 10 * (table["fluent"].to_numpy(bool) & (worth >= FIRST))
    best = (
        table.assign(_worth=worth)
        .sort_values(
            ["layer", "head", "_worth", "clean"], ascending=[True, True, False, True], kind="stable"
        )
        .drop_duplicates(["layer", "head"])
    )
    return typed(heads.merge(best, on=["layer", "head"], how="left")[list(COLUMNS)])


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Whole numbers that may be missing, and texts."""
    whole = (
        "layer",
        "head",
        "correct_token",
        "incorrect_token",
        "changed_tokens",
        "rank",
        "seed",
        "evaluations",
    )
    texts = ("clean", "corrupted", "correct", "incorrect", "second")
    return table.astype(
        {**dict.fromkeys(whole, "Int64"), **dict.fromkeys(texts, "str"), "fluent": "boolean"}
    )
