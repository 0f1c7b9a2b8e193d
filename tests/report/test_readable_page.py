"""What stands on a page can be read and copied: no raw keys, and numbers that a program parses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from counterpoint import report
from counterpoint.report import comparison_page, html
from counterpoint.statistics.claims import claims
from tests.helpers.page_tables import Shown
from tests.helpers.synthetic import QUICK, write_full_validation, write_generated
from tests.report.test_comparison_page import tables_of
from tests.report.test_one_word_one_number import SETTINGS, whole_study

KEY = re.compile(r"(?<![\w./-])[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+(?![\w-]*[./]\w)")
"""A snake_case identifier that is no part of a file's name or path."""

PROVENANCE: dict[str, Any] = {
    "counterpoint": "0.1.0",
    "commit": "0123456789abcdef0123456789abcdef01234567+changes",
    "date": "2026-11-30T10:00:00+00:00",
    "settings": {**SETTINGS, "pairs": "resources/pairs/ioi.default.csv"},
    "beginning_of_sequence": {
        "token": None, "id": None, "why": "none, since prepend_bos is false",
        "added_by_tokenizer": False,
    },
    "model": {"source": "huggingface", "repository": "some/model", "revision": "0123456"},
    "packages": {"torch": "2.13.0", "transformer-lens": "4.3.0"},
    "machine": {"system": "Linux-x86_64", "cores": 2},
    "durations": {
        "trace_curves": {"jobs": 2, "seconds": 30.0, "memory_mb": 900.0},
        "merge_scores": {"jobs": 1, "seconds": 10.0, "memory_mb": 0.0},
    },
}  # fmt: skip

SECTIONS = (
    report.heads, report.heat_maps, report.relations, report.curves, report.claims,
    report.reasons, report.positions, report.roles, report.stability, report.templates,
    report.without_bos, report.generated, report.extras, report.limits, report.beginning,
    report.exactness, report.provenance, report.cite,
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = whole_study(tmp_path_factory.mktemp("readable"))
    write_generated(folder, methods=("random_swaps", "likely_swaps"))
    write_full_validation_of(folder)
    heads = pd.read_parquet(folder / "heads.parquet")
    faithfulness = pd.DataFrame(
        [
            (pair, direction, score, k, 0.1 * k)
            for pair in range(6)
            for direction in ("noising", "denoising")
            for score in ("ap", "ig_joint", "ig_unsaturated", "output_range")
            for k in (1, 2, 4)
        ],
        columns=["pair", "direction", "score", "k", "recovered"],
    )
    faithfulness.to_parquet(folder / "faithfulness.parquet", index=False)
    interaction = pd.read_parquet(folder / "interaction.parquet")
    claims(heads, faithfulness, interaction, settings=QUICK).to_csv(
        folder / "claims.csv", index=False
    )
    mlps = heads[heads["head"] == 0].drop(columns=["head"])
    mlps.to_parquet(folder / "mlps.parquet", index=False)
    (folder / "provenance.json").write_text(json.dumps(PROVENANCE), encoding="utf-8")
    return folder


def write_full_validation_of(folder: Path) -> None:
    """The validation has columns of one method; the archives here are of two others."""
    place = folder / "counterfactuals" / "3.2"
    pd.read_parquet(place / "random_swaps.parquet").to_parquet(place / "descent.parquet")
    write_full_validation(folder)
    (place / "descent.parquet").unlink()
    (folder / "counterfactuals" / "0.1" / "descent.parquet").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def shown(study: Path) -> Shown:
    results = report.load_results("made-up", study, SETTINGS)
    parts = [report.headline(results, "A title"), *(part(results) for part in SECTIONS)]
    return Shown(html.join([*parts, report.glossary([results.metric])]))


def test_no_raw_key_stands_in_the_text(shown) -> None:
    assert sorted(set(KEY.findall(shown.prose))) == []
    assert "random swaps" in shown.prose and "IG on the own path is AP" in shown.prose


def test_no_raw_key_stands_on_the_page_that_compares_studies(tmp_path) -> None:
    tables_of(tmp_path, (("one", "m"), ("two", "m")))
    compared = comparison_page.load_comparison(tmp_path / "comparison")
    names = ("studies", "heads", "overlaps", "claims", "correlations", "files")
    parts = [comparison_page.headline(compared, "t")]
    parts += [getattr(comparison_page, name)(compared) for name in names]
    shown = Shown(html.join(parts))
    assert KEY.findall(shown.prose) == []
    assert not re.findall(r"[\u2212\u2013]\d|\d[\u202f\u2009]\d", shown.text)
    assert re.search(r"\d\.\d \(noising\)", shown.text)  # of which direction the first heads are
    assert "4 identities: they check the computation and are no finding" in shown.text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("supported: own_path_error (noising)", ["own_path_error"]),
        ("see without_bos/heads.parquet and my_pairs.csv", []),
        ("in results/my_study/report.html", []),
        ("column ig_resolved.", ["ig_resolved"]),
    ],
)
def test_raw_keys_are_told_from_names_of_files(text, found) -> None:
    assert KEY.findall(text) == found


