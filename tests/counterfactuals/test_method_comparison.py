"""Methods of searching side by side: caps, medians, wins against plain counting; the workflow."""

from __future__ import annotations

import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks import counterfactuals
from counterpoint.counterfactuals.archive import COLUMNS as ARCHIVE_COLUMNS
from counterpoint.counterfactuals.archive import TRACE_COLUMNS, typed
from counterpoint.counterfactuals.comparison import search_outcomes
from counterpoint.counterfactuals.comparison.method_comparison import (
    COLUMNS,
    MEASURES,
    as_markdown,
    best_runs,
    best_runs_as_markdown,
    summarise,
)
from counterpoint.counterfactuals.comparison.search_outcomes import (
    OF_A_PAIR,
    Search,
    measure_in_depth,
    measure_pair,
    measure_searches,
)
from counterpoint.counterfactuals.evaluation.all_heads import Pair
from counterpoint.counterfactuals.evaluation.edit_transfer import Transfer
from counterpoint.counterfactuals.evaluation.single_pair import pair_of
from counterpoint.counterfactuals.language import perplexity_caps
from counterpoint.counterfactuals.language.perplexity import mean_over
from counterpoint.counterfactuals.methods.search import search, study_prompts
from counterpoint.counterfactuals.problem import Budget, Settings, Start, Target
from counterpoint.counterfactuals.validation.pair_validation import validate
from counterpoint.counterfactuals.validation.validation_depth import Depth
from counterpoint.figures.method_figures import FIGURES, draw_methods
from counterpoint.files.artifacts import read_table, write_table
from counterpoint.models.load import LanguageModel
from counterpoint.models.model_shape import Shape
from counterpoint.workflow.targets import spread_heads
from tests.helpers.small_study import configuration, planned_rules, prepare, snakemake
from tests.workflow.test_config import laid_over, load

TARGET = Target(1, 2)
STARTS = [Start(" w5 w9 w12 w30 w7 w8", f" w5 w9 w12 w{31 + n} w7 w8") for n in range(6)]

# -- caps ----------------------------------------------------------------------------------------


def made_up(pairs: list[tuple[float, float, float, int]]) -> pd.DataFrame:
    """An archive with these LD changes, losses of clean and corrupted, and choices."""
    rows = [
        {
            **dict.fromkeys(("method", "correct", "incorrect"), "x"),
            **dict.fromkeys(("seed", "layer", "head", "correct_token", "incorrect_token"), 0),
            "clean": f"clean {number}",
            "corrupted": f"corrupted {number}",
            "clean_tokens": [1, 5, 6, 7],
            "corrupted_tokens": [1, 5, 8 + number, 7],
            "ld_change": change,
            "evenness": 0.5,
            "changed_tokens": 1,
            "perplexity_clean": math.exp(clean),
            "perplexity_corrupted": math.exp(corrupted),
            "perplexity": math.exp(max(clean, corrupted)),
            "evaluations": number,
            "non_dominated": True,
            "choice": choice,
        }
        for number, (change, clean, corrupted, choice) in enumerate(pairs)
    ]
    return typed(pd.DataFrame(rows, columns=list(ARCHIVE_COLUMNS)))


def trace_of(evaluations: int = 40) -> pd.DataFrame:
    rows = [(10, 0.5, 0.25, 1.0), (evaluations, 2.0, 0.75, 3.0)]
    return pd.DataFrame(rows, columns=list(TRACE_COLUMNS))


PAIRS = [
    (9.0, 2.0, 5.0, 1),  # its corrupted prompt is beyond every cap
    (8.0, 5.0, 2.0, 2),  # its clean one
    (6.0, 3.9, 2.0, 5),  # under + 1 alone
    (4.0, 3.4, 3.4, 6),  # under + 0.5
    (3.0, 3.1, 2.0, 3),  # under + 0.5, and preferred to the one before
    (1.0, 3.0, 2.9, 4),  # under + 0
]


