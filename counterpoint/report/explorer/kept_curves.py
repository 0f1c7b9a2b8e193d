"""The output curves that a study has kept, read for a page: pair by pair, with numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from counterpoint.figures.chosen_heads import Head

BACKGROUND = {"noising": "metric_clean", "denoising": "metric_corrupted"}
"""The column of baseline.parquet that is f(0)."""

NAMES = {"f": "output", "g": "gradient"}
"""What a card draws, and the tensor that has it."""


def kept_pairs(path: Path) -> list[int]:
    """Return the numbers of the pairs whose curves a curves.safetensors has; none without it."""
    if not path.exists():
        return []
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return [int(pair) for pair in file.get_tensor("pairs")]


def read_curves(path: Path, wanted: Sequence[int]) -> tuple[list[int], dict[str, np.ndarray]]:
    """Return the numbers of the wanted pairs whose curves are kept, and their tensors.

    ``alphas``, and ``output`` and ``gradient`` [pair, direction, layer, head, node].
    """
    if not path.exists():
        return [], {}
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        kept = file.get_tensor("pairs")
        rows = [place for place, pair in enumerate(kept) if int(pair) in set(wanted)]
        if not rows:
            return [], {}
        there = set(file.keys()) & set(NAMES.values())
        tensors = {
            name: np.stack([file.get_slice(name)[row] for row in rows]) for name in sorted(there)
        }
        tensors["alphas"] = file.get_tensor("alphas")
    return [int(kept[row]) for row in rows], tensors


def mean_curves(
    path: Path, baseline: pd.DataFrame, directions: Sequence[str], heads: Sequence[Head]
) -> tuple[int, dict[str, np.ndarray]]:
    """Return over how many pairs the curves of ``heads`` are averaged, and the averages.

    ``alphas``, ``f`` (f − f(0)) and ``g`` [direction, head, node]; ``directions`` in the order of
    the file. Read pair by pair: a study's curves may be larger than memory. A pair whose curves
    are not finite leaves the mean not finite, as it does that of AP.
    """
    if not path.exists():
        return 0, {}
    from safetensors import safe_open

    layers, numbers = (np.array(each) for each in zip(*heads, strict=True))
    start = {
        side: dict(zip(baseline["pair"], baseline[BACKGROUND[side]].to_numpy(float), strict=True))
        for side in directions
    }
    with safe_open(path, framework="numpy") as file:
        kept = [int(pair) for pair in file.get_tensor("pairs")]
        there = set(file.keys())
        sums: dict[str, np.ndarray] = {}
        for place, pair in enumerate(kept):
            for name, tensor in NAMES.items():
                if tensor not in there:
                    continue
                part = file.get_slice(tensor)[place][:, layers, numbers].astype(np.float64)
                if name == "f":
                    begins = [start[side][pair] for side in directions]
                    part -= np.array(begins)[:, None, None]
                sums[name] = sums[name] + part if name in sums else part
        found = {name: total / len(kept) for name, total in sums.items()}
        if found:
            found["alphas"] = file.get_tensor("alphas")
    return len(kept), found
