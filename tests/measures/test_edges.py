"""Edges against whole passes with plain hooks, gradients, TransformerLens, and each other."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformer_lens import patching
from transformer_lens.tools.analysis.attribution_patching import (
    EdgeAttributionConfig,
    attribution_patch,
)
from transformers import (
    AutoModelForCausalLM,
    GraniteConfig,
    OPTConfig,
)

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import (
    DIRECTIONS,
    Direction,
    background_prompt,
    other_prompt,
)
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.frozen_norms import FrozenNorms
from counterpoint.engine.sender_changes import every_sender, sender_changes
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.edge_attribution import (
    first_order,
    first_order_direct,
    logits_gradients,
    path_runs,
    receiver_gradients,
)
from counterpoint.measures.edges import LOGITS, ROLES, direct_effects, edge_effects
from counterpoint.measures.tables.edge_table import COLUMNS, KEYS, first_receivers, score_edges
from counterpoint.measures.tables.merging import merge_tables
from counterpoint.measures.tables.shards import Measurement
from counterpoint.models.load import LanguageModel, wrap
from tests.engine.test_suffix import engine_for
from tests.helpers.default_model import default_model, first_pair
from tests.helpers.float64_throughout import float64_throughout
from tests.helpers.pair_factory import random_pairs
from tests.helpers.plain_paths import PlainPaths
from tests.helpers.tiny_models import N_LAYERS, VOCABULARY, make_tiny_model, make_tiny_tokenizer

__all__ = ["default_model"]

EXACT = 1e-9
"""float64 throughout; 1e-14 was seen."""
TINY = ("gpt2", "llama", "gpt_neox", "gemma2")
HEADS = [1, 2]


@pytest.mark.parametrize("first_difference", [3, 0])
@pytest.mark.parametrize("architecture", TINY)
def test_every_edge_equals_whole_passes(
    architecture: str, first_difference: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = float64_throughout(architecture, monkeypatch)
    pairs = random_pairs(1, n_pairs=2, first_difference=first_difference)
    engine = engine_for(model, pairs)
    attention, senders = AttentionParts(engine), every_sender(model)
    for direction in DIRECTIONS:
        plain = PlainPaths(model, pairs, direction)
        for place in (1,):
            changes = sender_changes(engine, direction, place)
            found = direct_effects(engine, direction, place, changes)
            keys = list(zip(senders.layer.tolist(), senders.head.tolist(), strict=True))
            expected = [plain.edge(key, (N_LAYERS, -1), LOGITS)[place].item() for key in keys]
            assert found == pytest.approx(expected, abs=EXACT)
            for layer in range(N_LAYERS):
                below = keys[: senders.count_below(layer)]
                exact = edge_effects(
                    attention, direction, place, layer, HEADS, ROLES, changes[: len(below)]
                )
                expected = [
                    [
                        [plain.edge(key, (layer, head), role)[place].item() for key in below]
                        for role in ROLES
                    ]
                    for head in HEADS
                ]
                assert exact == pytest.approx(np.array(expected), abs=EXACT)
                assert layer == 0 or np.abs(exact).max() > 1e-3


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_frozen_norms_equal_whole_passes(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = float64_throughout(architecture, monkeypatch)
    pairs = random_pairs(2)
    engine = engine_for(model, pairs)
    body = model.hf.transformer if architecture == "gpt2" else model.hf.model
    name = "ln_1" if architecture == "gpt2" else "input_layernorm"
    norms = [getattr(block, name) for block in model.blocks]
    norms.append(body.ln_f if architecture == "gpt2" else body.norm)
    plain = PlainPaths(model, pairs, "denoising", norms)
    frozen, senders = FrozenNorms(engine), every_sender(model)
    changes = sender_changes(engine, "denoising", 0)
    keys = list(zip(senders.layer.tolist(), senders.head.tolist(), strict=True))
    found = direct_effects(engine, "denoising", 0, changes, frozen=frozen)
    expected = [plain.edge(key, (N_LAYERS, -1), LOGITS).item() for key in keys]
    assert found == pytest.approx(expected, abs=EXACT)
    below = changes[: senders.count_below(2)]
    attention = AttentionParts(engine)
    exact = edge_effects(attention, "denoising", 0, 2, [3], ROLES, below, frozen=frozen)
    again = edge_effects(attention, "denoising", 0, 2, [3], ROLES, below)
    expected_edges = [
        [plain.edge(key, (2, 3), role).item() for key in keys[: len(below)]] for role in ROLES
    ]
    assert exact[0] == pytest.approx(np.array(expected_edges), abs=EXACT)
    # Nothing stays frozen, and it does make a difference.
    assert np.abs(exact - again).max() > 1e-3
    assert again == pytest.approx(
        edge_effects(AttentionParts(engine), "denoising", 0, 2, [3], ROLES, below), abs=EXACT
    )


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox"])
def test_changes_of_all_senders_make_the_whole_change(architecture: str) -> None:
    """Where nothing stands between a part and the stream, the stream is their sum."""
    model = make_tiny_model(architecture, "float64")
    engine = engine_for(model, random_pairs(3))
    senders = every_sender(model)
    for direction in DIRECTIONS:
        background, other = (
            engine.activations.run(side(direction)) for side in (background_prompt, other_prompt)
        )
        changes = sender_changes(engine, direction, 0)
        for layer in range(N_LAYERS):
            whole = (other.residual[layer] - background.residual[layer])[0]
            found = changes[: senders.count_below(layer)].sum(0)
            torch.testing.assert_close(found, whole, atol=EXACT, rtol=0)
        whole = (other.final - background.final)[0]
        torch.testing.assert_close(changes.sum(0)[-1], whole, atol=EXACT, rtol=0)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox"])
def test_eap_is_the_slope_of_whole_passes(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = float64_throughout(architecture, monkeypatch)
    pairs = random_pairs(4)
    engine = engine_for(model, pairs)
    attention, senders = AttentionParts(engine), every_sender(model)
    keys = list(zip(senders.layer.tolist(), senders.head.tolist(), strict=True))
    runs = path_runs(engine, 0)
    for direction in DIRECTIONS:
        plain = PlainPaths(model, pairs, direction)

        def slope(
            sender: tuple[int, int],
            receiver: tuple[int, int],
            role: str,
            plain: PlainPaths = plain,
        ) -> float:
            scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
            effect = plain.edge(sender, receiver, role, scale)
            return float(torch.autograd.grad(effect.sum(), scale)[0])

        prompt = background_prompt(direction)
        changes = sender_changes(engine, direction, 0)
        found = first_order_direct(logits_gradients(runs).of_prompt[prompt], changes)
        expected = [slope(key, (N_LAYERS, -1), LOGITS) for key in keys]
        assert found == pytest.approx(expected, abs=EXACT)
        for layer in range(1, N_LAYERS):
            below = keys[: senders.count_below(layer)]
            gradients = receiver_gradients(attention, runs, layer, HEADS, ROLES)
            scores = first_order(gradients.of_prompt[prompt], changes[: len(below)])
            expected_scores = [
                [[slope(key, (layer, head), role) for key in below] for role in ROLES]
                for head in HEADS
            ]
            assert scores == pytest.approx(np.array(expected_scores), abs=EXACT)


@pytest.mark.parametrize("architecture", TINY)
def test_small_changes_have_the_effect_that_eap_says(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = float64_throughout(architecture, monkeypatch)
    engine = engine_for(model, random_pairs(5))
    attention, small = AttentionParts(engine), 1e-4
    changes = sender_changes(engine, "noising", 0, 2)
    gradients = receiver_gradients(attention, path_runs(engine, 0), 2, HEADS, ROLES)
    up, down = (
        edge_effects(attention, "noising", 0, 2, HEADS, ROLES, changes * scale)
        for scale in (small, -small)
    )
    expected = first_order(gradients.of_prompt["clean"], changes)
    assert (up - down) / (2 * small) == pytest.approx(expected, abs=1e-5)


def test_eap_ig_averages_gradients_between_the_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many equal steps of whole passes with interpolated embeddings give the same average."""
    model = float64_throughout("gpt2", monkeypatch)
    pairs = random_pairs(6)
    engine = engine_for(model, pairs)
    runs = path_runs(engine, 0, steps=12)
    kept: list[torch.Tensor] = []
    for tokens in (pairs.clean, pairs.corrupted):
        handle = model.blocks[0].register_forward_pre_hook(
            lambda module, args: kept.append(args[0].detach())
        )
        with torch.no_grad():
            model.hf(input_ids=tokens, use_cache=False)
        handle.remove()
    total, steps = torch.zeros(model.d_model, dtype=torch.float64), 200
    for step in range(steps):
        alpha = (step + 0.5) / steps
        final: list[torch.Tensor] = []

        def leaf(module: Any, args: Any, output: Any, final: list[torch.Tensor] = final) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            final.append(hidden.detach().requires_grad_())
            return (final[0], *output[1:]) if isinstance(output, tuple) else final[0]

        hooks = [
            model.blocks[0].register_forward_pre_hook(
                lambda module, args, alpha=alpha: (
                    kept[0] + alpha * (kept[1] - kept[0]),
                    *args[1:],
                )
            ),
            model.blocks[-1].register_forward_hook(leaf),
        ]
        logits = model.hf(input_ids=pairs.clean, use_cache=False).logits[0, -1]
        for handle in hooks:
            handle.remove()
        (correct,), (incorrect,) = pairs.correct[0], pairs.incorrect[0]
        gradient = torch.autograd.grad(logits[correct] - logits[incorrect], final[0])[0]
        total += gradient[0, -1] / steps
    torch.testing.assert_close(logits_gradients(runs).averaged, total, atol=1e-4, rtol=0)


