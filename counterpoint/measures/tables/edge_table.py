"""The table of edges of a shard: exact ones into chosen receivers, first-order scores of the rest.

`measures.edges` computes the exact ones, `measures.edge_attribution` the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.frozen_norms import FrozenNorms
from counterpoint.engine.sender_changes import NO_HEAD, Senders, every_sender, sender_changes
from counterpoint.measures import edge_attribution
from counterpoint.measures.edge_attribution import (
    PathGradients,
    PathRuns,
    logits_gradients,
    path_runs,
    receiver_gradients,
)
from counterpoint.measures.edges import LOGITS, ROLES, Norms, Role, direct_effects, edge_effects
from counterpoint.measures.tables.shards import Measurement, Shard, engine_for, read_buckets
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

Array = np.ndarray

KEYS = (
    "pair",
    "direction",
    "receiver_layer",
    "receiver_head",
    "role",
    "sender_layer",
    "sender_head",
)
"""The columns that tell rows apart, in their order."""

COLUMNS = {
    "pair": "int64",
    "direction": "object",
    "sender_layer": "int64",
    "sender_head": "int64",
    "receiver_layer": "int64",
    "receiver_head": "int64",
    "role": "object",
    "effect": "float64",
    "exact": "bool",
    "eap": "float64",
    "eap_ig": "float64",
}
"""The columns of the table with their kinds."""

Head = tuple[int, int]
"""Layer and head."""


def score_edges(
    model: LanguageModel,
    shard: Shard,
    measurement: Measurement,
    receivers: Sequence[Sequence[int]],
    *,
    pairs: Literal["all", "none"] | int = "all",
    roles: Sequence[Role] = ROLES,
    norms: Norms = "recomputed",
    first_order: bool = True,
    all_receivers: bool = False,
) -> pd.DataFrame:
    """One row per pair, direction, receiver, role and sender.

    ``receivers`` are heads as (layer, head); the logits come by themselves. ``pairs`` takes those
    numbered below it. With ``first_order`` the scores EAP and EAP-IG stand beside the exact effect
    (not a number without); with ``all_receivers`` the edges into every other head are scored, too:
    their ``effect`` is EAP-IG, and ``exact`` is false. Raises UserError where the model does not
    allow direct paths (`engine.sender_changes`) or has no queries, keys and values
    (`engine.attention_parts`).
    """
    chosen = [(int(layer), int(head)) for layer, head in receivers]
    every = [(layer, head) for layer in model.head_layers for head in range(model.n_heads)]
    rest = [head for head in every if head not in chosen] if all_receivers and first_order else []
    senders = every_sender(model)
    tables: list[pd.DataFrame] = []
    for bucket in read_buckets(shard, model.device):
        numbers = bucket.pairs.number
        places = [
            place
            for place, number in enumerate(numbers)
            if pairs == "all" or (isinstance(pairs, int) and number < pairs)
        ]
        if not places:
            continue
        engine = engine_for(model, bucket, measurement.metric, measurement.memory_mb)
        parts = [
            (AttentionParts(part), FrozenNorms(part) if norms == "frozen" else None, sign)
            for part, sign in engine.parts
        ]
        progress = Progress("pairs with edges", len(places))
        for place in places:
            runs = [
                path_runs(attention.engine, place) if first_order else None
                for attention, _, _ in parts
            ]
            for direction in measurement.directions:
                of_parts = []
                for (attention, frozen, sign), own in zip(parts, runs, strict=True):
                    pair = _Pair(attention, direction, place, senders, frozen, own)
                    found = [pair.into_logits()]
                    for layer, heads in by_layer(chosen).items():
                        found.append(pair.into_heads(layer, heads, roles))
                    for layer, heads in by_layer(rest).items():
                        found.append(pair.scores_into_heads(layer, heads, roles))
                    of_parts.append((pd.concat(found, ignore_index=True), sign))
                whole = _added_up(of_parts)
                tables.append(whole.assign(pair=numbers[place], direction=direction))
            progress(1)
        progress.say()
    return ordered(tables)


def _added_up(of_parts: Sequence[tuple[pd.DataFrame, float]]) -> pd.DataFrame:
    """The edges of one pair from tables of the same rows: effects and scores add up with signs."""
    whole = of_parts[0][0]
    added = ["effect", "eap", "eap_ig"]
    return whole.assign(
        **{name: sum(sign * table[name] for table, sign in of_parts) for name in added}
    )


def first_receivers(heads: pd.DataFrame, count: int) -> list[Head]:
    """The first ``count`` heads of a table of heads by |AP|, averaged over pairs and directions."""
    means = heads["ap"].abs().groupby([heads["layer"], heads["head"]]).mean()
    # A stable sort: of equal heads the lower one comes first.
    first = means.sort_values(ascending=False, kind="stable").index[:count]
    return [(int(layer), int(head)) for layer, head in first]


def ordered(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows in the order of `KEYS`, directions as measured; with no pair, no row."""
    if not tables:
        return no_rows()
    whole = pd.concat(tables, ignore_index=True)[list(COLUMNS)]
    order = list(dict.fromkeys(whole["direction"]))
    return whole.sort_values(
        list(KEYS),
        key=lambda column: column.map(order.index) if column.name == "direction" else column,
        ignore_index=True,
    )


