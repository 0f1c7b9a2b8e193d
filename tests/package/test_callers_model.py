"""`load`: a model in memory is measured as it is, and is afterwards as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from transformers.utils import logging as transformers_logging

import counterpoint
from counterpoint.models.load import LanguageModel
from counterpoint.models.shared_weights import share_weights
from tests.helpers.tiny_models import make_tiny_model

PAIRS = [(" w5 w6 w7 w8", " w5 w9 w7 w8", " w10", " w11")]
TOKENS = torch.tensor([[1, 5, 6, 7, 8]])


@pytest.fixture
def plain(tiny_model: LanguageModel) -> Any:
    """A caller's own model: fresh modules over the same weights, trainable, in training mode."""
    hf = share_weights(tiny_model.hf)
    hf.config._attn_implementation = "sdpa"
    return hf.train().requires_grad_(True)


def state_of(hf: torch.nn.Module) -> dict[str, Any]:
    """Everything of a model that a call could change."""
    return {
        "parameters": [
            (name, id(one), one.requires_grad, one.dtype, one.device, one.grad is None)
            for name, one in hf.named_parameters()
        ],
        "values": [one.detach().clone() for one in (*hf.parameters(), *hf.buffers())],
        "modules": [
            (
                name,
                id(one),
                one.training,
                "forward" in vars(one),
                len(one._forward_hooks),
                len(one._forward_pre_hooks),
            )
            for name, one in hf.named_modules()
        ],
        "config": hf.config.to_dict(),
        "attention": hf.config._attn_implementation,
    }


def state_of_libraries() -> list[Any]:
    return [
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        random.getstate(),
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    ]


