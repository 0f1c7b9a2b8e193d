"""The token before each prompt: recorded, and the study measured with and without it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from counterpoint import report
from counterpoint.errors import UserError
from counterpoint.models.beginning_token import describe, measured, without_beginning
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import read_pairs
from counterpoint.statistics.beginning_agreement import agreement, means
from counterpoint.statistics.resampling import Settings
from counterpoint.workflow import config, provenance
from counterpoint.workflow.planning.costs import read_costs
from counterpoint.workflow.planning.model_size import read_size
from counterpoint.workflow.planning.operations import Pairs
from counterpoint.workflow.planning.plan import Machine, amounts, plan, runs_of
from tests.helpers.small_study import (
    PAIRS,
    configuration,
    make_tokenizer,
    prepare,
    snakemake,
    write_pairs,
)
from tests.helpers.synthetic import write_study

BOTH = {"prepend_bos": "both"}


def tokenizer(bos: str | None = "<s>", adds: bool = False) -> Any:
    from tokenizers.processors import TemplateProcessing

    made = make_tokenizer()
    if adds:
        template = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
        made.backend_tokenizer.post_processor = template
    made.bos_token = bos
    return made


def small_study(**changes: Any) -> dict[str, Any]:
    raw = configuration()
    raw["studies"]["small"] |= changes
    whole: dict[str, Any] = config.complete(raw)["studies"]["small"]
    return whole


# ------------------------------------------------------------------------------------ the record


@pytest.mark.parametrize(
    ("bos", "adds", "asked", "id_", "why"),
    [
        ("<s>", False, True, 0, "asks for it"),
        ("<s>", True, True, 0, "asks for it"),
        ("<s>", True, False, None, "prepend_bos is false"),
        (None, False, True, None, "the tokenizer has no"),
        (None, False, False, None, "prepend_bos is false"),
    ],
)
def test_the_token_is_named_or_why_there_is_none(
    bos: str | None, adds: bool, asked: bool, id_: int | None, why: str
) -> None:
    found = describe(tokenizer(bos, adds), asked)
    assert json.loads(json.dumps(found)) == found
    assert (found["id"], found["token"]) == (id_, None if id_ is None else bos)
    assert why in found["why"]
    assert found["added_by_tokenizer"] is (adds and bos is not None)


def test_provenance_holds_the_record_and_both_durations(tmp_path: Path) -> None:
    said = describe(tokenizer(), True)
    (tmp_path / "beginning.json").write_text(json.dumps(said))
    (tmp_path / "model.json").write_text("{}")
    folder = tmp_path / "without_bos" / "benchmarks"
    folder.mkdir(parents=True)
    (folder / "merge_scores.tsv").write_text("s\th:m:s\tmax_rss\n1.5\t0:00:01\t7\n")
    places = {
        "model_provenance": tmp_path / "model.json",
        "benchmarks": tmp_path / "benchmarks",
        "checkout": tmp_path,
        "beginning": tmp_path / "beginning.json",
    }
    record = provenance.collect("small", small_study(**BOTH), **places)
    assert record["beginning_of_sequence"] == said
    assert record["durations_without_bos"]["merge_scores"]["seconds"] == 1.5
    assert "durations_without_bos" not in provenance.collect("small", small_study(), **places)


# -------------------------------------------------------------------------------- what is measured


def test_settings_of_what_is_measured() -> None:
    studies = {name: small_study(prepend_bos=value) for name, value in
               (("with", True), ("without", False), ("twice", "both"))}  # fmt: skip
    untouched = copy.deepcopy(studies)
    found = measured(studies)
    assert {name: one["prepend_bos"] for name, one in found.items()} == {
        "with": True,
        "without": False,
        "twice": True,
        "twice/without_bos": False,
    }
    assert found["twice"] == {**studies["twice"], "prepend_bos": True}
    assert studies == untouched


@pytest.mark.parametrize("value", ["yes", "Both", 1, None])
def test_other_values_are_refused(value: Any, tmp_path: Path) -> None:
    raw = configuration()
    raw["studies"]["small"] |= {"prepend_bos": value}
    with pytest.raises(UserError, match=r"prepend_bos.*both"):
        config.resolve(raw, source="x.yaml", folder=tmp_path)


def test_the_pairs_are_those_of_a_study_without_the_token(tmp_path: Path) -> None:
    table = read_pairs(write_pairs(tmp_path / "small.csv"))
    one = tokenizer()
    with_token, _ = validate_pairs(table, one, prepend_bos=True)
    without, _ = validate_pairs(table, one, prepend_bos=False)
    found = without_beginning(with_token, describe(one, True), "tiny")
    pd.testing.assert_frame_equal(found, without)
    assert found["clean_tokens"].iloc[0].dtype == without["clean_tokens"].iloc[0].dtype


def test_a_tokenizer_without_the_token_cannot_be_measured_both_ways(tmp_path: Path) -> None:
    one = tokenizer(None)
    pairs, _ = validate_pairs(read_pairs(write_pairs(tmp_path / "small.csv")), one)
    with pytest.raises(UserError, match=r"tokenizer of tiny has none.*prepend_bos: false"):
        without_beginning(pairs, describe(one, True), "tiny")


@pytest.mark.workflow
def test_a_study_with_both_measures_twice_and_searches_once(tmp_path: Path) -> None:
    def jobs() -> dict[str, int]:
        done = snakemake(copied, "--dry-run", "--quiet", "rules")
        assert done.returncode == 0, done.stdout
        listed = re.findall(r"^(\w+)\s+(\d+)\s*$", done.stdout.partition("Job stats:")[2], re.M)
        return {rule: int(number) for rule, number in listed if rule != "total"}

    copied = prepare(tmp_path)
    once = jobs()
    raw = configuration()
    raw["studies"]["small"] |= BOTH
    (copied / "small.yaml").write_text(yaml.safe_dump(raw))
    twice = jobs()
    more = {rule: n - once.get(rule, 0) for rule, n in twice.items() if n != once.get(rule, 0)}
    shards = -(-len(PAIRS) // raw["studies"]["small"]["shard_size"])
    assert more == {
        "drop_beginning": 1,
        "cache_activations": shards,
        "compute_curves": shards,
        "integrate_gradients": shards,
        "merge_scores": 1,
        "compare_beginnings": 1,
    }
    assert all(n == once[rule] * runs_of(rule, small_study(**BOTH)) for rule, n in twice.items()
               if rule in once)  # fmt: skip


def test_a_plan_counts_both(tmp_path: Path) -> None:
    from tests.helpers.small_study import make_model

    size, pairs = read_size(make_model(tmp_path)), Pairs(6, 12, 5)
    machine = Machine(cores=8, threads=4, rate_of_one=1e9, rate=3e9)
    costs = read_costs()
    once, twice = (
        plan(one, size, pairs, machine, costs, targets=1, keeps_activations=True).set_index("rule")
        for one in (small_study(), small_study(**BOTH))
    )
    again = ["cache_activations", "compute_curves", "integrate_gradients", "merge_scores"]
    for column in ("jobs", "core_hours", "disk_mb"):
        ratio = twice[column] / once[column].where(once[column] > 0)
        assert set(ratio[again].dropna().round(12)) == {2.0}
        assert set(ratio.drop(again).dropna().round(12)) <= {1.0}
    # Records of what a study took are told apart by rule, and those of the study itself alone.
    assert amounts(small_study(**BOTH), size, pairs, machine, 1) == amounts(
        small_study(), size, pairs, machine, 1
    )


# ------------------------------------------------------------------------------------- agreement


@pytest.fixture
def tables() -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    """Two tables of heads whose mean AP agree more or less."""

    def make(pairs: int = 6, shared: float = 0.5) -> tuple[pd.DataFrame, pd.DataFrame]:
        random = np.random.default_rng(1)
        keys = pd.MultiIndex.from_product(
            [range(pairs), ["noising", "denoising"], range(4), range(5)],
            names=["pair", "direction", "layer", "head"],
        )
        index = keys.to_frame(index=False)
        common, own, other = random.normal(size=(3, 20))
        place = index["layer"] * 5 + index["head"]
        made = []
        for part in (own, other):
            mean = shared * common + (1 - shared) * part
            noise = random.normal(size=len(index)) * 0.1
            made.append(
                index.assign(ap=mean[place] + noise, output_range=1.0, output_range_closed=1.0)
            )
        return made[0], made[1]

    return make


def test_agreement_is_scipys_on_the_means(tables: Any) -> None:
    first, second = tables()
    found = agreement(first, second, settings=Settings(bootstrap_samples=200, top_k=6))
    both = means(first, second)
    for direction, rows in both.groupby("direction"):
        x, y = rows["with_bos"], rows["without_bos"]
        here = found[found["direction"] == direction].set_index("agreement")
        assert here.loc["spearman", "estimate"] == pytest.approx(stats.spearmanr(x, y).statistic)
        assert here.loc["pearson", "estimate"] == pytest.approx(stats.pearsonr(x, y).statistic)
        tops = [set(one.abs().nlargest(6).index) for one in (x, y)]
        common = len(tops[0] & tops[1])
        assert here.loc["jaccard", "common"] == common
        assert here.loc["jaccard", "estimate"] == pytest.approx(common / (12 - common))
        assert (here["ci_low"] <= here["estimate"]).all()
        assert (here["estimate"] <= here["ci_high"]).all()
        assert (here["ci_high"] - here["ci_low"]).min() > 0
    shuffled = second.sample(frac=1, random_state=0)
    again = agreement(first, shuffled, settings=Settings(bootstrap_samples=200, top_k=6))
    pd.testing.assert_frame_equal(found, again)


def test_agreement_with_itself_is_whole(tables: Any) -> None:
    first, _ = tables()
    found = agreement(first, first, settings=Settings(bootstrap_samples=50))
    assert found["estimate"].tolist() == pytest.approx([1.0] * 6)
    assert found["ci_low"].tolist() == pytest.approx([1.0] * 6)


def test_a_single_pair_has_no_interval(tables: Any) -> None:
    found = agreement(*tables(pairs=1), settings=Settings(bootstrap_samples=50))
    assert found["estimate"].notna().all()
    assert found[["ci_low", "ci_high"]].isna().all(axis=None)


def test_tables_of_other_pairs_or_heads_are_refused(tables: Any) -> None:
    first, second = tables()
    for other in (second[second["pair"] > 0], second[second["head"] > 0]):
        with pytest.raises(ValueError, match="other pairs or heads"):
            agreement(first, other)


# ---------------------------------------------------------------------------------------- report


def test_the_report_has_a_section_with_its_picture(tmp_path: Path) -> None:
    folder = write_study(tmp_path)
    heads = pd.read_parquet(folder / "heads.parquet")
    (folder / "without_bos").mkdir()
    other = heads.assign(ap=heads["ap"].to_numpy()[::-1])
    other.to_parquet(folder / "without_bos" / "heads.parquet", index=False)
    found = agreement(heads, other, settings=Settings(bootstrap_samples=50))
    found.to_csv(folder / "without_bos" / "agreement.csv", index=False)
    said = {"beginning_of_sequence": describe(tokenizer(), True)}
    (folder / "provenance.json").write_text(json.dumps(said))

    results = report.load_results("made-up", folder, BOTH)
    section = str(report.without_bos(results))
    assert "Spearman" in section
    assert f"{found['estimate'].iloc[0]:.2f}".replace("-", "−") in section
    assert section.count("<img") == 1
    sentence = str(report.beginning(results))
    assert "&lt;s&gt;" in sentence
    assert "would not do so by itself" in sentence
    # What an earlier run has left behind is not this study's.
    assert not report.without_bos(report.load_results("made-up", folder, {"prepend_bos": True}))


@pytest.mark.parametrize(("bos", "asked"), [("<s>", False), (None, True)])
def test_the_report_says_why_there_is_none(tmp_path: Path, bos: str | None, asked: bool) -> None:
    folder = write_study(tmp_path)
    said = {"beginning_of_sequence": describe(tokenizer(bos), asked)}
    (folder / "provenance.json").write_text(json.dumps(said))
    sentence = str(report.beginning(report.load_results("made-up", folder, {})))
    assert "No token is put before the prompts" in sentence
    why = "has no beginning-of-sequence" if asked else "<code>prepend_bos</code> is false"
    assert why in sentence
