"""Effects on any answer and on every token, against whole passes with plain hooks."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from transformers.models.gemma2 import modeling_gemma2 as gemma2
from transformers.models.llama import modeling_llama as llama

import counterpoint
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Direction, TokenPairs
from counterpoint.engine.head_outputs import Units, every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures import answer_effects as module
from counterpoint.measures.answer_effects import LogitChanges, ends, logit_changes
from counterpoint.measures.measured_pairs import MeasuredPairs
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.tables.answer_table import (
    ANSWER_COLUMNS,
    OF_MEAN,
    TOKEN_COLUMNS,
    candidate_ids,
    score_answers,
)
from counterpoint.models.load import LanguageModel, wrap
from tests.helpers import whole_passes
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_model

PAIRS = [
    (" w5 w6 w7 w8", " w5 w9 w7 w8", " w10", " w11"),
    (" w5 w6 w7 w8 w9", " w5 w6 w12 w8 w9", " w10", " w13"),
    (" w6 w6 w7 w8", " w6 w9 w7 w8", " w10", " w11"),
]
HEADS = [(2, 1), (0, 3)]


def plain_norm(self: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
    return self.weight * (hidden * scale)


@pytest.fixture
def throughout(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Models that cast to float32 inside compute in their own format instead.

    What is found of a model is kept on it, so that none is shared with other tests.
    """
    make_tiny_model.cache_clear()
    softmax = torch.nn.functional.softmax
    monkeypatch.setattr(llama.LlamaRMSNorm, "forward", plain_norm)
    monkeypatch.setattr(
        gemma2.Gemma2RMSNorm,
        "forward",
        lambda self, x: (
            x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * (1.0 + self.weight)
        ),
    )
    monkeypatch.setattr(
        torch.nn.functional, "softmax", lambda x, dim=None, dtype=None, **_: softmax(x, dim=dim)
    )
    yield
    make_tiny_model.cache_clear()