@pytest.fixture
def own_settings() -> Iterator[None]:
    """A caller's settings of libraries that are none of the defaults."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_info()
    transformers_logging.enable_progress_bar()
    yield
    transformers_logging.set_verbosity(before)


def assert_same_state(before: dict[str, Any], after: dict[str, Any]) -> None:
    values = zip(before.pop("values"), after.pop("values"), strict=True)
    assert all(torch.equal(one, other) for one, other in values)
    assert before == after


@pytest.mark.usefixtures("own_settings")
def test_everything_is_as_it_was(plain: Any, tiny_model: LanguageModel) -> None:
    tokenizer = tiny_model.tokenizer
    tokenizer.padding_side = "left"
    before, libraries, backend = state_of(plain), state_of_libraries(), tokenizer.backend_tokenizer
    text = backend.to_str()
    model = counterpoint.load(plain, tokenizer=tokenizer)
    heads = counterpoint.measure(model, PAIRS, progress=False)
    counterpoint.curves(model, PAIRS, [(1, 2)], progress=False)
    counterpoint.interaction_partners(model, PAIRS, heads, heads_per_pair=1, progress=False)
    assert_same_state(before, state_of(plain))
    assert state_of_libraries() == libraries
    assert tokenizer.padding_side == "left"
    assert tokenizer.backend_tokenizer.to_str() == text
    assert not model.hf.training
    assert not any(one.requires_grad for one in model.hf.parameters())
    shared = zip(model.hf.parameters(), plain.parameters(), strict=True)
    assert all(ours.data_ptr() == theirs.data_ptr() for ours, theirs in shared)


def test_a_search_leaves_everything_as_it_was(tiny_llama: LanguageModel) -> None:
    plain = share_weights(tiny_llama.hf)
    before, libraries = state_of(plain), state_of_libraries()
    model = counterpoint.load(plain, tokenizer=tiny_llama.tokenizer)
    found = counterpoint.compose(
        model, (1, 2), " w5 w6 w7 w8", method="likely_swaps", evaluations=100, progress=False
    )
    counterpoint.validate(model, (1, 2), found, count=1, transferred=0, nulls=2)
    assert_same_state(before, state_of(plain))
    assert state_of_libraries() == libraries


def test_a_bridge_is_measured_as_the_model_that_it_wraps(tiny_model: LanguageModel) -> None:
    bridge = tiny_model.bridge()
    logits = bridge(TOKENS)
    before = state_of(bridge.original_model)
    model = counterpoint.load(bridge)
    assert torch.equal(model.hf(TOKENS).logits, tiny_model.hf(TOKENS).logits)
    names = [(name, type(one)) for name, one in tiny_model.hf.named_modules()]
    assert [(name, type(one)) for name, one in model.hf.named_modules()] == names
    assert_same_state(before, state_of(bridge.original_model))
    assert torch.equal(bridge(TOKENS), logits)


def test_a_bridge_with_other_weights_or_hooks_is_refused(tiny_gpt2: LanguageModel) -> None:
    bridge = tiny_gpt2.bridge()
    bridge.add_hook("blocks.0.attn.hook_z", lambda value, hook: value, is_permanent=True)
    with pytest.raises(counterpoint.UserError, match=r"the bridge has hooks \(blocks.0.attn"):
        counterpoint.load(bridge)
    own = make_tiny_model("gpt2").bridge()
    own.enable_compatibility_mode(disable_warnings=True)
    with pytest.raises(counterpoint.UserError, match="weights were processed"):
        counterpoint.load(own)


def test_a_caller_without_gradients_and_in_another_format_gets_the_same(
    tiny_llama: LanguageModel,
) -> None:
    expected = counterpoint.measure(tiny_llama, PAIRS, progress=False)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            found = counterpoint.measure(tiny_llama, PAIRS, progress=False)
            assert torch.is_inference_mode_enabled()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.equals(expected)


def test_another_format_is_a_copy(tiny_llama: LanguageModel) -> None:
    plain = share_weights(tiny_llama.hf)
    model = counterpoint.load(plain, tokenizer=tiny_llama.tokenizer, dtype="float64")
    assert model.dtype == torch.float64
    assert plain.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda hf: hf.model.layers[0].register_forward_hook(lambda *given: None), "has hooks"),
        (lambda hf: setattr(hf.model, "forward", hf.model.forward), "has been replaced"),
        (lambda hf: hf.to(torch.float16), 'dtype="float32"'),
        (lambda hf: hf.to("meta"), "not in memory"),
    ],
)
def test_models_that_are_not_what_they_seem_are_refused(
    tiny_llama: LanguageModel, change: Any, said: str
) -> None:
    plain = share_weights(tiny_llama.hf)
    change(plain)
    with pytest.raises(counterpoint.UserError, match=said):
        counterpoint.load(plain, tokenizer=tiny_llama.tokenizer)


def test_what_is_no_model_is_told_with_the_remedy(tiny_llama: LanguageModel) -> None:
    for given, settings, said in (
        (3, {}, "a model of the type builtins.int cannot be measured"),
        (torch.nn.Linear(2, 2), {}, "Give the model of transformers"),
        ("smolm2-135m-instruct", {}, "did you mean smollm2-135m-instruct?"),
        (share_weights(tiny_llama.hf), {}, "tokenizer=tokenizer"),
        (share_weights(tiny_llama.hf), {"tokenizer": 3}, "tokenizer= is a int"),
        ("gpt2", {"tokenizer": tiny_llama.tokenizer}, "is for a model in memory"),
        ("gpt2", {"dtype": "float8"}, "dtype 'float8' is unknown"),
        ("gpt2", {"device": "tpu"}, "device 'tpu' is unknown"),
    ):
        with pytest.raises(counterpoint.UserError) as error:
            counterpoint.load(given, **settings)
        assert said in str(error.value)


def test_a_bridge_that_has_run_gives_the_same_plain_model(tiny_llama: LanguageModel) -> None:
    bridge = tiny_llama.bridge()
    bridge(TOKENS)
    model = counterpoint.load(bridge)
    assert torch.equal(model.hf(TOKENS).logits, tiny_llama.hf(TOKENS).logits)
    assert not any(one._forward_hooks for one in model.hf.modules())
