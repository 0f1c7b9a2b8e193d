"""A fetched folder is what was fetched, or is refused by the name of what is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from counterpoint.errors import UserError
from counterpoint.files.digests import SMALL, sha256
from counterpoint.models.unchanged_folder import PROVENANCE, refuse_changed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a small and a large file, as `fetch_model` leaves it."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(SMALL + 1))
    files = {path.name: sha256(path) for path in tmp_path.iterdir()}
    (tmp_path / PROVENANCE).write_text(json.dumps({"files": files}))
    refuse_changed(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_one_bit_with_size_and_times_as_before_is_noticed(folder: Path, name: str) -> None:
    path = folder / name
    state = path.stat()
    with path.open("r+b") as stream:
        first = stream.read(1)
        stream.seek(0)
        stream.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(UserError, match=f"{name} changed after the model was fetched"):
        refuse_changed(folder)


def test_a_file_that_is_gone_is_noticed(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json changed"):
        refuse_changed(folder)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00"])
def test_a_record_that_cannot_be_read_is_no_leave_to_use_anything(
    folder: Path, text: bytes
) -> None:
    (folder / PROVENANCE).write_bytes(text)
    with pytest.raises(UserError, match=rf"{PROVENANCE} cannot be read .*Delete the folder"):
        refuse_changed(folder)


def test_a_folder_that_was_not_fetched_passes(folder: Path) -> None:
    (folder / PROVENANCE).write_text('{"who": "another program"}')
    refuse_changed(folder)
    (folder / PROVENANCE).unlink()
    refuse_changed(folder)