@torch.no_grad()
def reference(
    model: LanguageModel, pairs: TokenPairs, direction: Direction, layer: int, head: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """All logits of the background and of the patched run, by whole passes, [pair, token]."""
    sides = ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")
    background, other = (getattr(pairs, side) for side in sides)
    projection = model.output_projection(layer)
    given = [
        whole_passes.value_of(model, projection, tokens, "head") for tokens in (background, other)
    ]
    width = given[0].shape[-1] // model.n_heads
    own = slice(head * width, (head + 1) * width)

    def put(value: torch.Tensor) -> torch.Tensor:
        value = value.clone()
        value[..., own] = given[1][..., own]
        return value

    with whole_passes.changed(projection, "head", put):
        end = whole_passes.logits(model, background)
    return whole_passes.logits(model, background), end


def seen(
    engine: SuffixEngine, direction: Direction, units: Units
) -> list[tuple[slice, LogitChanges]]:
    """What `logit_changes` tells, batch by batch."""
    told: list[tuple[slice, LogitChanges]] = []
    logit_changes(engine, direction, units, lambda place, part: told.append((place, part)))
    return told


@pytest.mark.parametrize("first_difference", [3, 0])
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox", "gemma2"])
def test_all_logits_equal_whole_passes(
    architecture: str, first_difference: int, throughout: None
) -> None:
    made = make_tiny_model(architecture, "float64")
    # What a model computes in is looked for once.
    model = wrap(copy.deepcopy(made.hf), made.tokenizer)
    pairs = random_pairs(31, n_pairs=2, first_difference=first_difference)
    engine = SuffixEngine(model, cache_activations(model, pairs))
    units = every_unit(model, 2)
    assert units.head is not None
    for direction in DIRECTIONS:
        ((place, found),) = seen(engine, direction, units)
        assert (place.start, place.stop) == (0, len(units))
        for unit in range(len(units)):
            layer, head, pair = (int(axis[unit]) for axis in (units.layer, units.head, units.pair))
            start, end = (one[pair] for one in reference(model, pairs, direction, layer, head))
            for values, expected in (
                (found.logit, end - start),
                (found.centred, (end - end.mean()) - (start - start.mean())),
                (found.log_probability, end.log_softmax(0) - start.log_softmax(0)),
                (found.probability, end.softmax(0) - start.softmax(0)),
                (found.background, start.log_softmax(0)),
            ):
                torch.testing.assert_close(values[unit], expected, rtol=0, atol=1e-9)


def test_batches_do_not_matter_and_ap_is_one_difference(tiny_model: LanguageModel) -> None:
    pairs = random_pairs(32, n_pairs=3)
    engine = SuffixEngine(tiny_model, cache_activations(tiny_model, pairs))
    units = every_unit(tiny_model, 3)
    found = {}
    for memory in (1000, 0):
        engine.memory_mb = max(memory, 1)
        original = module.ROWS_OF_LOGITS
        try:
            # A row is a batch.
            module.ROWS_OF_LOGITS = original if memory else 10_000
            parts = [part.logit for _, part in seen(engine, "denoising", units)]
        finally:
            module.ROWS_OF_LOGITS = original
        found[memory] = torch.cat(parts)
        assert (len(parts) == 1) == bool(memory)
    torch.testing.assert_close(found[0], found[1000], rtol=0, atol=1e-5)
    correct, incorrect = (
        torch.tensor([answers[0] for answers in side])[units.pair]
        for side in (pairs.correct, pairs.incorrect)
    )
    row = torch.arange(len(units))
    ap = found[1000][row, correct] - found[1000][row, incorrect]
    np.testing.assert_allclose(ap, activation_patching(engine, "denoising"), atol=1e-5)


def test_forbidden_tokens_take_no_part() -> None:
    change = torch.tensor([[1.0, torch.nan, -2.0, 4.0, 1.0]])
    assert ends(change, 3).tolist() == [[[3, 0, 4], [2, 0, 4]]]
    assert ends(change, 5)[0, 0, -1] == 1 == ends(change, 5)[0, 1, -1]
    logits = torch.tensor([[0.0, -torch.inf, torch.finfo(torch.float32).min, 2.0]])
    assert module._finite(logits).isnan().tolist() == [[False, True, True, False]]


class TestTables:
    def tables(
        self, model: LanguageModel, answers: list[str] | None = None, tokens: int = 4
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        given = MeasuredPairs.of(model, PAIRS, "error", "logit_difference", DIRECTIONS, 500)
        return score_answers(
            model,
            (cached for cached, _ in given.buckets()),
            HEADS,
            candidate_ids(model, answers, given.pairs),
            given.measurement,
            tokens=tokens,
        )

    def test_rows_and_columns(self, tiny_llama: LanguageModel) -> None:
        answers, tokens = self.tables(tiny_llama)
        assert list(answers.columns) == list(ANSWER_COLUMNS)
        assert list(tokens.columns) == list(TOKEN_COLUMNS)
        # Three answers in all pairs, each asked of every pair.
        assert len(answers) == 3 * 2 * len(HEADS) * 3
        assert len(tokens) == (3 + 1) * 2 * len(HEADS) * 2 * 2 * 4
        assert answers["direction"].unique().tolist() == ["noising", "denoising"]
        assert list(map(tuple, answers[["layer", "head"]].drop_duplicates().to_numpy())) == [
            (0, 3),
            (2, 1),
        ]
        own = answers[answers["pair"] == 1].drop_duplicates("answer").set_index("text")["role"]
        assert own.to_dict() == {" w10": "correct", " w11": "candidate", " w13": "incorrect"}
        assert not answers.isna().any().any() and not tokens.isna().any().any()

    def test_answers_that_are_asked_for_stand_beside_a_pairs_own(
        self, tiny_llama: LanguageModel
    ) -> None:
        answers, _ = self.tables(tiny_llama, [" w20", " w10"])
        texts = answers.groupby("pair")["text"].unique().map(set).to_dict()
        assert texts == {
            0: {" w10", " w11", " w20"},
            1: {" w10", " w13", " w20"},
            2: {" w10", " w11", " w20"},
        }
        with pytest.raises(UserError) as raised:
            self.tables(tiny_llama, [" w20", " w5 w6", ""])
        assert "' w5 w6' is 2 tokens (' w5', ' w6')" in str(raised.value)
        assert "'' is 0 tokens" in str(raised.value) and "w20" not in str(raised.value)

    def test_effects_are_the_ap_of_heads(self, tiny_model: LanguageModel) -> None:
        answers, _ = self.tables(tiny_model)
        heads = counterpoint.measure(tiny_model, PAIRS, progress=False)
        keys = ["pair", "direction", "layer", "head"]
        by_role = answers[answers["role"] != "candidate"].pivot_table(
            index=keys, columns="role", values="logit_change"
        )
        ap = heads.set_index(keys)["ap"].reindex(by_role.index)
        np.testing.assert_allclose(by_role["correct"] - by_role["incorrect"], ap, atol=1e-5)
        # And of the log-probability as a metric.
        logs = counterpoint.measure(
            tiny_model, PAIRS, metric="log_probability", progress=False
        ).set_index(keys)["ap"]
        correct = answers[answers["role"] == "correct"].set_index(keys)["log_probability_change"]
        np.testing.assert_allclose(correct, logs.reindex(correct.index), atol=1e-5)

    def test_tokens_are_the_ends_of_the_vocabulary(self, tiny_model: LanguageModel) -> None:
        """The table of answers, asked for every token, has the same ones at its ends."""
        vocabulary = [f" w{number}" for number in range(5, 61)]
        answers, tokens = self.tables(tiny_model, vocabulary, tokens=61)
        keys = ["pair", "direction", "layer", "head"]
        joined = tokens[tokens["pair"] != OF_MEAN].merge(
            answers, left_on=[*keys, "token"], right_on=[*keys, "answer"], suffixes=("", "_asked")
        )
        assert len(joined) == len(answers) * 2 * 2
        for name in ("centred_logit_change", "probability_change", "log_probability"):
            np.testing.assert_allclose(joined[name], joined[f"{name}_asked"], atol=1e-12)
        for _, rows in tokens.groupby([*keys, "by", "side"]):
            by = {"logit": "centred_logit_change"}.get(rows["by"].iloc[0], "probability_change")
            change = rows.sort_values("rank")[by].to_numpy()
            change = change if rows["side"].iloc[0] == "lowered" else -change
            assert (np.diff(change) >= 0).all()
            assert len(set(rows["token"])) == 61
            assert rows["centred_logit_change"].sum() == pytest.approx(0, abs=1e-4)
            assert rows["probability_change"].sum() == pytest.approx(0, abs=1e-6)
        index = ["direction", "layer", "head", "by", "side", "token"]
        mean = tokens[tokens["pair"] == OF_MEAN].set_index(index).sort_index()
        of_pairs = tokens[tokens["pair"] != OF_MEAN].groupby(index)
        for name in ("centred_logit_change", "probability_change"):
            expected = of_pairs[name].mean().sort_index()
            np.testing.assert_allclose(mean[name], expected, atol=1e-9)
        before = of_pairs["log_probability"].agg(lambda logs: np.exp(logs).mean()).sort_index()
        np.testing.assert_allclose(np.exp(mean["log_probability"]), before, atol=1e-9)

    def test_the_public_functions_give_the_same_digits(self, tiny_model: LanguageModel) -> None:
        answers, tokens = self.tables(tiny_model, [" w20"])
        settings = {"memory_mb": 500, "progress": False}
        found = counterpoint.answer_effects(tiny_model, PAIRS, HEADS, [" w20"], **settings)
        pd.testing.assert_frame_equal(found, answers, check_exact=True)
        assert found.attrs["row"] == [1, 2, 3]
        raised = counterpoint.token_effects(tiny_model, PAIRS, HEADS, tokens=4, **settings)
        pd.testing.assert_frame_equal(raised, tokens, check_exact=True)
        table = counterpoint.measure(tiny_model, PAIRS, directions=["noising"], progress=False)
        first = table.nlargest(1, "ap")
        one = counterpoint.token_effects(
            tiny_model, PAIRS, first, tokens=1, directions=["noising"], **settings
        )
        assert len(one) == (3 + 1) * 2 * 2

    def test_no_pair_gives_no_row(self, tiny_llama: LanguageModel) -> None:
        given = MeasuredPairs.of(tiny_llama, PAIRS, "error", "logit_difference", DIRECTIONS, 500)
        answers, tokens = score_answers(tiny_llama, [], HEADS, [10], given.measurement)
        assert list(answers.columns) == list(ANSWER_COLUMNS) and answers.empty
        assert list(tokens.columns) == list(TOKEN_COLUMNS) and tokens.empty

    def test_what_cannot_be_asked_is_refused(self, tiny_llama: LanguageModel) -> None:
        for call, said in (
            (lambda: counterpoint.answer_effects(tiny_llama, PAIRS, [(9, 0)]), "no head 9.0"),
            (lambda: counterpoint.answer_effects(tiny_llama, PAIRS, HEADS, " w5"), "a list"),
            (lambda: counterpoint.token_effects(tiny_llama, PAIRS, HEADS, tokens=0), "at least 1"),
        ):
            with pytest.raises(UserError, match=said):
                call()