def test_a_cap_holds_for_both_prompts() -> None:
    archive = made_up(PAIRS)
    for cap, expected in ((0.0, [1.0]), (0.5, [4.0, 3.0, 1.0]), (1.0, [6.0, 4.0, 3.0, 1.0])):
        # A hair above: the losses went through an exponential and back.
        assert (
            perplexity_caps.under_cap(archive, 3.0 + cap + 1e-9)["ld_change"].tolist() == expected
        )
    fluent = perplexity_caps.under_cap(archive, 3.5)
    best, chosen = perplexity_caps.largest_change(fluent), perplexity_caps.preferred_pair(fluent)
    assert best is not None and best["ld_change"] == 4.0
    assert chosen is not None and chosen["ld_change"] == 3.0
    assert perplexity_caps.largest_change(fluent.iloc[:0]) is None
    assert perplexity_caps.preferred_pair(fluent.iloc[:0]) is None


def test_a_row_per_search(monkeypatch: pytest.MonkeyPatch, tiny_llama: LanguageModel) -> None:
    measured: list[float] = []
    deep: list[float] = []

    def count(model: Any, head: Any, pair: pd.Series, **_: Any) -> dict[str, Any]:
        measured.append(pair["ld_change"])
        found = {
            name: pair.get(name, 1.0) for name in OF_A_PAIR if name not in search_outcomes.IN_DEPTH
        }
        # Ahead with a change of 3, and not with one of 2.9.
        return found | {"margin": pair["ld_change"] - 1.95}

    def look(model: Any, head: Any, pair: Pair, *_: Any, **__: Any) -> dict[str, Any]:
        deep.append(pair.corrupted[2])
        return dict.fromkeys(search_outcomes.IN_DEPTH, 2.0)

    monkeypatch.setattr(search_outcomes, "measure_pair", count)
    monkeypatch.setattr(search_outcomes, "measure_in_depth", look)
    nothing = made_up([])
    nothing.attrs["reason"] = "all were refused"
    searches = [
        Search("fluent", 0, made_up(PAIRS), trace_of()),
        Search("fluent", 1, made_up([*PAIRS, (2.9, 2.0, 2.0, 0)]), trace_of()),
        Search("fluent", 2, made_up(PAIRS), trace_of()),
        Search("descent", 0, made_up(PAIRS), trace_of(90)),
        Search("descent", 1, made_up(PAIRS[:2]), trace_of()),
        Search("evolution", 0, nothing, trace_of().iloc[:0]),
    ]
    table = measure_searches(tiny_llama, TARGET, searches, 3.0 + 1e-9, in_depth=["fluent"])
    assert dict(table.dtypes.astype(str)) == search_outcomes.COLUMNS
    fluent, worse, again, descent, gibberish, empty = table.to_dict("records")
    assert [fluent[f"ld_change_cap_{name}"] for name in perplexity_caps.CAPS] == [1.0, 4.0, 6.0]
    assert (fluent["best_ld_change"], fluent["chosen_ld_change"]) == (4.0, 3.0)
    assert (fluent["layer"], fluent["head"], fluent["pairs"]) == (1, 2, 6)
    assert (fluent["evaluations"], fluent["seconds"], fluent["hypervolume"]) == (40, 2.0, 0.75)
    assert pd.isna(fluent["reason"])
    assert descent["evaluations"] == 90
    assert [gibberish[f"ld_change_cap_{name}"] for name in perplexity_caps.CAPS] == [0, 0, 0]
    assert math.isnan(gibberish["best_rank"]) and pd.isna(gibberish["best_clean"])
    assert gibberish["reason"] == "none of 2 pairs is under the cap"
    assert (empty["evaluations"], empty["reason"]) == (0, "all were refused")
    # One pair is measured once; in depth the chosen ones on the highest step, of methods that ask.
    assert measured == [4.0, 3.0, 2.9]
    # The fifth of the pairs, by its token.
    assert deep == [8 + 4]
    assert fluent["chosen_ig_rank"] == again["chosen_ig_rank"] == 2.0 and math.isnan(
        fluent["best_ig_rank"]
    )
    assert math.isnan(worse["chosen_ig_rank"]) and math.isnan(descent["chosen_ig_rank"])


