"""`python -m benchmarks.edge_paths`: exact edges against TransformerLens' direct path patching.

All senders into the first receivers by |AP|, through query, key and value, on the original
notebook's pair. TransformerLens 4.3's `get_act_patch_direct_path` makes one whole pass for each
edge; under grouped queries it gives queries alone, and senders are heads. So the edges into queries
from a few heads are made with it, compared, and their time taken for every edge. In turns, on one
machine; a ratio is the median over the turns. `make bench` runs it and writes what was found into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformer_lens import patching

from benchmarks import machine
from benchmarks.baselines import logit_difference
from benchmarks.original_pair import notebook_pair
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.files.artifacts import write_json
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.tables.edge_table import score_edges
from counterpoint.measures.tables.shards import Measurement
from counterpoint.models.load import LanguageModel, load_language_model
from counterpoint.workflow.planning.matrix_rate import matrix_product_rates

KEPT = Path(__file__).with_name("edge_paths.json")

DIRECTION = "denoising"
"""TransformerLens patches the clean run's values into the corrupted one."""


def first_heads(model: LanguageModel, pairs: TokenPairs, count: int) -> list[tuple[int, int]]:
    """The first heads by |AP| on the pair, of layers that have senders below them."""
    ap = activation_patching(SuffixEngine(model, cache_activations(model, pairs)), DIRECTION)
    units = every_unit(model, 1)
    assert units.head is not None
    keys = list(zip(units.layer.tolist(), units.head.tolist(), strict=True))
    ranked = [keys[place] for place in np.argsort(-np.abs(ap), kind="stable")]
    return [head for head in ranked if head[0]][:count]


def ours(model: LanguageModel, pairs: TokenPairs, receivers: list[tuple[int, int]]) -> pd.DataFrame:
    """All exact edges into ``receivers``, from prompts to the table."""
    shard = {f"0/{name}": one for name, one in cache_activations(model, pairs).tensors().items()}
    measurement = Measurement(directions=(DIRECTION,))
    return score_edges(model, shard, measurement, receivers, first_order=False)


def theirs(model: LanguageModel, pairs: TokenPairs, sources: list[tuple[int, int]]) -> Any:
    """TransformerLens' edges from ``sources`` into the queries of every later head, less the
    unpatched metric: [source, layer, head]."""
    bridge = model.bridge()
    caches = [bridge.run_with_cache(tokens)[1] for tokens in (pairs.clean, pairs.corrupted)]
    metric = partial(_metric, pairs=pairs)
    start = float(metric(bridge(pairs.corrupted)))
    found, seconds = [], 0.0
    for layer, head in sources:
        began = time.perf_counter()
        patched = patching.get_act_patch_direct_path(
            bridge, pairs.corrupted, *caches, metric, layer, head, "q", verbose=False
        )
        seconds += time.perf_counter() - began
        found.append(patched.double().numpy() - start)
    return np.array(found), seconds


def _metric(logits: torch.Tensor, pairs: TokenPairs) -> torch.Tensor:
    return logit_difference(logits[0, -1], pairs)


@torch.no_grad()
def compare(
    model: LanguageModel, n_receivers: int, sources: list[tuple[int, int]], turns: int
) -> dict[str, Any]:
    """Both ways in turns; the largest difference of the edges that both have."""
    pairs = notebook_pair(model)
    receivers = first_heads(model, pairs, n_receivers)
    own, other, rates, worst, shared = [], [], [], 0.0, 0
    n_edges = 0
    for _ in range(turns):
        began = time.perf_counter()
        table = ours(model, pairs, receivers)
        own.append(time.perf_counter() - began)
        edges, seconds = theirs(model, pairs, sources)
        passes = sum((model.n_layers - 1 - layer) * model.n_heads for layer, _ in sources)
        into_heads = table[table["receiver_head"] >= 0]
        n_edges = len(into_heads)
        other.append(seconds / passes * n_edges)
        rates.append(max(matrix_product_rates().values()))
        queries = into_heads[into_heads["role"] == "query"].set_index(
            ["sender_layer", "sender_head", "receiver_layer", "receiver_head"]
        )["effect"]
        for place, source in enumerate(sources):
            for receiver in receivers:
                if receiver[0] > source[0]:
                    difference = queries[(*source, *receiver)] - edges[place][receiver]
                    worst, shared = max(worst, abs(float(difference))), shared + 1
    return {
        "receivers": receivers,
        "edges": n_edges,
        "seconds": statistics.median(own),
        "seconds_other": statistics.median(other),
        "ratio": statistics.median(b / a for a, b in zip(own, other, strict=True)),
        "compared": shared // turns,
        "largest_difference": worst,
        "sources": sources,
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "turns": turns,
        "matrix_product_rate": statistics.median(rates),
    }


def section(results: dict[str, Any]) -> str:
    """The results as a section of a page."""
    sources = " and ".join(f"{layer}.{head}" for layer, head in results["sources"])
    rate = results["matrix_product_rate"]
    at = f", at {rate / 1e9:.0f} · 10⁹ operations per second of matrix products" if rate else ""
    return f"""## Exact edges

Made by `python -m benchmarks.edge_paths` on {results["date"]}: {results["machine"]}{at}.
The original notebook's pair, {DIRECTION}: from every head, MLP and the embeddings into query, key and
value of the first {len(results["receivers"])} heads by |AP|, {results["turns"]} turns. TransformerLens'
`get_act_patch_direct_path` makes a whole pass for each edge and under grouped queries knows those
into queries alone: it ran from {sources} into the queries of all heads above, and its time is scaled
to all edges. {results["compared"]} edges are in both.

| {results["edges"]:,} edges | this engine, s | TransformerLens, s | ratio | asked for | largest error |
|---|---:|---:|---:|---:|---:|
| exact path patching (`get_act_patch_direct_path`) | {results["seconds"]:.1f} | {results["seconds_other"]:.0f} | {results["ratio"]:.0f} × | 50 × | {results["largest_difference"]:.1e} |
"""  # noqa: E501


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resources/models/smollm2-135m-instruct")
    parser.add_argument("--receivers", type=int, default=10)
    parser.add_argument("--sources", default="22.0,26.4", help="heads as layer.head")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--discard", action="store_true", help="do not keep the results")
    wanted = parser.parse_args()
    model = load_language_model(wanted.model, threads=wanted.threads)
    sources = [
        (int(layer), int(head))
        for layer, _, head in (one.partition(".") for one in wanted.sources.split(","))
    ]
    found = compare(model, wanted.receivers, sources, wanted.turns)
    if not wanted.discard:
        write_json(found, KEPT)
    print(section(found))


if __name__ == "__main__":
    main()
