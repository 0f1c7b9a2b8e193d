"""Results do not depend on how pairs are split into shards, nor memory on their number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from counterpoint.files.artifacts import ROWS_PER_GROUP, read_table, write_table, write_tensors
from counterpoint.measures.tables.curve_table import score_curves
from counterpoint.measures.tables.faithfulness_table import score_faithfulness
from counterpoint.measures.tables.integrated_gradients_table import score_integrated_gradients
from counterpoint.measures.tables.interaction_table import score_interactions
from counterpoint.measures.tables.merging import (
    KEYS,
    SCORES,
    NoRowsError,
    join_heads,
    merge_curves,
    merge_heads,
    merge_tables,
)
from counterpoint.measures.tables.shards import Measurement, cache_shard
from counterpoint.models.load import LanguageModel, load_language_model
from counterpoint.pairs.buckets import shard
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import read_pairs
from tests.helpers.same_results import assert_same_results
from tests.helpers.small_study import ANSWERS, ROOT, make_model

DIRECTIONS = ("noising", "denoising")
NAMES = np.array(DIRECTIONS, dtype=object)
INTEGRATED = ("ig_joint", "ig_convergence_delta")
OF_CURVES = tuple(name for name in SCORES if name not in INTEGRATED) + tuple("abcdefgh")


# ------------------------------------------------------------------------------- whole measurements


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_language_model(make_model(tmp_path_factory.mktemp("shards") / "tiny"))


@pytest.fixture(scope="module")
def pairs(model: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Seven pairs of two lengths in turn, so that every shard has pairs from all over the file."""
    long = ("Then John and Mary sat and {} gave a big cup to",)
    short = [
        f"When John and Mary {verb} , {{}} gave a {thing} to"
        for verb in ("met", "left")
        for thing in ("book", "cup")
    ]
    prompts = [short[0], *long, short[1], short[2], long[0].replace("sat", "met"), short[3]]
    rows = [(text.format("Mary"), text.format("John"), *ANSWERS) for text in prompts]
    rows.append((rows[0][1], rows[0][0], *reversed(ANSWERS)))
    file = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    names = ["clean", "corrupted", "correct", "incorrect"]
    write_table(pd.DataFrame(rows, columns=names), file)
    table, dropped = validate_pairs(read_pairs(file), model.tokenizer)
    assert len(table) == 7
    assert dropped.empty
    return table


