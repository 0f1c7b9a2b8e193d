"""`measure`, `curves`, `interaction_partners`, `edges`: the numbers of workflow and reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import counterpoint
from counterpoint.files.artifacts import read_table, write_arrays, write_table, write_tensors
from counterpoint.measures.pattern_arrays import file_arrays, read_patterns
from counterpoint.measures.tables.curve_table import score_curves
from counterpoint.measures.tables.edge_table import KEYS, first_receivers, score_edges
from counterpoint.measures.tables.integrated_gradients_table import score_integrated_gradients
from counterpoint.measures.tables.interaction_table import score_interactions
from counterpoint.measures.tables.merging import merge_curves, merge_heads, merge_tables
from counterpoint.measures.tables.pattern_file import record_patterns
from counterpoint.measures.tables.role_table import score_roles
from counterpoint.measures.tables.shards import Measurement, cache_shard
from counterpoint.models.load import LanguageModel
from counterpoint.pairs.buckets import shard
from counterpoint.pairs.pair_checks import validate_pairs
from tests.helpers.reference import PlainReference

PAIRS = [
    (" w5 w6 w7 w8", " w5 w9 w7 w8", " w10", " w11"),
    (" w5 w6 w7 w8 w9", " w5 w6 w12 w8 w9", " w10", " w13"),
    (" w6 w6 w7 w8", " w6 w9 w7 w8", " w10", " w11"),
]
DIRECTIONS = ("noising", "denoising")


def study_of_heads(
    model: LanguageModel, pairs: pd.DataFrame, folder: Path, memory_mb: int
) -> pd.DataFrame:
    """The table of heads, and the other files, that the workflow's jobs make of one shard."""
    measurement = Measurement(memory_mb=memory_mb)
    activations, baseline = cache_shard(model, shard(pairs, 0, 64), measurement.metric)
    write_tensors(activations, folder / "activations.safetensors")
    write_table(baseline, folder / "baseline.parquet")
    cached = folder / "activations.safetensors"
    scores, curves = score_curves(model, cached, measurement)
    gradients = score_integrated_gradients(model, cached, measurement)
    write_table(scores, folder / "scores.parquet")
    write_tensors(curves, folder / "shard.safetensors")
    write_table(gradients, folder / "gradients.parquet")
    merge_heads(
        [folder / "scores.parquet"],
        [folder / "gradients.parquet"],
        folder / "heads.parquet",
        DIRECTIONS,
    )
    merge_curves([folder / "shard.safetensors"], folder / "curves.safetensors")
    return read_table(folder / "heads.parquet")


def study(model: LanguageModel, pairs: pd.DataFrame, folder: Path, memory_mb: int) -> Path:
    """The same with what is made beside it of partners, of parts inside heads, and of edges."""
    measurement = Measurement(memory_mb=memory_mb)
    heads = study_of_heads(model, pairs, folder, memory_mb)
    cached = folder / "activations.safetensors"
    partners = score_interactions(model, cached, heads, measurement, heads_per_pair=2)
    write_table(partners, folder / "partners.parquet")
    keys = ["pair", "direction", "layer", "head", "partner"]
    merge_tables([folder / "partners.parquet"], folder / "interaction.parquet", keys, DIRECTIONS)
    write_table(score_roles(model, cached, measurement), folder / "shard_roles.parquet")
    keys = ["pair", "direction", "layer", "head", "role"]
    merge_tables([folder / "shard_roles.parquet"], folder / "roles.parquet", keys, DIRECTIONS)
    write_arrays(file_arrays(record_patterns(model, pairs)), folder / "patterns.safetensors")
    edges = score_edges(model, cached, measurement, first_receivers(heads, 2))
    write_table(edges, folder / "shard_edges.parquet")
    merge_tables([folder / "shard_edges.parquet"], folder / "edges.parquet", KEYS, DIRECTIONS)
    return folder


