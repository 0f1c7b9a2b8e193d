"""The table of positions of a shard: AP of every component at every position (`positions`).

One row per pair, direction, component, layer, head and position. Positions are those from the first
difference on, counted from 0 in the background's prompt with its first special token; before them
every AP is 0. Where the prompts are of unequal length, positions that are not aligned have no row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.engine.activations import Activations, Component, Direction, background_prompt
from counterpoint.measures.positions import COMPONENTS, position_patching
from counterpoint.measures.tables.shards import Measurement, Shard, engines, read_shard
from counterpoint.models.load import LanguageModel
from counterpoint.pairs.spans import spans_of_positions
from counterpoint.progress import Progress

KEYS = ("pair", "direction", "component", "layer", "head", "position")
"""What tells rows apart, in the order in which they stand."""

COLUMNS = {
    "pair": "int64",
    "direction": "object",
    "component": "object",
    "layer": "int64",
    "head": "int64",
    "position": "int64",
    "token": "object",
    "span": "object",
    "ap": "float64",
    "ap_joint": "float64",
}
"""The columns of the table with their kinds."""


def score_positions(
    model: LanguageModel,
    shard: Shard,
    pairs: pd.DataFrame,
    measurement: Measurement,
    *,
    chosen: Collection[int] | None = None,
    components: Sequence[Component] = COMPONENTS,
    heads: Collection[tuple[int, int]] | None = None,
) -> pd.DataFrame:
    """AP at every position of the ``chosen`` pairs of a shard, by their numbers; of all by default.

    ``pairs`` are the rows of `pairs.parquet`, of which spans are read; ``heads`` are the heads that
    are patched, as (layer, head), all by default. ``head`` is −1 for whole components. ``token`` is
    the text of the background prompt's token alone, so that a part of a character is "�".
    ``ap_joint`` is AP with all positions at once, repeated in the rows of a unit.
    """
    of_pair = {int(row["pair"]): row for row in pairs.to_dict("records")}
    tables: list[pd.DataFrame] = []
    for activations in read_shard(shard, model.device):
        numbers = activations.pairs.number
        places = [k for k, number in enumerate(numbers) if chosen is None or number in chosen]
        if not places:
            continue
        activations = activations.of_pairs(places)
        rows = [of_pair[number] for number in activations.pairs.number]
        for direction, engine in engines(model, activations, measurement).items():
            texts = _texts(model, activations, direction, rows)
            aligned = activations.pairs.partners(background_prompt(direction)).cpu().numpy() >= 0
            for component in components:
                progress = Progress(
                    f"{len(places)} pairs, {direction}, patches of {component} by position"
                )
                units, ap, joint = position_patching(
                    engine, direction, component, heads=heads, advance=progress
                )
                pair = units.pair.cpu().numpy()
                count = ap.shape[1]
                head = np.full(len(units), -1) if units.head is None else units.head.cpu().numpy()
                position = np.arange(aligned.shape[1])[-count:]
                # At a position without a partner nothing is put in place.
                moved = aligned[np.repeat(pair, count), np.tile(position, len(units))]
                of_unit = {
                    "pair": np.array(activations.pairs.number)[pair],
                    "layer": units.layer.cpu().numpy(),
                    "head": head,
                    "ap_joint": joint,
                }
                tables.append(
                    pd.DataFrame(
                        {name: np.repeat(values, count) for name, values in of_unit.items()}
                        | {
                            "direction": direction,
                            "component": component,
                            "position": np.tile(position, len(units)),
                            "ap": ap.reshape(-1),
                        }
                        | {
                            name: values[np.repeat(pair, count), np.tile(position, len(units))]
                            for name, values in texts.items()
                        }
                    )[moved]
                )
                progress.say()
    if not tables:
        return no_rows()
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)].astype(COLUMNS)


def no_rows() -> pd.DataFrame:
    """The table of a shard that has none of the pairs."""
    return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in COLUMNS.items()})


def _texts(
    model: LanguageModel,
    activations: Activations,
    direction: Direction,
    rows: Sequence[dict[Any, Any]],
) -> dict[str, np.ndarray]:
    """Token and span of every pair and position, as [pair, position]."""
    prompt = background_prompt(direction)
    tokens = getattr(activations.pairs, prompt).tolist()
    texts = {
        token: str(model.tokenizer.decode([token], clean_up_tokenization_spaces=False))
        for token in {token for prompt in tokens for token in prompt}
    }
    return {
        "token": np.array([[texts[token] for token in prompt] for prompt in tokens], dtype=object),
        "span": np.array(
            [spans_of_positions(row, model.tokenizer, prompt) for row in rows], dtype=object
        ),
    }
