"""Arrays of scores as what others do not already say of them, without loss.

Several measures follow from others, but for rounding: the disagreement is IG joint − AP, the closed
range |AP| + excess range, monotonicity |AP| ÷ total variation. Of such an array the page gets how
many float32 numbers lie between what is predicted and what is true, which is 0 or little and
compresses to a fraction. Arithmetic in float32 is exact to the last bit in numpy and in a browser
(``Math.fround``), so that reading gives back every bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int32

Array = Float32[np.ndarray, "direction pair head"]

PREDICTED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "abs_ap": ("size", ("ap",)),
    "ap_normalised": ("share", ("ap",)),
    "disagreement": ("difference", ("ig_joint", "ap")),
    "output_range_closed": ("sum", ("abs_ap", "excess_range")),
    "output_range": ("same", ("output_range_closed",)),
    "total_variation": ("same", ("output_range_closed",)),
    "monotonicity": ("ratio", ("abs_ap", "total_variation")),
}
"""How a measure is predicted, and of which others; none leads back to itself."""

OPERATIONS: Mapping[str, Callable[..., Array]] = {
    "size": np.abs,
    "same": lambda one: one,
    "sum": np.add,
    "difference": np.subtract,
    "ratio": np.divide,
}
"""All but "share", which divides by the change of the metric between the prompts of each pair."""


def prediction(
    name: str, arrays: Mapping[str, Array], change: Float32[np.ndarray, " pair"]
) -> Array:
    """Return what ``arrays`` say of the measure ``name``; 0 where that is no number."""
    operation, of = PREDICTED[name]
    parts = [arrays[f"values.{key}"] for key in of]
    with np.errstate(all="ignore"):
        if operation == "share":
            found = parts[0] / change[None, :, None]
        else:
            found = OPERATIONS[operation](*parts)
    return np.where(np.isfinite(found), found, np.float32(0)).astype("<f4")


def predictable(
    name: str, arrays: Mapping[str, np.ndarray], change: Float32[np.ndarray, " pair"]
) -> bool:
    """Whether the measures behind ``name`` are there, on the same pairs."""
    if name not in PREDICTED or f"values.{name}" not in arrays:
        return False
    shape = arrays[f"values.{name}"].shape
    return shape[1] == len(change) and all(
        f"values.{key}" in arrays and arrays[f"values.{key}"].shape == shape
        for key in PREDICTED[name][1]
    )


def without_what_is_known(
    arrays: Mapping[str, np.ndarray], change: Float32[np.ndarray, " pair"]
) -> tuple[dict[str, np.ndarray], list[list[str]]]:
    """Return the arrays with those of `PREDICTED` replaced by their distance from it, and for each
    of these its name, the operation and the names that it is of.

    ``change`` is the metric of the clean prompt − that of the corrupted one.
    """
    found, told = dict(arrays), []
    for name, (operation, of) in PREDICTED.items():
        if predictable(name, arrays, change):
            expected = prediction(name, arrays, change)
            found[f"values.{name}"] = _distance(arrays[f"values.{name}"], expected)
            told.append([name, operation, *of])
    return found, told


def with_what_is_known(
    arrays: Mapping[str, np.ndarray],
    told: Sequence[Sequence[str]],
    change: Float32[np.ndarray, " pair"],
) -> dict[str, np.ndarray]:
    """Return the arrays that `without_what_is_known` was given."""
    found = dict(arrays)
    waiting = {name: tuple(of) for name, _, *of in told}
    while waiting:
        # A measure that another is predicted of comes first.
        name = next(name for name, of in waiting.items() if not waiting.keys() & set(of))
        expected = prediction(name, found, change)
        found[f"values.{name}"] = _at_distance(found[f"values.{name}"], expected)
        del waiting[name]
    return found


def _distance(true: Array, expected: Array) -> Int32[np.ndarray, "direction pair head"]:
    """The difference of the numbers' bits: how many float32 numbers lie between close ones."""
    return (true.view("<u4") - expected.view("<u4")).view("<i4")


def _at_distance(distance: Int32[np.ndarray, "direction pair head"], expected: Array) -> Array:
    return (expected.view("<u4") + distance.view("<u4")).view("<f4")
