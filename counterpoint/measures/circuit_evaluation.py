"""What a circuit answers: nodes outside it are held at the other prompt's values.

The run has the background's prompt: the clean one in `noising`. Nodes inside the circuit compute
their output from what they receive; the output of every node outside is that of the other prompt's
own run, whatever it receives. So the full circuit is the background run, and the circuit without
any node is the other run. In `noising` this is the evaluation of circuits of the Mechanistic
Interpretability Benchmark (arXiv 2504.13151): clean prompt, the rest of the model as on the
corrupted one. It patches the *complement* of the circuit in the words that AP has here, so that the
circuit of all nodes but one answers with that node's f(1), and misses exactly its AP.

*Faithfulness* of a circuit is how much of the way from the other run's metric to the background's
it goes:

    f(C) = (m(C) − m(empty)) / (m(full) − m(empty)),

each m a mean over pairs. This is not what `faithfulness` calls *recovered*: there the chosen heads
are patched into a run whose other nodes, MLPs among them, are computed anew; here the other nodes
are held.

`worths` is the first-order guess of what each node adds to a circuit: one backward pass for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.head_outputs import packed
from counterpoint.engine.replay import by_row, first_of, hidden_states_of, last_of, with_first
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.circuit_nodes import Nodes
from counterpoint.models.architecture_support import REMEDY
from counterpoint.models.load import LanguageModel

Array = np.ndarray

END_TOLERANCE = 1e-2
"""How far the full circuit may be from the background run, and the empty one from the other run,
as a share of what the two runs differ by. SmolLM2 leaves 3e-6 in float32; a model in which
something besides the nodes and the prompt matters misses by order one."""


def nodes_of(model: LanguageModel, kinds: Sequence[str]) -> Nodes:
    """The nodes of a model."""
    return Nodes(
        model.n_layers,
        model.n_heads,
        tuple(model.head_layers),
        tuple(model.mlp_layers),
        tuple(kinds),
    )


class CircuitRuns:
    """Runs circuits on all pairs of some buckets in one direction.

    Every circuit is run once, however often it is asked for. The order of pairs is that of the
    engines, one after another. Raises UserError where the full circuit is not the background run,
    or the empty one not the other run.
    """

    def __init__(self, engines: Sequence[SuffixEngine], direction: Direction, nodes: Nodes) -> None:
        self.engines, self.direction, self.nodes = engines, direction, nodes
        self.evaluations = 0
        """Circuits run so far, each on all pairs."""
        self._known: dict[bytes, Float[Array, " pair"]] = {}
        self.full, self.empty = (
            np.concatenate([engine.unpatched(side(direction)).double().cpu() for engine in engines])
            for side in (background_prompt, other_prompt)
        )
        nothing, everything = np.zeros((2, len(nodes)), dtype=bool)
        everything[:] = True
        found = self.metric(np.stack([nothing, everything]))
        size = np.abs(self.full - self.empty).max()
        missed = np.abs(found - np.stack([self.empty, self.full])).max()
        if not missed <= END_TOLERANCE * size:
            raise UserError(
                f"model architecture {type(self.model.hf).__name__}: with every node, or with none,"
                f" a circuit does not give what the prompt's own run gives: it misses {missed:.1e}"
                f" of {size:.1e}. Something besides embeddings, heads and MLPs carries the"
                f" prompt. Leave the study's circuit out (circuit: pairs: none). {REMEDY}"
            )

    @property
    def model(self) -> LanguageModel:
        return self.engines[0].model

    @property
    def n_pairs(self) -> int:
        return len(self.full)

    def metric(self, circuits: Bool[Array, "circuit node"]) -> Float[Array, "circuit pair"]:
        """The metric of each circuit on each pair."""
        keys = [np.packbits(circuit).tobytes() for circuit in circuits]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            asked = circuits[list(new.values())]
            self.evaluations += len(asked)
            found = [run_circuits(engine, self.direction, asked) for engine in self.engines]
            self._known |= dict(zip(new, np.concatenate(found, axis=1), strict=True))
        return np.stack([self._known[key] for key in keys])

    def faithfulness(self, circuits: Bool[Array, "circuit node"]) -> Float[Array, " circuit"]:
        """f of each circuit, over all pairs."""
        whole = (self.full - self.empty).mean()
        return (self.metric(circuits) - self.empty).mean(1) / whole

    def worth(self, circuit: Bool[Array, " node"]) -> Float[Array, " node"]:
        """`worths` as a change of f over all pairs."""
        found = [
            worths(engine, self.direction, circuit[None]).mean(0) * len(engine.activations.pairs)
            for engine in self.engines
        ]
        return np.sum(found, axis=0) / (self.full - self.empty).sum()


@torch.no_grad()
def run_circuits(
    engine: SuffixEngine, direction: Direction, circuits: Bool[Array, "circuit node"]
) -> Float[Array, "circuit pair"]:
    """The metric of each circuit on each pair of a bucket, in batches over both."""
    device, n_pairs = engine.model.device, len(engine.activations.pairs)
    inside = torch.as_tensor(circuits, device=device)
    circuit = torch.arange(len(circuits), device=device).repeat_interleave(n_pairs)
    pair = torch.arange(n_pairs, device=device).repeat(len(circuits))

    def run(rows: slice) -> Tensor:
        of_pair, members = pair[rows], inside[circuit[rows]]
        held = _Held(engine, direction, of_pair, members)
        final = _final(engine, direction, of_pair, members[:, 0], held.z, held.mlp)
        return engine.metric(engine.logits(final, engine.metric.vocabulary), of_pair)

    found = engine.in_batches(len(pair), run)
    return found.double().cpu().numpy().reshape(len(circuits), n_pairs)


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
        held = _Held(engine, direction, of_pair, members)
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


@torch.no_grad()
def has_parallel_mlps(engine: SuffixEngine) -> bool:
    """Whether an MLP reads what the attention of its own layer reads, and not what it adds.

    Seen on the first layer that has both: with its heads at the other run's values its MLP returns
    the same. False where no layer has both.
    """
    model, activations = engine.model, engine.activations
    both = [layer for layer in model.head_layers if layer in model.mlp_layers]
    if not both:
        return False
    pair = torch.zeros(1, dtype=torch.long, device=model.device)
    kept: list[Tensor] = []

    def z(layer: int, value: Tensor) -> Tensor:
        if layer != both[0]:
            return value
        return packed(model, layer, activations.corrupted.z[layer, pair]).clone()

    def mlp(layer: int, value: Tensor) -> Tensor:
        if layer == both[0]:
            kept.append(value)
        return value

    inside = torch.ones(1, dtype=torch.bool, device=model.device)
    _final(engine, "noising", pair, inside, z, mlp)
    own, moved = activations.clean.mlp[both[0], pair], kept[0]
    return torch.allclose(own, moved, rtol=1e-3, atol=1e-3 * float(own.abs().max()))


# -- how ------------------------------------------------------------------------------------------

Change = Callable[[int, Tensor], Tensor]
"""What the values of a layer's heads, or its MLP's output, become: given the layer and them."""


class _Held:
    """Puts the other run's values in place of those of nodes outside the rows' circuits."""

    def __init__(
        self,
        engine: SuffixEngine,
        direction: Direction,
        pair: Int[Tensor, " row"],
        circuits: Bool[Tensor, "row node"],
    ) -> None:
        self.model, self.pair = engine.model, pair
        self.other = engine.activations.run(other_prompt(direction))
        self.with_embedding = circuits[:, 0]
        self.blocks = circuits[:, 1:].unflatten(1, (-1, self.model.n_heads + 1))

    def z(self, layer: int, value: Tensor) -> Tensor:
        inside = self.blocks[:, layer, :-1]
        if bool(inside.all()):
            return value
        width = value.shape[-1] // self.model.n_heads
        return torch.where(
            inside.repeat_interleave(width, 1).unsqueeze(1), value, self.other_z(layer)
        )

    def mlp(self, layer: int, value: Tensor) -> Tensor:
        inside = self.blocks[:, layer, -1]
        if bool(inside.all()):
            return value
        return torch.where(inside.view(-1, 1, 1), value, self.other_mlp(layer))

    def other_z(self, layer: int) -> Tensor:
        return packed(self.model, layer, self.other.z[layer, self.pair])

    def other_mlp(self, layer: int) -> Tensor:
        return self.other.mlp[layer, self.pair]


def _final(
    engine: SuffixEngine,
    direction: Direction,
    pair: Int[Tensor, " row"],
    with_embedding: Bool[Tensor, " row"],
    z: Change,
    mlp: Change,
    start: Float[Tensor, "row suffix d_model"] | None = None,
) -> Float[Tensor, "row d_model"]:
    """The last block's output at the last position, where ``z`` and ``mlp`` change every layer.

    ``start`` replaces what the first block is given.
    """
    own, other = (
        engine.activations.tokens(side(direction))[pair]
        for side in (background_prompt, other_prompt)
    )
    tokens = torch.where(with_embedding.unsqueeze(1), own, other)
    with _changed(engine.model, len(pair), z, mlp, start) as final:
        engine.run_suffix(tokens, pair)
    return final[0]


@contextmanager
def _changed(
    model: LanguageModel, rows: int, z: Change, mlp: Change, start: Tensor | None
) -> Iterator[list[Tensor]]:
    """Within the block every layer's heads and MLP go through ``z`` and ``mlp``.

    What it gives will hold the last block's output at the last position.
    """
    final: list[Tensor] = []

    def into(change: Callable[[Tensor], Tensor]) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            given, keyword = hidden_states_of(args, kwargs)
            new = change(given)
            if keyword is None:
                return (new, *args[1:]), kwargs
            return args, {**kwargs, keyword: new}

        return hook

    def of_heads(layer: int) -> Callable[[Tensor], Tensor]:
        return lambda value: z(layer, by_row(value, rows)).view_as(value)

    def of_mlp(layer: int) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            value = first_of(output)
            return with_first(output, mlp(layer, by_row(value, rows)).view_as(value))

        return hook

    with ExitStack() as hooks:
        if start is not None:
            first = model.blocks[0].register_forward_pre_hook(
                into(lambda value: start), with_kwargs=True
            )
            hooks.callback(first.remove)
        for layer in model.head_layers:
            projection = model.output_projection(layer)
            hooks.callback(
                projection.register_forward_pre_hook(into(of_heads(layer)), with_kwargs=True).remove
            )
        for layer in model.mlp_layers:
            hooks.callback(model.mlp(layer).register_forward_hook(of_mlp(layer)).remove)
        hooks.callback(
            model.blocks[-1]
            .register_forward_hook(
                lambda module, args, output: final.append(last_of(model, first_of(output)))
            )
            .remove
        )
        yield final


def _products(
    engine: SuffixEngine,
    direction: Direction,
    pair: Int[Tensor, " row"],
    held: _Held | None,
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
        final = _final(engine, direction, pair, inside, z, mlp, start)
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