def test_edges_equal_those_of_transformer_lens() -> None:
    """Its exact direct paths, and its first-order scores summed over positions."""
    known = make_tiny_model("gpt2")
    model = wrap(copy.deepcopy(known.hf), known.tokenizer)
    pairs = random_pairs(7)
    engine = engine_for(model, pairs)
    attention, senders = AttentionParts(engine), every_sender(model)
    (correct,), (incorrect,) = pairs.correct[0], pairs.incorrect[0]

    def metric(logits: torch.Tensor) -> torch.Tensor:
        return logits[0, -1, correct] - logits[0, -1, incorrect]

    bridge = model.bridge()
    changes = sender_changes(engine, "denoising", 0)
    caches = [bridge.run_with_cache(tokens)[1] for tokens in (pairs.clean, pairs.corrupted)]
    start = float(engine.unpatched("corrupted")[0])
    exact = {
        layer: edge_effects(
            attention,
            "denoising",
            0,
            layer,
            range(model.n_heads),
            ROLES,
            changes[: senders.count_below(layer)],
        )
        for layer in range(N_LAYERS)
    }
    for place, role in enumerate(ROLES):
        theirs = patching.get_act_patch_direct_path(
            bridge, pairs.corrupted, *caches, metric, 0, 1, role[0], verbose=False
        )
        sender = np.flatnonzero((senders.layer == 0) & (senders.head == 1))[0]
        for layer in range(1, N_LAYERS):
            found = exact[layer][:, place, sender]
            assert found == pytest.approx(theirs[layer].numpy() - start, abs=1e-4)

    # Its gradients are found only in a model whose weights ask for one.
    bridge.requires_grad_(True)
    result = attribution_patch(
        bridge, pairs.clean, pairs.corrupted, metric, EdgeAttributionConfig(granularity="edge")
    )
    sums: dict[tuple[int, int, int, int, str], float] = {}
    for (writer, reader), score in result.edge_scores.items():
        if reader.kind == "mlp_in" or (reader.kind != LOGITS and reader.layer is None):
            continue
        to = (N_LAYERS, -1) if reader.kind == LOGITS else (reader.layer, reader.head)
        sent = (
            -1 if writer.layer is None else writer.layer,
            -1 if writer.head is None else writer.head,
        )
        role = {"q_input": "query", "k_input": "key", "v_input": "value"}.get(reader.kind, LOGITS)
        key = (*sent, *to, role)
        sums[key] = sums.get(key, 0.0) + score
    runs = path_runs(engine, 0)
    keys = list(zip(senders.layer.tolist(), senders.head.tolist(), strict=True))
    direct = first_order_direct(logits_gradients(runs).of_prompt["corrupted"], changes)
    for place, key in enumerate(keys):
        assert direct[place] == pytest.approx(sums[(*key, N_LAYERS, -1, LOGITS)], abs=1e-4)
    for layer in range(1, N_LAYERS):
        below = keys[: senders.count_below(layer)]
        gradients = receiver_gradients(attention, runs, layer, range(model.n_heads), ROLES)
        scores = first_order(gradients.of_prompt["corrupted"], changes[: len(below)])
        for head in range(model.n_heads):
            for at, role in enumerate(ROLES):
                theirs = [sums[(*key, layer, head, role)] for key in below]
                assert scores[head, at] == pytest.approx(theirs, abs=1e-4)


