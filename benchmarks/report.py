"""The results as a table on the terminal, a page and a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from benchmarks import edge_paths, fair_peers, head_roles, pipeline, positions, statistics
from counterpoint.files.artifacts import atomic, write_text

WAYS = {
    "curves_adaptive": (
        "output curves, f on 50 nodes, adaptive",
        "the original notebook's procedure",
        "curves_adaptive_ratio",
    ),
    "curves_fixed": (
        "output curves, f at 50 fixed nodes",
        "the original notebook's procedure",
        "curves_fixed_ratio",
    ),
    "gradients": (
        "output curves with gradients, f and g, adaptive",
        "the original notebook's procedure, forward and backward",
        "gradient_ratio",
    ),
    "ap": (
        "activation patching",
        "TransformerLens get_act_patch_attn_head_out_all_pos",
        "ap_ratio",
    ),
    "ig": (
        "integrated gradients, joint",
        "Captum LayerIntegratedGradients on whole passes",
        "ig_ratio",
    ),
}
ERRORS = {
    "max_error_output": "f, every node of every head, against whole passes at hook_result",
    "max_error_gradient": "g, sampled heads, against reverse mode in float64",
    "max_error_ap": "AP, every head, against TransformerLens",
    "max_error_ig": "IG joint, sampled layers, against Captum with 50 steps",
}


def table(results: dict[str, Any]) -> str:
    """The comparisons and errors, as Markdown."""
    details = results["details"]
    lines = [
        "| all heads of one pair | this engine, s | other way, s | ratio | other way |",
        "|---|---:|---:|---:|---|",
    ]
    for name, (what, other, key) in WAYS.items():
        found = details[name]
        lines.append(
            f"| {what} | {found['seconds']:.2f} | {found['seconds_other']:.0f} |"
            f" {results[key]:.0f} × | {other} |"
        )
    fixed = details["curves_fixed"]
    rates = " and ".join(
        f"{rate / 1e9:.0f} ({name})" for name, rate in results["matrix_product_rates"].items()
    )
    lines += [
        "",
        "| largest error | |",
        "|---|---:|",
        *(f"| {what} | {results[key]:.1e} |" for key, what in ERRORS.items()),
        "",
        f"Evaluations: {details['curves_adaptive']['evaluations']:,} adaptive (f and g),"
        f" {fixed['evaluations']:,} at fixed nodes. The fixed nodes need"
        f" {fixed['operations'] / 1e12:.1f} · 10¹² floating-point operations, made at"
        f" {fixed['operations_per_second'] / 1e9:.0f} · 10⁹ per second, which is"
        f" {100 * results['curves_fixed_peak_share']:.0f} % of the machine's float32 matrix-product"
        f" rate, the better of {rates} · 10⁹ (medians of the run).",
    ]
    return "\n".join(lines)


def write(results: dict[str, Any], folder: Path) -> None:
    """Write `performance.md` and `performance.svg`."""
    plot(results, folder / "performance.svg")
    write_text(page(results), folder / "performance.md")


def page(results: dict[str, Any]) -> str:
    """`performance.md`, with a section for each comparison that has results of its own."""
    details = results["details"]
    heads = ", ".join(f"{layer}.{head}" for layer, head in results["sampled_heads"])
    cost = "\n".join(
        f"| {axis} | " + ", ".join(f"{p['at']:g}: {p['seconds']:.2f} s" for p in points) + " |"
        for axis, points in details["cost"].items()
    )
    bfloat16 = details["bfloat16"]
    shards = "\n".join(
        f"| {shard['pairs']} | {shard['buckets']} | {shard['peak_mib']:.0f} MiB |"
        f" {shard['curve_seconds'] / shard['pairs']:.2f} |"
        for shard in details["shards"]
    )
    text = f"""# Performance

Made by `make bench` on {results["date"]}: {results["machine"]}. SmolLM2-135M-Instruct, the original
notebook's pair ({results["n_heads"]} heads, 50 Gauss-Legendre nodes), direction noising.

{table(results)}

How it was measured: each comparison ran in {results["turns"]} turns, this engine and the other way
one after the other; times and ratios are medians over the turns. The engine's time includes
caching the activations of both prompts. The original notebook's procedure runs one whole forward
pass, batch 1, with a hook at `hook_result`, for each node of each head; it ran on the heads
{heads} (for gradients on every second of them) and is scaled to all {results["n_heads"]}. Captum
ran on those heads' layers, 50 steps, at the best of its internal batch sizes
({details["ig"]["internal_batch_size"]}), and is scaled to all layers. TransformerLens' function
ran whole. The error of f is over every node of every head; for it the plain passes of one head's
nodes share a
batch. The error of g is at most
{details["gradient_error_over_allowed"]:.2f} of what is allowed, 1e-3 + 1e-3 |g|.

In bfloat16 AP of all heads took {bfloat16["seconds"]:.2f} s and differed from float32 by at most
{bfloat16["max_error_ap"]:.2g} (median {bfloat16["median_error_ap"]:.2g}); the error stated for
bfloat16 curves begins at {bfloat16["stated_floor"]:.2g}.

## A shard of pairs

IOI pairs of the shipped set, one direction, activations and curves, in a process of their own
(`python -m benchmarks.memory`):

| pairs | buckets | peak resident memory | curves, seconds per pair |
|---:|---:|---:|---:|
{shards}

## Cost of the adaptive curves (f and g)

| against | |
|---|---|
{cost}

![cost against heads, nodes, pairs and length](performance.svg)

*nodes* is f alone at fixed nodes. *pairs* are of one bucket: equal length and first differing
position.
*length* puts sentences before the pair, so that the prefix grows and the suffix does not.
"""
    if "curves_batched" in details:
        text += "\n" + fair_peers.section(details)
    for own in (positions, head_roles, edge_paths, statistics):
        if own.KEPT.is_file():
            text += "\n" + own.section(json.loads(own.KEPT.read_text(encoding="utf-8")))
    kept = pipeline.read_kept()
    if pipeline.complete(kept):
        text += "\n" + pipeline.section(kept)
    return text


def plot(results: dict[str, Any], path: Path) -> None:
    """Ratios, and cost along each axis."""
    cost = results["details"]["cost"]
    figure, axes = plt.subplots(1, 1 + len(cost), figsize=(15, 3.2), layout="constrained")
    names = list(WAYS)
    axes[0].barh(names, [results[WAYS[name][2]] for name in names], color="#4477aa")
    axes[0].set(xscale="log", xlabel="times faster", title="ratio to the other way")
    axes[0].invert_yaxis()
    for axis, (name, points) in zip(axes[1:], cost.items(), strict=True):
        axis.plot([p["at"] for p in points], [p["seconds"] for p in points], "o-", color="#aa3377")
        axis.set(xlabel=name, ylabel="seconds", title=f"cost against {name}")
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
    with atomic(path) as temporary:
        figure.savefig(temporary)
    plt.close(figure)
