"""A tokenizer of the few words that the pairs of these tests are made of."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from tests.helpers.pair_tables import WORDS
from tests.helpers.tiny_tokenizers import make_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer(WORDS)
