"""Scores of all edges of a model, by one backward pass for each point of a path.

- ``eap``: a sender's change times the metric's gradient at what the receiver reads, in the
  background run (edge attribution patching: Syed, Rager & Conmy 2023, arXiv 2310.10348).
- ``eap_ig``: the same with the gradient averaged while the embeddings go from one prompt's to the
  other's (Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806), at Gauss-Legendre nodes.

These are the scores of `edge_attribution`, which makes them for chosen heads; here every receiver
reads a stream of its own, and one backward pass gives the gradients at all of them, MLPs and logits
among them. The senders' changes of the stream are exact (`engine.sender_changes`).

All are of one pair and direction and in units of the metric, positive where the other prompt's
value on the edge raises it: the first-order guess of the effect that the edge has (`edges`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.head_outputs import packed
from counterpoint.engine.receiver_inputs import mlp_of_own_stream, z_of_own_streams
from counterpoint.engine.sender_changes import added_to_stream, every_sender, sender_changes
from counterpoint.measures import quadrature
from counterpoint.measures.circuit_edges import HEAD_ROLES, Edges
from counterpoint.measures.edge_attribution import STEPS
from counterpoint.measures.edge_circuit_evaluation import pieces, readers_of_layer

Array = np.ndarray

RANKINGS = ("eap", "eap_ig")
"""Scores by which edges are ranked, by their names in settings and tables."""


def edge_scores(
    attention: AttentionParts,
    directions: Sequence[Direction],
    edges: Edges,
    *,
    rankings: Sequence[str] = RANKINGS,
    steps: int = STEPS,
) -> dict[tuple[Direction, str], Float[Array, "pair edge"]]:
    """The scores of every edge on the pairs of a bucket, by direction and name."""
    engine = attention.engine
    nodes, weights = quadrature.gauss_legendre(steps)
    # The clean prompt's run, the corrupted one's, and what lies between.
    points = np.array([0.0, 1.0, *(nodes if "eap_ig" in rankings else ())])
    places = _places(engine.model.n_heads, attention)
    found: dict[tuple[Direction, str], list[Array]] = {
        (direction, name): [] for direction in directions for name in rankings
    }
    for pair in range(len(engine.activations.pairs)):
        changes = {way: sender_changes(engine, way, pair) for way in directions}
        products = _products(attention, pair, points, list(changes.values()), edges)
        for place, direction in enumerate(directions):
            start = 0 if background_prompt(direction) == "clean" else 1
            of_points = products[:, place]
            means = {"eap": of_points[start]}
            if "eap_ig" in rankings:
                means["eap_ig"] = np.tensordot(weights, of_points[2:], 1)
            for name in rankings:
                whole = np.zeros((len(edges.nodes), edges.n_receivers))
                whole[places] = means[name]
                found[direction, name].append(whole[edges.sender, edges.receiver])
    return {key: np.stack(parts) for key, parts in found.items()}


def _places(n_heads: int, attention: AttentionParts) -> Int[Array, " sender"]:
    """The node that each sender of `every_sender` is."""
    senders = every_sender(attention.engine.model)
    within = np.where(senders.head < 0, n_heads, senders.head)
    return np.where(senders.layer < 0, 0, 1 + senders.layer * (n_heads + 1) + within)


def _products(
    attention: AttentionParts,
    pair: int,
    points: Float[Array, " point"],
    changes: Sequence[Float[Tensor, "sender suffix d_model"]],
    edges: Edges,
) -> Float[Array, "point direction sender receiver"]:
    """Of each point every sender's change in each direction times every receiver's gradient."""
    engine = attention.engine
    alpha = torch.tensor(points, device=engine.model.device, dtype=engine.model.dtype)
    wide = torch.promote_types(engine.model.dtype, torch.float32)

    def run(rows: slice) -> Tensor:
        found = []
        for few in pieces(rows, readers_of_layer(edges)):
            slopes = receiver_slopes(attention, pair, alpha[few]).to(wide)
            found.append(
                torch.stack(
                    [torch.einsum("spd,arpd->asr", own.to(wide), slopes) for own in changes], dim=1
                )
            )
        return torch.cat(found)

    return engine.in_batches(len(points), run, differentiate=True).double().cpu().numpy()


def receiver_slopes(
    attention: AttentionParts, pair: int, alpha: Float[Tensor, " row"]
) -> Float[Tensor, "row receiver suffix d_model"]:
    """∂m/∂(the stream that a receiver reads) where the embeddings are α on their way from the clean
    prompt's to the corrupted one's, for every receiver. Nothing is held.

    0 where a layer has no MLP.
    """
    engine, rows = attention.engine, len(alpha)
    model, activations = engine.model, engine.activations
    clean, corrupted = (run.residual[0, pair] for run in (activations.clean, activations.corrupted))
    of_row = torch.full((rows,), pair, device=model.device)
    n_readers = len(HEAD_ROLES) * model.n_heads
    leaves: list[Tensor] = []

    def read(stream: Tensor, count: int) -> Tensor:
        """The stream as each of ``count`` receivers reads it; a zero is added to each."""
        leaf = torch.zeros_like(stream).unsqueeze(1).repeat(1, count, 1, 1).requires_grad_()
        leaves.append(leaf)
        return stream.unsqueeze(1) + leaf

    with torch.enable_grad():
        stream = (clean + alpha.view(-1, 1, 1) * (corrupted - clean)).detach()
        for layer in range(model.n_layers):
            streams = read(stream, n_readers).flatten(0, 1)
            reads = torch.arange(len(streams), device=model.device)
            z = z_of_own_streams(
                attention,
                layer,
                streams,
                of_row.repeat_interleave(n_readers),
                reads.view(rows, len(HEAD_ROLES), -1),
            )
            output = model.output_projection(layer)(packed(model, layer, z))
            of_mlp = read(stream, 1)[:, 0]
            mlp = torch.zeros_like(output)
            if layer in model.mlp_layers:
                mlp = mlp_of_own_stream(engine, layer, of_mlp, output)
            stream = stream + added_to_stream(engine, layer, output, mlp)
        of_logits = read(stream, 1)[:, 0]
        metric = engine.metric(engine.logits(of_logits[:, -1], engine.metric.vocabulary), of_row)
        slopes = torch.autograd.grad(metric.sum(), leaves, allow_unused=True)
    engine.evaluations += rows
    known = [
        torch.zeros_like(leaf) if slope is None else slope
        for leaf, slope in zip(leaves, slopes, strict=True)
    ]
    return torch.cat(known, dim=1)
