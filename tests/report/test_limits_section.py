"""What a study does not show is said from its own settings and tables."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from counterpoint import report
from tests.helpers.page_tables import Shown
from tests.helpers.synthetic import Shape, make_positions, write_generated, write_study

SETTINGS: dict[str, Any] = {
    "model": "smol",
    "metric": "logit_difference",
    "statistics": {"floor": 1e-4, "bootstrap_samples": 50},
}


def said(results: report.Results) -> str:
    return re.sub(r"\s+", " ", Shown(report.limits(results)).text)


def load(folder: Any, **settings: Any) -> report.Results:
    return report.load_results("s", folder, SETTINGS | settings)


def test_pairs_model_and_the_number_of_heads_are_counted(tmp_path) -> None:
    write_study(tmp_path)
    results = load(tmp_path)
    text = said(results)
    assert 'id="limits"' in report.limits(results)
    assert "4 pairs of one task" in text and "One model (smol), in float32" in text
    assert "1 row of the file of pairs was left out" in text
    assert "12 heads × 2 directions" in text and "about 1 of these intervals" in text
    assert "each 95 % interval" in text and "p corrected" in text
    assert "is not recorded" in text  # the first token
    wrong = results.baseline.assign(correct=[True, False, True, False])
    assert "On 2 of 4 the model does not prefer" in said(replace(results, baseline=wrong))


def test_a_sample_of_the_pairs_is_told(tmp_path) -> None:
    write_study(tmp_path)
    assert "drawn by the seed" not in said(load(tmp_path))
    few = SETTINGS["statistics"] | {"sampled_pairs": 2}
    text = said(load(tmp_path, statistics=few))
    assert "means over all 4 pairs" in text and "on 2 of them, drawn by the seed" in text
    assert "variances are those" not in text
    text = said(load(tmp_path, statistics=few | {"ranked_pairs": 3}))
    assert "Rankings, sample sizes and variances are those of 3." in text


@pytest.mark.parametrize(
    ("templates", "words"),
    [
        (None, "names no templates"),
        (["a"] * 12, "of 1 template: what holds on it may be of the sentence"),
        ([f"t{n}" for n in range(12)], "of 12 templates, one pair each"),
        ([f"t{n % 6}" for n in range(12)], "of 6 templates. Intervals draw whole templates"),
        ([f"t{n % 3}" for n in range(12)], "of 3 templates. Intervals draw pairs one by one"),
        ([""] * 12, "column template of the pairs is empty"),
    ],
)
def test_templates_are_told_as_they_are(tmp_path, templates, words) -> None:
    write_study(tmp_path, Shape(pairs=12, layers=1, heads=2))
    if templates is not None:
        pairs = pd.read_parquet(tmp_path / "pairs.parquet")
        pairs.assign(template=templates).to_parquet(tmp_path / "pairs.parquet", index=False)
    assert words in said(load(tmp_path))


def test_positions_directions_and_the_first_token(tmp_path) -> None:
    write_study(tmp_path, Shape(pairs=3, directions=("noising",)))
    text = said(load(tmp_path))
    assert "no single position was patched, no query, key, value or pattern" in text
    assert "The direction denoising was not measured" in text
    assert "MLP layers were not patched" in text and "composed for a head" not in text
    make_positions(Shape(pairs=1)).to_parquet(tmp_path / "positions.parquet", index=False)
    write_generated(tmp_path)
    provenance = {
        "beginning_of_sequence": {
            "id": 1,
            "token": "<s>",
            "why": "",
        }
    }
    results = replace(load(tmp_path), provenance=provenance)
    text = said(results)
    assert "single positions were patched on pair 0 of 3" in text
    assert "measured with a beginning-of-sequence token" in text
    assert "composed for a head" in text
    both = said(load(tmp_path, prepend_bos="both"))
    assert "once more without it" in both


def test_metrics_and_whole_answers(tmp_path) -> None:
    write_study(tmp_path, Shape(pairs=1))
    text = said(load(tmp_path, metric="kl_divergence"))
    assert "In noising it cannot fall" in text and "One pair" in text
    assert "12 heads in both directions were looked at on one pair" in text
    assert "at the answer's tokens as well" in said(load(tmp_path, answer_tokens="whole"))
