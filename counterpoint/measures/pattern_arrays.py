"""The attention patterns of both prompts of some pairs, as arrays, and the file that holds them.

No torch: figures and the report read them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class AttentionPatterns:
    """What every head looks at, on both prompts of each pair.

    Attributes:
        pairs: The number of each pair.
        clean: Of each pair an array [layer, head, query, key]: how much of the value at position
            ``key`` the head takes at position ``query`` of the clean prompt. Not a number in layers
            without heads.
        corrupted: The same of the corrupted prompts.
    """

    pairs: Int[Array, " pair"]
    clean: tuple[Float[Array, "layer head query key"], ...]
    corrupted: tuple[Float[Array, "layer head query key"], ...]

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[tuple[int, Array, Array]]:
        """Each pair's number and its two arrays."""
        return iter(zip(self.pairs.tolist(), self.clean, self.corrupted, strict=True))


def file_arrays(patterns: AttentionPatterns) -> dict[str, Array]:
    """The arrays under the names that they have in ``patterns.safetensors``."""
    named: dict[str, Array] = {"pairs": patterns.pairs}
    for pair, clean, corrupted in patterns:
        named |= {f"{pair}.clean": clean, f"{pair}.corrupted": corrupted}
    return named


def read_patterns(path: str | os.PathLike[str]) -> AttentionPatterns:
    """The patterns that a study's ``patterns.safetensors`` holds."""
    from safetensors.numpy import load_file

    named = load_file(path)
    pairs = named["pairs"]
    clean, corrupted = (
        tuple(named[f"{pair}.{prompt}"] for pair in pairs) for prompt in ("clean", "corrupted")
    )
    return AttentionPatterns(pairs, clean, corrupted)
