"""What each search for one head came to: one row per method and seed, so that methods compare.

Of every search two pairs under the cap `perplexity_caps.FLUENT` are measured anew, by fresh runs of
batch 1: the *best*, which has the largest LD change, and the *chosen*, which the method itself
prefers (for most methods the same). No search sees what is measured here: the exact AP of all
heads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from counterpoint.counterfactuals.evaluation.all_heads import Pair, by_head_number
from counterpoint.counterfactuals.evaluation.edit_transfer import Transfer
from counterpoint.counterfactuals.evaluation.heads_ahead import estimated_sizes
from counterpoint.counterfactuals.evaluation.single_pair import (
    engine_of,
    joint_score_and_rank,
    pair_of,
)
from counterpoint.counterfactuals.head_ranks import head_name, rank_and_margin
from counterpoint.counterfactuals.language import perplexity_caps
from counterpoint.counterfactuals.language.perplexity import mean_loss
from counterpoint.counterfactuals.pair_quality import edit_transfers, quality, success_level
from counterpoint.counterfactuals.problem import Target
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.linear import through_onednn
from counterpoint.measures.patching import activation_patching
from counterpoint.models.load import LanguageModel

OF_A_PAIR = {
    "clean": "str",
    "corrupted": "str",
    "correct": "str",
    "incorrect": "str",
    "ld_change": "float64",
    "evenness": "float64",
    "changed_tokens": "float64",
    "loss_clean": "float64",
    "loss_corrupted": "float64",
    "ap": "float64",
    "rank": "float64",
    "reciprocal_rank": "float64",
    "margin": "float64",
    "second": "str",
    "ig_rank": "float64",
    "transfer_contexts": "float64",
    "transfer_first": "float64",
    "transfer_first_five": "float64",
    "round_trip": "float64",
}
"""Columns of a measured pair, each with ``best_`` or ``chosen_`` before it; numbers are NaN and
texts missing where a search has no such pair. ``ld_change`` is the search's
own, −AP in noising; ``loss_*`` and ``ap``, whose sign is not turned, come from the fresh runs,
``rank`` is the target's place among all heads by |AP| in noising, ``margin`` its |AP| over the
largest of another head, ``second`` that head. Where asked for, ``ig_rank`` is its place by
|IG joint| and ``transfer_*`` are as in `edit_transfer.COLUMNS`: of how many fresh contexts, and in
how many the target is first and in the first five. ``round_trip`` is 1 where both texts tokenise
back, else 0."""

IN_DEPTH = ("ig_rank", "transfer_contexts", "transfer_first", "transfer_first_five")
"""Those of them that are dear: only known of the chosen pair that is worth most."""

COLUMNS = {
    "layer": "int64",
    "head": "int64",
    "method": "str",
    "seed": "int64",
    "evaluations": "int64",
    "seconds": "float64",
    "hypervolume": "float64",
    "pairs": "int64",
    "study_loss": "float64",
    **{f"ld_change_cap_{name}": "float64" for name in perplexity_caps.CAPS},
    **{f"{which}_{name}": kind for which in ("best", "chosen") for name, kind in OF_A_PAIR.items()},
    "reason": "str",
}
"""Columns of `methods.parquet` with their types."""


@dataclass(frozen=True)
class Search:
    """One search's tables (`problem.SearchResult`)."""

    method: str
    seed: int
    archive: pd.DataFrame
    trace: pd.DataFrame


def measure_searches(
    model: LanguageModel,
    target: Target,
    searches: Iterable[Search],
    study_loss: float,
    *,
    in_depth: Collection[str] = (),
    transfers: int = 20,
    memory_mb: int = 1000,
) -> pd.DataFrame:
    """One row per search for ``target``, with the columns `COLUMNS`.

    ``study_loss`` is the mean loss of the study's prompts (`perplexity.mean_over`), above which the
    caps lie.
    ``ld_change_cap_*`` is 0 where a search has no pair under the cap: it made the head matter
    nothing. ``reason`` says why there is no best pair. Of each method ``in_depth`` the chosen pairs
    on the highest level (`pair_quality.success_level`), in the order of their `quality`, are ranked
    by IG joint as well and their edits tried in ``transfers`` fresh contexts, until one works in
    half of them (`pair_quality.edit_transfers`).
    """
    known: dict[Pair, dict[str, object]] = {}
    in_depth_of: dict[Pair, dict[str, object]] = {}

    def measured(row: pd.Series) -> dict[str, object]:
        # Several seeds often end at one pair.
        pair = pair_of(row)
        if pair not in known:
            known[pair] = measure_pair(model, target, row, memory_mb=memory_mb)
        return known[pair]

    searched = list(searches)
    with through_onednn(model.hf.modules(), packed=True):
        rows = [_row(target, one, study_loss, measured) for one in searched]
        transfer = Transfer(model, transfers, memory_mb=memory_mb)
        for method in in_depth:
            own = [number for number, row in enumerate(rows) if row["method"] == method]
            worth_of = {number: _worth(rows[number]) for number in own}
            highest = max((level for level, _ in worth_of.values()), default=0.0)
            holds = False
            for number in sorted(own, key=lambda number: -worth_of[number][1]):
                chosen = _under_cap(searched[number], study_loss)[1]
                if chosen is None or worth_of[number][0] < highest:
                    continue
                pair = pair_of(chosen)
                if pair not in in_depth_of:
                    if holds:
                        continue
                    in_depth_of[pair] = measure_in_depth(
                        model, target, pair, transfer, memory_mb=memory_mb
                    )
                found = in_depth_of[pair]
                rows[number] |= {f"chosen_{name}": one for name, one in found.items()}
                holds |= bool(
                    edit_transfers(found["transfer_first_five"], found["transfer_contexts"])
                )
    return typed(rows)


