"""The real default model, for tests that need it: found where a run left it, else fetched once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from counterpoint.errors import UserError
from counterpoint.models.fetch import fetch_model

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
