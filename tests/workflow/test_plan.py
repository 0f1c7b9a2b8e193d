"""Plans: they count what the workflow does, and predict what follows from the costs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import costs as benchmark
from counterpoint.files.artifacts import read_table, write_tensors
from counterpoint.measures.tables.shards import cache_shard
from counterpoint.models.load import load_language_model
from counterpoint.models.model_shape import Shape
from counterpoint.models.weight_files import count_parameters, weights_mb
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import read_pairs
from counterpoint.workflow import config
from counterpoint.workflow.planning import operations
from counterpoint.workflow.planning.costs import LEAST_START, Cost, Record, as_json, fit, read_costs
from counterpoint.workflow.planning.model_size import Size, of_configuration, read_size
from counterpoint.workflow.planning.operations import Pairs, pairs_of
from counterpoint.workflow.planning.plan import (
    COLUMNS,
    Machine,
    advice,
    amounts,
    in_words,
    plan,
    records,
)
from counterpoint.workflow.targets import choose_targets
from tests.helpers.small_study import configuration, make_model, prepare, snakemake, write_pairs

ON = Machine(cores=8, threads=4, rate_of_one=1e9, rate=3e9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("planned") / "tiny")


def study(**changes: Any) -> dict[str, Any]:
    """The settings of the small study, complete."""
    raw = configuration()
    raw["studies"]["small"] |= changes
    whole: dict[str, Any] = config.complete(raw)["studies"]["small"]
    return whole


# -- sizes and work ------------------------------------------------------------------------------


def test_a_size_is_the_models_own(folder: Path) -> None:
    model = load_language_model(folder)
    size = read_size(folder)
    parameters = {id(one): one.numel() for one in model.hf.parameters()}
    assert size.parameters == count_parameters(folder) == sum(parameters.values())
    assert (size.n_layers, size.n_heads) == (model.n_layers, model.n_heads)
    blocks = sum(one.numel() for block in model.blocks for one in block.parameters())
    # What is left is the norm before the unembedding.
    assert size.operations == pytest.approx(2 * blocks, rel=0.01)
    assert size.head_values == 4 * 8 and size.keys_values == 2 * 8
    loaded = sum(one.numel() * 4 for one in model.hf.parameters()) / 2**20
    assert size.weights_mb == pytest.approx(loaded) and weights_mb(folder, "float32") == 1
    with pytest.raises(FileNotFoundError, match="no weights there yet"):
        weights_mb(folder / "nothing", "float32")


def test_sizes_of_known_models() -> None:
    """Their published parameters, without their weights."""
    from transformers import GPT2Config, LlamaConfig

    gpt2 = of_configuration(GPT2Config(), 124_439_808)
    assert (gpt2.heads, gpt2.head_values, gpt2.keys_values) == (144, 768, 768)
    # 12 blocks of 12 d² weights and some biases; 1,024 positions are embedded as well.
    assert gpt2.operations == pytest.approx(2 * 12 * 12 * 768**2, rel=0.02)
    llama = of_configuration(LlamaConfig(), 6_738_415_616)
    assert llama.heads == 1024 and llama.operations == pytest.approx(2 * 6.48e9, rel=0.01)


@pytest.mark.parametrize("answers", [None, (" John and Mary sat", " John and John")])
def test_activations_take_the_bytes_that_are_planned(
    folder: Path, tmp_path: Path, answers: tuple[str, str] | None
) -> None:
    model = load_language_model(folder)
    table = read_pairs(write_pairs(tmp_path / "small.csv"))
    if answers is not None:
        table = table.assign(correct=answers[0], incorrect=answers[1])
    pairs, _ = validate_pairs(
        table,
        model.tokenizer,
        answer_tokens="one" if answers is None else "whole",
        source="small.csv",
    )
    # With " sat" one reading more than the one at the first difference, a token longer.
    once = pairs["length"] - pairs["first_difference"]
    read = once.mean() if answers is None else (2 * once + 1).mean()
    assert pairs_of(pairs, 2).positions == read
    activations, _ = cache_shard(model, pairs, "logit_difference")
    write_tensors(activations, tmp_path / "activations.safetensors")
    tensors = sum(
        tensor.numel() * tensor.element_size()
        for name, tensor in activations.items()
        if tensor.dtype is torch.float32 and not name.endswith("final")
    )
    planned = len(pairs) * operations.activation_bytes(read_size(folder), pairs_of(pairs, 2))
    # Pairs of one bucket share the keys and values of nothing: each has its own prefix.
    assert planned == pytest.approx(tensors, rel=0.01)


# -- costs ---------------------------------------------------------------------------------------


@given(
    st.floats(0.1, 100), st.floats(0.01, 10), st.lists(st.integers(1, 50), min_size=3, unique=True)
)
def test_a_fit_finds_the_costs_that_made_the_records(
    start: float, slope: float, sizes: list[int]
) -> None:
    made = Cost(start, slope)
    found = fit(
        Record("s", "rule", jobs, made.seconds(jobs, jobs * size), jobs * size)
        for jobs, size in enumerate(sizes, 1)
    )["rule"]
    assert found.start == pytest.approx(start, rel=1e-5)
    assert found.slope == pytest.approx(slope, rel=1e-5)


def test_a_fit_of_equal_jobs_is_their_mean_and_costs_are_never_negative() -> None:
    same = [Record("s", "rule", 2, seconds, 20.0) for seconds in (28.0, 32.0)]
    assert fit(same)["rule"] == Cost(LEAST_START, (15.0 - LEAST_START) / 10.0)
    quick = [Record("s", "rule", 2, 3.0, 20.0)]
    assert fit(quick)["rule"] == Cost(1.5, 0.0)
    falling = [Record("s", "rule", 1, 10.0, 1.0), Record("s", "rule", 1, 5.0, 9.0)]
    assert fit(falling)["rule"].slope == 0
    stored = as_json({"rule": Cost(1.5, 2.0)}, same, {"machine": "one"})
    assert json.loads(json.dumps(stored))["records"][1]["seconds"] == 32.0


def test_the_shipped_costs_are_those_of_their_records() -> None:
    stored = json.loads(benchmark.SHIPPED.read_text(encoding="utf-8"))
    again = fit(Record(**one) for one in stored["records"])
    for rule, cost in read_costs().items():
        assert (cost.start, cost.slope) == pytest.approx((again[rule].start, again[rule].slope))


def test_shapes_are_counted_in_each_shard(folder: Path) -> None:
    table = pd.DataFrame({"pair": range(5), "length": [9, 9, 8, 9, 8], "first_difference": 3})
    table["clean_tokens"] = [[1] * n for n in table["length"]]
    table["corrupted_tokens"] = table["clean_tokens"]
    table["corrupted_length"] = table["length"]
    assert [pairs_of(table, size).shapes for size in (1, 2, 3, 5, 64)] == [5, 3, 3, 2, 2]
    size, settings = read_size(folder), study(shard_size=5)

    def caching(pairs: Pairs) -> float:
        return amounts(settings, size, pairs, ON, 1)["cache_activations"][1] * ON.rate

    runs = 2 * 5 * 12 * size.operations
    each = (6 * 12 + (3 + 3) * 5 / 2) * size.operations
    assert caching(Pairs(5, 12, 5)) == pytest.approx(runs + each)
    assert caching(Pairs(5, 12, 5, shapes=4)) == pytest.approx(runs + 4 * each)


# -- plans ---------------------------------------------------------------------------------------


def test_a_plan_has_the_jobs_that_the_workflow_would_run(folder: Path, tmp_path: Path) -> None:
    copy = prepare(tmp_path / "copy")
    done = snakemake(copy, "--dry-run", "--quiet", "rules")
    assert done.returncode == 0, done.stdout
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)\s*$", done.stdout.partition("Job stats:")[2], re.M))
    settings = study()
    planned = amounts(settings, read_size(folder), Pairs(3, 12, 5), ON, targets=1)
    counted = pd.Series({rule.partition(".")[0]: n for rule, (n, _) in planned.items()})
    once = {"all", "fetch_model", "gather_provenance", "total"}
    assert {rule: int(n) for rule, n in jobs.items() if rule not in once} == counted.to_dict()


def test_a_plan_grows_with_pairs_and_heads(folder: Path) -> None:
    size = read_size(folder)
    settings = study(
        shard_size=10,
        positions={"pairs": "all"},
        position_curves={"pairs": "all"},
        patterns={"pairs": "all"},
    )
    costs = dict.fromkeys(amounts(settings, size, Pairs(3, 12, 5), ON, 1), Cost(2.0, 3.0))

    def planned(pairs: Pairs, size: Size = size) -> pd.DataFrame:
        return plan(settings, size, pairs, ON, costs, targets=1, keeps_activations=False)

    few, many = planned(Pairs(40, 12, 5)), planned(Pairs(80, 12, 5))
    assert dict(few.dtypes.astype(str)) == COLUMNS
    few, many = few.set_index("rule"), many.set_index("rule")
    curves = few.loc["compute_curves"], many.loc["compute_curves"]
    assert [row["jobs"] for row in curves] == [4, 8]
    # Shards of one size are jobs of one length, and the start is counted in each.
    assert curves[0]["seconds"] == pytest.approx(curves[1]["seconds"])
    each = 10 * 2 * size.heads * 5 * size.operations / 2 / ON.rate
    assert curves[0]["seconds"] == pytest.approx(2.0 + 3.0 * each)
    assert curves[0]["core_hours"] == pytest.approx(4 * 4 * curves[0]["seconds"] / 3600)
    assert many.loc["compute_statistics", "memory_mb"] > few.loc["compute_statistics", "memory_mb"]
    assert many["disk_mb"].sum() == pytest.approx(2 * few["disk_mb"].sum())
    assert few.loc["search_counterfactuals.descent", "jobs"] == 1
    assert few.loc["cache_activations", "disk_mb"] == 0
    text = in_words(few.reset_index(), ON)
    assert f"{int(few['jobs'].sum())} jobs" in text and "on 8 cores" in text


def test_a_plan_counts_the_circuits_that_are_asked_for(folder: Path) -> None:
    size, pairs = read_size(folder), Pairs(3, 12, 5)
    wanted = study()["circuit"] | {"max_nodes": 4, "methods": ["greedy", "ap"], "candidates": 5}
    wanted |= {"edge_methods": ["pruned", "eap_ig", "eap"], "max_edges": 20}

    def found(**changes: Any) -> dict[str, tuple[int, float]]:
        return amounts(study(circuit=wanted | changes), size, pairs, ON, targets=1)

    nodes = {"find_circuits", "export_importances"}
    edges = {"find_edge_circuits", "export_edge_importances"}
    assert not (nodes | edges) & found(pairs="none").keys()
    assert (nodes | edges) & found(level="nodes").keys() == nodes
    assert (nodes | edges) & found(level="edges").keys() == edges
    of_two = found(pairs=2)
    # A ranking: 4 sizes, 4 left out, 10 shares by value and by size. The search: 4 steps of 5 nodes
    # and a guess, 4 left out, 10 shares.
    passes = (2 * 4 + 20) + (4 * (5 + 4 + 1) + 10)
    assert of_two["find_circuits"] == (
        1,
        pytest.approx(2 * 2 * passes * 5 * size.operations / ON.rate),
    )
    assert of_two["export_importances"] == (1, 0.0)
    # Two rankings: 36 sizes, 10 shares by value and by size, 20 edges left out; pruning: 20 tried
    # and 20 left out. A run is 5 passes, and the scores take 100.
    of_edges = 5 * (2 * (36 + 20 + 20) + 20 + 20) + 100
    assert of_two["find_edge_circuits"] == (
        1,
        pytest.approx(2 * 2 * of_edges * 5 * size.operations / ON.rate),
    )
    assert of_two["export_edge_importances"] == (2, 0.0)
    whole = found(pairs="all", candidates="all")["find_circuits"][1]
    assert (
        whole == found(pairs=99, candidates="all")["find_circuits"][1] > of_two["find_circuits"][1]
    )
    # The benchmark has one direction.
    one = amounts(
        study(circuit=wanted | {"pairs": 2}, directions=["denoising"]), size, pairs, ON, targets=1
    )
    assert not {"export_importances", "export_edge_importances"} & one.keys()


def test_edges_are_planned_as_they_are_asked_for(folder: Path) -> None:
    size = read_size(folder)

    def planned(**asked: Any) -> dict[str, tuple[int, float]]:
        settings = study(shard_size=4, edges=asked)
        return amounts(settings, size, Pairs(6, 12, 5), ON, targets=1)

    assert not {"compute_edges", "merge_edges"} & planned(pairs="none").keys()
    # 12 heads and 3 MLPs send into each of 5 heads and 3 roles, at 5 positions.
    each = (12 + 3) * 5 * size.operations / 6 / ON.rate
    found = planned(pairs="all")
    assert found["compute_edges"] == (2, pytest.approx(6 * 2 * 5 * 3 * each))
    assert found["merge_edges"] == (1, 6.0)
    some = planned(pairs=2, receivers=[[1, 0]], roles=["key"])["compute_edges"]
    assert some[1] == pytest.approx(2 * 2 * each)


def test_curves_at_positions_are_planned_as_they_are_asked_for(folder: Path) -> None:
    size = read_size(folder)

    def planned(**asked: Any) -> dict[str, tuple[int, float]]:
        settings = study(shard_size=4, position_curves=asked)
        return amounts(settings, size, Pairs(6, 9.0, 5.0), ON, targets=0)

    assert not {"trace_positions", "merge_position_curves"} & planned(pairs="none").keys()
    each = (5 * 6 / 2 + 5) * size.operations / 2
    found = planned(pairs=2, heads=[[0, 1], [1, 1]])
    assert found["trace_positions"] == (2, pytest.approx(2 * 2 * 2 * each / ON.rate))
    assert found["merge_position_curves"] == (1, 2.0)


def test_positions_are_planned_as_they_are_asked_for(folder: Path) -> None:
    size = read_size(folder)

    def planned(**asked: Any) -> dict[str, tuple[int, float]]:
        settings = study(shard_size=4, positions=asked)
        return amounts(settings, size, Pairs(6, 12, 5), ON, targets=1)

    assert not {"patch_positions", "merge_positions"} & planned(pairs="none").keys()
    # At 5 positions what comes from each on, and all once more; of 3 layers and 12 heads.
    each = (5 + 4 + 3 + 2 + 1 + 5) * size.operations / 2 / ON.rate
    found = planned(pairs="all")
    assert found["patch_positions"] == (2, pytest.approx(6 * 2 * (3 * 3 + 12) * each))
    assert found["merge_positions"] == (1, 6.0)
    assert planned(pairs=2)["patch_positions"][1] == pytest.approx(2 * 2 * (3 * 3 + 12) * each)
    some = planned(pairs=9, components=["mlp", "head"], heads=[[0, 1]])["patch_positions"]
    assert some[1] == pytest.approx(6 * 2 * (3 + 1) * each)
    assert planned(pairs=1, components=["mlp"])["patch_positions"][1] == pytest.approx(2 * 3 * each)


def test_records_are_what_a_plan_predicts_from(folder: Path) -> None:
    size, pairs, settings = read_size(folder), Pairs(6, 12, 5), study()
    costs = dict.fromkeys(amounts(settings, size, pairs, ON, 1), Cost(2.0, 3.0))
    table = plan(settings, size, pairs, ON, costs, targets=1, keeps_activations=True)
    table["all"] = table["seconds"] * table["jobs"]
    durations = {
        rule.partition(".")[0]: {"jobs": 1, "seconds": seconds, "memory_mb": 0.0}
        for rule, seconds in zip(table["rule"], table["all"], strict=True)
    }
    found = records("small", settings, durations, size, pairs, ON, 1)
    assert {one.rule for one in found} == set(table["rule"])
    for one in found:
        assert one.seconds == pytest.approx(2.0 * one.jobs + 3.0 * one.amount)


def test_advice_names_what_is_out_of_bounds() -> None:
    table = pd.DataFrame(
        [("compute_curves", 2, 4, 3600.0), ("find_partners", 2, 4, 7201.0)],
        columns=["rule", "jobs", "threads", "seconds"],
    )
    costs = {"compute_curves": Cost(400.0, 1.0), "find_partners": Cost(1.0, 1.0)}
    short, limit = advice(table, costs, {"compute_curves": 61, "find_partners": 120})
    assert "compute_curves: 11% of a job is its start" in short and "shard_size larger" in short
    assert "2.0 h" in limit and "--set-resources find_partners:runtime=" in limit
    assert not advice(table, {"compute_curves": Cost(1.0, 1.0)}, {})


@pytest.mark.workflow
def test_make_plan_says_what_a_study_takes(tmp_path: Path) -> None:
    copy = prepare(tmp_path / "copy")
    done = snakemake(copy, "plan")
    assert done.returncode == 0, done.stdout
    assert re.search(r"Together \d+ jobs, .* core-hours .* disk", done.stdout), done.stdout
    table = read_table(copy / "results" / "small" / "plan.csv")
    assert list(table.columns) == list(COLUMNS)
    assert np.isfinite(table["seconds"]).all() and (table["seconds"] > 0).all()
    assert not (copy / "results" / "small" / "shards").exists()


def test_steps_of_tables_are_measured_on_the_same_pairs_again(
    tmp_path: Path,
) -> None:
    from tests.helpers.synthetic import write_study

    source, target = tmp_path / "source", tmp_path / "target"
    write_study(source)
    for name in ("faithfulness", "interaction"):
        shutil.copy(source / "baseline.parquet", source / f"{name}.parquet")
    target.mkdir()
    benchmark.more_pairs(source, target, 3)
    for name in ("heads", "baseline"):
        few, many = (read_table(where / f"{name}.parquet") for where in (source, target))
        assert len(many) == 3 * len(few)
        assert many["pair"].nunique() == 3 * few["pair"].nunique()
    # The rule's own script, in a process of its own.
    seconds, peak = benchmark.in_a_process("merge_scores", target, study())
    assert seconds > 0 and peak > 50
    merged = read_table(target / "merged" / "heads.parquet")
    pd.testing.assert_frame_equal(merged, read_table(target / "heads.parquet"), check_like=True)


def test_targets_are_counted_as_they_are_chosen() -> None:
    shape = Shape(3, 4, None)
    for wanted in ([[0, 1], [2, 3]], [], {"random": 5, "seed": 7}, {"random": 2}):
        assert config.number_of_targets(wanted) == len(choose_targets(wanted, shape))
    assert config.number_of_targets({"top": 3}) == 3
