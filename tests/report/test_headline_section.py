"""The headline answers what is asked first, for a study of any size and metric."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from counterpoint import report
from counterpoint.report.html import number
from tests.helpers.page_tables import Shown
from tests.helpers.synthetic import (
    Shape,
    make_atlas,
    write_full_validation,
    write_generated,
    write_study,
)

SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "metric": "logit_difference",
    "statistics": {"floor": 1e-4, "top_k": 4, "bootstrap_samples": 200},
}


SIX = Shape(pairs=6)


def study(folder: Path, shape: Shape = SIX, **columns: Any) -> report.Results:
    """A study with some columns of its heads replaced; a function gets the table of heads."""
    write_study(folder, shape)
    heads = pd.read_parquet(folder / "heads.parquet")
    for name, values in columns.items():
        heads[name] = values(heads) if callable(values) else values
    heads.to_parquet(folder / "heads.parquet", index=False)
    return report.load_results("s", folder, SETTINGS)


def text_of(results: report.Results) -> str:
    return re.sub(r"\s+", " ", Shown(report.headline(results, "A title")).text)


def test_it_says_which_heads_in_which_direction_and_on_how_many_pairs(tmp_path) -> None:
    results = study(tmp_path)
    text = text_of(results)
    ap = results.heads.assign(size=results.heads["ap"].abs())
    order = ap.groupby(["layer", "head"])["size"].mean().sort_values(ascending=False)
    names = [f"{layer}.{head}" for layer, head in order.index[:5]]
    assert f"most are {', '.join(names[:4])} and {names[4]} (by |AP|, mean over all 6 pairs" in text
    first = order.index[0]
    for direction in ("noising", "denoising"):
        mean = results.means[direction, int(first[0]), int(first[1])]["ap"]
        assert f"{number(mean, 2)} logits in {direction}" in text
    (table,) = Shown(report.headline(results, "t")).tables[:1]
    assert [row[0] for row in table.rows] == names
    for direction in ("noising", "denoising"):
        own = ap[ap["direction"] == direction]
        ranks = own.groupby("pair")["size"].rank(ascending=False)
        for row in table.rows:
            here = (own["layer"].astype(str) + "." + own["head"].astype(str)) == row[0]
            among = int((ranks[here] <= 5).sum())
            assert row[table.header.index(f"in the first 5, {direction}")] == f"{among} of 6"
            signs = np.sign(own.loc[here, "ap"])
            same = int((signs == np.sign(own.loc[here, "ap"].mean())).sum())
            assert row[table.header.index(f"same sign, {direction}")] == f"{same} of 6"
    assert "[" in table.rows[0][1]  # the interval over pairs


def test_what_holds_by_construction_is_no_headline(tmp_path) -> None:
    text = text_of(study(tmp_path))
    assert "Pearson" not in text and "output range correlates" not in text
    assert "The rankings of the heads by two pairs agree by" in text
    assert "What this does not show" in text and "Cite and rerun" in text


def test_heads_that_a_gradient_misses_are_named(tmp_path) -> None:
    def missed(heads: pd.DataFrame) -> pd.Series:
        last = (heads["layer"] == 3) & (heads["head"] == 2)
        return heads["ap"].where(~last, 0.01)

    results = study(tmp_path, atp=missed, ig_joint=lambda heads: heads["ap"])
    text = text_of(results)
    mean = results.means["noising", 3, 2]["ap"]
    assert f"heads AtP misses 3.2 (AP {number(mean, 2)}, AtP 0.01) in noising" in text
    assert "Of the first 4 heads IG joint misses none in noising; none in denoising." in text


def test_a_head_of_one_direction_is_named_and_none_is_said(tmp_path) -> None:
    assert "in either direction, none does" in text_of(study(tmp_path / "both"))

    def one_sided(heads: pd.DataFrame) -> pd.Series:
        here = (heads["layer"] == 3) & (heads["head"] == 2) & (heads["direction"] == "denoising")
        return heads["ap_normalised"].where(~here, 0.001)

    assert "3.2 in noising only" in text_of(study(tmp_path / "one", ap_normalised=one_sided))


def test_partners_and_composed_pairs_are_told(tmp_path) -> None:
    results = study(tmp_path)
    row = {"direction": "noising", "layer": 3, "head": 2, "ap": -2.0, "ig_own": -2.0,
           "ig_joint": -1.0, "remainder": 0.1}  # fmt: skip
    table = pd.DataFrame(
        [{**row, "pair": pair, "partner": partner, "interaction": value}
         for pair in (0, 2) for partner, value in ((0, 0.7), (1, -0.2))]
    )  # fmt: skip
    text = text_of(replace(results, interaction=table))
    assert "IG joint and AP differ most on 3.2 in noising" in text
    assert "first 3.0, 0.70 of the difference on 2 of 6 pairs" in text
    write_generated(tmp_path)
    write_full_validation(tmp_path)
    text = text_of(report.load_results("s", tmp_path, SETTINGS))
    assert "3.2 on 1 of 3" in text and "In the atlas" not in text
    atlas = make_atlas()
    first = (atlas["rank"] == 1) & (atlas["fluent"] == True) & (atlas["ld_change"] >= 0.5)  # noqa: E712
    text = text_of(replace(results, atlas=atlas))
    assert f"In the atlas {first.sum()} of 12 heads have a fluent pair" in text


@pytest.mark.parametrize(
    ("shape", "said", "unsaid"),
    [
        (Shape(pairs=1), ["One pair", "on the only pair", "no interval over pairs"],
         ["in the first 5", "agree by", "only ("]),
        (Shape(pairs=3, layers=1, heads=1), ["The head that moves the answer most is 0.0"],
         ["in the first 5", "stay among"]),
        (Shape(pairs=1, layers=1, heads=1), ["The head that moves the answer most is 0.0"], ["["]),
        (Shape(pairs=3, directions=("denoising",)), ["in denoising"], ["noising,", "in noising"]),
    ],
)  # fmt: skip
def test_small_studies_have_a_headline(tmp_path, shape, said, unsaid) -> None:
    text = text_of(study(tmp_path, shape))
    for words in said:
        assert words in text, words
    for words in unsaid:
        assert words not in text.replace("denoising", "DE"), words
    assert not re.search(r"\b(nan|NaN|None|inf)\b", text)


def test_no_head_above_the_floor(tmp_path) -> None:
    names = ("ap", "output_range_closed", "ig_joint", "atp")
    results = study(tmp_path, **dict.fromkeys(names, 1e-7))
    text = text_of(results)
    assert "No head moves the answer: patching any of them alone changes" in text
    assert "What gradients miss" not in text and "in the first 5" not in text


def test_with_a_divergence_no_sign_is_counted_and_atp_is_not_judged(tmp_path) -> None:
    results = study(tmp_path, ap=lambda heads: heads["ap"].abs(), atp=0.0)
    results = report.load_results("s", tmp_path, SETTINGS | {"metric": "kl_divergence"})
    text = text_of(results)
    assert "same sign, noising" not in text and "same sign, denoising" in text
    judged = text[text.index("AtP misses") :].partition("IG joint")[0]
    assert "in denoising" in judged and "in noising" not in judged


def test_without_tables_of_statistics_it_says_less(tmp_path) -> None:
    study(tmp_path)
    for name in ("claims.csv", "stability.csv", "correlations.csv", "provenance.json"):
        (tmp_path / name).unlink()
    text = text_of(report.load_results("s", tmp_path, SETTINGS))
    assert "The three claims" not in text and "agree by" not in text
    assert "The heads that move the answer most" in text
