"""AP of a head is one number on the page: heads.parquet's mean over the pairs that are named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from counterpoint import report
from counterpoint.report.section_parts import means_over, named_pairs
from counterpoint.statistics.beginning_agreement import agreement
from counterpoint.statistics.variance_components import variance_components
from tests.helpers.page_tables import Shown, ShownTable
from tests.helpers.synthetic import QUICK, Shape, make_positions, write_study

SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "metric": "logit_difference",
    "prepend_bos": "both",
    "statistics": {"floor": 1e-4, "top_k": 5, "bootstrap_samples": 50},
    "report": {"heads_shown": 3, "heads": []},
}
N_PAIRS = 6
KEYS = ["pair", "direction", "layer", "head"]


def whole_study(folder: Path) -> Path:
    """A study in which each table is on other pairs: the first, the first two, those chosen."""
    write_study(folder, Shape(pairs=N_PAIRS))
    heads = pd.read_parquet(folder / "heads.parquet")
    pairs = pd.read_parquet(folder / "pairs.parquet")
    pairs = pairs.assign(template=["a", "a", "b", "b", "c", "c"])
    pairs.to_parquet(folder / "pairs.parquet", index=False)
    variance_components(
        heads.assign(template=heads["pair"].map(dict(enumerate(pairs["template"])))),
        settings=QUICK,
    ).to_csv(folder / "variance.csv", index=False)

    gap = heads.assign(gap=(heads["ig_joint"] - heads["ap"]).abs())
    chosen = gap.sort_values("gap", ascending=False).groupby(["pair", "direction"]).head(2)
    rows = [
        {
            **{name: row[name] for name in (*KEYS, "ap", "ig_joint")},
            "ig_own": row["ap"],
            "partner": partner,
            "interaction": (row["ig_joint"] - row["ap"]) * share,
            "remainder": 0.1 * (row["ig_joint"] - row["ap"]),
        }
        for row in chosen.to_dict("records")
        for partner, share in zip(
            [h for h in range(3) if h != row["head"]], (0.6, 0.3), strict=True
        )
    ]
    pd.DataFrame(rows).to_parquet(folder / "interaction.parquet", index=False)

    positions = make_positions(Shape(pairs=1))
    joint = heads.set_index(KEYS)["ap"].rename("known")
    positions = positions.join(joint, on=KEYS)
    positions["ap_joint"] = positions["known"].fillna(positions["ap_joint"])
    positions.drop(columns="known").to_parquet(folder / "positions.parquet", index=False)

    first_two = heads[heads["pair"] < 2][[*KEYS, "ap"]]
    shares = {"query": 0.25, "key": 0.125, "value": 0.5, "pattern": 0.5, "output": 1.0}
    roles = [
        first_two.assign(role=role, ap=share * first_two["ap"]) for role, share in shares.items()
    ]
    pd.concat(roles).to_parquet(folder / "roles.parquet", index=False)

    (folder / "without_bos").mkdir()
    without = heads.assign(ap=0.5 * heads["ap"] + 0.01)
    without.to_parquet(folder / "without_bos" / "heads.parquet", index=False)
    agreement(heads, without, settings=QUICK).to_csv(
        folder / "without_bos" / "agreement.csv", index=False
    )
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> report.Results:
    return report.load_results("s", whole_study(tmp_path_factory.mktemp("words")), SETTINGS)


NOTEBOOK = Path(__file__).parents[2] / "reports" / "report.ipynb"
SECTIONS = re.findall(r"report\.(\w+)\(results", NOTEBOOK.read_text(encoding="utf-8"))
"""Every section of the page, so that none that is new is left out."""


def page_of(section: str, results: report.Results) -> object:
    return getattr(report, section)(results, *(["A title"] if section == "headline" else []))


AP = re.compile(r"^AP\b(?! normalised| without)|\(AP\)")
NAMED = re.compile(
    r"all (?P<all>\d+) pairs|the first (?P<first>\d+) of (?P<of>\d+) pairs|pair (?P<one>\d+) of \d+"
)


def pairs_of(column: str, table: ShownTable) -> list[int]:
    """The pairs that a column's header, or else the table's caption, names."""
    found = NAMED.search(column) or NAMED.search(table.caption)
    assert found, f"no pairs are named for {column!r}; the caption is {table.caption!r}"
    if found["one"] is not None:
        return [int(found["one"])]
    if found["all"] is not None:
        assert int(found["all"]) == N_PAIRS
        return list(range(N_PAIRS))
    assert int(found["of"]) == N_PAIRS
    return list(range(int(found["first"])))


def direction_of(column: str, row: list[str], table: ShownTable) -> str:
    """The direction that a column, a row or the caption's first word names."""
    for said in (column, *row[1:3], table.caption):
        found = re.search(r"\b(noising|denoising)\b", said.lower())
        if found and "both" not in said:
            return found[1]
    raise AssertionError((column, row, table.caption))


