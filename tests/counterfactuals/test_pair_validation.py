"""Validation of generated pairs, on a tiny model."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from counterpoint.counterfactuals.head_ranks import rank_of, ranks_on_other_pairs
from counterpoint.counterfactuals.language.readability import readability
from counterpoint.counterfactuals.problem import Target
from counterpoint.counterfactuals.validation import pair_validation
from counterpoint.counterfactuals.validation.pair_validation import (
    COLUMNS,
    _random_answers,
    plain_effect,
    validate,
)
from counterpoint.counterfactuals.validation.validation_depth import Depth
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.patching import activation_patching
from counterpoint.models.load import LanguageModel
from tests.engine.test_suffix import reference_for
from tests.helpers.pair_factory import random_pairs
from tests.helpers.reference import PlainReference

QUICK = Depth(pairs=2, transferred=0, nulls=0)


def _archive(model: LanguageModel, seeds: list[int]) -> pd.DataFrame:
    rows = []
    for seed in seeds:
        pairs = random_pairs(seed, first_difference=2)
        rows.append(
            {
                "method": "descent" if seed % 2 else "fluent",
                "clean": model.decode(pairs.clean[0].tolist()),
                "corrupted": model.decode(pairs.corrupted[0].tolist()),
                "clean_tokens": pairs.clean[0].tolist(),
                "corrupted_tokens": pairs.corrupted[0].tolist(),
                "correct_token": pairs.correct[0][0],
                "incorrect_token": pairs.incorrect[0][0],
                "ld_change": float(seed),
                "choice": 10 - seed,
            }
        )
    return pd.DataFrame(rows)


def test_ranks_are_those_of_the_reference(tiny_model: LanguageModel) -> None:
    archive = _archive(tiny_model, [1])
    target = Target(1, 2)
    (row,) = validate(tiny_model, target, archive, QUICK).to_dict("records")
    pairs = random_pairs(1, first_difference=2)
    reference = reference_for(tiny_model, pairs)
    start = reference.unpatched("clean").item()
    effects = np.array(
        [
            reference.head(layer, head, 1.0).item() - start
            for layer in range(tiny_model.n_layers)
            for head in range(tiny_model.n_heads)
        ]
    )
    place = tiny_model.n_heads + 2
    assert row["ap"] == pytest.approx(effects[place], abs=1e-5)
    assert row["ap_plain"] == pytest.approx(effects[place], abs=1e-5)
    assert row["rank"] == 1 + (np.abs(effects) > abs(effects[place])).sum()
    assert row["reciprocal_rank"] == pytest.approx(1 / row["rank"])
    largest_other = np.abs(np.delete(effects, place)).max()
    assert row["margin"] == pytest.approx(abs(effects[place]) / largest_other, abs=1e-4)
    layer, head = map(int, row["second"].split("."))
    assert abs(effects[layer * 4 + head]) == pytest.approx(largest_other, abs=1e-5)
    assert row["output"][0] == pytest.approx(start, abs=1e-5)
    assert row["output"][-1] - row["output"][0] == pytest.approx(row["ap"], abs=1e-5)


def test_the_first_choices_of_each_method_are_taken(tiny_llama: LanguageModel) -> None:
    archive = _archive(tiny_llama, [1, 2, 3, 4, 5])
    found = validate(tiny_llama, Target(0, 0), archive, QUICK)
    taken = archive.set_index(["method", "clean", "corrupted"]).loc[
        list(found[["method", "clean", "corrupted"]].itertuples(index=False, name=None))
    ]
    assert sorted(taken["ld_change"]) == [2, 3, 4, 5]


def test_an_empty_archive_has_an_empty_table(tiny_llama: LanguageModel) -> None:
    found = validate(tiny_llama, Target(0, 0), _archive(tiny_llama, [1]).iloc[:0])
    assert list(found.columns) == list(COLUMNS)
    assert found.empty


def test_nulls_are_medians_over_random_answers_of_the_references_ranks(
    tiny_llama: LanguageModel,
) -> None:
    archive = _archive(tiny_llama, [1])
    depth = Depth(pairs=1, transferred=0, nulls=5, seed=3)
    (row,) = validate(tiny_llama, Target(1, 2), archive, depth).to_dict("records")
    own = int(archive["correct_token"][0]), int(archive["incorrect_token"][0])
    draws = _random_answers(tiny_llama, own, depth).tolist()
    pairs = random_pairs(1, first_difference=2)
    ranks, sizes = [], []
    for correct, incorrect in draws:
        assert correct != incorrect
        assert not {correct, incorrect} & {*own, *tiny_llama.tokenizer.all_special_ids}
        reference = PlainReference(
            tiny_llama.bridge(),
            pairs.clean[0],
            pairs.corrupted[0],
            lambda logits, a=correct, b=incorrect: logits[a] - logits[b],
        )
        start = reference.unpatched("clean").item()
        effects = np.array(
            [
                reference.head(layer, head, 1.0).item() - start
                for layer in range(tiny_llama.n_layers)
                for head in range(tiny_llama.n_heads)
            ]
        )
        ranks.append(rank_of(effects, 6))
        sizes.append(abs(effects[6]))
    assert row["null_rank"] == np.median(ranks)
    assert row["null_first"] == np.mean(np.equal(ranks, 1))
    assert row["null_ap"] == pytest.approx(np.median(sizes), abs=1e-5)


def test_the_whole_table_is_the_same_for_the_same_seed(tiny_llama: LanguageModel) -> None:
    archive = _archive(tiny_llama, [2, 4])
    depth = Depth(pairs=2, transferred=1, transfers=3, nulls=2)
    first, again = (validate(tiny_llama, Target(1, 1), archive, depth) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert list(first.columns) == list(COLUMNS)
    # The second pair of the method is not transferred.
    assert first["transfer_contexts"].notna().tolist() == [True, False]
    assert first["transfer_clean"].isna().tolist() == [False, True]


def test_plain_runs_confirm_the_margin(tiny_model: LanguageModel) -> None:
    archive = _archive(tiny_model, [1])
    effects = validate(tiny_model, Target(0, 0), archive, QUICK)["head_effects"][0]
    strongest = int(np.abs(effects).argmax())
    (row,) = validate(tiny_model, Target(*divmod(strongest, 4)), archive, QUICK).to_dict("records")
    assert row["rank"] == 1
    assert row["margin_plain"] == pytest.approx(row["margin"], rel=1e-4)


def test_ranks_on_the_pairs_of_other_targets() -> None:
    def table(place: int, **effects: list[float]) -> pd.DataFrame:
        rows = [(name, place, values) for name, values in effects.items()]
        return pd.DataFrame(rows, columns=["method", "place", "head_effects"])

    found = ranks_on_other_pairs(
        {
            (0, 0): table(0, fluent=[3.0, 1.0, 0.5, -2.0], descent=[4.0, 0, 0, 0]),
            (1, 1): table(3, fluent=[0.5, 1.0, 0.0, -2.0]),
            (1, 0): table(2).iloc[:0],
        }
    )
    assert found.to_dict("records") == [
        {"layer": 0, "head": 0, "method": "fluent", "other_layer": 1, "other_head": 1, "rank": 3},
        {"layer": 1, "head": 1, "method": "fluent", "other_layer": 0, "other_head": 0, "rank": 2},
    ]
    assert ranks_on_other_pairs({}).empty


def test_flags(tiny_llama: LanguageModel) -> None:
    (first,) = _archive(tiny_llama, [1]).to_dict("records")
    first["correct_token"] = first["clean_tokens"][0]
    first["incorrect_token"] = 9
    first["clean_tokens"] = [5, 6, 5, 6, 7, 8, 9, 10, 11]
    first["corrupted_tokens"] = [5, 6, 5, 6, 7, 8, 9, 10, 12]
    archive = pd.DataFrame([first])
    (row,) = validate(tiny_llama, Target(0, 0), archive, QUICK).to_dict("records")
    assert row["answer_in_prompt"]
    assert row["repetition"] == pytest.approx(1 / 8)
    assert row["answers_moved"] and not row["punctuation_answer"]
    assert not row["answer_changed"] and not row["special_tokens"]


def test_surprise_and_perplexity_are_those_of_plain_runs(tiny_model: LanguageModel) -> None:
    pairs = random_pairs(3)
    clean, corrupted = pairs.clean[0].tolist(), pairs.corrupted[0].tolist()
    found = readability(tiny_model, clean, corrupted, (9, 10))
    losses = {}
    for name, tokens in (("clean", clean), ("corrupted", corrupted)):
        logits = tiny_model.bridge()(torch.tensor([tokens]))[0].detach().log_softmax(-1)
        losses[name] = [-float(logits[i - 1, tokens[i]]) for i in range(1, len(tokens))]
        again = found[f"perplexity_{name}_again"]
        assert again == pytest.approx(math.exp(np.mean(losses[name])), rel=1e-4)
    assert found["surprise"] == pytest.approx(max(map(max, losses.values())), abs=1e-4)
    worst = max(losses, key=lambda name: max(losses[name]))
    place = 1 + int(np.argmax(losses[worst]))
    token = (clean if worst == "clean" else corrupted)[place]
    assert found["surprising_token"] == tiny_model.decode([token])


def test_changed_answers_and_special_tokens_are_flagged(tiny_llama: LanguageModel) -> None:
    clean, corrupted = [1, 5, 6, 7, 8], [1, 5, 9, 7, 8]
    assert readability(tiny_llama, clean, corrupted, (9, 11))["answer_changed"]
    assert not readability(tiny_llama, clean, corrupted, (7, 11))["answer_changed"]
    assert not readability(tiny_llama, clean, corrupted, (7, 11))["special_tokens"]
    assert readability(tiny_llama, clean, corrupted, (2, 11))["special_tokens"]
    assert readability(tiny_llama, clean, [1, 5, 2, 7, 8], (10, 11))["special_tokens"]


def test_plain_effect_needs_no_engine(tiny_model: LanguageModel) -> None:
    pairs = random_pairs(6)
    (correct,), (incorrect,) = pairs.correct[0], pairs.incorrect[0]
    patched = activation_patching(
        SuffixEngine(tiny_model, cache_activations(tiny_model, pairs)), "noising"
    )
    for place in (0, 7, 11):
        target = Target(place // tiny_model.n_heads, place % tiny_model.n_heads)
        clean, corrupted = pairs.clean[0].tolist(), pairs.corrupted[0].tolist()
        found = plain_effect(tiny_model, target, clean, corrupted, (correct, incorrect))
        assert found == pytest.approx(patched[place], abs=1e-5)
    assert all(not module._forward_pre_hooks for module in tiny_model.output_projections)


def test_denoising_and_joint_ranks_are_those_among_all_heads(tiny_model: LanguageModel) -> None:
    archive = _archive(tiny_model, [1])
    pairs = random_pairs(1, first_difference=2)
    engine = SuffixEngine(tiny_model, cache_activations(tiny_model, pairs))
    denoising = activation_patching(engine, "denoising")
    joint = integrated_gradients(engine, "noising").score.reshape(-1)
    for place in range(tiny_model.n_layers * tiny_model.n_heads):
        target = Target(*divmod(place, tiny_model.n_heads))
        (row,) = validate(tiny_model, target, archive, QUICK).to_dict("records")
        assert row["ap_denoising"] == pytest.approx(denoising[place], abs=1e-5)
        assert row["rank_denoising"] == rank_of(denoising, place)
        assert row["ig_joint"] == pytest.approx(joint[place], abs=1e-4)
        assert row["ig_rank"] == rank_of(joint, place)


def test_plain_passes_are_made_without_the_engine(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is independent stays so: no layer computes through oneDNN, and every pass is whole."""
    seen: list[tuple[int, ...]] = []
    plain = pair_validation.plain_logits

    def logits(model: LanguageModel, tokens: list[int]) -> torch.Tensor:
        assert not any("forward" in vars(module) for module in model.hf.modules())
        seen.append(tuple(tokens))
        return plain(model, tokens)

    monkeypatch.setattr(pair_validation, "plain_logits", logits)
    archive = _archive(tiny_llama, [1, 2])
    validate(tiny_llama, Target(0, 0), archive, QUICK)
    for row in archive.to_dict("records"):
        clean, corrupted = tuple(row["clean_tokens"]), tuple(row["corrupted_tokens"])
        # The target and three rivals patched into the clean prompt, and both prompts' own passes.
        assert seen.count(clean) == 5 and seen.count(corrupted) == 1


def test_rank_counts_larger_sizes() -> None:
    scores = np.array([0.5, -2.0, 1.0, 2.0])
    assert [rank_of(scores, place) for place in range(4)] == [4, 1, 3, 1]
    assert torch.tensor(scores).abs().argmax() == 1