def _worth(row: dict[str, Any]) -> tuple[float, float]:
    """The level of a search's chosen pair and its quality, by the fresh runs."""
    change, margin = (
        np.array(row.get(f"chosen_{name}", np.nan), dtype=float) for name in ("ld_change", "margin")
    )
    return float(success_level(change, margin)), float(quality(change, margin))


def _under_cap(search: Search, study_loss: float) -> tuple[pd.Series | None, pd.Series | None]:
    """The best and the chosen pair under the cap `perplexity_caps.FLUENT`."""
    fluent = perplexity_caps.under_cap(
        search.archive, study_loss + perplexity_caps.CAPS[perplexity_caps.FLUENT]
    )
    return perplexity_caps.largest_change(fluent), perplexity_caps.preferred_pair(fluent)


def typed(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table with the types of `COLUMNS`, whatever is missing."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _row(
    target: Target,
    search: Search,
    study_loss: float,
    measured: Callable[[pd.Series], dict[str, object]],
) -> dict[str, Any]:
    archive, trace = search.archive, search.trace
    under = {
        name: perplexity_caps.under_cap(archive, study_loss + cap)
        for name, cap in perplexity_caps.CAPS.items()
    }
    best, chosen = _under_cap(search, study_loss)
    reason = None
    if best is None:
        reason = archive.attrs.get("reason") or f"none of {len(archive)} pairs is under the cap"
    return {
        "layer": target.layer,
        "head": target.head,
        "method": search.method,
        "seed": search.seed,
        # A search that measured nothing has an empty trace.
        "evaluations": trace["evaluations"].max() if len(trace) else 0,
        "seconds": trace["seconds"].max() if len(trace) else 0.0,
        "hypervolume": trace["hypervolume"].iloc[-1] if len(trace) else 0.0,
        "pairs": len(archive),
        "study_loss": study_loss,
        **{
            f"ld_change_cap_{name}": max(0.0, part["ld_change"].max()) if len(part) else 0.0
            for name, part in under.items()
        },
        **{
            f"{which}_{name}": value
            for which, pair in (("best", best), ("chosen", chosen))
            if pair is not None
            for name, value in measured(pair).items()
        },
        "reason": reason,
    }


def measure_pair(
    model: LanguageModel, target: Target, row: pd.Series, *, memory_mb: int
) -> dict[str, object]:
    """The columns `OF_A_PAIR` of an archive's row but for `IN_DEPTH`, from fresh runs."""
    pair = pair_of(row)
    engine = engine_of(model, pair, memory_mb=memory_mb)
    clean, corrupted = list(pair.clean), list(pair.corrupted)
    effects = by_head_number(model, every_unit(model, 1), activation_patching(engine, "noising"))
    place = target.layer * model.n_heads + target.head
    rank, margin, second = rank_and_margin(effects, place)
    return {
        **{name: row[name] for name in ("clean", "corrupted", "correct", "incorrect")},
        **{name: row[name] for name in ("ld_change", "evenness", "changed_tokens")},
        "loss_clean": mean_loss(model, clean),
        "loss_corrupted": mean_loss(model, corrupted),
        "ap": effects[place],
        "rank": rank,
        "reciprocal_rank": 1 / rank,
        "margin": margin,
        "second": head_name(second, model.n_heads),
        "round_trip": float(
            all(model.encode(model.decode(ids)) == ids for ids in (clean, corrupted))
        ),
    }


def measure_in_depth(
    model: LanguageModel, target: Target, pair: Pair, transfer: Transfer, *, memory_mb: int
) -> dict[str, object]:
    """The columns `IN_DEPTH` of a pair, from fresh runs."""
    engine = engine_of(model, pair, memory_mb=memory_mb)
    place = target.layer * model.n_heads + target.head
    estimates = estimated_sizes(engine, torch.tensor([[pair.answers]], device=model.device))[0, 0]
    return {
        "ig_rank": joint_score_and_rank(engine, place, estimates)[1],
        **transfer.first_places_of(place, pair),
    }
