"""How much each step of the measurement asks of a model: operations and bytes for one pair.

The counts say how a step grows with the model and the pair, not how often it repeats a pass: that
is measured (`costs`). All are for one direction, except for what is cached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from counterpoint.measures.curve_measures import GRID_SIZE
from counterpoint.pairs.buckets import groups, shard
from counterpoint.workflow.planning.model_size import Size

CIRCUIT_SHARES = 10
"""Shares of nodes at which each ranking is run (`statistics.circuit_areas`)."""

BYTES_PER_ROW = 105
"""Of `heads.parquet`, and about as many of the shards' tables together: measured on SmolLM2's
270 heads in 8 pairs of five tasks, 100 to 104."""


EAP_IG_POINTS = 6
"""Of the path (`measures.input_path_gradients`), its end included, at which nothing is scored."""

BYTES_PER_POSITION = 13
"""Of `positions.parquet`, whose keys repeat: measured on a made-up table of SmolLM2's shape."""


BYTES_PER_POSITION_CURVE = 400
"""Of `position_curves.parquet`: 2 × 50 numbers of four bytes, which hardly compress."""


@dataclass(frozen=True)
class Pairs:
    """What of a study's pairs matters: how many, their mean tokens (the one at the beginning
    included), and the mean number of *positions* from the first that differs to the end.

    Of answers that are read whole, positions are those of all that is read of a pair, and ``run``
    are the tokens of all those prompts; without it a pair's prompts are run once. ``shapes`` counts
    the buckets of all shards together, which are compared with whole passes; None: one a shard.
    """

    count: int
    tokens: float
    positions: float
    run: float | None = None
    shapes: int | None = None

    @property
    def run_tokens(self) -> float:
        """Tokens of one prompt of a pair with each beginning of its answers that is read."""
        return self.tokens if self.run is None else self.run


def pairs_of(table: pd.DataFrame, shard_size: int) -> Pairs:
    """What matters of the rows of `pairs.parquet`; prompts of unequal length count half each.

    They are split into shards of ``shard_size``. Whole answers are counted as their log odds are
    read (`engine.answer_readings`).
    """
    length = (table["length"] + table["corrupted_tokens"].map(len)) / 2
    after = length - table["first_difference"]
    tokens = float(length.mean())
    # In the order in which shards are cut out of it.
    whole = shard(table, 0, max(1, len(table)))
    parts = (whole.iloc[first : first + shard_size] for first in range(0, len(whole), shard_size))
    shapes = sum(len(groups(part)) for part in parts)
    if "read_whole" not in table.columns:
        return Pairs(len(table), tokens, float(after.mean()), shapes=shapes)
    rests = [table[name].map(len) for name in ("correct_rest", "incorrect_rest")]
    readings = 1 + sum(rests)
    longer = sum(rest * (rest + 1) / 2 for rest in rests)
    run = (readings * length + longer).mean()
    positions = float((readings * after + longer).mean())
    return Pairs(len(table), tokens, positions, float(run), shapes)


def operations(size: Size, pairs: Pairs) -> dict[str, float]:
    """Floating-point operations of one repetition of each step, for one pair, by rule.

    A head's patch runs the layers above it at the pair's positions, on average half of the model; a
    sweep over heads does so for each. Steps on the joint path move all heads of a layer together,
    and partners are the other heads of a layer.
    """
    above = pairs.positions * size.operations / 2
    return {
        "cache_activations": 2 * pairs.run_tokens * size.operations,
        "compute_curves": size.heads * above,
        "integrate_gradients": size.n_layers * above,
        "measure_faithfulness": size.n_layers * above,
        "find_partners": size.n_heads * above,
        "measure_roles": ROLES * size.heads * above,
        "record_patterns": 2 * pairs.tokens * size.operations,
    }


def check_operations(size: Size, pairs: Pairs) -> float:
    """Floating-point operations of the comparison with whole passes that each shape of a shard gets
    when it is cached (`engine.selfcheck`).

    Six prompts are run whole and alone (both for what is kept, the background, three with a head
    patched), and one sweep enters at every layer and at three heads.
    """
    sweep = (size.n_layers + 3) * pairs.positions / 2
    return (6 * pairs.tokens + sweep) * size.operations


ROLES = 5
"""Patches of each head that `measure_roles` makes; those of shared keys and values come on top."""


def of_edges(size: Size, pairs: Pairs, receivers: int, roles: int) -> float:
    """The same of the edges into ``receivers`` heads: each sender below a receiver is one row of
    the layers above it, for each role; of layers drawn at random a sixth of all."""
    senders = size.heads + size.n_layers
    return receivers * roles * senders * pairs.positions * size.operations / 6


def position_operations(size: Size, pairs: Pairs, units: int) -> float:
    """Floating-point operations of AP at every position of so many heads and whole components, for
    one pair and direction.

    A patch at a position runs what comes from there on, half of the positions on average; and each
    is patched at all of them once.
    """
    run = pairs.positions * (pairs.positions + 1) / 2 + pairs.positions
    return units * run * size.operations / 2


