"""The tables of a study's circuits: found on its first pairs together, in one job.

A circuit belongs to a study and not to a pair, so that pairs are not split into shards here: the
first so many are run once more, and all of them are held at once. `measures.circuit_search` finds
the circuits, `statistics.circuit_areas` says how faithful they are over pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from counterpoint.engine.activations import Direction
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.circuit_evaluation import (
    CircuitRuns,
    has_parallel_mlps,
    nodes_of,
)
from counterpoint.measures.circuit_nodes import NODE_KINDS, Nodes
from counterpoint.measures.circuit_search import Growth, costs, final_size, first_nodes, greedy
from counterpoint.measures.node_scores import RANKINGS, node_scores
from counterpoint.measures.tables.circuit_rows import (
    RANKED_BY,
    area_rows,
    curve_rows,
    engines_of,
    rows_of_pairs,
)
from counterpoint.measures.tables.shards import Measurement, score_of_pairs
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress
from counterpoint.statistics import circuit_areas
from counterpoint.statistics.resampling import Settings

Array = np.ndarray

GREEDY = "greedy"
METHODS = (GREEDY, *RANKINGS)
"""Ways to find circuits, by their names in settings and tables."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "members": (
        "direction",
        "method",
        "k",
        "component",
        "layer",
        "head",
        "importance",
        "faithfulness",
        "ci_low",
        "ci_high",
        "gain",
        "cost",
        "tried",
    ),
    "nodes": ("direction", "method", "component", "layer", "head", "score", "importance"),
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
        "n_nodes",
        "n_pairs",
    ),
}
"""Columns of the tables. That of nodes has no row where circuits are searched alone."""


@dataclass(frozen=True)
class CircuitSettings:
    """The section `circuit` of a study's configuration, without its pairs.

    Attributes:
        nodes: The components that circuits are chosen from; others are in every circuit.
        recovered: The shares of the change for which small sets are sought.
        max_nodes: The most nodes of such a set.
        methods: Ways to find them.
        candidates: How many nodes a greedy step tries, those of largest first-order worth; None
            for all.

    Raises UserError, naming the key, for a value that makes no sense.
    """

    nodes: tuple[str, ...] = NODE_KINDS
    recovered: tuple[float, ...] = (0.5, 0.8, 0.9)
    max_nodes: int = 30
    methods: tuple[str, ...] = METHODS
    candidates: int | None = 8

    def __post_init__(self) -> None:
        for key in ("nodes", "recovered", "methods"):
            value = getattr(self, key)
            if isinstance(value, str) or not len(value) or len(set(value)) < len(value):
                raise UserError(f"circuit: {key} is {value!r}; give a list of different ones.")
            object.__setattr__(self, key, tuple(value))
        for key, known in (("nodes", NODE_KINDS), ("methods", METHODS)):
            wrong = [each for each in getattr(self, key) if each not in known]
            if wrong:
                raise UserError(
                    f"circuit: {key} has {', '.join(map(repr, wrong))}; known are"
                    f" {', '.join(known)}."
                )
        if not all(0 < share <= 1 for share in self.recovered):
            raise UserError(
                f"circuit: recovered is {list(self.recovered)}; give shares above 0, at most 1."
            )
        for key in ("max_nodes", "candidates"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"circuit: {key} is {value}; give at least 1.")


@dataclass(frozen=True, eq=False)
class CircuitTables:
    """What is found of a study's circuits; the columns are those of the glossary."""

    members: pd.DataFrame
    """`circuit.parquet`: the nodes of each circuit as it grows."""
    nodes: pd.DataFrame
    """`circuit_nodes.parquet`: every node's score by every method."""
    faithfulness: pd.DataFrame
    """`circuit_faithfulness.parquet`: every circuit on every pair."""
    curves: pd.DataFrame
    """`circuit_curves.csv`: faithfulness at the benchmark's shares of nodes."""
    areas: pd.DataFrame
    """`circuit_areas.csv`: CPR and CMD."""
    graph: dict[str, Any]
    """`circuit_graph.json`: the model as the benchmark describes it (`node_importances`)."""
    n_pairs: int
    evaluations: int
    """Circuits run on each pair, in all directions."""


def find_circuits(
    model: LanguageModel,
    pairs: pd.DataFrame,
    heads: pd.DataFrame,
    measurement: Measurement,
    settings: CircuitSettings,
    statistics: Settings | None = None,
) -> CircuitTables:
    """The circuits of ``pairs`` (rows of `pairs.parquet`), whose heads' scores are in ``heads``."""
    nodes = nodes_of(model, settings.nodes)
    engines = engines_of(model, pairs, measurement)
    numbers = [number for engine in engines for number in engine.activations.pairs.number]
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in COLUMNS}
    evaluations, found = 0, None
    for direction in measurement.directions:
        progress = Progress(f"{len(numbers)} pairs, {direction}, circuits", len(settings.methods))
        found = _OfDirection(engines, direction, nodes, heads, settings, statistics, numbers, found)
        for method in settings.methods:
            for name, table in found.of_method(method).items():
                tables[name].append(table)
            progress(1)
        progress.say()
        evaluations += found.runs.evaluations
    whole = {
        name: pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=list(COLUMNS[name]))
        for name, parts in tables.items()
    }
    return CircuitTables(
        **whole, graph=_graph(engines[0]), n_pairs=len(numbers), evaluations=evaluations
    )


