"""The glossary and the code say the same: every column of every table, every word's function."""

from __future__ import annotations

import dataclasses
import importlib
import re
import subprocess
import sys
from collections.abc import Collection, Iterable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from counterpoint.counterfactuals import archive
from counterpoint.counterfactuals.atlas import atlas_search, atlas_table
from counterpoint.counterfactuals.comparison import method_comparison, search_outcomes
from counterpoint.counterfactuals.language.perplexity_caps import CAPS
from counterpoint.counterfactuals.validation import pair_flags, pair_validation
from counterpoint.glossary import (
    AGREEMENTS,
    COLUMNS,
    DERIVED,
    TABLES,
    UNITS,
    WORDS,
    Column,
    label,
    signed_label,
)
from counterpoint.glossary import search_tables as of_searches
from counterpoint.measures import node_importances, saturation
from counterpoint.measures.curve_measures import OutputCurves
from counterpoint.measures.tables import (
    answer_table,
    baseline_score_table,
    circuit_table,
    edge_circuit_table,
    edge_table,
    faithfulness_table,
    integrated_gradients_table,
    interaction_table,
    merging,
    position_curve_table,
    position_table,
    role_table,
)
from counterpoint.pairs import doubtful_pairs, pair_files
from counterpoint.statistics import (
    beginning_agreement,
    claims,
    correlations,
    disagreement,
    meta_analysis,
    one_direction_heads,
    panel,
    ranking_overlaps,
    sample_sizes,
    score_agreement,
    stability,
    studies,
    variance_components,
)
from counterpoint.workflow.planning import plan
from tests.helpers.synthetic import QUICK, Shape, make_scores

ROOT = Path(__file__).parents[2]
MARKS = re.compile(r"\[[^]]+\]\(#([a-z-]+)\)")


def _measured(component: str) -> list[str]:
    """The columns that `score_curves` and the merging of shards make."""
    keys = [key for key in merging.KEYS if component == "head" or key != "head"]
    return [*keys, "ap", "ap_normalised", *OutputCurves.MEASURES[1:]]


def _computed(name: str) -> list[str]:
    """The columns of tables that no constant lists, from made-up heads."""
    heads, _, _ = make_scores(Shape(pairs=2))
    made = {
        "stability": lambda: stability.stability(heads, settings=QUICK),
        "agreement": lambda: beginning_agreement.agreement(heads, heads, settings=QUICK),
    }
    return list(made[name]().columns)