def no_rows() -> pd.DataFrame:
    """The table of a shard that has none of the pairs."""
    return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in COLUMNS.items()})


def by_layer(heads: Sequence[Head]) -> dict[int, list[int]]:
    """The heads of each layer, lowest first."""
    found: dict[int, list[int]] = {}
    for layer, head in sorted(heads):
        found.setdefault(layer, []).append(head)
    return found


@dataclass(frozen=True, eq=False)
class _Pair:
    """The edges of one pair in one direction."""

    attention: AttentionParts
    direction: Direction
    place: int
    senders: Senders
    frozen: FrozenNorms | None
    runs: PathRuns | None
    """None where no first-order scores are asked for."""

    @cached_property
    def changes(self) -> Float[Tensor, "sender suffix d_model"]:
        return sender_changes(self.attention.engine, self.direction, self.place)

    def into_logits(self) -> pd.DataFrame:
        engine = self.attention.engine
        effect = direct_effects(
            engine, self.direction, self.place, self.changes, frozen=self.frozen
        )
        scores = None
        if self.runs is not None:
            gradients = logits_gradients(self.runs)
            scores = tuple(
                edge_attribution.first_order_direct(slope, self.changes)[None, None]
                for slope in (self._of_background(gradients), gradients.averaged)
            )
        return self._rows(engine.model.n_layers, [NO_HEAD], [LOGITS], effect[None, None], scores)

    def into_heads(self, layer: int, heads: Sequence[int], roles: Sequence[Role]) -> pd.DataFrame:
        effect = edge_effects(
            self.attention,
            self.direction,
            self.place,
            layer,
            heads,
            roles,
            self._below(layer),
            frozen=self.frozen,
        )
        scores = None if self.runs is None else self._scores(layer, heads, roles)
        return self._rows(layer, heads, roles, effect, scores)

    def scores_into_heads(
        self, layer: int, heads: Sequence[int], roles: Sequence[Role]
    ) -> pd.DataFrame:
        scores = self._scores(layer, heads, roles)
        return self._rows(layer, heads, roles, scores[1], scores, exact=False)

    def _below(self, layer: int) -> Float[Tensor, "sender suffix d_model"]:
        return self.changes[: self.senders.count_below(layer)]

    def _of_background(self, gradients: PathGradients) -> Tensor:
        return gradients.of_prompt[background_prompt(self.direction)]

    def _scores(self, layer: int, heads: Sequence[int], roles: Sequence[Role]) -> tuple[Array, ...]:
        """EAP and EAP-IG [head, role, sender]."""
        assert self.runs is not None
        gradients = receiver_gradients(self.attention, self.runs, layer, heads, roles)
        return tuple(
            edge_attribution.first_order(slope, self._below(layer))
            for slope in (self._of_background(gradients), gradients.averaged)
        )

    def _rows(
        self,
        layer: int,
        heads: Sequence[int],
        roles: Sequence[str],
        effect: Float[Array, "head role sender"],
        scores: tuple[Array, ...] | None,
        *,
        exact: bool = True,
    ) -> pd.DataFrame:
        head, role, sender = (axis.reshape(-1) for axis in np.indices(effect.shape))
        nothing = np.full(effect.size, np.nan)
        eap, eap_ig = (nothing, nothing) if scores is None else scores
        return pd.DataFrame(
            {
                "sender_layer": self.senders.layer[sender],
                "sender_head": self.senders.head[sender],
                "receiver_layer": np.int64(layer),
                "receiver_head": np.array(heads, dtype=np.int64)[head],
                "role": np.array(roles, dtype=object)[role],
                "effect": effect.reshape(-1),
                "exact": exact,
                "eap": eap.reshape(-1),
                "eap_ig": eap_ig.reshape(-1),
            }
        )
