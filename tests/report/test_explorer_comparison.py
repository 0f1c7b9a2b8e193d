"""The explorer on the page that compares studies, and that of a study with an atlas."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from counterpoint import report
from counterpoint.counterfactuals.atlas.atlas_classes import has_pair
from counterpoint.report import comparison_page
from counterpoint.report.explorer.comparison_data import comparison_arrays
from counterpoint.report.explorer.quantised_curves import LEVELS, QuantisedCurves, restore
from counterpoint.report.html import number
from tests.helpers import browser
from tests.helpers.explorer_pages import READY, SETTINGS, Reader, cell, page_of, value, write_page
from tests.helpers.synthetic import Shape, make_atlas, write_study
from tests.report.test_comparison_page import tables_of

TASKS = (("one", "m"), ("2024", "m"), ("<b>three", "<i>other</i>"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("results")
    tables_of(made, TASKS, Shape(pairs=3))
    return made / "comparison"


@pytest.fixture(scope="module")
def compared(folder: Path) -> comparison_page.Comparison:
    return comparison_page.load_comparison(folder)


@pytest.fixture(scope="module")
def path(folder: Path, compared: comparison_page.Comparison) -> Path:
    names = ("headline", "explore", "studies", "heads")
    parts = [
        comparison_page.headline(compared, "Studies"),
        *(getattr(comparison_page, name)(compared) for name in names[1:]),
        report.glossary(compared.metrics),
    ]
    return write_page(folder / "report.html", parts)


@pytest.fixture
def opened(chromium: browser.Browser, path: Path) -> Iterator[browser.Opened]:
    with chromium.opened(path) as one:
        one.page.wait_for_selector(READY)
        yield one
        assert one.said == []
        assert one.asked == [path.as_uri()]


def test_values_are_those_of_the_table(compared) -> None:
    header, arrays = comparison_arrays(compared, "m")
    assert [one["name"] for one in header["pairs"]] == ["one", "2024"]
    assert header["pairs_in_all"] == 2 and header["directions"] == ["noising", "denoising"]
    rows = compared.heads[compared.heads["model"] == "m"].set_index(
        ["direction", "study", "layer", "head"]
    )
    places = list(zip(arrays["layer"].tolist(), arrays["head"].tolist(), strict=True))
    columns = {one["key"]: one["column"] for one in header["measures"]}
    assert columns["ap"] == "mean" and set(columns) == {
        "share", "ap", "mean_absolute", "rank", "top_k_share"
    }  # fmt: skip
    for key, column in columns.items():
        for d, direction in enumerate(header["directions"]):
            for s, study in enumerate(("one", "2024")):
                exact = [rows.loc[(direction, study, *place), column] for place in places]
                np.testing.assert_array_equal(arrays[f"values.{key}"][d, s], np.float32(exact))
    first = rows.loc["noising"].groupby(["layer", "head"])["studies_in_top_k"].first()
    np.testing.assert_array_equal(arrays["first_in"], [first[place] for place in places])
    best = places[int(np.flatnonzero(arrays["rank"] == 1)[0])]
    assert first[best] == first.max()


def test_curves_are_means_over_the_pairs(folder, compared) -> None:
    header, arrays = comparison_arrays(compared, "m")
    assert header["curves"]["pairs"] == [0, 1] and header["curves"]["over"] == [3, 3]
    found = restore(QuantisedCurves(arrays["f.ends"], arrays["f.steps"])).reshape(2, 2, 12, 50)
    for place, name in enumerate(("one", "2024")):
        stored = load_file(folder.parent / name / "curves.safetensors")["output"]
        start = pd.read_parquet(folder.parent / name / "baseline.parquet")
        begin = start[["metric_clean", "metric_corrupted"]].to_numpy()[:, :, None, None, None]
        exact = (stored - begin).mean(axis=0).reshape(2, 12, 50)
        span = np.ptp(exact, axis=-1)[..., None]
        assert (np.abs(found[place] - exact) <= span / (2 * LEVELS) + 1e-6).all()


def test_the_best_pair_is_the_one_of_the_largest_effect(folder, compared) -> None:
    header, arrays = comparison_arrays(compared, "m")
    table = pd.read_parquet(folder.parent / "one" / "heads.parquet")
    for place, (layer, head) in enumerate(zip(arrays["layer"], arrays["head"], strict=True)):
        own = table[(table["layer"] == layer) & (table["head"] == head)]
        best = own.loc[own["ap"].abs().idxmax()]
        assert arrays["best.pair"][0, place] == best["pair"]
        assert header["directions"][arrays["best.direction"][0, place]] == best["direction"]
        assert arrays["best.ap"][0, place] == np.float32(best["ap"])
    told = {one["number"] for one in header["pairs"][0]["shown"]}
    assert told == set(arrays["best.pair"][0].tolist())


def test_without_the_studies_files_the_numbers_stand(tmp_path) -> None:
    tables_of(tmp_path, TASKS[:1], Shape(pairs=1, directions=("denoising",)))
    for name in ("heads.parquet", "pairs.parquet", "curves.safetensors"):
        (tmp_path / "one" / name).unlink()
    compared = comparison_page.load_comparison(tmp_path / "comparison")
    header, arrays = comparison_arrays(compared, "m")
    assert header["curves"]["pairs"] == [] and header["pairs"][0]["shown"] == []
    assert (arrays["best.pair"] == -1).all() and np.isfinite(arrays["values.share"]).all()


def test_from_a_head_to_its_rank_curve_and_pair_in_every_task(opened, folder) -> None:
    reader = Reader(opened.page)
    shown = reader.find("3.2")
    rows = pd.read_csv(folder / "heads.csv", dtype={"study": str})
    rows = rows[(rows["model"] == "m") & (rows["layer"] == 3) & (rows["head"] == 2)]
    rows = rows.set_index(["study", "direction"])
    lines = shown.locator(".explorer-tasks tbody tr")
    for place, key in enumerate(itertools.product(("one", "2024"), ("noising", "denoising"))):
        row = rows.loc[key]
        cells = lines.nth(place).locator("td").all_inner_texts()
        assert cells == [key[1], str(row["rank"]), number(row["mean"]), number(row["share"])]
        link = lines.nth(place).locator("a").get_attribute("href")
        assert link == f"../{key[0]}/report.html#explore?h=3.2&pin=3.2"
    drawn = shown.locator(".explorer-curves.noising .explorer-lines").first.get_attribute("d")
    assert drawn.count("M") == 2
    reader.choose("study", "1")
    assert value(shown, "share", "noising") == number(rows.loc[("2024", "noising"), "share"])
    assert shown.locator(".explorer-line").count() == 4
    table = pd.read_parquet(folder.parent / "2024" / "heads.parquet")
    own = table[(table["layer"] == 3) & (table["head"] == 2)]
    best = own.loc[own["ap"].abs().idxmax()]
    text = shown.inner_text()
    assert f"pair {best['pair']} of 3, {best['direction']}: AP {number(best['ap'])}" in text
    pairs = pd.read_parquet(folder.parent / "2024" / "pairs.parquet").set_index("pair")
    prompt = shown.locator(".explorer-prompts code").first.inner_text()
    assert prompt == pairs["clean"][best["pair"]]


def test_the_map_of_heads_by_studies(opened, folder) -> None:
    page = opened.page
    rows = pd.read_csv(folder / "heads.csv", dtype={"study": str})
    rows = rows[(rows["model"] == "m") & (rows["direction"] == "denoising")]
    page.get_by_label("direction", exact=True).select_option("denoising")
    box = page.locator(".explorer-task-map")
    box.locator("summary").click()
    box.get_by_role("button", name="copy as CSV").click()
    copied = pd.read_csv(io.StringIO(opened.clipboard()), dtype={"head": str}).set_index("head")
    shares = rows.assign(
        name=[f"{a}.{b}" for a, b in zip(rows["layer"], rows["head"], strict=True)]
    )
    shares = shares.pivot_table(index="name", columns="study", values="share")
    assert len(copied) == 12
    np.testing.assert_allclose(
        copied[["one", "2024"]], shares.loc[copied.index, ["one", "2024"]], rtol=1e-6
    )
    sizes = shares.abs().max(axis=1).loc[copied.index]
    assert (sizes.diff().dropna() <= 1e-9).all()
    box.get_by_role("button", name=copied.index[2], exact=True).click()
    assert Reader(page).card(copied.index[2]).is_visible()


def test_lines_of_pandas_give_the_map(opened, folder, monkeypatch) -> None:
    page = opened.page
    (folder.parent / "results").mkdir(exist_ok=True)
    link = folder.parent / "results" / "comparison"
    if not link.exists():
        link.symlink_to(folder)
    monkeypatch.chdir(folder.parent)
    for measure, direction, study in (("share", "noising", "mean"), ("ap", "difference", "1")):
        page.get_by_label("measure", exact=True).select_option(measure)
        page.get_by_label("direction", exact=True).select_option(direction)
        page.get_by_label("study", exact=True).select_option(study)
        page.get_by_role("button", name="copy map as CSV").click()
        mapped = pd.read_csv(io.StringIO(opened.clipboard())).set_index(["layer", "head"])
        page.get_by_role("button", name="copy as pandas").click()
        names: dict[str, object] = {}
        exec(opened.clipboard(), names)
        values = names["values"].reset_index().set_index(["layer", "head"]).iloc[:, -1]
        np.testing.assert_allclose(mapped[measure], values.reindex(mapped.index), rtol=1e-5)


def test_models_have_explorers_of_their_own(chromium, path, opened) -> None:
    page = opened.page
    page.get_by_label("study", exact=True).select_option("1")
    assert "t=2024" in page.url and "model=m" in page.url
    page.get_by_label("model", exact=True).select_option("<i>other</i>")
    heads = page.locator(".explorer-task-table thead th")
    heads.filter(has_text="<b>three").wait_for()
    assert heads.all_inner_texts() == ["head", "<b>three"]
    Reader(page).find("1.1")
    with chromium.opened(path, page.url[page.url.index("#") :]) as again:
        again.page.wait_for_selector(READY)
        assert again.page.get_by_label("model", exact=True).input_value() == "<i>other</i>"
        assert again.page.locator("article.pinned").get_attribute("data-head") == "1.1"
        # From a head's name in a table of the other model, back to its card.
        fold = again.page.locator("[data-model='m'] details").first
        fold.locator("summary").first.click()
        fold.locator("a.explorer-go").first.click()
        again.page.locator(".explorer-task-table thead").get_by_text("2024").wait_for()
        again.page.locator("article.pinned").wait_for()
        assert again.page.get_by_label("model", exact=True).input_value() == "m"
        assert again.said == []


@pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (1280, True), (390, False)], ids=["light", "dark", "narrow"]
)
def test_axe_finds_nothing(chromium, path, width, dark) -> None:
    with chromium.opened(path, "#explore?pin=3.2&h=3.2&t=one", width=width, dark=dark) as one:
        one.page.wait_for_selector(READY)
        for _ in range(2):  # folds make others when they open
            one.open_folds()
            one.page.wait_for_timeout(100)
        assert one.findings() == []
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
        assert one.said == []


def test_where_no_share_is_known_the_rest_is_shown(chromium, tmp_path) -> None:
    tables = tables_of(tmp_path, TASKS[:2], Shape(pairs=1, layers=2, heads=2))
    path = tmp_path / "comparison" / "heads.csv"
    tables["heads"].assign(share=np.nan).to_csv(path, index=False)
    compared = comparison_page.load_comparison(path.parent)
    page = write_page(path.parent / "report.html", [comparison_page.explore(compared)])
    with chromium.opened(page) as one:
        one.page.wait_for_selector(READY)
        shown = Reader(one.page).find("1.1")
        assert shown.locator(".explorer-tasks tbody tr").count() == 4
        assert "undefined" not in shown.inner_text() and "NaN" not in shown.inner_text()
        assert one.page.get_by_label("measure", exact=True).input_value() == "ap"
        assert one.said == []


def test_without_scripts_the_page_stands(chromium, path) -> None:
    with chromium.opened(path, java_script_enabled=False) as one:
        assert one.page.locator("#explorer").is_hidden()
        assert one.page.locator("#explorer-note").is_visible()
        assert one.page.locator("main table").count() > 2


@pytest.fixture(scope="module")
def atlas_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(tmp_path_factory.mktemp("atlas"), Shape(pairs=2))
    make_atlas().to_parquet(folder / "atlas.parquet", index=False)
    return page_of(folder, settings=SETTINGS, sections=("atlas",))


def test_the_atlas_is_mapped_and_leads_to_cards(chromium, atlas_page) -> None:
    atlas = pd.read_parquet(atlas_page.parent / "atlas.parquet")
    known = atlas[has_pair(atlas)].set_index(["layer", "head"])
    with chromium.opened(atlas_page) as one:
        page = one.page
        page.wait_for_selector(READY)
        for name in ("rank", "margin", "ld_change", "perplexity"):
            page.get_by_label("measure", exact=True).select_option(f"atlas.{name}")
            page.get_by_role("button", name="copy map as CSV").click()
            copied = pd.read_csv(io.StringIO(one.clipboard())).set_index(["layer", "head"])
            assert list(copied.columns) == [f"atlas.{name}"] and len(copied) == 12
            np.testing.assert_array_equal(
                np.float32(copied.dropna()[f"atlas.{name}"]), np.float32(known[name])
            )
        # From the map below to the list, which opens, from there to the head's card with its pair.
        page.locator("a.cell[href='#atlas-1-0']").click()
        page.locator("#atlas-1-0 a.explorer-go").click()
        shown = Reader(page).card("1.0")
        assert "atlas: LD change 3.000, rank 1 of 12" in shown.inner_text()
        assert shown.locator(".explorer-composed mark").all_inner_texts() == [
            "<i>baker</i>", "<i>poet</i>"
        ]  # fmt: skip
        assert cell(shown, "ap", "noising").is_visible()
        assert one.said == [] and one.asked == [atlas_page.as_uri()]


def test_the_atlas_list_sorts_over_all_layers(chromium, atlas_page) -> None:
    with chromium.opened(atlas_page) as one:
        page = one.page
        page.wait_for_selector(READY)
        page.get_by_text("Pairs of 10 heads").click()
        fold = page.locator("details", has=page.locator("#atlas-1-0"))
        fold.locator(".table-tools summary").click()
        fold.get_by_label("Sort by").select_option(label="LD change")
        fold.get_by_role("button", name="copy as CSV").click()
        copied = pd.read_csv(io.StringIO(one.clipboard()), dtype={"head": str})
        assert copied["LD change"].tolist() == sorted(copied["LD change"], reverse=True)
        assert len(copied) == 10
        text = "clean and corrupted prompt"
        assert copied[text][0] == (
            "The <i>baker</i> opened $the$ door | The <i>poet</i> opened $the$ door"
        )
        # The map itself is copied as it is.
        page.locator("table.atlas").locator(
            "xpath=../preceding-sibling::details[1]/summary"
        ).click()
        page.get_by_role("button", name="copy as TSV").last.click()
        assert one.said == []