WRITTEN: dict[str, Collection[str]] = {
    "pairs.parquet": [*pair_files.PAIR_COLUMNS, *pair_files.ANSWER_COLUMNS],
    "dropped.csv": pair_files.DROPPED_COLUMNS,
    "warnings.csv": doubtful_pairs.COLUMNS,
    "heads.parquet": [
        *_measured("head"),
        *integrated_gradients_table.COLUMNS,
        *baseline_score_table.columns_of(list(baseline_score_table.BASELINES)),
    ],
    "mlps.parquet": _measured("mlp"),
    "faithfulness.parquet": faithfulness_table.COLUMNS,
    "circuit.parquet": circuit_table.COLUMNS["members"],
    "circuit_nodes.parquet": circuit_table.COLUMNS["nodes"],
    "circuit_faithfulness.parquet": circuit_table.COLUMNS["faithfulness"],
    "circuit_curves.csv": circuit_table.COLUMNS["curves"],
    "circuit_areas.csv": circuit_table.COLUMNS["areas"],
    "circuit_graph.json": node_importances.SIZES,
    "circuit_edges.parquet": edge_circuit_table.EDGE_COLUMNS["members"],
    "circuit_edge_scores.parquet": edge_circuit_table.EDGE_COLUMNS["scores"],
    "circuit_edge_faithfulness.parquet": edge_circuit_table.EDGE_COLUMNS["faithfulness"],
    "circuit_edge_curves.csv": edge_circuit_table.EDGE_COLUMNS["curves"],
    "circuit_edge_areas.csv": edge_circuit_table.EDGE_COLUMNS["areas"],
    "circuit_edge_graph.json": node_importances.SIZES,
    "interaction.parquet": interaction_table.COLUMNS,
    "roles.parquet": role_table.COLUMNS,
    "edges.parquet": edge_table.COLUMNS,
    "positions.parquet": position_table.COLUMNS,
    "position_curves.parquet": position_curve_table.COLUMNS,
    "answers.parquet": answer_table.ANSWER_COLUMNS,
    "answer_tokens.parquet": answer_table.TOKEN_COLUMNS,
    "plan.csv": plan.COLUMNS,
    "correlations.csv": correlations.COLUMNS,
    "claims.csv": claims.COLUMNS,
    "stability.csv": _computed("stability"),
    "score_agreement.csv": score_agreement.COLUMNS,
    "one_direction_heads.csv": one_direction_heads.COLUMNS,
    "sample_sizes.csv": sample_sizes.COLUMNS,
    "variance.csv": variance_components.COLUMNS,
    "without_bos/agreement.csv": _computed("agreement"),
    "comparison/studies.csv": studies.STUDY_COLUMNS,
    "comparison/heads.csv": studies.HEAD_COLUMNS,
    "comparison/overlaps.csv": ranking_overlaps.OVERLAP_COLUMNS,
    "comparison/claims.csv": meta_analysis.COLUMNS,
    "comparison/correlations.csv": meta_analysis.CORRELATION_COLUMNS,
    "counterfactuals/{layer}.{head}/{method}.parquet": archive.COLUMNS,
    "counterfactuals/{layer}.{head}/{method}.trace.parquet": [*archive.TRACE_COLUMNS, "seed"],
    "counterfactuals/{layer}.{head}/validation.parquet": pair_validation.COLUMNS,
    "atlas.parquet": atlas_table.COLUMNS,
    "atlas/{way}/searches/{seed}.parquet": atlas_search.CANDIDATE_COLUMNS,
    "atlas/{way}/searches/{seed}.trace.parquet": atlas_search.TRACE_COLUMNS,
    "methods/methods.parquet": search_outcomes.COLUMNS,
    "methods/methods.csv": method_comparison.COLUMNS,
}
"""The columns of every table, where the code lists them. The others (`IN_A_RUN`) are held against a
study that was run, in `tests.studies.test_small_study`."""

IN_A_RUN = {
    "beginning.json",
    "baseline.parquet",
    "curves.safetensors",
    "patterns.safetensors",
    "provenance.json",
}


def test_every_table_is_held_against_the_code_or_against_a_run() -> None:
    assert WRITTEN.keys() | IN_A_RUN == TABLES.keys() == COLUMNS.keys()


@pytest.mark.parametrize("path", WRITTEN)
def test_columns_are_those_of_the_code(path: str) -> None:
    columns, written = list(COLUMNS[path]), list(WRITTEN[path])
    assert len(written) == len(set(written))
    assert set(columns) == set(written)
    if path not in ("heads.parquet", "mlps.parquet"):
        assert columns == written, "the glossary keeps the order of the file"


def test_order_of_heads_is_that_of_the_merged_table() -> None:
    baselines = baseline_score_table.columns_of(list(baseline_score_table.BASELINES))
    heads, gradients, others = (
        pd.DataFrame(0.0, index=[0], columns=names).assign(pair=0, direction="noising")
        for names in (
            _measured("head"),
            [*merging.KEYS, *integrated_gradients_table.COLUMNS],
            [*merging.KEYS, *baselines],
        )
    )
    assert list(COLUMNS["heads.parquet"]) == list(
        merging.join_heads(heads, gradients, ["noising"], others).columns
    )


def _columns() -> Iterable[tuple[str, Column]]:
    for path, table in TABLES.items():
        yield from ((path, column) for column in table.columns)
    yield from (("derived", column) for column in DERIVED.values())


def test_columns_have_units_words_and_a_sentence() -> None:
    for path, column in _columns():
        where = f"{path}: {column.name}"
        assert column.unit in UNITS, where
        assert column.word in {"", *WORDS}, where
        assert column.meaning.endswith(".") and len(column.meaning.split()) > 1, where
    assert {column.unit for _, column in _columns()} | {w.unit for w in WORDS.values()} == set(
        UNITS
    ), "a unit that nothing has"
    for table in TABLES.values():
        assert len({column.name for column in table.columns}) == len(table.columns), table.path


