"""The engine equals the plain reference: whole forward passes with a hook at hook_result."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers.cache_utils import Cache

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import (
    DIRECTIONS,
    PROMPTS,
    Activations,
    Direction,
    TokenPairs,
    background_prompt,
)
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import differences, every_unit, head_outputs, output_bias
from counterpoint.engine.metrics import make_metric
from counterpoint.engine.replay import record_block_arguments
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.files.artifacts import read_tensors, write_tensors
from counterpoint.measures.patching import activation_patching, layer_patching
from counterpoint.measures.slopes import values, values_and_slopes
from counterpoint.models.load import LanguageModel, wrap
from tests.helpers.pair_factory import random_pairs
from tests.helpers.reference import PlainReference
from tests.helpers.tiny_models import ARCHITECTURES, make_tiny_model

TOLERANCE = 1e-5
"""Float32, against logits of a few units; float64 runs agree to 1e-14."""


def engine_for(
    model: LanguageModel, pairs: TokenPairs, metric: str = "logit_difference"
) -> SuffixEngine:
    return SuffixEngine(model, cache_activations(model, pairs), metric=metric)


def reference_for(model: LanguageModel, pairs: TokenPairs, pair: int = 0) -> PlainReference:
    (correct,), (incorrect,) = pairs.correct[pair], pairs.incorrect[pair]
    return PlainReference(
        model.bridge(),
        pairs.clean[pair],
        pairs.corrupted[pair],
        lambda logits: logits[correct] - logits[incorrect],
    )


def test_every_head_equals_the_reference(tiny_model: LanguageModel) -> None:
    pairs = random_pairs(1, n_pairs=2)
    engine = engine_for(tiny_model, pairs)
    units = every_unit(tiny_model, 2)
    alphas = torch.linspace(0, 1, 4).double().numpy()
    grid = alphas[None].repeat(len(units), 0)
    assert units.head is not None
    for direction in DIRECTIONS:
        found = values(engine, direction, "head", units, grid)
        for pair in range(2):
            reference = reference_for(tiny_model, pairs, pair)
            for unit in (units.pair == pair).nonzero().flatten().tolist():
                layer, head = int(units.layer[unit]), int(units.head[unit])
                expected = [reference.head(layer, head, a, direction).item() for a in alphas]
                assert found[unit] == pytest.approx(expected, abs=TOLERANCE)


def test_every_mlp_equals_the_reference(tiny_model: LanguageModel) -> None:
    pairs = random_pairs(2)
    engine, reference = engine_for(tiny_model, pairs), reference_for(tiny_model, pairs)
    units = every_unit(tiny_model, 1, "mlp")
    for direction in DIRECTIONS:
        found = values(engine, direction, "mlp", units, torch.full((3, 1), 0.7).numpy())
        expected = [reference.mlp(layer, 0.7, direction).item() for layer in range(3)]
        assert found[:, 0] == pytest.approx(expected, abs=TOLERANCE)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_equals_the_reference_for_any_shape(data: st.DataObject) -> None:
    """Random architecture, length, first difference (0 too), batch size, direction, head, α."""
    model = make_tiny_model(data.draw(st.sampled_from(sorted(ARCHITECTURES)), label="architecture"))
    length = data.draw(st.integers(1, 14), label="length")
    pairs = random_pairs(
        data.draw(st.integers(0, 10_000), label="seed"),
        n_pairs=data.draw(st.integers(1, 3), label="pairs"),
        length=length,
        first_difference=data.draw(st.integers(0, length - 1), label="first difference"),
    )
    direction = data.draw(st.sampled_from(DIRECTIONS), label="direction")
    engine = engine_for(model, pairs)
    engine._rows_that_fit = {False: data.draw(st.integers(1, 9), label="rows in a batch")}
    units = every_unit(model, len(pairs))
    alpha = data.draw(st.floats(0, 1), label="alpha")
    found = values(engine, direction, "head", units, torch.full((len(units), 1), alpha).numpy())
    unit = data.draw(st.integers(0, len(units) - 1), label="unit")
    assert units.head is not None
    reference = reference_for(model, pairs, int(units.pair[unit]))
    expected = float(
        reference.head(int(units.layer[unit]), int(units.head[unit]), alpha, direction)
    )
    assert found[unit, 0] == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_slopes_equal_reverse_mode_through_the_whole_model(architecture: str) -> None:
    # In double precision: slopes reach 4 here, of which single precision leaves 1e-5 uncertain.
    model = make_tiny_model(architecture, "float64")
    pairs = random_pairs(3)
    engine, reference = engine_for(model, pairs), reference_for(model, pairs)
    units = every_unit(model, 1)
    for direction in DIRECTIONS:
        grid = torch.full((len(units), 1), 0.3).double().numpy()
        output, slope = values_and_slopes(engine, direction, "head", units, grid)
        assert output == pytest.approx(values(engine, direction, "head", units, grid), abs=1e-6)
        assert units.head is not None
        for unit in range(len(units)):
            alpha = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
            value = reference.head(int(units.layer[unit]), int(units.head[unit]), alpha, direction)
            (expected,) = torch.autograd.grad(value, alpha)
            assert slope[unit, 0] == pytest.approx(float(expected), rel=0, abs=TOLERANCE)


def test_unpatched_runs_equal_the_models_own(tiny_model: LanguageModel) -> None:
    pairs = random_pairs(4, n_pairs=3)
    engine = engine_for(tiny_model, pairs)
    for prompt in PROMPTS:
        tokens = getattr(pairs, prompt)
        logits = tiny_model.hf(tokens).logits[:, -1]
        expected = [
            float(logits[pair, pairs.correct[pair][0]] - logits[pair, pairs.incorrect[pair][0]])
            for pair in range(3)
        ]
        assert engine.unpatched(prompt).tolist() == pytest.approx(expected, abs=TOLERANCE)


def test_sum_of_heads_and_bias_is_the_attention_output(tiny_model: LanguageModel) -> None:
    activations = cache_activations(tiny_model, random_pairs(5))
    for layer in range(tiny_model.n_layers):
        z = activations.clean.z[layer, 0].expand(tiny_model.n_heads, -1, -1)
        heads = head_outputs(tiny_model, layer, z, torch.arange(tiny_model.n_heads))
        total = heads.sum(0) + output_bias(tiny_model, layer)
        assert torch.allclose(total, activations.clean.attention[layer, 0], atol=1e-6)


def test_a_prompt_patched_into_itself_changes_nothing(tiny_model: LanguageModel) -> None:
    pairs = random_pairs(6, n_pairs=2)
    activations = cache_activations(tiny_model, pairs)
    for run in (activations.clean, activations.corrupted):
        same = Activations(pairs, activations.prefix, run, run)
        engine = SuffixEngine(tiny_model, same)
        for direction in DIRECTIONS:
            assert abs(activation_patching(engine, direction)).max() <= 2e-6


def test_patching_every_head_of_a_layer_is_patching_the_layer(tiny_llama: LanguageModel) -> None:
    pairs = random_pairs(7)
    engine, reference = engine_for(tiny_llama, pairs), reference_for(tiny_llama, pairs)
    for direction in DIRECTIONS:
        start = float(reference.unpatched(background_prompt(direction)))
        expected = [
            float(reference.heads(layer, [0, 1, 2, 3], 1.0, direction)) - start
            for layer in range(tiny_llama.n_layers)
        ]
        assert layer_patching(engine, direction)[:, 0] == pytest.approx(expected, abs=TOLERANCE)


def test_differences_of_the_heads_sum_to_that_of_the_attention(tiny_model: LanguageModel) -> None:
    activations = cache_activations(tiny_model, random_pairs(8, n_pairs=2))
    units = every_unit(tiny_model, 2)
    delta = differences(tiny_model, activations, "noising", units)
    by_layer = delta.view(tiny_model.n_layers, 2, tiny_model.n_heads, *delta.shape[1:]).sum(2)
    expected = activations.corrupted.attention - activations.clean.attention
    assert torch.allclose(by_layer, expected, atol=1e-5)


@pytest.mark.parametrize("metric", ["log_probability", "kl_divergence"])
def test_other_metrics_equal_the_reference(tiny_gpt2: LanguageModel, metric: str) -> None:
    pairs = random_pairs(9)
    engine = engine_for(tiny_gpt2, pairs, metric=metric)
    clean = tiny_gpt2.hf(pairs.clean).logits[0, -1].log_softmax(-1)

    def plain(logits: torch.Tensor) -> torch.Tensor:
        log = logits.log_softmax(-1)
        if metric == "log_probability":
            return log[pairs.correct[0][0]]
        return (clean.exp() * (clean - log)).sum()

    reference = PlainReference(tiny_gpt2.bridge(), pairs.clean[0], pairs.corrupted[0], plain)
    units = every_unit(tiny_gpt2, 1)
    found = values(engine, "noising", "head", units, torch.full((len(units), 1), 0.6).numpy())
    assert units.head is not None
    expected = [
        float(reference.head(int(units.layer[unit]), int(units.head[unit]), 0.6))
        for unit in range(len(units))
    ]
    assert found[:, 0] == pytest.approx(expected, abs=TOLERANCE)


def test_answers_may_be_lists() -> None:
    metric = make_metric("logit_difference", [[1, 2]], [[3]], d_vocab=5)
    logits = torch.tensor([[0.0, 2.0, 4.0, 1.0, 9.0]])
    assert metric.vocabulary is not None
    assert metric(logits[:, metric.vocabulary], torch.tensor([0])).item() == pytest.approx(2.0)
    either = make_metric("log_probability", [[1, 2]], [[3]], d_vocab=5)
    expected = logits[0].softmax(-1)[[1, 2]].sum().log()
    assert either(logits, torch.tensor([0])).item() == pytest.approx(float(expected))


@pytest.mark.parametrize("first_difference", [0, 3])
def test_activations_survive_storage(
    tiny_gpt2: LanguageModel, tmp_path_factory: pytest.TempPathFactory, first_difference: int
) -> None:
    activations = cache_activations(
        tiny_gpt2, random_pairs(10, n_pairs=2, first_difference=first_difference)
    )
    path = tmp_path_factory.mktemp("activations") / "activations.safetensors"
    write_tensors(activations.tensors(), path)
    again = Activations.from_tensors(read_tensors(path))
    assert again.pairs.correct == activations.pairs.correct
    direction: Direction = "noising"
    before = activation_patching(SuffixEngine(tiny_gpt2, activations), direction)
    after = activation_patching(SuffixEngine(tiny_gpt2, again), direction)
    assert (before == after).all()


def test_the_size_of_batches_does_not_change_the_result(tiny_model: LanguageModel) -> None:
    engine = engine_for(tiny_model, random_pairs(11, n_pairs=2))
    whole = activation_patching(engine, "noising")
    engine._rows_that_fit = {False: 3}
    assert activation_patching(engine, "noising") == pytest.approx(whole, abs=2e-6)


def test_out_of_memory_halves_the_batch_and_remembers(tiny_llama: LanguageModel) -> None:
    engine = engine_for(tiny_llama, random_pairs(12))
    sizes: list[int] = []

    def compute(rows: slice) -> torch.Tensor:
        sizes.append(rows.stop - rows.start)
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("no more")
        return torch.arange(rows.start, rows.stop)

    assert engine.in_batches(12, compute).tolist() == list(range(12))
    assert sizes == [12, 6, 3, 3, 3, 3]
    sizes.clear()
    engine.in_batches(6, compute)
    assert sizes == [3, 3]

    def never(rows: slice) -> torch.Tensor:
        raise torch.OutOfMemoryError("no more")

    with pytest.raises(UserError, match="not even one row"):
        engine.in_batches(2, never)


def test_other_errors_are_not_taken_for_lack_of_memory(tiny_llama: LanguageModel) -> None:
    engine = engine_for(tiny_llama, random_pairs(12))

    def broken(rows: slice) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        engine.in_batches(2, broken)


def test_rows_must_be_in_order_of_layer() -> None:
    with pytest.raises(ValueError, match="order of layer"):
        Rows(torch.zeros(2, dtype=torch.long), (1, 0), torch.zeros(2, 3, 4))


def test_pairs_of_a_bucket_must_match() -> None:
    tokens = torch.tensor([[5, 6, 7]])
    with pytest.raises(ValueError, match="differ in at least one"):
        TokenPairs(tokens, tokens, ((1,),), ((2,),), (0,))
    with pytest.raises(ValueError, match="same number of tokens"):
        TokenPairs(tokens, tokens[:, :2], ((1,),), ((2,),), (0,))
    clean = torch.tensor([[5, 6, 7], [5, 6, 7]])
    corrupted = torch.tensor([[5, 8, 7], [5, 6, 8]])
    with pytest.raises(ValueError, match="first differing position"):
        TokenPairs(clean, corrupted, ((1,), (1,)), ((2,), (2,)), (0, 1))


def test_a_model_with_more_than_a_cache_is_refused() -> None:
    """A block that also reads something else cannot be re-entered; the check must see it."""
    model = make_tiny_model("gpt2")
    activations = cache_activations(model, random_pairs(13))
    model.__dict__.pop("_ways", None)
    block = model.blocks[1]

    def tampered(module: torch.nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
        # Scales by something that depends on how many rows there are, as no causal block does.
        return output * torch.linspace(1, len(output), output.shape[-1])

    handle = block.register_forward_hook(tampered)
    try:
        with pytest.raises(UserError, match="re-entering at a layer"):
            SuffixEngine(model, activations)
    finally:
        handle.remove()


def test_encoder_decoders_and_bidirectional_models_are_refused() -> None:
    from transformers import BertConfig, BertModel, T5Config, T5ForConditionalGeneration

    from counterpoint.models.load import wrap

    tokenizer = make_tiny_model("gpt2").tokenizer
    small = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 61}
    with pytest.raises(UserError, match="encoder-decoder"):
        wrap(T5ForConditionalGeneration(T5Config(**small)), tokenizer)
    bert = BertConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    with pytest.raises(UserError, match="causal"):
        wrap(BertModel(bert), tokenizer)


@pytest.mark.parametrize("lengths", [(5, 0), (7, 3)])
def test_arguments_of_further_lengths_need_no_blocks(
    tiny_model: LanguageModel, lengths: tuple[int, int]
) -> None:
    known = record_block_arguments(tiny_model, 6, 2)
    plain = record_block_arguments(tiny_model, *lengths)
    again = record_block_arguments(tiny_model, *lengths, known)
    for one, other in zip(again, plain, strict=True):
        assert one.hidden_keyword == other.hidden_keyword
        assert (one.arity, one.attention_arity) == (other.arity, other.attention_arity)
        ours, theirs = (
            [*each.positional, *(each.keyword[name] for name in sorted(each.keyword))]
            for each in (one, other)
        )
        assert one.keyword.keys() == other.keyword.keys()
        for mine, its in zip(_plain(ours), _plain(theirs), strict=True):
            assert torch.equal(mine, its) if isinstance(its, torch.Tensor) else mine == its


def _plain(values: Any) -> list[Any]:
    """Tensors and plain values of nested tuples; a cache counts by its length alone."""
    found = []
    for value in values:
        if isinstance(value, tuple):
            found += _plain(value)
        else:
            found.append("cache" if isinstance(value, Cache) else value)
    return found


def test_tokens_whose_logits_follow_from_their_place_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As Chameleon does: some tokens may not be said, and are found by their place among all.
    model = make_tiny_model("llama")
    pairs = random_pairs(1, n_pairs=2, length=8, first_difference=3)
    expected = SuffixEngine(model, cache_activations(model, pairs)).unpatched("clean")
    original = model.hf.forward

    def forbidding(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        found.logits[..., [0, 1]] = torch.finfo(found.logits.dtype).min
        return found

    monkeypatch.setattr(model.hf, "forward", forbidding)
    fresh = wrap(model.hf, model.tokenizer)
    engine = SuffixEngine(fresh, cache_activations(fresh, pairs))
    assert engine.metric.vocabulary.tolist()[:2] != [0, 1]
    torch.testing.assert_close(engine.unpatched("clean"), expected)
