"""TransformerLens neither changes the environment nor the tokenizer that it is handed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from counterpoint.models.no_subprocesses import STARTERS, sealed
from tests.helpers.tiny_models import make_tiny_model

COMMANDS = {
    "run": lambda: subprocess.run([sys.executable, "-m", "pip", "--version"], check=True),
    "run anything": lambda: subprocess.run(["true"], check=True),
    "call in a shell": lambda: subprocess.check_call("pip --version", shell=True),
    "system": lambda: os.system("true"),
    "popen": lambda: os.popen("true").close(),
    "spawn": lambda: os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", ""]),
    "posix_spawn": lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {}),
    "import": lambda: __import__("pip"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_started(name: str) -> None:
    with sealed(), pytest.raises((PermissionError, ImportError)):
        COMMANDS[name]()


def test_everything_is_put_back_even_after_an_error() -> None:
    before = [getattr(owner, name) for owner, name in STARTERS]
    pip = sys.modules.get("pip")
    with pytest.raises(KeyError), sealed(), sealed():
        raise KeyError
    assert [getattr(owner, name) for owner, name in STARTERS] == before
    assert sys.modules.get("pip") is pip
    subprocess.run(["true"], check=True)


def test_other_threads_may_start_programs_but_no_installers() -> None:
    outcomes: list[object] = []

    def elsewhere(command: list[str]) -> None:
        try:
            outcomes.append(subprocess.run(command, check=True).returncode)
        except PermissionError as refused:
            outcomes.append(type(refused))

    with sealed():
        for command in (["true"], ["uv", "pip", "install", "x"], ["/usr/bin/pip3", "install"]):
            thread = threading.Thread(target=elsewhere, args=(command,))
            thread.start()
            thread.join()
    assert outcomes == [0, PermissionError, PermissionError]


def test_transformer_lens_cannot_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own function that installs, which it calls for a processor that cannot be loaded.

    An installer that only leaves a mark stands first on the path: without the seal it is run.
    """
    from transformer_lens.model_bridge.sources.transformers import helpers

    mark = tmp_path / "installed"
    installer = tmp_path / "uv"
    installer.write_text(f"#!/bin/sh\necho $@ > {mark}\n")
    installer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with sealed():
        assert not helpers._ensure_torchvision()
    assert not mark.exists()
    helpers._ensure_torchvision()
    assert mark.read_text() == "pip install torchvision -q\n"


def test_bridge_is_sealed_for_a_model_that_reads_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A multi-modal model's processor is asked for, is not there, and nothing is installed."""
    from transformer_lens.model_bridge.sources.transformers import helpers
    from transformers import AutoModelForCausalLM, Gemma3Config

    from counterpoint.models.transformer_lens_view import bridge

    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 61}
    eye = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    eye |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    hf = AutoModelForCausalLM.from_config(
        Gemma3Config(text_config=shape, vision_config=eye, mm_tokens_per_image=4),
        attn_implementation="eager",
    )
    hf.config.architectures = [type(hf).__name__]
    asked: list[bool] = []
    wanted = helpers._ensure_torchvision

    def ask() -> bool:
        asked.append(wanted())
        return asked[-1]

    # The processor is not asked of the hub, over and over where none can be reached.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(helpers, "_ensure_torchvision", ask)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setattr("sys.executable", str(tmp_path / "no such program"))
    installer = tmp_path / "uv"
    installer.write_text(f"#!/bin/sh\ntouch {tmp_path}/installed\n")
    installer.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    bridge(hf, make_tiny_model("llama").tokenizer)
    assert asked == [False]
    assert not (tmp_path / "installed").exists()


def test_the_tokenizer_stays_as_it_was() -> None:
    model = make_tiny_model("qwen3")
    model.tokenizer.bos_token = None
    before = dict(model.tokenizer.special_tokens_map)
    size = len(model.tokenizer)
    try:
        assert model.bridge().tokenizer.bos_token is not None
        assert model.beginning_of_sequence is None
        assert dict(model.tokenizer.special_tokens_map) == before
        assert len(model.tokenizer) == size
        assert model.encode(" w5 w6") == [5, 6]
    finally:
        model.tokenizer.bos_token = "<bos>"
