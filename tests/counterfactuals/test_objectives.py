"""The sign of an LD change: −AP in noising, wherever one stands."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from counterpoint.counterfactuals.comparison.search_outcomes import measure_pair
from counterpoint.counterfactuals.evaluation.all_heads import (
    by_head_number,
    exact_effects,
)
from counterpoint.counterfactuals.evaluation.edit_transfer import Transfer
from counterpoint.counterfactuals.evaluation.single_pair import engine_of, pair_of
from counterpoint.counterfactuals.methods.search import search
from counterpoint.counterfactuals.objectives import (
    ALPHAS,
    evenness,
    ld_change,
    ld_change_of,
    outputs_from,
)
from counterpoint.counterfactuals.problem import Budget, Settings, Target
from counterpoint.counterfactuals.validation.pair_validation import validate
from counterpoint.counterfactuals.validation.validation_depth import Depth
from counterpoint.engine.head_outputs import every_unit
from counterpoint.measures.patching import activation_patching
from counterpoint.models.load import LanguageModel

TARGET = Target(1, 2)
START = " w5 w9 w12 w30 w7 w8"


@pytest.fixture(scope="module")
def archive(tiny_llama: LanguageModel) -> pd.DataFrame:
    settings = Settings(Budget(200), answer_in_prompt="allow")
    return search(tiny_llama, "random_swaps", TARGET, START, settings).archive


def test_an_ld_change_is_minus_ap_in_noising(
    tiny_llama: LanguageModel, archive: pd.DataFrame
) -> None:
    """AP as a study measures it; all that calls itself an LD change, or an effect of a search."""
    assert len(archive) and (archive["ld_change"] > 0).all()
    place = TARGET.layer * tiny_llama.n_heads + TARGET.head
    units = every_unit(tiny_llama, 1)
    for _, row in archive.head(3).iterrows():
        pair = pair_of(row)
        engine = engine_of(tiny_llama, pair, memory_mb=500)
        ap = by_head_number(tiny_llama, units, activation_patching(engine, "noising"))
        assert ap[place] < 0
        assert row["ld_change"] == pytest.approx(ld_change_of(ap[place]), abs=1e-5)
        (effects,) = exact_effects(tiny_llama, [pair])
        np.testing.assert_allclose(effects[:, 0], ld_change_of(ap), atol=1e-5)
        outcome = measure_pair(tiny_llama, TARGET, row, memory_mb=500)
        assert outcome["ap"] == pytest.approx(-outcome["ld_change"], abs=1e-5)


def test_tables_have_both_signs_as_their_columns_say(
    tiny_llama: LanguageModel, archive: pd.DataFrame
) -> None:
    depth = Depth(pairs=1, transferred=1, transfers=3, nulls=0)
    (row,) = validate(tiny_llama, TARGET, archive, depth).to_dict("records")
    best = archive.sort_values("choice").iloc[0]
    assert row["ap"] == pytest.approx(-best["ld_change"], abs=1e-5)
    assert row["ap"] == row["head_effects"][row["place"]]
    own = Transfer(tiny_llama, 3)._contexts(pair_of(best))
    assert len(own) == row["transfer_contexts"] > 0
    for context, found in zip(own, row["transfer_ld_changes"], strict=True):
        both = torch.tensor([context.clean, context.corrupted])
        correct, incorrect = tiny_llama.hf(both).logits[:, -1].argmax(-1).tolist()
        if correct == incorrect:
            assert found == 0
            continue
        # Another pair of prompts, with answers of its own.
        there = pair_of(
            pd.Series(
                {
                    "clean_tokens": context.clean,
                    "corrupted_tokens": context.corrupted,
                    "correct_token": correct,
                    "incorrect_token": incorrect,
                }
            )
        )
        (effects,) = exact_effects(tiny_llama, [there])
        assert found == pytest.approx(effects[row["place"], 0], abs=1e-5)


def test_the_sign_of_numbers_arrays_and_tensors() -> None:
    assert ld_change_of(-1.5) == 1.5
    np.testing.assert_array_equal(ld_change_of(np.array([1.0, -2.0])), [-1.0, 2.0])
    assert torch.equal(ld_change_of(torch.tensor([1.0, -2.0])), torch.tensor([-1.0, 2.0]))


def test_outputs_fall_by_their_changes() -> None:
    outputs = outputs_from([0.5, 1.0, 1.5, 2.0])
    assert outputs.shape == (len(ALPHAS),)
    assert outputs.tolist() == [0.0, -0.5, -1.0, -1.5, -2.0]
    assert float(ld_change(outputs)) == 2.0
    assert float(evenness(outputs)) == 1.0
