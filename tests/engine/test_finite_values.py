"""NaN and infinity are named with pair, prompt and cause at the first run."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.metrics import METRICS
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.patching import activation_patching
from counterpoint.models.load import LanguageModel, wrap
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_model

PAIRS = TokenPairs(
    torch.tensor([[1, 5, 9, 13, 21], [1, 6, 9, 14, 22]]),
    torch.tensor([[1, 5, 17, 13, 21], [1, 6, 18, 14, 22]]),
    ((40,), (40,)),
    ((41,), (41,)),
    (3, 8),
)


@pytest.fixture
def model() -> LanguageModel:
    """A model whose weights may be damaged."""
    whole = make_tiny_model("llama")
    return wrap(copy.deepcopy(whole.hf), whole.tokenizer)


def set_(model: LanguageModel, name: str, place: int | tuple[int, ...], value: float) -> None:
    with torch.no_grad():
        model.hf.get_parameter(name)[place] = value


EMBEDDING = "model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (18, r"pair 8, corrupted prompt ' w6 w18 w14 w22'.*from block 0 on\..*' w18' \(id 18\)"),
        (14, r"pair 8, clean prompt .*\(1 more prompts of this batch do too\).*' w14' \(id 14\)"),
        (5, r"pair 3, clean prompt ' w5 w9 w13 w21'.*' w5' \(id 5\)"),
    ],
    ids=["suffix of one", "suffix of both", "prefix"],
)
def test_a_token_without_numbers(model: LanguageModel, token: int, said: str) -> None:
    set_(model, EMBEDDING, token, float("nan"))
    with pytest.raises(UserError, match=said):
        cache_activations(model, PAIRS)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_without_numbers(model: LanguageModel, value: float) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    set_(model, name, (0, 0), value)
    with pytest.raises(UserError, match=r"pair 3, clean .* from block 1 on.*" + name):
        cache_activations(model, PAIRS)


def test_an_unembedding_without_numbers(model: LanguageModel) -> None:
    set_(model, "lm_head.weight", 40, float("nan"))
    with pytest.raises(UserError, match=r"in the logits.*lm_head\.weight"):
        cache_activations(model, PAIRS)


def test_overflow_is_told_from_damage(model: LanguageModel) -> None:
    with torch.no_grad():
        model.hf.get_parameter("model.layers.1.mlp.up_proj.weight").mul_(1e38)
        model.hf.get_parameter("model.layers.1.mlp.down_proj.weight").mul_(1e38)
    with pytest.raises(UserError, match=r"All weights are finite.*outgrows float32.*float64"):
        cache_activations(model, PAIRS)


def test_tokens_that_no_prompt_has_do_not_matter(model: LanguageModel) -> None:
    set_(model, EMBEDDING, 59, float("nan"))
    cache_activations(model, PAIRS)


def test_good_models_pass(tiny_model: LanguageModel) -> None:
    cache_activations(tiny_model, random_pairs(1))


def forbid(model: LanguageModel, token: int) -> None:
    bias = torch.zeros(model.hf.get_output_embeddings().weight.shape[0])
    bias[token] = -torch.inf
    model.hf.get_output_embeddings().bias = torch.nn.Parameter(bias, requires_grad=False)


@pytest.mark.parametrize("metric", METRICS)
def test_a_forbidden_token_has_no_part_in_what_is_measured(
    model: LanguageModel, metric: str
) -> None:
    forbidding = wrap(copy.deepcopy(model.hf), model.tokenizer)
    forbid(forbidding, 59)
    found = []
    for each in (model, forbidding):
        engine = SuffixEngine(each, cache_activations(each, PAIRS), metric=metric)
        joint = integrated_gradients(engine, "noising", max_steps=8).score
        ap = activation_patching(engine, "noising")
        found.append(np.concatenate([ap.ravel(), joint.ravel()]))
    assert np.isfinite(found).all()
    if metric == "logit_difference":
        assert np.array_equal(*found)


@pytest.mark.parametrize(("token", "pair"), [(40, 3), (41, 3), (44, 8)])
def test_a_forbidden_answer_is_named(model: LanguageModel, token: int, pair: int) -> None:
    forbid(model, token)
    pairs = dataclasses.replace(PAIRS, incorrect=((41,), (42, 44)))
    said = rf"pair {pair}, clean prompt .*forbids the answer ' w{token}' \(its logit is −∞\)"
    with pytest.raises(UserError, match=said):
        cache_activations(model, pairs)
