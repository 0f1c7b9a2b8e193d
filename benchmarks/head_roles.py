"""Parts of heads patched, against TransformerLens, in one run: `python -m benchmarks.head_roles`.

Queries, keys, values, patterns and outputs of all heads by `get_act_patch_attn_head_all_pos_every`,
in noising, on the original notebook's pair. TransformerLens makes one whole pass for each head and
part; it runs on some layers and is scaled to all. Where query heads share keys and values it
patches those of a whole group, and so does this engine here. Both sides run in turns, with the
machine's rate of matrix products beside. `make bench` runs it and writes what was found into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import baselines, machine
from benchmarks.machine import timed
from benchmarks.original_pair import notebook_pair
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.files.artifacts import write_json
from counterpoint.measures.roles import ROLES, role_effects
from counterpoint.models.load import LanguageModel, load_language_model
from counterpoint.workflow.planning.matrix_rate import matrix_product_rates

KEPT = Path(__file__).with_name("head_roles.json")

log = logging.getLogger("benchmarks")


def measure(model: LanguageModel, layers: list[int], turns: int) -> dict[str, Any]:
    """Times of both, their ratio and the largest difference of their numbers."""
    pairs = notebook_pair(model)
    chosen = list(baselines.TRANSFORMER_LENS_ROLES)
    if model.n_heads == model.n_key_value_heads:
        chosen = ["output", "query", "key", "value", "pattern"]

    def engine() -> SuffixEngine:
        return SuffixEngine(model, cache_activations(model, pairs))

    # What is found once for a shape of prompts is no part of a measurement.
    role_effects(engine(), "noising", roles=chosen)
    own: list[float] = []
    other: list[float] = []
    rates: list[float] = []
    worst = 0.0
    for turn in range(turns):
        seconds, ours = timed(lambda: role_effects(engine(), "noising", roles=chosen))
        own.append(seconds)
        seconds, theirs = timed(lambda: baselines.transformer_lens_roles(model, pairs, layers))
        other.append(seconds * model.n_layers / len(layers))
        rates.append(max(matrix_product_rates().values()))
        for role, expected in theirs.items():
            name = role if role in chosen else role.removesuffix("_group")
            rows = (ours.role == ROLES.index(name)) & np.isin(ours.layer, layers)
            found = ours.effect[rows].reshape(expected.shape)
            worst = max(worst, float(np.abs(found - expected).max()))
        log.info("turn %d: %.2f s against %.0f s", turn + 1, own[-1], other[-1])
    every, _ = timed(lambda: role_effects(engine(), "noising"))
    return {
        "seconds": statistics.median(own),
        "seconds_other": statistics.median(other),
        "ratio": statistics.median(b / a for a, b in zip(own, other, strict=True)),
        "max_error": worst,
        "seconds_of_every_role": every,
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "turns": turns,
        "layers": layers,
        "n_layers": model.n_layers,
        "matrix_product_rate": statistics.median(rates),
    }


def section(results: dict[str, Any]) -> str:
    """The results as a section of a page."""
    layers = ", ".join(map(str, results["layers"]))
    return f"""## Queries, keys, values and patterns

Made by `python -m benchmarks.head_roles` on {results["date"]}: {results["machine"]}, at
{results["matrix_product_rate"] / 1e9:.0f} · 10⁹ operations per second of float32 matrix products.
The original notebook's pair, noising, {results["turns"]} turns; TransformerLens ran on the layers
{layers} and is scaled to all {results["n_layers"]}. Where query heads share keys and values it
patches those of a whole group, and so did this engine. With the keys and values that one query head
alone sees besides, it took {results["seconds_of_every_role"]:.2f} s.

| all heads of one pair | this engine, s | TransformerLens, s | ratio | asked for | largest error |
|---|---:|---:|---:|---:|---:|
| queries, keys, values, patterns and outputs (`get_act_patch_attn_head_all_pos_every`) | {results["seconds"]:.2f} | {results["seconds_other"]:.0f} | {results["ratio"]:.0f} × | 20 × | {results["max_error"]:.1e} |
"""  # noqa: E501


def main() -> None:
    """Measure, print the section and keep the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.head_roles", description=__doc__)
    parser.add_argument("--model", default="resources/models/smollm2-135m-instruct")
    parser.add_argument("--turns", type=int, default=3, help="turns of the comparison")
    parser.add_argument("--layers", type=int, default=4, help="layers that TransformerLens runs on")
    parser.add_argument("--discard", action="store_true", help="do not keep the results")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("counterpoint").setLevel(logging.WARNING)
    model = load_language_model(arguments.model)
    count = min(arguments.layers, model.n_layers)
    layers = np.unique(np.linspace(0, model.n_layers - 1, count).round().astype(int)).tolist()
    results = measure(model, layers, arguments.turns)
    if not arguments.discard:
        write_json(results, KEPT)
    print(section(results))


if __name__ == "__main__":
    main()