def test_in_depth_until_one_holds_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tiny_llama: LanguageModel
) -> None:
    holds = {8: 9, 9: 10, 10: 20, 11: 20}
    deep: list[int] = []

    def plain(model: Any, head: Any, pair: pd.Series, **_: Any) -> dict[str, Any]:
        found = {
            name: pair.get(name, 1.0) for name in OF_A_PAIR if name not in search_outcomes.IN_DEPTH
        }
        return found | {"margin": pair["ld_change"] - 1.95}

    def look(model: Any, head: Any, pair: Pair, *_: Any, **__: Any) -> dict[str, Any]:
        deep.append(pair.corrupted[2])
        first_five = float(holds[pair.corrupted[2]])
        return {
            **dict.fromkeys(search_outcomes.IN_DEPTH, 1.0),
            "transfer_first_five": first_five,
            "transfer_contexts": 20.0,
        }

    monkeypatch.setattr(search_outcomes, "measure_pair", plain)
    monkeypatch.setattr(search_outcomes, "measure_in_depth", look)
    gibberish = (9.0, 9.0, 9.0, 5)
    # A good change and ahead, by ever less; the last is not ahead.
    searches = [
        Search("fluent", seed, made_up([gibberish] * place + [(change, 2.0, 2.0, 0)]), trace_of())
        for seed, (place, change) in enumerate([(2, 3.1), (0, 3.4), (1, 3.2), (3, 2.9)])
    ]
    table = measure_searches(tiny_llama, TARGET, searches, 3.0 + 1e-9, in_depth=["fluent"])
    # The widest lead first; the third would hold too, but the second does already.
    assert deep == [8, 9]
    shown = table["chosen_transfer_first_five"]
    assert shown.isna().tolist() == [True, False, False, True]
    (best,) = best_runs(table, "fluent")["seed"]
    assert best == 2


# -- measuring -----------------------------------------------------------------------------------


def test_a_pair_is_measured_as_its_validation_does(tiny_llama: LanguageModel) -> None:
    settings = Settings(Budget(200), answer_in_prompt="allow")
    archive = search(tiny_llama, "random_swaps", TARGET, STARTS, settings).archive
    pair = archive.iloc[0]
    found = measure_pair(tiny_llama, TARGET, pair, memory_mb=500)
    alone, transfer = pair_of(pair), Transfer(tiny_llama, 4)
    found |= measure_in_depth(tiny_llama, TARGET, alone, transfer, memory_mb=500)
    assert found.keys() == OF_A_PAIR.keys()
    depth = Depth(pairs=1, transferred=1, transfers=4)
    (expected,) = validate(tiny_llama, TARGET, archive.head(1), depth).to_dict("records")
    for name in set(OF_A_PAIR) & expected.keys() - {"ld_change", "evenness"}:
        number = isinstance(expected[name], float)
        wanted = pytest.approx(expected[name], rel=1e-5) if number else expected[name]
        assert found[name] == wanted, name
    assert found["ap"] == pytest.approx(-pair["ld_change"], abs=1e-4)
    for prompt in ("clean", "corrupted"):
        known = math.log(pair[f"perplexity_{prompt}"])
        assert found[f"loss_{prompt}"] == pytest.approx(known, abs=1e-4)


def test_the_mean_loss_is_over_both_prompts_of_all_pairs(tiny_llama: LanguageModel) -> None:
    prompts = [tiny_llama.encode(text) for text in (" w5 w9 w12", " w5 w9 w13", " w8 w7", " w8 w6")]
    losses = []
    for ids in prompts:
        logits = tiny_llama.hf(_tensor(ids)).logits[0].log_softmax(-1)
        losses.append(
            -np.mean([float(logits[t, ids[t + 1]].detach()) for t in range(len(ids) - 1)])
        )
    pairs = pd.DataFrame(
        {"pair": [0, 1], "clean_tokens": prompts[::2], "corrupted_tokens": prompts[1::2]}
    )
    assert study_prompts(pairs) == prompts
    assert mean_over(tiny_llama, prompts) == pytest.approx(np.mean(losses), abs=1e-5)


