"""The report: whole, offline, escaped, with or without the optional files, without torch."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from papermill.exceptions import PapermillExecutionError
from tokenizers import Tokenizer, models, pre_tokenizers

from counterpoint import report
from counterpoint.errors import UserError
from counterpoint.figures import curve_figures, study_figures, theme
from counterpoint.files.artifacts import write_arrays, write_table
from counterpoint.glossary import WORDS
from counterpoint.measures.pattern_arrays import AttentionPatterns, file_arrays
from counterpoint.report import html, validation_section
from counterpoint.report.doubtful_pairs_section import doubtful_rows, doubts_of
from counterpoint.report.prompt_tokens import Tokens
from counterpoint.report.render import KERNEL, contents, notebook_to_html
from tests.helpers.synthetic import (
    ARCHIVE_COLUMNS,
    Shape,
    make_atlas,
    make_position_curves,
    make_positions,
    write_full_validation,
    write_generated,
    write_study,
)

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "reports" / "report.ipynb"
CARD = ROOT / "resources" / "pairs" / "capital-country.md"
SETTINGS: dict[str, Any] = {
    "model": "tiny <model>",
    "metric": "logit_difference",
    "statistics": {"floor": 1e-4, "top_k": 5, "bootstrap_samples": 50},
    "report": {"heads_shown": 3, "heads": [[0, 1]]},
}


class Page(HTMLParser):
    """What a page loads, links to, names and shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.alts: list[str | None] = []
        self.handlers: list[str] = []
        self.text = ""
        self._silent = 0
        self.feed(str(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self.handlers += [name for name in named if name.startswith("on")]
        if "id" in named:
            self.ids.append(str(named["id"]))
        if tag == "a":
            self.links.append(str(named.get("href")))
        elif "href" in named:
            self.loads.append(str(named["href"]))
        self.loads += [str(named[name]) for name in ("src", "srcset", "data") if name in named]
        if tag == "img":
            self.alts.append(named.get("alt"))
        self._silent += tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data


def draw(folder: Path) -> None:
    figures = study_figures.draw_figures(
        pd.read_parquet(folder / "heads.parquet"),
        pd.read_parquet(folder / "baseline.parquet"),
        curve_figures.read_curves(folder / "curves.safetensors", ["noising", "denoising"]),
        pd.read_csv(folder / "correlations.csv"),
        pd.read_csv(folder / "stability.csv"),
        floor=1e-4,
    )
    for name, figure in figures.items():
        theme.save_figure(figure, folder / "figures", name)


NO_TORCH = "import sys; assert 'torch' not in sys.modules; print('no torch')"


def render(folder: Path, notebook: Path = NOTEBOOK) -> str:
    parameters = {
        "study": "made-up",
        "folder": str(folder),
        "title": "A <b>title</b>",
        "settings": SETTINGS,
        "card": str(CARD),
    }
    report.render_report(notebook, parameters, folder / "report.ipynb", folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(tmp_path_factory.mktemp("study"))
    write_generated(folder)
    make_atlas().to_parquet(folder / "atlas.parquet", index=False)
    draw(folder)
    return folder


@pytest.fixture(scope="module")
def seconds_and_page(study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[float, str]:
    copied = tmp_path_factory.mktemp("copy") / "reports"
    shutil.copytree(NOTEBOOK.parent, copied)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(NO_TORCH))
    nbformat.write(notebook, copied / NOTEBOOK.name)
    begun = time.monotonic()
    page = render(study, copied / NOTEBOOK.name)
    return time.monotonic() - begun, page


@pytest.fixture(scope="module")
def page(seconds_and_page: tuple[float, str]) -> str:
    return seconds_and_page[1]


def sections_of(folder: Path) -> report.Results:
    return report.load_results("made-up", folder, SETTINGS)


def test_rebuilds_within_thirty_seconds(seconds_and_page):
    assert seconds_and_page[0] < 30


def test_loads_nothing_from_anywhere(page):
    read = Page(page)
    assert read.loads and all(load.startswith("data:image/") for load in read.loads)
    assert not {"link", "iframe", "object", "embed", "base"} & set(read.tags)
    assert read.tags.count("script") == 2  # the explorer and its data, neither from elsewhere
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert "default-src 'none'" in page
    assert not [link for link in read.links if not link.startswith("#")]


def test_embedded_figures_load_nothing_either(study):
    for path in (study / "figures").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<(script|foreignObject|style[^>]*>\s*@import)", text)
        loads = re.findall(r'(?:xlink:href|href|src)="([^"]*)"', text)
        assert all(load.startswith(("#", "data:image/png")) for load in loads)


def test_prompts_are_shown_and_never_become_markup(page):
    read = Page(page)
    assert "<script>alert(1)</script> and $x_1$" in read.text
    assert "<script>alert('dropped')</script> $" in read.text
    assert "<img src=x onerror=alert(1)>" in read.text  # in the provenance
    assert "A <b>title</b>" in read.text and "tiny <model>" in read.text
    assert read.tags.count("script") == 2 and not read.handlers  # the explorer and its data
    assert "<mark>$x_1$</mark>" in page and "<mark>&lt;i&gt;y&lt;/i&gt;</mark>" in page


def test_the_pair_sets_card_is_shown_and_never_becomes_markup(page, study, tmp_path):
    text = Page(page).text
    for line in ("All 120 pairs (100 %)", "# Capital and country"):
        assert line in CARD.read_text(encoding="utf-8") and line in text
    (tmp_path / "card.md").write_text("<script>alert(2)</script> & <b>so on</b>")
    results = report.load_results("made-up", study, SETTINGS, card=tmp_path / "card.md")
    read = Page(report.pairs(results))
    assert "<script>alert(2)</script> & <b>so on</b>" in read.text
    assert "script" not in read.tags and "b" not in read.tags
    assert "data card" not in Page(report.pairs(sections_of(study))).text


def test_every_link_leads_somewhere_and_ids_are_unique(page):
    read = Page(page)
    assert len(read.ids) == len(set(read.ids))
    assert {link.removeprefix("#") for link in read.links} <= set(read.ids)
    assert {f"word-{key}" for key in WORDS} <= set(read.ids)


def test_contents_list_the_sections_in_order(page):
    nav = page[page.index("<nav") : page.index("</nav>")]
    body = page[page.index("</nav>") :]
    assert re.findall(r'href="#([^"]*)"', nav) == re.findall(r'<h2 id="([^"]*)"', body)


ODD_TEXTS = ["None", "null", "NA", "nan", "007", "1.0", "TRUE", "<i>NA</i>"]


def test_texts_that_look_like_nothing_are_shown_as_they_are(tmp_path):
    """In pairs, in dropped rows and in doubts: as cells of their own."""
    folder = write_study(tmp_path, Shape(pairs=len(ODD_TEXTS), layers=1, heads=2))
    pairs = pd.read_parquet(folder / "pairs.parquet")
    texts = dict.fromkeys(("clean", "corrupted", "correct", "incorrect"), ODD_TEXTS)
    texts["corrupted"] = [f"{text} {text}" for text in ODD_TEXTS]
    pairs.assign(**texts).to_parquet(folder / "pairs.parquet")
    rows = pd.DataFrame({"row": range(1, 9), **texts, "reason": ODD_TEXTS})
    write_table(rows, folder / "dropped.csv")
    doubts = rows[["row"]].assign(
        pair=rows["row"] - 1, kind="joined", text=ODD_TEXTS, rows=len(rows)
    )
    write_table(doubts, folder / "warnings.csv")
    results = sections_of(folder)
    for part in (report.pairs(results), report.dropped(results)):
        assert "i" not in Page(part).tags
        for text in ODD_TEXTS:
            shown = re.findall(rf">{re.escape(str(html.Fragment.escape(text)))}<", part)
            # Clean prompt, both answers, and the reason or what was doubtful.
            assert len(shown) >= 4, (text, len(shown))
    head = Page(report.headline(results, "t")).text
    assert "Doubtful pairs" in head and "8 of 8 pairs, rows 1-8" in head


def test_doubts_stand_at_the_beginning_and_where_the_pairs_are(study, tmp_path):
    assert "Doubtful" not in report.headline(sections_of(study), "t")
    assert doubtful_rows(sections_of(study)) == ""
    folder = tmp_path / "doubtful"
    shutil.copytree(study, folder)
    pd.DataFrame(
        {"row": [1, 1, 3], "pair": [0, 0, 2], "kind": "joined", "text": "<b>seen</b>", "rows": 4}
    ).to_csv(folder / "warnings.csv", index=False)
    baseline = pd.read_parquet(folder / "baseline.parquet")
    baseline.assign(
        logit_difference_clean=-1.0, logit_difference_corrupted=[-2.0, -1.0, -2.0, -2.0]
    ).to_parquet(folder / "baseline.parquet")
    results = sections_of(folder)
    head = Page(report.headline(results, "t")).text
    assert "2 of 4 pairs, rows 1, 3: an answer would join the prompt's last word" in head
    assert "4 of 4 pairs, rows 1-4: the model prefers the incorrect answer" in head
    assert "1 of 4 pairs, row 2: the logit difference on the corrupted prompt" in head
    listed = Page(report.pairs(results))
    assert "<b>seen</b>" in listed.text and "b" not in listed.tags and "doubts" in listed.ids
    assert "4 doubtful pairs: which, and why" in listed.text
    told = doubts_of(folder, "s")
    assert [line.split(":")[1] for line in told] == [
        " 2 of 4 pairs, rows 1, 3", " 4 of 4 pairs, rows 1-4", " 1 of 4 pairs, row 2"
    ]  # fmt: skip


def test_columns_of_the_pair_file_may_have_any_name(study, tmp_path):
    folder = tmp_path / "columns"
    shutil.copytree(study, folder)
    own = ("metric_clean", "metric_corrupted", "right", "logit_difference_clean", "score", "head")
    pairs = pd.read_parquet(folder / "pairs.parquet")
    pairs.assign(**dict.fromkeys(own, "mine")).to_parquet(folder / "pairs.parquet")
    assert report.pairs(sections_of(folder)) == report.pairs(sections_of(study))


def test_what_an_earlier_configuration_left_is_not_in_the_report(study, tmp_path):
    folder = tmp_path / "left"
    shutil.copytree(study, folder)
    for kind in ("counterfactuals", "methods"):
        shutil.rmtree(folder / kind, ignore_errors=True)
    write_generated(folder, methods=("descent", "fluent"))
    write_table(make_atlas(layers=1), folder / "atlas.parquet")
    mlps = pd.DataFrame({"pair": [0], "direction": "noising", "layer": [0], "ap": [0.5]})
    write_table(mlps.assign(output_range=1.0), folder / "mlps.parquet")
    methods = pd.DataFrame({"scope": ["method"], "method": ["descent"], "measure": ["seconds"],
                            "median": [1.0], "smallest": [1.0], "largest": [1.0]})  # fmt: skip
    write_table(methods, folder / "methods" / "methods.csv")
    compared = {"model": "another", "pairs": "x", "counterfactuals": {"seeds": [0]}}

    def shown(**settings: Any) -> tuple[list[tuple[str, list[str], list[str]]], list[bool]]:
        found = report.load_results("made-up", folder, SETTINGS | settings)
        generated = [(one.name, list(one.methods), list(one.traces)) for one in found.generated]
        optional = (found.mlps, found.atlas, found.methods)
        return generated, [table is not None for table in optional]

    both = ["descent", "fluent"]
    assert shown() == ([("0.1", both, both), ("3.2", both, both)], [True, True, True])
    (folder / "methods" / "settings.json").write_text(json.dumps(compared))
    searches: dict[str, Any] = {"targets": [[3, 2]], "methods": ["fluent"], "atlas": {"seeds": []}}
    assert shown(components=["head"], counterfactuals=searches) == (
        [("3.2", ["fluent"], ["fluent"])], [False, False, False]
    )  # fmt: skip
    searches |= {"targets": [], "atlas": {"seeds": [0]}}
    assert shown(components=["head", "mlp"], counterfactuals=searches) == ([], [True, True, False])
    # Which heads are the first is known from the file that says so.
    (folder / "counterfactuals" / "targets.json").write_text("[[0, 1]]")
    searches["targets"] = {"top": 1}
    assert shown(counterfactuals=searches)[0] == [("0.1", ["fluent"], ["fluent"])]
    (folder / "methods" / "settings.json").write_text(
        json.dumps(compared | {"model": SETTINGS["model"], "counterfactuals": searches})
    )
    assert shown(counterfactuals=searches)[1][2]


def test_images_have_descriptions(page):
    alts = Page(page).alts
    assert len(alts) >= len(study_figures.FIGURES) and all(alts)


def test_headline_holds_the_key_numbers(page):
    text = Page(page[page.index("</nav>") :]).text
    assert "pair 0: 3.2588" in text and "pair 0: -4.4071" in text
    assert "correct answer preferred" in text and "heads below the floor of rounding" in text
    head = text.index("The heads that move the answer most")
    assert text.index("The three claims") > head


def test_code_is_hidden_in_the_page_but_kept_in_the_notebook(study, page):
    assert "load_results" not in Page(page).text
    executed = nbformat.read(study / "report.ipynb", as_version=4)
    nbformat.validate(executed)
    source = "\n".join(cell.source for cell in executed.cells)
    assert "load_results" in source and "made-up" in source
    assert executed.metadata["papermill"]["output_path"] == "report.ipynb"
    assert not [
        output
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


def test_the_shipped_notebook_has_no_outputs_and_one_parameters_cell():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert [tag for cell in code for tag in cell.metadata.get("tags", [])] == ["parameters"]


def test_every_figure_has_a_caption_for_snakemake():
    captions = {path.stem for path in (ROOT / "reports" / "captions").glob("*.rst")}
    assert set(study_figures.FIGURES) | {"report", "claims", "heads", "workflow"} <= captions


def test_optional_files_may_be_missing(study, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(study, bare)
    for name in (
        "correlations.csv",
        "claims.csv",
        "stability.csv",
        "sample_sizes.csv",
        "variance.csv",
        "provenance.json",
    ):
        (bare / name).unlink()
    (bare / "atlas.parquet").unlink()
    shutil.rmtree(bare / "counterfactuals")
    for path in (bare / "figures").iterdir():
        path.unlink()
    results = sections_of(bare)
    for part in (
        report.headline(results, "t"),
        report.heads(results),
        report.heat_maps(results),
        report.relations(results),
        report.curves(results),
        report.claims(results),
        report.stability(results),
        report.provenance(results),
    ):
        assert part
    assert "was not drawn" in report.heat_maps(results)
    for part in (report.reasons, report.extras, report.generated, report.atlas):
        assert part(results) == ""


def test_generated_pairs_are_marked_escaped_and_honest_about_failure(study):
    shown = report.generated(sections_of(study))
    read = Page(shown)
    assert read.ids[:1] == ["generated"] and "generated-3-2" in read.ids
    assert "The <i>capital</i> of $Spain$ 0 is" in read.text
    assert "<mark>$Spain$</mark>" in shown and "&lt;b&gt;Paris" in shown
    assert "No pair was found. in 40 model evaluations no <candidate> was left" in read.text
    assert "first on 1 of 8" in read.text and "Output curves of head 3.2" in str(read.alts)
    assert "2 more pairs" in read.text  # of eight, six are open
    assert "4.00 [3.00, 5.00]" in read.text  # best LD change of two searches: median and ends


def test_ranks_beyond_the_first_five_are_not_told_apart():
    shown = [validation_section.shown_rank(rank) for rank in (0, 1, 5, 6)]
    assert shown == ["same answer", "1", "5", "6 or more"]


def test_validation_is_told_in_words_and_escaped(study, tmp_path):
    folder = tmp_path / "validated"
    shutil.copytree(study, folder)
    write_full_validation(folder)
    shown = report.generated(sections_of(folder))
    text = re.sub(r"\s+", " ", Page(shown).text)
    assert "first on 1 of 3" in text
    assert "Transfer of pair 1 (descent) to 2 fresh contexts: the target is first in 1" in text
    assert "In 1 of the contexts both prompts go on with the same token" in text
    assert "Near <the> sea, $Spain$ is" in text and "<mark>$Spain$</mark>" in shown
    assert "same answer" in text
    assert "median rank is 9.0 and its median |AP| 0.125, against 2.0 and 1.000" in text
    # Head 0.1 has AP 1 and head 3.2 AP 11, the largest of 12, on the other's pair.
    assert "On the first pair that the same methods found for other heads (1 of them)" in text
    assert "an answer stands in a prompt; the text does not tokenise back" in text
    assert "differ by at most 1.0e-05" in text
    assert "fluency cap, 30.0" in text
    assert "<u>" not in shown and "1.<0>" not in shown
    assert {link.removeprefix("#word-") for link in Page(shown).links} <= set(WORDS)


def test_validated_pairs_stand_first(study, tmp_path):
    folder = tmp_path / "ordered"
    shutil.copytree(study, folder)
    archive = pd.read_parquet(folder / "counterfactuals" / "3.2" / "descent.parquet")
    least = archive.nsmallest(1, "ld_change")
    least[["method", "clean", "corrupted"]].assign(rank=3, margin=0.5).to_parquet(
        folder / "counterfactuals" / "3.2" / "validation.parquet"
    )
    text = Page(report.generated(sections_of(folder))).text
    body = text[text.index("margin") :]
    first = least["clean"].iloc[0]
    assert first in body
    assert all(
        body.index(first) <= body.index(other) for other in archive["clean"] if other in body
    )


def test_the_validation_has_the_columns_that_the_report_reads(study, tmp_path):
    from counterpoint.counterfactuals.validation.pair_validation import COLUMNS

    folder = tmp_path / "columns"
    shutil.copytree(study, folder)
    write_full_validation(folder)
    written = pd.read_parquet(folder / "counterfactuals" / "3.2" / "validation.parquet")
    assert set(written.columns) <= set(COLUMNS)


def test_methods_are_compared_where_their_table_is(study, tmp_path):
    folder = tmp_path / "methods"
    shutil.copytree(study, folder)
    (folder / "methods").mkdir()
    measures = ["ld_change_cap_0_5", "seconds", "unknown"]
    pd.DataFrame(
        {
            "scope": ["method"] * 3 + ["head"],
            "method": "<fluent>",
            "measure": [*measures, "seconds"],
            "median": [1.25, 12.4, 1, 7],
            "smallest": [0.5, 11, 1, 7],
            "largest": [2.0, 14, 1, 7],
        }
    ).to_csv(folder / "methods" / "methods.csv", index=False)
    shown = report.generated(sections_of(folder))
    text = Page(shown).text
    assert "The methods compared" in text and "1.25 [0.50, 2.00]" in text and "12 [11, 14]" in text
    assert "unknown" not in text and "<fluent>" not in shown


def test_the_archive_has_the_columns_that_the_report_reads():
    from counterpoint.counterfactuals.archive import COLUMNS

    assert set(ARCHIVE_COLUMNS) <= set(COLUMNS)


def test_extras_appear_when_their_files_do(study, tmp_path):
    folder = tmp_path / "more"
    shutil.copytree(study, folder)
    mlps = pd.DataFrame({"pair": [0, 0], "direction": "noising", "layer": [0, 1]})
    mlps.assign(ap=[0.5, -1.25], output_range=[0.5, 1.5]).to_parquet(folder / "mlps.parquet")
    pd.DataFrame(
        {
            "pair": 0,
            "direction": "noising",
            "score": ["ap", "ap", "<b>", "<b>"],
            "k": [1, 2, 1, 2],
            "recovered": [0.5, 0.8, 0.4, 0.6],
        }
    ).to_parquet(folder / "faithfulness.parquet")
    interaction = pd.DataFrame({"pair": 0, "direction": "noising", "layer": 2, "head": 1,
                                "partner": [0, 2], "interaction": [-0.25, 0.125]})  # fmt: skip
    interaction.assign(ap=1.0, ig_own=1.0, ig_joint=0.9, remainder=0.025).to_parquet(
        folder / "interaction.parquet"
    )
    shown = report.reasons(sections_of(folder)) + report.extras(sections_of(folder))
    assert 'id="mlps"' in shown and "-1.250" in shown
    assert 'id="faithfulness"' in shown
    assert "2.0 (-0.25), 2.2 (0.12)" in Page(shown).text  # partners
    assert "-0.125" in shown  # and their sum
    assert "<b>" not in shown


def test_roles_and_patterns_appear_when_their_files_do(study, tmp_path):
    folder = tmp_path / "more"
    shutil.copytree(study, folder)
    assert not report.roles(sections_of(folder))
    assert not report.attention_patterns(sections_of(folder))
    heads = pd.read_parquet(folder / "heads.parquet")[["pair", "direction", "layer", "head", "ap"]]
    shares = {"query": 0.25, "key": 0.125, "value": 0.5, "pattern": 0.5, "output": 1.0}
    roles = [heads.assign(role=role, ap=share * heads["ap"]) for role, share in shares.items()]
    groups = heads[heads["head"] == 0]
    roles += [groups.assign(role=role) for role in ("key_group", "value_group")]
    pd.concat(roles).to_parquet(folder / "roles.parquet")
    shown = report.roles(sections_of(folder))
    assert 'id="roles"' in shown and "interaction" in shown
    assert "is AP to within 0" in Page(shown).text and "share" in Page(shown).text
    largest = heads.groupby(["layer", "head"])["ap"].mean().abs().idxmax()
    assert f"{largest[0]}.{largest[1]}" in Page(shown).text

    pairs = pd.read_parquet(folder / "pairs.parquet")
    lengths = pairs["clean_tokens"].map(len)
    patterns = [
        np.full((2, 4, 3, length, length), 1 / length, dtype=np.float32) for length in lengths
    ]
    patterns[0][0, :, :, -1, 2], patterns[0][1, :, :, -1, 1] = 0.75, 0.625
    arrays = AttentionPatterns(
        np.array([2, 0]), (patterns[2][0], patterns[0][0]), (patterns[2][1], patterns[0][1])
    )
    write_arrays(file_arrays(arrays), folder / "patterns.safetensors")
    results = sections_of(folder)
    results.tokens.of_each = lambda ids: [f"<b>{token}</b>" for token in ids]
    shown = report.attention_patterns(results)
    assert 'id="patterns"' in shown and "0.75" in shown and "0.62" in shown
    assert "<b>" not in shown and f"<b>{pairs['clean_tokens'][0][2]}</b> (2)" in Page(shown).text


def test_positions_are_shown_with_their_spans_escaped(study, tmp_path):
    folder = tmp_path / "positions"
    shutil.copytree(study, folder)
    assert not report.positions(sections_of(folder))
    table = make_positions()
    table.to_parquet(folder / "positions.parquet", index=False)
    shown = report.positions(sections_of(folder))
    text = Page(shown).text
    assert 'id="positions"' in shown and 'id="positions-spans"' in shown
    assert "subject, <i>place</i> and end" in text and "elsewhere" in text
    assert "<i>place</i>" not in shown and "&lt;i&gt;place" in shown
    assert shown.count("<img") == 2
    # Two directions; three heads and the configured one, and every layer of the others.
    assert shown.count("head 0.1") == 2 and shown.count("residual stream 3") == 2
    means = table[(table["component"] == "mlp") & (table["layer"] == 2)].query(
        "direction == 'noising'"
    )
    of_span = means[means["span"] == "subject"].groupby("pair")["ap"].sum().mean()
    assert html.number(of_span, 2) in shown
    assert "-0.50" in shown  # the interaction of layer 2
    assert "interaction over positions is 0.375" in text.replace("0.3750", "0.375")
    # Of one pair, and of heads alone.
    table = table[(table["pair"] == 1) & (table["component"] == "head")]
    table.to_parquet(folder / "positions.parquet", index=False)
    shown = report.positions(sections_of(folder))
    assert shown.count("<img") == 1 and "[" not in Page(shown).text
    left = report.load_results("made-up", folder, SETTINGS | {"positions": {"pairs": "none"}})
    assert left.positions is None and not report.positions(left)


def test_curves_at_positions_are_shown_with_and_without_the_table_of_positions(study, tmp_path):
    folder = tmp_path / "position_curves"
    shutil.copytree(study, folder)
    table = make_position_curves()
    table.to_parquet(folder / "position_curves.parquet", index=False)
    shown = report.positions(sections_of(folder))
    assert 'id="positions"' in shown and shown.count("<img") == 1
    assert 'id="positions-curves"' in shown
    make_positions().to_parquet(folder / "positions.parquet", index=False)
    shown = report.positions(sections_of(folder))
    assert shown.count('id="positions"') == 1 and shown.count("<img") == 3
    left = report.load_results("made-up", folder, SETTINGS | {"position_curves": {"pairs": "none"}})
    assert left.position_curves is None


def test_a_missing_needed_file_is_named(study, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(study, folder)
    (folder / "heads.parquet").unlink()
    with pytest.raises(UserError, match=r"heads\.parquet.*made-up.*run the workflow"):
        sections_of(folder)


def test_a_failing_cell_leaves_no_file(tmp_path):
    with pytest.raises(PapermillExecutionError):
        render(tmp_path / "nothing")
    assert not (tmp_path / "nothing" / "report.html").exists()
    assert not (tmp_path / "nothing" / "report.ipynb").exists()


def test_the_kernel_is_this_python_whatever_kernels_there_are(tmp_path, monkeypatch):
    """A user's kernel `python3`, of another environment, stands in all places Jupyter looks at."""
    home = tmp_path / "home"
    places = [tmp_path / "jupyter", home / ".local" / "share" / "jupyter"]
    for place in places:
        for name in ("python3", KERNEL):
            described = place / "kernels" / name / "kernel.json"
            described.parent.mkdir(parents=True)
            argv = ["false", "{connection_file}"]
            described.write_text(
                json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
            )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("JUPYTER_PATH", str(places[0]))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    (home / "startup.py").write_text("raise SystemExit")
    monkeypatch.setenv("PYTHONSTARTUP", str(home / "startup.py"))
    cell = nbformat.v4.new_code_cell("import sys; print(sys.executable)")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, tmp_path / "cell.ipynb")
    shutil.copytree(NOTEBOOK.parent / "template", tmp_path / "template")
    report.render_report(
        tmp_path / "cell.ipynb", {}, tmp_path / "made.ipynb", tmp_path / "made.html"
    )
    made = nbformat.read(tmp_path / "made.ipynb", as_version=4)
    assert made.cells[-1].outputs[0].text.strip() == sys.executable
    # Who opens the notebook has a kernel of the usual name.
    assert made.metadata.kernelspec.name == "python3"
    assert KERNEL not in (tmp_path / "made.ipynb").read_text()
    assert os.environ["JUPYTER_PATH"] == str(places[0])
    assert os.environ["PYTHONSTARTUP"] == str(home / "startup.py")


def test_long_lists_are_cut_and_the_file_is_named(tmp_path):
    folder = write_study(tmp_path, Shape(pairs=20, layers=2, heads=2))
    shown = report.pairs(sections_of(folder))
    assert "8 more pairs" in shown
    names = ["row", "clean", "corrupted", "correct", "incorrect", "reason"]
    pd.DataFrame({name: range(400) for name in names}).to_csv(folder / "dropped.csv", index=False)
    assert "The rest stands in dropped.csv" in report.dropped(sections_of(folder))
    pd.DataFrame(columns=names).to_csv(folder / "dropped.csv", index=False)
    assert "No row" in report.dropped(sections_of(folder))


@pytest.mark.parametrize("directions", [("denoising",), ("noising",)])
def test_one_pair_and_one_direction_are_enough(tmp_path, directions):
    folder = write_study(tmp_path, Shape(pairs=1, directions=directions))
    results = sections_of(folder)
    assert "29" not in report.headline(results, "t")[:10]
    for part in (report.heads, report.relations, report.curves, report.claims, report.exactness):
        assert part(results)
    assert "one pair: there is no other ranking" in report.stability(results)


def test_printed_text_and_errors_are_escaped_by_the_template():
    notebook = nbformat.v4.new_notebook()
    cell = nbformat.v4.new_code_cell("print()")
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="<script>1</script>"),
        nbformat.v4.new_output("display_data", data={"text/plain": "<b>x</b>"}),
    ]
    notebook.cells = [cell]
    shown = notebook_to_html(notebook, ROOT / "reports" / "template")
    assert "&lt;script&gt;1" in shown and "&lt;b&gt;x" in shown
    assert shown.count("<script") == 1  # the page's own


def test_contents_escape_headings():
    assert "&lt;b&gt;" in contents('<h2 id="a">one &lt;b&gt; <i>two</i></h2><h2>no id</h2>')
    assert contents("<h3 id='x'>deep</h3>").count("<li>") == 0


def test_rendering_does_not_import_torch(page):
    assert "no torch" in page  # the last cell of the executed copy


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.23456, "1.235"), (-2, "-2.000"), (1e-5, "1.0e-05"), (None, "—"), (float("nan"), "—"),
     (0, "0.000"), (float("-inf"), "-∞"), (True, "yes")],
)  # fmt: skip
def test_numbers_for_reading(value, shown):
    assert html.number(value) == shown


