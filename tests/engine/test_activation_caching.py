"""Caching: passes over some pairs at a time keep what plain runs of every pair give."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.engine import activation_caching
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import PROMPTS, TokenPairs
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel, wrap
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_model

TOLERANCE = 1e-5


def plain_values(model: LanguageModel, tokens: Tensor) -> dict[str, list[Tensor]]:
    """What each layer's output projection and MLP are given and give in a run of one prompt."""
    found: dict[str, list[Tensor]] = {"z": [], "attention": [], "mlp": [], "residual": []}
    handles = []
    for layer in range(model.n_layers):
        projection, mlp = model.output_projection(layer), model.mlp(layer)

        def keep(name: str) -> Any:
            return lambda module, args, output: found[name].append(output[0])

        handles += [
            projection.register_forward_pre_hook(lambda m, args: found["z"].append(args[0][0])),
            projection.register_forward_hook(keep("attention")),
            mlp.register_forward_hook(keep("mlp")),
            model.blocks[layer].register_forward_pre_hook(
                lambda m, args: found["residual"].append(args[0][0].clone())
            ),
        ]
    with torch.no_grad():
        model.hf(input_ids=tokens[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def assert_equal_plain_runs(model: LanguageModel, pairs: TokenPairs) -> None:
    kept = cache_activations(model, pairs)
    for prompt in PROMPTS:
        run = kept.run(prompt)
        for pair in range(len(pairs)):
            plain = plain_values(model, getattr(pairs, prompt)[pair])
            for name, layers in plain.items():
                expected = torch.stack(layers)[:, kept.start :]
                torch.testing.assert_close(
                    getattr(run, name)[:, pair], expected, atol=TOLERANCE, rtol=TOLERANCE
                )


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox"])
@pytest.mark.parametrize("positions", [1, 13, 30, 1024])
def test_passes_over_some_pairs_equal_plain_runs(
    architecture: str, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation_caching, "POSITIONS_PER_PASS", positions)
    model = make_tiny_model(architecture)
    for first in (0, 4):
        assert_equal_plain_runs(model, random_pairs(2, n_pairs=5, first_difference=first))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    n_pairs=st.integers(1, 6),
    first=st.integers(0, 7),
    positions=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_every_size_of_a_pass_keeps_the_same(
    tiny_model: LanguageModel, n_pairs: int, first: int, positions: int, seed: int
) -> None:
    pairs = random_pairs(seed, n_pairs=n_pairs, first_difference=first)
    whole = cache_activations(tiny_model, pairs).tensors()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activation_caching, "POSITIONS_PER_PASS", positions)
        found = cache_activations(tiny_model, pairs).tensors()
    assert found.keys() == whole.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(
            tensor, whole[name], atol=TOLERANCE, rtol=TOLERANCE, equal_nan=True
        )


def test_a_pass_has_no_more_positions_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation_caching, "POSITIONS_PER_PASS", 30)
    model = make_tiny_model("llama")
    pairs = random_pairs(3, n_pairs=7)
    cache_activations(model, pairs)
    seen: list[int] = []
    handle = model.embedding.register_forward_pre_hook(
        lambda module, args: seen.append(args[0].numel())
    )
    cache_activations(model, pairs)
    handle.remove()
    # 6 positions of each prompt behind 3 that they share: two pairs a pass, prefix and suffix.
    assert seen == [6, 24, 6, 24, 6, 24, 3, 12]


def test_a_pair_of_a_later_pass_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation_caching, "POSITIONS_PER_PASS", 12)
    whole = make_tiny_model("llama")
    # Weights of its own: those of models of one file are the same memory in one process.
    model = wrap(copy.deepcopy(whole.hf), whole.tokenizer)
    pairs = random_pairs(3, n_pairs=4)
    cache_activations(model, pairs)
    others = {*pairs.clean[[0, 1, 3]].flatten().tolist(), *pairs.corrupted[:2].flatten().tolist()}
    token = next(token for token in pairs.clean[2].tolist() if token not in others)
    with torch.no_grad():
        model.embedding.weight[token] = torch.nan
    with pytest.raises(UserError, match=r"pair 2, clean prompt"):
        cache_activations(model, pairs)


def test_the_unembedding_is_given_rows_that_stand_together() -> None:
    """torch multiplies rows that stand apart one by one; the logits are the same."""
    model = make_tiny_model("llama")
    tokens = random_pairs(3, n_pairs=6).clean
    seen: list[bool] = []
    unembedding: Any = model.hf.get_output_embeddings()
    handle = unembedding.register_forward_pre_hook(
        lambda module, args: seen.append(args[0].is_contiguous())
    )
    with torch.no_grad():
        found = model.hf(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[:, -1]
        hidden = model.hf.model(input_ids=tokens, use_cache=False).last_hidden_state
    handle.remove()
    assert seen == [True]
    assert not hidden[:, -1:].is_contiguous()
    torch.testing.assert_close(found, hidden[:, -1] @ unembedding.weight.T)
