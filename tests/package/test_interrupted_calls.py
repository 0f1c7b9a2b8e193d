"""Calls in several threads, and calls that are broken off: numbers, models and settings stay."""

from __future__ import annotations

import threading
from typing import Any

import pandas as pd
import pytest
import torch

import counterpoint
from counterpoint.engine import suffix
from counterpoint.measures.tables import shards
from counterpoint.models.load import LanguageModel

PAIRS = [
    (" w5 w6 w7 w8", " w5 w9 w7 w8", " w10", " w11"),
    (" w5 w6 w7 w8 w9", " w5 w6 w12 w8 w9", " w10", " w13"),
]


def measured(model: LanguageModel, pairs: Any) -> pd.DataFrame:
    return counterpoint.measure(model, pairs, directions=["noising"], progress=False)


def test_two_threads_get_what_one_gets_and_leave_the_default_format(
    tiny_llama: LanguageModel,
) -> None:
    expected = [measured(tiny_llama, [pair]) for pair in PAIRS]
    found: dict[int, pd.DataFrame] = {}

    def work(number: int) -> None:
        found[number] = measured(tiny_llama, [PAIRS[number]])

    torch.set_default_dtype(torch.float64)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(found[number].equals(expected[number]) for number in range(2))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_call_that_is_broken_off_leaves_the_model_usable(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    expected = measured(tiny_llama, PAIRS)
    names = [set(vars(module)) for module in tiny_llama.hf.modules()]

    def broken(*given: Any, **settings: Any) -> Any:
        # As if it came between a change of a module and what would have taken it back.
        block = tiny_llama.blocks[1]
        block.forward = lambda *given: None
        block.register_forward_hook(lambda *given: None)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(suffix.SuffixEngine, "__init__", broken)
        patched.setattr(shards, "SuffixEngine", suffix.SuffixEngine)
        with pytest.raises(error):
            measured(tiny_llama, PAIRS)
    assert [set(vars(module)) for module in tiny_llama.hf.modules()] == names
    assert measured(tiny_llama, PAIRS).equals(expected)
