"""The engine beside the strongest plain way (`batched_passes`): what remains, and where it fades.

Whole passes at batch 1 are what the original notebook and TransformerLens' functions make, and what
the other ratios are of. Against batches behind a cached prefix three things of the engine remain:
fewer points of each path, layers below a head that are not run, and of the last block and the
unembedding only what is read. The first is none for AP, which has one point; the second is a factor
of two over all heads, less for low heads and more for high ones; the third matters where suffixes
are short. So both are measured against the number of positions and against a head's layer.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.batched_passes import BatchedPasses, Way, quickest
from benchmarks.machine import timed
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.head_outputs import every_unit, named_units
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.curves import output_curves
from counterpoint.measures.patching import activation_patching
from counterpoint.models.load import LanguageModel

Array = np.ndarray
Head = tuple[int, int]
InTurns = Callable[[str, Callable[[], Any], Callable[[], Any], float], tuple[Any, Any]]

SUFFIXES = (4, 8, 32, 128)
"""Positions from the first differing token on, behind `PREFIX` tokens that the prompts share."""
PREFIX = 8
FADED = 2.0
"""Below so many times the engine's gain is said to have faded."""


def compared(
    model: LanguageModel,
    pairs: TokenPairs,
    in_turns: InTurns,
    sample: Sequence[Head],
    grid: Array,
    turns: int,
) -> dict[str, Any]:
    """Curves and AP of all heads against whole passes in batches, timed by ``in_turns``.

    The curves' whole passes run on the heads of ``sample`` and are scaled to all: a row costs the
    same whatever its head. AP's run on all.
    """
    passes = BatchedPasses(model, pairs)
    heads = every_head(model)
    place = [heads.index(head) for head in sample]
    trials = quickest(passes, sample, grid)
    way = next(iter(trials))
    used: dict[str, int] = {}

    def engine() -> SuffixEngine:
        return SuffixEngine(model, cache_activations(model, pairs))

    def curves() -> Array:
        own = engine()
        found = output_curves(own, "noising", every_unit(model, 1)).output
        used["curves"] = own.evaluations
        return found

    def patching() -> Array:
        own = engine()
        found = activation_patching(own, "noising")
        used["ap"] = own.evaluations
        return found

    resolved, plain = in_turns(
        "curves_batched", curves, lambda: passes.curves(sample, grid, way), len(heads) / len(sample)
    )
    ap, plain_ap = in_turns("ap_batched", patching, lambda: passes.patching(heads, way), 1.0)
    row = row_operations(model, pairs)
    batched = {
        "way": str(way),
        "trials": {str(each): seconds for each, seconds in trials.items()},
        "evaluations": {
            "curves": used["curves"],
            "curves_other": len(heads) * len(grid),
            "ap": used["ap"],
            "ap_other": len(heads) + 1,
        },
        "operations_per_row": row,
        "operations_per_second": row / trials[way],
        "gain": gains(model, way, turns),
    }
    error = max(np.abs(resolved[place] - plain).max(), np.abs(ap - plain_ap).max())
    return {"max_error_batched": float(error), "batched": batched}


def every_head(model: LanguageModel) -> list[Head]:
    """Every head that is measured, lowest layer first."""
    return [(layer, head) for layer in model.head_layers for head in range(model.n_heads)]


def row_operations(model: LanguageModel, pairs: TokenPairs) -> float:
    """Floating-point operations of one whole pass behind the prefix: the products of the blocks'
    weights and of attention at every position of the suffix, and the unembedding at the last."""
    suffix = pairs.length - pairs.first_difference
    blocks = sum(
        parameter.numel()
        for block in model.blocks
        for parameter in block.parameters()
        if parameter.ndim == 2
    )
    attention = 2 * 2 * suffix * pairs.length * model.d_model * len(model.head_layers)
    return 2.0 * suffix * blocks + attention + 2.0 * model.d_model * model.d_vocab


# -- where the gain fades -----------------------------------------------------------------------


