"""First-order guesses of what nodes do, for all nodes by one backward pass.

A guess is ⟨∂m/∂v, a change of v⟩, v being the node's output at every position: at a circuit's own
run (`worths`), or with the embeddings on their way from one prompt's to the other's
(`path_products`).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.head_outputs import packed
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.held_nodes import Held, final_of

Array = np.ndarray


def worths(
    engine: SuffixEngine, direction: Direction, circuit: Bool[Array, " node"]
) -> Float[Array, "pair node"]:
    """The first-order guess of what each node adds to the metric inside the circuit.

    It is ⟨∂m/∂v, v − v_other⟩ at the circuit's own run, v being what the node computes there: for
    nodes outside what taking them in would add, for those inside what leaving them out would cost.
    With all nodes inside it is AtP with the other sign.
    """
    n_pairs = len(engine.activations.pairs)
    inside = torch.as_tensor(circuit, device=engine.model.device)

    def products(rows: slice) -> Tensor:
        of_pair = torch.arange(rows.start, rows.stop, device=engine.model.device)
        members = inside.expand(len(of_pair), -1)
        held = Held(engine, direction, of_pair, members)
        return _products(engine, direction, of_pair, held, None)

    return engine.in_batches(n_pairs, products, differentiate=True).double().cpu().numpy()


def path_products(
    engine: SuffixEngine,
    direction: Direction,
    pair: Int[Tensor, " row"],
    alpha: Float[Tensor, " row"],
) -> Float[Tensor, "row node"]:
    """⟨∂m/∂v, v_other − v_background⟩ of each node v where the embeddings are α on their way.

    Nothing is held: the embeddings go from the background's (α = 0) to the other's, and everything
    follows. Raises UserError where the embeddings are not one stream of vectors.
    """
    activations, rows = engine.activations, len(pair)
    if not activations.clean.residual.shape[-1]:
        raise UserError(
            f"model architecture {type(engine.model.hf).__name__}: what its first block is given is"
            " not one stream of vectors, so that no path of the embeddings is defined. Leave"
            " atp and eap_ig_inputs out of the circuit's methods (methods: [ap, ig_joint])."
        )
    background, other = (
        activations.run(side(direction)).residual[0][pair]
        for side in (background_prompt, other_prompt)
    )
    start = background + alpha.to(background.dtype).view(-1, 1, 1) * (other - background)
    return _products(engine, direction, pair, None, start.expand(rows, -1, -1))


def _products(
    engine: SuffixEngine,
    direction: Direction,
    pair: Int[Tensor, " row"],
    held: Held | None,
    start: Tensor | None,
) -> Float[Tensor, "row node"]:
    """Of each node the product of the metric's gradient with a change of its output.

    With ``held`` nodes the change is from the other run's output to what the node computes; with
    none, from the background's to the other run's. 0 for nodes that there are not.
    """
    model, activations = engine.model, engine.activations
    background, other = (
        activations.run(side(direction)) for side in (background_prompt, other_prompt)
    )
    leaves: dict[tuple[str, int], Tensor] = {}
    changes: dict[tuple[str, int], Tensor] = {}

    def watched(name: str, layer: int, computed: Tensor, away: Tensor, own: Tensor) -> Tensor:
        """The value that goes on, plus a zero by which it is differentiated."""
        new = computed if held is None else getattr(held, name)(layer, computed)
        changes[name, layer] = away - own if held is None else computed.detach() - away
        leaves[name, layer] = torch.zeros_like(new, requires_grad=True)
        return new + leaves[name, layer]

    def z(layer: int, value: Tensor) -> Tensor:
        away, own = (packed(model, layer, run.z[layer, pair]) for run in (other, background))
        return watched("z", layer, value, away, own)

    def mlp(layer: int, value: Tensor) -> Tensor:
        return watched("mlp", layer, value, other.mlp[layer, pair], background.mlp[layer, pair])

    inside = torch.ones(len(pair), dtype=torch.bool, device=pair.device)
    if held is not None:
        inside = held.with_embedding
    if start is None and background.residual.shape[-1]:
        start = torch.where(
            inside.view(-1, 1, 1), background.residual[0, pair], other.residual[0, pair]
        )
    with torch.enable_grad():
        if start is not None:
            start = start.detach().requires_grad_()
            away, own = (run.residual[0, pair] for run in (other, background))
            leaves["embedding", 0] = start
            changes["embedding", 0] = away - own if held is None else own - away
        final = final_of(engine, direction, pair, inside, z, mlp, start)
        output = engine.metric(engine.logits(final, engine.metric.vocabulary), pair)
        # The last block's MLP is read at every position, but only the last one matters.
        gradients = torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
    found = background.final.new_zeros(len(pair), 1 + model.n_layers * (model.n_heads + 1))
    blocks = found[:, 1:].unflatten(1, (model.n_layers, model.n_heads + 1))
    for (name, layer), gradient in zip(leaves, gradients, strict=True):
        if gradient is None:
            continue
        product = gradient * changes[name, layer]
        if name == "z":
            blocks[:, layer, :-1] = product.unflatten(-1, (model.n_heads, -1)).sum((1, 3))
        elif name == "mlp":
            blocks[:, layer, -1] = product.sum((1, 2))
        else:
            found[:, 0] = product.sum((1, 2))
    return found
