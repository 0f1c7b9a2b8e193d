"""Kinds of architecture beyond the five of `tiny_models`, against whole passes with plain hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Component, Direction
from counterpoint.engine.evaluation_rows import WAYS
from counterpoint.engine.head_outputs import Units, every_unit, packed, spread
from counterpoint.engine.rounding import computed_eps
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.faithfulness import recovered
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.patching import activation_patching, layer_patching
from counterpoint.measures.slopes import values_and_slopes
from counterpoint.models.load import LanguageModel, wrap
from counterpoint.models.rotary import crosses_rotary_length
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import VOCABULARY, make_tiny_tokenizer
from tests.helpers.whole_passes import effects, logits

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
SLIDING = {
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
PER_LAYER = {"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8}

CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    # The MLP stands in the block, on rows and positions in one axis.
    "opt": ("OPT", {**SHAPE, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "opt, projected": (
        "OPT",
        {**SHAPE, "ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "biogpt": ("BioGpt", SHAPE),
    # The block adds in place to what its parts have returned.
    "falcon": ("Falcon", {**SHAPE, "multi_query": True, "parallel_attn": True}),
    # ALiBi; the modules add the residual stream themselves.
    "falcon, alibi": ("Falcon", {**SHAPE, "alibi": True, "parallel_attn": False}),
    "bloom": ("Bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 3, "n_head": 4}),
    "mpt": ("Mpt", {"vocab_size": VOCABULARY, "d_model": 32, "n_heads": 4, "n_layers": 3}),
    # Attention sinks, and an MLP that returns its router's scores too.
    "gpt_oss": ("GptOss", {**SHAPE, **GROUPED, **SLIDING, "num_local_experts": 4}),
    "mixtral": ("Mixtral", {**SHAPE, **GROUPED, "num_local_experts": 4}),
    # Changed in place are the values that the linear layers have returned.
    "olmo, clipped": ("Olmo", {**SHAPE, "num_key_value_heads": 2, "clip_qkv": 0.5}),
    # Layers without attention, whose states no cache of keys and values holds.
    "lfm2": (
        "Lfm2",
        {**SHAPE, "num_key_value_heads": 2, "layer_types": ["conv", "full_attention", "conv"]},
    ),
    "qwen3_next": (
        "Qwen3Next",
        {
            **SHAPE,
            **GROUPED,
            **EXPERTS,
            "shared_expert_intermediate_size": 16,
            "layer_types": ["linear_attention", "full_attention", "full_attention"],
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
    ),
    # Inputs for each layer beside the residual stream; heads that differ in width; keys shared.
    "gemma4": (
        "Gemma4Text",
        {**SHAPE, **GROUPED, **SLIDING, **PER_LAYER, "global_head_dim": 16},
    ),
    "gemma3n": (
        "Gemma3nText",
        {
            **SHAPE,
            **GROUPED,
            **SLIDING,
            **PER_LAYER,
            "laurel_rank": 4,
            "num_kv_shared_layers": 1,
            "activation_sparsity_pattern": None,
        },
    ),
    # Residual streams within each position; norms and mixing in float32 inside.
    "hy_v4": (
        "HYV4",
        {
            **SHAPE,
            **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim"), 8),
            **dict.fromkeys(("index_head_dim", "v_head_dim"), 8),
            **dict.fromkeys(("moe_intermediate_size", "index_topk"), 16),
            **dict.fromkeys(("num_local_experts", "n_routed_experts"), 4),
            "num_key_value_heads": 4,
            "qk_rope_head_dim": 4,
            "index_n_heads": 2,
            "num_experts_per_tok": 2,
        },
    ),
    # Angles that depend on the length of the prompt, which here crosses the model's.
    "dynamic": (
        "Llama",
        {
            **SHAPE,
            **GROUPED,
            "max_position_embeddings": 6,
            "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4},
        },
    ),
    "longrope": (
        "Phi3",
        {
            **SHAPE,
            "num_key_value_heads": 2,
            "original_max_position_embeddings": 6,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "short_factor": [1.0] * 4,
                "long_factor": [3.0] * 4,
                "original_max_position_embeddings": 6,
            },
        },
    ),
}

WAY_TAKEN = {
    "opt": 1,
    "opt, projected": 1,
    "falcon, alibi": 2,
    "bloom": 2,
    "gemma4": 2,
    "gemma3n": 2,
    "hy_v4": 2,
}
"""The place in `WAYS` of those that are not taken up block by block, cut to the last position."""

FLOAT64, FLOAT32 = 1e-9, 1e-5
"""How far effects may be from whole passes, by the format that a model computes in, in float64: a
norm or softmax in float32 inside rounds otherwise in another batch, on some processors and not on
others (1.5e-7 with AVX2, nothing with AVX-512)."""

COARSER = {"falcon, alibi"}
"""Whose constants alone are coarser than what is computed with them: biases of positions in
bfloat16, and so the scores that they are added to."""


def tolerance(name: str) -> float:
    fine = computed_eps(make(name)) < torch.finfo(torch.float32).eps and name not in COARSER
    return FLOAT64 if fine else FLOAT32


WHOLE_PROMPT = {"lfm2", "qwen3_next", "hy_v4", "dynamic", "longrope"}
"""Whose prefix cannot be run alone: layers carry another state (HY V4: keys of an indexer), or
angles depend on the length."""


@cache
def make(name: str, dtype: torch.dtype = torch.float64) -> LanguageModel:
    kind, settings = CONFIGURATIONS[name]
    torch.manual_seed(0)
    hf = transformers.AutoModelForCausalLM.from_config(
        getattr(transformers, f"{kind}Config")(**settings), attn_implementation="eager"
    )
    with torch.no_grad():
        for tensor_name, parameter in hf.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
            elif tensor_name.endswith(("bias", "sinks")):
                parameter.normal_(0, 0.1)
    return wrap(hf.to(dtype), make_tiny_tokenizer())


def expected(
    model: LanguageModel, pairs: Any, direction: Direction, component: Component, units: Units
) -> list[float]:
    with torch.no_grad():
        found = effects(model, pairs, direction, component)
    head = torch.zeros_like(units.layer) if units.head is None else units.head
    return [
        float(found[place])
        for place in zip(units.pair.tolist(), units.layer.tolist(), head.tolist(), strict=True)
    ]


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("component", ["head", "mlp"])
def test_every_unit_equals_whole_passes(name: str, component: Component) -> None:
    model = make(name)
    for length, first in ((8, 3), (7, 0)):
        pairs = random_pairs(1, n_pairs=2, length=length, first_difference=first)
        engine = SuffixEngine(model, cache_activations(model, pairs))
        units = every_unit(model, 2, component)
        if component == "head":
            assert engine.way(component) == WAYS[WAY_TAKEN.get(name, 0)]
        assert (engine.activations.start < first) == (name in WHOLE_PROMPT and first > 0)
        for direction in DIRECTIONS:
            found = activation_patching(engine, direction, component=component)
            wanted = expected(model, pairs, direction, component, units)
            assert np.abs(wanted).max() > 0.01
            assert found == pytest.approx(wanted, abs=tolerance(name))


@pytest.mark.parametrize("name", ["opt", "bloom", "gemma4", "lfm2"])
def test_slopes_equal_reverse_mode_through_whole_passes(name: str) -> None:
    model, pairs = make(name), random_pairs(2)
    engine = SuffixEngine(model, cache_activations(model, pairs))
    for component in ("head", "mlp"):
        units = every_unit(model, 1, component)
        alpha = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
        by_place = effects(model, pairs, "noising", component, alpha)
        wanted = [
            float(torch.autograd.grad(value, alpha, retain_graph=True)[0])
            for value in by_place.values()
        ]
        grid = np.full((len(units), 1), 0.3)
        _, slope = values_and_slopes(engine, "noising", component, units, grid)
        assert slope[:, 0] == pytest.approx(wanted, abs=1e-5)


def test_clipping_in_place_can_be_differentiated() -> None:
    model, pairs = make("olmo, clipped", torch.float32), random_pairs(2)
    units = every_unit(model, 1)
    engine = SuffixEngine(model, cache_activations(model, pairs))
    alpha = torch.tensor(0.3, requires_grad=True)
    by_place = effects(model, pairs, "noising", "head", alpha)
    wanted = [
        float(torch.autograd.grad(value, alpha, retain_graph=True)[0])
        for value in by_place.values()
    ]
    _, slope = values_and_slopes(engine, "noising", "head", units, np.full((len(units), 1), 0.3))
    assert slope[:, 0] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("name", ["lfm2", "bloom"])
def test_joint_gradients_and_faithfulness_of_layers_with_heads(name: str) -> None:
    model, pairs = make(name), random_pairs(3, n_pairs=2)
    engine = SuffixEngine(model, cache_activations(model, pairs))
    found = integrated_gradients(engine, "noising")
    effect = layer_patching(engine, "noising")
    without = [layer for layer in range(model.n_layers) if layer not in model.head_layers]
    for array in (found.score, found.convergence_delta, effect):
        assert np.isnan(array[without]).all()
        assert np.isfinite(array[model.head_layers]).all()
    with_heads = model.head_layers
    assert found.score[with_heads].sum(-1) == pytest.approx(effect[with_heads], abs=1e-4)
    n_heads = len(with_heads) * model.n_heads
    share = recovered(engine, "noising", {"ig_joint": found.score}, [n_heads, n_heads + 5])
    assert share[0, :, 0] == pytest.approx(share[0, :, 1])


def test_narrower_heads_are_padded_and_cut_again() -> None:
    model = make("gemma4")
    widths = {model.output_projection(layer).weight.shape[1] for layer in model.head_layers}
    assert widths == {32, 64}
    z = torch.arange(32.0)
    padded = spread(z, 4, 64)
    assert padded.view(4, 16)[:, :8].flatten().tolist() == z.tolist()
    assert not padded.view(4, 16)[:, 8:].any()
    assert torch.equal(packed(model, 0, padded), z)


def test_a_prompts_angles_do_not_depend_on_what_was_run_before() -> None:
    model = make("dynamic")
    short, long = random_pairs(5, length=6).clean, random_pairs(5, length=20).clean
    before = [logits(model, tokens) for tokens in (short, long)]
    again = [logits(model, tokens) for tokens in (long, short)]
    assert torch.equal(before[0], again[1]) and torch.equal(before[1], again[0])
    assert not crosses_rotary_length(model.hf.config, 6)
    assert crosses_rotary_length(model.hf.config, 7)
    within = cache_activations(model, random_pairs(6, length=6, first_difference=2))
    assert within.start in (0, 2)


# -- what the check sees --------------------------------------------------------------------------


@contextmanager
def tampered(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within the block the module returns something else."""

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def small_dependence_on_the_batch(value: Tensor) -> Tensor:
    return value + 1e-3 * (len(value) - 1) * value.roll(1, -1)


