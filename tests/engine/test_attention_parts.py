"""Queries, keys, values and patterns of a layer, against what the model itself says of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_utils import AttentionInterface
from transformers.models.llama import modeling_llama

from counterpoint.engine.activations import PROMPTS
from counterpoint.engine.attention_parts import AttentionParts, intercepted_attention
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel, wrap
from tests.engine.test_architecture_kinds import SHAPE
from tests.engine.test_suffix import engine_for
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_model, make_tiny_tokenizer


@pytest.mark.parametrize("first_difference", [3, 0])
def test_patterns_are_those_that_the_model_returns(
    tiny_model: LanguageModel, first_difference: int
) -> None:
    pairs = random_pairs(41, n_pairs=2, first_difference=first_difference)
    parts = AttentionParts(engine_for(tiny_model, pairs))
    both = torch.arange(2)
    for prompt in PROMPTS:
        whole = tiny_model.hf(getattr(pairs, prompt), output_attentions=True).attentions
        for layer in range(tiny_model.n_layers):
            pattern = parts.pattern(prompt, layer, both)
            expected = whole[layer][:, :, first_difference:]
            torch.testing.assert_close(pattern, expected, atol=1e-5, rtol=0)


def test_all_parts_of_the_other_prompt_give_its_heads(tiny_model: LanguageModel) -> None:
    engine = engine_for(tiny_model, random_pairs(42, n_pairs=2))
    parts, pair = AttentionParts(engine), torch.tensor([1, 0, 1])
    run = engine.activations
    for layer in range(tiny_model.n_layers):
        clean, corrupted = (parts.of_prompt(prompt, layer, pair) for prompt in PROMPTS)
        for found, side in (
            (clean.z, "clean"),
            (parts.mixed(clean), "clean"),
            (
                parts.mixed(clean, query=corrupted.query, key=corrupted.key, value=corrupted.value),
                "corrupted",
            ),
        ):
            expected = getattr(run, side).z[layer][pair]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_rows_are_taken_as_often_as_they_are_named(tiny_llama: LanguageModel) -> None:
    engine = engine_for(tiny_llama, random_pairs(43, n_pairs=2))
    parts = AttentionParts(engine).of_prompt("clean", 1, torch.arange(2))
    again = parts[torch.tensor([1, 1, 0])]
    assert len(again) == 3 and again.layer == 1 and again.group == 2
    assert torch.equal(again.query, parts.query[[1, 1, 0]])
    assert torch.equal(again.z, parts.z[[1, 1, 0]])


def test_the_attention_is_put_back_and_others_are_left_alone(tiny_llama: LanguageModel) -> None:
    before = AttentionInterface.get_interface
    seen: list[Any] = []

    def intercept(function: Any, module: Any, *parts: Any, **named: Any) -> Any:
        seen.append(module.layer_idx)
        return function(module, *parts, **named)

    tokens = torch.arange(5, 11)[None]
    expected = tiny_llama.hf(tokens).logits
    with pytest.raises(RuntimeError, match="inside"):  # noqa: SIM117
        with intercepted_attention(tiny_llama.attention(0), intercept):
            with intercepted_attention(tiny_llama.attention(2), intercept):
                assert torch.equal(tiny_llama.hf(tokens).logits, expected)
                raise RuntimeError("inside")
    assert seen == [0, 2]
    assert AttentionInterface.get_interface is before
    assert torch.equal(tiny_llama.hf(tokens).logits, expected)


def test_an_output_that_is_not_the_recorded_one_is_refused(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_for(tiny_llama, random_pairs(44))
    eager = modeling_llama.eager_attention_forward

    def weaker(*args: Any, **kwargs: Any) -> Any:
        output, weights = eager(*args, **kwargs)
        return 0.9 * output, weights

    monkeypatch.setattr(modeling_llama, "eager_attention_forward", weaker)
    with pytest.raises(UserError, match=r"layer 0 called alone differs.*by 1\.0e-01"):
        AttentionParts(engine)


def test_heads_that_are_mixed_before_their_output_are_refused() -> None:
    torch.manual_seed(0)
    hf = transformers.AutoModelForCausalLM.from_config(
        transformers.BitNetConfig(**SHAPE, num_key_value_heads=2), attn_implementation="eager"
    )
    model = wrap(hf, make_tiny_tokenizer())
    with pytest.raises(UserError, match=r"the query of one head changes what other heads"):
        AttentionParts(engine_for(model, random_pairs(45)))


def test_parts_can_be_differentiated() -> None:
    model = make_tiny_model("gpt2", "float64")
    engine = engine_for(model, random_pairs(46))
    parts, first = AttentionParts(engine), torch.zeros(1, dtype=torch.long)
    hidden = engine.activations.clean.residual[1][first].clone().requires_grad_()
    (slope,) = torch.autograd.grad(parts.of_residual(1, hidden, first).query.sum(), hidden)
    step = 1e-6 * torch.randn(hidden.shape, dtype=hidden.dtype)
    ends = [parts.of_residual(1, hidden + side * step, first).query.sum() for side in (1, -1)]
    change = (ends[0] - ends[1]).detach() / 2
    assert float((slope * step).sum()) == pytest.approx(float(change), rel=1e-4)
