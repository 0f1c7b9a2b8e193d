"""`answer_tokens` of the public functions: what equals what, and what is refused."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch

import counterpoint
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel
from tests.helpers.tiny_models import make_tiny_model

CLEAN, CORRUPTED = " w5 w6 w7 w8", " w5 w9 w7 w8"
SEVERAL = [(CLEAN, CORRUPTED, " w20 w21 w22", " w20 w23 w24 w25")]
ONE = [(CLEAN, CORRUPTED, " w10", " w11"), (CLEAN + " w8", CORRUPTED + " w8", " w12", " w13")]
QUIET: Any = {"progress": False}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return make_tiny_model("llama")


def test_the_first_difference_is_a_pair_of_one_token(model: LanguageModel) -> None:
    by_hand = [(CLEAN + " w20", CORRUPTED + " w20", " w21", " w23")]
    setting: Any = {"answer_tokens": "first_difference", **QUIET}
    for call in (counterpoint.measure, counterpoint.positions, counterpoint.roles):
        found = call(model, SEVERAL, directions=["noising"], **setting)
        expected = call(model, by_hand, directions=["noising"], **QUIET)
        left_out = ["span"] if "span" in found else []
        pd.testing.assert_frame_equal(found.drop(columns=left_out), expected.drop(columns=left_out))
        assert found.attrs["metric_clean"] == expected.attrs["metric_clean"]
    patterns = counterpoint.attention_patterns(model, SEVERAL, **setting)
    assert patterns.clean[0].shape[-1] == 6


def test_whole_answers_of_one_token_have_their_logit_difference(model: LanguageModel) -> None:
    for call in (counterpoint.measure, counterpoint.roles):
        found, expected = (
            call(model, ONE, answer_tokens=how, directions=["noising"], **QUIET)
            for how in ("whole", "one")
        )
        pd.testing.assert_frame_equal(found, expected)


def test_whole_answers_in_one_table_with_short_ones(model: LanguageModel) -> None:
    """Tables of every call, with the answers' tokens summed by hand for the unpatched prompts."""
    both: Any = {"answer_tokens": "whole", "directions": ["noising"], **QUIET}
    heads = counterpoint.measure(model, [*ONE, *SEVERAL], baselines=["eap_ig", "relp"], **both)
    assert heads["pair"].nunique() == 3 and heads.notna().all().all()
    for name, prompt in (("metric_clean", CLEAN), ("metric_corrupted", CORRUPTED)):
        said = [plain_log_probability(model, prompt, answer) for answer in SEVERAL[0][2:]]
        assert heads.attrs[name][2] == pytest.approx(said[0] - said[1], abs=1e-5)
    alone = counterpoint.measure(model, SEVERAL, **both)
    last = heads[heads["pair"] == 2].reset_index(drop=True)
    for name in ("ap", "atp", "ig_joint", "total_variation"):
        assert last[name].to_numpy() == pytest.approx(alone[name].to_numpy(), abs=1e-5)
    roles = counterpoint.roles(model, SEVERAL, **both)
    output = roles[roles["role"] == "output"]["ap"].to_numpy()
    assert output == pytest.approx(alone["ap"].to_numpy(), abs=1e-5)
    curves = counterpoint.curves(model, SEVERAL, [(1, 2)], **both)
    assert curves.output[0, 0, 1, 2].shape == (50,)
    edges = counterpoint.edges(model, SEVERAL, [(2, 1)], **both)
    assert edges["effect"].abs().max() > 0.01
    partners = counterpoint.interaction_partners(model, SEVERAL, alone, **both)
    assert partners["ap"].isin(alone["ap"]).all()
    correct = counterpoint.roles(model, SEVERAL, metric="log_probability", **both)
    said = plain_log_probability(model, CLEAN, SEVERAL[0][2])
    assert correct.attrs["metric_clean"] == pytest.approx([said], abs=1e-5)


@torch.no_grad()
def plain_log_probability(model: LanguageModel, prompt: str, answer: str) -> float:
    before, behind = (
        model.encode(prompt),
        model.encode(prompt + answer)[len(model.encode(prompt)) :],
    )
    logits = model.hf(input_ids=torch.tensor([before + behind])).logits[0].log_softmax(-1)
    return sum(float(logits[len(before) - 1 + k, token]) for k, token in enumerate(behind))


def test_refusals_name_the_setting(model: LanguageModel) -> None:
    def said(call: Any, *given: Any, **settings: Any) -> str:
        with pytest.raises(UserError) as error:
            call(model, *given, **settings, **QUIET)
        return str(error.value)

    message = said(counterpoint.measure, SEVERAL)
    assert 'answer_tokens="first_difference" or answer_tokens="whole" takes several' in message
    message = said(counterpoint.measure, SEVERAL, answer_tokens="hole")
    assert "expected one of one, first_difference, whole" in message and "whole?" in message
    message = said(counterpoint.measure, SEVERAL, answer_tokens="whole", metric="kl_divergence")
    assert "not defined for answer_tokens='whole'" in message
    message = said(counterpoint.measure, SEVERAL, answer_tokens="whole", baselines=["atp_star"])
    assert "atp_star" in message and "not measured of whole answers" in message
    for call, given in (
        (counterpoint.positions, ()),
        (counterpoint.position_curves, ()),
        (counterpoint.token_effects, ([(0, 1)],)),
        (counterpoint.answer_effects, ([(0, 1)],)),
        (counterpoint.circuit, ()),
        (counterpoint.edge_circuit, ()),
    ):
        assert "not measured of whole answers" in said(call, SEVERAL, *given, answer_tokens="whole")