def test_the_table_has_every_edge_once(tiny_llama: LanguageModel, tmp_path: Path) -> None:
    pairs = random_pairs(8, n_pairs=3)
    activations = cache_activations(tiny_llama, pairs)
    shard = {f"0/{name}": tensor for name, tensor in activations.tensors().items()}
    table = score_edges(
        tiny_llama, shard, Measurement(), [(2, 3), (1, 0)], pairs=2, all_receivers=True
    )
    assert list(table.columns) == list(COLUMNS)
    assert not table.duplicated(list(KEYS)).any()
    # The embeddings, and four heads and an MLP of each layer below.
    per_role = {0: 1, 1: 6, 2: 11}
    of_heads = sum(3 * 4 * count for count in per_role.values())
    assert len(table) == 2 * 2 * (16 + of_heads)
    assert set(table["pair"]) == {0, 1}
    exact = table[table["exact"]]
    assert set(zip(exact["receiver_layer"], exact["receiver_head"], strict=True)) == {
        (3, -1),
        (2, 3),
        (1, 0),
    }
    assert (table.loc[~table["exact"], "effect"] == table.loc[~table["exact"], "eap_ig"]).all()
    assert (exact["sender_layer"] < exact["receiver_layer"]).all()
    few = score_edges(tiny_llama, shard, Measurement(), [(2, 3)], roles=["key"], first_order=False)
    assert few["eap"].isna().all() and len(few) == 3 * 2 * (16 + 11)
    same = exact[(exact["receiver_layer"] == 2) & (exact["role"] == "key")]
    again = few[few["role"].eq("key") & few["pair"].isin([0, 1])]
    assert same["effect"].to_numpy() == pytest.approx(again["effect"].to_numpy(), abs=1e-5)
    none = score_edges(tiny_llama, shard, Measurement(), [(2, 3)], pairs="none")
    assert none.empty and dict(none.dtypes.astype(str)) == COLUMNS
    for name, part in (("a", none), ("b", table)):
        part.to_parquet(tmp_path / f"{name}.parquet")
    merge_tables(
        [tmp_path / "a.parquet", tmp_path / "b.parquet"],
        tmp_path / "merged.parquet",
        KEYS,
        DIRECTIONS,
    )
    merged = pd.read_parquet(tmp_path / "merged.parquet")
    pd.testing.assert_frame_equal(merged, table, check_dtype=False)


