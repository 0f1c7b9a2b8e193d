"""Which head comes first on the pairs of an atlas, by exact AP of every head of the model.

A search for the atlas checks a pair on the heads that the estimate ranks first. Here all heads are
patched, in runs of their own, and the target's curve is taken. Since that says for every head what
it does, a pair may also turn out to be another head's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from counterpoint.counterfactuals.atlas.atlas_table import COLUMNS, typed
from counterpoint.counterfactuals.evaluation.all_heads import exact_effects
from counterpoint.counterfactuals.evaluation.single_pair import pair_of
from counterpoint.counterfactuals.head_ranks import head_name, rank_and_margin
from counterpoint.counterfactuals.language.perplexity import mean_loss
from counterpoint.counterfactuals.objectives import ALPHAS, evenness, outputs_from
from counterpoint.counterfactuals.pair_columns import pair_row
from counterpoint.counterfactuals.pair_quality import FIRST, LEAST_CHANGE, quality
from counterpoint.engine.linear import through_onednn
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

TRIES = 4
"""Candidates of a head that are patched before the search for one on which it is first ends. Of a
head that has only such on which the search found a stronger one, the best alone is."""


def verify(
    model: LanguageModel, candidates: pd.DataFrame, *, part: int = 0, parts: int = 1
) -> pd.DataFrame:
    """Patch all heads on the best candidates of every ``parts``-th head, beginning with ``part``.

    One row per pair that was patched and head that it is worth something to: the head it was meant
    for, and the head that comes first on it. Columns: `COLUMNS`.
    """
    numbers = candidates["layer"] * model.n_heads + candidates["head"]
    worth = quality(candidates["ld_change"].to_numpy(), candidates["margin"].to_numpy())
    ordered = candidates.assign(_head=numbers, _worth=worth).sort_values(
        ["_head", "_worth", "clean_tokens"],
        ascending=[True, False, True],
        key=lambda column: column.map(tuple) if column.name == "clean_tokens" else column,
        kind="stable",
    )
    mine = ordered[ordered["_head"] % parts == part]
    progress = Progress("heads of the atlas verified", mine["_head"].nunique())
    rows: list[dict[str, Any]] = []
    with through_onednn(model.hf.modules(), packed=True):
        for number in sorted(mine["_head"].unique()):
            of_head = mine[mine["_head"] == number]
            for tried, (_, row) in enumerate(of_head.head(TRIES).iterrows()):
                # On this one, and on those after it, a rival is known that does more.
                if tried and row["_worth"] < FIRST:
                    break
                found = _patched(model, int(number), row)
                rows += found
                own = found[0]
                if own["rank"] == 1 and own["ld_change"] >= LEAST_CHANGE and own["fluent"]:
                    break
            progress(1)
    return typed(pd.DataFrame(rows, columns=list(COLUMNS)))


def _patched(model: LanguageModel, number: int, row: pd.Series) -> list[dict[str, Any]]:
    """What all heads do on one candidate: a row for its own head, and one for the first head."""
    pair = pair_of(row)
    effects = exact_effects(model, [pair])[0][:, 0]
    first = int(np.abs(effects).argmax())
    heads = [number]
    if first != number and effects[first] >= LEAST_CHANGE:
        heads.append(first)
    between = exact_effects(model, [pair], [np.array(heads)], alphas=ALPHAS[1:])[0]
    # Losses again, from a whole run of each prompt.
    losses = mean_loss(model, list(pair.clean)), mean_loss(model, list(pair.corrupted))
    found = []
    for head, changes in zip(heads, between, strict=True):
        rank, margin, second = rank_and_margin(effects, head)
        found.append(
            {
                "layer": head // model.n_heads,
                "head": head % model.n_heads,
                **pair_row(
                    model,
                    pair.clean,
                    pair.corrupted,
                    pair.answers,
                    losses,
                    ld_change=float(effects[head]),
                    evenness=float(evenness(outputs_from(changes.tolist()))),
                ),
                "loss_cap": float(row["loss_cap"]),
                "fluent": max(losses) <= float(row["loss_cap"]),
                "rank": rank,
                "margin": margin,
                "second": head_name(second, model.n_heads),
                "seed": int(row["seed"]),
                "evaluations": int(row["evaluations"]),
            }
        )
    return found