def _tensor(ids: list[int]) -> Any:
    import torch

    return torch.tensor([ids])


# -- summary -------------------------------------------------------------------------------------

METHODS = ("a", "b", "c")
HEADS = [(0, 1), (2, 0), (2, 1), (5, 3)]


def runs() -> pd.DataFrame:
    """Made-up runs: c ends in a draw with b on the first head, and has no pair in some runs."""
    generator = np.random.default_rng(0)
    rows = []
    for place, (layer, head) in enumerate(HEADS):
        for method in METHODS:
            for seed in range(3):
                change = generator.normal(METHODS.index(method), 1.0)
                if place == 0 and method != "a":
                    change = 5.0
                found = not (method == "c" and seed == 1)
                rows.append(
                    {
                        **dict.fromkeys(search_outcomes.COLUMNS),
                        **{name: generator.normal() for name in MEASURES},
                        "layer": layer,
                        "head": head,
                        "method": method,
                        "seed": seed,
                        "evaluations": 600 + seed,
                        "pairs": 4,
                        "ld_change_cap_0_5": change if found else 0.0,
                        "best_rank": float(generator.integers(1, 4)) if found else None,
                        "best_round_trip": 1.0 if found else None,
                        "chosen_ig_rank": None,
                    }
                )
    return search_outcomes.typed(rows)


def test_medians_and_ranges_by_hand() -> None:
    table = summarise(runs())
    assert tuple(table.columns) == COLUMNS
    records = runs().to_dict("records")
    checked = 0
    for row in table[table["scope"] != "wins"].to_dict("records"):
        own = [
            record[row["measure"]]
            for record in records
            if record["method"] == row["method"]
            and (
                row["scope"] == "method"
                or (record["layer"], record["head"]) == (row["layer"], row["head"])
            )
        ]
        known = [value for value in own if not math.isnan(value)]
        assert (row["count"], row["of"]) == (len(known), len(own))
        if known:
            assert row["median"] == pytest.approx(statistics.median(known))
            assert (row["smallest"], row["largest"]) == (min(known), max(known))
        else:
            assert math.isnan(row["median"])
        checked += 1
    assert checked == len(METHODS) * len(MEASURES) * (1 + len(HEADS))


def test_wins_by_hand() -> None:
    table = summarise(runs())
    records = runs().to_dict("records")

    def median(method: str, head: tuple[int, int]) -> float:
        return statistics.median(
            record["ld_change_cap_0_5"]
            for record in records
            if record["method"] == method and (record["layer"], record["head"]) == head
        )

    wins = table[table["scope"] == "wins"].set_index(["method", "against"])
    assert len(wins) == 6
    for one in METHODS:
        for other in set(METHODS) - {one}:
            expected = sum(median(one, head) > median(other, head) for head in HEADS)
            assert wins.loc[(one, other), "count"] == expected
            assert wins.loc[(one, other), "of"] == len(HEADS)
    # The draw on the first head is nobody's win.
    assert wins.loc[("b", "c"), "count"] + wins.loc[("c", "b"), "count"] == len(HEADS) - 1


def test_tables_for_people_say_what_the_summary_says() -> None:
    summary = summarise(runs())
    text = as_markdown(summary)
    over_methods, over_heads, over_pairs = (
        [line.strip("| ").split(" | ") for line in block.splitlines()]
        for block in text.split("\n\n")[1::2]
    )
    assert [line[0] for line in over_methods[2:]] == ["`a`", "`b`", "`c`"]
    assert "rank by IG" not in over_methods[0]
    row = summary[
        (summary["scope"] == "head") & (summary["measure"] == "ld_change_cap_0_5")
    ].set_index(["layer", "head", "method"])
    shown = f"{row.loc[(2, 0, 'a'), 'median']:.2f}".replace("-", "−")
    assert over_heads[3][0] == "2.0" and over_heads[3][1].startswith(shown)
    wins = summary[summary["scope"] == "wins"].set_index(["method", "against"])
    assert over_pairs[3][1] == str(wins.loc[("b", "a"), "count"])


