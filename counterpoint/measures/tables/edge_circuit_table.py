"""The tables of a study's circuits of edges: found on its first pairs together, in one job.

As `circuit_table`, whose settings of pairs and shares they have. `measures.edge_circuit_search`
finds the circuits, `statistics.circuit_areas` says how faithful they are over pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from counterpoint.engine.activations import Direction
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.errors import UserError
from counterpoint.measures.circuit_edges import Edges
from counterpoint.measures.edge_circuit_evaluation import EdgeCircuitRuns, attention_of, edges_of
from counterpoint.measures.edge_circuit_search import (
    Grown,
    edge_costs,
    first_edges,
    grown,
    pruned,
)
from counterpoint.measures.edge_scores import RANKINGS, edge_scores
from counterpoint.measures.tables.circuit_rows import (
    RANKED_BY,
    area_rows,
    curve_rows,
    engines_of,
    rows_of_pairs,
)
from counterpoint.measures.tables.shards import Measurement
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress
from counterpoint.statistics import circuit_areas
from counterpoint.statistics.resampling import Settings

Array = np.ndarray

PRUNED = "pruned"
EDGE_METHODS = (PRUNED, *RANKINGS)
"""Ways to find circuits of edges, by their names in settings and tables."""

START = "eap_ig"
"""The ranking whose set is pruned."""

EDGE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "members": (
        "direction",
        "method",
        "k",
        "sender_layer",
        "sender_head",
        "receiver_layer",
        "receiver_head",
        "role",
        "importance",
        "cost",
    ),
    "scores": (
        "direction",
        "method",
        "sender_layer",
        "sender_head",
        "receiver_layer",
        "receiver_head",
        "role",
        "score",
    ),
    "faithfulness": (
        "pair",
        "direction",
        "method",
        "ranked_by",
        "share",
        "k",
        "metric",
        "recovered",
    ),
    "curves": (
        "direction",
        "method",
        "ranked_by",
        "share",
        "k",
        "faithfulness",
        "ci_low",
        "ci_high",
    ),
    "areas": (
        "direction",
        "method",
        "ranked_by",
        "area",
        "estimate",
        "ci_low",
        "ci_high",
        "n_edges",
        "n_pairs",
    ),
}
"""Columns of the tables. That of areas has no row where nothing but pruning is asked for."""


@dataclass(frozen=True)
class EdgeCircuitSettings:
    """What the section `circuit` of a study's configuration says of edges.

    Attributes:
        recovered: The shares of the change for which small sets are sought.
        edge_methods: Ways to find them.
        max_edges: The most edges of such a set.

    Raises UserError, naming the key, for a value that makes no sense.
    """

    recovered: tuple[float, ...] = (0.5, 0.8, 0.9)
    edge_methods: tuple[str, ...] = EDGE_METHODS
    max_edges: int = 3000

    def __post_init__(self) -> None:
        for key in ("recovered", "edge_methods"):
            value = getattr(self, key)
            if isinstance(value, str) or not len(value) or len(set(value)) < len(value):
                raise UserError(f"circuit: {key} is {value!r}; give a list of different ones.")
            object.__setattr__(self, key, tuple(value))
        wrong = [each for each in self.edge_methods if each not in EDGE_METHODS]
        if wrong:
            raise UserError(
                f"circuit: edge_methods has {', '.join(map(repr, wrong))}; known are"
                f" {', '.join(EDGE_METHODS)}."
            )
        if not all(0 < share <= 1 for share in self.recovered):
            raise UserError(
                f"circuit: recovered is {list(self.recovered)}; give shares above 0, at most 1."
            )
        if self.max_edges < 1:
            raise UserError(f"circuit: max_edges is {self.max_edges}; give at least 1.")


@dataclass(frozen=True, eq=False)
class EdgeCircuitTables:
    """What is found of a study's circuits of edges; the columns are those of the glossary."""

    members: pd.DataFrame
    """`circuit_edges.parquet`: the edges of each method's set for the largest share."""
    scores: pd.DataFrame
    """`circuit_edge_scores.parquet`: every edge's score by every ranking."""
    faithfulness: pd.DataFrame
    """`circuit_edge_faithfulness.parquet`: every circuit on every pair."""
    curves: pd.DataFrame
    """`circuit_edge_curves.csv`: faithfulness at the benchmark's shares of edges, and at the sizes
    that were tried for small sets."""
    areas: pd.DataFrame
    """`circuit_edge_areas.csv`: CPR and CMD."""
    graph: dict[str, Any]
    """`circuit_edge_graph.json`: the model as the benchmark describes it (`node_importances`)."""
    n_pairs: int
    evaluations: int
    """Circuits run on each pair, in all directions."""


