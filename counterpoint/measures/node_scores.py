"""Scores of the nodes of circuits: what each method says of the embeddings, heads and MLPs.

All are of one pair and direction and in units of the metric, positive where the other prompt's
value at the node raises it:

- ``ap``: activation patching, exact. The embeddings' is the whole change.
- ``atp``: attribution patching, g(0). At the level of nodes this is what edge attribution patching
  (EAP, Syed et al. 2023, arXiv 2310.10348) is at the level of edges; MIB calls it NAP.
- ``ig_joint``: IG with all heads of the layer moving together. An MLP, and the embeddings, move
  alone, so that theirs is AP, by completeness.
- ``eap_ig_inputs``: the gradient at the node, averaged while the *embeddings* go from the
  background's to the other prompt's, times the node's change (Hanna, Pezzelle & Belinkov 2024,
  arXiv 2403.17806; MIB's NAP-IG on inputs). That of the embeddings is the whole change, by
  completeness: what is missing from it is told.

The average is an integral by Gauss-Legendre nodes. The path is the same in both directions, and so
are these scores, but for their sign.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures import quadrature
from counterpoint.measures.circuit_nodes import Nodes
from counterpoint.measures.node_gradients import path_products
from counterpoint.measures.patching import activation_patching

Array = np.ndarray

log = logging.getLogger("counterpoint")

RANKINGS = ("ap", "atp", "ig_joint", "eap_ig_inputs")
"""Scores by which nodes are ranked, by their names in settings and tables."""

FIRST_STEPS, MOST_STEPS = 8, 64
"""Gauss-Legendre steps of the embeddings' path, doubled until it is complete."""

COMPLETE = 1e-3
"""What may be missing from the whole change, as a share of it. SmolLM2 leaves 1e-3 to 1e-5 on the
default study's pairs with 16 steps."""

LEFT_UNSAID = 0.02
"""The missing share from which a warning says so."""


def node_scores(
    engine: SuffixEngine,
    direction: Direction,
    nodes: Nodes,
    rankings: Sequence[str],
    heads: Mapping[str, Float[Array, "layer pair head"]],
    *,
    reverse: Mapping[str, Float[Array, "pair node"]] | None = None,
) -> dict[str, Float[Array, "pair node"]]:
    """The scores of every node on the pairs of a bucket; not a number for nodes there are not.

    ``heads`` has the heads' ``ap`` and ``ig_joint``, as far as they are asked for; ``reverse`` the
    scores in the other direction where these are known, which spares the embeddings' path. Raises
    UserError where a score is not defined for the model.
    """
    unknown = [name for name in rankings if name not in RANKINGS]
    if unknown:
        raise UserError(
            f"circuit: methods has {', '.join(unknown)}; known are greedy, {', '.join(RANKINGS)}."
        )
    model, n_pairs = engine.model, len(engine.activations.pairs)
    background, other = (
        engine.unpatched(side(direction)).double().cpu().numpy()
        for side in (background_prompt, other_prompt)
    )
    found: dict[str, Float[Array, "pair node"]] = {}
    if {"ap", "ig_joint"} & set(rankings):
        mlps = np.full((model.n_layers, n_pairs), np.nan)
        if model.mlp_layers:
            patched = activation_patching(engine, direction, component="mlp")
            mlps[model.mlp_layers] = patched.reshape(len(model.mlp_layers), n_pairs)
        for name in ("ap", "ig_joint"):
            if name in rankings:
                found[name] = nodes.by_kind(other - background, heads[name], mlps)
    if "atp" in rankings:
        found["atp"] = _on_path(engine, direction, np.zeros(1)) @ np.ones(1)
    if "eap_ig_inputs" in rankings and reverse is not None:
        found["eap_ig_inputs"] = -reverse["eap_ig_inputs"]
    elif "eap_ig_inputs" in rankings:
        found["eap_ig_inputs"] = _integrated(engine, direction, other - background)
    absent = np.isnan(nodes.by_kind(np.zeros(n_pairs), *_present(engine)))
    return {name: np.where(absent, np.nan, found[name]) for name in rankings}


def _integrated(
    engine: SuffixEngine, direction: Direction, whole: Float[Array, " pair"]
) -> Float[Array, "pair node"]:
    """The products of the embeddings' path, integrated until the embeddings' own is ``whole``."""
    steps = FIRST_STEPS
    while True:
        alphas, weights = quadrature.gauss_legendre(steps)
        found = _on_path(engine, direction, alphas) @ weights
        missing = np.abs(found[:, 0] - whole)
        size = max(float(np.abs(whole).mean()), np.finfo(float).tiny)
        if missing.max() <= COMPLETE * size or steps >= MOST_STEPS:
            break
        steps *= 2
    if missing.mean() > LEFT_UNSAID * size:
        log.warning(
            "%s: EAP-IG on inputs: with %d steps the embeddings' own score misses the change of the"
            " metric by %.1e of %.1e on average: the path has kinks or jumps that the gradient does"
            " not see",
            direction,
            steps,
            missing.mean(),
            size,
        )
    return found


def _on_path(
    engine: SuffixEngine, direction: Direction, alphas: Float[Array, " alpha"]
) -> Float[Array, "pair node alpha"]:
    """`path_products` of every pair at each α."""
    device, n_pairs = engine.model.device, len(engine.activations.pairs)
    pair = torch.arange(n_pairs, device=device).repeat_interleave(len(alphas))
    alpha = torch.tensor(alphas, device=device, dtype=engine.model.dtype).repeat(n_pairs)

    def products(rows: slice) -> Tensor:
        return path_products(engine, direction, pair[rows], alpha[rows])

    found = engine.in_batches(len(pair), products, differentiate=True).double().cpu().numpy()
    return found.reshape(n_pairs, len(alphas), -1).swapaxes(1, 2)


def _present(engine: SuffixEngine) -> tuple[Array, Array]:
    """0 for every head and MLP that there is, NaN for those that there are not."""
    model, n_pairs = engine.model, len(engine.activations.pairs)
    heads = np.full((model.n_layers, n_pairs, model.n_heads), np.nan)
    mlps = np.full((model.n_layers, n_pairs), np.nan)
    heads[model.head_layers] = 0
    mlps[model.mlp_layers] = 0
    return heads, mlps
