"""A study of answers of several tokens, read whole, from its file of pairs to the report."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

import counterpoint
from counterpoint.files.artifacts import read_table
from counterpoint.models.load import load_language_model
from tests.helpers.small_study import (
    PAIRS,
    configuration,
    make_model,
    project_copy,
    snakemake,
    write_configuration,
)
from tests.report.test_study_report import Page

ROWS = [
    (*PAIRS[0], " John and Mary", " John and John gave"),
    (*PAIRS[1], " John", " Mary"),
    (*PAIRS[1], " Mary", " Mary gave"),
]
"""The second is of one token each, and of the third no first difference can be read."""


@pytest.mark.workflow
def test_whole_answers_from_the_file_to_the_report(tmp_path: Path) -> None:
    project_copy(tmp_path)
    make_model(
        tmp_path / "tiny",
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
    )
    with (tmp_path / "small.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["clean", "corrupted", "correct", "incorrect"])
        writer.writerows(ROWS)
    config = configuration()
    study = config["studies"]["small"]
    study |= {"answer_tokens": "whole", "on_bad_pair": "drop", "directions": ["noising"]}
    study |= {"counterfactuals": {"targets": []}}
    study |= {name: {"pairs": "none"} for name in ("roles", "edges", "patterns")}
    write_configuration(tmp_path, config)
    refused = snakemake(tmp_path, "--dry-run")
    assert refused.returncode != 0
    for key in (
        "positions.pairs: 2",
        "circuit.pairs: 2",
        "answers.pairs: 2",
        "baselines: atp_star",
    ):
        assert f"studies.small.{key}" in refused.stdout, refused.stdout
    study |= {name: {"pairs": "none"} for name in ("positions", "circuit", "answers")}
    study["baselines"] = ["eap_ig", "relp", "atp_hvp"]
    write_configuration(tmp_path, config)
    done = snakemake(tmp_path)
    assert done.returncode == 0, done.stdout
    results = tmp_path / "results" / "small"

    (dropped,) = read_table(results / "dropped.csv")["reason"]
    assert dropped.startswith("correct ' Mary' is the beginning of incorrect ' Mary gave'")
    pairs = read_table(results / "pairs.parquet")
    assert pairs["answer_beginning"].tolist() == [2, 0]
    assert pairs["read_whole"].tolist() == [True, False]
    heads = read_table(results / "heads.parquet")
    assert heads["pair"].tolist() == [0, 0, 1, 1]
    expected = counterpoint.measure(
        load_language_model(tmp_path / "resources" / "models" / "tiny"),
        ROWS[:2],
        directions=["noising"],
        answer_tokens="whole",
        baselines=study["baselines"],
        progress=False,
    )
    assert list(heads.columns) == list(expected.columns)
    for name in ("ap", "atp", "ig_joint", "output_range", "eap_ig", "relp"):
        assert heads[name].to_numpy() == pytest.approx(expected[name].to_numpy(), abs=2e-5)
    baseline = read_table(results / "baseline.parquet")
    assert baseline["metric_clean"].equals(baseline["logit_difference_clean"])
    text = re.sub(r"\s+", " ", Page((results / "report.html").read_text(encoding="utf-8")).text)
    for words in (
        "Answers of several tokens are read whole",
        "both begin with",
        "log odds on clean prompts, mean",
        "log odds clean",
        "Here it is the log odds of the whole answers (log odds), in nats.",
        "lowers the log odds",
        "1 of 3 rows",
    ):
        assert words in text, words