def find_edge_circuits(
    model: LanguageModel,
    pairs: pd.DataFrame,
    measurement: Measurement,
    settings: EdgeCircuitSettings,
    statistics: Settings | None = None,
) -> EdgeCircuitTables:
    """The circuits of edges of ``pairs`` (rows of `pairs.parquet`).

    Raises UserError where the model allows none (`edge_circuit_evaluation.attention_of`).
    """
    attentions = [attention_of(engine) for engine in engines_of(model, pairs, measurement)]
    edges = edges_of(attentions[0].engine)
    # Pruning begins with the first edges by one of the rankings, asked for or not.
    rankings = [name for name in RANKINGS if name in settings.edge_methods or name == START]
    scores: list[dict[tuple[Direction, str], Array]] = []
    progress = Progress("buckets of pairs, scores of edges", len(attentions))
    for attention in attentions:
        scores.append(edge_scores(attention, measurement.directions, edges, rankings=rankings))
        progress(1)
    progress.say()
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in EDGE_COLUMNS}
    evaluations = 0
    for direction in measurement.directions:
        means = {
            name: np.concatenate([of_bucket[direction, name] for of_bucket in scores]).mean(0)
            for name in rankings
        }
        found = _OfDirection(attentions, direction, edges, means, settings, statistics)
        progress = Progress(
            f"{found.runs.n_pairs} pairs, {direction}, circuits of edges",
            len(settings.edge_methods),
        )
        for method in settings.edge_methods:
            for name, table in found.of_method(method).items():
                whole = table.assign(direction=direction, method=method)
                tables[name].append(whole[list(EDGE_COLUMNS[name])])
            progress(1)
        progress.say()
        evaluations += found.runs.evaluations
    joined = {
        name: pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=list(EDGE_COLUMNS[name]))
        for name, parts in tables.items()
    }
    return EdgeCircuitTables(
        **joined,
        graph={
            "n_layers": model.n_layers,
            "n_heads": model.n_heads,
            "parallel_attn_mlp": edges.parallel,
            "d_model": model.d_model,
        },
        n_pairs=found.runs.n_pairs,
        evaluations=evaluations,
    )


def edge_settings_of(section: Mapping[str, Any]) -> EdgeCircuitSettings:
    """What the section `circuit` of a configuration says of edges."""
    names = ("recovered", "edge_methods", "max_edges")
    return EdgeCircuitSettings(**{key: section[key] for key in names if key in section})


class _OfDirection:
    """What is found in one direction, method by method."""

    def __init__(
        self,
        attentions: Sequence[AttentionParts],
        direction: Direction,
        edges: Edges,
        scores: Mapping[str, Float[Array, " edge"]],
        settings: EdgeCircuitSettings,
        statistics: Settings | None,
    ) -> None:
        self.edges, self.scores, self.settings = edges, scores, settings
        self.statistics = statistics
        self.runs = EdgeCircuitRuns(attentions, direction, edges)
        self.numbers = np.array(
            [number for each in attentions for number in each.engine.activations.pairs.number],
            dtype=np.int64,
        )
        self._firsts: dict[str, Grown] = {}

    def importance(self, ranking: str) -> Float[Array, " edge"]:
        """By how much f would fall without the edge, by the score."""
        return -self.scores[ranking] / float((self.runs.full - self.runs.empty).mean())

    def order(self, ranking: str, *, absolute: bool = False) -> Int[Array, " rank"]:
        return self.edges.ranked(self.importance(ranking), absolute=absolute)

    def firsts(self, ranking: str) -> Grown:
        """The circuits of the first edges by a ranking."""
        if ranking not in self._firsts:
            self._firsts[ranking] = first_edges(
                self.runs,
                self.order(ranking),
                share=max(self.settings.recovered),
                max_edges=self.settings.max_edges,
            )
        return self._firsts[ranking]

    def reached(self, found: Grown) -> tuple[float | None, int]:
        """The largest share that is recovered, and the size that does it; the largest size where
        none is."""
        for share in sorted(self.settings.recovered, reverse=True):
            size = found.size_for(share)
            if size is not None:
                return share, size
        return None, int(found.sizes[-1])

    def of_method(self, method: str) -> dict[str, pd.DataFrame]:
        if method != PRUNED:
            return self._of_ranking(method)
        start = self.firsts(START)
        share, size = self.reached(start)
        if share is None:
            # Nothing that could be lost: no set of edges recovers enough.
            return {}
        kept = pruned(self.runs, start.order[:size], share=share)
        found = grown(self.runs, kept, np.array([len(kept)]))
        return {
            "members": self._members(kept, START),
            **self._small(found),
        }

    def _of_ranking(self, method: str) -> dict[str, pd.DataFrame]:
        runs, statistics = self.runs, self.statistics
        found = self.firsts(method)
        small, areas = self._small(found), []
        faithfulness, curves = [small["faithfulness"]], [small["curves"]]
        shares = circuit_areas.SHARES
        k = circuit_areas.sizes(len(self.edges))
        for name, absolute in RANKED_BY.items():
            circuits = self.edges.firsts(self.order(method, absolute=absolute), k)
            metric = runs.metric(circuits)
            faithfulness.append(rows_of_pairs(runs, self.numbers, k, metric, name, shares))
            curves.append(curve_rows(runs, k, metric, name, statistics, shares))
            areas.append(area_rows(runs, metric, name, statistics, n_edges=len(self.edges)))
        every = np.arange(len(self.edges))
        return {
            "members": self._members(found.order[: self.reached(found)[1]], method),
            "scores": self.edges.keys(every).assign(score=self.scores[method]),
            "faithfulness": pd.concat(faithfulness, ignore_index=True),
            "curves": pd.concat(curves, ignore_index=True),
            "areas": pd.concat(areas, ignore_index=True),
        }

    def _small(self, found: Grown) -> dict[str, pd.DataFrame]:
        """Rows of the circuits that were run while a small set was sought."""
        sizes, metric = found.sizes, found.metric
        return {
            "faithfulness": rows_of_pairs(self.runs, self.numbers, sizes, metric, "value"),
            "curves": curve_rows(self.runs, sizes, metric, "value", self.statistics),
        }

    def _members(self, members: Int[Array, " edge"], ranking: str) -> pd.DataFrame:
        """One row for each edge of a circuit, in order of the score that it was ranked by."""
        return self.edges.keys(members).assign(
            k=np.arange(1, len(members) + 1),
            importance=self.importance(ranking)[members],
            cost=edge_costs(self.runs, members),
        )
