"""Importances of edges in the form that the Mechanistic Interpretability Benchmark takes.

As `node_importances`, at the level of edges: ``nodes`` say only what is there, and ``edges`` have a
``score`` each, by the benchmark's names (``a0.h1->m2``, ``input->a0.h0<q>``, ``m3->logits``), all
of them. The benchmark takes the first edges by the score, or by its size, takes out what is not
connected, and runs them. Scores are of a loss: positive where the corrupted value on the edge makes
the answer worse, so they are those of `circuit_edge_scores.parquet` in `noising` with the other
sign, means over pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.measures.circuit_edges import Edges
from counterpoint.measures.circuit_nodes import Nodes
from counterpoint.measures.node_importances import DIRECTION, SIZES

KEYS = ["sender_layer", "sender_head", "receiver_layer", "receiver_head", "role"]


def edge_importances(
    scores: pd.DataFrame, graph: Mapping[str, Any], ranking: str
) -> dict[str, Any]:
    """The object for one score of `circuit_edge_scores.parquet`.

    ``graph`` holds `SIZES`. Raises ValueError where the table has no such score in `DIRECTION`, or
    not one for each edge of a model of these sizes.
    """
    own = scores[(scores["method"] == ranking) & (scores["direction"] == DIRECTION)]
    if own.empty:
        raise ValueError(f"the table has no {ranking} in {DIRECTION}")
    layers = tuple(range(graph["n_layers"]))
    nodes = Nodes(graph["n_layers"], graph["n_heads"], layers, layers)
    edges = Edges(nodes, graph["parallel_attn_mlp"])
    expected = edges.keys(np.arange(len(edges)))
    found = expected.merge(own[[*KEYS, "score"]], on=KEYS, how="left", validate="one_to_one")
    missing = int(found["score"].isna().sum())
    if missing or len(own) != len(edges):
        raise ValueError(
            f"the table has {len(own)} scores of {ranking} in {DIRECTION}, for {missing} of the"
            f" {len(edges)} edges none"
        )
    return {
        "cfg": {key: graph[key] for key in SIZES},
        "nodes": {
            **{name: {"in_graph": False} for name in nodes.names()},
            "logits": {"in_graph": True},
        },
        "edges": {
            name: {"score": -float(score), "in_graph": False}
            for name, score in zip(edges.names(), found["score"], strict=True)
        },
    }
