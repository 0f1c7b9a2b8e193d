"""What a call leaves as it found it: everything of torch, numpy and Python that is one for all."""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

_ONE_AT_A_TIME = threading.RLock()
"""Of two threads the second waits: what is kept here is one for the process, and a model's modules
are replaced while they are measured."""


@contextmanager
def unchanged_state() -> Iterator[None]:
    """Within the block torch is as in a fresh process; after it, as it was before.

    Gradients can be taken although the caller is inside `torch.no_grad` or `torch.inference_mode`;
    nothing is computed in another format although the caller is inside `torch.autocast` or has set
    another default. Afterwards the number of threads, the generators of random numbers (torch on
    the CPU and on the current GPU, numpy, Python), default format and device, and the filters of
    warnings are the caller's. Calls from several threads are answered one after the other.
    """
    with _ONE_AT_A_TIME, _unchanged_state():
        yield


@contextmanager
def _unchanged_state() -> Iterator[None]:
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    seeds = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device("cpu"))
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            stack.enter_context(torch.random.fork_rng([torch.cuda.current_device()]))
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            torch.set_rng_state(seeds[0])
            np.random.set_state(seeds[1])  # noqa: NPY002
            random.setstate(seeds[2])
