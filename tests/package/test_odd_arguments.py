"""What a caller may get wrong, or write in another way: answered rightly or with the remedy."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import counterpoint
from counterpoint.models.load import LanguageModel
from counterpoint.pairs.pair_files import COLUMNS
from tests.helpers.tiny_models import make_tiny_model

PAIRS = [
    (" w5 w6 w7 w8", " w5 w9 w7 w8", " w10", " w11"),
    (" w5 w6 w7 w8 w9", " w5 w6 w12 w8 w9", " w10", " w13"),
]
OTHERS = [
    (" w5 w6 w7 w8", " w5 w13 w7 w8", " w14", " w11"),
    (" w5 w6 w7 w8 w9", " w5 w6 w14 w8 w9", " w15", " w13"),
]
KEYS = ["pair", "direction", "layer", "head"]
QUIET: Any = {"progress": False}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return make_tiny_model("llama")


@pytest.fixture(scope="module")
def heads(model: LanguageModel) -> pd.DataFrame:
    return counterpoint.measure(model, PAIRS, **QUIET)


def refusal(call: Any, *given: Any, **settings: Any) -> str:
    with pytest.raises(counterpoint.UserError) as error:
        call(*given, **settings)
    return str(error.value)


@pytest.mark.parametrize(
    "rows",
    [
        [pd.Series(dict(zip(COLUMNS, PAIRS[0], strict=True)))],
        [pd.Series(PAIRS[0])],
        np.array(PAIRS[:1]),
        pd.Series([PAIRS[0]]),
        [tuple(np.str_(text) for text in PAIRS[0])],
        pd.DataFrame([PAIRS[0]], columns=list(COLUMNS)).astype("category"),
    ],
)
def test_rows_of_pandas_and_numpy_are_pairs(rows: Any) -> None:
    pd.testing.assert_frame_equal(counterpoint.pairs(rows), counterpoint.pairs(PAIRS[:1]))


def test_pairs_that_are_none_say_what_to_give(tmp_path: Path) -> None:
    twice = pd.DataFrame([(*PAIRS[0], "")], columns=[*COLUMNS, "clean"])
    assert "has the column clean more than once" in refusal(counterpoint.pairs, twice)
    for unordered in (set(PAIRS[0]), set(PAIRS)):
        assert "a set was given, which has no order" in refusal(counterpoint.pairs, unordered)
    for missing, said in ((tmp_path, "is a folder"), (tmp_path / "pairs.csv", "is not there")):
        message = refusal(counterpoint.pairs, missing)
        assert said in message
        assert "configuration" not in message
    own = pd.DataFrame([(*PAIRS[0], "x")], columns=[*COLUMNS, "malformed"])
    assert counterpoint.pairs(own)["given_malformed"].tolist() == ["x"]


def test_the_remedy_for_bad_rows_is_python_s(model: LanguageModel) -> None:
    message = refusal(counterpoint.measure, model, [*PAIRS, PAIRS[0]], **QUIET)
    assert message.endswith('leave them out with on_bad_pair="drop".')


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"directions": None}, "directions=None is not allowed"),
        ({"directions": 3}, "directions=3 is not allowed"),
        ({"directions": {"sideways"}}, "expected a list of one or both"),
        ({"max_nodes": 17.0}, "max_nodes=17.0 is not allowed"),
        ({"tolerance": True}, "tolerance=True is not allowed"),
        ({"max_steps": True}, "expected a whole number, at least 1"),
        ({"memory_mb": 0}, "memory_mb=0 is not allowed; expected at least 1"),
        ({"memory_mb": "100"}, "memory_mb='100' is not allowed; expected a whole number"),
    ],
)
def test_settings_of_another_kind(model: LanguageModel, settings: Any, said: str) -> None:
    assert said in refusal(counterpoint.measure, model, PAIRS, **QUIET, **settings)


def test_numbers_of_numpy_and_an_iterator_of_directions_are_taken(
    model: LanguageModel, heads: pd.DataFrame
) -> None:
    settings: Any = {
        "max_steps": np.int64(128),
        "max_nodes": np.int64(65),
        "tolerance": np.float64(1e-4),
        "memory_mb": np.int64(2000),
    }
    both: Any = iter(["noising", "denoising"])
    found = counterpoint.measure(model, PAIRS, directions=both, **settings, **QUIET)
    pd.testing.assert_frame_equal(found, heads)
    unordered: Any = {"denoising", "noising"}
    found = counterpoint.measure(model, PAIRS, directions=unordered, **settings, **QUIET)
    assert found["direction"].tolist() == heads["direction"].tolist()


def test_heads_in_other_forms(model: LanguageModel, heads: pd.DataFrame) -> None:
    wanted = heads[(heads["layer"] == 1) & (heads["head"] == 2)]
    for given in (wanted, np.array([[1, 2]]), np.array([[1.0, 2.0]]), {(1, 2)}, [[1, 2], (1, 2)]):
        curves = counterpoint.curves(model, PAIRS[:1], given, directions=["noising"], **QUIET)
        known = ~np.isnan(curves.output[0, 0, :, :, 0])
        assert np.argwhere(known).tolist() == [[1, 2]]
    wrong: Any
    for wrong in ("12", ["12"], [("1", "2")], [(1.5, 2)], [(True, 0)], [(1, float("inf"))], 3):
        assert "expected a list of (layer, head)" in refusal(
            counterpoint.curves, model, PAIRS, wrong, **QUIET
        )
    for wrong in ("1.2", "12", 5, None, (1, 2, 3), (1.5, 2)):
        message = refusal(counterpoint.compose, model, wrong, " w5 w6 w7", **QUIET)
        assert message.endswith("is not allowed; expected (layer, head), as in (23, 3).")


def test_partners_refuse_a_table_of_something_else(
    model: LanguageModel, heads: pd.DataFrame
) -> None:
    for table, said in (
        (pd.concat([heads, heads]), "has two rows of"),
        (heads.assign(ap=np.nan), "has no row of pair 0 and the direction noising"),
        (heads.assign(ap="x"), "the column ap of the table of heads has no numbers"),
        (heads.assign(head=heads["head"] + 9), "the model has no head 0.9"),
    ):
        assert said in refusal(counterpoint.interaction_partners, model, PAIRS, table, **QUIET)
    for pairs, settings in ((OTHERS, {}), (PAIRS, {"metric": "kl_divergence"})):
        message = refusal(
            counterpoint.interaction_partners, model, pairs, heads, **settings, **QUIET
        )
        assert "is of other pairs, or of another metric" in message


def test_warnings_point_to_the_caller(model: LanguageModel) -> None:
    bad = (" w5", " w6 w7", " w8", " w9")
    for call in (counterpoint.measure, counterpoint.curves, counterpoint.interaction_partners):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            call(model, [PAIRS[0], bad], directions=["noising"], on_bad_pair="drop", **QUIET)
        assert {warning.filename for warning in found} == {__file__}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seed": "a"}, "seed='a' is not allowed; expected a whole number"),
        ({"seed": None}, "seed=None"),
        ({"evaluations": None}, "evaluations=None is not allowed"),
        ({"evaluations": float("inf")}, "evaluations=inf is not allowed"),
        ({"evaluations": -3}, "evaluations=-3 is not allowed; expected at least 1"),
        ({"seconds": "1"}, "seconds='1' is not allowed"),
        ({"method": None}, "method=None is unknown"),
        ({"settings": {"changes": "x"}}, "changes is 'x'; expected a number"),
        ({"start": {"clean": " w5 w6"}}, "is no start"),
        ({"answers": 3}, "answers=3 is not allowed"),
        ({"memory_mb": -1}, "memory_mb=-1 is not allowed"),
    ],
)
def test_searches_of_another_kind(model: LanguageModel, settings: Any, said: str) -> None:
    given = {"head": (1, 2), "start": " w5 w6 w7"} | settings
    assert said in refusal(counterpoint.compose, model, **given, **QUIET)


STATISTICS = ("correlations", "claims", "stability")
FIGURES = ("heat_maps", "top_heads", "regressions")


@pytest.mark.parametrize("name", [*STATISTICS, *FIGURES])
def test_what_is_no_table_of_heads_is_told(heads: pd.DataFrame, name: str) -> None:
    call = getattr(counterpoint, name, None) or getattr(counterpoint.figures, name)
    for table, said in (
        (3, "the table of heads is a int; expected a DataFrame"),
        (heads[:0], "has no rows"),
        (heads.drop(columns="direction"), "lacks the column direction"),
        (heads.drop(columns="head"), "lacks the column head"),
        (heads.set_index(KEYS), "Call reset_index() first"),
        (heads.drop(columns="ap"), "ap"),
        (heads.assign(ap="x"), "expected numbers"),
    ):
        assert said in refusal(call, table)


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_that_are_none_are_told(heads: pd.DataFrame, name: str) -> None:
    call = getattr(counterpoint, name)
    assert "appears twice" in refusal(call, pd.concat([heads, heads]))
    assert "expected counterpoint.statistics" in refusal(call, heads, settings={"seed": 1})
    assert "output_range_closed" in refusal(call, heads.drop(columns="output_range_closed"))


def test_words_that_are_none_are_told(heads: pd.DataFrame) -> None:
    assert "'curliness'" in refusal(counterpoint.correlations, heads, measures="curliness")
    assert "'pears'" in refusal(counterpoint.correlations, heads, methods=["pears"])
    assert "'curliness'" in refusal(counterpoint.stability, heads, scores=["curliness"])


@pytest.mark.parametrize("name", FIGURES)
def test_figures_take_tables_with_texts_and_from_files(heads: pd.DataFrame, name: str) -> None:
    draw = getattr(counterpoint.figures, name)
    draw(heads.assign(model="tiny"))
    draw(pd.read_csv(io.StringIO(heads.to_csv(index=False))))


def test_mlp_layers_are_not_drawn_from_heads(heads: pd.DataFrame) -> None:
    assert "component='mlp'" in refusal(counterpoint.figures.mlp_layers, heads)
