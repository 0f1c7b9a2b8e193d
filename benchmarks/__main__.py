"""`make bench`: this engine against the ways that it replaces, in one run on one machine.

Every comparison is made in turns, so that a machine whose speed drifts slows both sides, and a
ratio is the median over the turns. The ways that would take hours run on a sample of heads or
layers and are scaled to all of them; the tables say so.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import baselines, fair_peers, machine, pipeline, report
from benchmarks.machine import timed
from benchmarks.original_pair import notebook_pair
from benchmarks.statistics import kept_ratio
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.files.artifacts import write_json
from counterpoint.measures import quadrature
from counterpoint.measures.curve_measures import GRID_SIZE
from counterpoint.measures.curves import output_curves
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.slopes import rounding_floor, values
from counterpoint.models.load import load_language_model
from counterpoint.workflow.planning.matrix_rate import matrix_product_rates

GRID, _ = quadrature.gauss_legendre(GRID_SIZE)
STEPS = 50
"""Steps of Captum's integrated gradients on whole passes, its default."""

Array = np.ndarray
ROOT = Path(__file__).parent.parent

log = logging.getLogger("benchmarks")


def repeated(pairs: TokenPairs, count: int) -> TokenPairs:
    """``count`` pairs of one bucket: the cost depends on the shape alone."""
    return TokenPairs(
        pairs.clean.repeat(count, 1),
        pairs.corrupted.repeat(count, 1),
        pairs.correct * count,
        pairs.incorrect * count,
        tuple(range(count)),
    )


