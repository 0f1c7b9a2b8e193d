"""The baseline scores equal plain autograd on whole passes, and what must hold of them holds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.llama import modeling_llama

import counterpoint
from counterpoint.engine.activations import DIRECTIONS, Direction, background_prompt
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_table
from counterpoint.measures.gradient_dropout import gradient_dropout_scores
from counterpoint.measures.input_path_gradients import STEPS, input_path_scores
from counterpoint.measures.measured_pairs import checked_pairs
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.relevance import propagation_rules, relevance_scores
from counterpoint.measures.second_order import (
    second_order_estimate,
    slopes_and_bends_at_start,
    term_ratio,
)
from counterpoint.measures.slopes import attribution_patching, values
from counterpoint.measures.suffix_gradients import first_order_scores
from counterpoint.measures.tables import integrated_gradients_table
from counterpoint.measures.tables.baseline_score_table import score_baselines
from counterpoint.measures.tables.merging import KEYS, merge_heads
from counterpoint.measures.tables.shards import Measurement, cache_shard
from counterpoint.models.load import LanguageModel
from tests.engine.test_suffix import engine_for
from tests.helpers import plain_scores
from tests.helpers.default_model import default_model as default_model
from tests.helpers.default_model import first_pair
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_model

NAMED = ("gpt2", "llama", "gpt_neox", "gemma2")
"""The architectures that must work."""

TOLERANCE = 1e-9
"""Of float64, over the largest score."""

Scores = Callable[[SuffixEngine, Direction], np.ndarray]

SCORES: dict[str, tuple[Scores, Callable[..., np.ndarray]]] = {
    "eap_ig": (
        input_path_scores,
        lambda model, pairs, direction, layers=None: plain_scores.input_path(
            model, pairs, direction, STEPS, layers
        ),
    ),
    "relp": (relevance_scores, plain_scores.relevance),
    "atp_star": (gradient_dropout_scores, plain_scores.gradient_dropout),
}


@pytest.fixture(autouse=True)
def _double_throughout(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Llama and Gemma compute norms and softmax in float32 whatever their format; not here.

    What is found of a model is kept on it, so that none is shared with other tests.
    """
    make_tiny_model.cache_clear()
    plain = torch.nn.functional.softmax

    def softmax(values: torch.Tensor, *args: Any, dtype: Any = None, **kwargs: Any) -> torch.Tensor:
        return plain(values, *args, **kwargs)

    def llama_norm(self: Any, x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(-1, keepdim=True) + self.variance_epsilon).sqrt() * self.weight

    def gemma_norm(self: Any, x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt() * (1 + self.weight)

    monkeypatch.setattr(torch.nn.functional, "softmax", softmax)
    monkeypatch.setattr(modeling_llama.LlamaRMSNorm, "forward", llama_norm)
    monkeypatch.setattr(modeling_gemma2.Gemma2RMSNorm, "forward", gemma_norm)
    yield
    make_tiny_model.cache_clear()


@pytest.fixture
def tiny_gpt2_double() -> LanguageModel:
    return make_tiny_model("gpt2", "float64")


def linear_model() -> LanguageModel:
    """A GPT-2 whose queries are zero (every pattern is even), MLPs silent and norms the identity,
    in its own folder's format."""
    model = copy.deepcopy(make_tiny_model("gpt2", "float64"))
    for name in [name for name in vars(model) if name.startswith("_")]:
        del vars(model)[name]
    with torch.no_grad():
        for block in model.blocks:
            d_model = model.d_model
            block.attn.c_attn.weight[:, : 2 * d_model] = 0
            block.attn.c_attn.bias[: 2 * d_model] = 0
            block.mlp.c_proj.weight.zero_()
    for module in [m for m in model.hf.modules() if isinstance(m, torch.nn.LayerNorm)]:
        # So wide an epsilon makes the divisor a constant; the mean stays, and is linear.
        module.eps = 1e12
        module.weight.data.fill_(1e6)
    return model


@pytest.mark.parametrize("first_difference", [3, 0])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("architecture", NAMED)
@pytest.mark.parametrize("score", sorted(SCORES))
def test_scores_equal_plain_autograd(
    score: str, architecture: str, direction: Direction, first_difference: int
) -> None:
    model = make_tiny_model(architecture, "float64")
    pairs = random_pairs(31, n_pairs=2, length=6, first_difference=first_difference)
    ours, plain = SCORES[score]
    found = ours(engine_for(model, pairs), direction)
    expected = plain(model, pairs, direction)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("first_difference", [3, 0])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("architecture", NAMED)
def test_two_derivatives_equal_plain_autograd(
    architecture: str, direction: Direction, first_difference: int
) -> None:
    model = make_tiny_model(architecture, "float64")
    pairs = random_pairs(32, n_pairs=2, length=6, first_difference=first_difference)
    engine = engine_for(model, pairs)
    units = every_unit(model, 2)
    found = np.stack(slopes_and_bends_at_start(engine, direction, units), axis=-1)
    expected = plain_scores.series(model, pairs, direction).reshape(found.shape)
    allowed = TOLERANCE * np.abs(expected).max(0)
    assert (np.abs(found - expected).max(0) <= allowed).all()


def test_the_second_derivative_is_the_curves(tiny_gpt2_double: LanguageModel) -> None:
    """½ g'(0) is the quadratic term of the series of f, read off f itself near 0."""
    engine = engine_for(tiny_gpt2_double, random_pairs(33))
    units = every_unit(tiny_gpt2_double, 1)
    slope, bend = slopes_and_bends_at_start(engine, "noising", units)
    # Central differences: the third term cancels, and f is exact to 1e-14.
    step = 1e-3
    around = np.tile([-step, 0.0, step], (len(units), 1))
    below, at, above = values(engine, "noising", "head", units, around).T
    assert (above - below) / (2 * step) == pytest.approx(slope, abs=1e-5 * np.abs(slope).max())
    seen = (above - 2 * at + below) / step**2
    assert seen == pytest.approx(bend, abs=1e-4 * np.abs(bend).max())


def test_without_a_change_of_the_way_back_the_score_is_atp(tiny_model: LanguageModel) -> None:
    engine = engine_for(tiny_model, random_pairs(34, n_pairs=2))
    units = every_unit(tiny_model, 2)
    for direction in DIRECTIONS:
        pair = torch.arange(2)
        metric, score = first_order_scores(engine, direction, pair)
        expected = attribution_patching(engine, direction, "head", units)
        assert score.transpose(0, 1).flatten().numpy() == pytest.approx(expected, abs=1e-4)
        start = engine.unpatched(background_prompt(direction))
        assert metric.numpy() == pytest.approx(start.numpy(), abs=1e-5)


def test_where_nothing_bends_every_score_is_ap() -> None:
    """In a model without MLPs, norms and attention patterns that depend on the prompt."""
    model = linear_model()
    engine = engine_for(model, random_pairs(35, n_pairs=2))
    units = every_unit(model, 2)
    for direction in DIRECTIONS:
        ap = activation_patching(engine, direction)
        slope, bend = slopes_and_bends_at_start(engine, direction, units)
        assert second_order_estimate(slope, bend) == pytest.approx(ap, abs=1e-9)
        assert np.abs(bend).max() < 1e-9
        assert term_ratio(slope, bend) == pytest.approx(0, abs=1e-6)
        for score in (input_path_scores, relevance_scores):
            assert score(engine, direction).reshape(-1) == pytest.approx(ap, abs=1e-9)


def test_a_first_term_of_zero_has_no_ratio() -> None:
    assert np.isnan(term_ratio(np.zeros(1), np.ones(1))).all()
    assert term_ratio(np.array([-2.0]), np.array([4.0])).tolist() == [1.0]


def test_relevance_refuses_a_mixture_of_experts() -> None:
    model = make_tiny_model("mixtral")
    with pytest.raises(UserError, match="RelP's rules are not defined for its MLP"):
        relevance_scores(engine_for(model, random_pairs(36)), "noising")


def test_values_stay_the_models_own_under_the_rules(tiny_model: LanguageModel) -> None:
    engine = engine_for(tiny_model, random_pairs(37))
    relevance_scores(engine, "noising")
    with propagation_rules(engine):
        metric, _ = first_order_scores(engine, "noising", torch.zeros(1, dtype=torch.long))
    assert metric.numpy() == pytest.approx(engine.unpatched("clean").numpy(), abs=1e-5)
    assert not any("forward" in vars(module) for module in tiny_model.hf.modules())


def test_measure_puts_the_jobs_columns_behind_ours(
    tiny_llama: LanguageModel, tmp_path: Path
) -> None:
    """The same digits as the workflow's job, and without baselines the file as it was."""
    texts = [
        (" w5 w6 w7 w8 w9", " w5 w6 w10 w8 w9", " w11", " w12"),
        (" w5 w6 w7 w13 w9", " w5 w6 w14 w13 w9", " w15", " w16"),
    ]
    settings: Any = {"memory_mb": 500, "progress": False}
    plain = counterpoint.measure(tiny_llama, texts, **settings)
    scored = counterpoint.measure(tiny_llama, texts, baselines=["relp", "atp_hvp"], **settings)
    columns = ["atp_hvp", "atp_reliability", "relp"]
    assert list(scored.columns) == [*plain.columns, *columns]
    pd.testing.assert_frame_equal(scored[plain.columns], plain, check_exact=True)
    pairs = checked_pairs(tiny_llama, texts, "error")
    measurement = Measurement(memory_mb=500)
    cached, _ = cache_shard(tiny_llama, pairs, measurement.metric)
    table = score_baselines(tiny_llama, cached, measurement, ["atp_hvp", "relp"])
    pd.testing.assert_frame_equal(scored[columns], table[columns], check_exact=True)
    # Merged with baselines and without.
    for name, one in {
        "curves": plain.drop(columns=list(integrated_gradients_table.COLUMNS)),
        "gradients": plain[[*KEYS, *integrated_gradients_table.COLUMNS]],
        "baselines": table,
    }.items():
        write_table(one, tmp_path / f"{name}.parquet")
    paths = [[tmp_path / f"{name}.parquet"] for name in ("curves", "gradients")]
    merge_heads(*paths, tmp_path / "plain", DIRECTIONS)
    merge_heads(*paths, tmp_path / "empty", DIRECTIONS, baselines=[])
    merge_heads(*paths, tmp_path / "scored", DIRECTIONS, baselines=[tmp_path / "baselines.parquet"])
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "empty").read_bytes()
    assert list(pd.read_parquet(tmp_path / "scored").columns) == list(scored.columns)
    write_table(table[1:], tmp_path / "fewer.parquet")
    with pytest.raises(ValueError, match="baselines differ in their rows"):
        merge_heads(*paths, tmp_path / "fewer", DIRECTIONS, baselines=[tmp_path / "fewer.parquet"])