def test_a_sentence_that_heads_a_row_may_be_broken_and_a_name_not():
    name = html.fill('<a href="../subject-verb-agreement/report.html">{}</a>', "agreement")
    shown = html.table(["number"], [["subject-verb-agreement"], [name], ["A sentence " * 6]])
    assert '<th scope="row" class="text"><a' in shown
    assert '<th scope="row" class="text">subject' in shown
    assert '<th scope="row" class="text sentence">A sentence' in shown


def test_marked_difference_by_place_and_by_blocks():
    first, second = html.marked_difference(["a", " b", " c"], ["a", " x", " c"])
    assert first.endswith("a <mark>b</mark> c</code>") and " <mark>x</mark>" in second
    first, second = html.marked_difference(["a", " b"], [" a", " b"])
    assert "<mark>a</mark> b" in first and "<mark> a</mark> b" in second  # a space differs
    first, second = html.marked_difference(["a", "b"], ["a", "<", "b"])
    assert "<mark>&lt;</mark>b" in second and "mark" not in first


def test_tokens_show_the_prompt_itself_whatever_the_tokenizer(tmp_path):
    vocabulary = {"He": 0, "llo": 1, " ": 2, "wor": 3, "ld": 4, "?": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokens = Tokens(tmp_path / "tokenizer.json")
    assert tokens.pieces("Hello", [0, 1]) == ["He", "llo"]
    assert tokens.pieces("Hello world", [0, 1]) == ["Hello", " world"]  # ids of another text
    for text in ("", " ", " two  spaces ", "line\nbreak"):
        assert "".join(Tokens().pieces(text, None)) == text


def test_provenance_shows_nested_settings_and_records(study):
    results = sections_of(study)
    text = Page(report.provenance(results)).text
    assert "statistics.seed" in text and "12.5" in text
    assert (
        json.loads((study / "provenance.json").read_text(encoding="utf-8"))["counterpoint"] in text
    )
