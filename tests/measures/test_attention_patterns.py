"""Attention patterns on whole prompts, against those that the models return themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_arrays
from counterpoint.measures.attention_patterns import attention_patterns
from counterpoint.measures.pattern_arrays import file_arrays, read_patterns
from counterpoint.measures.tables.pattern_file import record_patterns
from counterpoint.models.load import LanguageModel
from tests.engine.test_architecture_kinds import make
from tests.helpers.pair_factory import random_pairs


def test_patterns_are_those_that_the_model_returns(tiny_model: LanguageModel) -> None:
    tokens = random_pairs(51, n_pairs=2).clean
    found = attention_patterns(tiny_model, tokens)
    whole = tiny_model.hf(tokens, output_attentions=True).attentions
    torch.testing.assert_close(found, torch.stack(whole, dim=1), atol=1e-6, rtol=0)
    assert found.sum(-1) == pytest.approx(torch.ones(found.shape[:-1]), abs=1e-5)


def test_a_sink_takes_its_share_and_layers_without_heads_have_no_pattern() -> None:
    tokens = random_pairs(52).clean
    shares = attention_patterns(make("gpt_oss"), tokens).sum(-1)
    assert (shares < 1).all() and (shares > 0).all()
    mixed = attention_patterns(make("lfm2"), tokens)
    assert mixed[:, [0, 2]].isnan().all() and not mixed[:, 1].isnan().any()


def test_an_attention_in_code_of_its_own_is_refused() -> None:
    with pytest.raises(UserError, match=r"layer 0 computes its attention in code of its own"):
        attention_patterns(make("falcon"), random_pairs(53).clean)


def test_the_file_holds_the_first_pairs(tiny_llama: LanguageModel, tmp_path: Path) -> None:
    short, long = random_pairs(54, length=7), random_pairs(55)
    table = pd.DataFrame(
        {
            "pair": [2, 0, 1],
            "clean_tokens": [one.clean[0].numpy() for one in (short, long, short)],
            "corrupted_tokens": [one.corrupted[0].numpy() for one in (short, long, short)],
        }
    )
    patterns = record_patterns(tiny_llama, table, pairs=2)
    write_arrays(file_arrays(patterns), tmp_path / "patterns.safetensors")
    read = read_patterns(tmp_path / "patterns.safetensors")
    assert read.pairs.tolist() == [0, 1] and len(read) == 2
    for (pair, clean, corrupted), given in zip(read, (long, short), strict=True):
        both = torch.cat([given.clean, given.corrupted])
        expected = attention_patterns(tiny_llama, both).numpy()
        assert np.array_equal(np.stack([clean, corrupted]), expected), pair
    assert len(record_patterns(tiny_llama, table)) == 3
