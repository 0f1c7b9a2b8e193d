"""AP by position against TransformerLens' functions, in one run: `python -m benchmarks.positions`.

`get_act_patch_attn_head_out_by_pos` for the heads, `get_act_patch_block_every` (which is
`get_act_patch_resid_pre`, `…_attn_out` and `…_mlp_out`) for the rest, in noising, on the first pair
of the default study. TransformerLens makes one whole pass for each layer, position and head; it
runs on some layers and is scaled to all. Both sides run in turns, with the machine's rate of matrix
products beside. `make bench` runs it and writes what was found into docs/performance.md.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformer_lens import patching

from benchmarks import machine
from benchmarks.baselines import logit_difference
from benchmarks.machine import timed
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import Component, TokenPairs
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.files.artifacts import write_json
from counterpoint.measures.measured_pairs import checked_pairs
from counterpoint.measures.positions import position_patching
from counterpoint.measures.tables.shards import token_pairs
from counterpoint.models.load import LanguageModel, load_language_model
from counterpoint.pairs.buckets import buckets
from counterpoint.workflow.planning.matrix_rate import matrix_product_rates

Array = np.ndarray
KEPT = Path(__file__).with_name("positions.json")

WHOLE: tuple[Component, ...] = ("residual", "attention", "mlp")
SETTERS: dict[Component, tuple[str, Callable[..., Any]]] = {
    "residual": ("resid_pre", patching.layer_pos_patch_setter),
    "attention": ("attn_out", patching.layer_pos_patch_setter),
    "mlp": ("mlp_out", patching.layer_pos_patch_setter),
    "head": ("z", patching.layer_pos_head_vector_patch_setter),
}
"""What TransformerLens' functions of the module's docstring are made of."""

WAYS: dict[str, tuple[str, tuple[Component, ...], str, int]] = {
    "heads": ("AP by position, every head", ("head",), "get_act_patch_attn_head_out_by_pos", 25),
    "blocks": (
        "AP by position, residual stream, attention and MLP",
        WHOLE,
        "get_act_patch_block_every",
        20,
    ),
}
"""What is compared, of which components, with which function, and how many times faster it is to
be."""

log = logging.getLogger("benchmarks")


def first_pair(model: LanguageModel) -> TokenPairs:
    """The first pair of the default study."""
    (bucket,) = buckets(checked_pairs(model, "ioi.default").head(1))
    return token_pairs(bucket)


def ours(model: LanguageModel, pairs: TokenPairs, components: tuple[Component, ...]) -> list[Array]:
    """AP [layer, position, head] of each component; positions of the common prefix are 0."""
    engine = SuffixEngine(model, cache_activations(model, pairs))
    found = []
    for component in components:
        units, ap, _ = position_patching(engine, "noising", component)
        by_layer = ap.reshape(model.n_layers, -1, ap.shape[1]).transpose(0, 2, 1)
        whole = np.zeros((model.n_layers, pairs.length, by_layer.shape[2]))
        whole[:, pairs.first_difference :] = by_layer
        assert units.layer.tolist() == sorted(units.layer.tolist())
        found.append(whole)
    return found


class TransformerLens:
    """The same by whole passes, ready to be asked for some layers."""

    def __init__(self, model: LanguageModel, pairs: TokenPairs) -> None:
        self.bridge, self.pairs, self.n_heads = model.bridge(), pairs, model.n_heads
        _, self.corrupted = self.bridge.run_with_cache(pairs.corrupted[:1])

    def start(self) -> float:
        return float(logit_difference(self.bridge(self.pairs.clean[:1])[0, -1], self.pairs))

    @torch.no_grad()
    def __call__(self, components: tuple[Component, ...], layers: list[int]) -> list[Array]:
        """AP [layer, position, head] of each component."""
        found = []
        for component in components:
            name, setter = SETTERS[component]
            axes = ["layer", "pos", "head"] if component == "head" else ["layer", "pos"]
            heads = range(self.n_heads) if component == "head" else range(1)
            every = [
                (layer, pos, head)
                for layer in layers
                for pos in range(self.pairs.length)
                for head in heads
            ]
            index = pd.DataFrame(every, columns=["layer", "pos", "head"])[axes]
            patched = patching.generic_activation_patch(
                self.bridge,
                self.pairs.clean[:1],
                self.corrupted,
                lambda logits: logit_difference(logits[0, -1], self.pairs),
                setter,
                name,
                index_df=index,
            )
            shape = len(layers), self.pairs.length, len(heads)
            found.append(patched.double().numpy().reshape(shape) - self.start())
        return found


def measure(model: LanguageModel, layers: list[int], turns: int) -> dict[str, Any]:
    """Times of both, their ratios and the largest difference of their numbers."""
    pairs, rates = first_pair(model), []
    theirs = TransformerLens(model, pairs)
    results: dict[str, Any] = {}
    # What is found once for a shape of prompts is no part of a measurement.
    ours(model, pairs, ("head", *WHOLE))
    for name, (_, components, function, _) in WAYS.items():
        seconds: list[float] = []
        others: list[float] = []
        error = 0.0
        for turn in range(turns):
            own, found = timed(lambda components=components: ours(model, pairs, components))
            other, plain = timed(lambda components=components: theirs(components, layers))
            seconds.append(own)
            others.append(other * model.n_layers / len(layers))
            rates.append(matrix_product_rates())
            differences = [np.abs(a[layers] - b) for a, b in zip(found, plain, strict=True)]
            error = max(error, *(float(each.max()) for each in differences))
            log.info("%s, turn %d: %.2f s against %.0f s", name, turn + 1, own, others[-1])
        results[name] = {
            "seconds": statistics.median(seconds),
            "seconds_other": statistics.median(others),
            "ratio": statistics.median(b / a for a, b in zip(seconds, others, strict=True)),
            "max_error": error,
            "function": function,
        }
    return {
        **results,
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "turns": turns,
        "layers": layers,
        "n_layers": model.n_layers,
        "positions": pairs.length,
        "matrix_product_rate": statistics.median(max(each.values()) for each in rates),
    }


def section(results: dict[str, Any]) -> str:
    """The results as a section of a page."""
    lines = [
        "| one pair | this engine, s | TransformerLens, s | ratio | asked for | largest error |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, (what, _, function, least) in WAYS.items():
        found = results[name]
        lines.append(
            f"| {what} (`{function}`) | {found['seconds']:.2f} | {found['seconds_other']:.0f} |"
            f" {found['ratio']:.0f} × | {least} × | {found['max_error']:.1e} |"
        )
    layers = ", ".join(map(str, results["layers"]))
    table = "\n".join(lines)
    return f"""## AP by position

Made by `python -m benchmarks.positions` on {results["date"]}: {results["machine"]}, at
{results["matrix_product_rate"] / 1e9:.0f} · 10⁹ operations per second of float32 matrix products.
The first pair of the default study, noising, {results["turns"]} turns; TransformerLens ran on the
layers {layers} and is scaled to all {results["n_layers"]}. It patches all {results["positions"]}
positions; this engine those from the first difference on, since the others are 0.

{table}
"""


def main() -> None:
    """Measure, print the section and keep the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.positions", description=__doc__)
    parser.add_argument("--model", default="resources/models/smollm2-135m-instruct")
    parser.add_argument("--turns", type=int, default=3, help="turns of each comparison")
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