def measured(
    model: LanguageModel, pairs: pd.DataFrame, size: int, folder: Path, empty: int = 0
) -> Path:
    """The merged results of the study in shards of ``size``, and ``empty`` ones without a pair."""
    measurement = Measurement()
    n_shards = -(-len(pairs) // size) + empty
    for number in range(n_shards):
        own = folder / "shards" / str(number)
        activations, baseline = cache_shard(model, shard(pairs, number, size), measurement.metric)
        write_table(baseline, own / "baseline.parquet")
        write_tensors(activations, own / "activations")
        curves, tensors = score_curves(model, own / "activations", measurement)
        write_table(curves, own / "curves.parquet")
        write_tensors(tensors, own / "curves.safetensors")
        gradients = score_integrated_gradients(model, own / "activations", measurement)
        write_table(gradients, own / "gradients.parquet")
        heads = join_heads(curves, gradients, DIRECTIONS)
        faithfulness = score_faithfulness(model, own / "activations", heads, measurement)
        write_table(faithfulness, own / "faithfulness.parquet")
        interaction = score_interactions(model, own / "activations", heads, measurement)
        write_table(interaction, own / "interaction.parquet")

    def every(name: str) -> list[Path]:
        return [folder / "shards" / str(number) / name for number in range(n_shards)]

    merged = folder / "merged"
    merge_tables(every("baseline.parquet"), merged / "baseline.parquet", ["pair"])
    merge_curves(every("curves.safetensors"), merged / "curves.safetensors")
    merge_heads(
        every("curves.parquet"), every("gradients.parquet"), merged / "heads.parquet", DIRECTIONS
    )
    for name, keys in (
        ("faithfulness", ["pair", "direction", "score", "k"]),
        ("interaction", ["pair", "direction", "layer", "head", "partner"]),
    ):
        merge_tables(every(f"{name}.parquet"), merged / f"{name}.parquet", keys, DIRECTIONS)
    return merged


@pytest.fixture(scope="module")
def whole(
    model: LanguageModel, pairs: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The results in one shard."""
    return measured(model, pairs, 64, tmp_path_factory.mktemp("whole"))


# How many shards there are is known before pairs are dropped, so the last ones may have none.
@pytest.mark.parametrize(("size", "empty"), [(1, 1), (3, 0), (7, 2)])
def test_the_size_of_shards_does_not_show(
    model: LanguageModel, pairs: pd.DataFrame, whole: Path, size: int, empty: int, tmp_path: Path
) -> None:
    merged = measured(model, pairs, size, tmp_path, empty)
    assert assert_same_results(whole, merged, left_out=()) == 5
    assert list(read_table(merged / "baseline.parquet")["pair"]) == list(range(7))
    assert list(load_file(merged / "curves.safetensors")["pairs"]) == list(range(7))


def test_a_shard_without_pairs_has_the_columns_of_any_other(
    model: LanguageModel, pairs: pd.DataFrame, tmp_path: Path
) -> None:
    found = []
    for name, some in (("one", pairs[:1]), ("none", pairs[:0])):
        path = tmp_path / name
        tensors, baseline = cache_shard(model, some, "logit_difference")
        write_tensors(tensors, path)
        assert bool(load_file(path)) == (name == "one")
        heads, _ = score_curves(model, path, Measurement())
        mlps, _ = score_curves(model, path, Measurement(), "mlp", keep="none")
        gradients = score_integrated_gradients(model, path, Measurement())
        joined = join_heads(heads, gradients, DIRECTIONS)
        found.append(
            [
                *(baseline, heads, mlps, gradients, joined),
                score_faithfulness(model, path, joined, Measurement()),
                score_interactions(model, path, joined, Measurement()),
            ]
        )
    for one, none in zip(*found, strict=True):
        assert list(one.columns) == list(none.columns)
        assert none.empty and not one.empty


# ------------------------------------------------------------------------------------ merging alone


def shard_files(folder: Path, pairs: np.ndarray, n_layers: int, n_heads: int) -> list[Path]:
    """What one shard leaves, with random numbers that depend on the pair alone."""
    units = n_layers * n_heads
    random = [np.random.default_rng(int(pair)) for pair in pairs]
    keys = {
        "pair": np.repeat(pairs, 2 * units),
        "direction": np.tile(np.repeat(NAMES, units), len(pairs)),
        "layer": np.tile(np.repeat(np.arange(n_layers), n_heads), 2 * len(pairs)),
        "head": np.tile(np.arange(n_heads), 2 * n_layers * len(pairs)),
    }

    def numbers(*shape: int) -> np.ndarray:
        return np.concatenate([source.random((1, *shape)) for source in random])

    def table(columns: tuple[str, ...]) -> pd.DataFrame:
        return pd.DataFrame(keys | {name: numbers(2 * units).reshape(-1) for name in columns})

    curves, gradients = table(OF_CURVES), table(INTEGRATED)
    # Rows need not come in order.
    write_table(curves.sample(frac=1, random_state=0), folder / "curves.parquet")
    write_table(gradients, folder / "gradients.parquet")
    shape = (2, n_layers, n_heads, 50)
    kept = {name: numbers(*shape).astype(np.float32) for name in ("output", "gradient")}
    save_file({"alphas": np.linspace(0, 1, 50), "pairs": pairs, **kept}, folder / "c.safetensors")
    return [folder / name for name in ("curves.parquet", "gradients.parquet", "c.safetensors")]


def split(
    folder: Path, n_pairs: int, size: int, *, n_layers: int = 2, n_heads: int = 3
) -> list[list[Path]]:
    """Files of all shards, whose pairs stand in a random order."""
    order = np.random.default_rng(0).permutation(n_pairs)
    found = []
    for number, start in enumerate(range(0, n_pairs, size)):
        own = folder / str(number)
        own.mkdir(parents=True)
        found.append(shard_files(own, order[start : start + size], n_layers, n_heads))
    return [list(paths) for paths in zip(*found, strict=True)]


def merge_all(files: list[list[Path]], folder: Path) -> tuple[Path, Path]:
    heads, curves = folder / "heads.parquet", folder / "curves.safetensors"
    merge_heads(files[0], files[1], heads, DIRECTIONS)
    merge_curves(files[2], curves)
    return heads, curves


def test_merged_files_are_the_same_byte_for_byte_whatever_the_shards(tmp_path: Path) -> None:
    made = [
        merge_all(split(tmp_path / f"in{size}", 70, size), tmp_path / f"out{size}")
        for size in (1, 3, 64)
    ]
    for others in made[1:]:
        for one, other in zip(made[0], others, strict=True):
            assert one.read_bytes() == other.read_bytes()


def test_merged_rows_are_those_of_the_shards_in_order(tmp_path: Path) -> None:
    files = split(tmp_path / "in", 70, 16)
    heads, curves = merge_all(files, tmp_path / "out")
    table = read_table(heads)
    assert list(table.columns) == [*KEYS, *SCORES, *"abcdefgh"]
    keys = list(KEYS)
    plain = pd.concat([read_table(path) for path in files[0]])
    plain = plain.sort_values(
        keys, key=lambda c: c.map(DIRECTIONS.index) if c.name == "direction" else c
    )
    pd.testing.assert_frame_equal(table[plain.columns], plain.reset_index(drop=True))
    shards = [load_file(path) for path in files[2]]
    stored = load_file(curves)
    order = np.argsort(np.concatenate([each["pairs"] for each in shards]))
    for name in ("output", "gradient"):
        assert np.array_equal(stored[name], np.concatenate([s[name] for s in shards])[order])
    assert np.array_equal(stored["pairs"], np.arange(70))
    assert np.array_equal(stored["alphas"], shards[0]["alphas"])


def test_more_rows_than_a_row_group(tmp_path: Path) -> None:
    per_pair = 2 * 12 * 12
    n_pairs = 3 * ROWS_PER_GROUP // per_pair // 2
    files = split(tmp_path / "in", n_pairs, 100, n_layers=12, n_heads=12)
    merge_heads(files[0], files[1], tmp_path / "heads.parquet", DIRECTIONS)
    table = read_table(tmp_path / "heads.parquet")
    assert len(table) == n_pairs * per_pair > ROWS_PER_GROUP
    assert np.array_equal(table["pair"].to_numpy()[::per_pair], np.arange(n_pairs))


def test_a_pair_in_two_shards_and_tables_without_rows_are_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"pair": [0], "x": [1.0]})
    for name in ("a.parquet", "b.parquet"):
        write_table(table, tmp_path / name)
    write_table(table[:0], tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="more than one shard"):
        merge_tables(
            [tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "c.parquet", ["pair"]
        )
    heads = pd.DataFrame({name: [0] for name in (*KEYS, *SCORES)})
    write_table(heads[:0], tmp_path / "heads.parquet")
    write_table(heads[:0][list(KEYS)], tmp_path / "others.parquet")
    with pytest.raises(NoRowsError, match="no shard has a row"):
        merge_heads(
            [tmp_path / "heads.parquet"], [tmp_path / "others.parquet"], tmp_path / "c.parquet", []
        )
    for name in ("heads", "others"):
        (tmp_path / f"{name}.parquet").unlink()
    # Heads alone in their layers have no partners, so that there is no row to merge.
    for times in (1, 2):
        shards = [tmp_path / "none.parquet"] * times
        assert merge_tables(shards, tmp_path / "c.parquet", ["pair"]) == 0
        empty = read_table(tmp_path / "c.parquet")
        assert empty.empty and empty.dtypes.equals(table.dtypes)
    (tmp_path / "c.parquet").unlink()
    assert (
        merge_tables(
            [tmp_path / "none.parquet", tmp_path / "a.parquet"], tmp_path / "c.parquet", ["pair"]
        )
        == 1
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{n}.parquet" for n in ("a", "b", "c", "none")
    }


# Nothing is imported that the job would not import, since that would hide what grows.
PEAK = """
import sys
from pathlib import Path
from counterpoint.measures.tables.merging import merge_curves, merge_heads
curves, gradients, kept = (line.split() for line in sys.stdin.read().splitlines())
merge_heads(curves, gradients, sys.argv[1] + "/heads.parquet", ["noising", "denoising"])
merge_curves(kept, sys.argv[1] + "/curves.safetensors")
(peak,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")]
print(int(peak.split()[1]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's count of memory")
def test_memory_does_not_depend_on_the_number_of_pairs(tmp_path: Path) -> None:
    """Shards of 64 pairs of a model of GPT-2's 144 heads, merged in a process of its own.

    Both numbers of pairs fill more than one row group, which a merge gathers whatever their number:
    64 pairs fill less than one, and take 20 MB less for it. Without bounds 1024 pairs would take
    50 MB more for the table and 120 MB more for the curves.
    """
    peaks = {}
    per_pair = 2 * 12 * 12
    assert 256 * per_pair > ROWS_PER_GROUP
    for n_pairs in (256, 1024):
        files = split(tmp_path / f"in{n_pairs}", n_pairs, 64, n_layers=12, n_heads=12)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(tmp_path / f"out{n_pairs}")],
            input="\n".join(" ".join(map(str, paths)) for paths in files),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[n_pairs] = float(done.stdout)
    print(f"peak memory in MB by number of pairs: {peaks}")
    assert peaks[1024] <= 1.2 * peaks[256], peaks
