"""Tiny random models, one for each architecture that must work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from counterpoint.models.load import LanguageModel
from tests.helpers import browser
from tests.helpers.tiny_models import ARCHITECTURES, make_tiny_model


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    """Tiny tensors gain nothing from threads, and the machine may run tests side by side."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def chromium() -> Iterator[browser.Browser]:
    """A running browser; without one the test is skipped, with the reason."""
    if browser.missing():
        pytest.skip(browser.missing())
    with browser.browser() as running:
        yield running


@pytest.fixture(scope="session", params=sorted(ARCHITECTURES))
def tiny_model(request: pytest.FixtureRequest) -> LanguageModel:
    return make_tiny_model(request.param)


@pytest.fixture(scope="session")
def tiny_llama() -> LanguageModel:
    return make_tiny_model("llama")


@pytest.fixture(scope="session")
def tiny_gpt2() -> LanguageModel:
    return make_tiny_model("gpt2")


LONGEST = (
    "studies/test_small_study.py",
    "counterfactuals/test_search_methods.py",
    "studies/test_default_study.py",
    "counterfactuals/test_method_comparison.py",
    "studies/test_degenerate_studies.py",
    "counterfactuals/test_atlas_search.py",
    "studies/test_whole_answers_study.py",
    "measures/test_positions.py",
    "measures/test_edges.py",
    "statistics/test_correlations.py",
)
"""Files of half a minute and more, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers of pytest-xdist take whole files in this order: no long one begins at the end.

    What asks for chromium is marked, so that `make test-page`, which installs it, runs it.
    """
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(LONGEST)))