def test_numbers_are_ascii_and_nothing_stands_between_their_digits(shown) -> None:
    for sign in ("\N{MINUS SIGN}", "\N{EN DASH}", "\N{HYPHEN}"):
        assert not re.findall(rf".{{0,20}}{sign}\d.{{0,10}}", shown.text)
    for space in ("\N{NARROW NO-BREAK SPACE}", "\N{THIN SPACE}", "\N{NO-BREAK SPACE}"):
        assert not re.findall(rf"\d{space}\d", shown.text)
    assert not re.findall(r"\d,\d{3}(?!\d)", shown.text)
    cells = [cell for table in shown.tables for row in table.rows for cell in row[1:]]
    numbers = [cell for cell in cells if re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d\d)?", cell.strip())]
    assert len(numbers) > 200 and any(cell.startswith("-") for cell in numbers)
    assert all(isinstance(float(cell), float) for cell in numbers)


@pytest.mark.parametrize("value", [-1234567.25, -1e-7, 3.14159, 0.0, -0.0, 12, -3e8])
def test_a_number_is_read_back(value) -> None:
    assert float(html.number(value)) == pytest.approx(value, abs=6e-4)
    assert html.number(value) != "-0.000"
    assert int(html.count(value)) == int(value)


def test_the_identity_is_a_check_and_stands_with_exactness(shown, study) -> None:
    results = report.load_results("made-up", study, SETTINGS)
    claim, exact = Shown(report.claims(results)), Shown(report.exactness(results))
    statement = "The integral of the gradient along the head's own path"
    assert statement not in claim.text and statement in exact.text
    assert "it checks the computation, is no finding" in claim.text
    (table,) = [one for one in exact.tables if one.header[0] == "identity"]
    assert {row[1] for row in table.rows} == {"noising", "denoising"}
    assert {row[-1] for row in table.rows} == {"yes"} and len(table.rows) == 8
    assert "it checks the computation, is no finding" in Shown(report.headline(results, "t")).text


def test_a_broken_identity_is_told(study) -> None:
    results = report.load_results("made-up", study, SETTINGS)
    broken = results.claims.copy()
    broken.loc[broken["quantity"] == "own_path_error", ["estimate", "verdict"]] = [0.5, "refuted"]
    page = Shown(report.exactness(replace(results, claims=broken)))
    (table,) = [one for one in page.tables if one.header[0] == "identity"]
    assert [row[-1] for row in table.rows].count("no") == 2


def test_a_p_that_contradicts_its_interval_is_explained(study) -> None:
    results = report.load_results("made-up", study, SETTINGS)
    said = "Where p and interval seem to contradict each other"
    rows = results.correlations.copy()
    wanted = (rows["measure"] == "output_range") & (rows["scope"] == "study")

    def page(low: float, high: float, p: float) -> str:
        changed = rows.copy()
        changed.loc[:, ["ci_low", "ci_high", "p_permutation"]] = [0.2, 0.4, 0.001]
        changed.loc[wanted, ["ci_low", "ci_high", "p_permutation"]] = [low, high, p]
        return Shown(report.relations(replace(results, correlations=changed))).text

    assert said in page(-0.1, 0.5, 0.001) and said in page(0.1, 0.5, 0.4)
    assert "p and interval ask different questions" in page(-0.1, 0.5, 0.001)
    assert said not in page(0.1, 0.5, 0.001) and said not in page(-0.1, 0.5, 0.4)
    assert said not in page(float("nan"), float("nan"), 0.001)


def test_claims_explain_it_too_and_areas_have_another_zero(study) -> None:
    results = report.load_results("made-up", study, SETTINGS)
    said = "Where p and interval seem to contradict each other"
    table = results.claims.copy()
    table.loc[:, ["ci_low", "ci_high", "p_value"]] = [0.6, 0.8, 0.001]

    def page(name: str, low: float, high: float, p: float) -> str:
        changed = table.copy()
        changed.loc[changed["quantity"] == name, ["ci_low", "ci_high", "p_value"]] = [low, high, p]
        return Shown(report.claims(replace(results, claims=changed))).text

    assert said in page("returning", -0.1, 0.5, 0.001)
    assert said in page("auc_abs_ap", 0.4, 0.6, 0.001)
    assert said not in page("auc_abs_ap", 0.6, 0.7, 0.001)
    assert said not in page("returning", 0.1, 0.7, 0.001)