def test_what_was_reached_is_the_best_run_of_each_head() -> None:
    rows = []
    #       head  seed  LD   rank margin IG  in the first five
    for one in (
        ((4, 1), 0, 5.0, 2.0, 0.9, 1.0, 20.0),
        ((4, 1), 1, 0.7, 1.0, 1.2, 2.0, 9.0),  # first, but little
        ((2, 0), 0, 2.0, 1.0, 1.4, 3.0, 4.0),
        ((2, 0), 1, 1.1, 1.0, 1.6, 1.0, 10.0),  # well ahead
        ((3, 5), 0, None, None, None, None, None),
        ((3, 5), 1, 3.0, 4.0, 0.5, 5.0, 0.0),
    ):
        names = ("ld_change", "rank", "margin", "ig_rank", "transfer_first_five")
        rows.append(
            {"layer": one[0][0], "head": one[0][1], "method": "fluent", "seed": one[1]}
            | {f"chosen_{name}": value for name, value in zip(names, one[2:], strict=True)}
            | {"chosen_transfer_contexts": None if one[2] is None else 20.0}
            | {"chosen_clean": "a `b` | c\nd", "chosen_correct": " x"}
        )
    rows.append({**rows[0], "method": "other", "seed": 7})
    table = search_outcomes.typed(
        [dict.fromkeys(search_outcomes.COLUMNS, None) | _numbers() | r for r in rows]
    )
    best = best_runs(table, "fluent")
    assert best[["layer", "head", "seed"]].to_numpy().tolist() == [[2, 0, 1], [3, 5, 1], [4, 1, 1]]
    words, lines = best_runs_as_markdown(table, "fluent").split("\n\n")
    assert "Of 3 heads" in words
    assert "on 2 with an LD change of at least 0.5 and on 1 with at least 1" in words
    assert "by 1.5 times the second or more on 1; first by IG joint on 1" in words
    assert "at least half of the fresh contexts on 1." in words
    assert lines.count("\n") == 4
    assert "| 4.1 | 1 | 0.70 | 1 | 1.20 | – | 2 | 9 of 20 | `` a `b` \\| c⏎d `` |" in lines


def _numbers() -> dict[str, float]:
    return dict.fromkeys(("evaluations", "seconds", "hypervolume", "pairs", "study_loss"), 0)


def test_the_figure_has_a_panel_per_head(tmp_path: Path) -> None:
    named = dict(zip(METHODS, ("fluent", "evolution", "descent"), strict=True))
    write_table(summarise(runs().replace({"method": named})), tmp_path / "methods.csv")
    figures = draw_methods(read_table(tmp_path / "methods.csv"))
    assert figures.keys() == FIGURES.keys()
    titles = [ax.get_title(loc="left") for ax in figures["methods"].axes if ax.get_visible()]
    assert titles == [f"{layer}.{head}" for layer, head in HEADS]


def test_records_are_plain_json() -> None:
    table = runs()
    table.loc[0, "best_margin"] = math.inf
    found = counterfactuals.records(table)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert len(found) == len(table)
    assert found[0]["best_margin"] is None and found[0]["seed"] == 0
    assert list(found[0]) == list(search_outcomes.COLUMNS)


def test_methods_that_were_not_run_keep_their_runs() -> None:
    table = runs()
    methods = list(dict.fromkeys(table["method"]))
    older = {
        **{name: name for name in ("date", "machine", "commit", "packages")},
        "matrix_product_rates_by_threads": {},
        "runs": counterfactuals.records(table),
    }
    others, earlier = counterfactuals.kept(older, {methods[0]})
    assert set(others["method"]) == set(methods[1:])
    assert [one["methods"] for one in earlier] == [sorted(methods[1:])]
    pd.testing.assert_frame_equal(
        counterfactuals.typed(counterfactuals.records(table[table["method"] != methods[0]])), others
    )
    # Kept once more, the older ones still say where they are from.
    newer = {**older, "date": "newer", "earlier": earlier}
    _, twice = counterfactuals.kept(newer, {methods[1]})
    assert {name: one["date"] for one in twice for name in one["methods"]} == {
        methods[0]: "newer",
        **dict.fromkeys(methods[2:], "date"),
    }


