"""The explorer's data: exact scores, curves within the stated error, small enough for a page."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from tokenizers import Tokenizer, models

from counterpoint import report
from counterpoint.figures.top_head_figures import ap_intervals
from counterpoint.glossary import WORDS
from counterpoint.report.explorer import explorer_data, pair_choice
from counterpoint.report.explorer.explorer_data import explorer_arrays
from counterpoint.report.explorer.packed_arrays import pack, unpack
from counterpoint.report.explorer.pair_choice import spread_out
from counterpoint.report.explorer.predicted_arrays import (
    PREDICTED,
    with_what_is_known,
    without_what_is_known,
)
from counterpoint.report.explorer.prompt_pieces import prompt_pieces
from counterpoint.report.explorer.quantised_curves import (
    LEVELS,
    largest_error,
    quantise,
    restore,
)
from counterpoint.report.prompt_tokens import Tokens
from tests.helpers.synthetic import (
    Shape,
    make_atlas,
    make_positions,
    write_generated,
    write_study,
)

SETTINGS: dict[str, Any] = {"model": "tiny", "statistics": {"bootstrap_samples": 50}}


def read(folder: Path, **settings: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    results = report.load_results("made-up", folder, SETTINGS | settings)
    return unpack(pack(*explorer_arrays(results)))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(tmp_path_factory.mktemp("study"))
    write_generated(folder)
    make_atlas().to_parquet(folder / "atlas.parquet", index=False)
    make_positions(Shape(pairs=2)).to_parquet(folder / "positions.parquet", index=False)
    heads = pd.read_parquet(folder / "heads.parquet")[["pair", "direction", "layer", "head", "ap"]]
    first = heads[heads["pair"] == 0]
    pd.concat(
        [first.assign(role=role, ap=first["ap"] / 2) for role in ("query", "output")]
    ).to_parquet(folder / "roles.parquet")
    pd.DataFrame(
        {
            "pair": [0, 0, 2], "direction": "noising", "layer": 2, "head": 1, "partner": [0, 2, 0],
            "interaction": [-0.25, 0.125, -0.75], "ap": 1.0, "ig_own": 1.0,
            "ig_joint": [0.9, 0.9, 0.5], "remainder": 0.025,
        }
    ).to_parquet(folder / "interaction.parquet")  # fmt: skip
    pd.DataFrame(
        {
            "pair": 0, "direction": "noising", "sender_layer": [-1, 1, 1],
            "sender_head": [-1, 2, -1],
            "receiver_layer": [3, 3, 4], "receiver_head": [2, 2, -1],
            "role": ["query", "key", "logits"], "effect": [0.1, -0.4, 0.2], "exact": True,
        }
    ).to_parquet(folder / "edges.parquet")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def packed(study: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return read(study)


def test_what_is_packed_is_read_back() -> None:
    arrays = {
        "a": np.array([[1.5, -0.0], [np.nan, np.inf]], dtype=np.float32),
        "b": np.arange(7, dtype=np.uint16),
        "c": np.zeros((2, 0, 3), dtype=np.float64),
        "d": np.array([-128, 127], dtype=np.int8),
        "e": np.array([-(2**31), -1, 0, 1, 2**31 - 1], dtype=np.int32),
        "f": np.array([-(2**15), 2**15 - 1], dtype=np.int16),
    }
    header = {"text": "<script> é \u2212", "list": [1, None, True]}
    text = pack(header, arrays)
    assert text == pack(header, arrays) and "<" not in text
    again, found = unpack(text)
    assert again == header and list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_packing_refuses_what_the_script_cannot_read() -> None:
    with pytest.raises(ValueError, match="<i8"):
        pack({}, {"a": np.arange(3)})
    with pytest.raises(ValueError, match="arrays"):
        pack({"arrays": []}, {})
    with pytest.raises(ValueError, match="JSON"):
        pack({"a": float("nan")}, {})


@given(
    st.data(),
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 4)),
)
def test_predicted_scores_come_back_to_the_last_bit(data: Any, shape: tuple[int, ...]) -> None:
    numbers = st.floats(width=32, allow_nan=True, allow_infinity=True)
    names = ["ap", "ig_joint", "excess_range", *PREDICTED]
    arrays = {
        f"values.{name}": data.draw(arrays_of.arrays(np.float32, shape, elements=numbers))
        for name in names
    }
    change = data.draw(arrays_of.arrays(np.float32, shape[1], elements=numbers))
    kept, told = without_what_is_known(arrays, change)
    assert [name for name, *_ in told] == list(PREDICTED)
    _, unpacked = unpack(pack({}, kept))
    found = with_what_is_known(unpacked, told, change)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].view("<u4"), array.view("<u4"))


def test_what_is_predicted_takes_little_room(study: Path) -> None:
    header, arrays = explorer_arrays(report.load_results("made-up", study, SETTINGS))
    kept, told = without_what_is_known(arrays, explorer_data.metric_changes(header))
    assert {name for name, *_ in told} == set(PREDICTED)
    for name in ("abs_ap", "disagreement", "ap_normalised", "output_range_closed"):
        assert np.abs(kept[f"values.{name}"].astype(int)).max() < 2**12, name
    # A measure on other pairs than those it would follow from stands as it is.
    some = {**arrays, "values.ig_joint": arrays["values.ig_joint"][:, :2]}
    kept, told = without_what_is_known(some, explorer_data.metric_changes(header))
    assert "disagreement" not in {name for name, *_ in told}
    assert kept["values.disagreement"].dtype == np.float32


@given(
    arrays_of.arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(1, 9)),
        elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
    )
)
def test_curves_come_back_within_the_stated_error(curves: np.ndarray) -> None:
    kept = quantise(curves)
    error = np.abs(restore(kept) - curves).max(axis=1)
    # The last part: float64's own rounding.
    assert (error <= largest_error(kept) + 1e-12 * np.abs(curves).max(axis=1)).all()


def test_the_stated_error_is_half_a_step() -> None:
    """And is reached: it is no bound that anything would meet."""
    random = np.random.default_rng(0)
    curves = np.hstack([np.tile([0.0, 4094.0], (50, 1)), random.uniform(0, 4094, (50, 200))])
    kept = quantise(curves)
    np.testing.assert_allclose(largest_error(kept), 4094 / (2 * LEVELS), rtol=1e-3)
    assert np.abs(restore(kept) - curves).max() > 0.95 * 4094 / (2 * LEVELS)


def test_missing_and_flat_curves() -> None:
    curves = np.array([[1.0, np.nan, 2.0], [0.25, 0.25, 0.25], [np.inf, 0, 0], [0, 1, 0]])
    kept = quantise(curves)
    found = restore(kept)
    assert np.isnan(found[[0, 2]]).all() and np.isnan(largest_error(kept)[[0, 2]]).all()
    np.testing.assert_array_equal(found[[1, 3]], curves[[1, 3]])


def test_pairs_are_taken_at_equal_distances() -> None:
    pairs = list(range(100, 200))
    assert spread_out(pairs, 10, 1000) == pairs
    assert spread_out(pairs, 10, 999)[0] == 100 and len(spread_out(pairs, 10, 999)) == 99
    assert spread_out(pairs, 10, 40) == [100, 125, 150, 175]
    assert spread_out(pairs, 10_000, 40) == [100]
    assert spread_out([], 10, 40) == []


def test_scores_are_exact(study: Path, packed: Any) -> None:
    header, arrays = packed
    table = pd.read_parquet(study / "heads.parquet")
    places = list(zip(arrays["layer"].tolist(), arrays["head"].tolist(), strict=True))
    assert places == sorted(set(zip(table["layer"], table["head"], strict=True)))
    derived = {"abs_ap": table["ap"].abs(), "disagreement": table["ig_joint"] - table["ap"]}
    scores = [one for one in header["measures"] if one["group"] == "scores"]
    assert {"ap", "ig_joint", "disagreement", "excess_range"} <= {one["key"] for one in scores}
    for one in scores:
        key = one["key"]
        found = arrays[f"values.{key}"]
        expected = table.assign(value=derived.get(key, table.get(key))).set_index(
            ["direction", "pair", "layer", "head"]
        )["value"]
        for d, direction in enumerate(header["directions"]):
            for p, pair in enumerate(one["pairs"]):
                exact = [expected[direction, pair, *place] for place in places]
                np.testing.assert_array_equal(found[d, p], np.float32(exact))
        assert one["signed"] or (found >= 0).all()


def test_intervals_are_those_of_the_table_of_heads(study: Path, packed: Any) -> None:
    header, arrays = packed
    table = pd.read_parquet(study / "heads.parquet")
    for d, direction in enumerate(header["directions"]):
        shown = ap_intervals(table, direction, confidence=0.95, seed=0)
        ends = np.array(list(shown.values()))[:, 1:].T
        np.testing.assert_allclose([arrays["low.ap"][d], arrays["high.ap"][d]], ends, rtol=1e-6)


def test_curves_are_those_of_the_study(study: Path, packed: Any) -> None:
    from safetensors.numpy import load_file

    header, arrays = packed
    stored = load_file(study / "curves.safetensors")
    baseline = pd.read_parquet(study / "baseline.parquet")
    start = baseline[["metric_clean", "metric_corrupted"]].to_numpy()[:, :, None, None, None]
    for name, values in (("f", stored["output"] - start), ("g", stored["gradient"])):
        ends, steps = arrays[f"{name}.ends"], arrays[f"{name}.steps"]
        found = restore(explorer_data.quantise(values.reshape(-1, 50)))
        assert steps.shape == (4 * 2 * 12, 50)
        span = np.diff(ends.astype(float), axis=1)[:, 0]
        error = np.abs(found - values.reshape(-1, 50)).max(axis=1)
        assert (error <= span / (2 * LEVELS) + 1e-6).all()
        if name == "f":
            assert error.max() <= header["curves"]["error"] < 0.004
    assert header["curves"]["pairs"] == [0, 1, 2, 3]


def test_roles_and_spans_have_their_own_pairs(packed: Any) -> None:
    header, arrays = packed
    by_key = {one["key"]: one for one in header["measures"]}
    assert by_key["role.query"]["pairs"] == [0] and "role.output" not in by_key
    np.testing.assert_array_equal(
        arrays["values.role.query"][:, 0], np.float32(arrays["values.ap"][:, 0] / 2)
    )
    assert by_key["span.subject"]["pairs"] == [0, 1] and by_key["position_interaction"]["signed"]
    assert "low.role.query" not in arrays
    assert {one["word"] for one in header["measures"]} - {""} <= set(WORDS)
    first = header["positions"][0]
    table = make_positions(Shape(pairs=2)).query("component == 'head' and pair == 0")
    rows = table[(table["direction"] == header["directions"][first["direction"]])]
    exact = rows[(rows["layer"] == 1) & (rows["head"] == 2)]["ap"].to_numpy(np.float32)
    np.testing.assert_array_equal(arrays[first["array"]][5], exact)
    assert [place[0] for place in first["places"]] == [4, 5, 6, 7, 8]


def test_partners_edges_and_composed_pairs(packed: Any) -> None:
    header, _ = packed
    place = 2 * 3 + 1
    # Head 2.1 with 2.0: the mean of two pairs; with 2.2 of one.
    assert header["partners"][0][:4] == [0, place, 0, -0.5] and header["partners"][0][5] == 2
    assert header["partners"][1][2:4] == [2, 0.125] and header["partners"][1][5] == 1
    own = [row for row in header["edges"] if row[1] == 3 * 3 + 2]
    assert [row[2:6] for row in own] == [
        ["from", "1.2", "key", -0.4],
        ["from", "embeddings", "query", 0.1],
    ]
    assert [row[2:4] for row in header["edges"] if row[1] == 1 * 3 + 2] == [["to", "3.2 key"]]
    composed = [one for one in header["composed"] if one["place"] == 3 * 3 + 2]
    assert [one["rank"] for one in composed if one["from"] == "descent"] == [1, 2, 3]
    assert any(one["from"] == "atlas" for one in header["composed"])


def test_prompts_are_shown_whole(study: Path, packed: Any) -> None:
    header, _ = packed
    pairs = pd.read_parquet(study / "pairs.parquet")
    for shown, row in zip(header["pairs"], pairs.to_dict("records"), strict=True):
        assert "".join(shown["clean"]) == row["clean"]
        assert "".join(shown["corrupted"]) == row["corrupted"]


def test_pieces_are_tokens_with_their_positions_where_they_can_be(tmp_path: Path) -> None:
    vocabulary = {"<s>": 0, "He": 1, "llo": 2, "there": 3, "?": 4}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokens = Tokens(tmp_path / "tokenizer.json")
    row = {"clean": "Hello", "corrupted": "there", "clean_tokens": [0, 1, 2]}
    first = prompt_pieces(row | {"corrupted_tokens": [0, 3]}, tokens)
    assert first == {"clean": ["He", "llo"], "corrupted": ["there"], "first": 1}
    # Tokens with which both answers begin stand behind the prompt, and are no part of it.
    longer = {"clean_tokens": [0, 1, 2, 3], "corrupted_tokens": [0, 3, 3], "answer_beginning": 1}
    assert prompt_pieces(row | longer, tokens) == first
    # Prompts of unequal length say which positions belong together.
    unequal = {"clean_tokens": [0, 1, 2], "corrupted_tokens": [0, 3], "aligned_with": [0, -1, 1]}
    assert prompt_pieces(row | unequal, tokens) == first | {"aligned": [0, -1, 1]}
    # A prompt whose tokens cannot be shown is shown by its words, without positions.
    other = prompt_pieces(row | {"clean": "Hallo du", "corrupted_tokens": [0, 3]}, tokens)
    assert other == {"clean": ["Hallo", " du"], "corrupted": ["there"], "first": None}


def test_of_many_pairs_a_sample_is_shown_and_all_are_counted(
    study: Path, packed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer_data, "MOST_SCORES", 2 * 12 * 2)
    monkeypatch.setattr(explorer_data, "MOST_CURVES", 2 * 12)
    header, arrays = read(study)
    assert [one["number"] for one in header["pairs"]] == [0, 2] and header["pairs_in_all"] == 4
    assert header["curves"]["pairs"] == [0]
    (ap,) = [one for one in header["measures"] if one["key"] == "ap"]
    assert not ap["whole"] and ap["pairs_in_all"] == 4
    _, whole = packed
    exact = whole["values.ap"].astype(float)
    np.testing.assert_array_equal(arrays["values.ap"], whole["values.ap"][:, [0, 2]])
    np.testing.assert_allclose(arrays["mean.ap"], exact.mean(axis=1), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(arrays["spread.ap"], exact.std(axis=1, ddof=1), rtol=1e-5, atol=1e-9)
    quantiles = np.moveaxis(np.quantile(exact, pair_choice.QUANTILES, axis=1), 0, -1)
    np.testing.assert_allclose(arrays["quantiles.ap"], quantiles, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(arrays["low.ap"], whole["low.ap"])


def test_without_optional_files(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "bare", Shape(pairs=1, directions=("denoising",)))
    (folder / "curves.safetensors").unlink()
    header, arrays = read(folder)
    assert header["directions"] == ["denoising"] and header["curves"] == {
        "pairs": [], "error": None, "levels": LEVELS, "whole": [], "kept": 0,
        "order": ["denoising"],
    }  # fmt: skip
    assert header["partners"] == header["edges"] == header["composed"] == header["positions"] == []
    assert "low.ap" not in arrays and arrays["values.ap"].shape == (1, 1, 12)


def test_the_data_is_compressed_text(study: Path) -> None:
    text = explorer_data.explorer_data(report.load_results("made-up", study, SETTINGS))
    assert gzip.decompress(base64.b64decode(text))
