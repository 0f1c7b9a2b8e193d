"""How fast a machine multiplies matrices, by which costs carry over from one to another."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from counterpoint.engine.linear import preferred, through_onednn

SIZE = 2048


def matrix_product_rates(repeats: int = 5) -> dict[str, float]:
    """Operations per second of a float32 matrix product, by library: the median of ``repeats``."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    products: dict[str, Callable[[], object]] = {"PyTorch's default": lambda: a @ b}
    if preferred():
        layer = nn.Linear(SIZE, SIZE, bias=False).requires_grad_(False)

        def through() -> object:
            with through_onednn([layer]):
                return layer(a)

        products["oneDNN"] = through
    return {name: _rate(product, repeats) for name, product in products.items()}


def best_rate(threads: int) -> float:
    """The better library's rate with so many threads; torch's own number stays as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return max(matrix_product_rates().values())
    finally:
        torch.set_num_threads(before)


def _rate(product: Callable[[], object], repeats: int) -> float:
    product()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return 2 * SIZE**3 / statistics.median(seconds)
