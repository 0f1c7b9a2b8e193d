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

`held_nodes` are single runs; `node_gradients` guess what single nodes would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from counterpoint.engine.activations import (
    Component,
    Direction,
)
from counterpoint.engine.head_outputs import layers_with, packed
from counterpoint.engine.linear import through_onednn
from counterpoint.engine.replay import hidden_states_of, last_of
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.circuit_nodes import Nodes
from counterpoint.measures.held_nodes import Held, changed_layers, final_of
from counterpoint.measures.known_circuits import KnownCircuits
from counterpoint.measures.node_gradients import worths
from counterpoint.models.load import LanguageModel

Array = np.ndarray


def nodes_of(model: LanguageModel, kinds: Sequence[str]) -> Nodes:
    """The nodes of a model."""
    return Nodes(
        model.n_layers,
        model.n_heads,
        tuple(model.head_layers),
        tuple(model.mlp_layers),
        tuple(kinds),
    )


class CircuitRuns(KnownCircuits):
    """Runs circuits of nodes on all pairs of some buckets in one direction.

    Raises UserError where the full circuit is not the background run, or the empty one not the
    other run.
    """

    def __init__(self, engines: Sequence[SuffixEngine], direction: Direction, nodes: Nodes) -> None:
        super().__init__(engines, direction)
        self.nodes = nodes
        nothing, everything = np.zeros((2, len(nodes)), dtype=bool)
        everything[:] = True
        ends = self.metric(np.stack([nothing, everything]))
        self.check_ends(ends, "node", "embeddings, heads and MLPs")

    def metric(self, circuits: Bool[Array, "circuit node"]) -> Float[Array, "circuit pair"]:
        """The metric of each circuit on each pair."""
        return self._found(
            circuits,
            lambda engine, new: run_circuits(engine, self.direction, circuits[new]),
        )

    def changed_faithfulness(
        self, circuit: Bool[Array, " node"], changed: Int[Array, " change"]
    ) -> Float[Array, " change"]:
        """f of the circuits that differ from one in a single node each, sooner than one by one."""
        circuits = np.tile(circuit, (len(changed), 1))
        circuits[np.arange(len(changed)), changed] ^= True
        self._found(
            circuits,
            lambda engine, new: run_changed_circuits(engine, self.direction, circuit, changed[new]),
        )
        return self.faithfulness(circuits)

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
        held = Held(engine, direction, of_pair, members)
        final = final_of(engine, direction, of_pair, members[:, 0], held.z, held.mlp)
        return engine.metric(engine.logits(final, engine.metric.vocabulary), of_pair)

    found = engine.in_batches(len(pair), run)
    return found.double().cpu().numpy().reshape(len(circuits), n_pairs)


@torch.no_grad()
def run_changed_circuits(
    engine: SuffixEngine,
    direction: Direction,
    circuit: Bool[Array, " node"],
    changed: Int[Array, " change"],
) -> Float[Array, "change pair"]:
    """The metric of circuits that differ from one in a single node each, on each pair.

    Below the node nothing changes, so that a row joins at the node's layer with the residual stream
    of the one circuit, as in `engine.suffix`. Where the model's blocks cannot be called one by one,
    or the embeddings are the node, whole passes are made.
    """
    model, n_pairs = engine.model, len(engine.activations.pairs)
    circuits = np.tile(circuit, (len(changed), 1))
    circuits[np.arange(len(changed)), changed] ^= True
    kinds: tuple[Component, Component] = ("head", "mlp")
    replays = all(engine.way(kind).replays for kind in kinds if layers_with(model, kind))
    if not replays or not engine.activations.clean.residual.shape[-1]:
        return run_circuits(engine, direction, circuits)
    found = np.empty((len(changed), n_pairs))
    first = changed == 0
    if first.any():
        found[first] = run_circuits(engine, direction, circuits[first])
    rest = np.flatnonzero(~first)
    if not len(rest):
        return found
    places = (changed[rest] - 1) // (model.n_heads + 1)
    order = rest[np.argsort(places, kind="stable")]
    layer = np.repeat(np.sort(places), n_pairs)
    pair = torch.arange(n_pairs, device=model.device).repeat(len(order))
    inside = torch.as_tensor(circuits[order], device=model.device).repeat_interleave(n_pairs, 0)
    streams = _streams(engine, direction, circuit)

    def run(rows: slice) -> Tensor:
        final = _swept(engine, direction, streams, layer[rows], pair[rows], inside[rows])
        return engine.metric(engine.logits(final, engine.metric.vocabulary), pair[rows])

    swept = engine.in_batches(len(layer), run).double().cpu().numpy()
    found[order] = swept.reshape(len(order), n_pairs)
    return found


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
    final_of(engine, "noising", pair, inside, z, mlp)
    own, moved = activations.clean.mlp[both[0], pair], kept[0]
    return torch.allclose(own, moved, rtol=1e-3, atol=1e-3 * float(own.abs().max()))


def _streams(
    engine: SuffixEngine, direction: Direction, circuit: Bool[Array, " node"]
) -> Float[Tensor, "layer pair suffix d_model"]:
    """What each block is given in the runs of a circuit on all pairs."""
    model, n_pairs = engine.model, len(engine.activations.pairs)
    members = torch.as_tensor(circuit, device=model.device)

    def run(rows: slice) -> Tensor:
        kept: list[Tensor] = []

        def keep(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            # A clone: some blocks add in place to what they are given.
            kept.append(hidden_states_of(args, kwargs)[0].clone())

        pair = torch.arange(rows.start, rows.stop, device=model.device)
        of_rows = members.expand(len(pair), -1)
        held = Held(engine, direction, pair, of_rows)
        with ExitStack() as hooks:
            for block in model.blocks:
                hooks.callback(block.register_forward_pre_hook(keep, with_kwargs=True).remove)
            final_of(engine, direction, pair, of_rows[:, 0], held.z, held.mlp)
        return torch.stack(kept, 1)

    return engine.in_batches(n_pairs, run).transpose(0, 1)


def _swept(
    engine: SuffixEngine,
    direction: Direction,
    streams: Float[Tensor, "layer pair suffix d_model"],
    layer: Int[Array, " row"],
    pair: Int[Tensor, " row"],
    circuits: Bool[Tensor, "row node"],
) -> Float[Tensor, "row d_model"]:
    """The last block's output at the last position of rows, in order of the layer at which each
    joins with what the block is given there in ``streams``."""
    model, prefix = engine.model, engine.activations.prefix
    hidden = streams.new_empty(0, *streams.shape[2:])
    engine.evaluations += len(layer)
    with through_onednn(model.submodules_of_blocks):
        for number in range(int(layer[0]), model.n_layers):
            passing = int(np.searchsorted(layer, number, side="right"))
            entering = slice(len(hidden), passing)
            if entering.stop > entering.start:
                hidden = torch.cat([hidden, streams[number, pair[entering]]])
            held = Held(engine, direction, pair[:passing], circuits[:passing])
            cache = None if prefix is None else prefix.cache(pair[:passing])
            with changed_layers(model, passing, held.z, held.mlp, None, number):
                hidden = engine.arguments[number].call(model.blocks[number], hidden, cache)
    return last_of(model, hidden)
