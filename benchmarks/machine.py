"""What the machine can do, so that a time can be read as a share of it."""

from __future__ import annotations

import platform
import statistics
import time
from pathlib import Path

import torch

SIZE = 2048


def matrix_product_rate(repeats: int = 5) -> float:
    """Floating-point operations per second of a float32 matrix product, the median of
    ``repeats``."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    a @ b
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
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
