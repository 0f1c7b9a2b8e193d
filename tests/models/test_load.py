"""What loading a model reads, and when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from counterpoint.errors import UserError
from counterpoint.models import load
from counterpoint.models.load import load_language_model
from tests.helpers.tiny_models import save_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny_model("llama", tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_tokenizer_is_read_when_it_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    original = load.load_tokenizer

    def reads(place: Path) -> object:
        read.append(place)
        return original(place)

    monkeypatch.setattr(load, "load_tokenizer", reads)
    later = load_language_model(folder, tokenizer_later=True)
    assert later.n_heads == 4
    assert read == []
    ids = later.encode(" w5 w6")
    assert later.decode(ids) == " w5 w6"
    assert read == [folder]
    assert load_language_model(folder).encode(" w5 w6") == ids
    assert read == [folder, folder]


def test_a_tokenizer_that_is_not_there_is_told_at_once_or_when_it_is_asked_for(
    folder: Path,
) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError):
        load_language_model(folder)
    later = load_language_model(folder, tokenizer_later=True)
    with pytest.raises(UserError):
        later.encode(" w5")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what is mapped")
def test_weights_are_the_files_own_pages(folder: Path) -> None:
    """No copy of float32 weights is made: jobs beside each other read one file's pages."""
    model = load_language_model(folder)
    mapped = []
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        addresses, *_, name = line.split(maxsplit=5)
        if name == str(folder / "model.safetensors"):
            start, end = (int(address, 16) for address in addresses.split("-"))
            mapped.append(range(start, end))
    for parameter in model.hf.parameters():
        assert any(parameter.data_ptr() in each for each in mapped)


@pytest.mark.parametrize("module", ["counterpoint.counterfactuals.archive"])
def test_tables_of_searches_are_merged_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
