"""Which heads pairs are searched for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_table
from counterpoint.models.model_shape import Shape
from counterpoint.workflow.config import resolve
from counterpoint.workflow.named_heads import (
    check_depth_of_baselines,
    check_named_heads,
    declared_shape,
)
from counterpoint.workflow.targets import choose_targets

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


@pytest.mark.parametrize(
    ("stored", "shape"),
    [
        ({"num_hidden_layers": 3, "num_attention_heads": 4}, (3, 4)),
        ({"n_layer": 2, "n_head": 5}, (2, 5)),
        ({"num_hidden_layers": 9, "text_config": {"n_layers": 2, "n_heads": 5}}, (2, 5)),
        ({"num_hidden_layers": 3, "num_attention_heads": [4, 8]}, None),
        ({"num_hidden_layers": 3, "n_layer": 4, "num_attention_heads": 4}, None),
        ({}, None),
        ([], None),
    ],
)
def test_the_shape_that_a_model_declares(
    tmp_path: Path, stored: Any, shape: tuple[int, int] | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert declared_shape([tmp_path / "none", tmp_path]) == shape


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"counterfactuals": {"targets": [[2, 3]]}, "report": {"heads": [[2, 3]]}}, None),
        ({"report": {"heads": [[0, 0], [3, 0]]}}, r"\.a\.report\.heads: .*no head \[3, 0\]"),
        ({"report": {"heads": [[7, 7]]}}, r"layers go from 0 to 2 and its heads from 0 to 3"),
        ({"counterfactuals": {"targets": [[0, 4]]}}, r"studies\.a\.counterfactuals\.targets: "),
        ({"counterfactuals": {"targets": {"random": 13}}}, "13 heads are asked for.*has 12"),
        ({"counterfactuals": {"targets": {"top": 12}}}, None),
    ],
)
def test_named_heads_are_checked_at_start(
    tmp_path: Path, changes: dict[str, Any], expected: str | None
) -> None:
    (tmp_path / "m").mkdir()
    stored = {"num_hidden_layers": 3, "num_attention_heads": 4}
    (tmp_path / "m" / "config.json").write_text(json.dumps(stored))
    (tmp_path / "p.csv").write_text("clean\n")
    for model in ({"source": "local", "path": str(tmp_path / "m")}, {"source": "huggingface"}):
        entry = {"repository": "a/b", **model} if "path" not in model else model
        study = {"pairs": str(tmp_path / "p.csv"), "model": "m", **changes}
        raw = {"models": {"m": entry}, "studies": {"a": study}}
        found = resolve(raw, source="here")
        if expected is None:
            check_named_heads(found, tmp_path)
        else:
            with pytest.raises(UserError, match=expected):
                check_named_heads(found, tmp_path)
        # Nothing is known of a model that is not there.
        if "path" not in model:
            check_named_heads(found, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("layers", "baselines", "is_refused"),
    [
        (1, ["eap_ig", "atp_star"], True),
        (1, ["eap_ig", "relp", "atp_hvp"], False),
        (1, [], False),
        (2, ["atp_star"], False),
    ],
)
def test_scores_that_a_single_layer_does_not_allow_are_refused_at_start(
    tmp_path: Path, layers: int, baselines: list[str], is_refused: bool
) -> None:
    (tmp_path / "p.csv").write_text("clean\n")
    study = {"pairs": str(tmp_path / "p.csv"), "model": "m", "baselines": baselines}
    entry = {"source": "huggingface", "repository": "a/b"}
    found = resolve({"models": {"m": entry}, "studies": {"a": study}}, source="here")
    # Nothing is known of a model that is not there.
    check_depth_of_baselines(found, tmp_path)
    (tmp_path / "m").mkdir()
    stored = {"num_hidden_layers": layers, "num_attention_heads": 4}
    (tmp_path / "m" / "config.json").write_text(json.dumps(stored))
    if is_refused:
        with pytest.raises(UserError, match=r"studies\.a\.baselines: .*leave atp_star out"):
            check_depth_of_baselines(found, tmp_path)
    else:
        check_depth_of_baselines(found, tmp_path)