def test_words_have_one_home_and_link_to_words() -> None:
    assert len({word.name for word in WORDS.values()}) == len(WORDS)
    texts = [word.meaning for word in WORDS.values()] + [c.meaning for _, c in _columns()]
    for word in WORDS.values():
        assert word.unit in UNITS and word.meaning.endswith("."), word.key
        assert word.formula.count("{") == word.formula.count("}"), word.key
        assert "$" not in word.formula, word.key
    for text in texts:
        assert set(MARKS.findall(text)) <= WORDS.keys()
        # Renderers escape; but what is meant for all of them holds no markup of one.
        assert not re.search(r"</?\w|&\w+;", text), text


@pytest.mark.parametrize("word", [w for w in WORDS.values() if w.computed_by], ids=lambda w: w.key)
def test_what_computes_a_word_is_there(word: Any) -> None:
    module, _, name = word.computed_by.rpartition(".")
    assert callable(reduce(getattr, [name], importlib.import_module(module)))


def test_saturation_and_evenness_are_what_the_glossary_says() -> None:
    slopes = np.array([[0.0, 0.04, 0.06, 1.0]])
    assert saturation.saturation(slopes, np.ones(1)).item() == 0.5
    assert f"{100 * saturation.SHARE:g} %" in WORDS["saturation"].meaning


def test_values_are_those_of_the_tables() -> None:
    heads, _, _ = make_scores(Shape(pairs=2))
    tables = {
        "claims.csv": claims.claims(heads, settings=QUICK),
        "correlations.csv": correlations.correlations(heads, settings=QUICK),
        "stability.csv": stability.stability(heads, settings=QUICK),
        "sample_sizes.csv": sample_sizes.sample_sizes(heads, settings=QUICK),
        "variance.csv": variance_components.variance_components(heads, settings=QUICK),
        "without_bos/agreement.csv": beginning_agreement.agreement(heads, heads, settings=QUICK),
        "score_agreement.csv": score_agreement.score_agreement(heads, settings=QUICK),
        "one_direction_heads.csv": one_direction_heads.one_direction_heads(heads, settings=QUICK),
    }
    for path, table in tables.items():
        for name, column in COLUMNS[path].items():
            if column.says:
                said = {value for value in table[name] if isinstance(value, str)}
                assert said - {"both", "all", ""} <= column.says.keys(), (path, name)
    assert set(ranking_overlaps.AGREEMENTS) <= AGREEMENTS.keys()
    assert dict(of_searches.CAPS) == {name: f"{nats:g}" for name, nats in CAPS.items()}
    assert {c.name for c in of_searches.OF_SHORT_CUTS} == pair_flags.SHORT_CUTS.keys()


def test_every_measure_and_score_has_a_label() -> None:
    names = {
        *panel.MEASURES,
        *panel.SCORES,
        *stability.RANKED_SCORES,
        *disagreement.USED,
        *disagreement.IDENTITIES,
        *faithfulness_table.SCORES,
        *score_agreement.SCORES,
        "ig_unsaturated",
    }
    assert names <= COLUMNS["heads.parquet"].keys() | DERIVED.keys()
    assert (label("ap"), signed_label("ap"), label("abs_ap")) == ("AP", "AP (signed)", "|AP|")
    assert signed_label("output_range") == "output range"
    assert signed_label("<own>") == label("<own>") == "<own>"


def test_entries_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        WORDS["ap"].name = "other"  # type: ignore[misc]


def test_the_glossary_is_light() -> None:
    said = "import sys, counterpoint.glossary; print([m for m in sys.modules if m in HEAVY])"
    heavy = "HEAVY = {'torch', 'numpy', 'pandas', 'matplotlib', 'scipy', 'markupsafe'}"
    done = subprocess.run(
        [sys.executable, "-c", f"{heavy}; {said}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
