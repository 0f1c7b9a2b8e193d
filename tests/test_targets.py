"""Which heads pairs are searched for."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from counterpoint.errors import UserError
from counterpoint.files import write_table
from counterpoint.models.shape import Shape
from counterpoint.targets import choose_targets

SHAPE = Shape(n_layers=3, n_heads=2, max_length=None)


def test_named_heads_are_kept_in_order() -> None:
    assert choose_targets([[2, 1], [0, 0]], SHAPE) == [[2, 1], [0, 0]]
    assert choose_targets([], SHAPE) == []


def test_a_head_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match=r"here: the model has no head \[3, 0\]"):
        choose_targets([[0, 1], [3, 0]], SHAPE, key="here")


def test_the_strongest_heads_by_mean_absolute_ap(tmp_path: Path) -> None:
    rows = [
        (pair, layer, head, ap)
        for pair in (0, 1)
        for layer, head, ap in ((0, 0, 1.0), (0, 1, -3.0), (1, 0, 1.0), (2, 1, 2.0 * (-1) ** pair))
    ]
    table = pd.DataFrame(rows, columns=["pair", "layer", "head", "ap"])
    write_table(table, tmp_path / "heads.parquet")
    chosen = choose_targets({"top": 3}, SHAPE, scores=tmp_path / "heads.parquet")
    assert chosen == [[0, 1], [2, 1], [0, 0]]


def test_random_heads_go_by_their_seed_and_do_not_repeat() -> None:
    first = choose_targets({"random": 6, "seed": 1}, SHAPE)
    assert first == choose_targets({"random": 6, "seed": 1}, SHAPE)
    assert sorted(first) == [[layer, head] for layer in range(3) for head in range(2)]
    assert first != choose_targets({"random": 6, "seed": 2}, SHAPE)


def test_more_heads_than_there_are() -> None:
    with pytest.raises(UserError, match="7 heads are asked for, but the model has 6"):
        choose_targets({"random": 7}, SHAPE)
