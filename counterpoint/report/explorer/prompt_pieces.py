"""Prompts as the pieces that the explorer shows, and the effects at their positions.

Where a model's tokens can be shown one by one, a piece is a token, and its position is its place in
the list with the first special ones counted. Where they cannot (no tokenizer, a character split
over tokens), pieces are words and have no position; the prompt itself is shown all the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from counterpoint.figures.chosen_heads import Head
from counterpoint.report.prompt_tokens import Tokens, is_unequal

SIDES = ("clean", "corrupted")


def prompt_pieces(row: Mapping[str, Any], tokens: Tokens) -> dict[str, Any]:
    """Return both prompts of a pair in pieces.

    Keys: ``clean`` and ``corrupted``, lists of texts that together are the prompt; ``first``, the
    position of the first piece of both, or None where pieces have no positions; of prompts of
    unequal length ``aligned``, for each position of the clean one that of its partner, −1 for none.
    """
    found: dict[str, Any] = {}
    firsts = set()
    for side in SIDES:
        ids = tokens.own(row, f"{side}_tokens")
        pieces, first = _positioned(str(row[side]), ids, tokens)
        found[side] = pieces
        firsts.add(first)
    found["first"] = firsts.pop() if len(firsts) == 1 else None
    if is_unequal(row):
        found["aligned"] = [int(place) for place in row["aligned_with"]]
    return found


def _positioned(text: str, ids: Any, tokens: Tokens) -> tuple[list[str], int | None]:
    """The pieces of a prompt, and the position of the first of them."""
    if ids is not None:
        each = tokens.of_each(ids)
        for first in range(min(3, len(each))):
            if "".join(each[first:]) == text:
                return each[first:], first
    return tokens.pieces(text, ids), None


def position_effects(
    positions: pd.DataFrame | None,
    shown: Sequence[int],
    directions: Sequence[str],
    heads: Sequence[Head],
) -> tuple[list[dict[str, Any]], dict[str, Float[np.ndarray, "head place"]]]:
    """Return what the heads do at single positions of the shown pairs.

    One record per pair and direction (``pair``, ``direction`` as its number, ``places``: position,
    token and span of each, ``array``: the name of its effects), and the effects by that name.
    """
    if positions is None or positions.empty:
        return [], {}
    rows = positions[(positions["component"] == "head") & positions["pair"].isin(shown)]
    order = {head: place for place, head in enumerate(heads)}
    records, arrays = [], {}
    for pair, direction in itertools.product(map(int, sorted(set(rows["pair"]))), directions):
        part = rows[(rows["pair"] == pair) & (rows["direction"] == direction)]
        if part.empty:
            continue
        places = part[["position", "token", "span"]].drop_duplicates("position")
        places = places.sort_values("position")
        number = {position: place for place, position in enumerate(places["position"])}
        effects = np.full((len(heads), len(places)), np.nan, dtype=np.float32)
        effects[
            [order[head] for head in zip(part["layer"], part["head"], strict=True)],
            part["position"].map(number).to_numpy(),
        ] = part["ap"].to_numpy()
        name = f"positions.{pair}.{direction}"
        arrays[name] = effects
        records.append(
            {
                "pair": pair,
                "direction": directions.index(direction),
                "places": [
                    [int(row["position"]), str(row["token"]), str(row["span"])]
                    for row in places.to_dict("records")
                ],
                "array": name,
            }
        )
    return records, arrays