def test_unknown_baselines_are_refused(tiny_llama: LanguageModel) -> None:
    with pytest.raises(UserError, match="did you mean eap_ig"):
        counterpoint.measure(tiny_llama, [], baselines=["eapig"])
    with pytest.raises(UserError, match="are scores of heads"):
        counterpoint.measure(tiny_llama, [], baselines=["relp"], component="mlp")
    with pytest.raises(UserError, match="baselines=3 is not allowed"):
        counterpoint.measure(tiny_llama, [], baselines=3)  # type: ignore[arg-type]


@pytest.mark.slow
def test_scores_of_the_default_model_equal_plain_autograd(default_model: Path) -> None:
    """In float32, of the heads of a layer, on the default study's first pair."""
    engine, layers = first_pair(default_model), [23]
    model, tokens = engine.model, engine.activations.pairs
    for ours, plain in SCORES.values():
        found, expected = ours(engine, "noising"), plain(model, tokens, "noising", layers)
        assert np.abs(found - expected)[layers].max() <= 1e-4
    units = every_unit(model, 1)
    heads = [0, 3, 8]
    units = units[
        ((units.layer == 23) & torch.isin(units.head, torch.tensor(heads))).nonzero()[:, 0]
    ]
    derivatives = np.stack(slopes_and_bends_at_start(engine, "noising", units), axis=-1)
    expected = plain_scores.series(model, tokens, "noising", [23], heads)[23, 0, heads]
    assert np.abs(derivatives - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
