"""The table of positions of a shard: AP of every component at every position (`positions`).

One row per pair, direction, component, layer, head and position. Positions are those from the first
difference on, counted from 0 in the background's prompt with its first special token; before them
every AP is 0. Where the prompts are of unequal length, positions that are not aligned have no row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.engine.activations import Activations, Component, Direction, background_prompt
from counterpoint.engine.head_outputs import Units
from counterpoint.engine.suffix import SuffixEngine
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
    tables: list[pd.DataFrame] = []
    for engine, direction, texts in measured(model, shard, pairs, measurement, chosen):
        numbers = engine.activations.pairs.number
        for component in components:
            progress = Progress(
                f"{len(numbers)} pairs, {direction}, patches of {component} by position"
            )
            units, ap, joint = position_patching(
                engine, direction, component, heads=heads, advance=progress
            )
            count = ap.shape[1]
            position = np.arange(engine.activations.length)[-count:]
            of_unit = unit_keys(units, numbers) | {"ap_joint": joint}
            at = np.repeat(units.pair.cpu().numpy(), count), np.tile(position, len(units))
            tables.append(
                pd.DataFrame(
                    {name: np.repeat(values, count) for name, values in of_unit.items()}
                    | {
                        "direction": direction,
                        "component": component,
                        "position": at[1],
                        "ap": ap.reshape(-1),
                    }
                    | {name: values[at] for name, values in texts.items()}
                )[replaced(engine, direction)[at]]
            )
            progress.say()
    if not tables:
        return no_rows()
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)].astype(COLUMNS)


def measured(
    model: LanguageModel,
    shard: Shard,
    pairs: pd.DataFrame,
    measurement: Measurement,
    chosen: Collection[int] | None,
) -> Iterator[tuple[SuffixEngine, Direction, dict[str, np.ndarray]]]:
    """An engine for the ``chosen`` pairs of each bucket of a shard, in each direction, with the
    ``token`` and the ``span`` of every pair and position, as [pair, position]."""
    of_pair = {int(row["pair"]): row for row in pairs.to_dict("records")}
    for activations in read_shard(shard, model.device):
        numbers = activations.pairs.number
        places = [k for k, number in enumerate(numbers) if chosen is None or number in chosen]
        if not places:
            continue
        activations = activations.of_pairs(places)
        rows = [of_pair[number] for number in activations.pairs.number]
        for direction, engine in engines(model, activations, measurement).items():
            yield engine, direction, _texts(model, activations, direction, rows)


def replaced(engine: SuffixEngine, direction: Direction) -> np.ndarray:
    """Whether something is put at each position of the background, as [pair, position]: where
    prompts are of unequal length, not at one without a partner."""
    partners = engine.activations.pairs.partners(background_prompt(direction))
    return partners.cpu().numpy() >= 0


def unit_keys(units: Units, numbers: Sequence[int]) -> dict[str, np.ndarray]:
    """``pair``, ``layer`` and ``head`` of each unit, −1 for the head of a whole component."""
    head = np.full(len(units), -1) if units.head is None else units.head.cpu().numpy()
    return {
        "pair": np.array(numbers)[units.pair.cpu().numpy()],
        "layer": units.layer.cpu().numpy(),
        "head": head,
    }


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