def settings_of(section: Mapping[str, Any]) -> CircuitSettings:
    """The section `circuit` of a configuration, in which all candidates are called ``all``."""
    values = {key: value for key, value in section.items() if key != "pairs"}
    if values.get("candidates") == "all":
        values["candidates"] = None
    return CircuitSettings(**values)


def _graph(engine: SuffixEngine) -> dict[str, Any]:
    model = engine.model
    return {
        "n_layers": model.n_layers,
        "n_heads": model.n_heads,
        "parallel_attn_mlp": has_parallel_mlps(engine),
        "d_model": model.d_model,
    }


class _OfDirection:
    """What is found in one direction, method by method."""

    def __init__(
        self,
        engines: Sequence[SuffixEngine],
        direction: Direction,
        nodes: Nodes,
        heads: pd.DataFrame,
        settings: CircuitSettings,
        statistics: Settings | None,
        numbers: Sequence[int],
        reverse: _OfDirection | None,
    ) -> None:
        self.direction, self.nodes, self.settings = direction, nodes, settings
        self.statistics, self.numbers = statistics, np.array(numbers, dtype=np.int64)
        self.runs = CircuitRuns(engines, direction, nodes)
        rankings = [name for name in settings.methods if name != GREEDY]
        # What the search does not get to is ranked by AP.
        asked = list(dict.fromkeys([*rankings, *(["ap"] if GREEDY in settings.methods else [])]))
        self.of_engines: list[dict[str, Array]] = []
        for place, engine in enumerate(engines):
            of_bucket = engine.activations.pairs.number
            of_heads = {
                name: score_of_pairs(heads, name, of_bucket, direction, engine.model)
                for name in ("ap", "ig_joint")
            }
            known = None if reverse is None else reverse.of_engines[place]
            self.of_engines.append(
                node_scores(engine, direction, nodes, asked, of_heads, reverse=known)
            )
        self.scores = {
            name: np.concatenate([scores[name] for scores in self.of_engines]).mean(0)
            for name in asked
        }
        self.whole = float((self.runs.full - self.runs.empty).mean())

    def importance(self, method: str) -> Float[Array, " node"]:
        """By how much f would fall without the node, by the score."""
        return -self.scores[method] / self.whole

    def of_method(self, method: str) -> dict[str, pd.DataFrame]:
        settings, runs = self.settings, self.runs
        largest = max(settings.recovered)
        if method == GREEDY:
            growth = greedy(
                runs,
                share=largest,
                max_nodes=settings.max_nodes,
                candidates=settings.candidates,
            )
            by_ap = self.nodes.ranked(self.importance("ap"), absolute=False)
            orders = {"value": np.concatenate([growth.order, by_ap[~np.isin(by_ap, growth.order)]])}
            importance = np.full(len(self.nodes), np.nan)
        else:
            importance = self.importance(method)
            orders = {
                name: self.nodes.ranked(importance, absolute=absolute)
                for name, absolute in RANKED_BY.items()
            }
            growth = first_nodes(runs, orders["value"], share=largest, max_nodes=settings.max_nodes)
        keys = {"direction": self.direction, "method": method}
        tables = {"members": self._members(growth, importance).assign(**keys)}
        k = np.arange(1, len(growth.order) + 1)
        faithfulness = [rows_of_pairs(runs, self.numbers, k, growth.metric, "value")]
        areas, curves = [], []
        for name, order in orders.items():
            k, shares = circuit_areas.sizes(len(order)), circuit_areas.SHARES
            metric = runs.metric(self.nodes.firsts(order, k))
            faithfulness.append(rows_of_pairs(runs, self.numbers, k, metric, name, shares))
            curves.append(curve_rows(runs, k, metric, name, self.statistics, shares))
            areas.append(area_rows(runs, metric, name, self.statistics, n_nodes=len(order)))
        for name, rows in (("faithfulness", faithfulness), ("curves", curves), ("areas", areas)):
            tables[name] = pd.concat(rows, ignore_index=True).assign(**keys)
        if method != GREEDY:
            places = np.flatnonzero(self.nodes.candidates)
            tables["nodes"] = self.nodes.keys(places).assign(
                score=self.scores[method][places], importance=importance[places], **keys
            )
        return {name: table[list(COLUMNS[name])] for name, table in tables.items()}

    def _members(self, growth: Growth, importance: Float[Array, " node"]) -> pd.DataFrame:
        """One row for each node of a circuit, in the order in which they came."""
        runs, n_steps = self.runs, len(growth.order)
        interval = circuit_areas.faithfulness(growth.metric, runs.full, runs.empty, self.statistics)
        size = final_size(growth, self.settings.recovered)
        cost = np.full(n_steps, np.nan)
        cost[:size] = costs(runs, growth.order[:size])
        before = np.concatenate([runs.faithfulness(self.nodes.empty[None]), growth.faithfulness])
        return pd.concat(
            [
                pd.DataFrame({"k": np.arange(1, n_steps + 1)}),
                self.nodes.keys(growth.order),
                pd.DataFrame(
                    {
                        "importance": importance[growth.order],
                        "faithfulness": growth.faithfulness,
                        "ci_low": interval.low,
                        "ci_high": interval.high,
                        "gain": np.diff(before),
                        "cost": cost,
                        "tried": growth.tried,
                    }
                ),
            ],
            axis=1,
        )