@pytest.mark.parametrize("part", ["block", "attention", "mlp"])
def test_a_small_error_is_refused_in_float32_and_not_in_bfloat16(part: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = make("falcon", dtype)
        pairs = random_pairs(4, n_pairs=2)
        for kept in ("_ways", "_starts"):
            model.__dict__.pop(kept, None)
        module = {
            "block": model.blocks[1],
            "attention": model.attention(1),
            "mlp": model.mlp(1),
        }[part]
        with tampered(module, small_dependence_on_the_batch):
            if dtype == torch.float32:
                with pytest.raises(UserError, match="differs from the same prompt run alone"):
                    cache_activations(model, pairs)
            else:
                SuffixEngine(model, cache_activations(model, pairs))
        for kept in ("_ways", "_starts"):
            model.__dict__.pop(kept, None)


def test_what_a_library_raises_is_told_with_architecture_and_step() -> None:
    model = make("falcon", torch.float32)
    for kept in ("_ways", "_starts"):
        model.__dict__.pop(kept, None)

    def broken(value: Tensor) -> Tensor:
        raise KeyError("conv_states")

    with tampered(model.blocks[1], broken), pytest.raises(UserError) as told:
        cache_activations(model, random_pairs(4))
    message = str(told.value)
    assert "FalconForCausalLM" in message and "running a prompt" in message
    assert "KeyError: 'conv_states'" in message
    model.__dict__.pop("_starts", None)


def test_a_component_that_is_never_called_is_refused() -> None:
    model = make("bloom")
    model.__dict__.pop("_starts", None)
    attention: Any = model.attentions[2]
    attention.pretraining_tp, attention.slow_but_exact = 2, True
    try:
        with pytest.raises(UserError, match="layer 2 never calls its attention module"):
            cache_activations(model, random_pairs(4))
    finally:
        attention.pretraining_tp, attention.slow_but_exact = 1, False
        model.__dict__.pop("_starts", None)
