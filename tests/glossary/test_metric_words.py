"""What is said of a metric is what holds for it: in the engine's numbers and on every page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from counterpoint import report
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import Direction
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.figures import (
    curve_figures,
    faithfulness_figures,
    regression_figures,
    top_head_figures,
)
from counterpoint.glossary.metric_words import (
    FLAT_START,
    METRICS,
    NO_SLOPE,
    ONE_SIGN,
    measured_metric,
    metric_words,
    searches,
)
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.slopes import attribution_patching
from counterpoint.models.load import LanguageModel
from counterpoint.report.disagreement_section import with_an_order
from counterpoint.report.glossary_section import glossary
from counterpoint.statistics.score_faithfulness import PREFIX
from counterpoint.statistics.stability import stability
from counterpoint.workflow.config import schema
from tests.figures.test_study_figures import drawn_text
from tests.helpers.pair_factory import random_pairs
from tests.helpers.synthetic import (
    QUICK,
    Shape,
    make_atlas,
    make_scores,
    write_generated,
    write_study,
)
from tests.report.test_study_report import SETTINGS, Page

BOTH = ("noising", "denoising")
LD, LOG_P, KL = METRICS


def test_every_metric_has_words() -> None:
    allowed = schema()["$defs"]["study"]["properties"]["metric"]["enum"]
    assert list(METRICS) == allowed
    assert metric_words("own").name == "own" and metric_words("own").sign(BOTH) == ""


@pytest.mark.parametrize("metric", [LD, LOG_P])
def test_metrics_of_whole_answers_have_words_of_their_own(metric: str) -> None:
    name = measured_metric(metric, "whole")
    assert name == f"{metric} of whole answers" and measured_metric(metric) == metric
    words = metric_words(name)
    assert words.unit == "nats" and words.name != metric_words(metric).name
    assert "all of its tokens" in words.meaning
    assert "logit" not in words.sign(BOTH) + words.normalised
    assert set(words.signs) == set(BOTH) and not words.one_sided and not words.starts_flat
    assert words.name in searches(name)


@pytest.mark.parametrize("metric", METRICS)
def test_the_words_hold_in_the_engine(tiny_gpt2: LanguageModel, metric: str) -> None:
    pairs = random_pairs(3, n_pairs=2)
    engine = SuffixEngine(tiny_gpt2, cache_activations(tiny_gpt2, pairs), metric=metric)
    words = metric_words(metric)
    clean, corrupted = (engine.unpatched(prompt).numpy() for prompt in ("clean", "corrupted"))
    if metric == KL:
        assert np.abs(clean).max() < 1e-6 and (corrupted > 0.01).all()
    if metric == LOG_P:
        assert (clean < 0).all() and (corrupted < 0).all()
    directions: tuple[Direction, ...] = ("noising", "denoising")
    for direction in directions:
        ap = activation_patching(engine, direction)
        slope = attribution_patching(engine, direction, "head", every_unit(tiny_gpt2, 2))
        assert np.abs(ap).max() > 0.01
        assert (np.abs(slope).max() < 1e-5) == (direction in words.starts_flat)
        assert (ap.min() > -1e-6) == (direction in words.one_sided)


def study(folder: Path, directions: tuple[str, ...]) -> Path:
    write_study(folder, Shape(pairs=2, layers=2, directions=directions))
    baseline = pd.read_parquet(folder / "baseline.parquet")
    baseline.assign(
        logit_difference_clean=[1.5, 2.5], logit_difference_corrupted=[-1.0, 0.5]
    ).to_parquet(folder / "baseline.parquet", index=False)
    return folder


def said(results: report.Results) -> str:
    parts = (
        report.headline(results, "t"), report.heads(results), report.relations(results),
        report.curves(results), report.claims(results), report.pairs(results),
        glossary([results.metric]),
    )  # fmt: skip
    return re.sub(r"\s+", " ", " ".join(Page(part).text for part in parts))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    made = tmp_path_factory.mktemp("metrics")
    return {
        directions: study(made / "_".join(directions), directions)
        for directions in (BOTH, ("noising",), ("denoising",))
    }


@pytest.mark.parametrize(
    ("metric", "directions"),
    [*((metric, BOTH) for metric in METRICS), (LD, ("denoising",)), (KL, ("noising",)),
     (KL, ("denoising",))],
)  # fmt: skip
def test_pages_say_what_the_metric_allows(folders, metric, directions) -> None:
    results = report.load_results("s", folders[directions], SETTINGS | {"metric": metric})
    text, words = said(results), metric_words(metric)
    shown = text[: text.index("Each word of this report")]
    for name in BOTH:
        assert (words.signs[name] in shown) == (name in directions)
        assert words.signs[name] in text  # the glossary explains both
    assert words.name in shown and words.unit in shown and words.meaning[:40] in text
    flat = metric == KL and "noising" in directions
    assert (FLAT_START in shown) == (ONE_SIGN in shown) == flat
    assert (NO_SLOPE in text) == (metric == KL)
    if metric == KL:
        for wrong in ("lowers the", "moves the answer", "move the answer", "works against"):
            assert wrong not in text
        assert "0 by definition" in shown
    # Which answer is preferred is read from the logit difference, or not said.
    assert "on 2 of 2 clean prompts and on 1 of 2 corrupted ones" in shown
    columns = re.search(r"incorrecttokens(.*?)0After", shown.replace(" ", ""))
    assert columns is not None
    short = words.short.replace(" ", "")
    own = f"{short}clean{short}corrupted"
    assert columns[1] == (own if metric == LD else f"LDcleanLDcorrupted{own}")


def test_searches_are_in_logits_whatever_the_metric(tmp_path) -> None:
    folder = study(tmp_path, ("noising",))
    write_generated(folder, found=2)
    make_atlas(layers=1).to_parquet(folder / "atlas.parquet", index=False)
    for metric, told in ((KL, 1), (LD, 0)):
        results = report.load_results("s", folder, SETTINGS | {"metric": metric})
        for part in (report.generated, report.atlas):
            text = Page(part(results)).text
            assert text.count("always measure the change of the logit difference (LD)") == told


def test_without_logit_differences_no_preference_is_read_from_another_metric(tmp_path) -> None:
    write_study(tmp_path, Shape(pairs=2))
    for metric, told in ((LD, True), (KL, False), (LOG_P, False)):
        results = report.load_results("s", tmp_path, SETTINGS | {"metric": metric})
        assert ("corrupted ones" in Page(report.pairs(results)).text) == told


@pytest.mark.parametrize("metric", METRICS)
def test_layers_are_not_called_heads(tmp_path, metric) -> None:
    folder = study(tmp_path, ("noising",))
    mlps = pd.DataFrame({"pair": [0, 0], "direction": "noising", "layer": [0, 1]})
    mlps.assign(ap=[0.5, 1.25], output_range=[0.5, 1.5]).to_parquet(folder / "mlps.parquet")
    shown = report.extras(report.load_results("s", folder, SETTINGS | {"metric": metric}))
    text = Page(shown).text
    assert "In the direction noising" in text and "denoising" not in text and "head" not in text


def test_several_metrics_on_one_page_are_told_apart() -> None:
    text = Page(glossary([LD, KL, LD])).text
    for metric in (LD, KL):
        assert f"With the metric {metric_words(metric).name}: In the direction noising" in text
    assert text.count("In the direction denoising") == 2
    assert "With the metric" not in Page(glossary([KL])).text


@pytest.mark.parametrize("metric", METRICS)
def test_axes_name_metric_and_unit(metric) -> None:
    shape = Shape(pairs=2, layers=2, heads=2)
    heads, tensors, baseline = make_scores(shape)
    words = metric_words(metric)
    text = drawn_text(top_head_figures.top_heads(heads, metric=metric))
    assert f"change of the {words.name}" in text and words.unit in text
    curves = curve_figures.Curves(**tensors, directions=shape.directions)
    drawn = curve_figures.output_curves(curves, baseline, [(0, 1, "x")], metric=metric)
    assert f"f(α) − f(0), {words.unit}" in drawn_text(drawn)


def test_no_interval_goes_below_what_ap_can_be() -> None:
    heads, _, _ = make_scores(Shape(pairs=3))
    heads["ap"] = heads["ap"].abs() * (1 + 9 * (heads["pair"] == 0))
    for metric in METRICS:
        for direction in BOTH:
            found = top_head_figures.ap_intervals(
                heads, direction, confidence=0.95, seed=0, metric=metric
            )
            lowest = min(low for _, low, _ in found.values())
            assert (lowest == 0) == (metric == KL and direction == "noising")


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_an_order_of_rounding_errors_is_no_ranking(tmp_path, scale) -> None:
    folder = write_study(tmp_path, Shape(pairs=3, layers=2))
    heads = pd.read_parquet(folder / "heads.parquet")
    noising = heads["direction"] == "noising"
    heads.loc[noising, "atp"] *= scale
    heads.to_parquet(folder / "heads.parquet", index=False)
    table = stability(heads, settings=QUICK)
    table.to_csv(folder / "stability.csv", index=False)
    own = table[(table["score"] == "atp") & (table["direction"] == "noising")]
    assert own["estimate"].isna().all() == (scale < 1)
    faithful = pd.DataFrame(
        [(0, name, score, k, 0.5) for name in BOTH for score in ("atp", "ap") for k in (1, 2)],
        columns=["pair", "direction", "score", "k", "recovered"],
    )
    faithful.to_parquet(folder / "faithfulness.parquet")
    results = report.load_results("s", folder, SETTINGS)
    text = Page(report.stability(results)).text
    assert ("|AtP|, noising (every value is below the floor" in text) == (scale < 1)
    lines = [
        len(ax.get_legend_handles_labels()[0]) or len(ax.lines) - 2
        for ax in faithfulness_figures.faithfulness_curves(with_an_order(results)).axes
    ]
    assert lines == [1 if scale < 1 else 2, 2]
    drawn = drawn_text(regression_figures.regressions(heads, floor=1e-4))
    assert ("AtP (signed): below the floor" in drawn) == (scale < 1)
    claimed = report_claims(heads, faithful)
    assert np.isnan(claimed["noising", f"{PREFIX}atp"]) == (scale < 1)
    assert not np.isnan(claimed["denoising", f"{PREFIX}atp"])


def report_claims(heads: pd.DataFrame, faithful: pd.DataFrame) -> pd.Series:
    from counterpoint.statistics.claims import claims

    return claims(heads, faithful, settings=QUICK).set_index(["direction", "quantity"])["estimate"]