def made_up(model: LanguageModel, suffix: int) -> TokenPairs:
    """A pair of random tokens that differ from position `PREFIX` on, with ``suffix`` from there."""
    generator = torch.Generator().manual_seed(suffix)
    tokens = torch.randint(model.d_vocab // 2, (1, PREFIX + suffix), generator=generator)
    other = tokens.clone()
    other[:, PREFIX] += 1
    return TokenPairs(tokens, other, ((5,),), ((6,),), (0,))


def gains(model: LanguageModel, way: Way, turns: int) -> dict[str, list[dict[str, float]]]:
    """The ratio in AP, with everything but one thing held: positions of the suffix, and layer.

    By suffix on the heads of four layers over the depth, which stand for all; by layer on each of
    these layers' heads by themselves, with the shortest suffix but one.
    """
    layers = [
        model.head_layers[place]
        for place in np.linspace(0, len(model.head_layers) - 1, 4).round().astype(int)
    ]
    spread = [head for head in every_head(model) if head[0] in layers]
    middle = made_up(model, SUFFIXES[1])
    return {
        "suffix": [
            {"at": float(suffix), **_gain(model, made_up(model, suffix), spread, way, turns)}
            for suffix in SUFFIXES
        ],
        "layer": [
            {
                "at": float(layer),
                **_gain(model, middle, [head for head in spread if head[0] == layer], way, turns),
            }
            for layer in dict.fromkeys(layers)
        ],
    }


def _gain(
    model: LanguageModel, pairs: TokenPairs, heads: Sequence[Head], way: Way, turns: int
) -> dict[str, float]:
    """Seconds of both ways and their ratio, medians over the turns; caching is in neither."""
    engine = SuffixEngine(model, cache_activations(model, pairs))
    passes = BatchedPasses(model, pairs)
    units = named_units(every_unit(model, 1), set(heads))
    ours, other = [], []
    for _ in range(turns):
        ours.append(timed(lambda: activation_patching(engine, "noising", units=units))[0])
        other.append(timed(lambda: passes.patching(heads, way))[0])
    return {
        "seconds": statistics.median(ours),
        "seconds_other": statistics.median(other),
        "ratio": statistics.median(b / a for a, b in zip(ours, other, strict=True)),
    }


# -- the page -----------------------------------------------------------------------------------


def section(details: dict[str, Any]) -> str:
    """The comparison as a section of a page; ``details`` are those of `benchmarks/results.json`."""
    batched = details["batched"]
    counts = batched["evaluations"]
    rows = [
        f"| {what} | {details[name]['seconds']:.2f} | {details[name]['seconds_other']:.1f} |"
        f" {details[name]['ratio']:.1f} × | {counts[key]:,} | {counts[f'{key}_other']:,} |"
        for what, name, key in (
            ("output curves, f on 50 nodes, adaptive", "curves_batched", "curves"),
            ("activation patching", "ap_batched", "ap"),
        )
    ]
    gain = batched["gain"]
    shown = "\n".join(
        f"| {axis} | " + ", ".join(f"{p['at']:g}: {p['ratio']:.1f} ×" for p in points) + " |"
        for axis, points in gain.items()
    )
    return f"""## Against batches of whole passes

The strongest plain way: whole passes with a hook at the output projection, batched over heads and
nodes, behind the cached prefix, with the same threads and numbers (`benchmarks/batched_passes.py`),
in the quickest of {len(batched["trials"])} ways: {batched["way"]}. It makes
{batched["operations_per_second"] / 1e9:.0f} · 10⁹ floating-point operations per second.

| all heads of one pair | this engine, s | batches, s | ratio | its evaluations | their passes |
|---|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

The batches of the curves ran on a sample of heads and are scaled to all; the largest difference is
{details["max_error_batched"]:.1e}. AP has one point of each path, so that there only the layers
below a head and what is not read of the last block and the unembedding are saved. The gain in AP:

| against | |
|---|---|
{shown}

*suffix* is the number of positions from the first differing token on, on heads of four layers over
the depth; *layer* the layer of the heads, of {SUFFIXES[1]} such positions. {faded(gain)}
"""


def faded(gain: dict[str, list[dict[str, float]]]) -> str:
    """From where on the gain is below `FADED`, in words."""
    long = [point["at"] for point in gain["suffix"] if point["ratio"] < FADED]
    deep = [point["at"] for point in gain["layer"] if point["ratio"] >= FADED]
    by_length = (
        f"from {min(long):g} positions on" if long else "for no number of positions that was tried"
    )
    by_layer = f"below layer {min(deep):g}" if deep else "for heads of every layer that was tried"
    return f"It is less than {FADED:g} × {by_length}, and {by_layer}."
