"""Tiny random models, one for each architecture that must work."""

from __future__ import annotations

import pytest
import torch

from counterpoint.models.load import LanguageModel
from tests.helpers.tiny_models import ARCHITECTURES, make_tiny_model


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    """Tiny tensors gain nothing from threads, and the machine may run tests side by side."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=sorted(ARCHITECTURES))
def tiny_model(request: pytest.FixtureRequest) -> LanguageModel:
    return make_tiny_model(request.param)


@pytest.fixture(scope="session")
def tiny_llama() -> LanguageModel:
    return make_tiny_model("llama")


@pytest.fixture(scope="session")
def tiny_gpt2() -> LanguageModel:
    return make_tiny_model("gpt2")