def values_of_ap(page: object) -> list[tuple[str, float, list[int], str, int]]:
    """Every value labelled AP of a head: the head, the value, its pairs, direction and digits."""
    found = []
    for table in Shown(page).tables:
        if table.header[0] not in ("head", "output of"):
            continue
        for place, column in enumerate(table.header):
            if not AP.search(column):
                continue
            pairs = pairs_of(column, table)
            for row in table.rows:
                head = row[0].removeprefix("head ")
                if not re.fullmatch(r"\d+\.\d+", head) or any("both" in cell for cell in row[1:2]):
                    continue
                text = row[place].split()[0]
                digits = len(text.partition(".")[2]) if "e" not in text else 12
                direction = direction_of(column, row, table)
                found.append((head, float(text), pairs, direction, digits))
    return found


LEAST = {
    "headline": 10, "heads": 20, "curves": 8, "reasons": 7, "positions": 6, "roles": 24,
    "templates": 10, "without_bos": 12,
}  # fmt: skip
"""How many values these sections show at least, so that none passes by showing none."""


def test_the_sections_are_those_of_the_notebook() -> None:
    assert len(SECTIONS) > 25 and set(LEAST) <= set(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_called_ap_of_a_head_is_its_mean_over_the_named_pairs(results, section) -> None:
    heads = results.heads.assign(
        name=results.heads["layer"].astype(str) + "." + results.heads["head"].astype(str)
    )
    shown = values_of_ap(page_of(section, results))
    assert len(shown) >= LEAST.get(section, 0), section
    for name, value, pairs, direction, digits in shown:
        own = heads[(heads["name"] == name) & (heads["direction"] == direction)]
        expected = own.loc[own["pair"].isin(pairs), "ap"].mean()
        near = max(0.51 * 10.0**-digits, 0.06 * abs(expected) if digits == 12 else 0.0)
        assert value == pytest.approx(expected, abs=near), (section, name, direction, pairs)


def test_the_split_of_a_disagreement_is_named_and_ordered(results) -> None:
    (table, *_) = [
        one for one in Shown(report.reasons(results)).tables if "looked at on" in one.header
    ]
    means = results.means
    sizes = []
    for row in table.rows:
        layer, head = map(int, row[0].split("."))
        mean = means[row[1], layer, head]
        assert row[4] == f"{mean['ig_joint'] - mean['ap']:.3f}".replace("-0.000", "0.000")
        own = results.interaction[
            (results.interaction["direction"] == row[1])
            & (results.interaction["layer"] == layer)
            & (results.interaction["head"] == head)
        ]
        assert row[5] == f"{own['pair'].nunique()} of {N_PAIRS}"
        alone = own.drop_duplicates("pair")
        assert float(row[6]) == pytest.approx((alone["ig_joint"] - alone["ap"]).mean(), abs=6e-4)
        sizes.append(abs(mean["disagreement"]))
    assert sizes == sorted(sizes, reverse=True)
    assert len({row[5] for row in table.rows}) > 1
    assert "by the size of IG joint − AP over all pairs" in table.caption
    assert "which were taken because the difference is large" in table.caption


def test_pairs_are_named(results) -> None:
    assert named_pairs(results, range(N_PAIRS)) == f"all {N_PAIRS} pairs"
    assert named_pairs(results, [1, 0, 1]) == f"the first 2 of {N_PAIRS} pairs"
    assert named_pairs(results, [3, 1]) == f"2 of {N_PAIRS} pairs"
    assert named_pairs(results, np.array([2])) == f"pair 2 of {N_PAIRS}"
    assert means_over(results, [4]) == f"on pair 4 of {N_PAIRS}"
    assert means_over(results, [0, 1]) == f"mean over the first 2 of {N_PAIRS} pairs"


def test_skewed_ranks_are_told_by_median_and_range(results, tmp_path) -> None:
    folder = write_study(tmp_path, Shape(pairs=8, layers=8, heads=16))
    heads = pd.read_parquet(folder / "heads.parquet")
    wanted = [3, 3, 4, 4, 5, 10, 14, 112]
    ap = np.empty(len(heads))
    for (pair, _), own in heads.groupby(["pair", "direction"]):
        others = [n for n in range(1, 129) if n != wanted[pair]]
        ranks = np.array([wanted[pair], *others])
        ap[own.index] = 2.0 - 0.01 * ranks
    heads.assign(ap=ap).to_parquet(folder / "heads.parquet", index=False)
    statistics = SETTINGS["statistics"] | {"top_k": 30}
    asked = SETTINGS | {"prepend_bos": True, "statistics": statistics}
    study = report.load_results("s", folder, asked)
    place = study.places[0, 0]
    assert place["mean_rank"] == pytest.approx(np.mean(wanted))
    (table, *_) = Shown(report.heads(study)).tables
    column = table.header.index("rank by |AP|: median [best, worst]")
    row = next(row for row in table.rows if row[0] == "0.0")
    assert row[column] == "4.5 [3, 112]"
    assert row[table.header.index("mean rank")] == "19.4"
