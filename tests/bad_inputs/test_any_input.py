"""Readers of what others made, given anything: they take it, or refuse it with a message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.models.fetch import fetch_model
from counterpoint.models.gguf.gguf_metadata import read_metadata
from counterpoint.models.gguf.reading import read_gguf
from counterpoint.pairs.pair_files import count_rows, read_pairs
from counterpoint.workflow.config import resolve
from counterpoint.workflow.config_layers import read_layers
from tests.bad_inputs.cases import small
from tests.bad_inputs.pair_files import GOOD, HEADER, parquet
from tests.helpers.small_study import make_model

few = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EXAMPLE = {"clean": "a b", "corrupted": "a c", "correct": " d", "incorrect": " e"}


@st.composite
def damaged(draw: Callable[[Any], Any], whole: bytes) -> bytes:
    """A file with bytes overwritten, cut out or put in, at up to four places."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 2, 8, 64]))
        data[place : place + length] = draw(st.binary(max_size=length or 9))
    return bytes(data)


def refused_or_read(read: Callable[[], object]) -> None:
    """Read; a message is as good as a result, and nothing else is."""
    try:
        read()
    except UserError as mistake:
        assert str(mistake).strip()


@pytest.mark.parametrize(
    ("suffix", "whole"),
    [
        (".csv", (HEADER + GOOD).encode()),
        (".jsonl", (json.dumps(EXAMPLE) + "\n").encode() * 2),
        (".parquet", parquet(**{key: [text] for key, text in EXAMPLE.items()})),
    ],
)
@given(data=st.data())
@few
def test_files_of_pairs(tmp_path: Path, suffix: str, whole: bytes, data: st.DataObject) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(data.draw(st.one_of(damaged(whole), st.binary(max_size=200))))
    refused_or_read(lambda: read_pairs(path))
    refused_or_read(lambda: count_rows(path))


@given(st.text(max_size=200))
@few
def test_texts_of_pairs(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.csv"
    try:
        path.write_text(HEADER + text, encoding="utf-8", newline="")
    except UnicodeEncodeError:
        assume(False)
    try:
        table = read_pairs(path)
    except UserError:
        return
    # What the plan of jobs is made of is what is read.
    assert len(table) == count_rows(path)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(10**400)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value of a configuration."""
    children = node.items() if isinstance(node, dict) else []
    return [path, *(each for key, child in children for each in places(child, (*path, key)))]


@given(st.sampled_from(places(small())[1:]), values)
@few
def test_any_value_at_any_place_of_a_configuration(
    tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    config = small()
    node = config
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    path = tmp_path / "any.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    refused_or_read(lambda: resolve(read_layers([path]), source="any.yaml", folder=tmp_path))


@given(st.one_of(damaged(yaml.safe_dump(small()).encode()), st.binary(max_size=200)))
@few
def test_any_bytes_for_a_configuration(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    refused_or_read(lambda: resolve(read_layers([path]), source="any.yaml", folder=tmp_path))


@pytest.fixture(scope="module")
def gguf_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A GGUF file of a few settings and two small tensors."""
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(8)
    writer.add_token_list(["a", "b", "ab"])
    writer.add_tensor("token_embd.weight", np.zeros((3, 4), dtype=np.float32))
    writer.add_tensor("output_norm.weight", np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@given(data=st.data())
@few
def test_gguf_files(tmp_path: Path, gguf_bytes: bytes, data: st.DataObject) -> None:
    path = tmp_path / "any.gguf"
    path.write_bytes(data.draw(damaged(gguf_bytes)))
    refused_or_read(lambda: read_metadata(path))
    refused_or_read(lambda: read_gguf(path, "any.gguf"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@given(data=st.data())
@settings(few, max_examples=12)
def test_files_of_a_model(tmp_path: Path, model: Path, name: str, data: st.DataObject) -> None:
    folder = tmp_path / "any"
    folder.mkdir(exist_ok=True)
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    whole = (model / name).read_bytes()
    # Of weights the header: other numbers are other weights, which no reader can tell.
    size = 8 + int.from_bytes(whole[:8], "little") if name.endswith("tensors") else len(whole)
    (folder / name).write_bytes(data.draw(damaged(whole[:size])) + whole[size:])
    refused_or_read(lambda: fetch_model({"source": "local", "path": str(folder)}, tmp_path / "out"))
