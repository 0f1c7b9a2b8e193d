"""What the machine can do, so that a time can be read as a share of it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Wall seconds of a call, and what it returned."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def describe() -> str:
    """Processor, threads and library, in words."""
    return f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def peak_mb() -> float:
    """Peak memory of this process, MB. Not ``ru_maxrss``, which begins at what the process that
    started this one had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
