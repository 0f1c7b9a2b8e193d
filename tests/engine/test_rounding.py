"""The number format that is really computed in, and errors that hold in every one."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch
import transformers.models.llama.modeling_llama as llama

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.rounding import computed_eps, computed_format
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.curve_measures import OutputCurves
from counterpoint.measures.curves import output_curves
from counterpoint.models.load import LanguageModel, wrap
from counterpoint.statistics import disagreement, interaction_partners
from counterpoint.statistics.claim_verdicts import IDENTITY_TOLERANCE, REFUTED, SUPPORTED
from counterpoint.statistics.claims import claims
from counterpoint.statistics.panel import at_floor, floor_of
from counterpoint.statistics.resampling import Settings
from tests.helpers.pair_factory import random_pairs
from tests.helpers.simulated_heads import table_of_heads
from tests.helpers.tiny_models import make_tiny_model

INSIDE = {"gpt2": torch.float64, "llama": torch.float32, "gemma2": torch.float32}


@pytest.mark.parametrize("architecture", sorted(INSIDE))
def test_the_computed_format_is_seen(architecture: str) -> None:
    """Llama and Gemma 2 compute norms and softmax in float32 whatever their dtype."""
    assert computed_format(make_tiny_model(architecture, "float64")) is INSIDE[architecture]
    for dtype in ("float32", "bfloat16"):
        assert computed_format(make_tiny_model(architecture, dtype)) is getattr(torch, dtype)


def curves(model: LanguageModel, seed: int, tolerance: float = 1e-4) -> OutputCurves:
    engine = SuffixEngine(model, cache_activations(model, random_pairs(seed)))
    return output_curves(engine, "noising", every_unit(model, 1), tolerance=tolerance)


def plain_norm(self: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
    return self.weight * (hidden * scale)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7])
def test_float64_errors_hold_against_float64_throughout(
    tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_tiny_model("llama", "float64")
    stated = curves(model, 3, tolerance)
    softmax = torch.nn.functional.softmax
    monkeypatch.setattr(llama.LlamaRMSNorm, "forward", plain_norm)
    monkeypatch.setattr(
        torch.nn.functional, "softmax", lambda x, dim=None, dtype=None, **_: softmax(x, dim=dim)
    )
    # What a model computes in is looked for once.
    throughout = wrap(copy.deepcopy(model.hf), model.tokenizer)
    assert computed_eps(throughout) == torch.finfo(torch.float64).eps
    exact = curves(throughout, 3, 1e-10)
    assert exact.quadrature_error.max() < 1e-9
    assert (np.abs(stated.output - exact.output).max(1) <= stated.quadrature_error).all()
    assert (np.abs(stated.ap - exact.ap) <= 2 * stated.quadrature_error).all()
    assert (np.abs(stated.gradient - exact.gradient).max(1) <= stated.gradient_error).all()
    # No finer than what it computes in, and no more is asked of it.
    assert stated.quadrature_error.min() > 1e-7
    assert stated.nodes.max() <= 65


def test_float64_is_float64_where_nothing_is_cast() -> None:
    found = curves(make_tiny_model("gpt2", "float64"), 3, 1e-11)
    assert found.resolved.all()
    assert found.quadrature_error.max() < 1e-11
    assert np.abs(found.ig_own - found.ap).max() < 1e-11


@pytest.mark.parametrize(("architecture", "dtype"), [("llama", "bfloat16"), ("gpt2", "float32")])
def test_errors_hold_against_a_finer_format(architecture: str, dtype: str) -> None:
    coarse = make_tiny_model(architecture, dtype)
    finer = copy.deepcopy(coarse.hf).to(torch.float32 if dtype == "bfloat16" else torch.float64)
    exact = curves(wrap(finer, coarse.tokenizer), 5, 1e-7)
    found = curves(coarse, 5)
    assert (np.abs(found.output - exact.output).max(1) <= found.quadrature_error).all()
    assert (np.abs(found.ap - exact.ap) <= 2 * found.rounding + found.quadrature_error).all()
    # The identity, as a claim judges it.
    bound = np.maximum(IDENTITY_TOLERANCE, 2 * found.rounding)
    assert (np.abs(found.ig_own - found.ap) <= bound).all()
    # AtP is the slope of the curve at its beginning, up to the rounding of g.
    assert (np.abs(found.atp - exact.atp) <= found.gradient_error).all()


@pytest.mark.parametrize("metric", ["log_probability", "kl_divergence"])
def test_refinement_stops_at_the_floor_of_every_metric(metric: str) -> None:
    model = make_tiny_model("llama", "bfloat16")
    engine = SuffixEngine(model, cache_activations(model, random_pairs(1)), metric=metric)
    found = output_curves(engine, "noising", every_unit(model, 1))
    assert found.resolved.all()
    assert found.nodes.max() <= 9


@pytest.mark.parametrize("metric", ["log_probability", "kl_divergence"])
def test_log_probabilities_round_where_logits_are_small(metric: str) -> None:
    large = make_tiny_model("gpt2")
    hf = copy.deepcopy(large.hf)
    hf.set_output_embeddings(copy.deepcopy(hf.get_output_embeddings()))
    hf.get_output_embeddings().weight.data.mul_(1e-3)

    def found(hf: torch.nn.Module) -> OutputCurves:
        model = wrap(hf, large.tokenizer)
        engine = SuffixEngine(model, cache_activations(model, random_pairs(5)), metric=metric)
        return output_curves(engine, "noising", every_unit(model, 1), tolerance=1e-7)

    coarse, exact = found(hf), found(copy.deepcopy(hf).double())
    assert (np.abs(coarse.output - exact.output).max(1) <= coarse.quadrature_error).all()
    assert (np.abs(coarse.ap - exact.ap) <= 2 * coarse.rounding + 1e-7).all()


def test_a_model_that_answers_nothing_is_measured() -> None:
    plain = make_tiny_model("llama")
    hf = copy.deepcopy(plain.hf)
    hf.get_output_embeddings().weight.data.zero_()
    found = curves(wrap(hf, plain.tokenizer), 5)
    assert (found.output == 0).all()
    assert found.resolved.all()
    assert (found.monotonicity == 1).all()


# ------------------------------------------------------------------------------------------- words


def study(rounding: float, error: float) -> pd.DataFrame:
    """A made study whose integrals all miss AP by ``error``."""
    random = np.random.default_rng(0)
    heads = table_of_heads({"output_range_closed": random.uniform(0.1, 2, (3, 12))}, layers=2)
    heads["rounding"], heads["resolved"] = rounding, True
    heads["ig_own"] = heads["ap"] + error
    return heads


def identity_of(heads: pd.DataFrame) -> pd.Series:
    settings = Settings(bootstrap_samples=20, permutations=20)
    table = claims(heads, settings=settings)
    return table[table["quantity"] == "own_path_error"].iloc[0]


def test_an_identity_is_judged_by_the_format() -> None:
    plain = identity_of(study(1e-6, 0.03))
    assert plain["verdict"] == REFUTED
    assert plain["threshold"] == IDENTITY_TOLERANCE
    coarse = identity_of(study(0.02, 0.03))
    assert coarse["verdict"] == SUPPORTED
    assert coarse["threshold"] == pytest.approx(0.04)
    assert "within rounding of the number format" in coarse["explanation"]
    # What is beyond rounding is an error in any format.
    assert identity_of(study(0.02, 0.05))["verdict"] == REFUTED
    gap = study(0.02, 0.03)
    gap.loc[3, "ig_own"] = np.nan
    assert identity_of(gap)["verdict"] == "undecided"


def test_the_identity_counts_jumps() -> None:
    heads = study(1e-6, -0.4)
    heads["jump_total"], heads["jumps"] = 0.4, 2.0
    assert identity_of(heads)["verdict"] == SUPPORTED
    heads.loc[5, "jump_total"] = 0.1
    assert identity_of(heads)["verdict"] == REFUTED
    heads.loc[5, "resolved"], heads.loc[5, "quadrature_error"] = False, 0.2
    assert identity_of(heads)["verdict"] == SUPPORTED, "its error says how far it may be off"


def test_partners_are_judged_with_the_jumps_of_their_heads() -> None:
    heads = study(1e-6, 0.0)
    first = heads.iloc[0]
    row = {name: [first[name]] for name in ("pair", "direction", "layer", "head", "ap")}
    table = pd.DataFrame(row).assign(ig_own=first["ap"] - 0.5)
    error, allowed = interaction_partners.own_path_errors(table, heads)
    assert error == pytest.approx([0.5])
    heads["jump_total"], heads["jumps"], heads["total_variation"] = 0.5, 1.0, 2.0
    error, allowed = interaction_partners.own_path_errors(table, heads)
    assert error == pytest.approx([0.0], abs=1e-12)
    assert 0 < allowed[0] < 0.1
    assert disagreement.identity(error, allowed, 1).estimate == pytest.approx(0.0, abs=1e-12)


def test_the_floor_is_the_formats_where_that_is_higher() -> None:
    heads = study(0.5, 0.0)
    assert at_floor(heads, 1e-4).equals(heads["output_range_closed"] < 0.5)
    assert floor_of(heads, 1e-4) == 0.5
    assert floor_of(heads, 0.7) == 0.7
    assert not at_floor(heads, 0.0).any()
    plain = heads.drop(columns="rounding")
    assert at_floor(plain, 1e-4).equals(plain["output_range_closed"] < 1e-4)