def test_the_page_has_a_marked_place() -> None:
    page = counterfactuals.PAGE.read_text(encoding="utf-8")
    once = counterfactuals.filled(page, "| a |")
    assert once.count("| a |") == 1
    assert counterfactuals.filled(once, "| b |") == counterfactuals.filled(page, "| b |")
    with pytest.raises(ValueError, match="has no"):
        counterfactuals.filled("a page", "text")


# -- the shipped comparison ----------------------------------------------------------------------


def test_random_heads_over_the_depth() -> None:
    shape = Shape(n_layers=10, n_heads=2, max_length=None)
    for seed in range(20):
        heads = spread_heads(shape, 4, seed, without=[[0, 0], [9, 1]])
        assert [sum(low <= layer < high for layer, _ in heads) for low, high in STRETCHES] == [
            1
        ] * 4
        assert [0, 0] not in heads and [9, 1] not in heads
    assert spread_heads(shape, 4, 3) == spread_heads(shape, 4, 3)
    assert len({str(spread_heads(shape, 4, seed)) for seed in range(5)}) > 1


STRETCHES = ((0, 3), (3, 6), (6, 8), (8, 10))


def test_the_comparison_is_as_its_file_says() -> None:
    raw = laid_over(load("config.yaml"), load("config.compare.yaml"))
    assert raw["study"] == "methods"
    wanted = raw["studies"]["methods"]["counterfactuals"]
    circuit, drawn = wanted["targets"][:4], wanted["targets"][4:]
    smollm2 = Shape(n_layers=30, n_heads=9, max_length=None)
    assert drawn == spread_heads(smollm2, 8, 0, without=circuit)
    assert len(wanted["seeds"]) >= 3
    from counterpoint.counterfactuals.methods.search import METHODS as every

    assert set(wanted["methods"]) == every.keys()


# -- the workflow --------------------------------------------------------------------------------


SEARCHED = ["fluent", "template_swaps"]
SEEDS = [0, 4]

MISTAKEN = {
    "short": {"start": "When"},
    "long": {"start": [" John" * 70]},
    "answers": {"answers": [" John", " Mary gave"]},
    # Both are words of every prompt.
    "empty": {"answers": [" John", " Mary"], "answer_in_prompt": "forbid"},
}


