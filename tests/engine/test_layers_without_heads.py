"""A model of which one layer alone has heads (LFM2: the others are convolutions), to its tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from counterpoint.counterfactuals.evaluation.all_heads import Pair, exact_effects, first_order
from counterpoint.counterfactuals.problem import Target
from counterpoint.engine.activations import Direction, TokenPairs
from counterpoint.errors import UserError
from counterpoint.figures.heat_map_figures import heat_maps
from counterpoint.files.artifacts import write_table, write_tensors
from counterpoint.measures.tables.curve_table import score_curves
from counterpoint.measures.tables.faithfulness_table import score_faithfulness
from counterpoint.measures.tables.integrated_gradients_table import score_integrated_gradients
from counterpoint.measures.tables.interaction_table import score_interactions
from counterpoint.measures.tables.merging import join_heads
from counterpoint.measures.tables.shards import Measurement, cache_shard
from counterpoint.models.load import LanguageModel, load_language_model
from counterpoint.models.model_shape import read_heads
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import read_pairs
from counterpoint.workflow.targets import choose_targets
from tests.helpers.small_study import make_model, write_pairs
from tests.helpers.whole_passes import effects

NOISING: tuple[Direction, ...] = ("noising",)
LAYERS = ["conv", "full_attention", "conv"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("hybrid") / "tiny", "lfm2", layer_types=LAYERS)


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return load_language_model(folder)


def test_tables_have_rows_of_the_layer_with_heads_alone(
    model: LanguageModel, tmp_path: Path
) -> None:
    pairs, _ = validate_pairs(read_pairs(write_pairs(tmp_path / "pairs.csv")), model.tokenizer)
    measurement = Measurement(directions=NOISING)
    activations, _ = cache_shard(model, pairs.head(2), measurement.metric)
    shard = tmp_path / "activations"
    write_tensors(activations, shard)
    curves, tensors = score_curves(model, shard, measurement)
    heads = join_heads(curves, score_integrated_gradients(model, shard, measurement), NOISING)
    write_table(heads, tmp_path / "heads.parquet")
    assert set(heads["layer"]) == {1}
    assert len(heads) == 2 * model.n_heads
    assert heads[["ap", "ig_joint"]].notna().all(axis=None)
    assert tensors["output"].shape == (2, 1, 3, model.n_heads, 50)
    assert tensors["output"][:, :, [0, 2]].isnan().all()
    assert tensors["output"][:, :, 1].isfinite().all()
    mlps, _ = score_curves(model, shard, measurement, "mlp")
    assert sorted(set(mlps["layer"])) == [0, 1, 2]
    assert mlps["ap"].notna().all()

    faithful = score_faithfulness(model, shard, heads, measurement)
    assert set(faithful["k"]) == {1, 2, 3}
    assert faithful["recovered"].notna().all()
    partners = score_interactions(model, shard, heads, measurement)
    assert set(partners["layer"]) == {1}
    assert len(heat_maps(heads, floor=0.0).axes) >= 4


def test_searches_see_no_heads_where_there_are_none(model: LanguageModel) -> None:
    names = "When John and Mary met ,"
    clean, corrupted = (
        tuple(model.encode(f"{names} {who} gave a book to")) for who in ("Mary", "John")
    )
    (correct,), (incorrect,) = (
        model.tokenizer.encode(answer, add_special_tokens=False) for answer in (" John", " Mary")
    )
    pair = Pair(clean, corrupted, correct, incorrect)
    (exact,) = exact_effects(model, [pair])
    estimated = first_order(model, pair)
    assert exact.shape == (3 * model.n_heads, 1)
    for numbers in (exact[:, 0], *estimated):
        by_layer = numbers.reshape(3, model.n_heads)
        assert not by_layer[[0, 2]].any()
        assert by_layer[1].all()
    tokens = TokenPairs(
        torch.tensor([clean]), torch.tensor([corrupted]), ((correct,),), ((incorrect,),), (0,)
    )
    with torch.no_grad():
        plain = effects(model, tokens, "noising", "head")
    wanted = [-float(plain[0, 1, head]) for head in range(model.n_heads)]
    assert exact[model.n_heads : 2 * model.n_heads, 0] == pytest.approx(wanted, abs=1e-5)


def test_pairs_without_a_prefix_say_nothing_of_those_with_one(folder: Path) -> None:
    """The first pair of a search may differ at its first token; the next one later."""
    model = load_language_model(folder)
    clean = torch.arange(5, 14)
    for first in (0, 3):
        corrupted = clean.clone()
        corrupted[first] = 4
        tokens = TokenPairs(clean[None], corrupted[None], ((6,),), ((7,),), (0,))
        pair = Pair(tuple(clean.tolist()), tuple(corrupted.tolist()), 6, 7)
        (exact,) = exact_effects(model, [pair])
        with torch.no_grad():
            plain = effects(model, tokens, "noising", "head")
        wanted = [-float(plain[0, 1, head]) for head in range(model.n_heads)]
        assert exact[model.n_heads : 2 * model.n_heads, 0] == pytest.approx(wanted, abs=1e-5)


def test_targets_are_heads_that_exist(model: LanguageModel, folder: Path) -> None:
    shape = read_heads(folder)
    assert shape.heads == [(1, head) for head in range(4)]
    assert choose_targets([[1, 2]], shape) == [[1, 2]]
    drawn = choose_targets({"random": 4, "seed": 0}, shape)
    assert sorted(drawn) == [[1, head] for head in range(4)]
    with pytest.raises(UserError, match=r"layer 2 has no attention heads.*are 1"):
        choose_targets([[1, 2], [2, 0]], shape)
    with pytest.raises(UserError, match="the model has 4"):
        choose_targets({"random": 5, "seed": 0}, shape)
    Target(1, 3).check(model)
    with pytest.raises(UserError, match="layer 0 has no attention heads"):
        Target(0, 0).check(model)


def test_heat_maps_leave_rows_of_layers_without_heads_empty() -> None:
    heads = pd.DataFrame(
        [
            {"pair": 0, "direction": "noising", "layer": layer, "head": head, "ap": 1.0 + head}
            for layer in (1, 3)
            for head in range(2)
        ]
    )
    for name in ("ig_joint", "output_range", "gradient_range", "output_range_closed"):
        heads[name] = heads["ap"]
    heads["total_variation"] = heads["ap"]
    figure = heat_maps(heads, floor=0.0)
    image = np.ma.filled(figure.axes[0].images[0].get_array().astype(float), np.nan)
    assert np.isnan(image[[0, 2]]).all()
    assert np.isfinite(image[[1, 3]]).all()
