"""What the machine can do, so that a time can be read as a share of it."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from counterpoint.linear import available, through_onednn

SIZE = 2048


def matrix_product_rates(repeats: int = 5) -> dict[str, float]:
    """Operations per second of a float32 matrix product, by library: the median of ``repeats``."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    products: dict[str, Callable[[], object]] = {"PyTorch's default": lambda: a @ b}
    if available():
        layer = nn.Linear(SIZE, SIZE, bias=False).requires_grad_(False)

        def through() -> object:
            with through_onednn([layer]):
                return layer(a)

        products["oneDNN"] = through
    return {name: _rate(product, repeats) for name, product in products.items()}


def _rate(product: Callable[[], object], repeats: int) -> float:
    product()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return 2 * SIZE**3 / statistics.median(seconds)


def describe() -> str:
    """Processor, threads and library, in words."""
    return f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
