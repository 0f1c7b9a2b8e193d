"""A damaged checkpoint is as good as none, and a whole one gives back what was kept."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.counterfactuals.methods.search_checkpoints import Checkpoints

DEPENDS = {"seed": 0}
PLAIN = {"evaluations": 12, "refused": {"length": 3}, "generator": [1, 2, 255]}
TENSORS = {
    "prefixes": torch.arange(12.0).view(3, 4).T,
    "ids": torch.tensor([[5, 6]]),
    "none": torch.zeros(0, 2),
    "one": torch.tensor(True),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "a.checkpoint.safetensors"
    Checkpoints(path, DEPENDS, seconds=0).keep(lambda: {**PLAIN, "tensors": dict(TENSORS)})
    return path.read_bytes()


def same(state: dict[str, object] | None) -> bool:
    if state is None:
        return False
    tensors = state["tensors"]
    assert isinstance(tensors, dict)
    return {key: value for key, value in state.items() if key != "tensors"} == PLAIN and all(
        torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items()
    )


def test_what_was_kept_comes_back(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint.safetensors"
    assert Checkpoints(path, DEPENDS).kept() is None
    path.write_bytes(whole)
    assert same(Checkpoints(path, DEPENDS).kept())
    assert Checkpoints(path, {"seed": 1}).kept() is None


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_damage_is_used_and_none_raises(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a.checkpoint.safetensors"
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:place])
        assert Checkpoints(path, DEPENDS).kept() is None
        return
    bit = 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
    found = Checkpoints(path, DEPENDS).kept()
    # A bit of the header's padding changes nothing that was kept.
    assert found is None or same(found)


@pytest.mark.parametrize("text", [b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      "])
def test_another_file_is_named_and_not_used(
    text: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.checkpoint.safetensors"
    path.write_bytes(text)
    with caplog.at_level(logging.WARNING):
        assert Checkpoints(path, DEPENDS).kept() is None
    assert f"{path} cannot be read" in caplog.text and "begins anew" in caplog.text


def test_a_folder_in_its_place_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "a.checkpoint.safetensors").mkdir()
    assert Checkpoints(tmp_path / "a.checkpoint.safetensors", DEPENDS).kept() is None