def test_the_first_receivers_are_those_of_largest_mean_effect() -> None:
    heads = pd.DataFrame(
        {
            "layer": [0, 0, 1, 0, 0, 1],
            "head": [0, 1, 0, 0, 1, 0],
            "ap": [1.0, -3.0, 0.5, -1.0, 0.0, 1.5],
        }
    )
    assert first_receivers(heads, 2) == [(0, 1), (0, 0)]


def _random(config: Any) -> LanguageModel:
    torch.manual_seed(0)
    return wrap(AutoModelForCausalLM.from_config(config), make_tiny_tokenizer())


def test_a_scaled_residual_is_exact_and_more_than_a_sum_is_refused() -> None:
    shape = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}
    granite = _random(
        GraniteConfig(
            **shape,
            intermediate_size=48,
            num_attention_heads=4,
            residual_multiplier=0.3,
            embedding_multiplier=4.0,
        )
    )
    engine = SuffixEngine(granite, cache_activations(granite, random_pairs(9)))
    other, background = engine.activations.corrupted, engine.activations.clean
    whole = (other.final - background.final)[0]
    found = sender_changes(engine, "noising", 0).sum(0)[-1]
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)
    opt = _random(
        OPTConfig(
            **shape,
            ffn_dim=48,
            num_attention_heads=4,
            word_embed_proj_dim=32,
            do_layer_norm_before=False,
        )
    )
    engine = SuffixEngine(opt, cache_activations(opt, random_pairs(9)))
    with pytest.raises(UserError, match="does more to the residual stream than add"):
        sender_changes(engine, "noising", 0)


@pytest.mark.slow
def test_edges_of_the_default_model_equal_whole_passes(default_model: Path) -> None:
    engine = first_pair(default_model)
    model, pairs = engine.model, engine.activations.pairs
    attention, senders = AttentionParts(engine), every_sender(model)
    # Every kind of sender, near and far; in either direction other ones, since a pass takes time.
    by_direction: dict[Direction, list[tuple[int, int]]] = {
        "noising": [(-1, -1), (12, 0), (22, -1)],
        "denoising": [(0, -1), (3, 4), (20, 0)],
    }
    for way, chosen in by_direction.items():
        places = [
            int(np.flatnonzero((senders.layer == layer) & (senders.head == head))[0])
            for layer, head in chosen
        ]
        plain = PlainPaths(model, pairs, way)
        changes = sender_changes(engine, way, 0)[places]
        with torch.no_grad():
            expected = np.array(
                [[plain.edge(key, (23, 3), role).item() for key in chosen] for role in ROLES]
            )
            direct = [plain.edge(key, (30, -1), LOGITS).item() for key in chosen]
        found = edge_effects(attention, way, 0, 23, [3], ROLES, changes)[0]
        assert found == pytest.approx(expected, abs=1e-4)
        assert direct_effects(engine, way, 0, changes) == pytest.approx(direct, abs=1e-4)
        assert np.abs(found).max() > 0.01
