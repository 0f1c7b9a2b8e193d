"""The pairs composed for heads, as the explorer's cards show them: of the study's own searches, and
of its atlas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from counterpoint.counterfactuals.atlas.atlas_classes import has_pair
from counterpoint.figures.chosen_heads import Head
from counterpoint.report.explorer.prompt_pieces import prompt_pieces
from counterpoint.report.prompt_tokens import Tokens
from counterpoint.report.study_results import Generated

SHOWN_PAIRS = 3
"""Composed pairs of each head: validated ones first, then by LD change."""


def composed_pairs(
    generated: tuple[Generated, ...],
    atlas: pd.DataFrame | None,
    tokens: Tokens,
    places: Mapping[Head, int],
) -> list[dict[str, Any]]:
    """Return the first composed pairs of every head that has any.

    Keys: ``place`` of the head, ``from`` (the method's name, or "atlas"), the prompts in pieces,
    ``correct``, ``incorrect``, ``ld_change``, and, where they are known, ``rank`` and ``margin``.
    """
    found = []
    for one in generated:
        if (one.layer, one.head) not in places:
            continue
        for row in _first_of(one):
            found.append(_record(row, str(row["method"]), places[one.layer, one.head], tokens))
    if atlas is not None and len(atlas):
        for row in atlas[has_pair(atlas)].to_dict("records"):
            place = places.get((int(row["layer"]), int(row["head"])))
            if place is not None:
                found.append(_record(row, "atlas", place, tokens))
    return found


def _first_of(one: Generated) -> list[dict[Any, Any]]:
    """The rows of the first pairs of all methods."""
    filled = [table for table in one.methods.values() if len(table)]
    if not filled:
        return []
    pairs = pd.concat(filled, ignore_index=True)
    if one.validation is not None and len(one.validation):
        known = [name for name in ("rank", "margin") if name in one.validation]
        keys = ["method", "clean", "corrupted"]
        fresh = one.validation[[*keys, *known]].drop_duplicates(keys)
        pairs = pairs.drop(columns=pairs.columns.intersection(known)).merge(
            fresh, on=keys, how="left"
        )
    if "rank" in pairs:
        pairs = pairs.assign(checked=pairs["rank"].notna())
        pairs = pairs.sort_values(
            ["checked", "rank", "ld_change"], ascending=[False, True, False], kind="stable"
        )
    else:
        pairs = pairs.sort_values("ld_change", ascending=False, kind="stable")
    return pairs.head(SHOWN_PAIRS).to_dict("records")


def _record(row: Mapping[Any, Any], source: str, place: int, tokens: Tokens) -> dict[str, Any]:
    record: dict[str, Any] = {
        "place": place,
        "from": source,
        **prompt_pieces(row, tokens),
        "correct": str(row["correct"]),
        "incorrect": str(row["incorrect"]),
        "ld_change": float(row["ld_change"]),
    }
    for name, kind in (("rank", int), ("margin", float)):
        if name in row and pd.notna(row[name]):
            record[name] = kind(row[name])
    return record
