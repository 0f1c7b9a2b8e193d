"""The names of a model's modules, as TransformerLens gives them and as they are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, CTRLConfig

from counterpoint.errors import UserError
from counterpoint.models import names
from counterpoint.models.load import load_language_model
from tests.tiny_models import ARCHITECTURES, make_tiny_model, make_tiny_tokenizer, save_tiny_model


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_kept_names_are_those_that_a_load_asks_for(architecture: str, tmp_path: Path) -> None:
    save_tiny_model(architecture, tmp_path)
    asked = make_tiny_model(architecture)
    assert names.kept_names(tmp_path, type(asked.hf).__name__) is None
    # The weights are not read: with a large model that would take its memory.
    (tmp_path / "model.safetensors").rename(tmp_path / "away")
    assert names.keep_names(tmp_path) == asked.names
    (tmp_path / "away").rename(tmp_path / "model.safetensors")
    loaded = load_language_model(tmp_path)
    assert loaded.names == asked.names
    assert [module.weight.shape for module in loaded.output_projections] == [
        module.weight.shape for module in asked.output_projections
    ]


def test_names_of_another_architecture_are_not_used(tmp_path: Path) -> None:
    save_tiny_model("llama", tmp_path)
    names.keep_names(tmp_path)
    path = tmp_path / names.FILE
    other = json.loads(path.read_text()) | {"architecture": "Another", "blocks": "nowhere"}
    path.write_text(json.dumps(other))
    assert load_language_model(tmp_path).names == make_tiny_model("llama").names


def test_an_architecture_that_transformerlens_does_not_know(tmp_path: Path) -> None:
    config = CTRLConfig(vocab_size=61, n_embd=32, dff=48, n_layer=2, n_head=4, n_positions=64)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    make_tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(names.UNKNOWN):
        names.keep_names(tmp_path)
    assert not (tmp_path / names.FILE).exists()
    with pytest.raises(UserError, match=r"CTRLLMHeadModel: TransformerLens does not know it"):
        load_language_model(tmp_path)


def test_with_kept_names_a_load_does_not_import_transformerlens(tmp_path: Path) -> None:
    save_tiny_model("llama", tmp_path)
    names.keep_names(tmp_path)
    code = (
        "import sys; from counterpoint.models.load import load_language_model;"
        f"load_language_model({str(tmp_path)!r}); print('transformer_lens' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
