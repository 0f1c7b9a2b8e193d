"""Validation of generated pairs, on a tiny model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from counterpoint.activations import cache_activations
from counterpoint.counterfactuals.problem import Target
from counterpoint.counterfactuals.validation import COLUMNS, plain_effect, rank_of, validate
from counterpoint.models.load import LanguageModel
from counterpoint.patching import activation_patching
from counterpoint.suffix import SuffixEngine
from tests.pair_factory import random_pairs
from tests.test_suffix import reference_for


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
    (row,) = validate(tiny_model, target, archive).to_dict("records")
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
    found = validate(tiny_llama, Target(0, 0), archive, pairs_per_method=2)
    taken = archive.set_index(["method", "clean", "corrupted"]).loc[
        list(found[["method", "clean", "corrupted"]].itertuples(index=False, name=None))
    ]
    assert sorted(taken["ld_change"]) == [2, 3, 4, 5]


def test_an_empty_archive_has_an_empty_table(tiny_llama: LanguageModel) -> None:
    found = validate(tiny_llama, Target(0, 0), _archive(tiny_llama, [1]).iloc[:0])
    assert list(found.columns) == list(COLUMNS)
    assert found.empty


def test_flags(tiny_llama: LanguageModel) -> None:
    (first,) = _archive(tiny_llama, [1]).to_dict("records")
    first["correct_token"] = first["clean_tokens"][0]
    first["incorrect_token"] = 9
    first["clean_tokens"] = [5, 6, 5, 6, 7, 8, 9, 10, 11]
    first["corrupted_tokens"] = [5, 6, 5, 6, 7, 8, 9, 10, 12]
    archive = pd.DataFrame([first])
    (row,) = validate(tiny_llama, Target(0, 0), archive).to_dict("records")
    assert row["answer_in_prompt"]
    assert row["repetition"] == pytest.approx(1 / 8)


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


def test_rank_counts_larger_sizes() -> None:
    scores = np.array([0.5, -2.0, 1.0, 2.0])
    assert [rank_of(scores, place) for place in range(4)] == [4, 1, 3, 1]
    assert torch.tensor(scores).abs().argmax() == 1