class Bench:
    """The measurements; each adds to ``results`` and says how it went."""

    def __init__(self, folder: str, turns: int) -> None:
        self.folder, self.turns = folder, turns
        self.model = model = load_language_model(folder)
        self.pairs = notebook_pair(model)
        self.n_heads = model.n_layers * model.n_heads
        self.rates: dict[str, list[float]] = {}
        self.results: dict[str, Any] = {}
        # Heads over the depth of the model, and layers likewise.
        self.sample = [
            (layer, layer % model.n_heads)
            for layer in np.linspace(0, model.n_layers - 1, 4).round().astype(int).tolist()
        ]
        self.layers = [layer for layer, _ in self.sample]

    def engine(self) -> SuffixEngine:
        """A new engine, activations included: what a user who starts from a prompt pays."""
        return SuffixEngine(self.model, cache_activations(self.model, self.pairs))

    def rate(self) -> None:
        for name, rate in matrix_product_rates().items():
            self.rates.setdefault(name, []).append(rate)

    def in_turns(
        self, name: str, ours: Callable[[], Any], theirs: Callable[[], Any], scale: float
    ) -> tuple[Any, Any]:
        """Time two calls in turn; ``scale`` makes the second's time that of the whole task."""
        own: list[float] = []
        other: list[float] = []
        for turn in range(self.turns):
            seconds, ours_result = timed(ours)
            own.append(seconds)
            seconds, theirs_result = timed(theirs)
            other.append(scale * seconds)
            self.rate()
            log.info("%s, turn %d: %.2f s against %.1f s", name, turn + 1, own[-1], other[-1])
        self.results[name] = {
            "seconds": statistics.median(own),
            "seconds_other": statistics.median(other),
            "ratio": statistics.median(b / a for a, b in zip(own, other, strict=True)),
            "ratios": [b / a for a, b in zip(own, other, strict=True)],
        }
        return ours_result, theirs_result

    # -- comparisons -------------------------------------------------------------------------

    def curves(self) -> None:
        """Output curves of all heads: adaptive, and at 50 fixed nodes."""
        reference = baselines.original_procedure(self.model, self.pairs)
        units = every_unit(self.model, 1)
        place = [layer * self.model.n_heads + head for layer, head in self.sample]
        grid = np.broadcast_to(GRID, (len(units), GRID_SIZE))
        used: list[int] = []

        def plain() -> Array:
            return np.stack(
                [baselines.output_curve(reference, *head, GRID) for head in self.sample]
            )

        def adaptive() -> Any:
            engine = self.engine()
            curves = output_curves(engine, "noising", units)
            used.append(engine.evaluations)
            return curves

        def fixed() -> Array:
            return values(self.engine(), "noising", "head", units, grid)

        scale = self.n_heads / len(self.sample)
        timed(adaptive)
        resolved, expected = self.in_turns("curves_adaptive", adaptive, plain, scale)
        whole, expected = self.in_turns("curves_fixed", fixed, plain, scale)
        operations = GRID_SIZE * sum(
            self.operations(int(layer), rows=1) for layer in units.layer.tolist()
        )
        self.results["curves_adaptive"]["evaluations"] = used[-1]
        self.results["curves_fixed"] |= {
            "evaluations": GRID_SIZE * self.n_heads,
            "operations": operations,
            "operations_per_second": operations / self.results["curves_fixed"]["seconds"],
        }
        self.results["max_error_output_sample"] = float(
            max(
                np.abs(resolved.output[place] - expected).max(),
                np.abs(whole[place] - expected).max(),
            )
        )
        self.resolved, self.reference = resolved, reference

    def every_node(self) -> None:
        """The error of the adaptive curves in every node of every head."""
        errors = []
        for unit in range(self.n_heads):
            layer, head = divmod(unit, self.model.n_heads)
            plain = baselines.whole_passes_at_once(self.reference, layer, head, GRID)
            errors.append(np.abs(self.resolved.output[unit] - plain).max())
        self.results["max_error_output"] = float(max(errors))
        log.info("largest error of f over all heads and nodes: %.1e", max(errors))

    def gradients(self) -> None:
        """Curves with gradients; the error of g against reverse mode in float64."""
        sample = self.sample[1::2]
        units = every_unit(self.model, 1)

        def plain() -> Any:
            return [
                baselines.output_curve_and_gradient(self.reference, *head, GRID) for head in sample
            ]

        def adaptive() -> Any:
            return output_curves(self.engine(), "noising", units)

        curves, _ = self.in_turns("gradients", adaptive, plain, self.n_heads / len(sample))
        double = load_language_model(self.folder, dtype="float64")
        exact = baselines.original_procedure(double, self.pairs)
        worst, worst_share = 0.0, 0.0
        for layer, head in self.sample:
            at = GRID[::7]
            _, slope = baselines.output_curve_and_gradient(exact, layer, head, at)
            found = curves.gradient[layer * self.model.n_heads + head][::7]
            error = np.abs(found - slope)
            worst = max(worst, float(error.max()))
            worst_share = max(worst_share, float((error / (1e-3 + 1e-3 * np.abs(slope))).max()))
        self.results["max_error_gradient"] = worst
        self.results["gradient_error_over_allowed"] = worst_share

    def activation_patching(self) -> None:
        """AP of all heads against TransformerLens' function."""
        ours, theirs = self.in_turns(
            "ap",
            lambda: activation_patching(self.engine(), "noising"),
            lambda: baselines.transformer_lens_patching(self.model, self.pairs),
            1.0,
        )
        self.results["max_error_ap"] = float(np.abs(ours.reshape(theirs.shape) - theirs).max())

    def integrated_gradients(self) -> None:
        """IG joint of all layers against Captum on whole passes at its best batch size."""
        middle = self.layers[len(self.layers) // 2]
        joint = partial(baselines.captum_joint, self.model, self.pairs, steps=STEPS)
        trials = {
            size: timed(partial(joint, middle, internal_batch_size=size))[0]
            for size in baselines.INTERNAL_BATCH_SIZES
        }
        best = min(baselines.INTERNAL_BATCH_SIZES, key=trials.__getitem__)

        def captum() -> Array:
            return np.stack([joint(layer, internal_batch_size=best) for layer in self.layers])

        ours, theirs = self.in_turns(
            "ig",
            lambda: integrated_gradients(self.engine(), "noising"),
            captum,
            self.model.n_layers / len(self.layers),
        )
        self.results["ig"] |= {"internal_batch_size": best, "trials": trials}
        self.results["max_error_ig"] = float(np.abs(ours.score[self.layers, 0] - theirs).max())

    def bfloat16(self) -> None:
        """What bfloat16 costs in exactness: AP of every head against float32."""
        coarse = load_language_model(self.folder, dtype="bfloat16")
        engine = SuffixEngine(coarse, cache_activations(coarse, self.pairs))
        seconds, found = timed(lambda: activation_patching(engine, "noising"))
        exact = activation_patching(self.engine(), "noising")
        self.results["bfloat16"] = {
            "seconds": seconds,
            "max_error_ap": float(np.abs(found - exact).max()),
            "median_error_ap": float(np.median(np.abs(found - exact))),
            "stated_floor": rounding_floor(engine, "noising"),
        }

    def shard(self) -> None:
        """Peak memory and time of a shard of pairs, in a process of its own."""
        command = [sys.executable, "-m", "benchmarks.memory", "--model", self.folder]
        shards = []
        for count in (16, 64):
            done = subprocess.run(
                [*command, "--pairs", str(count)], check=True, capture_output=True, text=True
            )
            shards.append(json.loads(done.stdout.splitlines()[-1]))
            log.info("a shard: %s", shards[-1])
        self.results["shards"] = shards

    def batched(self) -> None:
        """Curves and AP against the strongest plain way: whole passes in batches, prefix cached."""
        self.results |= fair_peers.compared(
            self.model, self.pairs, self.in_turns, self.sample, GRID, self.turns
        )

    # -- cost -----------------------------------------------------------------------------------

    def cost(self) -> None:
        """Seconds against heads, nodes, pairs and length, each varied alone."""
        model = self.model
        units = every_unit(model, 1)
        cost: dict[str, list[dict[str, float]]] = {}

        def add(axis: str, at: float, call: Callable[[], Any]) -> None:
            seconds, _ = timed(call)
            cost.setdefault(axis, []).append({"at": at, "seconds": seconds})
            log.info("cost against %s: %g took %.2f s", axis, at, seconds)

        engine = self.engine()
        for share in (8, 4, 2, 1):
            few = units[slice(0, None, share)]
            add("heads", len(few), partial(output_curves, engine, "noising", few))
        for nodes in (5, 10, 15):
            grid = np.broadcast_to(quadrature.gauss_legendre(nodes)[0], (len(units), nodes))
            add("nodes", nodes, partial(values, engine, "noising", "head", units, grid))
        for count in (1, 2, 4, 8):
            many = SuffixEngine(model, cache_activations(model, repeated(self.pairs, count)))
            add("pairs", count, partial(output_curves, many, "noising", every_unit(model, count)))
        for repeat in (0, 1, 3, 7):
            pairs = notebook_pair(model, repeat)
            longer = SuffixEngine(model, cache_activations(model, pairs))
            add("length", pairs.length, partial(output_curves, longer, "noising", units))
        self.results["cost"] = cost

    def operations(self, layer: int, rows: int) -> float:
        """Floating-point operations that ``rows`` evaluations of a head of ``layer`` need.

        Counted are the matrix products of the weights and of the attention: of the own block the
        MLP, of every block above all of it, at each position of the suffix; in the last block the
        last position's output projection and MLP only.
        """
        model = self.model
        suffix = self.pairs.length - self.pairs.first_difference
        weights = [_weights(module) for module in (model.blocks[-1], model.mlps[-1])]
        block, mlp = weights
        output = _weights(model.output_projections[-1])
        attention = 2 * 2 * suffix * self.pairs.length * model.d_model
        above = model.n_layers - 1 - layer
        if above == 0:
            return rows * 2.0 * mlp
        last = 2 * (suffix * (block - mlp - output) + mlp + output) + attention
        return rows * (2.0 * suffix * mlp + (above - 1) * (2 * suffix * block + attention) + last)

    # -- all -------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        self.rate()
        self.curves()
        self.gradients()
        self.activation_patching()
        self.integrated_gradients()
        self.batched()
        self.bfloat16()
        self.cost()
        log.info("every comparison is timed; what is left are errors and memory")
        self.every_node()
        self.shard()
        rates = {name: statistics.median(found) for name, found in self.rates.items()}
        rate = max(rates.values())
        results = self.results
        return {
            "curves_adaptive_ratio": results["curves_adaptive"]["ratio"],
            "curves_fixed_ratio": results["curves_fixed"]["ratio"],
            "curves_fixed_peak_share": results["curves_fixed"]["operations_per_second"] / rate,
            "gradient_ratio": results["gradients"]["ratio"],
            "ap_ratio": results["ap"]["ratio"],
            "ig_ratio": results["ig"]["ratio"],
            "curves_batched_ratio": results["curves_batched"]["ratio"],
            "ap_batched_ratio": results["ap_batched"]["ratio"],
            "max_error_output": results["max_error_output"],
            "max_error_gradient": results["max_error_gradient"],
            "max_error_ap": results["max_error_ap"],
            "max_error_ig": results["max_error_ig"],
            "max_error_batched": results["max_error_batched"],
            "date": datetime.date.today().isoformat(),
            "machine": machine.describe(),
            "matrix_product_rate": rate,
            "matrix_product_rates": rates,
            "turns": self.turns,
            "sampled_heads": self.sample,
            "n_heads": self.n_heads,
            "details": results,
        }


def _weights(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)


def main() -> None:
    """Measure, print the table, and write results, page and plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--model", default="resources/models/smollm2-135m-instruct")
    parser.add_argument("--turns", type=int, default=3, help="turns of each comparison")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("counterpoint").setLevel(logging.WARNING)
    results = pipeline.with_ratios(Bench(arguments.model, arguments.turns).run())
    write_json(results | kept_ratio(), ROOT / "benchmarks" / "results.json")
    print(report.table(results))
    report.write(results, ROOT / "docs")


if __name__ == "__main__":
    main()