def baseline_operations(size: Size, pairs: Pairs, baselines: Sequence[str]) -> float:
    """The same of the baseline scores that a study asks for.

    A head's two derivatives are a patch that is differentiated twice; EAP-IG runs the whole model
    at each of its points, RelP once, and AtP* goes back from every layer, on average through half
    of the model.
    """
    above = pairs.positions * size.operations / 2
    each = {
        "atp_hvp": 2 * size.heads * above,
        "eap_ig": 2 * EAP_IG_POINTS * above,
        "relp": 2 * above,
        "atp_star": size.n_layers * above,
    }
    return sum(each[name] for name in baselines)


GUESS_PASSES = 4
"""Passes that the first-order guess of all nodes is worth: forward, backward and what is kept."""

PATH_PASSES = 100
"""The same of the path of the embeddings."""


def circuit_passes(size: Size, circuit: Mapping[str, Any]) -> float:
    """The most passes that a study's key ``circuit`` asks for, for one pair and direction.

    A search stops when enough is recovered, and circuits that are asked for twice are run once, so
    that it may be half as many. Every member of a found set is left out once.
    """
    nodes, steps = size.heads + size.n_layers + 1, circuit["max_nodes"]
    methods = circuit["methods"]
    tried = nodes if circuit["candidates"] == "all" else circuit["candidates"] + GUESS_PASSES
    rankings = [name for name in methods if name != "greedy"]
    passes = len(rankings) * (2 * steps + 2 * CIRCUIT_SHARES)
    if "greedy" in methods:
        passes += steps * (tried + 1) + CIRCUIT_SHARES
    return passes + PATH_PASSES * ("eap_ig_inputs" in methods)


def circuit_operations(size: Size, pairs: Pairs, circuit: Mapping[str, Any]) -> float:
    """Floating-point operations of a pair's circuits in one direction: passes of the whole model
    over the positions from the first that differs."""
    return circuit_passes(size, circuit) * pairs.positions * size.operations


EDGE_RUN_PASSES = 5
"""Passes that one circuit of edges is worth, where its receivers read different streams."""

EDGE_SCORE_PASSES = 100
"""The same of the scores of all edges: a run and its backward pass at seven points, in which every
receiver reads a stream of its own."""

EDGE_SIZES = 36
"""Sizes at which small sets are sought (`measures.edge_circuit_search.grid`)."""

EDGES_OF_A_SET = 150
"""Edges of a small set, where as many are asked for: 52 and 260 before pruning in SmolLM2."""


def edge_circuit_passes(circuit: Mapping[str, Any]) -> float:
    """About how many passes circuits of edges ask for, for one pair and direction.

    Of each small set every edge is left out once, and pruning tries to take each out of another.
    """
    methods = circuit["edge_methods"]
    small = min(circuit["max_edges"], EDGES_OF_A_SET)
    rankings = [name for name in methods if name != "pruned"]
    runs = len(rankings) * (EDGE_SIZES + 2 * CIRCUIT_SHARES) + len(methods) * small
    if "pruned" in methods:
        runs += small
    return EDGE_RUN_PASSES * runs + EDGE_SCORE_PASSES


def edge_circuit_operations(size: Size, pairs: Pairs, circuit: Mapping[str, Any]) -> float:
    """Floating-point operations of a pair's circuits of edges in one direction."""
    return edge_circuit_passes(circuit) * pairs.positions * size.operations


def of_answers(size: Size, pairs: Pairs, directions: int, heads: int) -> float:
    """Operations of looking at the answers of one pair: its two prompts, each of ``heads`` patched
    in each direction, and the whole unembedding of what that gives and of both backgrounds."""
    prompts = 2 * pairs.tokens * size.operations
    patched = directions * heads * pairs.positions * size.operations / 2
    return prompts + patched + directions * (heads + 1) * 2.0 * size.embedding


def activation_bytes(size: Size, pairs: Pairs) -> float:
    """Bytes of a pair's cached activations (`activations.Activations`): of both prompts four
    tensors for each layer and position, and the keys and values of what comes before."""
    numbers = 2 * pairs.positions * size.n_layers * (3 * size.width + size.head_values)
    prefix = (pairs.run_tokens - pairs.positions) * size.n_layers * 2 * size.keys_values
    return (numbers + prefix) * size.bytes_per_number


def pattern_bytes(size: Size, pairs: Pairs) -> float:
    """Bytes of a pair's attention patterns: of both prompts, in float32."""
    return 2 * 4.0 * size.heads * pairs.tokens**2


def curve_bytes(size: Size) -> float:
    """Bytes of a pair's curves in one direction: f and g of every head at every α, in float32."""
    return size.heads * GRID_SIZE * 2 * 4.0


def table_bytes(size: Size) -> float:
    """Bytes of a pair's rows of heads in one direction, in one place."""
    return size.heads * float(BYTES_PER_ROW)
