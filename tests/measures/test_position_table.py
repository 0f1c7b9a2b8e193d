"""The table of positions: rows, tokens, spans; the public function gives the workflow's table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import counterpoint
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_table, write_tensors
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.tables.merging import merge_tables
from counterpoint.measures.tables.position_curve_table import COLUMNS as CURVE_COLUMNS
from counterpoint.measures.tables.position_curve_table import no_rows as no_curves
from counterpoint.measures.tables.position_curve_table import score_position_curves
from counterpoint.measures.tables.position_table import (
    COLUMNS,
    KEYS,
    no_rows,
    score_positions,
)
from counterpoint.measures.tables.shards import Measurement, cache_shard, pair_numbers
from counterpoint.models.load import LanguageModel, load_language_model
from counterpoint.pairs.buckets import shard
from counterpoint.pairs.pair_checks import validate_pairs
from tests.helpers.pair_factory import random_pairs
from tests.helpers.small_study import ANSWERS, PAIRS, make_model
from tests.helpers.tiny_models import make_tiny_model

ROWS = [(*pair, *ANSWERS) for pair in PAIRS]
DICTS = [
    dict(zip(("clean", "corrupted", "correct", "incorrect"), row, strict=True))
    | {"spans": "first=John; second=Mary; again=Mary#2"}
    for row in ROWS
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_language_model(make_model(tmp_path_factory.mktemp("positions") / "tiny"))


@pytest.fixture(scope="module")
def pairs(model: LanguageModel) -> pd.DataFrame:
    valid, _ = validate_pairs(counterpoint.pairs(DICTS), model.tokenizer)
    return valid


@pytest.fixture(scope="module")
def table(model: LanguageModel, pairs: pd.DataFrame) -> pd.DataFrame:
    """All pairs in one shard."""
    cached, _ = cache_shard(model, shard(pairs, 0, 64), "logit_difference")
    return score_positions(model, cached, pairs, Measurement())


def test_every_component_has_a_row_at_every_position(
    table: pd.DataFrame, pairs: pd.DataFrame, model: LanguageModel
) -> None:
    assert list(table.columns) == list(COLUMNS)
    assert not table.duplicated(list(KEYS)).any()
    assert not table.isna().any(axis=None)
    units = {"residual": 3, "attention": 3, "mlp": 3, "head": 3 * model.n_heads}
    for (pair, _, component), rows in table.groupby(["pair", "direction", "component"]):
        row = pairs.iloc[pair]
        positions = range(row["first_difference"], row["length"])
        assert sorted(rows["position"].unique()) == list(positions)
        assert len(rows) == units[component] * len(positions)
        assert set(rows["head"]) == (set(range(4)) if component == "head" else {-1})


def test_tokens_are_those_of_the_background_and_spans_those_of_the_file(
    table: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    first = table[(table["pair"] == 0) & (table["component"] == "residual")]
    at = int(pairs.loc[0, "first_difference"])
    for direction, token in (("noising", " Mary"), ("denoising", " John")):
        rows = first[first["direction"] == direction]
        assert set(rows.loc[rows["position"] == at, "token"]) == {token}
        assert set(rows.loc[rows["position"] == at, "span"]) == {"again"}
        last = rows["position"].max()
        assert set(rows.loc[rows["position"] == last, "token"]) == {" to"}
        assert set(rows.loc[rows["position"] == last, "span"]) == {"end"}
    assert set(table["span"]) == {"", "again", "end"}


def test_joint_is_the_table_of_heads_and_of_mlps(
    table: pd.DataFrame, model: LanguageModel, pairs: pd.DataFrame
) -> None:
    heads = counterpoint.measure(model, DICTS, progress=False)
    joint = table[table["component"] == "head"].groupby([*KEYS[:2], "layer", "head"])
    both = joint["ap_joint"].agg(["min", "max"]).reset_index().merge(heads)
    assert len(both) == len(heads)
    assert both["min"].to_numpy() == pytest.approx(both["ap"].to_numpy(), abs=1e-5)
    assert (both["min"] == both["max"]).all()


def test_only_chosen_pairs_components_and_heads_are_patched(
    table: pd.DataFrame, model: LanguageModel, pairs: pd.DataFrame
) -> None:
    cached, _ = cache_shard(model, shard(pairs, 0, 64), "logit_difference")
    few = score_positions(
        model, cached, pairs, Measurement(), chosen=[1], components=["head"], heads=[(2, 3)]
    )
    assert set(few["pair"]) == {1}
    assert set(few["layer"]) == {2} and set(few["head"]) == {3}
    both = few.merge(table, on=list(KEYS))
    assert len(both) == len(few)
    assert both["ap_x"].to_numpy() == pytest.approx(both["ap_y"].to_numpy(), abs=1e-5)
    nothing = score_positions(model, cached, pairs, Measurement(), chosen=[])
    assert nothing.empty and list(nothing.dtypes) == list(no_rows().dtypes)
    with pytest.raises(UserError, match=r"no head 7\.0"):
        score_positions(model, cached, pairs, Measurement(), heads=[(7, 0)])


def test_the_public_function_gives_the_workflows_table(
    model: LanguageModel, pairs: pd.DataFrame, tmp_path: Path
) -> None:
    found = counterpoint.positions(model, DICTS, progress=False)
    cached, _ = cache_shard(model, shard(pairs, 0, 64), "logit_difference")
    write_tensors(cached, tmp_path / "activations")
    assert pair_numbers(tmp_path / "activations") == [0, 1, 2]
    scored = score_positions(model, tmp_path / "activations", pairs, Measurement())
    write_table(scored, tmp_path / "0.parquet")
    write_table(no_rows(), tmp_path / "1.parquet")
    parts = [tmp_path / "1.parquet", tmp_path / "0.parquet"]
    merge_tables(parts, tmp_path / "all.parquet", KEYS, ["noising", "denoising"])
    merged = pd.read_parquet(tmp_path / "all.parquet")
    texts = dict.fromkeys(("direction", "component", "token", "span"), object)
    pd.testing.assert_frame_equal(found, merged.astype(texts), check_exact=True)
    assert list(found["component"].unique()) == ["attention", "head", "mlp", "residual"]
    assert len(found.attrs["metric_clean"]) == 3


def test_curves_have_the_tables_rows_and_end_in_its_patches(
    table: pd.DataFrame, model: LanguageModel, pairs: pd.DataFrame, tmp_path: Path
) -> None:
    cached, _ = cache_shard(model, shard(pairs, 0, 64), "logit_difference")
    found = score_position_curves(model, cached, pairs, Measurement(), heads=[(1, 2), (2, 0)])
    assert list(found.columns) == list(CURVE_COLUMNS)
    heads = table[table["component"] == "head"]
    of_two = heads[heads.set_index(["layer", "head"]).index.isin([(1, 2), (2, 0)])]
    both = found[[*KEYS, "token", "span", "ap"]].merge(
        table, on=[*KEYS, "token", "span"], suffixes=("", "_patched"), validate="1:1"
    )
    n_heads = of_two.groupby(["pair", "direction", "position"]).ngroups * 2
    whole = table["component"] != "head"
    assert len(both) == len(found) == whole.sum() + n_heads
    assert both["ap"].to_numpy() == pytest.approx(both["ap_patched"].to_numpy(), abs=1e-5)
    output = np.stack(found["output"].tolist())
    assert output.shape == (len(found), 50) and output.dtype == np.float32
    ranged = output.max(1) - output.min(1)
    assert ranged == pytest.approx(found["output_range"].to_numpy(), abs=1e-5)
    # The table of several shards, one of them without pairs, keeps them as arrays.
    write_table(found, tmp_path / "0.parquet")
    write_table(no_curves(), tmp_path / "1.parquet")
    parts = [tmp_path / "1.parquet", tmp_path / "0.parquet"]
    merge_tables(parts, tmp_path / "all.parquet", KEYS, ["noising", "denoising"])
    merged = pd.read_parquet(tmp_path / "all.parquet")
    assert np.stack(merged["output"].tolist()).sum() == pytest.approx(output.sum(), rel=1e-6)
    public = counterpoint.position_curves(
        model, DICTS, components=["residual", "attention", "mlp", "head"], progress=False,
        heads=[(1, 2), (2, 0)],
    )  # fmt: skip
    for name in CURVE_COLUMNS:
        ours, theirs = public[name].tolist(), merged[name].tolist()
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)), name


def test_the_public_function_tells_mistakes(model: LanguageModel) -> None:
    with pytest.raises(UserError, match="'heads' is unknown; did you mean head"):
        counterpoint.positions(model, ROWS, components=["heads"])
    with pytest.raises(UserError, match="components is empty"):
        counterpoint.positions(model, ROWS, components=[])
    with pytest.raises(UserError, match=r"no head 9\.1"):
        counterpoint.positions(model, ROWS, heads=[(9, 1)])
    found = counterpoint.positions(
        model, ROWS[:1], components=["mlp"], directions=["noising"], progress=False
    )
    assert set(found["direction"]) == {"noising"}
    assert set(found["span"]) == {"", "end"}


def test_some_pairs_of_a_bucket_are_measured_as_they_are_in_it() -> None:
    model = make_tiny_model("llama")
    activations = cache_activations(model, random_pairs(4, n_pairs=4))
    whole = activation_patching(SuffixEngine(model, activations), "noising")
    few = activations.of_pairs([3, 1])
    assert few.pairs.number == (3, 1)
    assert few.prefix is not None and activations.prefix is not None
    assert torch.equal(few.prefix.keys[0], activations.prefix.keys[0][[3, 1]])
    found = activation_patching(SuffixEngine(model, few), "noising")
    by_unit = whole.reshape(model.n_layers, 4, model.n_heads)[:, [3, 1]]
    assert found == pytest.approx(by_unit.reshape(-1), abs=1e-5)
    assert activations.of_pairs(range(4)) is activations
    assert np.isfinite(found).all()