def write(folder: Path, name: str = "small.yaml", **changes: Any) -> None:
    """The small study with little to compare, and changes to what is searched."""
    raw = configuration()
    raw["studies"]["small"]["counterfactuals"] |= {
        "methods": SEARCHED,
        "seeds": SEEDS,
        "budget": {"evaluations": 60},
        "answer_in_prompt": "allow",
        **changes,
    }
    (folder / name).write_text(yaml.safe_dump(raw), encoding="utf-8")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study with its methods compared, and nothing made but what that needs."""
    folder = prepare(tmp_path_factory.mktemp("methods"))
    write(folder)
    done = snakemake(folder, "methods")
    assert done.returncode == 0, done.stdout
    return folder


@pytest.mark.workflow
@pytest.mark.xdist_group("methods")
def test_a_comparison_from_the_workflow(compared: Path) -> None:
    results = compared / "results" / "small"
    table = read_table(results / "methods" / "methods.parquet")
    assert dict(table.dtypes.astype(str)) == search_outcomes.COLUMNS
    order = [(1, 2, method, seed) for method in SEARCHED for seed in SEEDS]
    found = table[["layer", "head", "method", "seed"]]
    assert list(found.itertuples(index=False, name=None)) == order
    for row in table.to_dict("records"):
        stem = f"{row['layer']}.{row['head']}/searches/{row['method']}.{row['seed']}"
        archive = read_table(results / "counterfactuals" / f"{stem}.parquet")
        assert len(archive) == row["pairs"] > 0
        assert set(archive["method"]) == {row["method"]} and set(archive["seed"]) == {row["seed"]}
        loss = np.log(archive[["perplexity_clean", "perplexity_corrupted"]]).max(axis=1)
        under = archive[loss <= row["study_loss"] + 0.5]
        assert row["ld_change_cap_0_5"] == (under["ld_change"].max() if len(under) else 0)
    assert (table["best_round_trip"].dropna() == 1).all()
    assert (table["study_loss"] == table["study_loss"].iloc[0]).all()
    summary = read_table(results / "methods" / "methods.csv")
    assert len(summary) == 2 * 2 * len(MEASURES) + 2
    assert as_markdown(summary)
    for suffix in ("svg", "png"):
        assert (results / "methods" / f"methods.{suffix}").stat().st_size > 1000
    settings = json.loads((results / "methods" / "settings.json").read_text())
    assert settings["counterfactuals"]["budget"] == {"evaluations": 60, "seconds": None}
    # No validation, no scores, no report.
    assert not list(results.rglob("validation.parquet"))
    assert not (results / "heads.parquet").exists()


@pytest.mark.workflow
@pytest.mark.xdist_group("methods")
def test_a_methods_setting_reruns_its_searches_alone(compared: Path) -> None:
    assert planned_rules(compared, "--keep-going", "methods") == set()
    try:
        write(compared, settings={"descent": {"step": 1.0}, "evolution": {"children": 4}})
        # The comparison writes all settings down.
        assert planned_rules(compared, "--keep-going", "methods") == {
            "compare_methods",
            "draw_methods",
            "methods",
        }
        write(compared, settings={"fluent": {"surprise": 0.6}})
        done = snakemake(compared, "methods", "--dry-run", "--quiet", "rules")
        assert re.search(r"^search_counterfactuals\s+2$", done.stdout, re.MULTILINE), done.stdout
    finally:
        write(compared)


@pytest.fixture(scope="module")
def mistaken(compared: Path) -> tuple[Path, str]:
    """Studies whose searches cannot be, or find nothing; each makes what it can."""
    write(compared, "mistaken.yaml")
    raw = yaml.safe_load((compared / "mistaken.yaml").read_text())
    small = raw["studies"]["small"]
    searched = {"methods": ["template_swaps"], "seeds": [0]}
    raw["studies"] = {
        name: {**small, "counterfactuals": {**small["counterfactuals"], **searched, **changes}}
        for name, changes in MISTAKEN.items()
    }
    raw["study"] = list(MISTAKEN)
    (compared / "mistaken.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    merged = "results/empty/counterfactuals/1.2/template_swaps.parquet"
    done = snakemake(compared, "methods", merged, "--keep-going", configfile="mistaken.yaml")
    assert done.returncode != 0
    return compared / "results", done.stdout


@pytest.mark.workflow
@pytest.mark.xdist_group("methods")
def test_mistakes_come_through_the_workflow_in_one_line(mistaken: tuple[Path, str]) -> None:
    _, output = mistaken
    assert "Traceback" not in output, output
    for expected in (
        "error: counterfactuals.start: 'When' has 2 tokens; expected at least 3",
        "the model's context holds 64. Write a shorter start.",
        "error: counterfactuals.answers: ' Mary gave' is 2 tokens",
    ):
        assert any(expected in line for line in output.splitlines()), output


@pytest.mark.workflow
@pytest.mark.xdist_group("methods")
def test_an_empty_archive_says_why_to_the_end(mistaken: tuple[Path, str]) -> None:
    results, output = mistaken
    why = "because an answer is a word of a prompt"
    archive = read_table(results / "empty/counterfactuals/1.2/template_swaps.parquet")
    assert archive.empty
    assert why in archive.attrs["reason"]
    assert any("none, since in" in line and why in line for line in output.splitlines())
    (row,) = read_table(results / "empty/methods/methods.parquet").to_dict("records")
    assert why in row["reason"]
    assert row["ld_change_cap_1"] == 0
