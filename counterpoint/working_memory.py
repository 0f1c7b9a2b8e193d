"""How much memory a measurement may take for its batches where nobody says it."""

from __future__ import annotations

import os
from pathlib import Path

MOST_MB = 2000
"""On a CPU: what studies have by default; larger batches are no faster there."""
LEAST_MB = 200


def default_memory_mb(device: str = "cpu") -> int:
    """MB for the batches of one measurement: a quarter of what is free now, at most `MOST_MB` on a
    CPU; half of what is free on a GPU."""
    if device.startswith("cuda"):
        import torch

        return max(LEAST_MB, int(torch.cuda.mem_get_info(torch.device(device))[0] / 2e6))
    free = _free_mb()
    return MOST_MB if free is None else int(min(MOST_MB, max(LEAST_MB, free / 4)))


def _free_mb() -> float | None:
    """The memory that is free on this machine, and in this container; None where not told."""
    known = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        known += [int(line.split()[1]) / 1e3 for line in lines if line.startswith("MemAvailable")]
        limit, used = (
            Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
            for name in ("memory.max", "memory.current")
        )
        known.append((int(limit) - int(used)) / 1e6)
    except (OSError, ValueError):
        pass  # no such files, or no limit
    if not known and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2e6)
    return min(known, default=None)