def assert_same_table(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Rows, columns and digits; files know texts by another kind than tables in memory."""
    assert list(found.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)


def test_the_tables_are_those_of_the_workflow(tiny_model: LanguageModel, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    table = counterpoint.pairs(PAIRS)
    pairs, _ = validate_pairs(table, tiny_model.tokenizer, vocabulary=tiny_model.d_vocab)
    folder = study(tiny_model, pairs, tmp_path, 500)
    settings: Any = {"memory_mb": 500, "progress": False}
    heads = counterpoint.measure(tiny_model, table, **settings)
    assert_same_table(heads, read_table(folder / "heads.parquet"))
    assert heads.attrs["row"] == [1, 2, 3]
    baseline = read_table(folder / "baseline.parquet")
    assert heads.attrs["metric_clean"] == baseline["metric_clean"].tolist()
    stored = load_file(folder / "curves.safetensors")
    curves = counterpoint.curves(tiny_model, table, **settings)
    for name in ("alphas", "pairs", "output", "gradient"):
        np.testing.assert_array_equal(getattr(curves, name), stored[name])
    partners = counterpoint.interaction_partners(
        tiny_model, table, heads, heads_per_pair=2, **settings
    )
    assert_same_table(partners, read_table(folder / "interaction.parquet"))
    roles = counterpoint.roles(tiny_model, table, **settings)
    assert_same_table(roles, read_table(folder / "roles.parquet"))
    output = roles[roles["role"] == "output"].reset_index(drop=True)
    np.testing.assert_allclose(output["ap"], heads["ap"], rtol=0, atol=1e-5)
    found = counterpoint.attention_patterns(tiny_model, table, progress=False)
    kept = read_patterns(folder / "patterns.safetensors")
    assert found.pairs.tolist() == kept.pairs.tolist() == [0, 1, 2]
    for name in ("clean", "corrupted"):
        for ours, theirs in zip(getattr(found, name), getattr(kept, name), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    edges = counterpoint.edges(tiny_model, table, heads, top=2, **settings)
    assert_same_table(edges, read_table(folder / "edges.parquet"))


def test_the_table_can_be_written_and_joined(tiny_llama: LanguageModel, tmp_path: Path) -> None:
    heads = counterpoint.measure(tiny_llama, PAIRS[:1], progress=False)
    heads.to_parquet(tmp_path / "heads.parquet")
    assert len(pd.concat([heads, heads.assign(pair=1)])) == 2 * len(heads)
    assert not counterpoint.stability(heads).empty
    assert not counterpoint.correlations(pd.concat([heads, heads.assign(pair=1)])).empty
    assert not counterpoint.claims(heads).empty


def test_ap_and_curves_are_those_of_the_plain_reference(tiny_model: LanguageModel) -> None:
    clean, corrupted, correct, incorrect = PAIRS[0]
    first, second = (tiny_model.encode(text)[-1] for text in (correct, incorrect))
    reference = PlainReference(
        tiny_model.bridge(),
        torch.tensor(tiny_model.encode(clean)),
        torch.tensor(tiny_model.encode(corrupted)),
        lambda logits: logits[..., first] - logits[..., second],
    )
    heads = counterpoint.measure(tiny_model, PAIRS[:1], progress=False)
    curves = counterpoint.curves(tiny_model, PAIRS[:1], [(1, 2)], progress=False)
    assert np.isnan(curves.output[0, 0, 0]).all()
    with torch.no_grad():
        for order, direction in enumerate(DIRECTIONS):
            start = float(reference.head(0, 0, 0, direction))
            rows = heads[heads["direction"] == direction]
            for row in rows.itertuples():
                effect = float(reference.head(row.layer, row.head, 1, direction)) - start
                assert row.ap == pytest.approx(effect, abs=1e-4)
            for node in (0, 25, 49):
                value = float(reference.head(1, 2, float(curves.alphas[node]), direction))
                assert curves.output[0, order, 1, 2, node] == pytest.approx(value, abs=2e-4)


def test_edges_into_named_receivers(tiny_llama: LanguageModel) -> None:
    settings: Any = {"directions": ["denoising"], "first_order": False, "progress": False}
    edges = counterpoint.edges(tiny_llama, PAIRS[0], [(2, 1)], roles=["key"], **settings)
    assert set(
        zip(edges["receiver_layer"], edges["receiver_head"], edges["role"], strict=True)
    ) == {
        (2, 1, "key"),
        (tiny_llama.n_layers, -1, "logits"),
    }
    assert edges["exact"].all() and edges["eap"].isna().all()
    frozen = counterpoint.edges(
        tiny_llama, PAIRS[0], [(2, 1)], roles=["key"], norms="frozen", **settings
    )
    assert not np.allclose(frozen["effect"], edges["effect"], atol=1e-4)
    for wrong in ({"roles": "key"}, {"roles": ["keys"]}, {"norms": "folded"}, {"top": 0}):
        with pytest.raises(counterpoint.UserError):
            counterpoint.edges(tiny_llama, PAIRS[0], **{**settings, **wrong})
    with pytest.raises(counterpoint.UserError, match="no head"):
        counterpoint.edges(tiny_llama, PAIRS[0], [(9, 1)], **settings)


def test_mlps_directions_and_named_partners(tiny_llama: LanguageModel) -> None:
    mlps = counterpoint.measure(
        tiny_llama, PAIRS[0], component="mlp", directions=["denoising"], progress=False
    )
    assert "head" not in mlps.columns
    assert len(mlps) == tiny_llama.n_layers
    assert set(mlps["direction"]) == {"denoising"}
    partners = counterpoint.interaction_partners(tiny_llama, PAIRS[0], [(1, 2)], progress=False)
    assert set(zip(partners["layer"], partners["head"], strict=True)) == {(1, 2)}
    assert len(partners) == 2 * (tiny_llama.n_heads - 1)


def test_bad_pairs_are_all_told_or_left_out_with_a_warning(tiny_llama: LanguageModel) -> None:
    bad = [(" w5 w6", " w5", " w10", " w11"), (" w5 w6", " w5 w7", " w8 w9", " w6")]
    with pytest.raises(counterpoint.UserError) as error:
        counterpoint.measure(tiny_llama, [*bad, PAIRS[0]], progress=False)
    assert "row 1: clean has 2 tokens, corrupted has 1" in str(error.value)
    assert "row 2: correct ' w8 w9' is 2 tokens" in str(error.value)
    with pytest.warns(UserWarning, match="2 rows were left out"):
        heads = counterpoint.measure(
            tiny_llama, [*bad, PAIRS[0]], on_bad_pair="drop", progress=False
        )
    assert heads.attrs["row"] == [3]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"directions": "noising"}, "directions=['noising']"),
        ({"directions": ["noise"]}, "expected a list of one or both"),
        ({"metric": "logit_diference"}, "did you mean logit_difference?"),
        ({"nodes": 50}, "expected one of adaptive, gauss-legendre-50"),
        ({"max_nodes": 50}, "expected one of 3, 5, 9"),
        ({"tolerance": 0}, "expected a number above 0"),
        ({"max_steps": 0}, "expected at least 1"),
        ({"component": "neuron"}, "expected 'head' or 'mlp'"),
        ({"on_bad_pair": "ignore"}, "expected 'error' or 'drop'"),
    ],
)
def test_settings_that_are_none(tiny_llama: LanguageModel, settings: Any, said: str) -> None:
    with pytest.raises(counterpoint.UserError) as error:
        counterpoint.measure(tiny_llama, PAIRS, progress=False, **settings)
    assert said in str(error.value)


def test_heads_and_models_that_are_none(tiny_llama: LanguageModel) -> None:
    for heads, said in (
        ([(9, 9)], "the model has no head 9.9; its layers go from 0 to 2"),
        ([3], "expected a list of (layer, head)"),
        ([], "names no head"),
    ):
        with pytest.raises(counterpoint.UserError) as error:
            counterpoint.curves(tiny_llama, PAIRS, heads, progress=False)
        assert said in str(error.value)
    with pytest.raises(counterpoint.UserError, match=r"expected what counterpoint\.load gives"):
        counterpoint.measure(tiny_llama.hf, PAIRS)
    with pytest.raises(counterpoint.UserError, match="lacks ig_joint"):
        counterpoint.interaction_partners(
            tiny_llama,
            PAIRS,
            counterpoint.measure(tiny_llama, PAIRS, progress=False).drop(columns="ig_joint"),
        )


def test_a_model_that_gives_nan_is_told(tiny_llama: LanguageModel) -> None:
    model = counterpoint.load(tiny_llama, dtype="float64")
    with torch.no_grad():
        next(model.hf.parameters())[6] = torch.nan
    with pytest.raises(counterpoint.UserError, match="computes NaN or infinity"):
        counterpoint.measure(model, PAIRS, progress=False)


def test_progress_is_one_line_or_none(
    tiny_llama: LanguageModel, capfd: pytest.CaptureFixture[str]
) -> None:
    counterpoint.measure(tiny_llama, PAIRS[0], directions=["noising"], progress=False)
    assert capfd.readouterr() == ("", "")
    counterpoint.measure(tiny_llama, PAIRS[0], directions=["noising"])
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "measuring" in shown.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "fluend"}, "did you mean fluent?"),
        ({"settings": {"change": 1}}, "did you mean changes?"),
        ({"method": "random_swaps", "settings": {"changes": 1}}, "has none"),
        ({"answers": (" w5",)}, "expected the correct and the incorrect answer"),
        ({"evaluations": 0}, "expected at least 1"),
        ({"start": []}, "expected at least one prompt"),
        ({"start": 3}, "3 is no start"),
        ({"head": (9, 9)}, "the model has no head 9.9"),
        ({"answer_in_prompt": "never"}, "expected 'unwritten'"),
    ],
)
def test_searches_that_are_none(tiny_llama: LanguageModel, settings: Any, said: str) -> None:
    given = {"head": (1, 2), "start": " w5 w6 w7", "progress": False} | settings
    with pytest.raises(counterpoint.UserError) as error:
        counterpoint.compose(tiny_llama, **given)
    assert said in str(error.value)


def test_composed_pairs_are_pairs(tiny_llama: LanguageModel) -> None:
    found = counterpoint.compose(
        tiny_llama, (1, 2), PAIRS, method="likely_swaps", evaluations=200, progress=False
    )
    assert found.reason is None
    best = found.pairs[:1]
    heads = counterpoint.measure(tiny_llama, best, directions=["noising"], progress=False)
    own = heads[(heads["layer"] == 1) & (heads["head"] == 2)]["ap"].item()
    checked = counterpoint.validate(tiny_llama, (1, 2), best, transferred=0, nulls=2)
    assert checked["ap"].item() == pytest.approx(own, abs=1e-4)
    assert checked["ap_plain"].item() == pytest.approx(own, abs=1e-4)
