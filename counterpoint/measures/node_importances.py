"""Importances of nodes in the form that the Mechanistic Interpretability Benchmark takes.

A submission to its circuit track (arXiv 2504.13151) at the level of nodes is a JSON object of three
keys: ``cfg``, the sizes of the model; ``nodes``, by their names in it (``input``, ``a3.h7``,
``m3``) with a ``score`` and whether they are in the circuit; ``edges``, which may be empty. The
benchmark itself takes the first nodes by the score, or by its size, and runs them. Its scores are
of a loss: positive where a node's corrupted value makes the answer worse. A node without a score
stays in every circuit.

The importance of a node is by how much the metric falls, on the mean over pairs, when the node
alone takes its value on the corrupted prompt: −AP in `noising`, or the score's guess of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.measures.circuit_nodes import Nodes

DIRECTION = "noising"
"""The benchmark's direction: the clean prompt, and outside the circuit the corrupted one."""

SIZES = ("n_layers", "n_heads", "parallel_attn_mlp", "d_model")
"""What the benchmark is told of a model."""


def importances(nodes: pd.DataFrame, graph: Mapping[str, Any], ranking: str) -> dict[str, Any]:
    """The object for one score of `circuit_nodes.parquet`.

    ``graph`` holds `SIZES`. Raises ValueError where the table has no such score in `DIRECTION`.
    """
    own = nodes[(nodes["method"] == ranking) & (nodes["direction"] == DIRECTION)]
    if own.empty:
        raise ValueError(f"the table has no {ranking} in {DIRECTION}")
    model = Nodes(graph["n_layers"], graph["n_heads"], (0,), (0,))
    order = model.keys(np.arange(len(model)))
    scores = {
        key: -score
        for *key_, score in own[["component", "layer", "head", "score"]].itertuples(index=False)
        for key in (tuple(key_),)
    }
    found: dict[str, dict[str, Any]] = {}
    for name, key in zip(model.names(), order.itertuples(index=False, name=None), strict=True):
        found[name] = {"in_graph": False}
        score = scores.get(key, np.nan)
        if np.isfinite(score):
            found[name]["score"] = float(score)
    found["logits"] = {"in_graph": True}
    return {"cfg": {key: graph[key] for key in SIZES}, "nodes": found, "edges": {}}
