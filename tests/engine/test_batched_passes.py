"""The strongest plain way of the benchmark gives what the engine gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import fair_peers
from benchmarks.batched_passes import BatchedPasses, Way, quickest, ways
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures import quadrature
from counterpoint.measures.curve_measures import GRID_SIZE
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.slopes import values
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_model

TOLERANCE = 1e-5
GRID = np.array([0.0, 0.3, 1.0])


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox"])
@pytest.mark.parametrize("first", [0, 3])
def test_batches_equal_the_engine(architecture: str, first: int) -> None:
    model = make_tiny_model(architecture)
    pairs = random_pairs(4, first_difference=first)
    engine = SuffixEngine(model, cache_activations(model, pairs))
    units = every_unit(model, 1)
    ours = values(engine, "noising", "head", units, np.broadcast_to(GRID, (len(units), len(GRID))))
    passes = BatchedPasses(model, pairs)
    heads = fair_peers.every_head(model)
    for onednn in (False, True):
        # A size that leaves a smaller last batch, with several layers in one.
        found = passes.curves(heads, GRID, Way(7, onednn))
        np.testing.assert_allclose(found, ours, atol=TOLERANCE)
    np.testing.assert_allclose(
        passes.patching(heads, Way(5, False)),
        activation_patching(engine, "noising"),
        atol=TOLERANCE,
    )
    assert np.abs(activation_patching(engine, "noising")).max() > 100 * TOLERANCE


def test_every_way_is_tried() -> None:
    model = make_tiny_model("llama")
    passes = BatchedPasses(model, random_pairs(5))
    tried = quickest(passes, fair_peers.every_head(model), np.linspace(0, 1, 22))
    assert set(tried) == set(ways())
    assert list(tried.values()) == sorted(tried.values())


def test_operations_of_a_row_are_counted_from_the_weights() -> None:
    model = make_tiny_model("llama")
    pairs = random_pairs(6, length=9, first_difference=3)
    # Queries and outputs 32 × 32, keys and values 32 × 16, three maps between 32 and 48.
    weights = 3 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48)
    expected = 2 * 6 * weights + 3 * 4 * 6 * 9 * 32 + 2 * 32 * 61
    assert fair_peers.row_operations(model, pairs) == expected


def test_comparison_and_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_peers, "SUFFIXES", (4, 8))
    model = make_tiny_model("llama")
    asked: dict[str, float] = {}
    details: dict[str, Any] = {}

    def in_turns(
        name: str, ours: Callable[[], Any], theirs: Callable[[], Any], scale: float
    ) -> tuple[Any, Any]:
        asked[name] = scale
        details[name] = {"seconds": 0.5, "seconds_other": 1.5, "ratio": 3.0}
        return ours(), theirs()

    sample = [(0, 0), (1, 1), (2, 2)]
    grid, _ = quadrature.gauss_legendre(GRID_SIZE)
    details |= fair_peers.compared(model, random_pairs(7), in_turns, sample, grid, 1)
    assert asked == {"curves_batched": 4.0, "ap_batched": 1.0}
    assert details["max_error_batched"] < 1e-4
    counts = details["batched"]["evaluations"]
    assert counts["curves_other"] == 12 * GRID_SIZE
    assert counts["ap"] == 12
    assert [point["at"] for point in details["batched"]["gain"]["suffix"]] == [4, 8]
    assert [point["at"] for point in details["batched"]["gain"]["layer"]] == [0, 1, 2]
    text = fair_peers.section(details)
    assert "| activation patching | 0.50 | 1.5 | 3.0 × | 12 | 13 |" in text


@pytest.mark.parametrize(
    ("suffix", "layer", "said"),
    [
        ((3.0, 1.9, 1.5), (1.0, 2.5), "from 8 positions on, and below layer 9"),
        ((3.0, 2.5, 2.1), (1.0, 1.5), "for no number of positions that was tried, and for heads"),
    ],
)
def test_where_the_gain_fades_is_said(
    suffix: tuple[float, ...], layer: tuple[float, ...], said: str
) -> None:
    gain = {
        "suffix": [{"at": at, "ratio": r} for at, r in zip((4, 8, 32), suffix, strict=True)],
        "layer": [{"at": at, "ratio": r} for at, r in zip((0, 9), layer, strict=True)],
    }
    assert said in fair_peers.faded(gain)
