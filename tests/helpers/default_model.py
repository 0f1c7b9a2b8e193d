"""The real default model, for tests that need it: found where a run left it, else fetched once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.measured_pairs import checked_pairs
from counterpoint.measures.tables.shards import token_pairs
from counterpoint.models.fetch import fetch_model
from counterpoint.models.load import LanguageModel, load_language_model
from counterpoint.pairs.buckets import buckets

ROOT = Path(__file__).resolve().parents[2]
NAME = "smollm2-135m-instruct"


def specification() -> dict[str, str]:
    """The default model's entry of the default configuration."""
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["models"][NAME]


@pytest.fixture(scope="session")
def default_model(pytestconfig: pytest.Config) -> Path:
    """The folder of the default model; the test is skipped where no index serves it."""
    made_by_a_run = ROOT / "resources" / "models" / NAME
    if (made_by_a_run / "provenance.json").exists():
        return made_by_a_run
    cache = pytestconfig.cache
    assert cache is not None
    folder = cache.mkdir("models") / NAME
    with FileLock(f"{folder}.lock"):  # the workers of pytest-xdist share the one copy
        if not (folder / "provenance.json").exists():
            try:
                fetch_model(specification(), folder)
            except UserError as error:
                pytest.skip(f"the default model is not at hand: {error}")
    return folder


# Shared by all tests of a process, which leave them as they were.


@cache
def loaded(folder: Path) -> LanguageModel:
    """The default model of `default_model`."""
    return load_language_model(folder)


@cache
def first_pair(folder: Path) -> SuffixEngine:
    """The engine of the default study's first pair, in float32."""
    model = loaded(folder)
    (bucket,) = buckets(checked_pairs(model, "ioi.default").head(1))
    return SuffixEngine(model, cache_activations(model, token_pairs(bucket)))
